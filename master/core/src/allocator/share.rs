//! Who comes next: a tree of roles. The children of every role are in order of dominant share over weight; a role with
//! members of its own stands among its children for them, under its own name. Within a role its frameworks are in order of
//! dominant share. What counts is what is allocated and what is lent, along the whole path.
//!
//! Orders are kept, not computed: a change costs the length of its path. What quotas count is in [`super::ceiling`].
use std::collections::{BTreeMap, BTreeSet, btree_set};

use model::{FrameworkId, Resources, RoleName};

use super::ceiling::Counted;
use crate::quota::Quota;
use crate::totals::Totals;
use crate::view::RoleView;

/// The weight of a role that nobody gave one.
const WEIGHT_MILLI: u64 = 1000;

/// A place in an order: the smallest comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Turn<N> {
    /// Dominant share over weight.
    share: u64,
    /// Between equals, who was served less often.
    grants: u64,
    name: N,
}

/// All roles and who is in them.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    pool: Totals,
    /// Scalars that do not count in shares.
    excluded: BTreeSet<String>,
    pub(super) nodes: BTreeMap<RoleName, Node>,
    /// Top-level roles in which, or below which, somebody wants offers.
    order: BTreeSet<Turn<RoleName>>,
    /// The pool has changed since the orders were made.
    is_stale: bool,
    /// Roles whose numbers changed since somebody looked.
    pub(super) changed: BTreeSet<RoleName>,
    /// Somebody has less than before, or needs less: what was held back may be for somebody.
    pub(super) is_relieved: bool,
    /// What all guarantees together still need, by scalar.
    pub(super) needed: BTreeMap<String, i64>,
    /// How many roles have limits, and how many guarantees: without any, nothing is computed.
    pub(super) limited: usize,
    pub(super) guaranteed: usize,
}

/// A role, and all below it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) parent: Option<RoleName>,
    /// Roles right below it.
    children: usize,
    weight_milli: u64,
    /// Of the whole subtree.
    consumed: Totals,
    grants: u64,
    /// Of its own members alone.
    own_consumed: Totals,
    own_grants: u64,
    members: BTreeMap<FrameworkId, Member>,
    /// Members that want offers.
    eager: BTreeSet<Turn<FrameworkId>>,
    /// Children below which somebody wants offers; itself, for its own members.
    order: BTreeSet<Turn<RoleName>>,
    own_place: Option<Turn<RoleName>>,
    /// In the parent's order.
    place: Option<Turn<RoleName>>,
    pub(super) counted: Counted,
}

#[derive(Debug, Default)]
struct Member {
    /// It subscribed in this role, connected or not.
    subscribed: bool,
    /// It wants offers now.
    eager: bool,
    consumed: Totals,
    grants: u64,
    place: Option<Turn<FrameworkId>>,
}

impl Node {
    fn new(parent: Option<RoleName>) -> Self {
        Self {
            parent,
            children: 0,
            weight_milli: WEIGHT_MILLI,
            consumed: Totals::default(),
            grants: 0,
            own_consumed: Totals::default(),
            own_grants: 0,
            members: BTreeMap::new(),
            eager: BTreeSet::new(),
            order: BTreeSet::new(),
            own_place: None,
            place: None,
            counted: Counted::default(),
        }
    }
    fn is_unused(&self) -> bool {
        self.members.is_empty()
            && self.children == 0
            && self.weight_milli == WEIGHT_MILLI
            && self.counted.is_unused()
            && self.consumed.is_empty()
    }
}

