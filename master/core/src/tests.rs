//! Tests of whole conversations with a master: what goes in is a line, what comes out is compared whole, and the
//! invariants are checked after every step.
// Commands that a conversation is not about are printed as they are.
#![allow(clippy::wildcard_enum_match_arm)]

mod accepting;
mod agents;
mod allocating;
mod beyond;
mod draining;
mod forgetting;
mod frameworks;
mod maintaining;
mod operating;
mod pacing;
mod refusing;
mod tasks;
mod tenancy;
mod vips;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use model::call::{Call, Filter, FrameworkInfo, Operation, SchedulerEvent};
use model::link::{AgentRegistration, AgentTask, FrameworkRef, FromAgent, ToAgent};
use model::task::{Pod, Task};
use model::{
    AgentId, ExecutorId, FrameworkId, Holding, Milli, OfferId, Principal, Quantities, Reservation, Resources, RoleName,
    Source, Span, TaskHead, TaskId, TaskState, TaskStatus, Timestamp, UpdateId, Volume, VolumeId,
};

use crate::{Command, Config, Decision, Event, Master, Pool, RegistrySnapshot, SessionId, check};

/// A master with a disk that always works, and a clock that stands still unless told.
pub(crate) struct World {
    pub(crate) master: Master,
    pub(crate) registry: RegistrySnapshot,
    pub(crate) now: Timestamp,
    pub(crate) timer: Option<Timestamp>,
    pub(crate) decisions: Vec<Decision>,
    /// Who waits for room in its queue; `None`: there always is some.
    pub(crate) awaits_room: Option<SessionId>,
}

pub(crate) const F: SessionId = SessionId(100);
pub(crate) const G: SessionId = SessionId(200);

pub(crate) fn framework_id(n: u64) -> FrameworkId {
    FrameworkId::new(format!("m-{n}")).expect("valid")
}
pub(crate) fn agent_id(n: u64) -> AgentId {
    AgentId::new(format!("m-S{n}")).expect("valid")
}
pub(crate) fn offer_id(n: u64) -> OfferId {
    OfferId::new(format!("m-1-O{n}")).expect("valid")
}
pub(crate) fn task_id(id: &str) -> TaskId {
    TaskId::new(id).expect("valid")
}
pub(crate) fn role(name: &str) -> RoleName {
    RoleName::new(name).expect("valid")
}
pub(crate) fn amount(cpus: i64, mem: i64) -> Resources {
    Quantities { cpus: Milli::units(cpus), mem: Milli::units(mem), ..Quantities::default() }.into()
}
pub(crate) fn with_disk(cpus: i64, mem: i64, disk: i64) -> Resources {
    let quantities = Quantities {
        cpus: Milli::units(cpus),
        mem: Milli::units(mem),
        disk: Milli::units(disk),
        ..Quantities::default()
    };
    quantities.into()
}
pub(crate) fn held(in_role: &str, principal: &str, volume: Option<&str>, quantities: Quantities) -> Resources {
    let reservation = Reservation::new(role(in_role), Principal::new(principal), BTreeMap::new());
    let volume = volume.map(|id| Volume::new(VolumeId::new(id).expect("valid"), "data"));
    Resources::held_as(Holding { reservation, volume }, quantities)
}
pub(crate) fn disk(amount: i64) -> Quantities {
    Quantities { disk: Milli::units(amount), ..Quantities::default() }
}
pub(crate) fn head(id: &str, agent: u64, resources: Resources) -> TaskHead {
    TaskHead {
        task_id: task_id(id),
        name: id.to_owned(),
        agent_id: agent_id(agent),
        resources,
        discovery: None,
        kill_grace: None,
        secrets: Vec::new(),
        privileged: false,
        cleans_up: false,
        limits: Default::default(),
    }
}
pub(crate) fn pod(agent: u64, tasks: &[(&str, Resources)]) -> Pod {
    Pod {
        executor_id: ExecutorId::new(format!("e-{}", tasks.first().map_or("none", |task| task.0))).expect("valid"),
        executor: Vec::new().into(),
        executor_resources: Resources::default(),
        tasks: tasks
            .iter()
            .map(|(id, resources)| Task { head: head(id, agent, resources.clone()), payload: Vec::new().into() })
            .collect(),
    }
}
pub(crate) fn status(id: &str, state: TaskState, uuid: u128) -> TaskStatus {
    TaskStatus {
        task_id: task_id(id),
        state,
        reason: None,
        source: Source::Executor,
        message: String::new(),
        agent_id: None,
        executor_id: None,
        uuid: (uuid != 0).then_some(UpdateId(uuid)),
        healthy: None,
        ready: None,
        timestamp: Timestamp(0),
    }
}
pub(crate) fn agent_task(framework: u64, id: &str, agent: u64, resources: Resources, state: TaskState) -> AgentTask {
    AgentTask {
        framework: FrameworkRef {
            id: framework_id(framework),
            name: "f".to_owned(),
            role: role("r"),
            principal: Principal::new("framework/f"),
        },
        executor_id: ExecutorId::new(format!("e-{id}")).expect("valid"),
        executor_resources: Resources::default(),
        launched: Timestamp(7),
        head: head(id, agent, resources),
        latest: status(id, state, 0),
    }
}
pub(crate) fn registration(name: &str, id: Option<u64>, total: Resources, tasks: Vec<AgentTask>) -> AgentRegistration {
    AgentRegistration {
        agent_id: id.map(agent_id),
        name: name.to_owned(),
        address: "10.0.0.1".to_owned(),
        port: 5051,
        total,
        attributes: BTreeMap::new(),
        region: String::new(),
        zone: String::new(),
        boot_id: "b".to_owned(),
        software: "0".to_owned(),
        epoch_seen: 1,
        tasks,
    }
}
pub(crate) fn info(name: &str, id: Option<u64>, roles: &[&str]) -> FrameworkInfo {
    FrameworkInfo {
        id: id.map(framework_id),
        name: name.to_owned(),
        roles: roles.iter().map(|name| role(name)).collect(),
        failover_timeout: Span::seconds(100),
        api_url: None,
        principal: Principal::new("ignored"),
        capabilities: BTreeSet::new(),
        offer_filters: BTreeMap::new(),
    }
}

