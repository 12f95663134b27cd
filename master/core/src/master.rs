//! The master: its whole state, the routes from events to the parts that decide, and what those parts share.
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use model::call::{Call, SchedulerEvent};
use model::link::{FromAgent, ToAgent};
use model::{AgentId, FrameworkId, Principal, Refusal, RoleName, TaskId, Timestamp};

use crate::agent::{Agent, AgentState};
use crate::allocator::Allocator;
use crate::command::Command;
use crate::config::Config;
use crate::decision::{Decision, OfferEnd, Rejected};
use crate::event::{Event, OperatorRequest, RequestId, SessionId, StateWrite};
use crate::feedback::Feedback;
use crate::framework::{Framework, FrameworkState, Hoarding, Wishes};
use crate::lease::Subnets;
use crate::ledger::Ledger;
use crate::limits;
use crate::offer::OfferBook;
use crate::outbox::Outbox;
use crate::registry::{AgentMode, Pool, Record, RegistrySnapshot};
use crate::tenancy::headroom_of;
use crate::timer::{Timer, Timers};
use crate::view::{AgentOffers, Delta};
use crate::vip::Vips;

/// The deciding part of a master.
#[derive(Debug)]
pub struct Master {
    pub(crate) config: Config,
    pub(crate) pool: Pool,
    /// Principals that an operator listed, beside those in the configuration.
    pub(crate) privileged: BTreeSet<String>,
    pub(crate) now: Timestamp,
    pub(crate) agents: BTreeMap<AgentId, Agent>,
    pub(crate) agent_names: BTreeMap<String, AgentId>,
    pub(crate) frameworks: BTreeMap<FrameworkId, Framework>,
    /// Of living ones.
    pub(crate) framework_names: BTreeMap<String, FrameworkId>,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) offers: OfferBook,
    pub(crate) ledger: Ledger,
    pub(crate) allocator: Allocator,
    pub(crate) timers: Timers,
    pub(crate) outbox: Outbox,
    pub(crate) dirty: Dirty,
    /// Agents that have yet to be told of a change of their peers.
    pub(crate) peers_due: BTreeSet<AgentId>,
    /// Agents that are being emptied.
    pub(crate) draining: BTreeSet<AgentId>,
    /// Agents with an announced maintenance window.
    pub(crate) maintained: BTreeSet<AgentId>,
    /// When agents became unreachable, the latest last; as many as the limit allows at most.
    pub(crate) removals: VecDeque<Timestamp>,
    /// When roles were shown last.
    roles_shown: Timestamp,
    /// What agents are leased.
    pub(crate) subnets: Subnets,
    /// When it is looked next for agents to forget.
    pub(crate) collects_at: Option<Timestamp>,
    /// By then agents that were known at the start have come back, or count as unreachable.
    pub(crate) recovered_by: Timestamp,
    pub(crate) vips: Vips,
    pub(crate) feedback: Feedback,
    pub(crate) wants_allocation: bool,
    pub(crate) agent_number: u64,
    pub(crate) framework_number: u64,
    pub(crate) offer_number: u64,
}

/// An open connection.
#[derive(Debug, Clone)]
pub(crate) enum Session {
    Framework { principal: Principal, subscribed: Option<FrameworkId> },
    Agent { name: String, registered: Option<AgentId> },
}

/// What changed in this step and is to be shown at its end.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    pub(crate) agents: BTreeSet<AgentId>,
    pub(crate) frameworks: BTreeSet<FrameworkId>,
    /// Agents of which only what is lent has changed.
    pub(crate) lent: BTreeSet<AgentId>,
    /// Frameworks of which only what is lent to them has changed.
    pub(crate) borrowers: BTreeSet<FrameworkId>,
    pub(crate) tasks: BTreeSet<(FrameworkId, TaskId)>,
    pub(crate) roles: BTreeSet<RoleName>,
    pub(crate) vips: BTreeSet<(FrameworkId, String)>,
}

