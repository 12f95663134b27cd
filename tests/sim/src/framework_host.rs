//! A scheduler that keeps some tasks running, stores its intent before it accepts, and misbehaves while things break.
use std::collections::{BTreeMap, BTreeSet};

use master_core::{Event as MasterEvent, SessionId, StateWrite};
use model::call::{Call, Filter, FrameworkInfo, Offer, Operation, SchedulerEvent};
use model::task::{Limit, Pod, Task};
use model::{
    AgentId, ExecutorId, FrameworkId, Holding, Milli, OfferId, OperationId, OperationStatus, Principal, Quantities,
    Ranges, Reason, Reservation, Resources, RoleName, Span, TaskHead, TaskId, TaskState, TaskStatus, UpdateId, Volume,
    VolumeId,
};

use crate::world::{Happening, Peer, Said, World};

/// A scheduler and what it stored.
#[derive(Debug)]
pub(crate) struct FrameworkHost {
    pub(crate) name: String,
    pub(crate) id: Option<FrameworkId>,
    pub(crate) life: u64,
    pub(crate) up: bool,
    pub(crate) session: Option<SessionId>,
    pub(crate) subscribed: bool,
    /// How many tasks it wants to run.
    pub(crate) goal: usize,
    pub(crate) tasks: BTreeMap<TaskId, Mine>,
    number: u64,
    sequence: u64,
    /// Updates whose acknowledgement this master has confirmed.
    pub(crate) confirmed: BTreeSet<UpdateId>,
    acknowledging: BTreeMap<u64, UpdateId>,
    /// Operations that it gave an id, and wants to hear of.
    operations: BTreeSet<OperationId>,
    last_accept: Option<Call>,
    reconciled: u64,
    known_offer: Option<Offer>,
    suppressed: bool,
    /// How often it misbehaved: each time in the next way.
    pub(crate) mischief: u64,
    /// It waits for offers and does not ask for them.
    pub(crate) patient: bool,
}

/// A task as its scheduler knows it.
#[derive(Debug, Clone)]
pub(crate) struct Mine {
    pub(crate) agent_id: AgentId,
    pub(crate) state: TaskState,
    reliable: Option<(UpdateId, TaskState)>,
    killing: bool,
}

impl Mine {
    pub(crate) fn has_ended(&self) -> bool {
        self.state.is_terminal() || self.state == TaskState::Unknown
    }
}

impl FrameworkHost {
    pub(crate) fn new(number: u64) -> Self {
        Self {
            name: format!("framework-{number}"),
            id: None,
            life: 0,
            up: false,
            session: None,
            subscribed: false,
            goal: 3,
            tasks: BTreeMap::new(),
            number: 0,
            sequence: 0,
            confirmed: BTreeSet::new(),
            acknowledging: BTreeMap::new(),
            operations: BTreeSet::new(),
            last_accept: None,
            reconciled: 0,
            known_offer: None,
            suppressed: false,
            mischief: 0,
            patient: false,
        }
    }
    pub(crate) fn role(&self) -> RoleName {
        RoleName::new(format!("role-{}", self.name)).expect("valid")
    }
    fn principal(&self) -> Principal {
        Principal::new(format!("framework/{}", self.name))
    }
    pub(crate) fn live(&self) -> usize {
        self.tasks.values().filter(|task| !task.has_ended()).count()
    }
    fn reservation(&self) -> Reservation {
        Reservation::new(self.role(), self.principal(), BTreeMap::new())
    }
    /// It ended; the next one of the name is another framework.
    fn begin_anew(&mut self) {
        self.id = None;
        self.tasks.clear();
        self.operations.clear();
        self.last_accept = None;
    }
}

fn some_disk(amount: i64) -> Quantities {
    Quantities { disk: Milli::units(amount), ..Quantities::default() }
}

