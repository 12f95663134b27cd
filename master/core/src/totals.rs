//! Sums of scalars over many agents: what shares and quotas are computed from. Never given to anybody.
//!
//! Disk is disk, whichever of an agent's disks it is on: who fills the further ones has as much of the pool. What is
//! revocable counts neither in shares nor in quotas: it was promised to others, and whoever has it loses it unasked.
use std::collections::{BTreeMap, BTreeSet};

use model::{Disk, Milli, Quantities, Resources};

/// The scalars that every agent has, in the order of [`Totals`].
const FIXED: [&str; 4] = ["cpus", "mem", "disk", "gpus"];

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
    /// As [`Totals::add`], of amounts without a title.
    pub(crate) fn add_quantities(&mut self, quantities: &Quantities) {
        self.one(quantities, 1);
    }
    /// As [`Totals::take`], of amounts without a title.
    pub(crate) fn take_quantities(&mut self, quantities: &Quantities) {
        self.one(quantities, -1);
    }
    pub(crate) fn add_totals(&mut self, other: &Totals) {
        self.all(other, 1);
    }
    pub(crate) fn take_totals(&mut self, other: &Totals) {
        self.all(other, -1);
    }
    /// One scalar by name; zero if there is none.
    pub(crate) fn get(&self, name: &str) -> i64 {
        match FIXED.iter().position(|fixed| *fixed == name) {
            Some(index) => self.fixed[index],
            None => self.custom.get(name).copied().unwrap_or(0),
        }
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.fixed.iter().all(|amount| *amount == 0) && self.custom.is_empty()
    }
    /// The largest fraction of any scalar of `pool` that is here, in thousand-millionths; those `excluded` do not count.
    pub(crate) fn dominant_share(&self, pool: &Totals, excluded: &BTreeSet<String>) -> u64 {
        let counts = |name: &str| excluded.is_empty() || !excluded.contains(name);
        let fixed = self.fixed.iter().copied().zip(pool.fixed).zip(FIXED);
        let fixed = fixed.filter(|(_, name)| counts(name)).map(|(pair, _)| pair);
        let custom = self.custom.iter().filter(|(name, _)| counts(name));
        let custom = custom.map(|(name, amount)| (*amount, pool.custom.get(name).copied().unwrap_or(0)));
        fixed.chain(custom).map(|(part, whole)| fraction(part, whole)).max().unwrap_or(0)
    }
    /// By name, without zeros.
    pub(crate) fn by_name(&self) -> BTreeMap<String, i64> {
        let fixed = FIXED.into_iter().map(str::to_owned).zip(self.fixed);
        fixed.chain(self.custom.iter().map(|(name, amount)| (name.clone(), *amount))).filter(|(_, a)| *a != 0).collect()
    }
    fn all(&mut self, other: &Totals, sign: i64) {
        for (sum, amount) in self.fixed.iter_mut().zip(other.fixed) {
            *sum += sign * amount;
        }
        for (name, amount) in &other.custom {
            self.add_custom(name, sign * amount);
        }
    }
    fn add_custom(&mut self, name: &str, amount: i64) {
        let sum = self.custom.entry(name.to_owned()).or_default();
        *sum += amount;
        if *sum == 0 {
            self.custom.remove(name);
        }
    }
    fn each(&mut self, resources: &Resources, sign: i64) {
        self.one(&resources.unreserved, sign);
        for quantities in resources.held.values() {
            self.one(quantities, sign);
        }
    }
    fn one(&mut self, quantities: &Quantities, sign: i64) {
        let amounts = [quantities.cpus, quantities.mem, quantities.all_disk(), quantities.gpus];
        for (sum, amount) in self.fixed.iter_mut().zip(amounts) {
            *sum += sign * amount.0;
        }
        for (name, amount) in &quantities.custom {
            self.add_custom(name, sign * amount.0);
        }
    }
}

/// How much of a scalar there is, as [`Totals`] count it.
pub(crate) fn counted(quantities: &Quantities, name: &str) -> Milli {
    if name == "disk" { quantities.all_disk() } else { quantities.scalar(name) }
}

