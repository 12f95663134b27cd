//! Pods: tasks placed together, so many times, under rules.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use model::{Milli, Quantities, Span};
use serde::{Deserialize, Serialize};

use super::{TaskSpec, VolumeSource};

/// One kind of pod.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PodSpec {
    /// Lower-case letters, digits and `-`; instances are called `<name>-<index>`.
    pub name: String,
    /// How many instances.
    pub count: u32,
    /// Indices that are left out: with count 2 and `[1]`, the instances are 0 and 2. So a framework names the instance
    /// that goes when the count falls; without it the highest indices go first.
    pub without: BTreeSet<u32>,
    /// Where instances may go. All rules hold.
    pub placement: Vec<PlacementRule>,
    /// The containers.
    pub tasks: Vec<TaskSpec>,
    /// Cpus of the executor itself, beside its tasks.
    pub executor_cpus: Milli,
    /// MiB of memory of the executor itself.
    pub executor_mem: Milli,
    /// How instances are taken away. `None`: never (a target that would is refused).
    pub decommission: Option<DecommissionSpec>,
    /// What is done around a roll: a stop because the instance is to run as something else.
    pub roll: Option<RollSpec>,
    /// How long a changed instance may take to be ready; then the target is undone. `None`: the default.
    pub settle: Option<Span>,
    /// How long an unreachable instance is waited for before it is replaced elsewhere. `None`: until somebody asks.
    pub replace_unreachable_after: Option<Span>,
    /// Anything whose change must roll the pod although nothing above changes: a digest of what the renderer would
    /// write, a version. Never looked into.
    pub configuration: BTreeMap<String, String>,
}

/// What happens around the kill when an instance is taken away. Actions are names given to `Framework::act`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DecommissionSpec {
    /// Done before its tasks are killed.
    pub before_kill: Option<String>,
    /// Done after its tasks have ended.
    pub after_kill: Option<String>,
}

/// What happens around the stop of an instance that is launched again as something else. Actions are names given to
/// `Framework::act`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RollSpec {
    /// Done before its tasks are stopped; again if it takes so long that the scheduler is restarted meanwhile.
    pub before_stop: Option<String>,
    /// Done when it does its work again, or when it goes on as it was after all.
    pub after_ready: Option<String>,
}

/// A rule for the agent of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlacementRule {
    /// No two instances of this pod on one agent.
    UniquePerAgent,
    /// Nor on an agent with an instance of that other pod.
    NotWith(String),
    /// At most `max` instances of this pod on agents of the same value of an attribute. `region` and `zone` count as
    /// attributes.
    MaxPerAttribute {
        /// Which attribute.
        attribute: String,
        /// How many.
        max: u32,
    },
    /// Only on agents where the attribute has the value.
    AttributeIs {
        /// Which attribute.
        attribute: String,
        /// The value.
        value: String,
    },
    /// Only on these agents.
    AgentNameIs(BTreeSet<String>),
    /// Not on these agents.
    AgentNameIsNot(BTreeSet<String>),
}

impl PodSpec {
    /// The indices that exist.
    pub fn indices(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..).filter(|index| !self.without.contains(index)).take(self.count as usize)
    }
    /// The instances that exist.
    pub fn instances(&self) -> impl Iterator<Item = InstanceName> + '_ {
        self.indices().map(|index| InstanceName { pod: self.name.clone(), index })
    }
    /// The task of that name.
    pub fn task(&self, name: &str) -> Option<&TaskSpec> {
        self.tasks.iter().find(|task| task.name == name)
    }
    /// Whether a running instance of `self` need not be touched for the target `other`.
    pub fn runs_as(&self, other: &PodSpec) -> bool {
        self.tasks == other.tasks
            && self.executor_cpus == other.executor_cpus
            && self.executor_mem == other.executor_mem
            && self.configuration == other.configuration
    }
    /// Whether an instance keeps data on its agent.
    pub fn has_persistent_volumes(&self) -> bool {
        self.tasks.iter().flat_map(|task| &task.volumes).any(|v| matches!(v.source, VolumeSource::Persistent { .. }))
    }
    /// Whether an instance takes gpus.
    pub fn wants_gpus(&self) -> bool {
        self.tasks.iter().any(|task| task.gpus.0 > 0)
    }
    /// What an instance takes, without ports that any number does for.
    pub fn quantities(&self) -> Quantities {
        let mut sum = Quantities { cpus: self.executor_cpus, mem: self.executor_mem, ..Quantities::default() };
        for task in &self.tasks {
            sum.add(&task.quantities());
        }
        sum
    }
    /// How many ports of any number an instance takes.
    pub fn any_ports(&self) -> usize {
        self.tasks.iter().flat_map(|task| &task.ports).filter(|port| port.kind.fixed().is_none()).count()
    }
}

/// One instance of a pod: `<pod>-<index>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceName {
    /// The pod's name.
    pub pod: String,
    /// Its index.
    pub index: u32,
}

/// A text that is not `<pod>-<index>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not the name of an instance (<pod>-<index>)")]
pub struct InvalidInstanceName(String);

impl InstanceName {
    /// The name of an instance.
    pub fn new(pod: impl Into<String>, index: u32) -> Self {
        Self { pod: pod.into(), index }
    }
}
impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pod, self.index)
    }
}
impl TryFrom<String> for InstanceName {
    type Error = InvalidInstanceName;
    fn try_from(text: String) -> Result<Self, InvalidInstanceName> {
        text.parse()
    }
}
impl std::str::FromStr for InstanceName {
    type Err = InvalidInstanceName;
    fn from_str(text: &str) -> Result<Self, InvalidInstanceName> {
        text.rsplit_once('-')
            .filter(|(pod, _)| !pod.is_empty())
            .and_then(|(pod, index)| Some(Self { pod: pod.to_owned(), index: index.parse().ok()? }))
            .ok_or_else(|| InvalidInstanceName(text.to_owned()))
    }
}
impl From<InstanceName> for String {
    fn from(name: InstanceName) -> String {
        name.to_string()
    }
}