impl World {
    pub(crate) fn framework_starts(&mut self, framework: usize) {
        let host = &mut self.frameworks[framework];
        if host.up {
            return;
        }
        host.up = true;
        host.life += 1;
        host.goal = if self.faults { 3 } else { host.goal.max(1) };
        let life = host.life;
        self.after(1, Happening::FrameworkTick { framework, life });
    }
    pub(crate) fn framework_dies(&mut self, framework: usize) {
        let host = &mut self.frameworks[framework];
        host.up = false;
        host.life += 1;
        host.subscribed = false;
        host.acknowledging.clear();
        host.known_offer = None;
        if let Some(session) = host.session.take() {
            let after = self.rng.between(1, 8000);
            self.end_dies(session, false, after);
        }
    }
    pub(crate) fn framework_link_down(&mut self, framework: usize, session: SessionId) {
        let host = &mut self.frameworks[framework];
        if host.session == Some(session) {
            host.session = None;
            host.subscribed = false;
            host.acknowledging.clear();
            host.known_offer = None;
        }
    }

    fn call(&mut self, framework: usize, call: Call) -> u64 {
        let host = &mut self.frameworks[framework];
        host.sequence += 1;
        let sequence = host.sequence;
        let Some(session) = host.session else { return sequence };
        let mut writes = Vec::new();
        if matches!(call, Call::Accept { .. }) {
            // The intent rides on the accept.
            writes.push(StateWrite { key: "intent".to_owned(), value: Some(vec![1]) });
        }
        let event = MasterEvent::FrameworkCalled { session, sequence, call: Some(call), writes, read_state: false };
        self.send_to_master(session, event);
        sequence
    }

    pub(crate) fn framework_ticks(&mut self, framework: usize, life: u64) {
        if self.frameworks[framework].life != life || !self.frameworks[framework].up {
            return;
        }
        let delay = self.rng.between(500, 1500);
        self.after(delay, Happening::FrameworkTick { framework, life });
        if self.frameworks[framework].session.is_none() {
            if self.master.core.is_some() && !self.is_cut_off(Peer::Framework(framework)) {
                self.framework_dials(framework);
            }
            return;
        }
        if !self.frameworks[framework].subscribed {
            return;
        }
        let due = self.frameworks[framework].reconciled + 8000 <= self.now;
        if due {
            self.reconcile(framework);
        }
        let host = &self.frameworks[framework];
        let live: Vec<(TaskId, AgentId, bool)> = host
            .tasks
            .iter()
            .filter(|(_, task)| !task.has_ended())
            .map(|(id, task)| (id.clone(), task.agent_id.clone(), task.killing))
            .collect();
        let excess = live.len().saturating_sub(host.goal);
        for (i, (task_id, agent_id, killing)) in live.into_iter().enumerate() {
            let kill = i < excess || (self.faults && self.rng.percent(3));
            if kill && (!killing || self.rng.percent(20)) {
                if let Some(task) = self.frameworks[framework].tasks.get_mut(&task_id) {
                    task.killing = true;
                }
                let grace = self.rng.percent(50).then_some(Span::millis(100));
                self.call(framework, Call::Kill { task_id, agent_id: Some(agent_id), grace });
            }
        }
        let patient = self.frameworks[framework].patient && !self.frameworks[framework].suppressed;
        if patient {
            // The filters end by themselves.
        } else if self.frameworks[framework].live() < self.frameworks[framework].goal && self.rng.percent(20) {
            self.frameworks[framework].suppressed = false;
            self.call(framework, Call::Revive { roles: BTreeSet::new() });
        } else if self.faults && self.rng.percent(2) {
            self.frameworks[framework].suppressed = true;
            self.call(framework, Call::Suppress { roles: BTreeSet::new() });
        } else if self.frameworks[framework].goal == 0 && self.rng.percent(20) {
            self.frameworks[framework].suppressed = false;
            self.call(framework, Call::Revive { roles: BTreeSet::new() });
        }
        if self.faults && self.rng.percent(1) && self.rng.percent(30) {
            self.call(framework, Call::Teardown);
        }
        if self.faults && self.rng.percent(3) {
            self.misbehave(framework);
        }
    }

    fn reconcile(&mut self, framework: usize) {
        let now = self.now;
        let host = &mut self.frameworks[framework];
        host.reconciled = now;
        let tasks: Vec<_> = host
            .tasks
            .iter()
            .filter(|(_, task)| !task.has_ended())
            .map(|(id, task)| (id.clone(), Some(task.agent_id.clone())))
            .collect();
        if !tasks.is_empty() {
            self.call(framework, Call::Reconcile { tasks });
        }
    }

