//! What quotas count, at every level of the tree of roles, and what they allow. The limit in force for a role is the
//! smallest along its path; what guarantees still need is the larger of a role's own and the sum of those below it.
//!
//! A limit is never exceeded by an offer or an accept. It may be by agents that come back with what runs there, and by an
//! operator who insists: that much is tolerated, until it has gone.
use std::collections::BTreeMap;

use model::{Milli, Quantities, Resources, RoleName};

use super::share::Shares;
use crate::decision::Withheld;
use crate::mutation::{Mutation, mutated};
use crate::quota::{Ceiling, Quota};
use crate::totals::{Totals, counted, leave};

/// What one role and those below it have towards its quota.
#[derive(Debug, Default)]
pub(super) struct Counted {
    quota: Quota,
    /// Reserved, or unreserved and allocated or lent.
    amounts: Totals,
    /// What is missing to its guarantee, or to those below it. No entry is zero.
    needed: BTreeMap<String, i64>,
    needed_below: BTreeMap<String, i64>,
    /// How far above its limits it may be for now.
    tolerated: BTreeMap<String, i64>,
}

/// What was cut from an offer.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) reason: Withheld,
    /// Nearly nothing is left of processors or memory: nobody could use the rest.
    pub(super) starves: bool,
}

impl Counted {
    pub(super) fn quota(&self) -> &Quota {
        &self.quota
    }
    pub(super) fn amounts(&self) -> &Totals {
        &self.amounts
    }
    pub(super) fn is_unused(&self) -> bool {
        self.quota.is_empty() && self.amounts.is_empty()
    }
    fn missing(&self, name: &str) -> i64 {
        let guarantee = self.quota.guarantees.get(name).map_or(0, |amount| amount.0);
        (guarantee - self.amounts.get(name)).max(0)
    }
    fn needed_now(&self) -> BTreeMap<String, i64> {
        let mut needed = self.needed_below.clone();
        for name in self.quota.guarantees.keys() {
            let missing = self.missing(name);
            if missing > 0 {
                let most = needed.entry(name.clone()).or_default();
                *most = missing.max(*most);
            }
        }
        needed.retain(|_, amount| *amount > 0);
        needed
    }
    fn ceiling(&self, role: &RoleName, name: &str) -> Option<Ceiling> {
        let limit = *self.quota.limits.get(name)?;
        Some(Ceiling { role: role.clone(), name: name.to_owned(), limit, used: Milli(self.amounts.get(name)) })
    }
    fn ceilings(&self, role: &RoleName) -> impl Iterator<Item = Ceiling> {
        self.quota.limits.keys().filter_map(|name| self.ceiling(role, name))
    }
    pub(super) fn more(&mut self, quantities: &Quantities) {
        self.amounts.add_quantities(quantities);
    }
    pub(super) fn less(&mut self, quantities: &Quantities) {
        self.amounts.take_quantities(quantities);
        self.tolerate_less();
    }
    /// What has gone is not tolerated again.
    fn tolerate_less(&mut self) {
        let Self { tolerated, amounts, quota, .. } = self;
        if tolerated.is_empty() {
            return;
        }
        tolerated.retain(|name, amount| {
            *amount = amounts.get(name).min(*amount);
            quota.limits.get(name).is_some_and(|limit| *amount > limit.0)
        });
    }
}

impl Shares {
    pub(crate) fn set_quota(&mut self, role: &RoleName, quota: Quota) {
        let counted = &mut self.node(role).counted;
        let before = std::mem::replace(&mut counted.quota, quota);
        let is = |quota: &Quota| (usize::from(!quota.limits.is_empty()), usize::from(!quota.guarantees.is_empty()));
        let (old, new) = (is(&before), is(&counted.quota));
        counted.tolerate_less();
        self.limited = self.limited + new.0 - old.0;
        self.guaranteed = self.guaranteed + new.1 - old.1;
        self.changed.insert(role.clone());
        self.refresh_needs(role);
        self.drop_if_unused(role);
    }
    /// Every role with a quota.
    pub(crate) fn quotas(&self) -> impl Iterator<Item = (&RoleName, &Quota)> {
        self.nodes.iter().map(|(role, node)| (role, node.counted.quota())).filter(|(_, quota)| !quota.is_empty())
    }
    /// What a role and those below it have towards its quota.
    pub(crate) fn counted(&self, role: &RoleName) -> Option<&Totals> {
        self.nodes.get(role).map(|node| node.counted.amounts())
    }
    pub(crate) fn has_limits(&self) -> bool {
        self.limited > 0
    }
    /// What all guarantees together still need.
    pub(crate) fn needed(&self) -> &BTreeMap<String, i64> {
        &self.needed
    }
    /// Whether the role, or one above it, has a guarantee of this scalar.
    pub(crate) fn is_guaranteed(&self, role: &RoleName, name: &str) -> bool {
        self.path(role).any(|(_, node)| node.counted.quota.guarantees.contains_key(name))
    }

