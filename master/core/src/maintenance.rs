//! Maintenance of agents: a window is announced long before, as the unavailability of the agent's offers and as inverse
//! offers to its frameworks, whose answers operators see. Nothing happens at the window's time by itself: an operator
//! starts it, which empties the agent at once, and stops it, which offers the agent again.
//!
//! A framework is asked once, and again whenever it begins a session. One that answers with a filter is asked again when
//! that has ended or when it revives, for as long as the agent is wanted back at the same time.
use std::collections::BTreeSet;

use model::call::{Filter, InverseOffer, SchedulerEvent, Unavailability};
use model::{AgentId, FrameworkId, OfferId, Span};

use crate::agent::AgentState;
use crate::decision::{Decision, Rejected, capped};
use crate::limits;
use crate::master::Master;
use crate::registry::{AgentMode, Record};
use crate::timer::Timer;

impl Master {
    /// Announces a window for all of the agents, or, if one of them cannot have it, for none. Replaces earlier ones.
    pub(crate) fn ask_schedule(&mut self, agents: &[String], window: Unavailability) -> Result<(), Rejected> {
        if window.duration == Some(Span(0)) {
            return Err(Rejected::Malformed { what: "a maintenance window of no length" });
        }
        if window.duration.is_some_and(|duration| window.start + duration <= self.now) {
            return Err(Rejected::Malformed { what: "a maintenance window that is over" });
        }
        for id in self.find_all(agents)? {
            if self.agents[&id].record.maintenance == Some(window) {
                continue;
            }
            self.withdraw_inverse_offer(&id);
            self.set_window(&id, Some(window));
            // Whoever was lent it without the window decided without knowing.
            self.rescind_offers_of(&id);
            self.tell_inverse_offer(&id);
            self.mark(&id);
        }
        Ok(())
    }

    /// Withdraws announced windows. One that was started ends by being stopped.
    pub(crate) fn ask_cancel(&mut self, agents: &[String]) -> Result<(), Rejected> {
        let ids = self.find_all(agents)?;
        for id in &ids {
            self.require_window(id)?;
            if self.is_being_emptied(id) {
                return Err(Rejected::UnderMaintenance { agent: self.agents[id].record.name.clone() });
            }
        }
        for id in ids {
            self.withdraw_inverse_offer(&id);
            self.set_window(&id, None);
            self.rescind_offers_of(&id);
            self.mark(&id);
        }
        Ok(())
    }

    /// Begins the work on agents with a window: they are emptied now, and offered again when it is stopped.
    pub(crate) fn ask_start(&mut self, agents: &[String]) -> Result<(), Rejected> {
        let ids = self.find_all(agents)?;
        for id in &ids {
            self.require_window(id)?;
        }
        for id in ids {
            if !matches!(self.agents[&id].record.mode, AgentMode::Drained { .. }) {
                self.ask_drain(id.as_str(), Span(0), false)?;
            }
        }
        Ok(())
    }

    /// Ends it: the window is forgotten and the agents are offered again.
    pub(crate) fn ask_stop(&mut self, agents: &[String]) -> Result<(), Rejected> {
        let ids = self.find_all(agents)?;
        for id in &ids {
            self.require_window(id)?;
            if !self.is_being_emptied(id) {
                return Err(Rejected::NotUnderMaintenance { agent: self.agents[id].record.name.clone() });
            }
        }
        for id in ids {
            self.set_window(&id, None);
            self.ask_reactivate(id.as_str())?;
        }
        Ok(())
    }