impl Master {
    /// A master that starts now with what its registry holds. `seed` decides where allocation begins.
    pub fn new(config: Config, registry: RegistrySnapshot, seed: u64, now: Timestamp) -> Self {
        let RegistrySnapshot { pool, agents, frameworks, mut state_sizes, weights, quotas, privileged, vips } =
            registry;
        let mut master = Self {
            config,
            pool,
            privileged,
            now,
            agents: BTreeMap::new(),
            agent_names: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            framework_names: BTreeMap::new(),
            sessions: BTreeMap::new(),
            offers: OfferBook::default(),
            ledger: Ledger::default(),
            allocator: Allocator::default(),
            timers: Timers::default(),
            outbox: Outbox::default(),
            dirty: Dirty::default(),
            peers_due: BTreeSet::new(),
            draining: BTreeSet::new(),
            maintained: BTreeSet::new(),
            removals: VecDeque::new(),
            roles_shown: now,
            subnets: Subnets::default(),
            collects_at: None,
            recovered_by: now,
            vips: Vips::restore(vips),
            feedback: Feedback::default(),
            wants_allocation: false,
            agent_number: 0,
            framework_number: 0,
            offer_number: 0,
        };
        master.recovered_by = now + master.config.reregister_timeout;
        for (role, weight_milli) in weights {
            master.allocator.shares.set_weight(&role, weight_milli);
        }
        for (role, quota) in quotas {
            master.allocator.shares.set_quota(&role, quota);
        }
        master.allocator.shares.exclude(master.config.fair_share_excluded.clone());
        // When each subnet became free the last time; the number decides what happened in one millisecond.
        let mut freed: BTreeMap<String, (Option<Timestamp>, u64)> = BTreeMap::new();
        for (id, record) in agents {
            master.agent_number = master.agent_number.max(number_of(id.as_str(), "-S"));
            let state = match (record.gone, record.unreachable_since) {
                (true, _) => AgentState::Gone,
                (false, Some(since)) => AgentState::Unreachable { since },
                (false, None) => AgentState::Recovered,
            };
            if state == AgentState::Recovered {
                master.timers.set(now + master.config.reregister_timeout, Timer::Grace(id.clone()));
            }
            if !record.gone {
                master.agent_names.insert(record.name.clone(), id.clone());
            }
            if let AgentMode::Draining(drain) = record.mode
                && !record.gone
            {
                master.draining.insert(id.clone());
                master.timers.set(drain.deadline, Timer::Drain(id.clone()));
            }
            if record.maintenance.is_some() {
                master.maintained.insert(id.clone());
            }
            if record.gone {
                let last = freed.entry(record.pod_subnet.clone()).or_default();
                *last = (*last).max((record.unreachable_since, number_of(id.as_str(), "-S")));
            } else {
                master.subnets.take(&record.pod_subnet);
            }
            if record.gone || record.unreachable_since.is_some() {
                master.collect_later();
            }
            master.dirty.agents.insert(id.clone());
            master.feedback.restore(&id, &record.operations);
            master.agents.insert(id, Agent::new(record, state));
        }
        let mut freed: Vec<_> = freed.into_iter().map(|(subnet, last)| (last, subnet)).collect();
        freed.sort();
        freed.iter().for_each(|(_, subnet)| master.subnets.was_freed(subnet));
        for (id, record) in frameworks {
            master.framework_number = master.framework_number.max(number_of(id.as_str(), "-"));
            let state = if record.torn_down {
                FrameworkState::TornDown
            } else {
                let until = now + record.info.failover_timeout;
                master.timers.set(until, Timer::Failover(id.clone()));
                master.framework_names.insert(record.info.name.clone(), id.clone());
                for role in &record.info.roles {
                    master.allocator.shares.set_member(role, &id, true, false);
                }
                master.dirty.frameworks.insert(id.clone());
                FrameworkState::Recovered { until }
            };
            let sizes = state_sizes.remove(&id).unwrap_or_default();
            master.frameworks.insert(id, Framework::new(record, state, sizes));
        }
        master.dirty.roles.extend(master.allocator.shares.role_names().cloned());
        master.dirty.vips.extend(master.vips.iter().map(|(key, _)| key.clone()));
        master.allocator.start_at(&master.agents, seed);
        master
    }

    /// Takes one event and pushes what is to be done. Total: whatever a peer sends, it is answered, and only the peer is.
    pub fn step(&mut self, now: Timestamp, event: Event, out: &mut Vec<Command>) {
        // Clocks step back; the master's time does not.
        self.now = self.now.max(now);
        match event {
            Event::FrameworkOpened { session, principal } => {
                self.open(session, Session::Framework { principal, subscribed: None });
            }
            Event::FrameworkCalled { session, sequence, call, writes, read_state } => {
                self.framework_called(session, sequence, call, writes, read_state);
            }
            Event::FrameworkHasRoom { session } => self.has_room(session),
            Event::FrameworkClosed { session } | Event::AgentClosed { session } => self.close(session),
            Event::AgentOpened { session, name } => self.open(session, Session::Agent { name, registered: None }),
            Event::AgentSaid { session, message } => self.agent_said(session, message),
            Event::AllocationDue => self.allocate(),
            Event::Tick => self.tick(),
            Event::Persisted { batch } => self.outbox.persisted(batch, out),
            Event::Asked { request, ask } => self.asked(request, ask),
        }
        self.settle_drains();
        self.relieve();
        self.wait_for_filters();
        self.show();
        self.outbox.flush(out);
        if std::mem::take(&mut self.wants_allocation) {
            out.push(Command::ScheduleAllocation);
        }
        if let Some(at) = self.timers.untold() {
            out.push(Command::SetTimer { at });
        }
    }

