//! The shell of the framework core: sessions that each begin from the state stored in the master, calls with the writes
//! they ride with, hooks that take their time. The process remembers nothing; what it must not forget is in the master.
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use framework_core::record::{Snapshot, UnitKey, Write};
use framework_core::{Answer, Command, Event, Launch, LaunchOutcome, Owner, PodLaunch, Scheduler};
use master_core::{Event as MasterEvent, OperatorRequest, RequestId, SessionId, StateWrite};
use model::call::{Call, Filter, FrameworkInfo, Operation, SchedulerEvent};
use model::task::{Pod, Task};
use model::{
    AgentId, FrameworkId, Principal, Reason, Refusal, RoleName, Span, TaskHead, TaskId, TaskState, TaskStatus, UpdateId,
};

use crate::clock::Clock;
use crate::service_spec;
use crate::world::{Happening, Peer, Said, World};

/// A package's scheduler, as the SDK runs it.
#[derive(Debug)]
pub(crate) struct ServiceHost {
    pub(crate) name: String,
    pub(crate) life: u64,
    pub(crate) up: bool,
    /// Uninstalled, stopped and torn down, as an uninstallation of its package does.
    pub(crate) is_gone: bool,
    pub(crate) session: Option<SessionId>,
    /// Given with SUBSCRIBED; the core begins when the state has come, too.
    pub(crate) id: Option<FrameworkId>,
    pub(crate) core: Option<Scheduler>,
    pub(crate) servers: u32,
    configuration: u64,
    sequence: u64,
    pending: BTreeMap<u64, Pending>,
    wake: Option<u64>,
    clock: Clock,
    /// What the numbers in state entries stand for: the simulator's registry keeps no bytes.
    writes: Vec<Stored>,
    /// The last update heard of each task, over all its lives.
    heard: BTreeMap<(FrameworkId, TaskId), (UpdateId, TaskState)>,
    /// Updates whose acknowledgement this master has confirmed.
    pub(crate) confirmed: BTreeSet<UpdateId>,
}

/// A change of what is stored.
#[derive(Debug, Clone)]
enum Stored {
    Write(Box<Write>),
    Erase,
}

/// What a call's result is for.
#[derive(Debug)]
enum Pending {
    Launch { launch: u64, units: Vec<(UnitKey, Range<usize>)>, failed: BTreeMap<UnitKey, Refusal> },
    Release(Vec<(AgentId, String)>),
    Acknowledge(UpdateId),
    Persist,
    Erase,
    Other,
}

impl ServiceHost {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            name: format!("service-{number}"),
            life: 0,
            up: false,
            is_gone: false,
            session: None,
            id: None,
            core: None,
            servers: 2,
            configuration: 0,
            sequence: 0,
            pending: BTreeMap::new(),
            wake: None,
            clock: Clock::default(),
            writes: Vec::new(),
            heard: BTreeMap::new(),
            confirmed: BTreeSet::new(),
        }
    }
    fn role(&self) -> RoleName {
        RoleName::new(format!("role-{}", self.name)).expect("valid")
    }
    fn principal(&self) -> Principal {
        Principal::new(format!("framework/{}", self.name))
    }
    fn forget_session(&mut self) {
        self.session = None;
        self.core = None;
        self.id = None;
        self.pending.clear();
        self.wake = None;
    }
    /// Tasks that it believes to run.
    pub(crate) fn live(&self) -> impl Iterator<Item = (FrameworkId, TaskId)> {
        let units = self.core.as_ref().map(|core| core.snapshot().units).unwrap_or_default();
        let tasks = units.into_values().flat_map(|unit| unit.tasks.into_values());
        let id = self.id.clone();
        tasks.filter(|task| !task.is_over()).filter_map(move |task| Some((id.clone()?, task.task_id)))
    }
}

/// Applies an entry that has become durable.
pub(crate) fn apply(services: &[ServiceHost], state: &mut Snapshot, value: &[u8]) {
    let (service, number) = value.split_at(8);
    let index = |bytes: &[u8]| usize::from_be_bytes(bytes.try_into().expect("two numbers"));
    match services[index(service)].writes[index(number)].clone() {
        Stored::Erase => {
            *state = Snapshot::default();
            (state.meta.uninstalling, state.meta.uninstalled) = (true, true);
        }
        Stored::Write(write) => match *write {
            Write::Meta(meta) => state.meta = meta,
            Write::Target(target) => state.target = Some(*target),
            Write::Good(good) => state.good = Some(*good),
            Write::Undone(undone) => state.undone = undone.map(|undone| *undone),
            Write::Unit(key, Some(unit)) => drop(state.units.insert(key, *unit)),
            Write::Unit(key, None) => drop(state.units.remove(&key)),
            Write::Decommission(instance, Some(record)) => drop(state.decommissions.insert(instance, record)),
            Write::Decommission(instance, None) => drop(state.decommissions.remove(&instance)),
            Write::Plan(plan, Some(record)) => drop(state.plans.insert(plan, record)),
            Write::Plan(plan, None) => drop(state.plans.remove(&plan)),
            Write::ForgetFiles(_) => {}
        },
    }
}

