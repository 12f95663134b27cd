//! Tasks: what a framework asked for, and the life of it.
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{AgentId, ExecutorId, TaskId, UpdateId};
use crate::resources::{Milli, Quantities, Resources};
use crate::time::{Span, Timestamp};

/// The states of Mesos v1, partition-aware always. The table is [`TaskState::may_become`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskState {
    /// Accepted by the master, not yet heard of from the agent.
    Staging,
    /// The agent prepares it (image, volumes, secrets).
    Starting,
    /// Its process runs.
    Running,
    /// It was asked to stop.
    Killing,
    /// It exited with 0.
    Finished,
    /// It exited otherwise, or could not be started.
    Failed,
    /// It was stopped on request.
    Killed,
    /// The request itself was wrong.
    Error,
    /// Nothing is known and nothing will be (kept for the vocabulary; mezzo prefers the precise ones below).
    Lost,
    /// It never reached an agent.
    Dropped,
    /// Its agent is unreachable; it may return.
    Unreachable,
    /// Its agent is here and has it no longer.
    Gone,
    /// An operator declared its agent gone for good.
    GoneByOperator,
    /// Nobody knows it.
    Unknown,
}

impl TaskState {
    /// Every state.
    pub const ALL: [TaskState; 14] = [
        TaskState::Staging,
        TaskState::Starting,
        TaskState::Running,
        TaskState::Killing,
        TaskState::Finished,
        TaskState::Failed,
        TaskState::Killed,
        TaskState::Error,
        TaskState::Lost,
        TaskState::Dropped,
        TaskState::Unreachable,
        TaskState::Gone,
        TaskState::GoneByOperator,
        TaskState::Unknown,
    ];

    /// Whether nothing follows. Unreachable and Unknown are not terminal: such a task may run.
    pub fn is_terminal(self) -> bool {
        match self {
            TaskState::Finished
            | TaskState::Failed
            | TaskState::Killed
            | TaskState::Error
            | TaskState::Lost
            | TaskState::Dropped
            | TaskState::Gone
            | TaskState::GoneByOperator => true,
            TaskState::Staging
            | TaskState::Starting
            | TaskState::Running
            | TaskState::Killing
            | TaskState::Unreachable
            | TaskState::Unknown => false,
        }
    }

    /// The transition table. Repeating a state is allowed where a status may carry news (health, readiness).
    pub fn may_become(self, next: TaskState) -> bool {
        use TaskState::{Error, GoneByOperator, Killing, Running, Staging, Starting, Unknown, Unreachable};
        match (self, next) {
            (from, _) if from.is_terminal() => false,
            (_, Unknown | Staging) => false,
            // The agent refuses what it is sent, and the master may hear of that when it took the agent for lost.
            (Staging | Unreachable, Error) => true,
            (_, Error) => false,
            (Staging | Unknown, _) => true,
            (Starting, Starting) | (Running, Running) | (Killing, Killing) => true,
            (Starting, Running | Killing) | (Running, Killing) => true,
            (Running | Killing, Starting) | (Killing, Running) => false,
            (Starting | Running | Killing, Unreachable) => true,
            (Unreachable, Starting | Running | Killing) => true,
            (Unreachable, Unreachable) => false,
            (_, GoneByOperator) => true,
            (_, end) => end.is_terminal(),
        }
    }
}

/// Why a task is in its state (numbers of the Mesos v1 API).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum Reason {
    ExecutorTerminated = 1,
    FrameworkRemoved = 3,
    InvalidOffers = 6,
    MasterDisconnected = 7,
    ContainerLimitationMemory = 8,
    Reconciliation = 9,
    AgentDisconnected = 10,
    AgentRemoved = 11,
    AgentRestarted = 12,
    AgentUnknown = 13,
    TaskInvalid = 14,
    TaskUnauthorized = 15,
    TaskUnknown = 16,
    ContainerPreempted = 17,
    ContainerLimitation = 19,
    ContainerLimitationDisk = 20,
    ContainerLaunchFailed = 21,
    ExecutorRegistrationTimeout = 23,
    ExecutorReregistrationTimeout = 24,
    TaskGroupInvalid = 25,
    TaskGroupUnauthorized = 26,
    TaskCheckStatusUpdated = 28,
    TaskHealthCheckStatusUpdated = 29,
    TaskKilledDuringLaunch = 30,
    AgentRemovedByOperator = 31,
    AgentReregistered = 32,
    MaxCompletionTimeReached = 33,
    AgentDraining = 34,
    /// Not of Mesos: its executor starts what ended again, in place.
    ContainerRestarted = 1001,
}

