//! The agent's state and the way an event takes through it.
//!
//! **Checkpoint before act.** While an event is handled, whatever changes is marked dirty and whatever depends on the
//! change is kept as an effect. At the end of the step everything dirty becomes one `Checkpoint` batch, and the effects
//! wait for it. Only what depends on no change (a pong, dialling) leaves at once. Effects leave in the order they arose.
use std::collections::{BTreeMap, BTreeSet};

use model::link::{AgentRegistration, AgentTask, FromAgent, Peer};
use model::{FrameworkId, Refusal, Resources, TaskId, Timestamp, UpdateId};

use crate::checkpoint::{AgentRecord, Checkpoint, VERSION, Write};
use crate::command::{Command, Decision};
use crate::event::Event;
use crate::mutation::{Mutation, mutated};
use crate::pod::{DestroyCause, Phase, Pod, PodId, Task};
use crate::reconfiguration;
use crate::registration::Link;
use crate::rng::Rng;

/// What the operator says an agent is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    /// Unique in the pool.
    pub name: String,
    /// IPv4 address of tasks on its network.
    pub address: String,
    /// Where it serves operators.
    pub port: u16,
    /// Everything it has under the titles that the operator gives it; those made at run time are carved out of it.
    pub resources: Resources,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// Its region.
    pub region: String,
    /// Its zone.
    pub zone: String,
    /// Changes with every boot of the host.
    pub boot_id: String,
    /// Version of mezzo.
    pub software: String,
}

/// An agent.
#[derive(Debug)]
pub struct Agent {
    pub(crate) config: AgentConfig,
    pub(crate) record: AgentRecord,
    pub(crate) total: Resources,
    pub(crate) pods: BTreeMap<PodId, Pod>,
    /// Where a task is; forgotten tasks are not here.
    pub(crate) index: BTreeMap<(FrameworkId, TaskId), PodId>,
    pub(crate) link: Link,
    pub(crate) peers: Vec<Peer>,
    /// The generation whose volumes are on the disk.
    pub(crate) volumes_set: Option<u64>,
    /// Volumes that left the holdings while a pod still had them.
    pub(crate) volumes_doomed: bool,
    /// What may be taken back has changed and no master was told: the registration under way may not have it.
    pub(crate) revocable_unsaid: bool,
    pub(crate) rng: Rng,
    pub(crate) now: Timestamp,
    dirty_agent: bool,
    dirty_pods: BTreeSet<PodId>,
    /// How full the disk is, in thousandths.
    pub(crate) disk_used: u16,
    writes: Vec<Write>,
    pub(crate) effects: Vec<Effect>,
    batch: u64,
    held: BTreeMap<u64, Vec<Effect>>,
    /// Counts registrations: one that was held back for a session that is gone is not sent on the next.
    pub(crate) attempt: u64,
}

/// What waits for a batch.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    Do(Command),
    /// Send this update if it is still the head of the task's stream. Another head has its own batch to wait for.
    SendHead(PodId, TaskId, UpdateId),
    /// Register, if this is still the newest attempt.
    Register(u64, Box<AgentRegistration>),
}

impl Agent {
    /// An agent as it was checkpointed (or new). What it must do first comes out of the first `step`; give it a `Tick`.
    ///
    /// # Errors
    /// The resources it is given do not hold what is reserved on it.
    pub fn new(config: AgentConfig, checkpoint: Checkpoint, seed: u64, now: Timestamp) -> Result<Self, Refusal> {
        let mut record = checkpoint.agent;
        record.version = VERSION;
        let checkpointed: Vec<_> = checkpoint.pods.into_values().collect();
        reconfiguration::check(&config, &record, &checkpointed)?;
        let is_rebooted = !record.boot_id.is_empty() && record.boot_id != config.boot_id;
        let total = config.resources.titled(&record.holdings).map_err(|missing| {
            Refusal::new(
                "AGT0001",
                format!("the resources given to this agent lack {missing}, which is reserved on it"),
                "give the agent at least the resources it had, or remove its state directory to make it a new agent",
            )
        })?;
        let dirty_agent = reconfiguration::note(&config, &mut record);
        let mut agent = Self {
            config,
            record,
            total,
            pods: BTreeMap::new(),
            index: BTreeMap::new(),
            link: Link::New,
            peers: Vec::new(),
            volumes_set: None,
            volumes_doomed: false,
            revocable_unsaid: false,
            rng: Rng::new(seed),
            now,
            dirty_agent,
            dirty_pods: BTreeSet::new(),
            disk_used: 0,
            writes: Vec::new(),
            effects: Vec::new(),
            batch: 0,
            held: BTreeMap::new(),
            attempt: 0,
        };
        for (launch, progress) in checkpointed {
            agent.recover(launch, progress, is_rebooted);
        }
        agent.order_volumes();
        Ok(agent)
    }