fn key_of(write: &Stored) -> String {
    match write {
        Stored::Erase => "meta".to_owned(),
        Stored::Write(write) => match &**write {
            Write::Meta(_) => "meta".to_owned(),
            Write::Target(_) => "target".to_owned(),
            Write::Good(_) => "good".to_owned(),
            Write::Undone(_) => "undone".to_owned(),
            Write::Unit(key, _) => format!("unit/{key}"),
            Write::Decommission(instance, _) => format!("decommission/{instance}"),
            Write::Plan(plan, _) => format!("plan/{plan}"),
            Write::ForgetFiles(_) => "files".to_owned(),
        },
    }
}

/// The pod of a launch, without the parts that only a container runtime reads.
fn rendered(pod: &PodLaunch) -> Pod {
    let tasks = pod.tasks.iter().map(|(name, task_id, resources)| Task {
        head: TaskHead {
            task_id: task_id.clone(),
            name: name.clone(),
            agent_id: pod.placement.agent_id.clone(),
            resources: resources.clone(),
            discovery: None,
            kill_grace: None,
            secrets: Vec::new(),
            privileged: false,
            cleans_up: false,
            limits: Default::default(),
        },
        payload: Vec::new().into(),
    });
    Pod {
        executor_id: pod.executor_id.clone(),
        executor: Vec::new().into(),
        executor_resources: pod.executor_resources.clone(),
        tasks: tasks.collect(),
    }
}

impl World {
    pub(crate) fn service_starts(&mut self, service: usize) {
        let clock = self.draw_clock();
        let host = &mut self.services[service];
        if !host.up && !host.is_gone {
            host.up = true;
            host.clock = clock;
            host.life += 1;
            let life = host.life;
            self.after(1, Happening::ServiceDials { service, life });
        }
    }
    pub(crate) fn service_dies(&mut self, service: usize) {
        let host = &mut self.services[service];
        host.up = false;
        host.life += 1;
        let session = host.session;
        host.forget_session();
        if let Some(session) = session {
            let after = self.rng.between(1, 8000);
            self.end_dies(session, false, after);
        }
    }
    pub(crate) fn service_link_down(&mut self, service: usize, session: SessionId) {
        if self.services[service].session == Some(session) {
            self.services[service].forget_session();
            self.service_dials_later(service);
        }
    }
    fn service_dials_later(&mut self, service: usize) {
        let (delay, life) = (self.rng.between(100, 1500), self.services[service].life);
        self.after(delay, Happening::ServiceDials { service, life });
    }
    pub(crate) fn service_dials(&mut self, service: usize, life: u64) {
        let host = &self.services[service];
        if host.life != life || !host.up || host.session.is_some() {
            return;
        }
        if self.master.core.is_none() || self.is_cut_off(Peer::Service(service)) {
            return self.service_dials_later(service);
        }
        let session = self.connect(Peer::Service(service));
        let host = &mut self.services[service];
        host.session = Some(session);
        let (principal, name, role) = (host.principal(), host.name.clone(), host.role());
        self.send_to_master(session, MasterEvent::FrameworkOpened { session, principal: principal.clone() });
        let failover_timeout = Span::seconds(120);
        let roles = BTreeSet::from([role]);
        let info = FrameworkInfo {
            id: None,
            name,
            roles,
            failover_timeout,
            api_url: None,
            principal,
            capabilities: BTreeSet::new(),
            offer_filters: Default::default(),
        };
        let call = Call::Subscribe { info, suppressed: BTreeSet::new(), constraints: Default::default() };
        self.service_calls(service, Some(call), Vec::new(), Pending::Other, true);
    }

