//! Who comes next: roles by dominant share over weight, frameworks within a role by dominant share. What counts is what is
//! allocated and what is lent.
use std::collections::{BTreeMap, BTreeSet};

use model::{FrameworkId, Resources, RoleName};

use crate::totals::Totals;

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
    roles: BTreeMap<RoleName, Role>,
    /// Roles in which somebody wants offers.
    order: BTreeSet<Turn<RoleName>>,
}

#[derive(Debug)]
struct Role {
    weight_milli: u64,
    consumed: Totals,
    grants: u64,
    members: BTreeMap<FrameworkId, Member>,
    /// Members that want offers.
    order: BTreeSet<Turn<FrameworkId>>,
    place: Option<Turn<RoleName>>,
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

impl Default for Role {
    fn default() -> Self {
        Self {
            weight_milli: 1000,
            consumed: Totals::default(),
            grants: 0,
            members: BTreeMap::new(),
            order: BTreeSet::new(),
            place: None,
        }
    }
}

impl Shares {
    pub(crate) fn roles_in_order(&self) -> impl Iterator<Item = &RoleName> {
        self.order.iter().map(|turn| &turn.name)
    }
    pub(crate) fn frameworks_in_order(&self, role: &RoleName) -> impl Iterator<Item = &FrameworkId> {
        self.roles.get(role).into_iter().flat_map(|role| role.order.iter().map(|turn| &turn.name))
    }
    /// The pool has more or less: all shares change.
    pub(crate) fn change_pool(&mut self, less: &Resources, more: &Resources) {
        if less == more {
            return;
        }
        self.pool.take(less);
        self.pool.add(more);
        let members: Vec<_> = self
            .roles
            .iter()
            .flat_map(|(role, entry)| entry.members.keys().map(move |member| (role.clone(), member.clone())))
            .collect();
        for (role, member) in members {
            self.reorder(&role, &member);
        }
    }
    pub(crate) fn set_weight(&mut self, role: &RoleName, weight_milli: u64) {
        self.roles.entry(role.clone()).or_default().weight_milli = weight_milli;
        self.reorder_role(role);
        self.drop_if_unused(role);
    }
    /// Whether it is in the role at all, and whether it wants offers in it.
    pub(crate) fn set_member(&mut self, role: &RoleName, framework_id: &FrameworkId, subscribed: bool, eager: bool) {
        let entry = self.roles.entry(role.clone()).or_default();
        let member = entry.members.entry(framework_id.clone()).or_default();
        member.subscribed = subscribed;
        member.eager = eager;
        self.reorder(role, framework_id);
        self.drop_if_unused(role);
    }
    pub(crate) fn granted(&mut self, role: &RoleName, framework_id: &FrameworkId) {
        let entry = self.roles.entry(role.clone()).or_default();
        entry.grants += 1;
        entry.members.entry(framework_id.clone()).or_default().grants += 1;
    }
    pub(crate) fn charge(&mut self, role: &RoleName, framework_id: &FrameworkId, resources: &Resources) {
        let entry = self.roles.entry(role.clone()).or_default();
        entry.consumed.add(resources);
        entry.members.entry(framework_id.clone()).or_default().consumed.add(resources);
        self.reorder(role, framework_id);
    }
    pub(crate) fn release(&mut self, role: &RoleName, framework_id: &FrameworkId, resources: &Resources) {
        let entry = self.roles.entry(role.clone()).or_default();
        entry.consumed.take(resources);
        entry.members.entry(framework_id.clone()).or_default().consumed.take(resources);
        self.reorder(role, framework_id);
        self.drop_if_unused(role);
    }
    pub(crate) fn role_names(&self) -> impl Iterator<Item = &RoleName> {
        self.roles.keys()
    }
    /// Weight, subscribed frameworks, share in millionths, consumption by name; `None` if nobody uses the role.
    pub(crate) fn describe(&self, role: &RoleName) -> Option<(u64, usize, u64, BTreeMap<String, i64>)> {
        let entry = self.roles.get(role)?;
        let frameworks = entry.members.values().filter(|member| member.subscribed).count();
        Some((
            entry.weight_milli,
            frameworks,
            entry.consumed.dominant_share(&self.pool) / 1000,
            entry.consumed.by_name(),
        ))
    }
    pub(crate) fn pool(&self) -> &Totals {
        &self.pool
    }
    pub(crate) fn consumed(&self, role: &RoleName, framework_id: &FrameworkId) -> Option<&Totals> {
        Some(&self.roles.get(role)?.members.get(framework_id)?.consumed)
    }
    pub(crate) fn memberships(&self) -> impl Iterator<Item = (&RoleName, &FrameworkId)> {
        self.roles.iter().flat_map(|(role, entry)| entry.members.keys().map(move |member| (role, member)))
    }

    fn reorder(&mut self, role: &RoleName, framework_id: &FrameworkId) {
        let Some(entry) = self.roles.get_mut(role) else { return };
        if let Some(member) = entry.members.get_mut(framework_id) {
            if let Some(place) = member.place.take() {
                entry.order.remove(&place);
            }
            if member.eager {
                let share = member.consumed.dominant_share(&self.pool);
                let place = Turn { share, grants: member.grants, name: framework_id.clone() };
                entry.order.insert(place.clone());
                member.place = Some(place);
            } else if !member.subscribed && member.consumed.is_empty() {
                entry.members.remove(framework_id);
            }
        }
        self.reorder_role(role);
    }
    fn reorder_role(&mut self, role: &RoleName) {
        let Some(entry) = self.roles.get_mut(role) else { return };
        if let Some(place) = entry.place.take() {
            self.order.remove(&place);
        }
        if !entry.order.is_empty() {
            let share =
                u128::from(entry.consumed.dominant_share(&self.pool)) * 1000 / u128::from(entry.weight_milli.max(1));
            let share = u64::try_from(share).unwrap_or(u64::MAX);
            let place = Turn { share, grants: entry.grants, name: role.clone() };
            self.order.insert(place.clone());
            entry.place = Some(place);
        }
    }
    fn drop_if_unused(&mut self, role: &RoleName) {
        if self.roles.get(role).is_some_and(|entry| entry.members.is_empty() && entry.weight_milli == 1000) {
            self.roles.remove(role);
        }
    }
}