impl World {
    /// Every ping is a line: here they are rare.
    pub(crate) fn new(config: Config) -> Self {
        let rare = config.ping_interval == crate::limits::PING_INTERVAL;
        let rarely = || Config { ping_interval: Span::seconds(5), ping_misses_max: 3, ..config.clone() };
        Self::often_pinging(if rare { rarely() } else { config })
    }
    /// Exactly as configured.
    pub(crate) fn often_pinging(config: Config) -> Self {
        let pool = Pool {
            master_id: "m".to_owned(),
            name: "test".to_owned(),
            epoch: 1,
            pod_range: "10.9.0.0/16".to_owned(),
            pod_prefix_length: 24,
            vip_range: crate::registry::VIP_RANGE.to_owned(),
        };
        let registry = RegistrySnapshot::empty(pool);
        let now = Timestamp(1_000_000);
        let master = Master::new(config, registry.clone(), 0, now);
        Self { master, registry, now, timer: None, decisions: Vec::new(), awaits_room: None }
    }
    /// The same pool under a new master.
    pub(crate) fn restart(&mut self) {
        self.registry.pool.epoch += 1;
        self.master = Master::new(self.master.config.clone(), self.registry.clone(), 0, self.now);
        self.timer = None;
    }
    /// One event with everything that follows from it at once; what peers hear, a line each.
    pub(crate) fn step(&mut self, event: Event) -> String {
        let mut text = String::new();
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut out = Vec::new();
            self.master.step(self.now, event, &mut out);
            check(&self.master).expect("invariants hold");
            let (mut allocate, mut persisted) = (false, None);
            for command in out {
                match command {
                    Command::Persist { batch, records } => {
                        records.iter().for_each(|record| self.registry.apply(record));
                        persisted = Some(batch);
                    }
                    Command::ScheduleAllocation => allocate = true,
                    Command::AwaitRoom { session } if self.awaits_room.is_none() => {
                        events.push(Event::FrameworkHasRoom { session });
                    }
                    Command::AwaitRoom { session } => self.awaits_room = Some(session),
                    Command::SetTimer { at } => self.timer = Some(at),
                    Command::Changed(_) => {}
                    Command::Decided(decision) => self.decisions.push(decision),
                    other => writeln!(text, "{}", told(&other)).expect("a string takes all"),
                }
            }
            events.extend(allocate.then_some(Event::AllocationDue));
            events.extend(persisted.map(|batch| Event::Persisted { batch }));
        }
        text
    }
    pub(crate) fn call(&mut self, session: SessionId, call: Call) -> String {
        self.step(Event::FrameworkCalled {
            session,
            sequence: 1,
            call: Some(call),
            writes: Vec::new(),
            read_state: false,
        })
    }
    pub(crate) fn framework(&mut self, session: SessionId, name: &str, id: Option<u64>, roles: &[&str]) -> String {
        let principal = Principal::new(format!("framework/{name}"));
        self.step(Event::FrameworkOpened { session, principal });
        self.call(
            session,
            Call::Subscribe {
                info: info(name, id, roles),
                suppressed: BTreeSet::new(),
                constraints: Default::default(),
            },
        )
    }
    pub(crate) fn agent(&mut self, session: u64, said: AgentRegistration) -> String {
        self.step(Event::AgentOpened { session: SessionId(session), name: said.name.clone() });
        self.step(Event::AgentSaid { session: SessionId(session), message: FromAgent::Register(Box::new(said)) })
    }
    pub(crate) fn accept(
        &mut self,
        session: SessionId,
        offer: OfferId,
        operations: Vec<Operation>,
        refuse: u64,
    ) -> String {
        self.call(
            session,
            Call::Accept { offers: vec![offer], operations, filter: Filter { refuse: Span::seconds(refuse) } },
        )
    }
    pub(crate) fn decline(&mut self, session: SessionId, offer: OfferId, refuse: u64) -> String {
        self.call(session, Call::Decline { offers: vec![offer], filter: Filter { refuse: Span::seconds(refuse) } })
    }
    pub(crate) fn update(&mut self, session: u64, framework: u64, status: TaskStatus) -> String {
        let latest_state = status.state;
        let message = FromAgent::Update { framework_id: framework_id(framework), status, latest_state };
        self.step(Event::AgentSaid { session: SessionId(session), message })
    }
    /// Lets time pass, firing every timer at its time.
    pub(crate) fn wait(&mut self, span: Span) -> String {
        let end = self.now + span;
        let mut text = String::new();
        while let Some(at) = self.timer.filter(|at| *at <= end) {
            self.timer = None;
            self.now = self.now.max(at);
            text += &self.step(Event::Tick);
        }
        self.now = end;
        text
    }
}

