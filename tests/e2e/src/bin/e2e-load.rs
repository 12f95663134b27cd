//! A framework that only makes work, for `cargo xtask chaos`: it launches tasks that live for a moment or for long, kills some of
//! them, and writes down every intent, update and acknowledgement before it acts on it. It may be killed at any moment and
//! goes on from its journal. What it hears and must not is written down as `wrong`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use daemon::identity::Identity;
use model::call::{Call, Filter, FrameworkInfo, Offer, Operation, SchedulerEvent};
use model::{
    AgentId, ExecutorId, FrameworkId, Milli, Principal, Quantities, Reason, Resources, RoleName, Span, TaskId,
    TaskState, TaskStatus, UpdateId,
};
use proto::convert;
use proto::mesos::v1 as mesos;
use proto::mezzo::v1::framework_event::Kind;
use proto::mezzo::v1::frameworks_client::FrameworksClient;
use proto::mezzo::v1::{FrameworkCall, FrameworkEvent};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{info, warn};

const NAME: &str = "chaos";
const TICK: Duration = Duration::from_millis(300);
const RECONNECT: Duration = Duration::from_millis(500);
const SUBSCRIBE_TIME: Duration = Duration::from_secs(10);
/// Explicit questions about all tasks that live.
const RECONCILE_TICKS: u64 = 17;
const CALLS_MAX: usize = 4096;

/// Tasks at once.
const GOAL: usize = 18;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    daemon::logging::init("e2e-load");
    match run().await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "load ended");
            std::process::ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [master, identity, directory, seed] = words.as_slice() else {
        bail!("usage: e2e-load MASTER IDENTITY-DIRECTORY OWN-DIRECTORY SEED");
    };
    daemon::tls::install_crypto_provider();
    let identity = Identity::load(Path::new(identity)).context("load the identity")?;
    let channel = daemon::client::channel(master, "master.mezzo", &identity).context("reach the master")?;
    let mut load = Load::open(Path::new(directory), seed.parse().context("read the seed")?)?;
    load.principal = identity.principal().context("read the certificate")?;
    let mut reconnect = tokio::time::interval(RECONNECT);
    reconnect.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !load.is_finished {
        reconnect.tick().await;
        if let Err(error) = load.session(channel.clone()).await {
            warn!(error = format!("{error:#}"), "no session with the master");
        }
    }
    Ok(())
}

/// What the one who breaks things wants of us now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Work comes and goes.
    Load,
    /// What runs runs on.
    Settle,
    /// Everything ends.
    Finish,
}

/// A task.
#[derive(Debug, Clone)]
struct Mine {
    agent_id: AgentId,
    state: TaskState,
    /// The newest update with an id.
    reliable: Option<(UpdateId, TaskState)>,
}

impl Mine {
    fn is_over(&self) -> bool {
        self.state.is_terminal() || self.state == TaskState::Unknown
    }
}

struct Load {
    journal: File,
    directory: PathBuf,
    random: StdRng,
    principal: Principal,
    id: Option<FrameworkId>,
    tasks: BTreeMap<TaskId, Mine>,
    number: u64,
    is_finished: bool,
    // Of one session.
    calls: Option<mpsc::Sender<FrameworkCall>>,
    sequence: u64,
    acknowledging: BTreeMap<u64, UpdateId>,
    confirmed: BTreeSet<UpdateId>,
    tearing_down: Option<u64>,
    wants_offers: bool,
    ticks: u64,
}

