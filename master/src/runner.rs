//! The one task that owns the core. It drains its inbox, steps the core for each event, then carries out the commands in
//! order: views first, then one batch for the disk, then messages. It makes no choice of its own.
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use master_core::{Command, Config, Decision, Event, Master, OperatorRequest, RegistrySnapshot, RequestId, SessionId};
use model::call::SchedulerEvent;
use model::link::ToAgent;
use model::{FrameworkId, Principal, Refusal};
use proto::convert;
use proto::mesos::v1 as mesos;
use proto::mezzo::v1 as wire;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{debug, info, warn};

use crate::limits;
use crate::metrics::Metrics;
use crate::pace::Room;
use crate::refusal;
use crate::registry::{Registry, RegistryError, Write, record};
use crate::view::SharedView;

/// What the clock says, as the core wants it.
pub(crate) use daemon::clock::now;

/// The sending end of a session. Dropping it ends the stream after what was sent.
#[derive(Debug, Clone)]
pub(crate) struct Outbound<T> {
    pub(crate) queue: mpsc::Sender<Result<T, Status>>,
    /// Ends the session's reading end too.
    pub(crate) closed: CancellationToken,
}

enum Input {
    Event(Event),
    FrameworkOpened { session: SessionId, principal: Principal, out: Outbound<wire::FrameworkEvent>, room: Room },
    AgentOpened { session: SessionId, name: String, out: Outbound<wire::MasterMessage> },
    Asked { ask: OperatorRequest, answer: oneshot::Sender<Result<(), Refusal>> },
}

/// How everybody else reaches the core.
#[derive(Debug, Clone)]
pub(crate) struct CoreHandle {
    inbox: mpsc::Sender<Input>,
    sessions: Arc<AtomicU64>,
    bell: Arc<Notify>,
}

impl CoreHandle {
    /// A number for a new session.
    pub(crate) fn next_session(&self) -> SessionId {
        SessionId(self.sessions.fetch_add(1, Ordering::Relaxed))
    }
    /// What a new session's queue tells the runner by.
    pub(crate) fn room(&self) -> Room {
        Room::new(self.bell.clone())
    }
    /// A scheduler connected.
    pub(crate) async fn open_framework(
        &self,
        session: SessionId,
        principal: Principal,
        out: Outbound<wire::FrameworkEvent>,
        room: Room,
    ) {
        // If the runner has ended the session sees its stream end.
        let _ = self.inbox.send(Input::FrameworkOpened { session, principal, out, room }).await;
    }
    /// An agent connected.
    pub(crate) async fn open_agent(&self, session: SessionId, name: String, out: Outbound<wire::MasterMessage>) {
        let _ = self.inbox.send(Input::AgentOpened { session, name, out }).await;
    }
    /// Something happened. Waits while the inbox is full.
    pub(crate) async fn tell(&self, event: Event) {
        let _ = self.inbox.send(Input::Event(event)).await;
    }
    /// Asks for a change and waits for the answer.
    pub(crate) async fn ask(&self, ask: OperatorRequest) -> Result<(), Refusal> {
        let (answer, answered) = oneshot::channel();
        if self.inbox.send(Input::Asked { ask, answer }).await.is_err() {
            return Err(refusal::stopping());
        }
        answered.await.unwrap_or_else(|_| Err(refusal::stopping()))
    }
}

struct FrameworkSession {
    out: Outbound<wire::FrameworkEvent>,
    room: Room,
    /// The core waits for room.
    is_awaited: bool,
    /// Heartbeats begin with SUBSCRIBED.
    subscribed: bool,
}

/// The batches that a commit made durable.
type Written = Result<Vec<u64>, RegistryError>;

