//! Agents come, go and come back. The agent wins for what exists; the master wins for what must not exist.
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use model::call::SchedulerEvent;
use model::link::{AgentRegistration, AgentTask, Peer, ToAgent};
use model::{
    AgentId, FrameworkId, OperationState, Principal, Reason, Resources, Span, TaskId, TaskState, TaskStatus, Timestamp,
};

use crate::agent::{Agent, AgentState, Facts, Ghost};
use crate::command::Command;
use crate::decision::{Decision, Rejected};
use crate::event::SessionId;
use crate::framework::Framework;
use crate::holdings::{are_sane, retitled};
use crate::lease::overlap;
use crate::ledger::Task;
use crate::limits;
use crate::master::{Master, Session};
use crate::mutation::{Mutation, mutated};
use crate::registry::{AgentMode, AgentRecord, OperationRecord, Record};
use crate::timer::Timer;

/// Why what an agent had is no more.
pub(crate) const GONE: &str = "an operator declared its agent gone";

impl Master {
    pub(crate) fn register(
        &mut self,
        session: SessionId,
        certified: &str,
        said: AgentRegistration,
    ) -> Result<(), Rejected> {
        let (id, is_new) = self.identify(certified, &said)?;
        self.check_registration(&said)?;
        let record = match self.agents.get(&id) {
            Some(agent) => agent.record.clone(),
            None => self.admit(&id, &said)?,
        };
        if let Some(old) = self.agents.get(&id).and_then(Agent::session) {
            // Its old stream is dead, the master just has not noticed.
            self.outbox.push(Command::CloseAgent { session: old });
            self.sessions.remove(&old);
            self.agent_left(&id);
        }
        let fresh = said.agent_id.is_none();
        let settled = settle(record, &said, fresh);
        let is_lost = settled.lost;
        self.enter_agent(&id, session, &said, &settled);
        let unwanted = self.merge_tasks(&id, &said.tasks);
        let (generation, holdings) = (settled.record.holdings_generation, settled.record.holdings.clone());
        if self.agents[&id].record != settled.record || is_new {
            self.outbox.persist(Record::Agent(settled.record.clone()));
        }
        self.agents.get_mut(&id).expect("entered above").record = settled.record;
        if is_lost {
            let words = "the agent came back without what the operation was to change";
            self.end_operations(&id, generation, OperationState::Failed, words);
        }
        if is_new {
            let (name, pod_subnet) = (said.name.clone(), self.agents[&id].record.pod_subnet.clone());
            self.decided(Decision::AgentAdmitted { agent_id: id.clone(), name, pod_subnet });
        } else {
            self.decided(Decision::AgentReturned { agent_id: id.clone(), tasks: said.tasks.len() });
        }
        self.tell_agent(
            &id,
            ToAgent::Registered {
                agent_id: id.clone(),
                pod_subnet: self.agents[&id].record.pod_subnet.clone(),
                pod_range: self.pool.pod_range.clone(),
                ping_timeout: self.config.ping_timeout(),
            },
        );
        for message in unwanted {
            self.tell_agent(&id, message);
        }
        // Operations end when the agent says how far it is, and only an order makes it say so.
        let pends = |operation: &OperationRecord| operation.state == OperationState::Pending;
        if settled.tell || self.agents[&id].record.operations.iter().any(pends) {
            self.tell_agent(&id, ToAgent::SetHoldings { generation, holdings });
        }
        self.free_orphaned_holdings(&id);
        self.settle_limits();
        self.drain_due(&id);
        if is_new || settled.moved {
            self.peers_due = self.agents.values().filter(|a| a.session().is_some()).map(|a| a.id().clone()).collect();
        } else {
            self.peers_due.insert(id.clone());
        }
        self.mark(&id);
        Ok(())
    }

