//! What a scheduler stores: facts that it could not learn again from the master. The shell turns these values into bytes.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use model::{AgentId, ExecutorId, TaskId, TaskState, Timestamp};
use serde::{Deserialize, Serialize};

use crate::spec::{DecommissionSpec, Goal, InstanceName, PodSpec, ServiceSpec, TaskSpec};
use crate::undo::Undone;
use crate::view::Placement;

/// Format of all records here.
pub const VERSION: u32 = 1;

/// Tasks of one instance that are launched together: all of them, or those of one phase.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnitKey {
    /// The instance.
    pub instance: InstanceName,
    /// Names of the tasks joined by `+`; empty: all.
    pub part: String,
}

impl UnitKey {
    /// The tasks' key in an instance.
    pub fn new(instance: InstanceName, tasks: &[String]) -> Self {
        Self { instance, part: tasks.join("+") }
    }
    /// Whether a task of the pod belongs to it.
    pub fn has(&self, task: &str) -> bool {
        self.part.is_empty() || self.part.split('+').any(|name| name == task)
    }
    /// Its tasks in a pod.
    pub fn tasks<'a>(&'a self, pod: &'a PodSpec) -> impl Iterator<Item = &'a TaskSpec> {
        pod.tasks.iter().filter(|task| self.has(&task.name))
    }
}
impl fmt::Display for UnitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.part.is_empty() { write!(f, "{}", self.instance) } else { write!(f, "{}.{}", self.instance, self.part) }
    }
}

/// What is to become of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// It runs.
    #[default]
    Run,
    /// It ends, and is launched again (on its agent if it keeps data there).
    Restart,
    /// It ends, gives up its place and data, and is launched anywhere.
    Replace,
    /// It ends for good.
    Leave,
}

/// One unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitRecord {
    /// The pod as it was launched last.
    pub spec: Option<PodSpec>,
    /// Where.
    pub placement: Option<Placement>,
    /// The executor of the last launch.
    pub executor_id: Option<ExecutorId>,
    /// The tasks of the last launch.
    pub tasks: BTreeMap<String, TaskRecord>,
    /// FINISH and ONCE tasks that ended well, with their specification then.
    pub finished: BTreeMap<String, TaskSpec>,
    /// Agent on which it holds reservations and volumes.
    pub reserved_on: Option<AgentId>,
    /// The last launch was to make its reservations and volumes, and no agent has had its tasks yet: it may have come to
    /// nothing. As no task ever ran there, nothing is lost by making them anew.
    pub is_reserving: bool,
    /// What is to become of it.
    pub intent: Intent,
    /// Whether it ever completed a step: from then on recovery looks after it.
    pub was_complete: bool,
    /// The launch that the framework's probe found ready.
    pub probed: Option<ExecutorId>,
    /// Failures in a row.
    pub failures: u32,
    /// Not launched again before.
    pub retry_at: Option<Timestamp>,
    /// What went wrong last.
    pub problem: String,
    /// Since when it is ready.
    pub ready_since: Option<Timestamp>,
    /// Since when it is brought to what it should be, and is not there.
    pub tried_since: Option<Timestamp>,
    /// How often in a row it ended by itself, as what it was launched as last.
    pub ends: u32,
    /// The action before its roll was begun; the one after it is owed.
    pub is_held: bool,
}
impl Default for UnitRecord {
    fn default() -> Self {
        Self {
            spec: None,
            placement: None,
            executor_id: None,
            tasks: BTreeMap::new(),
            finished: BTreeMap::new(),
            reserved_on: None,
            is_reserving: false,
            intent: Intent::Run,
            was_complete: false,
            probed: None,
            failures: 0,
            retry_at: None,
            problem: String::new(),
            ready_since: None,
            tried_since: None,
            ends: 0,
            is_held: false,
        }
    }
}

/// One launched task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Its id.
    pub task_id: TaskId,
    /// Its latest state.
    pub state: TaskState,
    /// In words.
    pub message: String,
    /// What the readiness check says.
    pub ready: Option<bool>,
    /// What the health check says.
    pub healthy: Option<bool>,
    /// When it was launched.
    pub launched_at: Timestamp,
    /// When it was first seen running.
    pub running_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Since when its agent is unreachable.
    pub unreachable_since: Option<Timestamp>,
}

impl TaskRecord {
    /// Whether it does not run and will not.
    pub fn is_over(&self) -> bool {
        self.state.is_terminal() || self.state == TaskState::Unknown
    }
}