impl Reason {
    /// For people.
    pub fn in_words(self) -> &'static str {
        match self {
            Reason::ExecutorTerminated => "its executor ended under it",
            Reason::FrameworkRemoved => "its framework was torn down",
            Reason::InvalidOffers => "the offer it was launched with was no longer valid",
            Reason::MasterDisconnected => "the scheduler was not connected to the master",
            Reason::ContainerLimitationMemory => "it needed more memory than its limit",
            Reason::Reconciliation => "its framework asked for its state",
            Reason::AgentDisconnected => "its agent is not connected",
            Reason::AgentRemoved => "its agent is unreachable",
            Reason::AgentRestarted => "its agent was restarted and lost it",
            Reason::AgentUnknown => "its agent is not known",
            Reason::TaskInvalid => "its description is not valid",
            Reason::TaskUnauthorized => "its framework may not do what it asks for",
            Reason::TaskUnknown => "nobody knows this task",
            Reason::ContainerPreempted => "what it ran on was needed by those to whom it was promised",
            Reason::ContainerLimitation => "a limit of its container was reached",
            Reason::ContainerLimitationDisk => "it needed more disk than its limit",
            Reason::ContainerLaunchFailed => "its container could not be started",
            Reason::ExecutorRegistrationTimeout => "its executor did not come up in time",
            Reason::ExecutorReregistrationTimeout => "its executor did not come back in time",
            Reason::TaskGroupInvalid => "the description of its pod is not valid",
            Reason::TaskGroupUnauthorized => "its framework may not do what its pod asks for",
            Reason::TaskCheckStatusUpdated => "its readiness check gave a new result",
            Reason::TaskHealthCheckStatusUpdated => "its health check gave a new result",
            Reason::TaskKilledDuringLaunch => "it was stopped before it ran",
            Reason::AgentRemovedByOperator => "an operator declared its agent gone",
            Reason::AgentReregistered => "its agent came back",
            Reason::MaxCompletionTimeReached => "it ran for longer than it may",
            Reason::AgentDraining => "its agent is being drained",
            Reason::ContainerRestarted => "its process ended and is started again",
        }
    }
    /// What can be done about it; empty if nothing need be.
    pub fn remedy(self) -> &'static str {
        match self {
            Reason::ContainerLimitationMemory => "give the task more memory, or find out what uses it",
            Reason::ContainerLimitationDisk => "give the task more disk, or find out what uses it",
            Reason::ContainerLaunchFailed | Reason::ExecutorRegistrationTimeout => {
                "see that its image and artifacts are in the pool, and what the agent's log says"
            }
            Reason::TaskUnauthorized | Reason::TaskGroupUnauthorized => {
                "have an operator give the framework's principal the privilege, or ask for none"
            }
            Reason::TaskInvalid | Reason::TaskGroupInvalid => "correct the task's description",
            Reason::AgentRemoved | Reason::AgentDisconnected => "bring its agent back, or declare it gone",
            Reason::ExecutorTerminated | Reason::AgentRestarted | Reason::ExecutorReregistrationTimeout => {
                "see the agent's log around that time"
            }
            Reason::ContainerRestarted => "see what it wrote last: mezzo task logs",
            Reason::FrameworkRemoved
            | Reason::InvalidOffers
            | Reason::MasterDisconnected
            | Reason::Reconciliation
            | Reason::AgentUnknown
            | Reason::TaskUnknown
            | Reason::ContainerPreempted
            | Reason::ContainerLimitation
            | Reason::TaskCheckStatusUpdated
            | Reason::TaskHealthCheckStatusUpdated
            | Reason::TaskKilledDuringLaunch
            | Reason::AgentRemovedByOperator
            | Reason::AgentReregistered
            | Reason::MaxCompletionTimeReached
            | Reason::AgentDraining => "",
        }
    }
}