    fn open(&mut self, session: SessionId, kind: Session) {
        let (count, limit) = (self.sessions.len() + 1, limits::SESSIONS_MAX);
        if count > limit {
            let rejected = Rejected::TooMany { what: "sessions", count, limit };
            match kind {
                Session::Framework { principal, .. } => {
                    let message = self.reject(&principal, rejected.into()).to_string();
                    self.outbox.push(Command::SendFramework { session, event: SchedulerEvent::Error(message) });
                    self.outbox.push(Command::CloseFramework { session });
                }
                Session::Agent { name, .. } => {
                    self.refuse_agent(session, &Principal::new(format!("agent/{name}")), rejected);
                }
            }
            return;
        }
        let twice = self.sessions.insert(session, kind);
        assert!(twice.is_none(), "the shell gives every session its own number");
    }

    fn close(&mut self, session: SessionId) {
        match self.sessions.remove(&session) {
            Some(Session::Framework { subscribed: Some(id), .. }) => self.framework_left(&id),
            Some(Session::Agent { registered: Some(id), .. }) => self.agent_left(&id),
            Some(Session::Framework { subscribed: None, .. } | Session::Agent { registered: None, .. }) | None => {}
        }
    }

    fn framework_called(
        &mut self,
        session: SessionId,
        sequence: u64,
        call: Option<Call>,
        writes: Vec<StateWrite>,
        read_state: bool,
    ) {
        let Some(Session::Framework { principal, subscribed }) = self.sessions.get(&session).cloned() else { return };
        let subscribing = subscribed.is_none() && matches!(call, Some(Call::Subscribe { .. }));
        let ending = matches!(call, Some(Call::Teardown));
        let result = self.call(session, &principal, subscribed, call, writes);
        let result = result.map_err(|rejected| self.reject(&principal, rejected));
        let refusal = result.as_ref().err().map(ToString::to_string);
        self.outbox.push(Command::ReplyCall { session, sequence, result });
        match refusal {
            Some(message) if subscribing => {
                self.outbox.push(Command::SendFramework { session, event: SchedulerEvent::Error(message) });
                self.outbox.push(Command::CloseFramework { session });
            }
            None if ending => self.outbox.push(Command::CloseFramework { session }),
            Some(_) | None => {}
        }
        if read_state
            && let Some(Session::Framework { subscribed: Some(framework_id), .. }) = self.sessions.get(&session)
        {
            self.outbox.push(Command::SendState { session, framework_id: framework_id.clone() });
        }
    }