    /// What frameworks say of inverse offers.
    pub(crate) fn answer_inverse_offers(
        &mut self,
        framework_id: &FrameworkId,
        offers: &[OfferId],
        accepted: bool,
        filter: Option<Filter>,
    ) -> Result<(), Rejected> {
        if offers.len() > limits::OFFERS_PER_CALL_MAX {
            let (count, limit) = (offers.len(), limits::OFFERS_PER_CALL_MAX);
            return Err(Rejected::TooMany { what: "inverse offers", count, limit });
        }
        let mut found = BTreeSet::new();
        for offer_id in offers {
            let agent = self.inverse_offered().find(|id| self.inverse_offer_id(id).as_ref() == Some(offer_id));
            found.insert(agent.ok_or_else(|| Rejected::NoInverseOffer { offer_id: offer_id.clone() })?.clone());
        }
        for id in found {
            let agent = self.agents.get_mut(&id).expect("found above");
            agent.answers.insert(framework_id.clone(), accepted);
            self.ask_again(framework_id, &id, filter);
            self.dirty.agents.insert(id.clone());
            self.decided(Decision::InverseOfferAnswered { framework_id: framework_id.clone(), agent_id: id, accepted });
        }
        Ok(())
    }

    /// The framework is asked again when its filter ends; without one, an earlier one counts no more.
    fn ask_again(&mut self, framework_id: &FrameworkId, id: &AgentId, filter: Option<Filter>) {
        let at = filter.map(|filter| self.now + capped(filter.refuse).max(self.config.refuse_min));
        let waits = &mut self.agents.get_mut(id).expect("the caller has it").ask_again;
        let before = match at {
            Some(at) => waits.insert(framework_id.clone(), at),
            None => waits.remove(framework_id),
        };
        let timer = || Timer::InverseOffer(framework_id.clone(), id.clone());
        if let Some(before) = before {
            self.timers.unset(before, timer());
        }
        if let Some(at) = at {
            self.timers.set(at, timer());
        }
    }