/// Who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum Source {
    Master,
    Agent,
    Executor,
}

/// State, reason and source of a task at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStatus {
    /// Whose.
    pub task_id: TaskId,
    /// The state.
    pub state: TaskState,
    /// Why, if there is more to say than the state.
    pub reason: Option<Reason>,
    /// Who says so.
    pub source: Source,
    /// In words.
    pub message: String,
    /// Where the task is or was.
    pub agent_id: Option<AgentId>,
    /// Its pod's executor.
    pub executor_id: Option<ExecutorId>,
    /// Present if it must be acknowledged.
    pub uuid: Option<UpdateId>,
    /// What the health check says, if there is one and it has spoken.
    pub healthy: Option<bool>,
    /// What the readiness check says, if there is one and it has spoken.
    pub ready: Option<bool>,
    /// When.
    pub timestamp: Timestamp,
}

/// Bytes of the framework's, passed on untouched: a `mesos.v1.TaskInfo` or `ExecutorInfo`.
pub type Payload = Arc<[u8]>;

/// What master and agent check of a task; the rest is its payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskHead {
    /// Its id.
    pub task_id: TaskId,
    /// Its name, for people.
    pub name: String,
    /// Where it is to run.
    pub agent_id: AgentId,
    /// What it takes.
    pub resources: Resources,
    /// How others find it.
    pub discovery: Option<Discovery>,
    /// How long it has between SIGTERM and SIGKILL, if it says so.
    pub kill_grace: Option<Span>,
    /// State keys of its secrets (all begin with `secret/`).
    pub secrets: Vec<String>,
    /// Whether it asks for privileges.
    pub privileged: bool,
    /// Whether it undoes something after its pod: only then has the pod ended.
    #[serde(default)]
    pub cleans_up: bool,
    /// What it may use at most, where that is not what it takes; at least what it takes.
    #[serde(default)]
    pub limits: TaskLimits,
}

/// What a task may use at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TaskLimits {
    /// Processors; `None`: what it takes.
    pub cpus: Option<Limit>,
    /// Memory; `None`: what it takes.
    pub mem: Option<Limit>,
}

/// An upper bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// So much.
    AtMost(Milli),
    /// None: as much as the agent has.
    Infinite,
}

impl TaskLimits {
    /// The first resource whose limit is below what is taken.
    pub fn below(&self, taken: &Quantities) -> Option<&'static str> {
        let is_below = |limit: Option<Limit>, taken: Milli| match limit {
            Some(Limit::AtMost(amount)) => amount < taken,
            Some(Limit::Infinite) | None => false,
        };
        [("cpus", is_below(self.cpus, taken.cpus)), ("mem", is_below(self.mem, taken.mem))]
            .into_iter()
            .find_map(|(name, is_below)| is_below.then_some(name))
    }
}

/// How others find a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovery {
    /// The name; `<name>.<framework>.mezzo` leads to its ports through the gateway.
    pub name: String,
    /// Its ports.
    pub ports: Vec<DiscoveryPort>,
    /// Whether the task has a readiness check: until that has passed nobody is led to its virtual addresses.
    #[serde(default)]
    pub checked: bool,
}

impl Discovery {
    /// The virtual addresses behind which the task is, and the ports of its own to which they lead.
    pub fn vips(&self) -> impl Iterator<Item = (&Vip, u16)> {
        self.ports.iter().filter_map(|port| Some((port.vip.as_ref()?, port.number)))
    }
    /// Why nobody is led to the task's virtual addresses, in words; `None`: they are.
    pub fn held_back(&self, status: &TaskStatus) -> Option<String> {
        let said = |words: &str| match status.message.as_str() {
            "" => words.to_owned(),
            message => format!("{words}: {message}"),
        };
        match (status.state, status.healthy, status.ready) {
            (TaskState::Running, Some(false), _) => Some(said("not healthy")),
            (TaskState::Running, _, Some(false)) => Some(said("not ready")),
            (TaskState::Running, _, None) if self.checked => Some("not ready: its check has not passed yet".to_owned()),
            (TaskState::Running, Some(true) | None, Some(true) | None) => None,
            (state, _, _) => Some(said(&format!("not running but {}", format!("{state:?}").to_lowercase()))),
        }
    }
}