impl Shares {
    pub(crate) fn exclude(&mut self, excluded: BTreeSet<String>) {
        self.excluded = excluded;
        self.is_stale = true;
    }
    /// Every role in which somebody wants offers, in order: depth first.
    pub(crate) fn roles_in_order(&self) -> InOrder<'_> {
        InOrder { shares: self, above: vec![(None, self.order.iter())] }
    }
    pub(crate) fn frameworks_in_order(&self, role: &RoleName) -> impl Iterator<Item = &FrameworkId> {
        self.nodes.get(role).into_iter().flat_map(|node| node.eager.iter().map(|turn| &turn.name))
    }
    /// The pool has more or less of something, or under another title. Orders follow when they are looked at next.
    pub(crate) fn change_pool(&mut self, less: &Resources, more: &Resources) {
        if less == more {
            return;
        }
        let before = self.pool.clone();
        self.pool.take(less);
        self.pool.add(more);
        self.is_stale |= self.pool != before;
        self.is_relieved = true;
        for (resources, sign) in [(more, 1), (less, -1)] {
            for (holding, quantities) in &resources.held {
                if more.held.get(holding).is_none_or(|same| less.held.get(holding) != Some(same)) {
                    self.count(&holding.reservation.role, quantities, sign);
                }
            }
        }
        for holding in less.held.keys() {
            self.drop_if_unused(&holding.reservation.role);
        }
    }
    /// Makes the orders what they should be after changes of the pool.
    pub(crate) fn freshen(&mut self) {
        if !std::mem::take(&mut self.is_stale) {
            return;
        }
        let members: Vec<_> = self.memberships().map(|(role, member)| (role.clone(), member.clone())).collect();
        for (role, member) in members {
            self.reorder_member(&role, &member);
        }
        // Roles below others come behind them: backwards, a role's children are in their places before itself.
        let roles: Vec<RoleName> = self.nodes.keys().rev().cloned().collect();
        for role in roles {
            self.reorder_own(&role);
            self.reorder_one(&role);
            self.changed.insert(role);
        }
    }
    pub(crate) fn set_weight(&mut self, role: &RoleName, weight_milli: u64) {
        self.node(role).weight_milli = weight_milli;
        self.reorder_path(role);
        self.drop_if_unused(role);
    }
    /// Whether it is in the role at all, and whether it wants offers in it.
    pub(crate) fn set_member(&mut self, role: &RoleName, framework_id: &FrameworkId, subscribed: bool, eager: bool) {
        let member = self.node(role).members.entry(framework_id.clone()).or_default();
        member.subscribed = subscribed;
        member.eager = eager;
        self.reorder(role, framework_id);
        self.drop_if_unused(role);
    }
    /// It is its turn: it gets so much, and those who got less often come before it next time.
    pub(crate) fn grant(&mut self, role: &RoleName, framework_id: &FrameworkId, resources: &Resources) {
        self.use_more(role, framework_id, resources, 1);
    }
    /// It uses so much more.
    pub(crate) fn charge(&mut self, role: &RoleName, framework_id: &FrameworkId, resources: &Resources) {
        self.use_more(role, framework_id, resources, 0);
    }
    fn use_more(&mut self, role: &RoleName, framework_id: &FrameworkId, resources: &Resources, grants: u64) {
        let node = self.node(role);
        node.own_consumed.add(resources);
        node.own_grants += grants;
        let member = node.members.entry(framework_id.clone()).or_default();
        member.consumed.add(resources);
        member.grants += grants;
        self.each_above(role, |node| {
            node.consumed.add(resources);
            node.grants += grants;
            node.counted.more(&resources.unreserved);
        });
        self.counts_changed(role);
        self.reorder(role, framework_id);
    }
    /// It uses so much less.
    pub(crate) fn release(&mut self, role: &RoleName, framework_id: &FrameworkId, resources: &Resources) {
        self.is_relieved = true;
        let node = self.node(role);
        node.own_consumed.take(resources);
        node.members.entry(framework_id.clone()).or_default().consumed.take(resources);
        self.each_above(role, |node| {
            node.consumed.take(resources);
            node.counted.less(&resources.unreserved);
        });
        self.counts_changed(role);
        self.reorder(role, framework_id);
        self.drop_if_unused(role);
    }
    pub(crate) fn role_names(&self) -> impl Iterator<Item = &RoleName> {
        self.nodes.keys()
    }
    /// There is more to meet guarantees from.
    pub(crate) fn note_relief(&mut self) {
        self.is_relieved = true;
    }
    /// Whether anybody has, or needs, less than when this was asked last.
    pub(crate) fn take_relieved(&mut self) -> bool {
        std::mem::take(&mut self.is_relieved)
    }
    /// Roles whose numbers changed since this was asked last.
    pub(crate) fn take_changed(&mut self) -> BTreeSet<RoleName> {
        std::mem::take(&mut self.changed)
    }
    /// What people see; `None` if nobody uses the role.
    pub(crate) fn describe(&self, role: &RoleName) -> Option<RoleView> {
        let node = self.nodes.get(role)?;
        Some(RoleView {
            name: role.clone(),
            weight_milli: node.weight_milli,
            frameworks: node.members.values().filter(|member| member.subscribed).count(),
            share_ppm: self.share_of(&node.consumed) / 1000,
            consumed: node.consumed.by_name(),
            quota: self.quota(role).cloned().unwrap_or_default(),
            counted: node.counted.amounts().by_name(),
        })
    }
    pub(crate) fn pool(&self) -> &Totals {
        &self.pool
    }
    pub(crate) fn consumed(&self, role: &RoleName, framework_id: &FrameworkId) -> Option<&Totals> {
        Some(&self.nodes.get(role)?.members.get(framework_id)?.consumed)
    }
    /// What counts in shares below a role, its own members included.
    pub(crate) fn consumed_below(&self, role: &RoleName) -> Option<&Totals> {
        self.nodes.get(role).map(|node| &node.consumed)
    }
    pub(crate) fn memberships(&self) -> impl Iterator<Item = (&RoleName, &FrameworkId)> {
        self.nodes.iter().flat_map(|(role, node)| node.members.keys().map(move |member| (role, member)))
    }
    pub(crate) fn quota(&self, role: &RoleName) -> Option<&Quota> {
        self.nodes.get(role).map(|node| node.counted.quota())
    }
    /// A role's entry; it and those above it are made if they are not there.
    pub(super) fn node(&mut self, role: &RoleName) -> &mut Node {
        if !self.nodes.contains_key(role) {
            let parent = role.parent();
            if let Some(parent) = &parent {
                self.node(parent).children += 1;
            }
            self.nodes.insert(role.clone(), Node::new(parent));
            self.changed.insert(role.clone());
        }
        self.nodes.get_mut(role).expect("made above")
    }
    /// A role and those above it, the role first.
    pub(super) fn path(&self, role: &RoleName) -> impl Iterator<Item = (&RoleName, &Node)> {
        std::iter::successors(self.nodes.get_key_value(role), |(_, node)| {
            node.parent.as_ref().and_then(|parent| self.nodes.get_key_value(parent))
        })
    }
    pub(super) fn drop_if_unused(&mut self, role: &RoleName) {
        let mut at = Some(role.clone());
        while let Some(role) = at.take() {
            if self.nodes.get(&role).is_some_and(Node::is_unused) {
                let node = self.nodes.remove(&role).expect("seen above");
                self.changed.insert(role);
                if let Some(parent) = node.parent {
                    self.nodes.get_mut(&parent).expect("a role's parent is there").children -= 1;
                    at = Some(parent);
                }
            }
        }
    }

    /// Does something with a role and all above it.
    pub(super) fn each_above(&mut self, role: &RoleName, mut change: impl FnMut(&mut Node)) {
        let mut at = Some(role.clone());
        while let Some(node) = at.as_ref().and_then(|role| self.nodes.get_mut(role)) {
            change(node);
            at.clone_from(&node.parent);
        }
    }
    fn share_of(&self, consumed: &Totals) -> u64 {
        consumed.dominant_share(&self.pool, &self.excluded)
    }

    fn reorder(&mut self, role: &RoleName, framework_id: &FrameworkId) {
        self.reorder_member(role, framework_id);
        self.reorder_path(role);
    }
    fn reorder_path(&mut self, role: &RoleName) {
        self.reorder_own(role);
        let mut at = Some(role.clone());
        while let Some(role) = at.take() {
            at = self.reorder_one(&role);
            self.changed.insert(role);
        }
    }
    /// A framework among those of its role.
    fn reorder_member(&mut self, role: &RoleName, framework_id: &FrameworkId) {
        let Self { nodes, pool, excluded, .. } = self;
        let Some(node) = nodes.get_mut(role) else { return };
        let Some(member) = node.members.get_mut(framework_id) else { return };
        if let Some(place) = member.place.take() {
            node.eager.remove(&place);
        }
        if member.eager {
            let share = member.consumed.dominant_share(pool, excluded);
            let place = Turn { share, grants: member.grants, name: framework_id.clone() };
            node.eager.insert(place.clone());
            member.place = Some(place);
        } else if !member.subscribed && member.consumed.is_empty() {
            node.members.remove(framework_id);
        }
    }
    /// A role's own members among its children. They weigh one: the role's weight is theirs and its children's together.
    fn reorder_own(&mut self, role: &RoleName) {
        let Self { nodes, pool, excluded, .. } = self;
        let Some(node) = nodes.get_mut(role) else { return };
        if let Some(place) = node.own_place.take() {
            node.order.remove(&place);
        }
        if !node.eager.is_empty() {
            let share = node.own_consumed.dominant_share(pool, excluded);
            let place = Turn { share, grants: node.own_grants, name: role.clone() };
            node.order.insert(place.clone());
            node.own_place = Some(place);
        }
    }
    /// A role among its parent's children; says which its parent is.
    fn reorder_one(&mut self, role: &RoleName) -> Option<RoleName> {
        let Self { nodes, pool, excluded, order, .. } = self;
        let node = nodes.get_mut(role)?;
        let old = node.place.take();
        let new = (!node.order.is_empty()).then(|| {
            let share = node.consumed.dominant_share(pool, excluded);
            let share = u128::from(share) * u128::from(WEIGHT_MILLI) / u128::from(node.weight_milli.max(1));
            let share = u64::try_from(share).unwrap_or(u64::MAX);
            Turn { share, grants: node.grants, name: role.clone() }
        });
        node.place.clone_from(&new);
        let parent = node.parent.clone();
        let siblings = match &parent {
            Some(parent) => &mut nodes.get_mut(parent).expect("a role's parent is there").order,
            None => order,
        };
        if let Some(old) = old {
            siblings.remove(&old);
        }
        if let Some(new) = new {
            siblings.insert(new);
        }
        parent
    }
}

