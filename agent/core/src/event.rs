//! What happens to an agent.
use model::link::ToAgent;
use model::{Quantities, TaskId, Timestamp};

use crate::pod::PodId;

/// Everything the shell may tell the core.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // one at a time
pub enum Event {
    /// The stream to the master is open; nothing was said on it yet.
    LinkUp,
    /// The stream is gone, or could not be opened. Exactly one per `Connect`.
    LinkDown {
        /// In words.
        why: String,
    },
    /// The master speaks.
    Master {
        /// The epoch on the message.
        epoch: u64,
        /// The message.
        message: ToAgent,
    },
    /// Every batch up to this one is on the disk.
    Checkpointed {
        /// The batch.
        batch: u64,
    },
    /// Answer to `Prepare`: image, secrets, volumes and bundles are there, or why not.
    Prepared {
        /// Which pod.
        pod_id: PodId,
        /// Absent: all is there.
        failure: Option<String>,
    },
    /// Answer to `Start` and `Attach`, and again whenever the connection was made anew: the executor listens to us. Its
    /// reports come after this, in order, the ones we have not seen first.
    ExecutorAttached {
        /// Which pod.
        pod_id: PodId,
    },
    /// Answer to `Start` and `Attach`, or any time later: the executor is dead.
    ExecutorGone {
        /// Which pod.
        pod_id: PodId,
        /// In words.
        why: String,
    },
    /// The executor reports on a container.
    Report {
        /// Which pod.
        pod_id: PodId,
        /// The report.
        report: Report,
    },
    /// Answer to `Destroy`: no process, mount, secret or cgroup of the pod is left.
    PodDestroyed {
        /// Which pod.
        pod_id: PodId,
    },
    /// Answer to `SetVolumes`.
    VolumesSet {
        /// Of which generation.
        generation: u64,
    },
    /// How full the disk with the sandboxes is, in thousandths.
    Disk {
        /// Up to 1000.
        used_permille: u16,
    },
    /// So much may be given away that can be taken back; replaces what was said before.
    Estimated {
        /// So much.
        revocable: Quantities,
    },
    /// Those to whom everything was promised need it: something that can be taken back is to end.
    Pressed {
        /// In words.
        why: String,
    },
    /// It is as late as `next_wake` asked for (or any other time).
    Tick,
}

/// One numbered report of an executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Rises by one per pod.
    pub number: u64,
    /// Whose container.
    pub task_id: TaskId,
    /// When it happened.
    pub at: Timestamp,
    /// What.
    pub kind: ReportKind,
}

/// What an executor has to say of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportKind {
    /// Its process runs.
    Started {
        /// The process, in the agent's own pid namespace.
        pid: u32,
    },
    /// It ended for good.
    Ended {
        /// How.
        end: End,
        /// Processes of it that the kernel killed for want of memory.
        oom_kills: u64,
        /// Whether it was stopped because we asked.
        killed_on_request: bool,
        /// In words, when it was not its own doing.
        why: String,
        /// Whether its executor ended it by itself, and for what.
        cause: EndCause,
    },
    /// It ended and will be started again.
    Restarting {
        /// How often so far.
        count: u32,
        /// After how many milliseconds.
        backoff_ms: u64,
        /// In words.
        why: String,
    },
    /// A check's verdict changed.
    Checked {
        /// Readiness or health.
        is_readiness: bool,
        /// The verdict.
        passed: bool,
        /// In words.
        message: String,
    },
}

/// For what an executor ends a container by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EndCause {
    /// It did not.
    #[default]
    Other,
    /// It ran for longer than it may.
    OverTime,
    /// Its health check failed too often.
    Unhealthy,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It exited.
    Exit(i32),
    /// A signal killed it.
    Signal(i32),
    /// It could not be started.
    NotStarted(String),
}
