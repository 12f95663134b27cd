//! The end of a framework: its tasks are killed, its reservations, volumes and state are freed, its id is never used again.
use model::call::SchedulerEvent;
use model::link::ToAgent;
use model::{AgentId, FrameworkId, Holding, Reason, Reservation, Resources, TaskState};

use crate::agent::Ghost;
use crate::command::Command;
use crate::decision::{Decision, OfferEnd, Rejected, TeardownCause};
use crate::framework::{Framework, FrameworkState};
use crate::limits;
use crate::master::{Master, Session};
use crate::registry::Record;
use crate::timer::Timer;
use crate::view::Delta;

impl Master {
    pub(crate) fn ask_teardown(&mut self, framework: String) -> Result<(), Rejected> {
        let by_name = self.framework_names.get(&framework);
        let by_id = || self.frameworks.keys().find(|id| id.as_str() == framework);
        let Some(id) = by_name.or_else(by_id).cloned() else {
            return Err(Rejected::UnknownFramework { framework });
        };
        self.tear_down(&id, TeardownCause::Operator);
        Ok(())
    }

    pub(crate) fn tear_down(&mut self, id: &FrameworkId, cause: TeardownCause) {
        if !self.frameworks[id].is_alive() {
            return;
        }
        for offer_id in self.offers.of_framework(id) {
            self.end_offer(&offer_id, OfferEnd::Rescinded);
        }
        self.allocator.filters.clear_framework(id);
        self.end_session(id, cause);
        let framework = self.frameworks.get_mut(id).expect("seen above");
        framework.record.torn_down = true;
        framework.state_sizes.clear();
        framework.state_bytes = 0;
        self.framework_names.remove(&framework.record.info.name);
        let record = framework.record.clone();
        for role in &record.info.roles {
            self.allocator.shares.set_member(role, id, false, false);
            self.dirty.roles.insert(role.clone());
        }
        self.outbox.persist(Record::Framework(record));
        self.outbox.persist(Record::DropState(id.clone()));
        self.free_vips(id);
        self.drop_operations(id);
        self.turn_tasks_into_ghosts(id);
        let agents: Vec<AgentId> = self.agents.keys().cloned().collect();
        for agent_id in agents {
            self.free_orphaned_holdings(&agent_id);
        }
        self.ledger.forget(id);
        self.decided(Decision::FrameworkTornDown { framework_id: id.clone(), cause });
        let view = self.frameworks[id].view(0, 0);
        self.dirty.frameworks.remove(id);
        self.outbox.push(Command::Changed(Delta::Framework(Box::new(view))));
        self.outbox.push(Command::Changed(Delta::FrameworkRemoved(id.clone())));
        self.forget_oldest();
    }

    fn end_session(&mut self, id: &FrameworkId, cause: TeardownCause) {
        let framework = self.frameworks.get_mut(id).expect("the caller has it");
        let before = framework.state;
        framework.answers = crate::answers::Answers::default();
        framework.become_state(FrameworkState::TornDown);
        match before {
            FrameworkState::Connected { session } => {
                if let Some(Session::Framework { subscribed, .. }) = self.sessions.get_mut(&session) {
                    *subscribed = None;
                }
                // A framework that asked for it gets its reply first; the session is closed after that.
                if cause != TeardownCause::Framework {
                    let event = SchedulerEvent::Error("the framework was torn down".to_owned());
                    self.outbox.push(Command::SendFramework { session, event });
                    self.outbox.push(Command::CloseFramework { session });
                }
            }
            FrameworkState::Disconnected { until, .. } | FrameworkState::Recovered { until } => {
                self.timers.unset(until, Timer::Failover(id.clone()));
            }
            FrameworkState::TornDown => {}
        }
    }