    fn framework_dials(&mut self, framework: usize) {
        let session = self.connect(Peer::Framework(framework));
        let host = &mut self.frameworks[framework];
        host.session = Some(session);
        let (principal, name, role) = (host.principal(), host.name.clone(), host.role());
        let id = host.id.clone();
        // A scheduler started elsewhere knows its name only.
        let id = if self.rng.percent(70) { id } else { None };
        self.send_to_master(session, MasterEvent::FrameworkOpened { session, principal: principal.clone() });
        let failover_timeout = Span::seconds(30);
        let info = FrameworkInfo {
            id,
            name,
            roles: BTreeSet::from([role]),
            failover_timeout,
            api_url: None,
            principal,
            capabilities: BTreeSet::new(),
            offer_filters: Default::default(),
        };
        self.call(framework, Call::Subscribe { info, suppressed: BTreeSet::new(), constraints: Default::default() });
    }

    pub(crate) fn framework_hears(&mut self, framework: usize, said: Said) -> Result<(), String> {
        match said {
            Said::Event(SchedulerEvent::Subscribed { framework_id }) => {
                let host = &mut self.frameworks[framework];
                if host.id.as_ref().is_some_and(|id| *id != framework_id) {
                    // The one it was has ended meanwhile.
                    host.begin_anew();
                }
                host.id = Some(framework_id);
                host.subscribed = true;
                if let Some(accept) = host.last_accept.clone()
                    && self.rng.percent(50)
                {
                    self.counts.hit("fault: duplicate accept");
                    self.call(framework, accept);
                }
                self.reconcile(framework);
            }
            Said::Event(SchedulerEvent::Offers(offers)) => {
                let two = offers.len() > 1;
                if self.faults && two && self.rng.percent(8) {
                    let offers = offers.iter().map(|offer| offer.id.clone()).collect();
                    self.call(framework, Call::Accept { offers, operations: Vec::new(), filter: Filter::default() });
                    return Ok(());
                }
                for offer in offers {
                    self.consider(framework, &offer);
                }
            }
            Said::Event(SchedulerEvent::Update(status)) => self.news(framework, status)?,
            Said::Event(
                SchedulerEvent::Rescind(_)
                | SchedulerEvent::InverseOffers(_)
                | SchedulerEvent::RescindInverseOffer(_)
                | SchedulerEvent::NotYetKnown(_)
                | SchedulerEvent::Failure { .. },
            ) => {}
            Said::Event(SchedulerEvent::OperationUpdate(status)) => self.hear_operation(framework, &status)?,
            Said::Event(SchedulerEvent::Error(_)) => self.frameworks[framework].subscribed = false,
            Said::State(_) => {}
            Said::Result { sequence, result } => {
                let host = &mut self.frameworks[framework];
                if let Some(uuid) = host.acknowledging.remove(&sequence)
                    && result.is_ok()
                {
                    host.confirmed.insert(uuid);
                }
                if let Err(refusal) = result
                    && ["MST0006", "MST0007"].contains(&refusal.code.as_str())
                {
                    host.begin_anew();
                }
            }
        }
        Ok(())
    }

    /// What became of an operation; some receipts are never sent.
    fn hear_operation(&mut self, framework: usize, status: &OperationStatus) -> Result<(), String> {
        let host = &self.frameworks[framework];
        if !host.operations.contains(&status.operation_id) {
            return Err(format!("{} hears of operation {}, which it never asked", host.name, status.operation_id));
        }
        let Some(uuid) = status.uuid else { return Ok(()) };
        if !status.state.is_terminal() {
            return Err(format!("operation {} is {:?} and wants a receipt", status.operation_id, status.state));
        }
        self.counts.hit("operation told");
        if !self.faults || self.rng.percent(70) {
            let (agent_id, operation_id) = (status.agent_id.clone(), status.operation_id.clone());
            self.call(framework, Call::AcknowledgeOperation { agent_id, operation_id, uuid });
        }
        Ok(())
    }