    pub(crate) fn inverse_offer_due(&mut self, framework_id: &FrameworkId, id: &AgentId) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        agent.ask_again.remove(framework_id);
        // Who is away is asked when it comes back.
        if self.frameworks.get(framework_id).is_some_and(|framework| framework.session().is_some())
            && let Some(offer) = self.inverse_offer(framework_id, id)
        {
            self.tell_framework(framework_id, SchedulerEvent::InverseOffers(vec![offer]));
        }
    }

    /// A framework that revives wants to hear of everything again.
    pub(crate) fn ask_at_once(&mut self, framework_id: &FrameworkId) {
        let waits =
            |id: &&AgentId| self.agents.get(*id).is_some_and(|agent| agent.ask_again.contains_key(framework_id));
        let waiting: Vec<AgentId> = self.inverse_offered().filter(waits).cloned().collect();
        for id in waiting {
            self.ask_again(framework_id, &id, None);
            self.inverse_offer_due(framework_id, &id);
        }
    }

    /// Nobody is asked any more, or everybody something else.
    pub(crate) fn forget_answers(&mut self, id: &AgentId) {
        let agent = self.agents.get_mut(id).expect("the caller has it");
        agent.answers.clear();
        for (framework_id, at) in std::mem::take(&mut agent.ask_again) {
            self.timers.unset(at, Timer::InverseOffer(framework_id, id.clone()));
        }
    }

    /// Everything a framework that begins a session must know of agents that are wanted back.
    pub(crate) fn tell_of_inverse_offers(&mut self, framework_id: &FrameworkId) {
        let asked: Vec<AgentId> = self.inverse_offered().cloned().collect();
        for id in asked {
            self.ask_again(framework_id, &id, None);
        }
        let offers: Vec<InverseOffer> =
            self.inverse_offered().filter_map(|id| self.inverse_offer(framework_id, id)).collect();
        if !offers.is_empty() {
            self.tell_framework(framework_id, SchedulerEvent::InverseOffers(offers));
        }
    }

    /// Tells every framework that is here that an agent is wanted back.
    pub(crate) fn tell_inverse_offer(&mut self, id: &AgentId) {
        for framework_id in self.connected_frameworks() {
            if let Some(offer) = self.inverse_offer(&framework_id, id) {
                self.tell_framework(&framework_id, SchedulerEvent::InverseOffers(vec![offer]));
            }
        }
    }

    /// The agent is not wanted back any more, or at another time. Its answers were to the old question.
    pub(crate) fn withdraw_inverse_offer(&mut self, id: &AgentId) {
        let Some(offer_id) = self.inverse_offer_id(id) else { return };
        self.forget_answers(id);
        self.dirty.agents.insert(id.clone());
        for framework_id in self.connected_frameworks() {
            self.tell_framework(&framework_id, SchedulerEvent::RescindInverseOffer(offer_id.clone()));
        }
    }

    fn connected_frameworks(&self) -> Vec<FrameworkId> {
        self.frameworks.values().filter(|f| f.session().is_some()).map(|f| f.id().clone()).collect()
    }

    /// Agents that frameworks are asked to leave.
    fn inverse_offered(&self) -> impl Iterator<Item = &AgentId> {
        self.draining.union(&self.maintained)
    }

    /// The same for every framework, and another one for every question.
    fn inverse_offer_id(&self, id: &AgentId) -> Option<OfferId> {
        let record = &self.agents.get(id)?.record;
        let name = match (record.mode, record.maintenance) {
            (AgentMode::Draining(drain), _) => format!("{id}-I{}", drain.since.0),
            (AgentMode::Active | AgentMode::Deactivated, Some(window)) => {
                format!("{id}-M{}-{}", window.start.0, window.duration.map_or(0, |span| span.0))
            }
            // It is empty: there is nothing to ask for.
            (AgentMode::Drained { .. }, _) | (AgentMode::Active | AgentMode::Deactivated, None) => return None,
        };
        Some(OfferId::new(name).expect("made of an agent's id and numbers"))
    }

    fn inverse_offer(&self, framework_id: &FrameworkId, id: &AgentId) -> Option<InverseOffer> {
        let record = &self.agents.get(id)?.record;
        let (unavailability, is_drain) = match record.mode {
            AgentMode::Draining(drain) => (Unavailability { start: drain.deadline, duration: None }, true),
            AgentMode::Active | AgentMode::Deactivated | AgentMode::Drained { .. } => (record.maintenance?, false),
        };
        Some(InverseOffer {
            id: self.inverse_offer_id(id)?,
            framework_id: framework_id.clone(),
            agent_id: id.clone(),
            unavailability,
            is_drain,
        })
    }

    fn is_being_emptied(&self, id: &AgentId) -> bool {
        match self.agents[id].record.mode {
            AgentMode::Draining(_) | AgentMode::Drained { .. } => true,
            AgentMode::Active | AgentMode::Deactivated => false,
        }
    }

    /// All of them, each once, or the first that is not there.
    fn find_all(&self, agents: &[String]) -> Result<BTreeSet<AgentId>, Rejected> {
        let (count, limit) = (agents.len(), limits::AGENTS_MAX);
        if count > limit {
            return Err(Rejected::TooMany { what: "agents", count, limit });
        }
        if agents.is_empty() {
            return Err(Rejected::Malformed { what: "maintenance of no agent" });
        }
        agents.iter().map(|agent| self.find_living(agent)).collect()
    }

    fn require_window(&self, id: &AgentId) -> Result<(), Rejected> {
        let record = &self.agents[id].record;
        if record.maintenance.is_none() {
            return Err(Rejected::NotScheduled { agent: record.name.clone() });
        }
        Ok(())
    }

    fn set_window(&mut self, id: &AgentId, window: Option<Unavailability>) {
        match window {
            Some(_) => self.maintained.insert(id.clone()),
            None => self.maintained.remove(id),
        };
        let agent = self.agents.get_mut(id).expect("the caller found it");
        debug_assert!(agent.state != AgentState::Gone, "only living agents are maintained");
        agent.record.maintenance = window;
        let record = agent.record.clone();
        self.outbox.persist(Record::Agent(record));
        self.dirty.agents.insert(id.clone());
        self.decided(Decision::MaintenanceSet { agent_id: id.clone(), window });
    }
}