    /// Handles one event. Total: whatever comes, it answers.
    pub fn step(&mut self, now: Timestamp, event: Event, out: &mut Vec<Command>) {
        self.now = self.now.max(now);
        if matches!(self.link, Link::New) {
            self.connect(out);
        }
        match event {
            Event::LinkUp => self.link_up(out),
            Event::LinkDown { why: _ } => self.link_down(out),
            Event::Master { epoch, message } => self.master_says(epoch, message, out),
            Event::Checkpointed { batch } => self.checkpointed(batch, out),
            Event::Prepared { pod_id, failure } => self.prepared(&pod_id, failure),
            Event::ExecutorAttached { pod_id } => self.executor_attached(&pod_id),
            Event::ExecutorGone { pod_id, why } => self.executor_gone(&pod_id, why, out),
            Event::Report { pod_id, report } => self.reported(&pod_id, report),
            Event::PodDestroyed { pod_id } => self.pod_destroyed(&pod_id, out),
            Event::VolumesSet { generation } => self.volumes_set(generation),
            Event::Estimated { revocable } => self.estimated(revocable, out),
            Event::Pressed { why } => self.preempt(&why, out),
            Event::Disk { used_permille } => self.disk_used = used_permille,
            Event::Tick => {}
        }
        self.link_due(out);
        self.updates_due(out);
        self.collect_garbage();
        self.flush(out);
    }