impl Load {
    /// Goes on where the journal ends; a last line that was cut off by a kill was never acted on.
    fn open(directory: &Path, seed: u64) -> Result<Self> {
        let path = directory.join("journal");
        let mut journal = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        let read = File::open(&path).with_context(|| format!("read {}", path.display()))?;
        let mut tasks = BTreeMap::new();
        let (mut id, mut number, mut lines) = (None, 0, 0);
        let mut is_cut = false;
        for line in BufReader::new(read).split(b'\n') {
            let line = line.context("read the journal")?;
            lines += 1;
            let Ok(entry) = serde_json::from_slice::<Value>(&line) else {
                is_cut = true;
                continue;
            };
            if let Some(text) = entry["framework"].as_str() {
                id = FrameworkId::new(text).ok();
            }
            number = number.max(entry["number"].as_u64().unwrap_or(0));
            for task in entry["launch"].as_array().into_iter().flatten() {
                let agent_id =
                    AgentId::new(entry["agent"].as_str().unwrap_or_default()).context("read an agent's id")?;
                let task_id = TaskId::new(task.as_str().unwrap_or_default()).context("read a task's id")?;
                tasks.insert(task_id, Mine { agent_id, state: TaskState::Staging, reliable: None });
            }
            if let Some(text) = entry["update"].as_str() {
                let state: TaskState = serde_json::from_value(entry["state"].clone()).context("read a state")?;
                let uuid = entry["uuid"].as_str().and_then(|text| text.parse().ok()).map(UpdateId);
                let known = TaskId::new(text).ok().and_then(|id| tasks.get_mut(&id));
                if let Some(mine) = known {
                    mine.hear(state, uuid);
                }
            }
        }
        if is_cut {
            journal.write_all(b"\n").context("write the journal")?;
        }
        Ok(Self {
            journal,
            directory: directory.to_owned(),
            random: StdRng::seed_from_u64(seed ^ lines),
            principal: Principal::new("nobody"),
            id,
            tasks,
            number,
            is_finished: false,
            calls: None,
            sequence: 0,
            acknowledging: BTreeMap::new(),
            confirmed: BTreeSet::new(),
            tearing_down: None,
            wants_offers: true,
            ticks: 0,
        })
    }

    /// On the disk before anybody hears of what follows.
    fn note(&mut self, entry: &Value) -> Result<()> {
        let mut line = serde_json::to_vec(entry).context("print an entry")?;
        line.push(b'\n');
        self.journal.write_all(&line).context("write the journal")?;
        self.journal.sync_data().context("sync the journal")
    }
    fn wrong(&mut self, what: &str) -> Result<()> {
        warn!(what, "wrong");
        self.note(&json!({"wrong": what}))
    }
    fn phase(&self) -> Phase {
        match fs::read_to_string(self.directory.join("phase")).unwrap_or_default().trim() {
            "settle" => Phase::Settle,
            "finish" => Phase::Finish,
            _ => Phase::Load,
        }
    }
    fn live(&self) -> Vec<(TaskId, AgentId)> {
        let live = self.tasks.iter().filter(|(_, mine)| !mine.is_over());
        live.map(|(id, mine)| (id.clone(), mine.agent_id.clone())).collect()
    }

    async fn session(&mut self, channel: tonic::transport::Channel) -> Result<()> {
        let (calls, outgoing) = mpsc::channel(CALLS_MAX);
        self.calls = Some(calls);
        (self.sequence, self.ticks, self.wants_offers) = (0, 0, true);
        self.acknowledging.clear();
        self.confirmed.clear();
        self.tearing_down = None;
        let info = FrameworkInfo {
            id: self.id.clone(),
            name: NAME.to_owned(),
            roles: BTreeSet::from([RoleName::new(NAME).context("make a role")?]),
            failover_timeout: Span::seconds(24 * 3600),
            api_url: None,
            principal: self.principal.clone(),
            capabilities: BTreeSet::new(),
            offer_filters: BTreeMap::new(),
        };
        self.call(&Call::Subscribe {
            info,
            suppressed: BTreeSet::new(),
            constraints: model::constraint::OfferConstraints::default(),
        })?;
        let mut client = FrameworksClient::new(channel);
        let opened = client.session(ReceiverStream::new(outgoing));
        let stream = tokio::time::timeout(SUBSCRIBE_TIME, opened).await.context("wait for the master")?;
        let mut stream = stream.context("open a session")?.into_inner();
        let mut ticks = tokio::time::interval(TICK);
        let mut is_subscribed = false;
        while !self.is_finished {
            tokio::select! {
                message = stream.message() => {
                    let message = message.context("hear the master")?.context("the master closed the session")?;
                    is_subscribed |= self.hear(message)?;
                }
                _ = ticks.tick() => if is_subscribed { self.tick()? },
            }
        }
        Ok(())
    }

    fn call(&mut self, call: &Call) -> Result<u64> {
        self.sequence += 1;
        let wire = convert::call::to_wire(call, self.id.as_ref()).context("make a call")?;
        let call = FrameworkCall { version: 1, sequence: self.sequence, call: Some(wire), ..FrameworkCall::default() };
        let calls = self.calls.as_ref().context("have a session")?;
        calls.try_send(call).map_err(|_| anyhow::anyhow!("the master takes no calls"))?;
        Ok(self.sequence)
    }