    /// Which agent this is, and whether it is new. One without an id but with a known name has lost its state directory,
    /// or has never heard the answer to its first registration: either way it is that agent, with nothing on it.
    fn identify(&self, certified: &str, said: &AgentRegistration) -> Result<(AgentId, bool), Rejected> {
        if said.name != certified {
            return Err(Rejected::ForeignAgentName { name: said.name.clone(), certified: certified.to_owned() });
        }
        if said.epoch_seen > self.pool.epoch {
            return Err(Rejected::NewerMaster { seen: said.epoch_seen, epoch: self.pool.epoch });
        }
        let Some(id) = &said.agent_id else {
            return Ok(match self.agent_names.get(&said.name) {
                Some(id) => (id.clone(), false),
                None => {
                    let id = format!("{}-S{}", self.pool.master_id, self.agent_number + 1);
                    (AgentId::new(id).expect("made of a master id and a number"), true)
                }
            });
        };
        match self.agents.get(id) {
            Some(agent) if agent.state == AgentState::Gone => Err(Rejected::AgentGone { agent_id: id.clone() }),
            Some(agent) if agent.record.name == said.name => Ok((id.clone(), false)),
            // Given up so long ago that it was forgotten: it ends what it runs, as one that is remembered does.
            None if self.has_given(id) => Err(Rejected::AgentGone { agent_id: id.clone() }),
            Some(_) | None => Err(Rejected::ForeignAgentId { agent_id: id.clone() }),
        }
    }

    fn check_registration(&self, said: &AgentRegistration) -> Result<(), Rejected> {
        let (count, limit) = (said.tasks.len(), limits::TASKS_PER_AGENT_MAX);
        if count > limit {
            return Err(Rejected::TooMany { what: "tasks on one agent", count, limit });
        }
        let (count, limit) = (said.total.held.len(), limits::HOLDINGS_PER_AGENT_MAX);
        if count > limit {
            return Err(Rejected::TooMany { what: "reservations and volumes on one agent", count, limit });
        }
        if said.address.parse::<Ipv4Addr>().is_err() {
            return Err(Rejected::Malformed { what: "the agent's address must be an IPv4 address" });
        }
        if overlap(&self.pool.vip_range, &format!("{}/32", said.address)) {
            let (address, range) = (said.address.clone(), self.pool.vip_range.clone());
            return Err(Rejected::AddressIsVip { address, range });
        }
        if !are_sane(&said.total)
            || said.tasks.iter().any(|task| !are_sane(&task.head.resources) || !are_sane(&task.executor_resources))
        {
            return Err(Rejected::Malformed { what: "the agent reports a negative or absurd amount" });
        }
        Ok(())
    }

    fn admit(&mut self, id: &AgentId, said: &AgentRegistration) -> Result<AgentRecord, Rejected> {
        let (count, limit) = (self.agent_names.len() + 1, limits::AGENTS_MAX);
        if count > limit {
            return Err(Rejected::TooMany { what: "agents", count, limit });
        }
        let Some(pod_subnet) = self.subnets.find(&self.pool.pod_range, self.pool.pod_prefix_length) else {
            return Err(Rejected::NoSubnet { range: self.pool.pod_range.clone() });
        };
        self.subnets.take(&pod_subnet);
        self.agent_number += 1;
        Ok(AgentRecord {
            id: id.clone(),
            name: said.name.clone(),
            address: said.address.clone(),
            pod_subnet,
            gone: false,
            unreachable_since: None,
            holdings_generation: 0,
            holdings: Resources::default(),
            mode: AgentMode::Active,
            operations: Vec::new(),
            maintenance: None,
            orphans: Resources::default(),
        })
    }

    fn enter_agent(&mut self, id: &AgentId, session: SessionId, said: &AgentRegistration, settled: &Settled) {
        if self.agents.contains_key(id) {
            self.release_agent(id);
        }
        self.allocator.filters.clear_agent(id);
        if let Some(Session::Agent { registered, .. }) = self.sessions.get_mut(&session) {
            *registered = Some(id.clone());
        }
        self.agent_names.insert(said.name.clone(), id.clone());
        let next_ping = self.now + self.config.ping_interval;
        self.timers.set(next_ping, Timer::Ping(id.clone()));
        let state = AgentState::Connected { session, pinged: 0, answered: 0, next_ping };
        let agent = self.agents.entry(id.clone()).or_insert_with(|| Agent::new(settled.before.clone(), state));
        agent.become_state(state);
        (agent.heard, agent.silent) = (self.now, None);
        agent.facts = Facts {
            port: said.port,
            region: said.region.clone(),
            zone: said.zone.clone(),
            attributes: said.attributes.clone(),
            software: said.software.clone(),
            registered: self.now,
        };
        agent.total = settled.total.clone();
        let more = agent.total.clone();
        self.allocator.shares.change_pool(&Resources::default(), &more);
        self.dirty.agents.insert(id.clone());
    }