    fn call(
        &mut self,
        session: SessionId,
        principal: &Principal,
        subscribed: Option<FrameworkId>,
        call: Option<Call>,
        writes: Vec<StateWrite>,
    ) -> Result<(), Fault> {
        if self.outbox.held() > limits::HELD_COMMANDS_MAX {
            return Err(Rejected::Busy.into());
        }
        if let Some(Call::Subscribe { info, suppressed, constraints }) = call {
            if subscribed.is_some() {
                return Err(Rejected::AlreadySubscribed.into());
            }
            return Ok(self.subscribe(session, principal, info, Wishes { suppressed, constraints }, writes)?);
        }
        let Some(id) = subscribed else { return Err(Rejected::NotSubscribed.into()) };
        self.write_state(&id, writes)?;
        match call {
            None => Ok(()),
            Some(Call::Subscribe { .. }) => unreachable!("handled above"),
            Some(Call::Teardown) => {
                self.tear_down(&id, crate::decision::TeardownCause::Framework);
                Ok(())
            }
            Some(Call::Accept { offers, operations, filter }) => self.accept(&id, &offers, operations, filter),
            Some(Call::UpdateFramework { info, suppressed, constraints }) => {
                Ok(self.update_framework(&id, info, Wishes { suppressed, constraints })?)
            }
            Some(Call::Decline { offers, filter }) => Ok(self.decline(&id, &offers, filter)?),
            Some(Call::Revive { roles }) => Ok(self.revive(&id, roles)?),
            Some(Call::Suppress { roles }) => Ok(self.suppress(&id, roles)?),
            Some(Call::Kill { task_id, agent_id, grace }) => {
                self.kill(&id, &task_id, agent_id.as_ref(), grace);
                Ok(())
            }
            Some(Call::Acknowledge { agent_id, task_id, uuid }) => {
                Ok(self.acknowledge(&id, &agent_id, &task_id, uuid)?)
            }
            Some(Call::Reconcile { tasks }) => Ok(self.reconcile(&id, &tasks)?),
            Some(Call::AcknowledgeOperation { agent_id: _, operation_id, uuid }) => {
                self.acknowledge_operation(&id, &operation_id, uuid);
                Ok(())
            }
            Some(Call::ReconcileOperations { operations }) => Ok(self.reconcile_operations(&id, &operations)?),
            Some(Call::AcceptInverseOffers { offers, filter }) => {
                Ok(self.answer_inverse_offers(&id, &offers, true, filter)?)
            }
            Some(Call::DeclineInverseOffers { offers, filter }) => {
                Ok(self.answer_inverse_offers(&id, &offers, false, filter)?)
            }
        }
    }

    fn agent_said(&mut self, session: SessionId, message: FromAgent) {
        let Some(Session::Agent { name, registered }) = self.sessions.get(&session).cloned() else { return };
        let who = Principal::new(format!("agent/{name}"));
        match (message, registered) {
            (FromAgent::Register(registration), None) => {
                if let Err(rejected) = self.register(session, &name, *registration) {
                    self.refuse_agent(session, &who, rejected);
                }
            }
            (FromAgent::Register(_), Some(_)) => self.refuse_agent(session, &who, Rejected::AlreadyRegistered),
            (
                FromAgent::Update { .. } | FromAgent::Pong { .. } | FromAgent::Applied { .. } | FromAgent::Revocable(_),
                None,
            ) => self.refuse_agent(session, &who, Rejected::NotRegistered),
            (FromAgent::Update { framework_id, status, latest_state }, Some(agent_id)) => {
                self.update(&agent_id, &framework_id, status, latest_state);
            }
            (FromAgent::Pong { number }, Some(agent_id)) => self.pong(&agent_id, number),
            (FromAgent::Applied { generation }, Some(agent_id)) => self.applied(&agent_id, generation),
            (FromAgent::Revocable(quantities), Some(agent_id)) => {
                if let Err(rejected) = self.set_revocable(&agent_id, quantities) {
                    self.refuse_agent(session, &who, rejected);
                }
            }
        }
    }

    fn refuse_agent(&mut self, session: SessionId, who: &Principal, rejected: Rejected) {
        let refusal = self.reject(who, rejected.into());
        self.outbox.push(Command::SendAgent { session, message: ToAgent::Refused(refusal) });
        self.outbox.push(Command::CloseAgent { session });
        self.close(session);
    }

    fn asked(&mut self, request: RequestId, ask: OperatorRequest) {
        let result = match ask {
            OperatorRequest::Teardown { framework } => self.ask_teardown(framework),
            OperatorRequest::SetWeight { role, weight_milli } => self.ask_weight(role, weight_milli),
            OperatorRequest::SetQuotas { quotas, force } => self.ask_quotas(quotas, force),
            OperatorRequest::DeactivateAgent { agent } => self.ask_deactivate(&agent),
            OperatorRequest::ReactivateAgent { agent } => self.ask_reactivate(&agent),
            OperatorRequest::DrainAgent { agent, max_grace, mark_gone } => self.ask_drain(&agent, max_grace, mark_gone),
            OperatorRequest::MarkAgentGone { agent } => self.ask_gone(&agent),
            OperatorRequest::ScheduleMaintenance { agents, window } => self.ask_schedule(&agents, window),
            OperatorRequest::CancelMaintenance { agents } => self.ask_cancel(&agents),
            OperatorRequest::StartMaintenance { agents } => self.ask_start(&agents),
            OperatorRequest::StopMaintenance { agents } => self.ask_stop(&agents),
            OperatorRequest::ChangeHoldings { agent, change, principal } => {
                self.ask_change_holdings(&agent, &change, &principal)
            }
            OperatorRequest::LeaseVip { framework, name, principal } => self.ask_vip(framework, name, &principal),
            OperatorRequest::SetPrivileged { principals } => self.ask_privileged(principals),
        };
        let result = result.map_err(|rejected| self.reject(&Principal::new("operator"), rejected.into()));
        self.outbox.push(Command::Reply { request, result });
    }

