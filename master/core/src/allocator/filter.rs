//! Decline filters: a framework that refused something of an agent is not offered as much or less of it for a while. More,
//! or something else, goes through.
use std::collections::{BTreeMap, BTreeSet};

use model::{AgentId, FrameworkId, Resources, RoleName, Timestamp};

use crate::limits;
use crate::mutation::{Mutation, mutated};

type Key = (FrameworkId, RoleName, AgentId);

/// All filters, by whose they are and then by agent: a framework forgets its own at once.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    of: BTreeMap<(FrameworkId, RoleName), BTreeMap<AgentId, Vec<Filter>>>,
    /// When the first of each framework, role and agent ends.
    ends: BTreeSet<(Timestamp, Key)>,
}

#[derive(Debug, Clone)]
struct Filter {
    until: Timestamp,
    refused: Resources,
}

fn first_end(filters: &[Filter]) -> Option<Timestamp> {
    filters.iter().map(|filter| filter.until).min()
}

impl Filters {
    pub(crate) fn add(&mut self, key: Key, refused: Resources, until: Timestamp) {
        let agents = self.of.entry((key.0.clone(), key.1.clone())).or_default();
        let filters = agents.entry(key.2.clone()).or_default();
        let before = first_end(filters);
        filters.retain(|old| !(old.until <= until && refused.contains(&old.refused)));
        if filters.len() >= limits::FILTERS_PER_TRIPLE_MAX {
            filters.remove(0);
        }
        filters.push(Filter { until, refused });
        let after = first_end(filters);
        if before != after {
            self.ends.extend(after.map(|at| (at, key.clone())));
            if let Some(at) = before {
                self.ends.remove(&(at, key));
            }
        }
    }
    /// When the first of all ends.
    pub(crate) fn next_end(&self) -> Option<Timestamp> {
        self.ends.first().map(|(at, _)| *at)
    }
    /// Until when this offer is unwanted, if it is.
    pub(crate) fn blocks(
        &self,
        framework_id: &FrameworkId,
        role: &RoleName,
        agent_id: &AgentId,
        offered: &Resources,
        now: Timestamp,
    ) -> Option<Timestamp> {
        if self.of.is_empty() {
            return None;
        }
        let filters = self.of.get(&(framework_id.clone(), role.clone()))?.get(agent_id)?;
        filters
            .iter()
            .filter(|f| f.until > now || mutated(Mutation::FiltersForever))
            .filter(|f| f.refused.contains(offered))
            .map(|f| f.until)
            .max()
    }
    /// Drops what has ended, of one framework, role and agent; says of which agent.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Option<AgentId> {
        let is_over = self.ends.first().is_some_and(|(at, _)| *at <= now);
        let (_, key) = is_over.then(|| self.ends.pop_first()).flatten()?;
        let whose = (key.0.clone(), key.1.clone());
        let agents = self.of.get_mut(&whose).expect("what ends is there");
        let filters = agents.get_mut(&key.2).expect("what ends is there");
        filters.retain(|filter| filter.until > now || mutated(Mutation::FiltersForever));
        let agent_id = key.2.clone();
        match first_end(filters).filter(|at| *at > now) {
            Some(at) => drop(self.ends.insert((at, key))),
            None if filters.is_empty() => {
                agents.remove(&agent_id);
                if agents.is_empty() {
                    self.of.remove(&whose);
                }
            }
            None => {}
        }
        Some(agent_id)
    }
    /// Drops those of a framework in a role.
    pub(crate) fn clear_role(&mut self, framework_id: &FrameworkId, role: &RoleName) {
        let whose = (framework_id.clone(), role.clone());
        for (agent_id, filters) in self.of.remove(&whose).unwrap_or_default() {
            self.forget_end((whose.0.clone(), whose.1.clone(), agent_id), &filters);
        }
    }
    /// Drops those of a framework.
    pub(crate) fn clear_framework(&mut self, framework_id: &FrameworkId) {
        let roles = self.of.keys().filter(|(framework, _)| framework == framework_id).map(|(_, role)| role.clone());
        for role in roles.collect::<Vec<_>>() {
            self.clear_role(framework_id, &role);
        }
    }
    /// The agent has changed: what was refused of it says nothing any more.
    pub(crate) fn clear_agent(&mut self, agent_id: &AgentId) {
        let mut gone = Vec::new();
        self.of.retain(|whose, agents| {
            gone.extend(agents.remove(agent_id).map(|filters| (whose.clone(), filters)));
            !agents.is_empty()
        });
        for ((framework_id, role), filters) in gone {
            self.forget_end((framework_id, role, agent_id.clone()), &filters);
        }
    }
    fn forget_end(&mut self, key: Key, filters: &[Filter]) {
        if let Some(at) = first_end(filters) {
            self.ends.remove(&(at, key));
        }
    }
    /// How many ends are waited for, and how many framework, role and agent triples there are.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.ends.len(), self.of.values().map(BTreeMap::len).sum())
    }
    pub(crate) fn longest(&self) -> usize {
        self.of.values().flat_map(BTreeMap::values).map(Vec::len).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use model::{Milli, Quantities};

    use super::*;

    fn cpus(amount: i64) -> Resources {
        Quantities { cpus: Milli::units(amount), ..Quantities::default() }.into()
    }

    #[test]
    fn a_filter_blocks_as_much_or_less_until_it_ends() {
        let key = (
            FrameworkId::new("f").expect("valid"),
            RoleName::new("r").expect("valid"),
            AgentId::new("a").expect("valid"),
        );
        let mut filters = Filters::default();
        filters.add(key.clone(), cpus(2), Timestamp(100));
        for (offered, now, expected) in [(2, 0, Some(100)), (1, 99, Some(100)), (3, 0, None), (2, 100, None)] {
            let blocked = filters.blocks(&key.0, &key.1, &key.2, &cpus(offered), Timestamp(now));
            assert_eq!(blocked, expected.map(Timestamp), "{offered} at {now}");
        }
        filters.add(key.clone(), cpus(3), Timestamp(50));
        assert_eq!(filters.blocks(&key.0, &key.1, &key.2, &cpus(2), Timestamp(60)), Some(Timestamp(100)), "both stand");
        assert_eq!(filters.next_end(), Some(Timestamp(50)));
        assert_eq!(filters.expire(Timestamp(49)), None);
        assert_eq!((filters.expire(Timestamp(50)), filters.expire(Timestamp(50))), (Some(key.2.clone()), None));
        assert_eq!(filters.next_end(), Some(Timestamp(100)));
        filters.clear_role(&key.0, &RoleName::new("other").expect("valid"));
        assert_eq!(filters.longest(), 1);
        filters.clear_framework(&key.0);
        assert_eq!((filters.longest(), filters.next_end()), (0, None));
    }

    #[test]
    fn what_is_cleared_is_not_waited_for() {
        let key = |agent: &str| {
            let (framework_id, role) = (FrameworkId::new("f").expect("valid"), RoleName::new("r").expect("valid"));
            (framework_id, role, AgentId::new(agent).expect("valid"))
        };
        let mut filters = Filters::default();
        for round in 0..100 {
            for agent in ["a", "b"] {
                filters.add(key(agent), cpus(round), Timestamp(1_000_000));
            }
            assert_eq!(filters.counts(), (2, 2));
            match round % 3 {
                0 => filters.clear_role(&key("a").0, &key("a").1),
                1 => {
                    filters.clear_agent(&key("a").2);
                    assert_eq!(filters.counts(), (1, 1));
                }
                _ => filters.clear_framework(&key("a").0),
            }
        }
    }
}
