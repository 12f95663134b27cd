//! What happened how often. A simulator that never breaks anything proves nothing: what has to occur and did not is an error.
use std::collections::BTreeMap;
use std::fmt;

use master_core::Rejected;
use model::TaskState;

use crate::coverage;

/// Counters by name.
#[derive(Debug, Clone, Default)]
pub struct Counts(BTreeMap<String, u64>);

/// Every fault kind.
pub const FAULTS: &[&str] = &[
    "link break",
    "half-open link",
    "master crash",
    "agent crash",
    "agent state lost",
    "framework crash",
    "executor crash",
    "executor link break",
    "stalled disk",
    "duplicate acknowledgement",
    "duplicate accept",
    "acknowledgement withheld",
    "long outage",
    "offer left unanswered",
    "message lost",
    "message delayed",
    "message duplicated",
    "deposed master speaks",
    "scheduler crash",
    "master crash before a write",
    "master crash after a write",
    "agent crash before a write",
    "agent crash after a write",
    "scheduler crash before a write",
    "scheduler crash after a write",
    "pod not rendered",
    "one-way partition",
    "partition",
    "slow framework",
    "host reboot",
    "clock skew",
    "clock drift",
    "slow link",
    "registration on a disk that stands still",
    "last words of an executor",
    "last words of a link",
    "agent crash within a write",
    "agent crash with the power within a write",
    "disk full",
];

/// Rows of the task's table that the ledger must go through (the rest cannot happen: an agent reports no such step).
const ROWS: &[(Option<TaskState>, TaskState)] = {
    use TaskState::{Dropped, Failed, Finished, Gone, Killed, Killing, Running, Staging, Starting, Unreachable};
    &[
        (None, Staging),
        (None, Running),
        (None, Starting),
        (Some(Staging), Starting),
        (Some(Staging), Dropped),
        (Some(Staging), Unreachable),
        (Some(Starting), Running),
        (Some(Starting), Failed),
        (Some(Running), Finished),
        (Some(Running), Failed),
        (Some(Running), Killing),
        (Some(Running), Killed),
        (Some(Running), Unreachable),
        (Some(Killing), Killed),
        (Some(Unreachable), Running),
        (Some(Unreachable), Failed),
        (Some(Running), Gone),
    ]
};

impl Counts {
    pub(crate) fn hit(&mut self, name: impl Into<String>) {
        *self.0.entry(name.into()).or_default() += 1;
    }
    pub(crate) fn row(&mut self, from: Option<TaskState>, to: TaskState) {
        self.hit(row(from, to));
    }
    pub(crate) fn rejected(&mut self, reason: &Rejected) {
        let name = Rejected::ALL.iter().find(|(code, _)| *code == reason.code()).map_or("unlisted", |(_, name)| name);
        self.hit(format!("rejected: {name}"));
    }
    /// Adds another run's.
    pub fn add(&mut self, other: &Counts) {
        for (name, count) in &other.0 {
            *self.0.entry(name.clone()).or_default() += count;
        }
    }
    /// What had to happen and did not.
    pub fn missing(&self) -> Vec<String> {
        let faults = FAULTS.iter().map(|name| format!("fault: {name}"));
        let rows = ROWS.iter().map(|(from, to)| row(*from, *to));
        faults.chain(rows).chain(coverage::required()).filter(|name| !self.0.contains_key(name)).collect()
    }
}

fn row(from: Option<TaskState>, to: TaskState) -> String {
    match from {
        Some(from) => format!("task: {from:?} -> {to:?}"),
        None => format!("task: new -> {to:?}"),
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in &self.0 {
            writeln!(f, "{count:>9}  {name}")?;
        }
        Ok(())
    }
}