    /// When the core wants a `Tick` at the latest.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let retries = self
            .index
            .iter()
            .filter_map(|((_, task_id), pod_id)| self.pods.get(pod_id)?.tasks.iter().find(|task| task.id == *task_id))
            .filter_map(|task| task.in_flight.map(|sent| sent.again));
        retries.chain(self.link_deadline()).chain(self.garbage_due()).min()
    }

    /// Its id, once the master gave it one.
    pub fn agent_id(&self) -> Option<&model::AgentId> {
        self.record.agent_id.as_ref()
    }
    /// Whether the master knows it now.
    pub fn is_registered(&self) -> bool {
        matches!(self.link, Link::Registered { .. })
    }
    /// Everything it has, with holdings.
    pub fn total(&self) -> &Resources {
        &self.total
    }
    fn is_registering(&self) -> bool {
        matches!(self.link, Link::Registering { .. })
    }
    /// Whether everything that was decided is on the disk.
    pub(crate) fn is_durable(&self) -> bool {
        self.held.is_empty()
    }
    /// What it knows of itself.
    pub fn record(&self) -> &AgentRecord {
        &self.record
    }
    /// Its pods with their phase.
    pub fn pods(&self) -> impl Iterator<Item = (&PodId, &Phase)> {
        self.pods.iter().map(|(pod_id, pod)| (pod_id, &pod.phase))
    }
    /// Every task that is not both terminal and acknowledged.
    pub fn tasks(&self) -> impl Iterator<Item = AgentTask> + '_ {
        self.pods.values().flat_map(|pod| {
            pod.tasks.iter().zip(&pod.launch.tasks).filter(|(task, _)| !task.is_forgotten()).map(|(task, launch)| {
                AgentTask {
                    framework: pod.launch.framework.clone(),
                    executor_id: pod.launch.executor_id.clone(),
                    executor_resources: pod.launch.executor_resources.clone(),
                    launched: pod.launch.admitted,
                    head: launch.head.clone(),
                    latest: task.latest.clone(),
                }
            })
        })
    }
    /// How many [`Agent::tasks`] there are.
    pub fn task_count(&self) -> usize {
        self.index.len()
    }
    /// Updates that nobody has acknowledged yet.
    pub fn updates_waiting(&self) -> usize {
        self.pods.values().flat_map(|pod| &pod.tasks).map(|task| task.stream.len()).sum()
    }
    /// The pod in which a task is or was, as long as its sandbox is kept; the newest if there are several.
    pub fn pod_of(&self, task_id: &TaskId) -> Option<&PodId> {
        self.pods
            .values()
            .filter(|pod| pod.tasks.iter().any(|task| task.id == *task_id))
            .max_by_key(|pod| pod.launch.admitted)
            .map(|pod| &pod.launch.pod_id)
    }
    /// A pod as launched.
    pub fn launch_of(&self, pod_id: &PodId) -> Option<&crate::checkpoint::LaunchRecord> {
        self.pods.get(pod_id).map(|pod| &pod.launch)
    }
    /// Batches that are not durable yet.
    pub fn batches_outstanding(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn mark_agent(&mut self) {
        self.dirty_agent = true;
    }
    pub(crate) fn mark_pod(&mut self, pod_id: &PodId) {
        self.dirty_pods.insert(pod_id.clone());
    }
    pub(crate) fn write(&mut self, write: Write) {
        self.writes.push(write);
    }
    pub(crate) fn later(&mut self, command: Command) {
        self.effects.push(Effect::Do(command));
    }
    pub(crate) fn later_head(&mut self, pod_id: &PodId, task_id: &TaskId) {
        let pod = self.pods.get(pod_id);
        let task = pod.and_then(|pod| pod.tasks.iter().find(|task| task.id == *task_id));
        if let Some(uuid) = task.and_then(|task| task.stream.front()?.uuid) {
            self.effects.push(Effect::SendHead(pod_id.clone(), task_id.clone(), uuid));
        }
    }
    pub(crate) fn note(out: &mut Vec<Command>, decision: Decision) {
        out.push(Command::Note(decision));
    }

    /// Ends the step: one batch of everything dirty, then (when it is durable) the effects.
    fn flush(&mut self, out: &mut Vec<Command>) {
        let mut writes = Vec::new();
        if std::mem::take(&mut self.dirty_agent) {
            writes.push(Write::Agent(self.record.clone()));
        }
        writes.append(&mut self.writes);
        for pod_id in std::mem::take(&mut self.dirty_pods) {
            if let Some(pod) = self.pods.get(&pod_id) {
                writes.push(Write::Progress(pod.progress()));
            }
        }
        let effects = std::mem::take(&mut self.effects);
        if !writes.is_empty() {
            self.batch += 1;
            out.push(Command::Checkpoint { batch: self.batch, writes });
            if mutated(Mutation::ActsBeforeTheDisk) {
                effects.into_iter().for_each(|effect| self.release(effect, out));
                return;
            }
            self.held.insert(self.batch, effects);
        } else if let Some(mut newest) = self.held.last_entry() {
            // They may depend on what is still being written, and must not overtake it.
            newest.get_mut().extend(effects);
        } else {
            for effect in effects {
                self.release(effect, out);
            }
        }
    }

    fn checkpointed(&mut self, batch: u64, out: &mut Vec<Command>) {
        while let Some(entry) = self.held.first_entry() {
            if *entry.key() > batch {
                break;
            }
            for effect in entry.remove() {
                self.release(effect, out);
            }
        }
    }

    fn release(&mut self, effect: Effect, out: &mut Vec<Command>) {
        match effect {
            Effect::SendHead(pod_id, task_id, uuid) => self.send_head(&pod_id, &task_id, uuid, out),
            Effect::Register(attempt, registration) => {
                if attempt == self.attempt && self.is_registering() {
                    out.push(Command::Send(FromAgent::Register(registration)));
                }
            }
            // A message held for a session that is gone: registering anew says it all again.
            Effect::Do(Command::Send(FromAgent::Applied { .. } | FromAgent::Update { .. }))
                if !self.is_registered() => {}
            Effect::Do(command) => out.push(command),
        }
    }

    /// A pod of the checkpoint comes back to life.
    fn recover(
        &mut self,
        launch: crate::checkpoint::LaunchRecord,
        progress: Option<crate::checkpoint::ProgressRecord>,
        is_rebooted: bool,
    ) {
        let pod_id = launch.pod_id.clone();
        let agent_id = self.record.agent_id.clone();
        let fresh = progress.is_none();
        let mut pod = Pod {
            tasks: launch
                .tasks
                .iter()
                .map(|task| Task {
                    id: task.head.task_id.clone(),
                    latest: Self::first_status(&launch, &task.head.task_id, agent_id.as_ref()),
                    stream: Default::default(),
                    kill: None,
                    ended: None,
                    in_flight: None,
                })
                .collect(),
            launch,
            phase: Phase::Preparing,
            started: false,
            seen: 0,
            shut_down: false,
        };
        if let Some(progress) = progress {
            pod.started = progress.started;
            pod.seen = progress.seen;
            pod.shut_down = progress.shut_down;
            for known in progress.tasks {
                if let Some(task) = pod.task_mut(&known.task_id) {
                    task.latest = known.latest;
                    task.stream = known.stream;
                    task.kill = known.kill;
                    task.ended = known.ended;
                }
            }
            if let Some(at) = progress.ended {
                pod.phase = Phase::Ended(at);
            }
        }
        if !pod.is_ended() {
            let kill = pod.tasks.iter().find_map(|task| task.kill.clone());
            if pod.started && is_rebooted {
                // Its executor ended with the host; what it left on the disk is to be removed all the same.
                pod.phase = Phase::Destroying(DestroyCause::HostRestarted);
                self.later(Command::Destroy { pod_id: pod_id.clone() });
            } else if pod.started && mutated(Mutation::LeavesExecutorsAlone) {
                pod.phase = Phase::Attaching;
            } else if pod.started {
                pod.phase = Phase::Attaching;
                self.later(Command::Attach { pod_id: pod_id.clone() });
            } else if let Some(order) = kill {
                pod.phase = Phase::Destroying(DestroyCause::KilledDuringLaunch(order.reason));
                self.later(Command::Destroy { pod_id: pod_id.clone() });
            } else {
                self.later(Command::Prepare { launch: Box::new(pod.launch.clone()) });
            }
        }
        for task in pod.tasks.iter().filter(|task| fresh || !task.is_forgotten()) {
            self.index.insert((pod.launch.framework.id.clone(), task.id.clone()), pod_id.clone());
        }
        let task_ids: Vec<_> = pod.tasks.iter().map(|task| task.id.clone()).collect();
        self.pods.insert(pod_id.clone(), pod);
        if fresh {
            // It was being admitted; its first updates were never written.
            for task_id in task_ids {
                self.append_first(&pod_id, &task_id);
            }
        }
    }
}
