//! The scheduler at work: messages of the master, answers of the framework's hooks, requests of handles and timers become
//! events of the core; its commands become calls and hooks. Every session begins from the stored state, so that a
//! reconnection and a restart are the same thing.
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use daemon::clock::now;
use framework_core::event::{Answer, Command, Event, Launch, LaunchOutcome};
use framework_core::record::UnitKey;
use framework_core::spec::ServiceSpec;
use framework_core::{Owner, Scheduler};
use model::call::{Call, Capability, Filter, FrameworkInfo, Operation, SchedulerEvent};
use model::{AgentId, FrameworkId, Refusal, RoleName, Span};
use proto::convert;
use proto::mezzo::v1::framework_event::Kind;
use proto::mezzo::v1::frameworks_client::FrameworksClient;
use proto::mezzo::v1::{CallResult, FrameworkCall, FrameworkEvent, StateWrite};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tracing::{debug, info, warn};

use crate::framework::{ActionRequest, Framework, PodInstance, ProbeRequest, Progress};
use crate::handle::{Handle, Published, Reply, Request};
use crate::limits;
use crate::payload;
use crate::records::{self, Entry};

/// Format of the link.
const LINK_VERSION: u32 = 1;
/// Code of the refusal that says: perhaps done, ask again.
pub(crate) const IN_DOUBT: &str = "SDK0007";

/// How a session ended.
pub(crate) enum SessionEnd {
    Lost { was_subscribed: bool, why: String },
}

/// Runs one framework through its sessions.
pub(crate) struct Engine<F> {
    framework: Arc<F>,
    info: FrameworkInfo,
    role: RoleName,
    handle: Handle,
    requests: mpsc::Receiver<Request>,
    published: watch::Sender<Arc<Published>>,
    heard: Heard,
}

/// What became of the framework's own target in this process.
#[derive(Default)]
struct Heard {
    is_current: bool,
    refusal: Option<Refusal>,
}

/// What hooks say.
enum News {
    Target(Result<ServiceSpec, Refusal>),
    AskTarget,
    Rendered(Box<Launch>, Vec<Rendered>),
    Answered { key: String, answer: Answer },
}

type Rendered = (UnitKey, Result<(model::task::Pod, Vec<Entry>), Refusal>);

/// What a call's result is for.
enum Pending {
    Launch { launch: u64, units: Vec<(UnitKey, std::ops::Range<usize>)>, unrendered: BTreeMap<UnitKey, Refusal> },
    Release(Vec<(AgentId, String)>),
    Reply(Vec<Reply>),
    Write { entries: Vec<Entry>, reply: Reply },
    Persist,
    Erase,
    Other(&'static str),
}

/// One session.
struct Session<'a, F> {
    engine: &'a mut Engine<F>,
    framework_id: FrameworkId,
    core: Scheduler,
    calls: mpsc::Sender<FrameworkCall>,
    sequence: u64,
    pending: BTreeMap<u64, Pending>,
    news: mpsc::Sender<News>,
}

struct Lost(String);

impl<F: Framework> Engine<F> {
    pub(crate) fn new(
        framework: Arc<F>,
        info: FrameworkInfo,
        role: RoleName,
        handle: Handle,
        requests: mpsc::Receiver<Request>,
        published: watch::Sender<Arc<Published>>,
    ) -> Self {
        Self { framework, info, role, handle, requests, published, heard: Heard::default() }
    }

    /// One session, from subscription to its loss.
    pub(crate) async fn session(&mut self, channel: Channel) -> SessionEnd {
        let mut was_subscribed = false;
        let Err(Lost(why)) = self.try_session(channel, &mut was_subscribed).await;
        self.published.send_modify(|published| Arc::make_mut(published).is_connected = false);
        SessionEnd::Lost { was_subscribed, why }
    }