    /// Counts what is reserved, or is not any more, towards the quotas of a role and of those above it.
    pub(super) fn count(&mut self, role: &RoleName, quantities: &Quantities, sign: i64) {
        self.node(role);
        self.each_above(
            role,
            |node| {
                if sign > 0 { node.counted.more(quantities) } else { node.counted.less(quantities) }
            },
        );
        let path: Vec<RoleName> = self.path(role).map(|(role, _)| role.clone()).collect();
        self.changed.extend(path);
        self.counts_changed(role);
    }
    /// What counts for a role has changed, and for those above it.
    pub(super) fn counts_changed(&mut self, role: &RoleName) {
        if self.guaranteed > 0 {
            self.refresh_needs(role);
        }
    }
    fn refresh_needs(&mut self, role: &RoleName) {
        let mut at = Some(role.clone());
        let mut changes: Vec<(String, i64)> = Vec::new();
        while let Some(node) = at.as_ref().and_then(|role| self.nodes.get_mut(role)) {
            change(&mut node.counted.needed_below, changes);
            let now = node.counted.needed_now();
            let before = std::mem::replace(&mut node.counted.needed, now);
            let names = before.keys().chain(node.counted.needed.keys()).collect::<std::collections::BTreeSet<_>>();
            let amount = |of: &BTreeMap<String, i64>, name: &str| of.get(name).copied().unwrap_or(0);
            changes = names
                .into_iter()
                .map(|name| (name.clone(), amount(&node.counted.needed, name) - amount(&before, name)))
                .collect();
            at.clone_from(&node.parent);
        }
        self.is_relieved |= changes.iter().any(|(_, change)| *change < 0);
        change(&mut self.needed, changes);
    }

