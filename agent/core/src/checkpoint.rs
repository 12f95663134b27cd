//! What an agent must not forget. Each record begins with its format version; a secret's value is in none of them (a
//! task names its secrets by key).
use std::collections::{BTreeMap, VecDeque};

use model::link::FrameworkRef;
use model::task::{Payload, Reason, TaskHead, TaskState};
use model::{AgentId, ExecutorId, Resources, Span, TaskId, TaskStatus, Timestamp};
use serde::{Deserialize, Serialize};

use crate::pod::PodId;

/// The format written today.
pub const VERSION: u32 = 1;

/// All that was checkpointed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// What the agent knows of itself.
    pub agent: AgentRecord,
    /// Its pods. A pod without progress was being admitted.
    pub pods: BTreeMap<PodId, (LaunchRecord, Option<ProgressRecord>)>,
}

impl Checkpoint {
    /// What the checkpoint is after a write: for whoever keeps it in memory.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Agent(record) => self.agent = record.clone(),
            Write::Launch(record) => {
                self.pods.insert(record.pod_id.clone(), ((**record).clone(), None));
            }
            Write::Progress(record) => {
                if let Some((_, progress)) = self.pods.get_mut(&record.pod_id) {
                    *progress = Some(record.clone());
                }
            }
            Write::Forget(pod_id) => {
                self.pods.remove(pod_id);
            }
        }
    }
}

/// One thing to make durable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // few, and none lives longer than its batch
pub enum Write {
    /// Replaces the agent's record.
    Agent(AgentRecord),
    /// A new pod; never changed afterwards.
    Launch(Box<LaunchRecord>),
    /// Replaces a pod's progress.
    Progress(ProgressRecord),
    /// Removes a pod.
    Forget(PodId),
}

/// What the agent knows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentRecord {
    /// Format.
    pub version: u32,
    /// Given by the master.
    pub agent_id: Option<AgentId>,
    /// Newest master epoch obeyed.
    pub epoch_seen: u64,
    /// Leased by the master.
    pub pod_subnet: String,
    /// All leases are cut from this.
    pub pod_range: String,
    /// Of the holdings.
    pub generation: u64,
    /// Reservations and volumes.
    pub holdings: Resources,
    /// The number of the next pod.
    pub next_pod: u64,
    /// What the operator gave it when it last started; `None`: a version from before it was noted.
    pub configured: Option<Configured>,
    /// Of the host, when it last started.
    pub boot_id: String,
}

/// What the operator gave an agent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Configured {
    /// Everything it has, under the operator's titles.
    pub resources: Resources,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
}

/// A pod as launched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchRecord {
    /// Format.
    pub version: u32,
    /// Its id.
    pub pod_id: PodId,
    /// Whose.
    pub framework: FrameworkRef,
    /// Its executor.
    pub executor_id: ExecutorId,
    /// `mesos.v1.ExecutorInfo`, or nothing.
    #[serde(with = "hex_bytes")]
    pub executor: Payload,
    /// What the executor itself takes.
    pub executor_resources: Resources,
    /// Its tasks.
    pub tasks: Vec<TaskLaunch>,
    /// Whether the master granted privileges.
    pub privileged_allowed: bool,
    /// When it was admitted.
    pub admitted: Timestamp,
}

impl LaunchRecord {
    /// What the whole pod takes.
    pub fn resources(&self) -> Resources {
        let mut sum = self.executor_resources.clone();
        for task in &self.tasks {
            sum.add(&task.head.resources);
        }
        sum
    }
}

/// A task as launched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskLaunch {
    /// What is checked.
    pub head: TaskHead,
    /// `mesos.v1.TaskInfo`.
    #[serde(with = "hex_bytes")]
    pub payload: Payload,
}

/// How far a pod has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressRecord {
    /// Format.
    pub version: u32,
    /// Which pod.
    pub pod_id: PodId,
    /// An executor may exist.
    pub started: bool,
    /// Nothing of it is left but the sandbox.
    pub ended: Option<Timestamp>,
    /// Newest report taken from the executor.
    pub seen: u64,
    /// Its framework was shut down: nobody wants its updates.
    pub shut_down: bool,
    /// Its tasks.
    pub tasks: Vec<TaskProgress>,
}

/// How far a task has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskProgress {
    /// Which.
    pub task_id: TaskId,
    /// Latest status, acknowledged or not.
    pub latest: TaskStatus,
    /// Updates not acknowledged, the one in flight first.
    pub stream: VecDeque<TaskStatus>,
    /// That it was asked to stop.
    pub kill: Option<KillOrder>,
    /// How it ended, as long as that is not to be said.
    #[serde(default)]
    pub ended: Option<EndRecord>,
}

/// How a task ended whose pod still has something to undo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndRecord {
    /// A terminal state.
    pub state: TaskState,
    /// Why.
    pub reason: Option<Reason>,
    /// In words.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

/// That a task was asked to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillOrder {
    /// Overrides the task's own grace.
    pub grace: Option<Span>,
    /// In words.
    pub reason: String,
    /// Nobody asked for it: what it ran on was needed by those to whom it was promised.
    #[serde(default)]
    pub is_preemption: bool,
}

mod hex_bytes {
    //! Bytes as text: JSON has no bytes, and a list of numbers is four times as long.
    use model::task::Payload;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    const DIGITS: &[u8; 16] = b"0123456789abcdef";

    pub(super) fn serialize<S: Serializer>(bytes: &Payload, out: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in bytes.iter() {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        out.serialize_str(&text)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Payload, D::Error> {
        let text = String::deserialize(input)?;
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
        text.as_bytes()
            .chunks(2)
            .map(|pair| match pair {
                [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
                _ => None,
            })
            .collect::<Option<Vec<u8>>>()
            .map(Payload::from)
            .ok_or_else(|| D::Error::custom("not pairs of hexadecimal digits"))
    }
}
