//! What operators decide about agents: offered or not, and emptied. A drain has two levels: the frameworks hear of it
//! first, as Mesos' inverse offers, and move what they have by their own rules; what is still there after the deadline
//! the master kills.
use model::call::SchedulerEvent;
use model::{AgentId, Span};

use crate::agent::AgentState;
use crate::decision::{Decision, OfferEnd, Rejected};
use crate::limits;
use crate::master::Master;
use crate::registry::{AgentMode, Drain, Record};
use crate::timer::Timer;

impl Master {
    /// An agent by name or id.
    pub(crate) fn find_agent(&self, agent: &str) -> Result<AgentId, Rejected> {
        let by_id = || self.agents.keys().find(|id| id.as_str() == agent);
        let found = self.agent_names.get(agent).or_else(by_id).cloned();
        found.ok_or_else(|| Rejected::UnknownAgent { agent: agent.to_owned() })
    }

    pub(crate) fn find_living(&self, agent: &str) -> Result<AgentId, Rejected> {
        let id = self.find_agent(agent)?;
        if self.agents[&id].state == AgentState::Gone {
            return Err(Rejected::AgentGone { agent_id: id });
        }
        Ok(id)
    }

    pub(crate) fn ask_deactivate(&mut self, agent: &str) -> Result<(), Rejected> {
        let id = self.find_living(agent)?;
        if self.agents[&id].record.mode == AgentMode::Active {
            self.set_mode(&id, AgentMode::Deactivated);
            self.rescind_offers_of(&id);
        }
        Ok(())
    }

    /// What frameworks and the master ended meanwhile stays ended.
    pub(crate) fn ask_reactivate(&mut self, agent: &str) -> Result<(), Rejected> {
        let id = self.find_living(agent)?;
        let before = self.agents[&id].record.mode;
        if before == AgentMode::Active {
            return Ok(());
        }
        if let AgentMode::Draining(drain) = before {
            self.withdraw_inverse_offer(&id);
            self.call_off(&id, &drain);
        }
        self.set_mode(&id, AgentMode::Active);
        // An announced window stands.
        self.tell_inverse_offer(&id);
        self.mark(&id);
        self.allocator.shares.note_relief();
        Ok(())
    }

    /// A drain that goes on gets the new deadline.
    pub(crate) fn ask_drain(&mut self, agent: &str, max_grace: Span, mark_gone: bool) -> Result<(), Rejected> {
        let limit = limits::DRAIN_GRACE_MAX;
        if max_grace > limit {
            return Err(Rejected::GraceTooLong { seconds: max_grace.0 / 1000, limit: limit.0 / 1000 });
        }
        let id = self.find_living(agent)?;
        self.withdraw_inverse_offer(&id);
        if let AgentMode::Draining(before) = self.agents[&id].record.mode {
            self.call_off(&id, &before);
        }
        let drain = Drain { since: self.now, deadline: self.now + max_grace, mark_gone };
        self.set_mode(&id, AgentMode::Draining(drain));
        self.rescind_offers_of(&id);
        self.draining.insert(id.clone());
        self.timers.set(drain.deadline, Timer::Drain(id.clone()));
        self.tell_inverse_offer(&id);
        self.drain_due(&id);
        Ok(())
    }

    fn call_off(&mut self, id: &AgentId, drain: &Drain) {
        self.draining.remove(id);
        self.timers.unset(drain.deadline, Timer::Drain(id.clone()));
    }

    fn set_mode(&mut self, id: &AgentId, mode: AgentMode) {
        let agent = self.agents.get_mut(id).expect("the caller found it");
        agent.record.mode = mode;
        let record = agent.record.clone();
        if matches!(mode, AgentMode::Drained { .. }) {
            // Nobody is asked any more.
            self.forget_answers(id);
        }
        self.outbox.persist(Record::Agent(record));
        self.dirty.agents.insert(id.clone());
        self.decided(Decision::AgentModeSet { agent_id: id.clone(), mode });
    }

    pub(crate) fn rescind_offers_of(&mut self, id: &AgentId) {
        for offer_id in self.offers.of_agent(id) {
            if let Some(offer) = self.end_offer(&offer_id, OfferEnd::Rescinded) {
                self.tell_framework(&offer.framework_id, SchedulerEvent::Rescind(offer_id));
            }
        }
    }

    /// The deadline may have passed: what is still there is killed, with its own grace.
    pub(crate) fn drain_due(&mut self, id: &AgentId) {
        if !self.is_emptied_by_force(id) {
            return;
        }
        let tasks: Vec<_> = self.agents[id].tasks.iter().cloned().collect();
        for (framework_id, task_id) in tasks {
            let task = self.ledger.get(&framework_id, &task_id).expect("an agent's tasks are in the ledger");
            if !task.state().is_terminal() && task.kill.is_none() {
                self.kill(&framework_id, &task_id, Some(id), None);
            }
        }
    }

    /// Whether an agent is being drained and its deadline has passed.
    pub(crate) fn is_emptied_by_force(&self, id: &AgentId) -> bool {
        let mode = self.agents.get(id).map(|agent| agent.record.mode);
        matches!(mode, Some(AgentMode::Draining(drain)) if drain.deadline <= self.now)
    }

    /// Agents that have become empty. Only one that is here can say that it is.
    pub(crate) fn settle_drains(&mut self) {
        let empty: Vec<(AgentId, Drain)> = self
            .draining
            .iter()
            .filter_map(|id| {
                let agent = &self.agents[id];
                let is_empty = agent.session().is_some() && agent.tasks.is_empty() && agent.ghosts.is_empty();
                match agent.record.mode {
                    AgentMode::Draining(drain) if is_empty => Some((id.clone(), drain)),
                    AgentMode::Draining(_) | AgentMode::Active | AgentMode::Deactivated | AgentMode::Drained { .. } => {
                        None
                    }
                }
            })
            .collect();
        for (id, drain) in empty {
            self.draining.remove(&id);
            self.timers.unset(drain.deadline, Timer::Drain(id.clone()));
            self.set_mode(&id, AgentMode::Drained { since: self.now });
            self.decided(Decision::AgentDrained { agent_id: id.clone() });
            if drain.mark_gone {
                self.give_up(&id, crate::registration::GONE);
            }
        }
    }
}
