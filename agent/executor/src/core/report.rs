//! Reports to the agent: numbered, kept until seen, repeated to every agent that connects.
use std::collections::VecDeque;
use std::fmt;

use model::time::{Span, Timestamp};

use super::check::CheckKind;
use super::event::Exit;
use crate::limits::REPORTS_MAX;

/// One report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Rises with every report.
    pub number: u64,
    /// Of which container.
    pub task_id: String,
    /// What.
    pub kind: ReportKind,
    /// When, by the wall clock.
    pub at: Timestamp,
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

/// What is reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportKind {
    /// It runs.
    Started {
        /// Its init.
        pid: u32,
    },
    /// It is over; nothing follows.
    Ended {
        /// How.
        exit: Exit,
        /// What the OOM killer took in the last run.
        oom_kills: u64,
        /// Whether the agent wanted it.
        killed_on_request: bool,
        /// Words, when it was not the container's own doing.
        why: String,
        /// Whether the executor ended it by itself, and for what.
        cause: EndCause,
    },
    /// It will run again; both verdicts are unspoken again.
    Restarting {
        /// So many times now.
        count: u32,
        /// After this time.
        backoff: Span,
        /// Why the last run ended.
        why: String,
    },
    /// A verdict changed.
    Checked {
        /// Whose.
        kind: CheckKind,
        /// To what.
        passed: bool,
        /// What the check said.
        message: String,
    },
}

impl fmt::Display for ReportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReportKind::Started { pid } => write!(f, "started with pid {pid}"),
            ReportKind::Ended { exit, oom_kills, .. } if *oom_kills > 0 => {
                write!(f, "{exit}, out of memory ({oom_kills} killed)")
            }
            ReportKind::Ended { exit, .. } => write!(f, "{exit}"),
            ReportKind::Restarting { count, why, .. } => write!(f, "restart {count}: {why}"),
            ReportKind::Checked { kind, passed: true, .. } => write!(f, "{kind:?} passed"),
            ReportKind::Checked { kind, message, .. } => write!(f, "{kind:?} failed: {message}"),
        }
    }
}

/// The unseen reports.
#[derive(Debug, Default)]
pub(super) struct Reports {
    last_number: u64,
    unseen: VecDeque<Report>,
}

impl Reports {
    pub(super) fn push(&mut self, task_id: &str, kind: ReportKind, at: Timestamp) -> Report {
        self.last_number += 1;
        let report = Report { number: self.last_number, task_id: task_id.to_owned(), kind, at };
        if self.unseen.len() >= REPORTS_MAX {
            // An agent that is away for long needs the latest of each kind, not the history. Numbers then have gaps.
            let superseded = |old: &Report| {
                old.task_id == report.task_id
                    && !matches!(old.kind, ReportKind::Ended { .. })
                    && same_kind(&old.kind, &report.kind)
            };
            if let Some(at) = self.unseen.iter().position(superseded) {
                self.unseen.remove(at);
            }
        }
        self.unseen.push_back(report.clone());
        report
    }
    pub(super) fn seen(&mut self, number: u64) {
        self.unseen.retain(|report| report.number > number);
    }
    pub(super) fn unseen(&self) -> impl Iterator<Item = &Report> {
        self.unseen.iter()
    }
}

fn same_kind(a: &ReportKind, b: &ReportKind) -> bool {
    match (a, b) {
        (ReportKind::Checked { kind: a, .. }, ReportKind::Checked { kind: b, .. }) => a == b,
        (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}