    /// Gives operations ids, now and then: what becomes of them has to be told.
    fn follow(&mut self, framework: usize, operations: Vec<Operation>) -> Vec<Operation> {
        let follow_one = |operation: Operation| {
            if matches!(operation, Operation::Launch(_)) || self.rng.percent(50) {
                return operation;
            }
            let host = &mut self.frameworks[framework];
            host.number += 1;
            let id = OperationId::new(format!("o{}", host.number)).expect("valid");
            host.operations.insert(id.clone());
            Operation::Identified { id, operation: Box::new(operation) }
        };
        operations.into_iter().map(follow_one).collect()
    }

    fn news(&mut self, framework: usize, status: TaskStatus) -> Result<(), String> {
        let host = &mut self.frameworks[framework];
        let Some(mine) = host.tasks.get_mut(&status.task_id) else {
            return Err(format!("{} hears of task {}, which it never launched", host.name, status.task_id));
        };
        let made_up = status.reason == Some(Reason::Reconciliation);
        if mine.state.is_terminal() && !status.state.is_terminal() && !made_up && status.uuid.is_none() {
            return Err(format!("task {} became {:?} after {:?}", status.task_id, status.state, mine.state));
        }
        if let Some(uuid) = status.uuid {
            if host.confirmed.contains(&uuid) {
                return Err(format!("{} sees an acknowledged update of {} again", host.name, status.task_id));
            }
            if let Some((before, state)) = mine.reliable
                && before != uuid
                && !state.may_become(status.state)
            {
                return Err(format!("task {} went from {state:?} to {:?}", status.task_id, status.state));
            }
            mine.reliable = Some((uuid, status.state));
        }
        if !mine.state.is_terminal() {
            mine.state = status.state;
        }
        let (Some(uuid), Some(agent_id)) = (status.uuid, status.agent_id) else { return Ok(()) };
        if self.faults && self.rng.percent(5) {
            self.counts.hit("fault: acknowledgement withheld");
            return Ok(());
        }
        let times = if self.faults && self.rng.percent(10) { 2 } else { 1 };
        for _ in 0..times {
            let (agent_id, task_id) = (agent_id.clone(), status.task_id.clone());
            let sequence = self.call(framework, Call::Acknowledge { agent_id, task_id, uuid });
            self.frameworks[framework].acknowledging.insert(sequence, uuid);
        }
        if times == 2 {
            self.counts.hit("fault: duplicate acknowledgement");
        }
        Ok(())
    }

    fn consider(&mut self, framework: usize, offer: &Offer) {
        self.frameworks[framework].known_offer = Some(offer.clone());
        if self.faults && self.rng.percent(3) {
            self.counts.hit("fault: offer left unanswered");
            return;
        }
        if self.faults && self.rng.percent(7) {
            self.misbehave(framework);
            return;
        }
        let host = &self.frameworks[framework];
        let filter = Filter { refuse: Span::millis(self.rng.between(0, 4000)) };
        let wants = host.live() < host.goal;
        let enough =
            offer.resources.unreserved.cpus >= Milli::units(1) && offer.resources.unreserved.mem >= Milli::units(128);
        let operations = if !offer.resources.held.is_empty() {
            give_back(&offer.resources)
        } else if wants && enough {
            self.plan(framework, offer)
        } else {
            self.call(framework, Call::Decline { offers: vec![offer.id.clone()], filter });
            return;
        };
        let operations = self.follow(framework, operations);
        let accept = Call::Accept { offers: vec![offer.id.clone()], operations, filter };
        self.frameworks[framework].last_accept = Some(accept.clone());
        self.call(framework, accept);
    }