/// A walk through the tree.
#[derive(Debug)]
pub(crate) struct InOrder<'a> {
    shares: &'a Shares,
    /// Roles that were entered, with the rest of their children.
    above: Vec<(Option<&'a RoleName>, btree_set::Iter<'a, Turn<RoleName>>)>,
}

impl<'a> Iterator for InOrder<'a> {
    type Item = &'a RoleName;
    fn next(&mut self) -> Option<&'a RoleName> {
        loop {
            let (role, children) = self.above.last_mut()?;
            match children.next() {
                None => drop(self.above.pop()),
                Some(turn) if *role == Some(&turn.name) => return Some(&turn.name),
                Some(turn) => {
                    let node = self.shares.nodes.get(&turn.name).expect("what is in an order is there");
                    self.above.push((Some(&turn.name), node.order.iter()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{Milli, Quantities};

    use super::*;

    fn cpus(amount: i64) -> Resources {
        Quantities { cpus: Milli::units(amount), ..Quantities::default() }.into()
    }
    fn role(name: &str) -> RoleName {
        RoleName::new(name).expect("valid")
    }
    fn framework(name: &str) -> FrameworkId {
        FrameworkId::new(name).expect("valid")
    }
    /// `role: cpus` pairs, each with a framework of its own.
    fn shares(used: &[(&str, i64)]) -> Shares {
        let mut shares = Shares::default();
        shares.change_pool(&Resources::default(), &cpus(100));
        for (name, amount) in used {
            let id = framework(&name.replace('/', "-"));
            shares.set_member(&role(name), &id, true, true);
            shares.charge(&role(name), &id, &cpus(*amount));
        }
        shares
    }
    fn order(shares: &mut Shares) -> String {
        shares.freshen();
        shares.roles_in_order().map(RoleName::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_level_is_in_order_of_share_over_weight() {
        type Case = (&'static [(&'static str, i64)], &'static [(&'static str, u64)], &'static str);
        let cases: &[Case] = &[
            (&[("a", 2), ("b", 1)], &[], "b a"),
            // A whole subtree counts at its top, however poor a leaf of it is.
            (&[("a/x", 5), ("a/y", 0), ("b", 4)], &[], "b a/y a/x"),
            (&[("a/x", 5), ("a/y", 0), ("b", 4)], &[("a", 2000)], "a/y a/x b"),
            // The weight of a leaf counts among its siblings only.
            (&[("a/x", 5), ("a/y", 2), ("b", 4)], &[("a/x", 9000)], "b a/x a/y"),
            // A role that is a leaf, too, stands among its children.
            (&[("a", 3), ("a/x", 1), ("a/y", 4), ("b", 20)], &[], "a/x a a/y b"),
            (&[("a", 3), ("a/x", 4), ("a/y", 5)], &[("a", 7000), ("a/y", 2000)], "a/y a a/x"),
            // Names do not order by text: a-b is no child of a.
            (&[("a-b", 1), ("a/b", 2), ("a", 0)], &[], "a-b a a/b"),
            (&[("a/b/c", 3), ("a/b", 1), ("a/d", 5)], &[], "a/b a/b/c a/d"),
        ];
        for (used, weights, expected) in cases {
            let mut shares = shares(used);
            for (name, weight_milli) in *weights {
                shares.set_weight(&role(name), *weight_milli);
            }
            assert_eq!(order(&mut shares), *expected, "{used:?} {weights:?}");
        }
    }

    #[test]
    fn who_wants_nothing_is_not_in_the_order_and_the_share_stays() {
        let mut shares = shares(&[("a/x", 5), ("a/y", 1), ("b", 4)]);
        shares.set_member(&role("a/y"), &framework("a-y"), true, false);
        assert_eq!(order(&mut shares), "b a/x");
        shares.set_member(&role("a/x"), &framework("a-x"), true, false);
        assert_eq!(order(&mut shares), "b");
        assert_eq!(shares.describe(&role("a")).map(|view| view.share_ppm), Some(60_000));
    }

    #[test]
    fn roles_that_nobody_uses_are_forgotten_with_those_above_them() {
        let mut shares = shares(&[("a/b/c", 3)]);
        let (role, id) = (role("a/b/c"), framework("a-b-c"));
        shares.set_member(&role, &id, false, false);
        assert_eq!(shares.role_names().count(), 3, "it still uses something");
        shares.release(&role, &id, &cpus(3));
        assert_eq!(shares.role_names().count(), 0);
        shares.set_weight(&role, 2000);
        shares.set_weight(&role, 1000);
        assert_eq!(shares.role_names().count(), 0);
    }

    #[test]
    fn what_is_excluded_does_not_count() {
        let mut shares = shares(&[("a", 0), ("b", 1)]);
        let gpus = Resources::from(Quantities { gpus: Milli::units(4), ..Quantities::default() });
        shares.change_pool(&Resources::default(), &gpus);
        shares.charge(&role("a"), &framework("a"), &gpus);
        assert_eq!(order(&mut shares), "b a");
        shares.exclude(BTreeSet::from(["gpus".to_owned()]));
        assert_eq!(order(&mut shares), "a b");
    }
}