    fn service_calls(
        &mut self,
        service: usize,
        call: Option<Call>,
        writes: Vec<Stored>,
        pending: Pending,
        read_state: bool,
    ) {
        let host = &mut self.services[service];
        let Some(session) = host.session else { return };
        host.sequence += 1;
        let sequence = host.sequence;
        host.pending.insert(sequence, pending);
        let writes = writes.into_iter().map(|write| {
            let key = key_of(&write);
            host.writes.push(write);
            let value = [service.to_be_bytes(), (host.writes.len() - 1).to_be_bytes()].concat();
            StateWrite { key, value: Some(value) }
        });
        let writes = writes.collect();
        let event = MasterEvent::FrameworkCalled { session, sequence, call, writes, read_state };
        self.send_to_master(session, event);
    }

    pub(crate) fn service_hears(&mut self, service: usize, said: Said) -> Result<(), String> {
        match said {
            Said::Event(SchedulerEvent::Subscribed { framework_id }) => self.services[service].id = Some(framework_id),
            Said::State(state) => {
                let host = &mut self.services[service];
                let owner = Owner { framework: host.name.clone(), principal: host.principal(), role: host.role() };
                host.core = Some(Scheduler::restore(owner, *state));
                self.service_steps(service, Event::Subscribed)?;
                let (delay, session) = (self.rng.between(1, 300), self.services[service].session);
                self.after(delay, Happening::ServiceTarget { service, session });
            }
            Said::Event(event) => match event {
                SchedulerEvent::Offers(offers) => {
                    let offers = offers.into_iter().map(std::sync::Arc::unwrap_or_clone).collect();
                    self.service_steps(service, Event::Offers(offers))?;
                }
                SchedulerEvent::Rescind(offer) => self.service_steps(service, Event::Rescind(offer))?,
                SchedulerEvent::InverseOffers(offers) => self.service_steps(service, Event::InverseOffers(offers))?,
                SchedulerEvent::RescindInverseOffer(offer) => {
                    self.service_steps(service, Event::RescindInverseOffer(offer))?;
                }
                SchedulerEvent::Update(status) => {
                    self.service_news(service, &status)?;
                    self.service_steps(service, Event::Update(status))?;
                }
                SchedulerEvent::NotYetKnown(not_yet) => self.service_steps(service, Event::NotYetKnown(not_yet))?,
                SchedulerEvent::Failure { agent_id, executor_id: None } => {
                    self.service_steps(service, Event::AgentFailed(agent_id))?;
                }
                SchedulerEvent::Error(_) => self.service_gives_up(service),
                SchedulerEvent::Failure { .. }
                | SchedulerEvent::OperationUpdate(_)
                | SchedulerEvent::Subscribed { .. } => {}
            },
            Said::Result { sequence, result } => self.service_result(service, sequence, result.err())?,
        }
        Ok(())
    }

    /// The shell ends a session that cannot go on; the next begins from what is stored.
    fn service_gives_up(&mut self, service: usize) {
        if let Some(session) = self.services[service].session {
            self.break_link(session, 20, 1);
        }
    }

    fn service_result(&mut self, service: usize, sequence: u64, refusal: Option<Refusal>) -> Result<(), String> {
        let Some(pending) = self.services[service].pending.remove(&sequence) else { return Ok(()) };
        match (pending, refusal) {
            (Pending::Launch { launch, units, mut failed }, refusal) => {
                let is_uncertain = refusal.is_some();
                if let Some(refusal) = refusal {
                    let index = refusal.field.strip_prefix("operations[");
                    let index = index.and_then(|rest| rest.split(']').next()?.parse::<usize>().ok());
                    for (unit, range) in units {
                        if index.is_none_or(|index| range.contains(&index)) {
                            failed.insert(unit, refusal.clone());
                        }
                    }
                }
                self.service_steps(service, Event::Launched(LaunchOutcome { launch, failed, is_uncertain }))
            }
            (Pending::Release(released), refusal) => self.service_steps(service, Event::Released { released, refusal }),
            (Pending::Acknowledge(uuid), None) => {
                self.services[service].confirmed.insert(uuid);
                Ok(())
            }
            (Pending::Persist | Pending::Erase, Some(_)) => {
                self.service_gives_up(service);
                Ok(())
            }
            (Pending::Erase, None) => {
                self.service_steps(service, Event::Erased)?;
                self.service_dies(service);
                self.services[service].is_gone = true;
                let ask = OperatorRequest::Teardown { framework: self.services[service].name.clone() };
                self.master_hears(MasterEvent::Asked { request: RequestId(3), ask })
            }
            (Pending::Persist, None) | (Pending::Other | Pending::Acknowledge(_), _) => Ok(()),
        }
    }