    /// A pod of one or two tasks, sometimes with a port, sometimes on a volume of its own.
    fn plan(&mut self, framework: usize, offer: &Offer) -> Vec<Operation> {
        let count = self.rng.between(1, 2);
        let mut operations = Vec::new();
        let mut tasks = Vec::new();
        for i in 0..count {
            let quantities = Quantities { cpus: Milli(400), mem: Milli::units(64), ..Quantities::default() };
            let mut resources = Resources::from(quantities);
            if i == 0
                && let Some(port) = offer.resources.unreserved.ports.iter().next()
                && self.rng.percent(50)
            {
                resources.unreserved.ports = Ranges::one(port);
            }
            if i == 0 && offer.resources.unreserved.disk >= Milli::units(50) && self.rng.percent(30) {
                let host = &mut self.frameworks[framework];
                host.number += 1;
                let reservation = host.reservation();
                let id = VolumeId::new(format!("v{}", host.number)).expect("valid");
                let volume = Some(Volume::new(id, "data"));
                let held = Holding { reservation: reservation.clone(), volume: None };
                operations.push(Operation::Reserve(Resources::held_as(held, some_disk(50))));
                let volume = Resources::held_as(Holding { reservation, volume }, some_disk(30));
                operations.push(Operation::Create(volume.clone()));
                resources.add(&volume);
            }
            tasks.push(self.fresh_task(framework, &offer.agent_id, resources));
        }
        operations.push(Operation::Launch(self.pod(framework, tasks)));
        operations
    }

    /// A task whose id is stored before anybody hears of it.
    fn fresh_task(&mut self, framework: usize, agent_id: &AgentId, resources: Resources) -> Task {
        let host = &mut self.frameworks[framework];
        host.number += 1;
        let number = host.number;
        let task_id = TaskId::new(format!("t{number}")).expect("valid");
        let mine = Mine { agent_id: agent_id.clone(), state: TaskState::Staging, reliable: None, killing: false };
        host.tasks.insert(task_id.clone(), mine);
        let head = TaskHead {
            name: task_id.to_string(),
            task_id,
            agent_id: agent_id.clone(),
            resources,
            discovery: None,
            kill_grace: None,
            secrets: Vec::new(),
            privileged: false,
            // Pods that end at once and pods that first undo something.
            cleans_up: number.is_multiple_of(3),
            limits: Default::default(),
        };
        Task { head, payload: Vec::new().into() }
    }
    fn pod(&mut self, framework: usize, tasks: Vec<Task>) -> Pod {
        let host = &mut self.frameworks[framework];
        host.number += 1;
        let executor_id = ExecutorId::new(format!("e{}", host.number)).expect("valid");
        let own = Quantities { cpus: Milli(20), mem: Milli::units(8), ..Quantities::default() };
        Pod { executor_id, executor: Vec::new().into(), executor_resources: own.into(), tasks }
    }

