//! A pod on this agent: its phase, its tasks, and the table of what may follow what.
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use model::{TaskId, TaskStatus, Timestamp};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{EndRecord, KillOrder, LaunchRecord, ProgressRecord, TaskProgress, VERSION};
use crate::limits;

/// A pod's name on this agent: its run directory's and its cgroup's. Made by the core: a number and part of the executor's id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PodId(Arc<str>);

impl PodId {
    pub(crate) fn make(number: u64, executor_id: &str) -> Self {
        let name: String = executor_id
            .chars()
            .take(limits::POD_ID_NAME_MAX)
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' })
            .collect();
        Self(Arc::from(format!("{number}-{name}")))
    }
    /// Takes a directory's name.
    pub fn from_name(name: &str) -> Self {
        Self(Arc::from(name))
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for PodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for PodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a pod is in its life. The table is [`Phase::may_become`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Image, secrets, volumes and bundles are being made.
    Preparing,
    /// Its executor is being spawned.
    Starting,
    /// Its executor of a former life of the agent is being looked for.
    Attaching,
    /// Its executor reports to us.
    Attached,
    /// Everything of it is being removed.
    Destroying(DestroyCause),
    /// Only the sandbox is left.
    Ended(Timestamp),
}

/// Why a pod is being removed: what tasks that are not terminal yet will be said to have died of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestroyCause {
    /// All its tasks are terminal.
    AllEnded,
    /// It was asked to stop before it ran.
    KilledDuringLaunch(String),
    /// It could not be prepared.
    NotPrepared(String),
    /// Its executor died.
    ExecutorLost(String),
    /// The host was started anew, and its executor with it ended.
    HostRestarted,
}

impl Phase {
    /// The transition table.
    pub fn may_become(&self, next: &Phase) -> bool {
        use Phase::{Attached, Attaching, Destroying, Ended, Preparing, Starting};
        match (self, next) {
            (Preparing, Starting | Destroying(_)) => true,
            (Starting | Attaching, Attached | Destroying(_)) => true,
            (Attached, Destroying(_)) => true,
            (Destroying(_), Ended(_)) => true,
            (Preparing | Starting | Attaching | Attached | Destroying(_) | Ended(_), _) => false,
        }
    }
}

/// A pod.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) launch: LaunchRecord,
    pub(crate) phase: Phase,
    pub(crate) started: bool,
    pub(crate) seen: u64,
    pub(crate) shut_down: bool,
    pub(crate) tasks: Vec<Task>,
}

/// A task of a pod.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    pub(crate) latest: TaskStatus,
    pub(crate) stream: VecDeque<TaskStatus>,
    pub(crate) kill: Option<KillOrder>,
    /// How it ended, until its pod has undone what it did.
    pub(crate) ended: Option<EndRecord>,
    /// When the head was sent and when it will be sent again; never checkpointed.
    pub(crate) in_flight: Option<InFlight>,
}

/// The head of a stream on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InFlight {
    pub(crate) again: Timestamp,
    pub(crate) delay: model::Span,
}

impl Task {
    /// Terminal and acknowledged: nobody will ask for it again.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.latest.state.is_terminal() && self.stream.is_empty()
    }
    /// Its container will not run again, whether that was said or not.
    pub(crate) fn is_over(&self) -> bool {
        self.latest.state.is_terminal() || self.ended.is_some()
    }
}

impl Pod {
    pub(crate) fn become_phase(&mut self, next: Phase) {
        assert!(self.phase.may_become(&next), "pod {}: {:?} -> {next:?}", self.launch.pod_id, self.phase);
        self.phase = next;
    }
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }
    /// Whether nothing of it counts as used any more.
    pub(crate) fn all_terminal(&self) -> bool {
        self.tasks.iter().all(|task| task.latest.state.is_terminal())
    }
    pub(crate) fn all_over(&self) -> bool {
        self.tasks.iter().all(Task::is_over)
    }
    /// Whether something is to be undone after it. Until then its tasks hold what they have, their ports above all.
    pub(crate) fn cleans_up(&self) -> bool {
        self.launch.tasks.iter().any(|task| task.head.cleans_up)
    }
    pub(crate) fn task_mut(&mut self, task_id: &TaskId) -> Option<&mut Task> {
        self.tasks.iter_mut().find(|task| task.id == *task_id)
    }
    pub(crate) fn progress(&self) -> ProgressRecord {
        ProgressRecord {
            version: VERSION,
            pod_id: self.launch.pod_id.clone(),
            started: self.started,
            ended: match self.phase {
                Phase::Ended(at) => Some(at),
                Phase::Preparing | Phase::Starting | Phase::Attaching | Phase::Attached | Phase::Destroying(_) => None,
            },
            seen: self.seen,
            shut_down: self.shut_down,
            tasks: self
                .tasks
                .iter()
                .map(|task| TaskProgress {
                    task_id: task.id.clone(),
                    latest: task.latest.clone(),
                    stream: task.stream.clone(),
                    kill: task.kill.clone(),
                    ended: task.ended.clone(),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_id_is_short_and_a_file_name() {
        assert_eq!(PodId::make(7, "web:0 é").as_str(), "7-web_0__");
        assert!(PodId::make(u64::MAX, &"x".repeat(255)).as_str().len() <= 20 + 1 + limits::POD_ID_NAME_MAX);
    }

    #[test]
    fn an_ended_pod_stays_ended_and_only_a_destroyed_one_ends() {
        let ended = Phase::Ended(Timestamp(1));
        for next in [Phase::Preparing, Phase::Starting, Phase::Attaching, Phase::Attached, ended.clone()] {
            assert!(!ended.may_become(&next));
        }
        assert!(!Phase::Attached.may_become(&ended));
        assert!(Phase::Destroying(DestroyCause::AllEnded).may_become(&ended));
    }
}