    /// True if this was the word that the session is subscribed.
    fn hear(&mut self, message: FrameworkEvent) -> Result<bool> {
        match message.kind {
            Some(Kind::Event(event)) => match convert::event::from_wire(&event).context("understand an event")? {
                Some(SchedulerEvent::Subscribed { framework_id }) => {
                    if self.id.as_ref().is_some_and(|id| *id != framework_id) {
                        self.wrong(&format!("it was {:?} and is {framework_id}", self.id))?;
                    }
                    self.note(&json!({"framework": framework_id.to_string()}))?;
                    info!(%framework_id, "subscribed");
                    self.id = Some(framework_id);
                    self.reconcile()?;
                    return Ok(true);
                }
                Some(SchedulerEvent::Offers(offers)) => {
                    for offer in offers {
                        self.offered(&offer)?;
                    }
                }
                Some(SchedulerEvent::Update(status)) => self.update(&status)?,
                Some(SchedulerEvent::Error(why)) => bail!("the master says: {why}"),
                Some(_) | None => {}
            },
            Some(Kind::Result(result)) => {
                let sequence = result.sequence;
                if let Some(uuid) = self.acknowledging.remove(&sequence)
                    && result.refusal.is_none()
                {
                    self.confirmed.insert(uuid);
                }
                if self.tearing_down == Some(sequence) && result.refusal.is_none() {
                    self.note(&json!({"torn_down": true}))?;
                    self.is_finished = true;
                }
                if let Some(refusal) = result.refusal {
                    self.note(&json!({"refused": refusal.code, "why": refusal.message}))?;
                }
            }
            Some(Kind::State(_)) | None => {}
        }
        Ok(false)
    }