fn told(command: &Command) -> String {
    match command {
        Command::SendFramework { session, event } => format!("f{}: {}", session.0, event_words(event)),
        Command::ReplyCall { session, result, .. } => match result {
            Ok(()) => format!("f{}: done", session.0),
            Err(refusal) if refusal.field.is_empty() => format!("f{}: no: {refusal}", session.0),
            Err(refusal) => format!("f{}: no: {}: {refusal}", session.0, refusal.field),
        },
        Command::SendState { session, framework_id } => format!("f{}: state of {framework_id}", session.0),
        Command::CloseFramework { session } => format!("f{}: close", session.0),
        Command::SendAgent { session, message } => format!("a{}: {}", session.0, message_words(message)),
        Command::CloseAgent { session } => format!("a{}: close", session.0),
        Command::Reply { result, .. } => match result {
            Ok(()) => "operator: done".to_owned(),
            Err(refusal) => format!("operator: no: {refusal}"),
        },
        Command::Persist { .. }
        | Command::ScheduleAllocation
        | Command::AwaitRoom { .. }
        | Command::SetTimer { .. }
        | Command::Changed(_)
        | Command::Decided(_) => unreachable!("not said to a peer"),
    }
}

fn event_words(event: &SchedulerEvent) -> String {
    match event {
        SchedulerEvent::Subscribed { framework_id } => format!("subscribed as {framework_id}"),
        SchedulerEvent::Offers(offers) => {
            let offers: Vec<String> =
                offers.iter().map(|o| format!("{} {} {}: {}", o.id, o.agent_id, o.role, o.resources)).collect();
            format!("offers {}", offers.join(" | "))
        }
        SchedulerEvent::Rescind(id) => format!("rescind {id}"),
        SchedulerEvent::InverseOffers(offers) => {
            let offers: Vec<String> =
                offers.iter().map(|o| format!("{} by {}", o.agent_id, o.unavailability.start.0)).collect();
            format!("empty {}", offers.join(" | "))
        }
        SchedulerEvent::RescindInverseOffer(id) => format!("keep {id}"),
        SchedulerEvent::Update(status) => {
            let mut text = format!("update {} {:?}", status.task_id, status.state);
            if let Some(reason) = status.reason {
                write!(text, " {reason:?}").expect("a string takes all");
            }
            if let Some(uuid) = status.uuid {
                write!(text, " #{}", uuid.0).expect("a string takes all");
            }
            text
        }
        SchedulerEvent::OperationUpdate(status) => {
            let why = if status.message.is_empty() { String::new() } else { format!(": {}", status.message) };
            let uuid = status.uuid.map_or(String::new(), |uuid| format!(" #{}", uuid.0 & 0xFFFF));
            format!("operation {} {:?}{uuid}{why}", status.operation_id, status.state)
        }
        SchedulerEvent::NotYetKnown(not_yet) => {
            let tasks: Vec<&str> = not_yet.tasks.iter().map(TaskId::as_str).collect();
            let tasks = if tasks.is_empty() { "all".to_owned() } else { tasks.join(" ") };
            format!("not yet: {tasks}; {} agents, {} s", not_yet.agents_awaited, not_yet.ask_again.0 / 1000)
        }
        SchedulerEvent::Failure { agent_id, .. } => format!("failure {agent_id}"),
        SchedulerEvent::Error(message) => format!("error {message}"),
    }
}