    /// Something that must be refused, with the offer it saw last (which it has answered already, or not). The ways take turns:
    /// with chance alone some would be rare.
    pub(crate) fn misbehave(&mut self, framework: usize) {
        let Some(offer) = self.frameworks[framework].known_offer.clone() else { return };
        let small: Resources = Quantities { cpus: Milli(10), ..Quantities::default() }.into();
        let mut task = self.fresh_task(framework, &offer.agent_id, small.clone());
        let own = self.frameworks[framework].reservation();
        let plain = |reservation: &Reservation, amount| {
            Resources::held_as(Holding { reservation: reservation.clone(), volume: None }, some_disk(amount))
        };
        let mut offers = vec![offer.id.clone()];
        let mut executor = None;
        let mut before = Vec::new();
        let way = self.frameworks[framework].mischief % MISCHIEFS;
        self.frameworks[framework].mischief += 1;
        match way {
            0 => task.head.resources.unreserved.cpus = Milli::units(1000),
            1 => task.head.agent_id = AgentId::new("elsewhere").expect("valid"),
            2 => task.head.privileged = true,
            3 => task.head.secrets = vec!["secret/none".to_owned()],
            4 => {
                // One that this master knows: that a framework uses an id twice over a failover, nobody could tell.
                let own = self.frameworks[framework].id.as_ref();
                let known = self.master.tasks.keys().find(|(framework_id, _)| own == Some(framework_id));
                if let Some((_, task_id)) = known {
                    task.head.task_id = task_id.clone();
                }
            }
            5 => {
                let mut foreign = own;
                foreign.role = RoleName::new("foreign").expect("valid");
                before.push(Operation::Reserve(plain(&foreign, 1)));
            }
            6 => {
                let mut foreign = own;
                foreign.principal = Principal::new("framework/foreign");
                before.push(Operation::Reserve(plain(&foreign, 1)));
            }
            7 => {
                let volume = Some(Volume::new(VolumeId::new("twice").expect("valid"), "d"));
                let create = Resources::held_as(Holding { reservation: own.clone(), volume }, some_disk(1));
                before.push(Operation::Reserve(plain(&own, 2)));
                before.extend([Operation::Create(create.clone()), Operation::Create(create)]);
            }
            8 => task.head.resources.unreserved.cpus = Milli(-5),
            9 => offers = vec![OfferId::new("never-given").expect("valid")],
            10 => offers.clear(),
            11 => {
                // The executor of something that still runs there, if there is anything.
                let own = self.frameworks[framework].id.as_ref();
                let mut there =
                    self.master.tasks.values().filter(|t| t.agent_id == offer.agent_id && own == Some(&t.framework_id));
                executor = there.next().map(|task| task.executor_id.clone());
            }
            12 => {
                // An id that still means another operation.
                let id = OperationId::new("o-twice").expect("valid");
                let operation = Box::new(Operation::Reserve(plain(&own, 1)));
                let identified = Operation::Identified { id: id.clone(), operation };
                self.frameworks[framework].operations.insert(id);
                before.extend([identified.clone(), identified]);
            }
            13 => {
                let mut fixed = own;
                fixed.is_static = true;
                before.push(Operation::Reserve(plain(&fixed, 1)));
            }
            14 => task.head.limits.cpus = Some(Limit::AtMost(Milli(1))),
            15 => task.head.resources.revocable.cpus = Milli(10),
            16 => before = vec![Operation::Reserve(plain(&own, 1)); master_core::limits::OPERATIONS_PER_ACCEPT_MAX],
            17 => {
                let offers = vec![OfferId::new("never-asked").expect("valid")];
                self.call(framework, Call::DeclineInverseOffers { offers, filter: None });
                return;
            }
            18 => {
                let (agent_id, uuid) = (AgentId::new("elsewhere").expect("valid"), UpdateId(1));
                let live = self.frameworks[framework].tasks.iter().find(|(_, task)| task.state == TaskState::Running);
                let task_id = live.map_or(task.head.task_id, |(id, _)| id.clone());
                self.call(framework, Call::Acknowledge { agent_id, task_id, uuid });
                return;
            }
            _ => {
                let host = &self.frameworks[framework];
                let (name, role, principal) = (host.name.clone(), host.role(), host.principal());
                let roles = BTreeSet::from([role]);
                let (id, failover_timeout) = (host.id.clone(), Span::seconds(30));
                let info = FrameworkInfo {
                    id,
                    name,
                    roles,
                    failover_timeout,
                    api_url: None,
                    principal,
                    capabilities: BTreeSet::new(),
                    offer_filters: Default::default(),
                };
                self.call(
                    framework,
                    Call::Subscribe { info, suppressed: BTreeSet::new(), constraints: Default::default() },
                );
                return;
            }
        }
        let mut pod = self.pod(framework, vec![task]);
        if let Some(executor_id) = executor {
            pod.executor_id = executor_id;
        }
        before.push(Operation::Launch(pod));
        self.call(framework, Call::Accept { offers, operations: before, filter: Filter::default() });
    }
}

/// So many ways there are to misbehave.
pub(crate) const MISCHIEFS: u64 = 20;

/// Destroys the volumes and gives all reservations back.
fn give_back(resources: &Resources) -> Vec<Operation> {
    let (mut volumes, mut plain) = (Resources::default(), Resources::default());
    for (holding, quantities) in &resources.held {
        if holding.volume.is_some() {
            volumes.add(&Resources::held_as(holding.clone(), quantities.clone()));
        }
        let without = Holding { reservation: holding.reservation.clone(), volume: None };
        plain.add(&Resources::held_as(without, quantities.clone()));
    }
    let mut operations = Vec::new();
    if !volumes.is_empty() {
        operations.push(Operation::Destroy(volumes));
    }
    operations.push(Operation::Unreserve(plain));
    operations
}