    async fn try_session(
        &mut self,
        channel: Channel,
        was_subscribed: &mut bool,
    ) -> Result<std::convert::Infallible, Lost> {
        let (calls, outgoing) = mpsc::channel(limits::CALLS_MAX);
        let subscribe = Call::Subscribe {
            info: self.info.clone(),
            suppressed: std::collections::BTreeSet::new(),
            constraints: model::constraint::OfferConstraints::default(),
        };
        let subscribe = convert::call::to_wire(&subscribe, None).map_err(|error| Lost(error.to_string()))?;
        let first = FrameworkCall {
            version: LINK_VERSION,
            sequence: 1,
            call: Some(subscribe),
            writes: Vec::new(),
            read_state: true,
        };
        calls.try_send(first).map_err(|_| Lost("the call queue is closed".to_owned()))?;
        let opened = async {
            let mut client = FrameworksClient::new(channel).max_decoding_message_size(64 * 1024 * 1024);
            let stream = client.session(ReceiverStream::new(outgoing)).await.map_err(|status| Lost(words(&status)))?;
            let mut stream = stream.into_inner();
            let mut early = Vec::new();
            let (mut id, mut state) = (None, None);
            while id.is_none() || state.is_none() {
                let message = stream.message().await.map_err(|status| Lost(words(&status)))?;
                match message.ok_or_else(|| Lost("the master closed the session".to_owned()))?.kind {
                    Some(Kind::State(snapshot)) => state = Some(snapshot),
                    Some(Kind::Result(CallResult { refusal: Some(refusal), .. })) => {
                        let refusal = convert::refusal_from_wire(refusal);
                        return Err(Lost(format!("{} {}; {}", refusal.code, refusal.message, refusal.next_step)));
                    }
                    Some(Kind::Event(event)) => match convert::event::from_wire(&event) {
                        Ok(Some(SchedulerEvent::Subscribed { framework_id })) => id = Some(framework_id),
                        Ok(Some(SchedulerEvent::Error(why))) => return Err(Lost(why)),
                        Ok(Some(event)) => early.push(event),
                        Ok(None) => {}
                        Err(error) => warn!(%error, "event not understood"),
                    },
                    Some(Kind::Result(_)) | None => {}
                }
            }
            Ok((stream, early, id.expect("waited for"), state.expect("waited for")))
        };
        let opened = tokio::time::timeout(limits::SUBSCRIBE_TIME, opened).await;
        let (mut stream, early, framework_id, state) =
            opened.map_err(|_| Lost("the master does not answer the subscription".to_owned()))??;
        *was_subscribed = true;
        let entries: BTreeMap<String, Vec<u8>> =
            state.entries.into_iter().filter_map(|entry| Some((entry.key, entry.value?.to_vec()))).collect();
        let snapshot = records::snapshot(&entries).map_err(|error| Lost(daemon::error::chain(&error)))?;
        info!(%framework_id, entries = entries.len(), "subscribed");
        // From now on it is this framework or none: one that was torn down while nobody could stop its scheduler must not
        // begin anew under the same name.
        self.info.id = Some(framework_id.clone());
        *self.handle.state.entries.write().expect("no holder of the lock panics") = entries;
        let owner = Owner {
            framework: self.info.name.clone(),
            principal: self.info.principal.clone(),
            role: self.role.clone(),
        };
        let (news, mut heard) = mpsc::channel(limits::NEWS_MAX);
        let is_uninstalling = snapshot.meta.uninstalling;
        let mut session = Session {
            engine: self,
            framework_id,
            core: Scheduler::restore(owner, snapshot),
            calls,
            sequence: 1,
            pending: BTreeMap::new(),
            news,
        };
        session.step(Event::Subscribed)?;
        session.tell_given()?;
        for event in early {
            session.scheduler_event(event)?;
        }
        if !is_uninstalling {
            session.ask_target(Duration::ZERO);
        }
        loop {
            let tick =
                session.core.wake_at().map_or(Duration::from_secs(3600), |at| Duration::from_millis(at.since(now()).0));
            tokio::select! {
                message = next(&session.calls, &mut stream) => {
                    let message = message.map_err(|status| Lost(words(&status)))?;
                    session.message(message.ok_or_else(|| Lost("the master closed the session".to_owned()))?)?;
                }
                Some(news) = heard.recv() => session.hear(news)?,
                Some(request) = session.engine.requests.recv() => session.request(request)?,
                () = tokio::time::sleep(tick) => session.step(Event::Tick)?,
            }
        }
    }
}