    fn ask_weight(&mut self, role: RoleName, weight_milli: u64) -> Result<(), Rejected> {
        if !(1..=limits::WEIGHT_MILLI_MAX).contains(&weight_milli) {
            return Err(Rejected::BadWeight { weight_milli });
        }
        let shares = &self.allocator.shares;
        let is_weighed = |name: &&RoleName| {
            **name != role && shares.describe(name).is_some_and(|view| view.weight_milli != limits::WEIGHT_MILLI_USUAL)
        };
        let (count, limit) = (shares.role_names().filter(is_weighed).count() + 1, limits::WEIGHTS_MAX);
        if count > limit {
            return Err(Rejected::TooMany { what: "roles with a weight", count, limit });
        }
        self.allocator.shares.set_weight(&role, weight_milli);
        self.outbox.persist(Record::Weight { role: role.clone(), weight_milli });
        self.dirty.roles.insert(role);
        self.mark_all();
        Ok(())
    }

    fn ask_privileged(&mut self, principals: BTreeSet<String>) -> Result<(), Rejected> {
        let (count, limit) = (principals.len(), limits::PRIVILEGED_MAX);
        if count > limit {
            return Err(Rejected::TooMany { what: "privileged principals", count, limit });
        }
        if principals != self.privileged {
            self.outbox.persist(Record::Privileged(principals.clone()));
            self.privileged = principals;
        }
        Ok(())
    }

    /// Whether privileges are granted to tasks of this principal.
    pub(crate) fn is_privileged(&self, principal: &Principal) -> bool {
        self.config.is_privileged(principal) || self.privileged.contains(principal.as_str())
    }

    fn tick(&mut self) {
        self.timers.fired();
        for _ in 0..limits::TIMERS_PER_STEP {
            let Some(timer) = self.timers.pop(self.now) else { return };
            match timer {
                Timer::Ping(agent_id) => self.ping(&agent_id),
                Timer::Collection => self.collect(),
                Timer::Grace(agent_id) => self.grace_ended(&agent_id),
                Timer::Silence(agent_id) => self.silence(&agent_id),
                Timer::Drain(agent_id) => self.drain_due(&agent_id),
                Timer::Failover(framework_id) => self.failover_ended(&framework_id),
                Timer::Offer(offer_id) => self.expire_offer(&offer_id),
                Timer::InverseOffer(framework_id, agent_id) => self.inverse_offer_due(&framework_id, &agent_id),
                Timer::Operation(framework_id, id) => self.operation_due(&framework_id, &id),
                Timer::HoldOff(framework_id) => self.hold_off_ended(&framework_id),
                Timer::Filters => self.filters_ended(),
                Timer::Relief => self.relief_due(),
            }
        }
    }

    /// Says no, for the log and to whoever asked.
    pub(crate) fn reject(&mut self, who: &Principal, fault: Fault) -> Refusal {
        let mut refusal = fault.reason.refusal();
        if let Some(field) = fault.field {
            refusal = refusal.at(field);
        }
        self.decided(Decision::Rejected { who: who.clone(), reason: fault.reason });
        refusal
    }
    pub(crate) fn decided(&mut self, decision: Decision) {
        self.outbox.push(Command::Decided(decision));
    }
    /// Tells a framework if it is there; if it is not, it reconciles when it is back.
    pub(crate) fn tell_framework(&mut self, id: &FrameworkId, event: SchedulerEvent) {
        if let Some(session) = self.frameworks.get(id).and_then(Framework::session) {
            self.outbox.push(Command::SendFramework { session, event });
        }
    }
    /// Tells an agent if it is there; whether it is.
    pub(crate) fn tell_agent(&mut self, id: &AgentId, message: ToAgent) -> bool {
        let session = self.agents.get(id).and_then(Agent::session);
        if let Some(session) = session {
            self.outbox.push(Command::SendAgent { session, message });
        }
        session.is_some()
    }
    /// The one way out of the offer book.
    pub(crate) fn end_offer(&mut self, id: &model::OfferId, end: OfferEnd) -> Option<Arc<model::call::Offer>> {
        let lent = self.offers.take(id)?;
        let offer = lent.offer;
        if let Some(at) = lent.expires {
            self.timers.unset(at, Timer::Offer(id.clone()));
        }
        let agent = self.agents.get_mut(&offer.agent_id).expect("an offer's agent is known");
        agent.offered.take(&offer.resources).expect("what is lent is counted as lent");
        self.allocator.shares.release(&offer.role, &offer.framework_id, &offer.resources);
        if matches!(end, OfferEnd::Accepted | OfferEnd::Declined)
            && !self.leaves_unanswered(&offer.framework_id, lent.expires)
            && let Some(framework) = self.frameworks.get_mut(&offer.framework_id)
        {
            framework.hoarding = Hoarding::default();
        }
        self.dirty.lent.insert(offer.agent_id.clone());
        self.dirty.borrowers.insert(offer.framework_id.clone());
        self.outbox.push(Command::Changed(Delta::OfferRemoved { offer_id: id.clone(), end }));
        self.decided(Decision::OfferEnded {
            offer_id: id.clone(),
            framework_id: offer.framework_id.clone(),
            agent_id: offer.agent_id.clone(),
            end,
        });
        self.mark(&offer.agent_id);
        Some(offer)
    }