    /// The tightest limit on a scalar along a role's path.
    pub(crate) fn ceiling(&self, role: &RoleName, name: &str) -> Option<Ceiling> {
        let ceilings = self.path(role).filter_map(|(role, node)| node.counted.ceiling(role, name));
        ceilings.min_by_key(|ceiling| ceiling.limit.0 - ceiling.used.0)
    }
    /// How much of a scalar the role may take out of what is kept for guarantees: so much less is needed then.
    fn absorbs(&self, role: &RoleName, name: &str) -> i64 {
        let mut absorbed = 0;
        for (_, node) in self.path(role) {
            // Those beside it below this role need the rest; what this role misses beyond both is its own.
            let beside = node.counted.needed_below.get(name).copied().unwrap_or(0) - absorbed;
            absorbed = absorbed.max(node.counted.missing(name) - beside);
        }
        absorbed
    }
    /// Whether something of this is promised to the role.
    pub(super) fn is_promised(&self, role: &RoleName, free: &Quantities) -> bool {
        self.needed.keys().any(|name| counted(free, name).0 > 0 && self.absorbs(role, name) > 0)
    }
    /// Cuts what may be offered to the role to what limits allow and what guarantees of others leave of `available`.
    pub(super) fn cut(&self, role: &RoleName, available: &Totals, offered: &mut Quantities) -> Option<Cut> {
        if self.limited == 0 && self.needed.is_empty() {
            return None;
        }
        let names: Vec<(String, i64)> = offered
            .scalars()
            .map(|(name, _)| (name.to_owned(), counted(offered, name).0))
            .filter(|(_, amount)| *amount > 0)
            .collect();
        let mut cut: Option<Cut> = None;
        for (name, amount) in names {
            let mut most = amount;
            let mut reason = None;
            if let Some(ceiling) = self.ceiling(role, &name)
                && !mutated(Mutation::ExceedsLimits)
            {
                let room = (ceiling.limit.0 - ceiling.used.0).max(0);
                if room < most {
                    most = room;
                    reason = Some(Withheld::OverLimit(ceiling));
                }
            }
            if let Some(needed) = self.needed.get(&name) {
                let surplus = (available.get(&name) - needed).max(0);
                let may = self.absorbs(role, &name).saturating_add(surplus);
                if may < most {
                    most = may;
                    reason = Some(Withheld::KeptForGuarantees { name: name.clone(), roles: self.needy(&name) });
                }
            }
            let Some(reason) = reason else { continue };
            leave(offered, &name, Milli(most));
            let least = super::least(&name).0;
            let starves = most < least && amount >= least;
            if cut.as_ref().is_none_or(|cut| !cut.starves && starves) {
                cut = Some(Cut { reason, starves });
            }
        }
        cut
    }
    /// Some of the roles whose guarantees need this scalar.
    fn needy(&self, name: &str) -> Vec<RoleName> {
        let needy = self.nodes.iter().filter(|(_, node)| node.counted.missing(name) > 0);
        needy.map(|(role, _)| role.clone()).take(3).collect()
    }
    /// The limit that would be exceeded if an agent's titles changed, and the role got so much unreserved besides.
    pub(crate) fn exceeded(
        &self,
        role: &RoleName,
        titles: (&Resources, &Resources),
        unreserved: &Quantities,
    ) -> Option<Ceiling> {
        if self.limited == 0 {
            return None;
        }
        let path = |role: &RoleName| std::iter::successors(Some(role.clone()), RoleName::parent);
        // By role: what the titles make, and what comes besides.
        let mut more: BTreeMap<RoleName, (Totals, Totals)> = BTreeMap::new();
        for role in path(role) {
            more.entry(role).or_default().1.add_quantities(unreserved);
        }
        for (resources, is_more) in [(titles.0, false), (titles.1, true)] {
            for (holding, quantities) in &resources.held {
                for role in path(&holding.reservation.role) {
                    let titles = &mut more.entry(role).or_default().0;
                    if is_more { titles.add_quantities(quantities) } else { titles.take_quantities(quantities) }
                }
            }
        }
        more.iter().find_map(|(role, (titles, besides))| {
            let node = self.nodes.get(role)?;
            node.counted.ceilings(role).find_map(|ceiling| {
                let (titles, besides) = (titles.get(&ceiling.name), besides.get(&ceiling.name));
                let used = ceiling.used.0 + titles;
                let grows = if besides > 0 { besides } else { titles };
                let before = if besides > 0 { used } else { ceiling.used.0 };
                (grows > 0 && used + besides > ceiling.limit.0).then_some(Ceiling { used: Milli(before), ..ceiling })
            })
        })
    }
    /// Every limit that is exceeded.
    pub(crate) fn breached(&self) -> Vec<Ceiling> {
        if self.limited == 0 {
            return Vec::new();
        }
        let ceilings = self.nodes.iter().flat_map(|(role, node)| node.counted.ceilings(role));
        ceilings.filter(|ceiling| ceiling.used > ceiling.limit).collect()
    }
    /// What is above its limits now may stay there until it has gone.
    pub(crate) fn tolerate(&mut self) {
        for ceiling in self.breached() {
            let node = self.nodes.get_mut(&ceiling.role).expect("listed above");
            node.counted.tolerated.insert(ceiling.name, ceiling.used.0);
        }
    }
    /// A limit that is exceeded by more than was tolerated: nobody may have offered or accepted that.
    pub(crate) fn intolerable(&self) -> Option<Ceiling> {
        self.breached().into_iter().find(|ceiling| {
            let tolerated = self.nodes[&ceiling.role].counted.tolerated.get(&ceiling.name);
            tolerated.is_none_or(|tolerated| ceiling.used.0 > *tolerated)
        })
    }
}