/// Leaves no more than `most` of a scalar, as [`Totals`] count it: the agent's own disk first, then paths as far as they
/// reach; a mount is left whole or not at all.
pub(crate) fn leave(quantities: &mut Quantities, name: &str, most: Milli) {
    if name != "disk" {
        quantities.set_scalar(name, most.min(quantities.scalar(name)));
        return;
    }
    quantities.disk = most.min(quantities.disk);
    let mut room = Milli(most.0 - quantities.disk.0);
    quantities.disks.retain(|disk, amount| {
        *amount = match disk {
            Disk::Path(_) => room.min(*amount),
            Disk::Mount(_) if *amount <= room => *amount,
            Disk::Mount(_) => Milli(0),
        };
        room.0 -= amount.0;
        amount.0 > 0
    });
}

/// A part of nothing is a share of nothing: the agents that had it are away.
fn fraction(part: i64, whole: i64) -> u64 {
    if part <= 0 || whole <= 0 {
        return 0;
    }
    // Almost always 64 bits are enough, and much faster.
    if let Some(scaled) = part.checked_mul(1_000_000_000) {
        return u64::try_from(scaled / whole).unwrap_or(u64::MAX);
    }
    u64::try_from(i128::from(part) * 1_000_000_000 / i128::from(whole)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disks(own: i64, paths: &[(&str, i64)], mounts: &[(&str, i64)]) -> Quantities {
        let path = |(root, amount): &(&str, i64)| (Disk::Path((*root).to_owned()), Milli(*amount));
        let mount = |(root, amount): &(&str, i64)| (Disk::Mount((*root).to_owned()), Milli(*amount));
        let disks = paths.iter().map(path).chain(mounts.iter().map(mount)).collect();
        Quantities { disk: Milli(own), disks, ..Quantities::default() }
    }

    #[test]
    fn disk_counts_whichever_disk_it_is_on_and_what_is_revocable_does_not() {
        let mut some = Resources::from(disks(10, &[("/a", 20)], &[("/m", 40)]));
        some.revocable = Quantities { cpus: Milli(5), disk: Milli(5), ..Quantities::default() };
        let mut totals = Totals::default();
        totals.add(&some);
        assert_eq!(totals.by_name(), BTreeMap::from([("disk".to_owned(), 70)]));
        totals.take(&some);
        assert!(totals.is_empty());
    }

    #[test]
    fn disk_is_cut_on_all_disks_together_and_a_mount_is_never_divided() {
        let all = disks(10, &[("/a", 20), ("/b", 5)], &[("/m", 40), ("/n", 3)]);
        for (most, expected) in [
            (100, all.clone()),
            (78, all.clone()),
            (77, disks(10, &[("/a", 20), ("/b", 5)], &[("/m", 40)])),
            (40, disks(10, &[("/a", 20), ("/b", 5)], &[("/n", 3)])),
            (29, disks(10, &[("/a", 19)], &[])),
            (4, disks(4, &[], &[])),
            (0, Quantities::default()),
        ] {
            let mut left = all.clone();
            leave(&mut left, "disk", Milli(most));
            assert_eq!(left, expected, "{most}");
            assert!(counted(&left, "disk").0 <= most && all.contains(&left), "{most}");
        }
        let mut cpus = Quantities { cpus: Milli(4), ..all.clone() };
        leave(&mut cpus, "cpus", Milli(1));
        assert_eq!(cpus, Quantities { cpus: Milli(1), ..all });
    }

    #[test]
    fn the_dominant_share_is_the_largest_fraction() {
        let some =
            |cpus, mem| Resources::from(Quantities { cpus: Milli(cpus), mem: Milli(mem), ..Quantities::default() });
        let (mut pool, mut used) = (Totals::default(), Totals::default());
        pool.add(&some(8000, 1000));
        used.add(&some(1000, 500));
        let all = BTreeSet::new();
        assert_eq!(used.dominant_share(&pool, &all), 500_000_000);
        assert_eq!(used.dominant_share(&pool, &BTreeSet::from(["mem".to_owned()])), 125_000_000);
        used.take(&some(0, 500));
        assert_eq!(used.dominant_share(&pool, &all), 125_000_000);
        used.take(&some(1000, 0));
        assert!(used.is_empty());
        assert_eq!(used.dominant_share(&Totals::default(), &all), 0);
    }
}
