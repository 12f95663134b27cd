//! What the registry does not keep for ever: agents that were given up, and those that stayed away for so long that nobody
//! waits for them. Their ids are refused all the same: an id that this pool gave and does not know any more was given up.
use model::AgentId;

use crate::agent::AgentState;
use crate::command::Command;
use crate::decision::Decision;
use crate::limits;
use crate::master::{Master, number_of};
use crate::registry::Record;
use crate::timer::Timer;
use crate::view::Delta;

impl Master {
    /// Something became old enough to be looked after some day.
    pub(crate) fn collect_later(&mut self) {
        if self.collects_at.is_none() {
            let interval =
                limits::COLLECTION_INTERVAL.min(self.config.registry_age_max).max(limits::COLLECTION_INTERVAL_MIN);
            let at = self.now + interval;
            self.collects_at = Some(at);
            self.timers.set(at, Timer::Collection);
        }
    }

    /// From time to time.
    pub(crate) fn collect(&mut self) {
        self.collects_at = None;
        for id in self.given_up_by_time() {
            self.give_up(&id, "its agent was away for longer than the registry keeps agents");
        }
        for id in self.forgotten_by_time() {
            self.forget_agent(&id);
        }
        let waits =
            |agent: &crate::agent::Agent| matches!(agent.state, AgentState::Unreachable { .. } | AgentState::Gone);
        if self.agents.values().any(waits) {
            self.collect_later();
        }
    }

    /// Agents that nobody has seen for longer than the registry keeps them. Those on which something is reserved, or has
    /// a volume, stay: only an operator can say that data is lost.
    fn given_up_by_time(&self) -> Vec<AgentId> {
        let is_old = |agent: &&crate::agent::Agent| match agent.state {
            AgentState::Unreachable { since } => {
                since + self.config.registry_age_max <= self.now && agent.record.holdings.is_empty()
            }
            AgentState::Recovered
            | AgentState::Connected { .. }
            | AgentState::Disconnected { .. }
            | AgentState::Gone => false,
        };
        self.agents.values().filter(is_old).map(|agent| agent.id().clone()).collect()
    }

    /// Agents given up that are too old or too many, the oldest first.
    fn forgotten_by_time(&self) -> Vec<AgentId> {
        let mut gone: Vec<_> = self
            .agents
            .values()
            .filter(|agent| agent.state == AgentState::Gone && self.may_be_forgotten(agent.id()))
            .map(|agent| (agent.record.unreachable_since.unwrap_or_default(), agent.id().clone()))
            .collect();
        gone.sort();
        let excess = gone.len().saturating_sub(self.config.registry_count_max);
        let is_due = |(i, (since, _)): &(usize, (model::Timestamp, AgentId))| {
            *i < excess || *since + self.config.registry_age_max <= self.now
        };
        gone.into_iter().enumerate().filter(is_due).map(|(_, (_, id))| id).collect()
    }

    /// Not as long as a framework has yet to hear what became of its operations there; nor the one with the largest
    /// number, or that would be given again.
    fn may_be_forgotten(&self, id: &AgentId) -> bool {
        self.agents[id].record.operations.is_empty() && number_of(id.as_str(), "-S") < self.agent_number
    }

    fn forget_agent(&mut self, id: &AgentId) {
        let agent = self.agents.remove(id).expect("listed by the caller");
        assert!(agent.tasks.is_empty() && agent.ghosts.is_empty(), "what was given up has nothing: {id}");
        self.dirty.agents.remove(id);
        self.dirty.lent.remove(id);
        self.outbox.persist(Record::ForgetAgent(id.clone()));
        self.outbox.push(Command::Changed(Delta::AgentRemoved(id.clone())));
        self.decided(Decision::AgentForgotten { agent_id: id.clone() });
    }

    /// Whether this pool gave an agent this id once, whatever became of it.
    pub(crate) fn has_given(&self, id: &AgentId) -> bool {
        let number = number_of(id.as_str(), "-S");
        (1..=self.agent_number).contains(&number) && id.as_str() == format!("{}-S{number}", self.pool.master_id)
    }
}