    /// 6: one task's updates in the agent's order, and an acknowledged one never again.
    fn service_news(&mut self, service: usize, status: &TaskStatus) -> Result<(), String> {
        let host = &mut self.services[service];
        let Some(id) = host.id.clone() else { return Err(format!("{} hears before it is subscribed", host.name)) };
        let Some(uuid) = status.uuid else { return Ok(()) };
        if host.confirmed.contains(&uuid) {
            return Err(format!("{} sees an acknowledged update of {} again", host.name, status.task_id));
        }
        let before = host.heard.insert((id, status.task_id.clone()), (uuid, status.state));
        if let Some((known, state)) = before
            && known != uuid
            && !state.may_become(status.state)
            && status.reason != Some(Reason::Reconciliation)
        {
            return Err(format!(
                "{} hears that {} went from {state:?} to {:?}",
                host.name, status.task_id, status.state
            ));
        }
        Ok(())
    }

    pub(crate) fn service_steps(&mut self, service: usize, event: Event) -> Result<(), String> {
        self.service_does(service, |core, now, out| core.step(now, event, out))
    }

    /// Does something to the core and carries out what follows.
    pub(crate) fn service_does(
        &mut self,
        service: usize,
        what: impl FnOnce(&mut Scheduler, model::Timestamp, &mut Vec<Command>),
    ) -> Result<(), String> {
        let (clock, world_now) = (self.services[service].clock, self.now);
        let now = clock.shows(world_now);
        let Some(core) = self.services[service].core.as_mut() else { return Ok(()) };
        let mut out = Vec::new();
        what(core, now, &mut out);
        for command in out {
            self.tell(|| format!("  service-{service} wants {command:?}"));
            self.service_wants(service, command);
        }
        let host = &mut self.services[service];
        let wake = host.core.as_ref().and_then(Scheduler::wake_at).map(|at| clock.reaches(at).max(world_now + 1));
        if let Some(at) = wake
            && host.wake.is_none_or(|known| at < known || known <= world_now)
        {
            host.wake = Some(at);
            let session = host.session;
            self.at(at, Happening::ServiceTick { service, session, at });
        }
        Ok(())
    }

    pub(crate) fn service_ticks(&mut self, service: usize, session: Option<SessionId>, at: u64) -> Result<(), String> {
        let host = &mut self.services[service];
        if host.session != session || host.wake != Some(at) {
            return Ok(());
        }
        host.wake = None;
        self.service_steps(service, Event::Tick)
    }

    fn service_wants(&mut self, service: usize, command: Command) {
        let mut call = |call, pending| self.service_calls(service, Some(call), Vec::new(), pending, false);
        match command {
            Command::Persist(writes) => {
                let writes = writes.into_iter().map(|write| Stored::Write(Box::new(write))).collect();
                self.service_calls(service, None, writes, Pending::Persist, false);
            }
            Command::Launch(launch) => {
                let (delay, session) = (self.rng.between(1, 80), self.services[service].session);
                self.after(delay, Happening::ServiceRendered { service, session, launch });
            }
            Command::Release { offers, operations, released, refuse } => {
                call(Call::Accept { offers, operations, filter: Filter { refuse } }, Pending::Release(released));
            }
            Command::Decline { offers, refuse } => {
                call(Call::Decline { offers, filter: Filter { refuse } }, Pending::Other);
            }
            Command::AnswerInverseOffers { offers, accepted: true } => {
                call(Call::AcceptInverseOffers { offers, filter: None }, Pending::Other);
            }
            Command::AnswerInverseOffers { offers, accepted: false } => {
                call(Call::DeclineInverseOffers { offers, filter: None }, Pending::Other);
            }
            Command::Kill { task_id, agent_id } => call(Call::Kill { task_id, agent_id, grace: None }, Pending::Other),
            Command::Acknowledge { agent_id, task_id, uuid } => {
                call(Call::Acknowledge { agent_id, task_id, uuid }, Pending::Acknowledge(uuid));
            }
            Command::Reconcile(tasks) => call(Call::Reconcile { tasks }, Pending::Other),
            Command::Revive => call(Call::Revive { roles: BTreeSet::new() }, Pending::Other),
            Command::DeclareGpus { .. } => unreachable!("no service here takes gpus"),
            Command::Suppress => call(Call::Suppress { roles: BTreeSet::new() }, Pending::Other),
            Command::Probe { key, .. } | Command::Act { key, .. } => {
                let answer = match self.rng.between(0, 9) {
                    0 if self.faults => Answer::Failed("it broke".to_owned()),
                    1 if self.faults => Answer::NotYet("not yet".to_owned()),
                    _ => Answer::Done,
                };
                let (delay, session) = (self.rng.between(1, 200), self.services[service].session);
                self.after(delay, Happening::ServiceAnswered { service, session, key, answer });
            }
            Command::EraseState => self.service_calls(service, None, vec![Stored::Erase], Pending::Erase, false),
            Command::Noted(_) => {}
        }
    }

