//! Decline filters: a framework that refused something of an agent is not offered as much or less of it for a while. More,
//! or something else, goes through.
use std::collections::BTreeMap;

use model::{AgentId, FrameworkId, Resources, RoleName, Timestamp};

use crate::limits;
use crate::mutation::{Mutation, mutated};

type Key = (FrameworkId, RoleName, AgentId);

/// All filters.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    of: BTreeMap<Key, Vec<Filter>>,
}

#[derive(Debug, Clone)]
struct Filter {
    until: Timestamp,
    refused: Resources,
}

impl Filters {
    pub(crate) fn add(&mut self, key: Key, refused: Resources, until: Timestamp) {
        let filters = self.of.entry(key).or_default();
        filters.retain(|old| !(old.until <= until && refused.contains(&old.refused)));
        if filters.len() >= limits::FILTERS_PER_TRIPLE_MAX {
            filters.remove(0);
        }
        filters.push(Filter { until, refused });
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
        let filters = self.of.get(&(framework_id.clone(), role.clone(), agent_id.clone()))?;
        filters
            .iter()
            .filter(|f| f.until > now || mutated(Mutation::FiltersForever))
            .filter(|f| f.refused.contains(offered))
            .map(|f| f.until)
            .max()
    }
    /// Drops what has ended; whether there was any.
    pub(crate) fn expire(&mut self, key: &Key, now: Timestamp) -> bool {
        let Some(filters) = self.of.get_mut(key) else { return false };
        let before = filters.len();
        filters.retain(|filter| filter.until > now || mutated(Mutation::FiltersForever));
        let ended = filters.len() < before;
        if filters.is_empty() {
            self.of.remove(key);
        }
        ended
    }
    /// Drops those of a framework in a role (`None`: in all); whether there was any.
    pub(crate) fn clear_framework(&mut self, framework_id: &FrameworkId, role: Option<&RoleName>) {
        self.of
            .retain(|(framework, in_role, _), _| framework != framework_id || role.is_some_and(|role| role != in_role));
    }
    /// The agent has changed: what was refused of it says nothing any more.
    pub(crate) fn clear_agent(&mut self, agent_id: &AgentId) {
        self.of.retain(|(_, _, agent), _| agent != agent_id);
    }
    pub(crate) fn longest(&self) -> usize {
        self.of.values().map(Vec::len).max().unwrap_or(0)
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
        assert!(filters.expire(&key, Timestamp(50)) && !filters.expire(&key, Timestamp(50)));
        filters.clear_framework(&key.0, Some(&RoleName::new("other").expect("valid")));
        assert_eq!(filters.longest(), 1);
        filters.clear_framework(&key.0, None);
        assert_eq!(filters.longest(), 0);
    }
}