/// The runner: the core and what is needed to carry out its commands.
pub(crate) struct Runner {
    core: Master,
    epoch: u64,
    master_info: mesos::MasterInfo,
    registry: Arc<dyn Registry>,
    view: SharedView,
    metrics: Arc<Metrics>,
    inbox: mpsc::Receiver<Input>,
    persisted: (mpsc::UnboundedSender<Written>, mpsc::UnboundedReceiver<Written>),
    frameworks: BTreeMap<SessionId, FrameworkSession>,
    agents: BTreeMap<SessionId, Outbound<wire::MasterMessage>>,
    answers: BTreeMap<RequestId, oneshot::Sender<Result<(), Refusal>>>,
    /// Rings when the queue of a session that is waited for has room.
    bell: Arc<Notify>,
    next_request: u64,
    timer: Option<Instant>,
    allocation: Option<Instant>,
    allocated: Instant,
}

/// What a runner is made of.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) snapshot: RegistrySnapshot,
    pub(crate) master_info: mesos::MasterInfo,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) view: SharedView,
    pub(crate) metrics: Arc<Metrics>,
}

impl Runner {
    pub(crate) fn new(parts: Parts) -> (Self, CoreHandle) {
        let (sender, inbox) = mpsc::channel(limits::INBOX);
        let epoch = parts.snapshot.pool.epoch;
        let core = Master::new(parts.config, parts.snapshot, rand::random(), now());
        let bell = Arc::new(Notify::new());
        let runner = Self {
            core,
            epoch,
            master_info: parts.master_info,
            registry: parts.registry,
            view: parts.view,
            metrics: parts.metrics,
            inbox,
            persisted: mpsc::unbounded_channel(),
            frameworks: BTreeMap::new(),
            agents: BTreeMap::new(),
            answers: BTreeMap::new(),
            bell: bell.clone(),
            next_request: 0,
            timer: None,
            allocation: None,
            allocated: Instant::now(),
        };
        (runner, CoreHandle { inbox: sender, sessions: Arc::new(AtomicU64::new(1)), bell })
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// A write failed: what is durable is unknown, so the process must end.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), RegistryError> {
        // The first step lets the core set its timers and show what it knows.
        let mut events = VecDeque::from([Event::Tick]);
        let mut heartbeat = tokio::time::interval(limits::HEARTBEAT);
        let mut period = tokio::time::interval(limits::ALLOCATION_PERIOD);
        loop {
            if !events.is_empty() {
                self.drain(&mut events)?;
            }
            let far = Instant::now() + Duration::from_secs(3600);
            tokio::select! {
                () = stop.cancelled() => break,
                input = self.inbox.recv() => match input {
                    Some(input) => self.receive(input, &mut events),
                    None => break,
                },
                written = self.persisted.1.recv() => {
                    let batches = written.expect("the runner holds a sender itself")?;
                    events.extend(batches.into_iter().map(|batch| Event::Persisted { batch }));
                }
                () = tokio::time::sleep_until(self.timer.unwrap_or(far)) => {
                    self.timer = None;
                    events.push_back(Event::Tick);
                }
                () = tokio::time::sleep_until(self.allocation.unwrap_or(far)) => events.push_back(self.allocate()),
                _ = period.tick() => events.push_back(self.allocate()),
                _ = heartbeat.tick() => self.heartbeat(),
                () = self.bell.notified() => self.find_room(&mut events),
            }
            while events.len() < limits::EVENTS_PER_DRAIN {
                match self.inbox.try_recv() {
                    Ok(input) => self.receive(input, &mut events),
                    Err(_) => break,
                }
            }
        }
        for session in self.frameworks.values() {
            session.out.closed.cancel();
        }
        for out in self.agents.values() {
            out.closed.cancel();
        }
        Ok(())
    }

    fn receive(&mut self, input: Input, events: &mut VecDeque<Event>) {
        events.push_back(match input {
            Input::Event(event) => event,
            Input::FrameworkOpened { session, principal, out, room } => {
                let known = FrameworkSession { out, room, is_awaited: false, subscribed: false };
                self.frameworks.insert(session, known);
                Event::FrameworkOpened { session, principal }
            }
            Input::AgentOpened { session, name, out } => {
                self.agents.insert(session, out);
                Event::AgentOpened { session, name }
            }
            Input::Asked { ask, answer } => {
                let request = RequestId(self.next_request);
                self.next_request += 1;
                self.answers.insert(request, answer);
                Event::Asked { request, ask }
            }
        });
    }

