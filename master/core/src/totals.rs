//! Sums of scalars over many agents: what shares are computed from. Never given to anybody.
use std::collections::BTreeMap;

use model::{Quantities, Resources};

/// Thousandths of each scalar.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    fixed: [i64; 4],
    custom: BTreeMap<String, i64>,
}

impl Totals {
    pub(crate) fn add(&mut self, resources: &Resources) {
        self.each(resources, 1);
    }
    /// What is taken was added before: the caller's conservation check finds it otherwise.
    pub(crate) fn take(&mut self, resources: &Resources) {
        self.each(resources, -1);
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.fixed.iter().all(|amount| *amount == 0) && self.custom.is_empty()
    }
    /// The largest fraction of any scalar of `pool` that is here, in thousand-millionths.
    pub(crate) fn dominant_share(&self, pool: &Totals) -> u64 {
        let fixed = self.fixed.iter().copied().zip(pool.fixed);
        let custom = self.custom.iter().map(|(name, amount)| (*amount, pool.custom.get(name).copied().unwrap_or(0)));
        fixed.chain(custom).map(|(part, whole)| fraction(part, whole)).max().unwrap_or(0)
    }
    /// By name, without zeros.
    pub(crate) fn by_name(&self) -> BTreeMap<String, i64> {
        let fixed = ["cpus", "mem", "disk", "gpus"].into_iter().map(str::to_owned).zip(self.fixed);
        fixed.chain(self.custom.iter().map(|(name, amount)| (name.clone(), *amount))).filter(|(_, a)| *a != 0).collect()
    }
    fn each(&mut self, resources: &Resources, sign: i64) {
        self.one(&resources.unreserved, sign);
        for quantities in resources.held.values() {
            self.one(quantities, sign);
        }
    }
    fn one(&mut self, quantities: &Quantities, sign: i64) {
        let amounts = [quantities.cpus, quantities.mem, quantities.disk, quantities.gpus];
        for (sum, amount) in self.fixed.iter_mut().zip(amounts) {
            *sum += sign * amount.0;
        }
        for (name, amount) in &quantities.custom {
            let sum = self.custom.entry(name.clone()).or_default();
            *sum += sign * amount.0;
            if *sum == 0 {
                self.custom.remove(name);
            }
        }
    }
}

/// A part of nothing is a share of nothing: the agents that had it are away.
fn fraction(part: i64, whole: i64) -> u64 {
    if part <= 0 || whole <= 0 {
        return 0;
    }
    u64::try_from(i128::from(part) * 1_000_000_000 / i128::from(whole)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use model::Milli;

    use super::*;

    #[test]
    fn the_dominant_share_is_the_largest_fraction() {
        let some =
            |cpus, mem| Resources::from(Quantities { cpus: Milli(cpus), mem: Milli(mem), ..Quantities::default() });
        let (mut pool, mut used) = (Totals::default(), Totals::default());
        pool.add(&some(8000, 1000));
        used.add(&some(1000, 500));
        assert_eq!(used.dominant_share(&pool), 500_000_000);
        used.take(&some(0, 500));
        assert_eq!(used.dominant_share(&pool), 125_000_000);
        used.take(&some(1000, 0));
        assert!(used.is_empty());
        assert_eq!(used.dominant_share(&Totals::default()), 0);
    }
}