impl<F: Framework> Session<'_, F> {
    fn step(&mut self, event: Event) -> Result<(), Lost> {
        let mut commands = Vec::new();
        self.core.step(now(), event, &mut commands);
        self.carry_out(commands, Vec::new())
    }

    /// Others than what was undone may be followed by the same again.
    fn tell_given(&mut self) -> Result<(), Lost> {
        let mut commands = Vec::new();
        let given = self.engine.handle.given.clone();
        self.core.given(now(), &given, &mut commands);
        self.carry_out(commands, Vec::new())
    }

    fn publish(&self) {
        let published = Published {
            is_connected: true,
            framework_id: Some(self.framework_id.clone()),
            target: self.core.target().cloned().map(Arc::new),
            view: Arc::new(self.core.view()),
            plans: Arc::new(self.core.plan_views()),
            verdicts: Arc::new(self.core.verdicts().cloned().collect()),
            settings: Some(self.core.settings_in_effect(&self.engine.handle.given).into()),
            undone: self.core.undone().cloned().map(Arc::new),
            is_target_current: self.engine.heard.is_current,
            target_refusal: self.engine.heard.refusal.clone(),
        };
        self.engine.published.send_replace(Arc::new(published));
    }

    /// Calls the master. The result comes back to `pending`.
    fn call(&mut self, call: Option<&Call>, writes: Vec<Entry>, pending: Pending) -> Result<(), Lost> {
        let call = call
            .map(|call| convert::call::to_wire(call, Some(&self.framework_id)))
            .transpose()
            .map_err(|error| Lost(format!("a call cannot be sent: {error}")))?;
        // The master takes so many writes with one call; the call itself goes with the last.
        let mut writes =
            writes.into_iter().map(|(key, value)| StateWrite { key, value: value.map(Into::into) }).collect::<Vec<_>>();
        while writes.len() > limits::WRITES_PER_CALL_MAX {
            let rest = writes.split_off(limits::WRITES_PER_CALL_MAX);
            let part = std::mem::replace(&mut writes, rest);
            self.send(None, part, Pending::Persist)?;
        }
        self.send(call, writes, pending)
    }

    fn send(
        &mut self,
        call: Option<proto::mesos::v1::scheduler::Call>,
        writes: Vec<StateWrite>,
        pending: Pending,
    ) -> Result<(), Lost> {
        self.sequence += 1;
        self.pending.insert(self.sequence, pending);
        let call = FrameworkCall { version: LINK_VERSION, sequence: self.sequence, call, writes, read_state: false };
        self.calls.try_send(call).map_err(|_| Lost("the master does not read its calls".to_owned()))
    }

    /// Applies entries to what is known here.
    fn note(&self, entries: &[Entry]) {
        let mut known = self.engine.handle.state.entries.write().expect("no holder of the lock panics");
        for (key, value) in entries {
            match value {
                Some(value) => known.insert(key.clone(), value.clone()),
                None => known.remove(key),
            };
        }
    }

    /// Carries out commands in order. `replies` are given when everything stored so far is stored.
    fn carry_out(&mut self, commands: Vec<Command>, mut replies: Vec<Reply>) -> Result<(), Lost> {
        for command in commands {
            match command {
                Command::Persist(writes) => {
                    let entries: Vec<Entry> = {
                        let known = self.engine.handle.state.read();
                        writes.into_iter().flat_map(|write| records::entries(write, &known)).collect()
                    };
                    self.note(&entries);
                    let waiting = std::mem::take(&mut replies);
                    let pending = if waiting.is_empty() { Pending::Persist } else { Pending::Reply(waiting) };
                    self.call(None, entries, pending)?;
                }
                Command::Launch(launch) => self.render(launch),
                Command::Release { offers, operations, released, refuse } => {
                    let call = Call::Accept { offers, operations, filter: Filter { refuse } };
                    self.call(Some(&call), Vec::new(), Pending::Release(released))?;
                }
                Command::Decline { offers, refuse } => {
                    let call = Call::Decline { offers, filter: Filter { refuse } };
                    self.call(Some(&call), Vec::new(), Pending::Other("decline"))?;
                }
                Command::AnswerInverseOffers { offers, accepted: true } => {
                    let call = Call::AcceptInverseOffers { offers, filter: None };
                    self.call(Some(&call), Vec::new(), Pending::Other("accept inverse offers"))?;
                }
                Command::AnswerInverseOffers { offers, accepted: false } => {
                    let call = Call::DeclineInverseOffers { offers, filter: None };
                    self.call(Some(&call), Vec::new(), Pending::Other("decline inverse offers"))?;
                }
                Command::Kill { task_id, agent_id } => {
                    info!(%task_id, "task is to end");
                    let call = Call::Kill { task_id, agent_id, grace: None };
                    self.call(Some(&call), Vec::new(), Pending::Other("kill"))?;
                }
                Command::Acknowledge { agent_id, task_id, uuid } => {
                    let call = Call::Acknowledge { agent_id, task_id, uuid };
                    self.call(Some(&call), Vec::new(), Pending::Other("acknowledge"))?;
                }
                Command::Reconcile(tasks) => {
                    self.call(Some(&Call::Reconcile { tasks }), Vec::new(), Pending::Other("reconcile"))?;
                }
                Command::Revive => {
                    let call = Call::Revive { roles: std::collections::BTreeSet::new() };
                    self.call(Some(&call), Vec::new(), Pending::Other("revive"))?;
                }
                Command::DeclareGpus { is_suppressed } => self.declare_gpus(is_suppressed)?,
                Command::Suppress => {
                    let call = Call::Suppress { roles: std::collections::BTreeSet::new() };
                    self.call(Some(&call), Vec::new(), Pending::Other("suppress"))?;
                }
                Command::Probe { key, plan, unit, tasks, placement, attempt } => {
                    let request = ProbeRequest { plan, instance: unit.instance, tasks, placement, attempt };
                    let (framework, view) = (self.engine.framework.clone(), Arc::new(self.core.view()));
                    self.ask(key, limits::PROBE_TIME, async move { framework.probe(&request, &view).await });
                }
                Command::Act { key, action, plan, instance, placement, attempt } => {
                    let request = ActionRequest { name: action, plan, instance, placement, attempt };
                    let (framework, view) = (self.engine.framework.clone(), Arc::new(self.core.view()));
                    self.ask(key, limits::ACTION_TIME, async move { framework.act(&request, &view).await });
                }
                Command::EraseState => {
                    let entries = records::erasure(&self.engine.handle.state.read());
                    self.note(&entries);
                    self.call(None, entries, Pending::Erase)?;
                }
                Command::Noted(words) => info!(step = words, "plan step"),
            }
        }
        for reply in replies {
            // Nobody waits for it any more.
            let _ = reply.send(Ok(()));
        }
        self.publish();
        Ok(())
    }

    /// From now on, in later sessions too.
    fn declare_gpus(&mut self, is_suppressed: bool) -> Result<(), Lost> {
        let info = &mut self.engine.info;
        if !info.capabilities.insert(Capability::GpuResources) {
            return Ok(());
        }
        let suppressed = if is_suppressed { info.roles.clone() } else { std::collections::BTreeSet::new() };
        let constraints = model::constraint::OfferConstraints::default();
        let call = Call::UpdateFramework { info: info.clone(), suppressed, constraints };
        self.call(Some(&call), Vec::new(), Pending::Other("update framework"))
    }

    fn tell(news: mpsc::Sender<News>, what: impl Future<Output = News> + Send + 'static) {
        tokio::spawn(async move {
            tokio::select! {
                // The session ended: the next one asks again.
                () = news.closed() => {}
                what = what => { let _ = news.send(what).await; }
            }
        });
    }

    fn ask(&self, key: String, limit: Duration, hook: impl Future<Output = Progress> + Send + 'static) {
        Self::tell(self.news.clone(), async move {
            let answer = match tokio::time::timeout(limit, hook).await {
                Ok(Progress::Done) => Answer::Done,
                Ok(Progress::NotYet(words)) => Answer::NotYet(words),
                Ok(Progress::Failed(words)) => Answer::Failed(words),
                Err(_) => Answer::Failed(format!("the framework did not answer in {} s", limit.as_secs())),
            };
            News::Answered { key, answer }
        });
    }

    fn ask_target(&self, after: Duration) {
        let framework = self.engine.framework.clone();
        let current = self.core.target().cloned();
        Self::tell(self.news.clone(), async move {
            tokio::time::sleep(after).await;
            News::Target(framework.target(current.as_ref()).await)
        });
    }

    fn render(&self, launch: Box<Launch>) {
        let framework = self.engine.framework.clone();
        let framework_id = self.framework_id.clone();
        let view = self.core.view();
        Self::tell(self.news.clone(), async move {
            let mut rendered = Vec::new();
            for pod in &launch.pods {
                let instance = PodInstance {
                    name: pod.unit.instance.clone(),
                    pod: pod.spec.clone(),
                    tasks: pod.tasks.iter().map(|(name, id, _)| (name.clone(), id.clone())).collect(),
                    executor_id: pod.executor_id.clone(),
                    has_new_volumes: pod.before.iter().any(|operation| matches!(operation, Operation::Create(_))),
                };
                let hook = framework.render(&instance, &pod.placement, &view);
                let outcome = match tokio::time::timeout(limits::RENDER_TIME, hook).await {
                    Ok(Ok(added)) => payload::pod(pod, &added, &framework_id)
                        .map_err(|error| Refusal::new("SDK0008", format!("the pod cannot be written: {error}"), "")),
                    Ok(Err(refusal)) => Err(refusal),
                    Err(_) => Err(Refusal::new("SDK0009", "the framework took too long to render the pod", "")),
                };
                rendered.push((pod.unit.clone(), outcome));
            }
            News::Rendered(launch, rendered)
        });
    }

    fn hear(&mut self, news: News) -> Result<(), Lost> {
        match news {
            News::Answered { key, answer } => self.step(Event::Answered { key, answer }),
            News::AskTarget => {
                self.ask_target(Duration::ZERO);
                Ok(())
            }
            News::Target(Ok(spec)) => {
                let mut commands = Vec::new();
                match self.core.set_target(now(), spec, &mut commands) {
                    Ok(()) => self.engine.heard = Heard { is_current: true, refusal: None },
                    Err(refusal) => {
                        warn!(code = refusal.code, field = refusal.field, why = refusal.message, "target refused");
                        self.engine.heard.refusal = Some(refusal);
                        self.retry_target();
                    }
                }
                self.carry_out(commands, Vec::new())
            }
            News::Target(Err(refusal)) => {
                warn!(code = refusal.code, field = refusal.field, why = refusal.message, "no target");
                self.engine.heard.refusal = Some(refusal);
                self.retry_target();
                self.publish();
                Ok(())
            }
            News::Rendered(launch, rendered) => self.accept(*launch, rendered),
        }
    }

    fn retry_target(&self) {
        Self::tell(self.news.clone(), async {
            tokio::time::sleep(limits::TARGET_RETRY).await;
            News::AskTarget
        });
    }

    fn accept(&mut self, launch: Launch, rendered: Vec<Rendered>) -> Result<(), Lost> {
        let mut operations = Vec::new();
        let mut units = Vec::new();
        let mut unrendered = BTreeMap::new();
        let mut entries: Vec<Entry> = Vec::new();
        let writes = self.core.launch_writes(&launch);
        for (pod, (unit, outcome)) in launch.pods.into_iter().zip(rendered) {
            match outcome {
                Ok((pod_message, files)) => {
                    let begin = operations.len();
                    operations.extend(pod.before);
                    operations.push(Operation::Launch(pod_message));
                    units.push((unit, begin..operations.len()));
                    entries.extend(files);
                }
                Err(refusal) => {
                    warn!(%unit, code = refusal.code, why = refusal.message, "pod not rendered");
                    unrendered.insert(unit, refusal);
                }
            }
        }
        if units.is_empty() {
            let refuse = Filter { refuse: Span(0) };
            self.call(
                Some(&Call::Decline { offers: launch.offers, filter: refuse }),
                Vec::new(),
                Pending::Other("decline"),
            )?;
            let outcome = LaunchOutcome { launch: launch.launch, failed: unrendered, is_uncertain: false };
            return self.step(Event::Launched(outcome));
        }
        {
            let known = self.engine.handle.state.read();
            for write in writes {
                entries.extend(records::entries(write, &known));
            }
        }
        self.note(&entries);
        for (unit, _) in &units {
            info!(%unit, launch = launch.launch, "pod launched");
        }
        let call = Call::Accept { offers: launch.offers, operations, filter: Filter { refuse: launch.refuse } };
        self.call(Some(&call), entries, Pending::Launch { launch: launch.launch, units, unrendered })
    }

    fn message(&mut self, message: FrameworkEvent) -> Result<(), Lost> {
        match message.kind {
            Some(Kind::Event(event)) => match convert::event::from_wire(&event) {
                Ok(Some(event)) => self.scheduler_event(event),
                Ok(None) => Ok(()),
                Err(error) => {
                    warn!(%error, "event not understood");
                    Ok(())
                }
            },
            Some(Kind::Result(result)) => self.result(result),
            Some(Kind::State(_)) | None => Ok(()),
        }
    }

    fn scheduler_event(&mut self, event: SchedulerEvent) -> Result<(), Lost> {
        match event {
            SchedulerEvent::Subscribed { .. } => Ok(()),
            SchedulerEvent::Offers(offers) => {
                debug!(count = offers.len(), "offers");
                self.step(Event::Offers(offers.into_iter().map(Arc::unwrap_or_clone).collect()))
            }
            SchedulerEvent::Rescind(offer) => self.step(Event::Rescind(offer)),
            SchedulerEvent::InverseOffers(offers) => self.step(Event::InverseOffers(offers)),
            SchedulerEvent::RescindInverseOffer(offer) => self.step(Event::RescindInverseOffer(offer)),
            SchedulerEvent::Update(status) => {
                info!(task_id = %status.task_id, state = ?status.state, ready = ?status.ready, message = status.message, "task update");
                self.step(Event::Update(status))
            }
            SchedulerEvent::NotYetKnown(not_yet) => {
                info!(
                    tasks = not_yet.tasks.len(),
                    agents_awaited = not_yet.agents_awaited,
                    "the master waits for agents before it can say how tasks are"
                );
                self.step(Event::NotYetKnown(not_yet))
            }
            SchedulerEvent::Failure { agent_id, executor_id: None } => self.step(Event::AgentFailed(agent_id)),
            SchedulerEvent::Failure { .. } | SchedulerEvent::OperationUpdate(_) => Ok(()),
            SchedulerEvent::Error(why) => Err(Lost(why)),
        }
    }

    fn result(&mut self, result: CallResult) -> Result<(), Lost> {
        let refusal = result.refusal.map(convert::refusal_from_wire);
        match (self.pending.remove(&result.sequence), refusal) {
            (None, _) => Ok(()),
            (Some(Pending::Launch { launch, units, mut unrendered }), refusal) => {
                let mut is_uncertain = false;
                if let Some(refusal) = refusal {
                    warn!(launch, code = refusal.code, field = refusal.field, why = refusal.message, "launch refused");
                    let index = refusal
                        .field
                        .strip_prefix("operations[")
                        .and_then(|rest| rest.split(']').next()?.parse::<usize>().ok());
                    for (unit, range) in units {
                        // The refusal names one operation; without a name nothing was done.
                        if index.is_none_or(|index| range.contains(&index)) {
                            unrendered.insert(unit, refusal.clone());
                        }
                    }
                    is_uncertain = true;
                }
                self.step(Event::Launched(LaunchOutcome { launch, failed: unrendered, is_uncertain }))
            }
            (Some(Pending::Release(released)), refusal) => self.step(Event::Released { released, refusal }),
            (Some(Pending::Reply(replies)), refusal) => {
                let is_refused = refusal.clone();
                for reply in replies {
                    // Nobody waits for it any more.
                    let _ = reply.send(refusal.clone().map_or(Ok(()), Err));
                }
                is_refused.map_or(Ok(()), |refusal| Err(not_stored(&refusal)))
            }
            (Some(Pending::Write { entries, reply }), refusal) => {
                if refusal.is_none() {
                    self.note(&entries);
                }
                let _ = reply.send(refusal.map_or(Ok(()), Err));
                Ok(())
            }
            (Some(Pending::Persist), Some(refusal)) => Err(not_stored(&refusal)),
            (Some(Pending::Persist), None) => Ok(()),
            (Some(Pending::Erase), Some(refusal)) => Err(not_stored(&refusal)),
            (Some(Pending::Erase), None) => self.step(Event::Erased),
            (Some(Pending::Other(what)), Some(refusal)) => {
                // An offer that ended meanwhile, a task that did: news of both come by themselves.
                debug!(what, code = refusal.code, why = refusal.message, "call refused");
                Ok(())
            }
            (Some(Pending::Other(_)), None) => Ok(()),
        }
    }

    fn request(&mut self, request: Request) -> Result<(), Lost> {
        let mut commands = Vec::new();
        let now = now();
        let (outcome, reply) = match request {
            Request::SetTarget { spec, reply } => (self.core.set_target(now, *spec, &mut commands), reply),
            Request::PausePlan { plan, reply } => (self.core.pause(now, &plan, true, &mut commands), reply),
            Request::ResumePlan { plan, reply } => (self.core.pause(now, &plan, false, &mut commands), reply),
            Request::RestartPlan { plan, reply } => (self.core.restart_plan(now, &plan, &mut commands), reply),
            Request::RestartPod { instance, reply } => {
                (self.core.restart_pod(now, &instance, false, &mut commands), reply)
            }
            Request::ReplacePod { instance, reply } => {
                (self.core.restart_pod(now, &instance, true, &mut commands), reply)
            }
            Request::Uninstall { reply } => {
                self.core.uninstall(now, &mut commands);
                (Ok(()), reply)
            }
            Request::Write { writes, reply } => {
                return self.call(None, writes.clone(), Pending::Write { entries: writes, reply });
            }
        };
        match outcome {
            Ok(()) => self.carry_out(commands, vec![reply]),
            Err(refusal) => {
                // Nobody waits for it any more.
                let _ = reply.send(Err(refusal));
                self.carry_out(commands, Vec::new())
            }
        }
    }
}