    /// What it runs and what the master thinks it runs become one; says what it must stop.
    fn merge_tasks(&mut self, id: &AgentId, reported: &[AgentTask]) -> Vec<ToAgent> {
        let mut ghosts = std::mem::take(&mut self.agents.get_mut(id).expect("entered").ghosts);
        let mut messages = Vec::new();
        let (mut seen, mut ghostly) = (BTreeSet::new(), BTreeSet::new());
        for task in reported {
            let key = (task.framework.id.clone(), task.head.task_id.clone());
            if !seen.insert(key.clone()) {
                continue;
            }
            let alive = self.frameworks.get(&key.0).is_some_and(Framework::is_alive);
            let known = self.ledger.get(&key.0, &key.1).map(|known| (known.agent_id == *id, known.state()));
            let running = !task.latest.state.is_terminal();
            let forgotten = self.ledger.remembered(&key.0, &key.1).is_some();
            match known {
                Some((true, state)) if !(state.is_terminal() && running) => {
                    self.merge_known(&key.0, &key.1, &task.latest)
                }
                None if alive && !forgotten && !mutated(Mutation::NeverAdopts) => self.adopt(id, task),
                Some(_) | None => {
                    if running {
                        let mut resources = task.head.resources.clone();
                        let executor = (key.0.clone(), task.executor_id.clone());
                        if !self.agents[id].pods.contains_key(&executor) && ghostly.insert(executor) {
                            resources.add(&task.executor_resources);
                        }
                        let ghost = Ghost { resources, task: ghosts.remove(&key).and_then(|ghost| ghost.task) };
                        self.haunt(id, key.clone(), ghost);
                        self.decided(Decision::UnwantedTask {
                            framework_id: key.0.clone(),
                            task_id: key.1.clone(),
                            agent_id: id.clone(),
                        });
                        if !mutated(Mutation::SparesGhosts) {
                            messages.push(ToAgent::Kill { framework_id: key.0, task_id: key.1, grace: None });
                        }
                    }
                }
            }
        }
        // The last words on ghosts that it has not got any more.
        for (key, ghost) in ghosts {
            self.agents.get_mut(id).expect("entered").ghosts.insert(key.clone(), ghost);
            self.lay_ghost(id, &key, false);
        }
        self.settle_missing(id, &seen);
        self.repeat_kills(id, &mut messages);
        messages
    }

    fn merge_known(&mut self, framework_id: &FrameworkId, task_id: &TaskId, latest: &TaskStatus) {
        let now = self.now;
        let task = self.ledger.get_mut(framework_id, task_id).expect("the caller saw it");
        let returned = task.state() == TaskState::Unreachable;
        let from = task.advance(latest, now);
        let (agent_id, state) = (task.agent_id.clone(), task.state());
        if let Some(from) = from.filter(|from| *from != state) {
            self.decided(Decision::TaskBecame {
                framework_id: framework_id.clone(),
                task_id: task_id.clone(),
                agent_id: agent_id.clone(),
                from: Some(from),
                to: state,
            });
        }
        if state.is_terminal() || latest.state.is_terminal() {
            self.release(framework_id, task_id);
        } else {
            self.charge(framework_id, task_id);
        }
        // A terminal state comes by the agent's own, reliable update; that it is back is only the master's to say.
        if returned && !state.is_terminal() {
            let task = self.ledger.get(framework_id, task_id).expect("the caller saw it");
            let mut status = task.made(state, Reason::AgentReregistered, "its agent is back", now);
            (status.healthy, status.ready) = (latest.healthy, latest.ready);
            self.tell_framework(framework_id, SchedulerEvent::Update(status));
        }
        self.dirty.tasks.insert((framework_id.clone(), task_id.clone()));
    }

