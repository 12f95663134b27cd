//! What is free on agents that can be offered. Kept per agent, so that a change of one agent costs one agent: guarantees are
//! met from the sum of what is unreserved, and who wants offers anew is shown agents with something free only.
use std::collections::BTreeMap;

use model::AgentId;

use crate::totals::Totals;

/// The sum, and what it is made of.
#[derive(Debug, Default)]
pub(crate) struct Headroom {
    /// Agents with something free, and what of it is unreserved (perhaps nothing).
    of: BTreeMap<AgentId, Totals>,
    sum: Totals,
}

impl Headroom {
    /// Unreserved and free, of all agents.
    pub(crate) fn sum(&self) -> &Totals {
        &self.sum
    }
    /// Agents of which something is free, reserved or not.
    pub(crate) fn agents(&self) -> impl Iterator<Item = &AgentId> {
        self.of.keys()
    }
    pub(crate) fn has(&self, agent_id: &AgentId) -> bool {
        self.of.contains_key(agent_id)
    }
    /// `None`: nothing of it is free, or it takes no part.
    pub(crate) fn set(&mut self, agent_id: &AgentId, unreserved: Option<Totals>) {
        let before = match unreserved {
            None => self.of.remove(agent_id),
            Some(free) => {
                self.sum.add_totals(&free);
                match self.of.get_mut(agent_id) {
                    Some(known) => Some(std::mem::replace(known, free)),
                    None => self.of.insert(agent_id.clone(), free),
                }
            }
        };
        if let Some(before) = before {
            self.sum.take_totals(&before);
        }
    }
}
