//! What the core is told and what it wants done.
use std::fmt;

use model::time::Span;

use super::check::CheckKind;
use super::container::ContainerPlan;
use super::report::Report;

/// What happened. `run` counts the starts of a container: news of an earlier run are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The agent says what the pod is.
    Start {
        /// By task id.
        containers: Vec<(String, ContainerPlan)>,
    },
    /// The agent wants a container to end for good.
    Kill {
        /// Which.
        task_id: String,
        /// Between SIGTERM and SIGKILL; zero: SIGKILL at once.
        grace: Span,
        /// In words.
        reason: String,
    },
    /// The agent has checkpointed the reports up to this number.
    Seen {
        /// The number.
        number: u64,
    },
    /// The agent needs this executor no longer.
    ExitAsked,
    /// An agent connected; it has seen nothing it did not say it saw.
    Connected,
    /// A container runs.
    Created {
        /// Which.
        task_id: String,
        /// Its run.
        run: u32,
        /// Its init.
        pid: u32,
    },
    /// A container could not be made or started; something of it may be left.
    CreateFailed {
        /// Which.
        task_id: String,
        /// Its run.
        run: u32,
        /// In words.
        error: String,
    },
    /// A container's init is gone.
    Died {
        /// Which.
        task_id: String,
        /// Its run.
        run: u32,
        /// How.
        exit: Exit,
    },
    /// Nothing is left of a container but its logs, and they are complete.
    Cleaned {
        /// Which.
        task_id: String,
        /// Its run.
        run: u32,
        /// What the OOM killer took.
        oom_kills: u64,
    },
    /// A check is done.
    Checked {
        /// Of which container.
        task_id: String,
        /// Its run.
        run: u32,
        /// Which of its checks.
        kind: CheckKind,
        /// Success.
        passed: bool,
        /// In words.
        message: String,
    },
    /// Time went by.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Make and start a container.
    Create {
        /// Which.
        task_id: String,
        /// Its run.
        run: u32,
    },
    /// Signal a container's init.
    Signal {
        /// Which.
        task_id: String,
        /// Its run.
        run: u32,
        /// What.
        signal: Signal,
    },
    /// Count OOM kills, kill what is left, remove the cgroup, wait for the logs to end.
    Clean {
        /// Which.
        task_id: String,
        /// Its run.
        run: u32,
    },
    /// Run a check.
    Check {
        /// Of which container.
        task_id: String,
        /// Its run.
        run: u32,
        /// Which of its checks.
        kind: CheckKind,
    },
    /// Write an end to disk; comes before it is sent.
    PersistEnded {
        /// The container's name.
        name: String,
        /// The end.
        report: Report,
    },
    /// Send a report if an agent is connected. If none is, it is sent again when one connects.
    Send(Report),
    /// Leave.
    Exit,
}

/// Signals of the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM.
    Term,
    /// SIGKILL.
    Kill,
}

/// How a container's init ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// It never ran.
    LaunchError(String),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exited with {code}"),
            Exit::Signal(signal) => write!(f, "ended by signal {signal}"),
            Exit::LaunchError(error) => write!(f, "not started: {error}"),
        }
    }
}