    /// Its tasks are killed one by one, not by a shutdown of the framework: that would be the last the agent says of them,
    /// and until they have ended they use what they use.
    fn turn_tasks_into_ghosts(&mut self, id: &FrameworkId) {
        let ids: Vec<_> =
            self.ledger.of_framework(id).map(|task| (task.head.task_id.clone(), task.agent_id.clone())).collect();
        for (task_id, agent_id) in ids {
            let task = self.ledger.get_mut(id, &task_id).expect("listed above");
            if !task.charged {
                let words = "its framework was torn down";
                let status = task.made(TaskState::Killed, Reason::FrameworkRemoved, words, self.now);
                task.advance(&status, self.now);
                self.remove_task(id, &task_id);
                continue;
            }
            let status =
                task.made(TaskState::Killing, Reason::FrameworkRemoved, "its framework was torn down", self.now);
            task.advance(&status, self.now);
            // What the release frees goes to the ghost: the task's own, and with the last of a pod the executor's.
            let before = self.agents[&agent_id].allocated.clone();
            self.release(id, &task_id);
            let mut resources = before;
            crate::agent::take_what_is_there(&mut resources, &self.agents[&agent_id].allocated);
            let task = self.ledger.remove(id, &task_id).expect("listed above");
            let agent = self.agents.get_mut(&agent_id).expect("a task's agent is known");
            agent.tasks.remove(&(id.clone(), task_id.clone()));
            self.dirty.tasks.remove(&(id.clone(), task_id.clone()));
            self.outbox.push(Command::Changed(Delta::Task(Box::new(task.view()))));
            let kill = ToAgent::Kill { framework_id: id.clone(), task_id: task_id.clone(), grace: None };
            self.haunt(&agent_id, (id.clone(), task_id), Ghost { resources, task: Some(Box::new(task)) });
            self.tell_agent(&agent_id, kill);
        }
    }

    /// Frees what is reserved for frameworks that have ended, unless something that runs still uses it. A title belongs
    /// to whoever has its principal.
    pub(crate) fn free_orphaned_holdings(&mut self, agent_id: &AgentId) {
        let agent = &self.agents[agent_id];
        let is_orphan = |reservation: &Reservation| {
            let owners = || self.frameworks.values().filter(|owner| owner.principal() == &reservation.principal);
            // One that lives keeps it also while it has other roles: it may come back to this one.
            owners().any(|owner| !owner.is_alive() && owner.record.info.roles.contains(&reservation.role))
                && !owners().any(Framework::is_alive)
        };
        let (mut orphaned, mut freed) = (Resources::default(), Resources::default());
        for (holding, quantities) in &agent.record.holdings.held {
            if !is_orphan(&holding.reservation) || agent.uses(holding) {
                continue;
            }
            orphaned.add(&Resources::held_as(holding.clone(), quantities.clone()));
            // What it refines may be somebody else's.
            let back = |title: &Holding| title.undone();
            let titles = std::iter::successors(Some(holding.clone()), back);
            let heir = titles.skip(1).find(|title| !is_orphan(&title.reservation));
            freed.add(&Resources::under(heir, quantities.clone()));
        }
        if orphaned.is_empty() {
            return;
        }
        let lent = self.offers.of_agent(agent_id);
        for offer_id in lent {
            let offer = self.offers.get(&offer_id).expect("indexed");
            if offer.resources.held.keys().any(|holding| orphaned.held.contains_key(holding)) {
                let framework_id = offer.framework_id.clone();
                self.end_offer(&offer_id, OfferEnd::Rescinded);
                self.tell_framework(&framework_id, SchedulerEvent::Rescind(offer_id));
            }
        }
        let agent = self.agents.get_mut(agent_id).expect("seen above");
        if agent.counts() {
            let mut total = agent.total.clone();
            total.take(&orphaned).expect("titles are part of the total");
            total.add(&freed);
            self.set_holdings(agent_id, total);
            self.mark(agent_id);
        } else {
            // It hears of it when it is back: its own checkpoint is older than this generation.
            agent.record.holdings.take(&orphaned).expect("titles of the record");
            agent.record.holdings.add(&freed.holdings());
            agent.record.orphans.add(&orphaned);
            agent.record.holdings_generation += 1;
            self.outbox.persist(Record::Agent(agent.record.clone()));
        }
    }

    /// Keeps the list of ended ids bounded. The smallest numbers go: the largest must stay, or it would be given again.
    fn forget_oldest(&mut self) {
        let ended = |master: &Self| {
            let mut ids: Vec<(usize, FrameworkId)> = master
                .frameworks
                .values()
                .filter(|framework| !framework.is_alive())
                .map(|framework| (framework.id().as_str().len(), framework.id().clone()))
                .collect();
            ids.sort();
            ids
        };
        let ids = ended(self);
        let excess = ids.len().saturating_sub(limits::TORN_DOWN_MAX);
        for (_, id) in ids.into_iter().take(excess) {
            self.frameworks.remove(&id);
            self.outbox.persist(Record::ForgetFramework(id));
        }
    }
}