    /// Whether a framework that has let offers expire still has some that were lent no later than one it answered.
    fn leaves_unanswered(&self, framework_id: &FrameworkId, answered: Option<Timestamp>) -> bool {
        self.frameworks.get(framework_id).is_some_and(|framework| framework.hoarding.expired > 0)
            && self.offers.lent_to(framework_id).any(|lent| lent.expires <= answered)
    }

    /// Shows what changed, each thing once.
    fn show(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        for id in &dirty.agents {
            if let Some(agent) = self.agents.get(id) {
                let view = agent.view();
                self.allocator.headroom.set(id, headroom_of(agent, &view.free));
                self.outbox.push(Command::Changed(Delta::Agent(Box::new(view))));
            }
        }
        for id in dirty.lent.difference(&dirty.agents) {
            if let Some(agent) = self.agents.get(id) {
                let (agent_id, offered, free) = (id.clone(), agent.offered.clone(), agent.free());
                self.allocator.headroom.set(id, headroom_of(agent, &free));
                let lent = AgentOffers { agent_id, offered, free };
                self.outbox.push(Command::Changed(Delta::AgentOffers(Box::new(lent))));
            }
        }
        for id in dirty.borrowers.difference(&dirty.frameworks).filter(|id| self.frameworks.contains_key(*id)) {
            let (framework_id, offers) = (id.clone(), self.offers.count_of(id));
            self.outbox.push(Command::Changed(Delta::FrameworkOffers { framework_id, offers }));
        }
        for id in &dirty.frameworks {
            let Some(framework) = self.frameworks.get(id) else { continue };
            let view = framework.view(self.ledger.count_of(id), self.offers.count_of(id));
            self.outbox.push(Command::Changed(Delta::Framework(Box::new(view))));
        }
        for (framework_id, task_id) in &dirty.tasks {
            if let Some(task) = self.ledger.get(framework_id, task_id) {
                self.outbox.push(Command::Changed(Delta::Task(Box::new(task.view()))));
            }
        }
        for key in dirty.vips {
            if let Some(address) = self.vips.get(&key) {
                let (framework_id, name) = key;
                self.outbox.push(Command::Changed(Delta::Vip { framework_id, name, address }));
            }
        }
        let mut roles = dirty.roles;
        // While a large pool is being lent out, roles change in every step: then it is enough to show them now and then.
        if self.allocator.dirty.is_empty() || self.now >= self.roles_shown + limits::ROLES_SHOWN_EVERY {
            self.roles_shown = self.now;
            roles.append(&mut self.allocator.shares.take_changed());
        }
        for name in roles {
            self.outbox.push(Command::Changed(match self.allocator.shares.describe(&name) {
                Some(view) => Delta::Role(view),
                None => Delta::RoleRemoved(name),
            }));
        }
    }
}

/// A rejection and the field at fault.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) reason: Rejected,
    pub(crate) field: Option<String>,
}
impl From<Rejected> for Fault {
    fn from(reason: Rejected) -> Self {
        Self { reason, field: None }
    }
}
impl Fault {
    pub(crate) fn at(reason: Rejected, field: String) -> Self {
        Self { reason, field: Some(field) }
    }
}

/// The number at the end of an id that a master gave.
pub(crate) fn number_of(id: &str, before: &str) -> u64 {
    id.rsplit_once(before).and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}