    fn reconcile(&mut self) -> Result<()> {
        let tasks: Vec<_> = self.live().into_iter().map(|(id, agent)| (id, Some(agent))).collect();
        if !tasks.is_empty() {
            self.call(&Call::Reconcile { tasks })?;
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<()> {
        self.ticks += 1;
        if self.ticks.is_multiple_of(RECONCILE_TICKS) {
            self.reconcile()?;
        }
        let (phase, live) = (self.phase(), self.live());
        let wants = phase == Phase::Load && live.len() < GOAL;
        if wants != self.wants_offers || (wants && self.ticks.is_multiple_of(RECONCILE_TICKS)) {
            let roles = BTreeSet::new();
            self.call(&if wants { Call::Revive { roles } } else { Call::Suppress { roles } })?;
            self.wants_offers = wants;
        }
        match phase {
            Phase::Load if !live.is_empty() && self.random.random_ratio(1, 8) => {
                let victim = self.random.random_range(0..live.len());
                self.kill(&live[victim])?;
            }
            Phase::Finish if live.is_empty() => {
                if self.tearing_down.is_none() {
                    self.tearing_down = Some(self.call(&Call::Teardown)?);
                }
            }
            Phase::Finish if self.ticks.is_multiple_of(10) => {
                for task in &live {
                    self.kill(task)?;
                }
            }
            Phase::Load | Phase::Settle | Phase::Finish => {}
        }
        Ok(())
    }

    fn kill(&mut self, (task_id, agent_id): &(TaskId, AgentId)) -> Result<()> {
        self.note(&json!({"kill": task_id.to_string()}))?;
        let grace = Some(Span::millis(500));
        self.call(&Call::Kill { task_id: task_id.clone(), agent_id: Some(agent_id.clone()), grace }).map(drop)
    }

    fn update(&mut self, status: &TaskStatus) -> Result<()> {
        let text = status.task_id.to_string();
        self.note(&json!({
            "update": text,
            "state": status.state,
            // Numbers of JSON are shorter.
            "uuid": status.uuid.map(|uuid| uuid.0.to_string()),
            "reason": status.reason,
            "message": status.message,
        }))?;
        let Some(mine) = self.tasks.get(&status.task_id).cloned() else {
            return self.wrong(&format!("it hears of {text}, which it never launched"));
        };
        if let Some(uuid) = status.uuid {
            if self.confirmed.contains(&uuid) {
                self.wrong(&format!("an acknowledged update of {text} came again"))?;
            }
            if let Some((before, state)) = mine.reliable
                && before != uuid
                && !state.may_become(status.state)
            {
                self.wrong(&format!("{text} went from {state:?} to {:?}", status.state))?;
            }
        } else if mine.state.is_terminal()
            && !status.state.is_terminal()
            && status.reason != Some(Reason::Reconciliation)
        {
            self.wrong(&format!("{text} became {:?} after {:?}", status.state, mine.state))?;
        }
        if let Some(mine) = self.tasks.get_mut(&status.task_id) {
            mine.hear(status.state, status.uuid);
        }
        if let (Some(uuid), Some(agent_id)) = (status.uuid, status.agent_id.clone()) {
            let sequence = self.call(&Call::Acknowledge { agent_id, task_id: status.task_id.clone(), uuid })?;
            self.acknowledging.insert(sequence, uuid);
        }
        Ok(())
    }

    fn offered(&mut self, offer: &Offer) -> Result<()> {
        let free = &offer.resources.unreserved;
        let lacks = GOAL.saturating_sub(self.live().len());
        let fits = free.cpus >= Milli(300) && free.mem >= Milli::units(256);
        if self.phase() != Phase::Load || lacks == 0 || !fits {
            let filter = Filter { refuse: Span::seconds(5) };
            return self.call(&Call::Decline { offers: vec![offer.id.clone()], filter }).map(drop);
        }
        let operation = self.plan(offer, lacks)?;
        let filter = Filter { refuse: Span::millis(self.random.random_range(0..2000)) };
        self.call(&Call::Accept { offers: vec![offer.id.clone()], operations: vec![operation], filter }).map(drop)
    }

    /// A pod of one or two tasks, written down first.
    fn plan(&mut self, offer: &Offer, lacks: usize) -> Result<Operation> {
        self.number += 1;
        let (number, count) = (self.number, self.random.random_range(1..=lacks.min(2)));
        let names: Vec<String> = (0..count).map(|i| format!("t{number}-{i}")).collect();
        let agent = offer.agent_id.to_string();
        self.note(&json!({"launch": names, "number": number, "agent": agent, "agent_name": offer.agent_name}))?;
        let mut infos = Vec::new();
        for name in &names {
            let task_id = TaskId::new(name).context("make a task's id")?;
            let mine = Mine { agent_id: offer.agent_id.clone(), state: TaskState::Staging, reliable: None };
            self.tasks.insert(task_id, mine);
            infos.push(self.task(name, &agent));
        }
        let own = Quantities { cpus: Milli(10), mem: Milli::units(32), ..Quantities::default() };
        let executor = mesos::ExecutorInfo {
            executor_id: mesos::ExecutorId {
                value: ExecutorId::new(format!("e{number}")).context("make an id")?.to_string(),
            },
            r#type: Some(mesos::executor_info::Type::Default.into()),
            framework_id: self.id.as_ref().map(|id| mesos::FrameworkId { value: id.to_string() }),
            name: Some(format!("e{number}")),
            resources: convert::resources::to_wire(&Resources::from(own)),
            ..mesos::ExecutorInfo::default()
        };
        let pod = convert::task::pod_from_wire(Some(&executor), &infos).context("make a pod")?;
        Ok(Operation::Launch(pod))
    }

    /// It leaves a line in its sandbox for every start, lives for a moment or for long, and ends well or badly.
    fn task(&mut self, name: &str, agent: &str) -> mesos::TaskInfo {
        let life = if self.random.random_ratio(3, 5) { self.random.random_range(1..25) } else { 900 };
        let code = i32::from(self.random.random_ratio(1, 3));
        let script = format!("echo {name} >> \"$MEZZO_SANDBOX/started-{name}\"; sleep {life}; exit {code}");
        let own = Quantities { cpus: Milli(50), mem: Milli::units(32), ..Quantities::default() };
        mesos::TaskInfo {
            name: name.to_owned(),
            task_id: mesos::TaskId { value: name.to_owned() },
            agent_id: mesos::AgentId { value: agent.to_owned() },
            resources: convert::resources::to_wire(&Resources::from(own)),
            command: Some(mesos::CommandInfo {
                value: Some("/bin/sh".to_owned()),
                shell: Some(false),
                arguments: vec!["/bin/sh".to_owned(), "-c".to_owned(), script],
                ..mesos::CommandInfo::default()
            }),
            container: Some(mesos::ContainerInfo {
                r#type: mesos::container_info::Type::Mesos.into(),
                mesos: Some(mesos::container_info::MesosInfo { image: None }),
                ..mesos::ContainerInfo::default()
            }),
            ..mesos::TaskInfo::default()
        }
    }
}

impl Mine {
    fn hear(&mut self, state: TaskState, uuid: Option<UpdateId>) {
        if let Some(uuid) = uuid {
            self.reliable = Some((uuid, state));
        }
        if !self.state.is_terminal() {
            self.state = state;
        }
    }
}