    /// A task launched under an earlier master, or forgotten by this one.
    fn adopt(&mut self, agent_id: &AgentId, task: &AgentTask) {
        let (framework_id, task_id) = (task.framework.id.clone(), task.head.task_id.clone());
        let state = task.latest.state;
        self.ledger.insert(Task {
            framework_id: framework_id.clone(),
            role: task.framework.role.clone(),
            agent_id: agent_id.clone(),
            executor_id: task.executor_id.clone(),
            head: Arc::new(task.head.clone()),
            status: TaskStatus { uuid: None, agent_id: Some(agent_id.clone()), ..task.latest.clone() },
            pending: None,
            told: None,
            acknowledged: None,
            charged: false,
            kill: None,
            launched: task.launched,
            running: (state == TaskState::Running).then_some(task.latest.timestamp),
            ended: state.is_terminal().then_some(task.latest.timestamp),
        });
        let agent = self.agents.get_mut(agent_id).expect("entered");
        agent.tasks.insert((framework_id.clone(), task_id.clone()));
        if !state.is_terminal() {
            let pod = agent.pods.entry((framework_id.clone(), task.executor_id.clone())).or_default();
            // The pod's first task brings the executor; later ones find it charged.
            if !pod.charged {
                pod.executor_resources = task.executor_resources.clone();
            }
        }
        if !state.is_terminal() {
            self.charge(&framework_id, &task_id);
        }
        self.dirty.tasks.insert((framework_id.clone(), task_id.clone()));
        self.dirty.frameworks.insert(framework_id.clone());
        if !state.is_terminal() {
            // Its framework may have asked for its tasks while nobody knew this one.
            let known = self.ledger.get(&framework_id, &task_id).expect("entered above");
            let mut status = known.made(state, Reason::AgentReregistered, "its agent is back", self.now);
            (status.healthy, status.ready) = (task.latest.healthy, task.latest.ready);
            self.tell_framework(&framework_id, SchedulerEvent::Update(status));
        }
        self.decided(Decision::TaskBecame { framework_id, task_id, agent_id: agent_id.clone(), from: None, to: state });
    }

    /// Tasks of this agent that it has not got.
    fn settle_missing(&mut self, id: &AgentId, seen: &BTreeSet<(FrameworkId, TaskId)>) {
        let missing: Vec<_> = self.agents[id].tasks.difference(seen).cloned().collect();
        for (framework_id, task_id) in missing {
            let task = self.ledger.get(&framework_id, &task_id).expect("an agent's tasks are in the ledger");
            let state = task.state();
            if mutated(Mutation::HidesWhatIsMissing) {
                self.remove_task(&framework_id, &task_id);
            } else if state.is_terminal() {
                // It ended, and the agent has forgotten it before the framework acknowledged: said once more, unreliably.
                let status = TaskStatus { uuid: None, ..task.status.clone() };
                self.tell_framework(&framework_id, SchedulerEvent::Update(status));
                self.remove_task(&framework_id, &task_id);
            } else if state == TaskState::Staging {
                let words = "the launch did not reach the agent";
                self.declare(&framework_id, &task_id, TaskState::Dropped, Reason::Reconciliation, words);
            } else {
                let words = "its agent is back without it";
                self.declare(&framework_id, &task_id, TaskState::Gone, Reason::AgentReregistered, words);
            }
        }
    }

    /// Kills asked for while it was away.
    fn repeat_kills(&mut self, id: &AgentId, messages: &mut Vec<ToAgent>) {
        for (framework_id, task_id) in &self.agents[id].tasks {
            let task = self.ledger.get(framework_id, task_id).expect("an agent's tasks are in the ledger");
            if let Some(grace) = task.kill.filter(|_| !task.state().is_terminal()) {
                messages.push(ToAgent::Kill { framework_id: framework_id.clone(), task_id: task_id.clone(), grace });
            }
        }
    }

    /// Its stream ended. Nothing is lent of it; its tasks run on.
    pub(crate) fn agent_left(&mut self, id: &AgentId) {
        let agent = self.agents.get_mut(id).expect("a session's agent is known");
        let AgentState::Connected { next_ping, .. } = agent.state else { return };
        agent.become_state(AgentState::Disconnected { since: self.now });
        self.timers.unset(next_ping, Timer::Ping(id.clone()));
        self.timers.set(self.now + self.config.disconnected_grace, Timer::Grace(id.clone()));
        self.timers.set(self.now + self.config.silence(), Timer::Silence(id.clone()));
        if !mutated(Mutation::LendsTheAbsent) {
            self.rescind_offers_of(id);
        }
        self.peers_due.remove(id);
        self.allocator.dirty.remove(id);
        self.dirty.agents.insert(id.clone());
        self.decided(Decision::AgentDisconnected { agent_id: id.clone() });
    }