fn message_words(message: &ToAgent) -> String {
    match message {
        ToAgent::Registered { agent_id, pod_subnet, .. } => format!("registered {agent_id} {pod_subnet}"),
        ToAgent::Refused(refusal) => format!("refused: {refusal}"),
        ToAgent::Launch { pod, privileged_allowed, .. } => {
            let tasks: Vec<&str> = pod.tasks.iter().map(|task| task.head.task_id.as_str()).collect();
            format!("launch {}{}", tasks.join(" "), if *privileged_allowed { " privileged" } else { "" })
        }
        ToAgent::Kill { task_id, .. } => format!("kill {task_id}"),
        ToAgent::Acknowledge { task_id, uuid, .. } => format!("acknowledge {task_id} #{}", uuid.0),
        ToAgent::SetHoldings { generation, holdings } => format!("holdings {generation}: {holdings}"),
        ToAgent::Peers(peers) => {
            let peers: Vec<&str> = peers.iter().map(|peer| peer.agent_id.as_str()).collect();
            format!("peers [{}]", peers.join(" "))
        }
        ToAgent::Ping { number } => format!("ping {number}"),
        ToAgent::ShutdownFramework { framework_id } => format!("shut down {framework_id}"),
    }
}

/// Nobody answers pings and offers.
fn patient() -> Config {
    Config { ping_interval: Span::seconds(3600), offer_timeout: None, ..Config::default() }
}

/// Task `t` runs on agent `one`, with the rest of it lent to nobody for now.
fn world_with_a_task() -> World {
    let mut world = World::new(patient());
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    world.accept(F, offer_id(1), vec![Operation::Launch(pod(1, &[("t", amount(1, 0))]))], 0);
    world.update(1, 1, status("t", TaskState::Running, 7));
    world.call(F, acknowledgement("t", 7));
    world
}

fn acknowledgement(task: &str, uuid: u128) -> Call {
    Call::Acknowledge { agent_id: agent_id(1), task_id: task_id(task), uuid: UpdateId(uuid) }
}

/// What an operator's request leads to.
fn ask(world: &mut World, ask: crate::OperatorRequest) -> String {
    world.step(Event::Asked { request: crate::RequestId(1), ask })
}