/// One port by which a task is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryPort {
    /// The number on the agent's address.
    pub number: u16,
    /// Its name.
    pub name: String,
    /// Whether the gateway passes TLS through to it.
    pub external: bool,
    /// The virtual address behind which it is one of several.
    #[serde(default)]
    pub vip: Option<Vip>,
}

/// A port of a virtual address. The address belongs to the framework and the name; the master leases it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Vip {
    /// Unique in the framework.
    pub name: String,
    /// The port on the virtual address.
    pub port: u16,
}

impl Vip {
    /// The longest name: a label of a DNS name.
    pub const NAME_LENGTH_MAX: usize = 63;

    /// Takes a name of 1 to 63 of a-z, 0-9 and `-` (not at the ends), and a port that is one.
    pub fn new(name: &str, port: u16) -> Option<Self> {
        (Self::is_name(name) && port > 0).then(|| Self { name: name.to_owned(), port })
    }
    /// Whether a text can name a virtual address.
    pub fn is_name(name: &str) -> bool {
        !name.is_empty()
            && name.len() <= Self::NAME_LENGTH_MAX
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !name.starts_with('-')
            && !name.ends_with('-')
    }
}

impl std::fmt::Display for Vip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.name, self.port)
    }
}

impl std::str::FromStr for Vip {
    type Err = InvalidVip;
    /// Reads `<name>:<port>`; a `/` before the name, as DC/OS had it, is allowed.
    fn from_str(text: &str) -> Result<Self, InvalidVip> {
        let bad = || InvalidVip(text.to_owned());
        let (name, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().map_err(|_| bad())?;
        Self::new(name.strip_prefix('/').unwrap_or(name), port).ok_or_else(bad)
    }
}

/// A text that is no `<name>:<port>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no <name>:<port>, the name 1 to 63 of a-z, 0-9 and '-', not at the ends")]
pub struct InvalidVip(pub String);

/// A task as launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// What is checked.
    pub head: TaskHead,
    /// What is passed on.
    pub payload: Payload,
}

/// Tasks of one instance placed together, under one executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// The executor; fresh for every pod launched.
    pub executor_id: ExecutorId,
    /// `mesos.v1.ExecutorInfo`; empty if a single task was launched without one.
    pub executor: Payload,
    /// What the executor itself takes.
    pub executor_resources: Resources,
    /// At least one.
    pub tasks: Vec<Task>,
}

impl Pod {
    /// What the whole pod takes.
    pub fn resources(&self) -> Resources {
        let mut sum = self.executor_resources.clone();
        for task in &self.tasks {
            sum.add(&task.head.resources);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_states_are_final() {
        for from in TaskState::ALL.into_iter().filter(|state| state.is_terminal()) {
            for next in TaskState::ALL {
                assert!(!from.may_become(next), "{from:?} -> {next:?}");
            }
        }
    }

    #[test]
    fn a_vip_is_a_name_and_a_port() {
        for (text, expected) in [
            ("api:443", Some(("api", 443))),
            ("/api-2:1", Some(("api-2", 1))),
            ("api", None),
            ("api:0", None),
            ("api:70000", None),
            ("-api:1", None),
            ("Api:1", None),
            (":1", None),
            ("a.b:1", None),
        ] {
            let read = text.parse::<Vip>().ok();
            assert_eq!(read.as_ref().map(|vip| (vip.name.as_str(), vip.port)), expected, "{text}");
        }
        assert_eq!(Vip::new("api", 443).map(|vip| vip.to_string()).as_deref(), Some("api:443"));
    }

    #[test]
    fn an_unreachable_task_may_return_and_a_running_one_does_not_start_again() {
        assert!(TaskState::Unreachable.may_become(TaskState::Running));
        assert!(TaskState::Running.may_become(TaskState::Unreachable));
        assert!(!TaskState::Running.may_become(TaskState::Starting));
        assert!(TaskState::Running.may_become(TaskState::Running), "readiness and health ride on a repeated state");
        assert!(!TaskState::Running.may_become(TaskState::Error));
        assert!(!TaskState::Running.may_become(TaskState::Staging));
    }
}
