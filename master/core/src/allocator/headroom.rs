//! What is free on agents that can be offered, unreserved: what guarantees are met from. Kept per agent, so that a change of
//! one agent costs one agent.
use std::collections::BTreeMap;

use model::AgentId;

use crate::totals::Totals;

/// The sum, and what it is made of.
#[derive(Debug, Default)]
pub(crate) struct Headroom {
    of: BTreeMap<AgentId, Totals>,
    sum: Totals,
}

impl Headroom {
    pub(crate) fn sum(&self) -> &Totals {
        &self.sum
    }
    pub(crate) fn set(&mut self, agent_id: &AgentId, free: Totals) {
        self.sum.add_totals(&free);
        let before = if free.is_empty() { self.of.remove(agent_id) } else { self.of.insert(agent_id.clone(), free) };
        if let Some(before) = before {
            self.sum.take_totals(&before);
        }
    }
}