    /// Pings it, or gives its session up.
    pub(crate) fn ping(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        let AgentState::Connected { session, pinged, answered, next_ping } = &mut agent.state else { return };
        if *next_ping > self.now {
            return;
        }
        // Whoever answers late, but answers, was heard of just now.
        let unheard = self.now.since(agent.heard);
        let is_missed = |misses: u32| {
            *pinged - *answered >= u64::from(misses) && unheard >= Span(self.config.ping_interval.0 * u64::from(misses))
        };
        if is_missed(self.config.ping_misses_max) {
            let session = *session;
            self.outbox.push(Command::CloseAgent { session });
            self.sessions.remove(&session);
            self.agent_left(id);
            return;
        }
        let is_silent = is_missed(self.config.silence_misses);
        if is_silent && agent.silent.is_none() {
            agent.silent = Some(agent.heard);
            self.dirty.agents.insert(id.clone());
        }
        *pinged += 1;
        *next_ping = self.now + self.config.ping_interval;
        let (number, at) = (*pinged, *next_ping);
        self.timers.set(at, Timer::Ping(id.clone()));
        if let Some(session) = self.agents[id].session() {
            let ping = Command::SendAgent { session, message: ToAgent::Ping { number } };
            if mutated(Mutation::PingsBehindTheDisk) { self.outbox.push(ping) } else { self.outbox.push_past(ping) }
        }
    }

    pub(crate) fn pong(&mut self, id: &AgentId, number: u64) {
        if let Some(Agent { state: AgentState::Connected { pinged, answered, .. }, heard, silent, .. }) =
            self.agents.get_mut(id)
            && number <= *pinged
        {
            *answered = number.max(*answered);
            *heard = self.now;
            if silent.take().is_some() {
                self.dirty.agents.insert(id.clone());
            }
        }
    }

    /// Its stream ended a while ago. An agent that is only started anew is back by now.
    pub(crate) fn silence(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        if let AgentState::Disconnected { since } = agent.state
            && since + self.config.silence() <= self.now
            && agent.silent.is_none()
        {
            agent.silent = Some(agent.heard);
            self.dirty.agents.insert(id.clone());
        }
    }

    /// It stayed away: its tasks may run or not, nobody can say. It may come back with them.
    pub(crate) fn grace_ended(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.get(id) else { return };
        match agent.state {
            AgentState::Disconnected { since } if since + self.config.disconnected_grace <= self.now => {}
            // Set once, at the master's start.
            AgentState::Recovered => {}
            AgentState::Connected { .. }
            | AgentState::Disconnected { .. }
            | AgentState::Unreachable { .. }
            | AgentState::Gone => return,
        }
        if let Some(at) = self.removal_held_until() {
            self.timers.set(at, Timer::Grace(id.clone()));
            self.decided(Decision::RemovalHeld { agent_id: id.clone(), until: at });
            return;
        }
        self.lose_agent(id, AgentState::Unreachable { since: self.now });
        self.decided(Decision::AgentUnreachable { agent_id: id.clone() });
        self.tell_operations_unreachable(id);
        let tasks: Vec<_> = self.agents[id].tasks.iter().cloned().collect();
        for (framework_id, task_id) in tasks {
            let words = "its agent is unreachable";
            self.declare(&framework_id, &task_id, TaskState::Unreachable, Reason::AgentRemoved, words);
        }
    }

    /// When the next agent may become unreachable, if not now; otherwise one more has.
    fn removal_held_until(&mut self) -> Option<Timestamp> {
        let limit = self.config.removal_limit?;
        self.removals.retain(|at| *at + limit.within > self.now);
        let count = u32::try_from(self.removals.len()).unwrap_or(u32::MAX);
        if count >= limit.agents.max(1) {
            let oldest = *self.removals.front()?;
            return Some(oldest + limit.within.max(Span::millis(1)));
        }
        self.removals.push_back(self.now);
        None
    }

    pub(crate) fn ask_gone(&mut self, agent: &str) -> Result<(), Rejected> {
        let id = self.find_agent(agent)?;
        let found = &self.agents[&id];
        match found.state {
            AgentState::Connected { .. } if !matches!(found.record.mode, AgentMode::Drained { .. }) => {
                return Err(Rejected::AgentConnected { agent_id: id });
            }
            AgentState::Gone => return Ok(()),
            AgentState::Connected { .. }
            | AgentState::Recovered
            | AgentState::Disconnected { .. }
            | AgentState::Unreachable { .. } => {}
        }
        self.give_up(&id, GONE);
        Ok(())
    }