impl UnitRecord {
    /// Whether no task of the last launch runs or may run.
    pub fn is_over(&self) -> bool {
        self.tasks.values().all(TaskRecord::is_over)
    }
    /// The launch that was to reserve came to nothing. What it reserved nevertheless is held by no unit: says where it has
    /// to be looked for, and given back.
    #[must_use]
    pub(crate) fn forget_reservation_in_doubt(&mut self) -> Option<AgentId> {
        std::mem::take(&mut self.is_reserving).then(|| self.reserved_on.take()).flatten()
    }
    /// Whether a task is done and must not run again.
    pub fn is_finished(&self, task: &TaskSpec) -> bool {
        match task.goal {
            Goal::Running => false,
            Goal::Once => self.finished.contains_key(&task.name),
            Goal::Finish => self.finished.get(&task.name) == Some(task),
        }
    }
    /// Whether a running task has done what its specification says about readiness.
    pub fn is_ready(&self, task: &TaskSpec) -> bool {
        self.tasks.get(&task.name).is_some_and(|record| {
            record.state == TaskState::Running && (task.readiness.is_none() || record.ready == Some(true))
        })
    }
    /// Whether every task is at its goal.
    pub fn is_at_goal(&self, key: &UnitKey, spec: &PodSpec) -> bool {
        key.tasks(spec).all(|task| match task.goal {
            Goal::Running => self.is_ready(task),
            Goal::Finish | Goal::Once => self.is_finished(task),
        })
    }
    /// Whether a task of the last launch ended that should not have, or ended without reaching its goal.
    pub fn has_failed(&self, key: &UnitKey) -> bool {
        let Some(spec) = &self.spec else { return false };
        key.tasks(spec)
            .any(|task| !self.is_finished(task) && self.tasks.get(&task.name).is_some_and(TaskRecord::is_over))
    }
}

/// An instance on its way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecommissionRecord {
    /// What is done around the kill.
    pub spec: DecommissionSpec,
    /// How far it is.
    pub stage: Stage,
    /// When it began.
    pub began_at: Timestamp,
    /// When the present stage began.
    pub stage_at: Timestamp,
}

/// How far a decommission is; each stage is stored before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The framework's action before the kill.
    BeforeKill,
    /// The tasks are killed.
    Kill,
    /// The framework's action after the kill.
    AfterKill,
    /// Reservations and volumes are given back.
    Release,
}

/// What is kept of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanRecord {
    /// Whether a person paused it.
    pub is_paused: bool,
    /// Whether it is to be carried out (deploy always is).
    pub is_active: bool,
    /// Steps by `<phase>/<step>`.
    pub steps: BTreeMap<String, StepRecord>,
}

/// What is kept of a step.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StepRecord {
    /// When its turn came.
    pub began_at: Option<Timestamp>,
    /// When its tasks were launched.
    pub launched_at: Option<Timestamp>,
    /// When it was complete.
    pub completed_at: Option<Timestamp>,
}

/// The scheduler itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Meta {
    /// Format of the records.
    pub version: u32,
    /// Number of the last launch: makes ids that were never used.
    pub launches: u64,
    /// Count of targets set.
    pub generation: u64,
    /// Whether everything is being removed.
    pub uninstalling: bool,
    /// Whether everything was removed. Nothing is ever launched again.
    pub uninstalled: bool,
    /// Reservations to be given back: agent, and unit they were made for.
    pub releases: BTreeSet<(AgentId, String)>,
}
impl Default for Meta {
    fn default() -> Self {
        Self {
            version: VERSION,
            launches: 0,
            generation: 0,
            uninstalling: false,
            uninstalled: false,
            releases: BTreeSet::new(),
        }
    }
}

/// Everything stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// The scheduler itself.
    pub meta: Meta,
    /// The target.
    pub target: Option<ServiceSpec>,
    /// The last one that was complete.
    pub good: Option<ServiceSpec>,
    /// The one that was undone.
    pub undone: Option<Undone>,
    /// Units.
    pub units: BTreeMap<UnitKey, UnitRecord>,
    /// Decommissions.
    pub decommissions: BTreeMap<InstanceName, DecommissionRecord>,
    /// Plans.
    pub plans: BTreeMap<String, PlanRecord>,
}

/// One change of what is stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// The scheduler itself.
    Meta(Meta),
    /// The target.
    Target(Box<ServiceSpec>),
    /// The last target that was complete.
    Good(Box<ServiceSpec>),
    /// The target that was undone; `None`: it is forgotten.
    Undone(Option<Box<Undone>>),
    /// A unit; `None`: it is gone.
    Unit(UnitKey, Option<Box<UnitRecord>>),
    /// A decommission; `None`: it is over.
    Decommission(InstanceName, Option<DecommissionRecord>),
    /// A plan; `None`: it is no more.
    Plan(String, Option<PlanRecord>),
    /// Files made for a launch that is over are deleted.
    ForgetFiles(ExecutorId),
}