    pub(crate) fn service_rendered(
        &mut self,
        service: usize,
        session: Option<SessionId>,
        launch: Launch,
    ) -> Result<(), String> {
        if self.services[service].session != session {
            return Ok(());
        }
        let (mut operations, mut units, mut failed) = (Vec::new(), Vec::new(), BTreeMap::new());
        for pod in &launch.pods {
            if self.faults && self.rng.percent(4) {
                self.counts.hit("fault: pod not rendered");
                failed.insert(pod.unit.clone(), Refusal::new("SIM0001", "it cannot be rendered", ""));
                continue;
            }
            let begin = operations.len();
            operations.extend(pod.before.iter().cloned());
            operations.push(Operation::Launch(rendered(pod)));
            units.push((pod.unit.clone(), begin..operations.len()));
        }
        if units.is_empty() {
            let call = Call::Decline { offers: launch.offers, filter: Filter { refuse: Span(0) } };
            self.service_calls(service, Some(call), Vec::new(), Pending::Other, false);
            let outcome = LaunchOutcome { launch: launch.launch, failed, is_uncertain: false };
            return self.service_steps(service, Event::Launched(outcome));
        }
        let core = self.services[service].core.as_ref();
        let writes = core.map(|core| core.launch_writes(&launch)).unwrap_or_default();
        let writes = writes.into_iter().map(|write| Stored::Write(Box::new(write))).collect();
        let call = Call::Accept { offers: launch.offers, operations, filter: Filter { refuse: launch.refuse } };
        self.service_calls(
            service,
            Some(call),
            writes,
            Pending::Launch { launch: launch.launch, units, failed },
            false,
        );
        Ok(())
    }

    pub(crate) fn service_answered(
        &mut self,
        service: usize,
        session: Option<SessionId>,
        key: String,
        answer: Answer,
    ) -> Result<(), String> {
        if self.services[service].session != session {
            return Ok(());
        }
        self.service_steps(service, Event::Answered { key, answer })
    }

    /// The framework says what it wants to be.
    pub(crate) fn service_target(&mut self, service: usize, session: Option<SessionId>) -> Result<(), String> {
        let host = &self.services[service];
        if host.session != session {
            return Ok(());
        }
        let spec = service_spec::spec(&host.name, host.role(), host.servers, host.configuration);
        let mut refused = None;
        self.service_does(service, |core, now, out| {
            let is_leaving = core.snapshot().meta.uninstalling;
            refused = core.set_target(now, spec, out).err().filter(|_| !is_leaving);
        })?;
        refused.map_or(Ok(()), |refusal| Err(format!("the target is refused: {refusal}")))
    }

    /// A person wants something else of a service.
    pub(crate) fn service_is_asked(&mut self, service: usize) -> Result<(), String> {
        let choice = self.rng.between(0, 4);
        let servers = u32::try_from(self.rng.between(1, 3)).expect("small");
        let host = &mut self.services[service];
        let session = host.session;
        match choice {
            0 | 1 => host.servers = servers,
            2 => host.configuration += 1,
            3 | 4 => {
                let (pod, replace) = if choice == 3 { ("web", false) } else { ("data", true) };
                self.counts.hit("asked: restart or replace of a pod");
                let instance = framework_core::spec::InstanceName::new(pod, 0);
                // Refused while there is none.
                return self.service_does(service, |core, now, out| {
                    let _ = core.restart_pod(now, &instance, replace, out);
                });
            }
            _ => {}
        }
        self.counts.hit("asked: another target");
        self.service_target(service, session)
    }

    /// Nobody but a person gives up data that may be anywhere.
    pub(crate) fn services_replace_data(&mut self) -> Result<(), String> {
        let instance = framework_core::spec::InstanceName::new("data", 0);
        for service in 0..self.services.len() {
            self.service_does(service, |core, now, out| {
                // There may be none: then nothing waits for it.
                let _ = core.restart_pod(now, &instance, true, out);
            })?;
        }
        Ok(())
    }

    /// Asks until it is stored: a session may end before its master has heard.
    pub(crate) fn services_uninstall(&mut self) -> Result<(), String> {
        for service in 0..self.services.len() {
            let core = self.services[service].core.as_ref();
            if core.is_some_and(|core| !core.snapshot().meta.uninstalling) {
                self.service_does(service, Scheduler::uninstall)?;
            }
        }
        Ok(())
    }
}