    /// It never comes back, whatever it says: its tasks, reservations and volumes are no more.
    pub(crate) fn give_up(&mut self, id: &AgentId, words: &str) {
        if let Some(session) = self.agents[id].session() {
            let who = Principal::new(format!("agent/{}", self.agents[id].record.name));
            let refusal = self.reject(&who, Rejected::AgentGone { agent_id: id.clone() }.into());
            self.outbox.push(Command::SendAgent { session, message: ToAgent::Refused(refusal) });
            self.outbox.push(Command::CloseAgent { session });
            self.sessions.remove(&session);
            self.agent_left(id);
        }
        self.draining.remove(id);
        self.maintained.remove(id);
        let agent = self.agents.get_mut(id).expect("the caller has it");
        agent.record.mode = AgentMode::Active;
        agent.record.maintenance = None;
        agent.record.holdings = Resources::default();
        agent.record.orphans = Resources::default();
        self.forget_answers(id);
        self.lose_agent(id, AgentState::Gone);
        self.end_operations(id, u64::MAX, OperationState::GoneByOperator, words);
        self.agent_names.remove(&self.agents[id].record.name);
        self.subnets.free(&self.agents[id].record.pod_subnet);
        self.decided(Decision::AgentGone { agent_id: id.clone() });
        let tasks: Vec<_> = self.agents[id].tasks.iter().cloned().collect();
        for (framework_id, task_id) in tasks {
            let (state, reason) = (TaskState::GoneByOperator, Reason::AgentRemovedByOperator);
            self.declare(&framework_id, &task_id, state, reason, words);
            // One that had ended already waits for an acknowledgement that can have no effect any more.
            self.remove_task(&framework_id, &task_id);
        }
        self.peers_due = self.agents.values().filter(|a| a.session().is_some()).map(|a| a.id().clone()).collect();
        self.schedule_allocation();
    }

    fn lose_agent(&mut self, id: &AgentId, state: AgentState) {
        self.release_agent(id);
        let ghosts: Vec<_> = self.agents[id].ghosts.keys().cloned().collect();
        for key in ghosts {
            self.lay_ghost(id, &key, false);
        }
        self.allocator.filters.clear_agent(id);
        let agent = self.agents.get_mut(id).expect("the caller has it");
        agent.become_state(state);
        agent.record.gone = state == AgentState::Gone;
        agent.record.unreachable_since = Some(self.now);
        self.outbox.persist(Record::Agent(agent.record.clone()));
        self.collect_later();
        self.dirty.roles.extend(self.allocator.shares.role_names().cloned());
        let connected: Vec<_> =
            self.frameworks.values().filter(|f| f.session().is_some()).map(|f| f.id().clone()).collect();
        for framework_id in connected {
            let event = SchedulerEvent::Failure { agent_id: id.clone(), executor_id: None };
            self.tell_framework(&framework_id, event);
        }
    }

    /// Tells some of those that have to hear it who the others are.
    pub(crate) fn tell_peers(&mut self) {
        let due: Vec<_> = self.peers_due.iter().take(limits::PEERS_PER_STEP).cloned().collect();
        for id in due {
            self.peers_due.remove(&id);
            let others = self.agents.values().filter(|agent| *agent.id() != id && agent.state != AgentState::Gone);
            let peers = others
                .map(|agent| Peer {
                    agent_id: agent.id().clone(),
                    address: agent.record.address.clone(),
                    pod_subnet: agent.record.pod_subnet.clone(),
                })
                .collect();
            self.tell_agent(&id, ToAgent::Peers(peers));
        }
    }
}

/// A registration laid beside the registry.
struct Settled {
    before: AgentRecord,
    record: AgentRecord,
    total: Resources,
    /// The agent's titles are not the ones that stand.
    tell: bool,
    /// Others must learn its new address.
    moved: bool,
    /// It has not got what was decided.
    lost: bool,
}

/// Whose titles stand: the master's, once it decided any, as its registry is never older than an agent's checkpoint. But
/// an agent that lost its state has lost its volumes with it, and one that shrank cannot hold what it held.
fn settle(before: AgentRecord, said: &AgentRegistration, fresh: bool) -> Settled {
    let mut record = AgentRecord {
        address: said.address.clone(),
        unreachable_since: None,
        // It is told now what stands; what does not it destroys.
        orphans: Resources::default(),
        ..before.clone()
    };
    let reported = said.total.holdings();
    let moved = before.address != said.address;
    if record.holdings == reported {
        return Settled { before, record, total: said.total.clone(), tell: false, moved, lost: false };
    }
    if record.holdings_generation > 0
        && !fresh
        && let Some(total) = retitled(&said.total, &record.holdings)
    {
        // What the agent's configuration reserves may have changed.
        record.holdings = total.holdings();
        let tell = record.holdings != reported;
        return Settled { before, record, total, tell, moved, lost: false };
    }
    let lost = record.holdings_generation > 0;
    record.holdings = reported;
    record.holdings_generation += 1;
    Settled { before, record, total: said.total.clone(), tell: true, moved, lost }
}