    /// Sessions for whose queue the core waits, and that has room.
    fn find_room(&mut self, events: &mut VecDeque<Event>) {
        for (session, known) in &mut self.frameworks {
            if known.is_awaited && known.room.is_there(&known.out.queue) {
                known.is_awaited = false;
                events.push_back(Event::FrameworkHasRoom { session: *session });
            }
        }
    }

    fn allocate(&mut self) -> Event {
        self.allocation = None;
        self.allocated = Instant::now();
        Event::AllocationDue
    }

    fn drain(&mut self, events: &mut VecDeque<Event>) -> Result<(), RegistryError> {
        let mut commands = Vec::new();
        for event in events.drain(..) {
            let ended = match &event {
                Event::FrameworkClosed { session } | Event::AgentClosed { session } => Some(*session),
                Event::FrameworkOpened { .. }
                | Event::FrameworkCalled { .. }
                | Event::FrameworkHasRoom { .. }
                | Event::AgentOpened { .. }
                | Event::AgentSaid { .. }
                | Event::AllocationDue
                | Event::Tick
                | Event::Persisted { .. }
                | Event::Asked { .. } => None,
            };
            self.core.step(now(), event, &mut commands);
            if let Some(session) = ended {
                self.frameworks.remove(&session);
                self.agents.remove(&session);
            }
        }
        self.show(&mut commands);
        self.persist(&mut commands);
        for command in commands {
            self.carry_out(command)?;
        }
        Ok(())
    }

    /// Views first: whoever hears of a task, be it its agent asking for a secret, finds it listed.
    fn show(&self, commands: &mut Vec<Command>) {
        let shown: Vec<_> =
            commands.extract_if(.., |command| matches!(command, Command::Changed(_) | Command::Decided(_))).collect();
        if shown.is_empty() {
            return;
        }
        self.view.write(|view| {
            for command in shown {
                if let Command::Changed(delta) = command {
                    view.apply(delta);
                } else if let Command::Decided(decision) = command {
                    view.remember(&decision);
                    self.metrics.count(&decision);
                    log(&decision);
                }
            }
        });
    }

    /// Everything of a drain is one transaction.
    fn persist(&self, commands: &mut Vec<Command>) {
        let mut batches = Vec::new();
        let mut writes: Vec<Write> = Vec::new();
        for command in commands.extract_if(.., |command| matches!(command, Command::Persist { .. })) {
            if let Command::Persist { batch, records } = command {
                batches.push(batch);
                writes.extend(records.iter().map(record::write));
            }
        }
        if batches.is_empty() {
            return;
        }
        let written = self.registry.commit(writes);
        let told = self.persisted.0.clone();
        tokio::spawn(async move {
            // If the runner has ended nobody waits for the batch.
            let _ = told.send(written.await.map(|()| batches));
        });
    }