fn change(amounts: &mut BTreeMap<String, i64>, by: Vec<(String, i64)>) {
    for (name, delta) in by.into_iter().filter(|(_, delta)| *delta != 0) {
        let sum = amounts.entry(name).or_default();
        *sum += delta;
    }
    amounts.retain(|_, amount| *amount != 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str) -> RoleName {
        RoleName::new(name).expect("valid")
    }
    fn cpus(amount: i64) -> Quantities {
        Quantities { cpus: Milli(amount), ..Quantities::default() }
    }
    fn guarantee(amount: i64) -> Quota {
        Quota { guarantees: [("cpus".to_owned(), Milli(amount))].into(), ..Quota::default() }
    }
    fn limit(amount: i64) -> Quota {
        Quota { limits: [("cpus".to_owned(), Milli(amount))].into(), ..Quota::default() }
    }

    #[test]
    fn the_limit_in_force_is_the_smallest_along_the_path() {
        let mut shares = Shares::default();
        shares.set_quota(&role("a"), limit(10));
        shares.set_quota(&role("a/b"), limit(8));
        shares.count(&role("a/b/c"), &cpus(3), 1);
        shares.count(&role("a/x"), &cpus(6), 1);
        let ceiling =
            |name: &str| shares.ceiling(&role(name), "cpus").map(|c| (c.role.to_string(), c.limit.0, c.used.0));
        assert_eq!(ceiling("a/b/c"), Some(("a".to_owned(), 10, 9)), "one is left of the parent's, five of its own");
        assert_eq!(ceiling("a/x"), Some(("a".to_owned(), 10, 9)));
        let mut offered = cpus(4);
        assert!(shares.cut(&role("a/b/c"), &Totals::default(), &mut offered).is_some());
        assert_eq!(offered, cpus(1));
        let nothing = Resources::default();
        assert_eq!(shares.exceeded(&role("a/b/new"), (&nothing, &nothing), &cpus(1)), None);
        assert!(shares.exceeded(&role("a/b/new"), (&nothing, &nothing), &cpus(2)).is_some());
    }

    #[test]
    fn guarantees_of_a_tree_need_the_larger_of_a_role_s_own_and_those_below() {
        // What a, a/b and a/c have, and what is needed in all.
        for (used, needed) in
            [([0, 0, 0], 10), ([0, 5, 0], 5), ([0, 0, 8], 5), ([4, 0, 0], 6), ([9, 0, 0], 6), ([0, 9, 0], 1)]
        {
            let mut shares = Shares::default();
            shares.set_quota(&role("a"), guarantee(10));
            shares.set_quota(&role("a/b"), guarantee(5));
            shares.set_quota(&role("a/c"), guarantee(1));
            for (name, amount) in ["a", "a/b", "a/c"].into_iter().zip(used) {
                shares.count(&role(name), &cpus(amount), 1);
            }
            let need = shares.needed().get("cpus").copied().unwrap_or(0);
            assert_eq!(need, needed, "{used:?}");
            let of = |name: &str| shares.absorbs(&role(name), "cpus");
            let absorbed = ["a/b", "a/c", "a"].map(of);
            // What is absorbed lowers the need by as much, and one more does not.
            for (name, amount) in ["a/b", "a/c", "a"].into_iter().zip(absorbed) {
                shares.count(&role(name), &cpus(amount), 1);
                assert_eq!(shares.needed().get("cpus").copied().unwrap_or(0), need - amount, "{used:?} {name}");
                shares.count(&role(name), &cpus(1), 1);
                assert_eq!(shares.needed().get("cpus").copied().unwrap_or(0), need - amount, "{used:?} {name}");
                shares.count(&role(name), &cpus(amount + 1), -1);
            }
        }
    }

    #[test]
    fn what_is_above_a_limit_is_tolerated_until_it_has_gone() {
        let mut shares = Shares::default();
        shares.set_quota(&role("a"), limit(5));
        shares.count(&role("a/b"), &cpus(9), 1);
        assert!(shares.intolerable().is_some());
        shares.tolerate();
        assert_eq!(shares.intolerable(), None);
        shares.count(&role("a/b"), &cpus(2), -1);
        shares.count(&role("a/b"), &cpus(1), 1);
        assert!(shares.intolerable().is_some(), "eight were not there any more");
    }

    #[test]
    fn what_is_kept_for_others_is_not_offered() {
        let mut shares = Shares::default();
        shares.set_quota(&role("a"), guarantee(4));
        let mut available = Totals::default();
        available.add_quantities(&cpus(6));
        for (name, expected) in [("a", 6), ("b", 2)] {
            let mut offered = cpus(6);
            shares.cut(&role(name), &available, &mut offered);
            assert_eq!(offered, cpus(expected), "{name}");
        }
    }
}