impl<F> Drop for Session<'_, F> {
    fn drop(&mut self) {
        let doubt = || {
            Refusal::new(
                IN_DOUBT,
                "the connection to the master was lost before it answered",
                "look whether it was done, and try again",
            )
        };
        for (_, pending) in std::mem::take(&mut self.pending) {
            match pending {
                // Nobody waits for them any more.
                Pending::Reply(replies) => replies.into_iter().for_each(|reply| drop(reply.send(Err(doubt())))),
                Pending::Write { reply, .. } => drop(reply.send(Err(doubt()))),
                Pending::Launch { .. }
                | Pending::Release(_)
                | Pending::Persist
                | Pending::Erase
                | Pending::Other(_) => {}
            }
        }
    }
}

/// The next message, read only while there is room for the calls that it leads to: after a long absence there may be tens of
/// thousands of updates, and each wants a receipt.
async fn next(
    calls: &mpsc::Sender<FrameworkCall>,
    stream: &mut tonic::Streaming<FrameworkEvent>,
) -> Result<Option<FrameworkEvent>, tonic::Status> {
    // An error means that nobody reads the calls: the stream tells why.
    drop(calls.reserve_many(limits::CALLS_MAX / 2).await);
    stream.message().await
}

fn not_stored(refusal: &Refusal) -> Lost {
    Lost(format!("the state was not stored: {} {}", refusal.code, refusal.message))
}

fn words(status: &tonic::Status) -> String {
    let chain = daemon::error::chain(status);
    if status.message().is_empty() { chain } else { status.message().to_owned() }
}
