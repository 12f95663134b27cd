//! Plans as people and programs read them (`GET /v1/plans`). Computed, never stored.
use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::spec::InstanceName;

/// Where a step, phase or plan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Its turn has not come.
    Pending,
    /// Its turn has come; it waits for an offer that fits (or for what it replaces to end).
    Prepared,
    /// It was launched, or its action is being done.
    Starting,
    /// Everything runs; it is not ready yet.
    Started,
    /// It failed and waits before the next try.
    Delayed,
    /// Done.
    Complete,
    /// It cannot go on by itself.
    Error,
    /// Paused by a person.
    Waiting,
}

impl Status {
    /// The status of a whole by those of its parts.
    pub fn of(parts: impl Iterator<Item = Status> + Clone, is_paused: bool) -> Status {
        let any = |status| parts.clone().any(|part| part == status);
        if any(Status::Error) {
            return Status::Error;
        }
        if parts.clone().all(|part| part == Status::Complete) {
            return Status::Complete;
        }
        if is_paused || any(Status::Waiting) {
            return Status::Waiting;
        }
        for status in [Status::Delayed, Status::Started, Status::Starting, Status::Prepared] {
            if any(status) {
                return status;
            }
        }
        if any(Status::Complete) { Status::Prepared } else { Status::Pending }
    }
}

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanView {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub status: Status,
    /// Whether a person paused it.
    pub is_paused: bool,
    /// `serial`, `parallel` or `dependency`.
    pub strategy: String,
    /// About the plan as a whole, in words: that an update was undone and why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Its phases, in order.
    pub phases: Vec<PhaseView>,
}

/// A phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseView {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub status: Status,
    /// `serial`, `parallel` or `dependency`.
    pub strategy: String,
    /// Its steps, in order.
    pub steps: Vec<StepView>,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub status: Status,
    /// For every step that is not complete: what it waits for, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The instance it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceName>,
    /// The tasks it launches; empty for an action.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<String>,
    /// Name of the agent, once there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent: String,
    /// When its turn came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_unix_ms: Option<Timestamp>,
    /// When its tasks were launched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launched_unix_ms: Option<Timestamp>,
    /// When it was complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_unix_ms: Option<Timestamp>,
}

impl PlanView {
    /// Every step, in order.
    pub fn steps(&self) -> impl Iterator<Item = &StepView> {
        self.phases.iter().flat_map(|phase| &phase.steps)
    }
    /// Whether nothing is left to do.
    pub fn is_complete(&self) -> bool {
        self.status == Status::Complete
    }
}