    fn carry_out(&mut self, command: Command) -> Result<(), RegistryError> {
        match command {
            Command::Changed(_) | Command::Decided(_) | Command::Persist { .. } => {
                unreachable!("taken out before")
            }
            Command::SendFramework { session, event } => {
                if let (SchedulerEvent::Subscribed { .. }, Some(known)) = (&event, self.frameworks.get_mut(&session)) {
                    known.subscribed = true;
                }
                let event = convert::event::to_wire(&event, Some(&self.master_info));
                self.send_framework(session, wire::framework_event::Kind::Event(event));
            }
            Command::ReplyCall { session, sequence, result } => {
                let refusal = result.err().map(|refusal| convert::refusal_to_wire(&refusal));
                self.send_framework(
                    session,
                    wire::framework_event::Kind::Result(wire::CallResult { sequence, refusal }),
                );
            }
            Command::AwaitRoom { session } => {
                if let Some(known) = self.frameworks.get_mut(&session) {
                    known.is_awaited = true;
                    known.room.wait(&known.out.queue);
                }
            }
            Command::SendState { session, framework_id } => self.send_state(session, &framework_id)?,
            Command::CloseFramework { session } => {
                if let Some(known) = self.frameworks.remove(&session) {
                    known.out.closed.cancel();
                }
            }
            Command::SendAgent { session, message } => self.send_agent(session, &message),
            Command::CloseAgent { session } => {
                if let Some(out) = self.agents.remove(&session) {
                    out.closed.cancel();
                }
            }
            Command::Reply { request, result } => {
                if let Some(answer) = self.answers.remove(&request) {
                    // Whoever asked may have gone.
                    let _ = answer.send(result);
                }
            }
            Command::ScheduleAllocation => {
                let soon = (self.allocated + limits::ALLOCATION_PAUSE).max(Instant::now());
                self.allocation.get_or_insert(soon);
            }
            Command::SetTimer { at } => {
                self.timer = Some(Instant::now() + Duration::from_millis(at.since(now()).0));
            }
        }
        Ok(())
    }

    fn send_state(&mut self, session: SessionId, framework_id: &FrameworkId) -> Result<(), RegistryError> {
        let entries = record::state(&*self.registry, framework_id)?;
        self.send_framework(session, wire::framework_event::Kind::State(wire::StateSnapshot { entries }));
        Ok(())
    }

    fn send_framework(&mut self, session: SessionId, kind: wire::framework_event::Kind) {
        let Some(known) = self.frameworks.get(&session) else { return };
        if known.out.queue.try_send(Ok(wire::FrameworkEvent { kind: Some(kind) })).is_err() {
            // Its reading end tells the core that the session ended.
            known.out.closed.cancel();
            self.frameworks.remove(&session);
            self.metrics.slow_reader();
            warn!(session = session.0, "scheduler reads too slowly or left, session closed");
        }
    }

    fn send_agent(&mut self, session: SessionId, message: &ToAgent) {
        let Some(out) = self.agents.get(&session) else { return };
        if out.queue.try_send(Ok(convert::link::to_agent_to_wire(message, self.epoch))).is_err() {
            out.closed.cancel();
            self.agents.remove(&session);
            self.metrics.slow_reader();
            warn!(session = session.0, "agent reads too slowly or left, session closed");
        }
    }

    fn heartbeat(&mut self) {
        let subscribed: Vec<_> =
            self.frameworks.iter().filter(|(_, known)| known.subscribed).map(|(session, _)| *session).collect();
        for session in subscribed {
            self.send_framework(session, wire::framework_event::Kind::Event(convert::event::heartbeat()));
        }
    }
}

/// Lifecycles are told, everything else only to whoever asks for it.
fn log(decision: &Decision) {
    match decision {
        Decision::AgentAdmitted { .. }
        | Decision::AgentReturned { .. }
        | Decision::AgentDisconnected { .. }
        | Decision::AgentUnreachable { .. }
        | Decision::RemovalHeld { .. }
        | Decision::MaintenanceSet { .. }
        | Decision::InverseOfferAnswered { .. }
        | Decision::AgentGone { .. }
        | Decision::AgentForgotten { .. }
        | Decision::AgentModeSet { .. }
        | Decision::AgentDrained { .. }
        | Decision::FrameworkSubscribed { .. }
        | Decision::FrameworkDisconnected { .. }
        | Decision::FrameworkTornDown { .. }
        | Decision::TaskBecame { .. } => info!(?decision, "decided"),
        Decision::Rejected { who, reason } => info!(%who, %reason, code = reason.code(), "rejected"),
        Decision::UnwantedTask { .. } => warn!(?decision, "decided"),
        Decision::Granted(_)
        | Decision::Withheld { .. }
        | Decision::OfferEnded { .. }
        | Decision::HoldingsChanged { .. } => debug!(?decision, "decided"),
    }
}
