//! To and from `model`. Exhaustive at the edge: what does not fit is refused with the path of the field at fault; nothing
//! becomes a silent default unless the Mesos v1 API says so.

pub mod call;
mod constraint;
pub mod event;
pub mod link;
pub mod resources;
pub mod task;

use model::{AgentId, ExecutorId, FrameworkId, OfferId, OperationId, Refusal, RoleName, TaskId};

/// A peer's message does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} {problem}")]
pub struct FieldError {
    /// Where, e.g. `accept.operations[0].launch.task_infos[1].resources[2].scalar.value`.
    pub path: String,
    /// What is wrong, to be read after the path.
    pub problem: String,
}

impl FieldError {
    /// A field and what is wrong with it.
    pub fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { path: short(path.into(), PATH_BYTES_MAX), problem: short(problem.into(), PROBLEM_BYTES_MAX) }
    }
    /// A field that must be there and is not.
    pub fn missing(path: impl Into<String>) -> Self {
        Self::new(path, "is missing")
    }
    /// An enumeration value nobody here knows.
    pub fn unknown(path: impl Into<String>, number: i32) -> Self {
        Self::new(path, format!("has the unknown value {number}"))
    }
    /// The same error of a list of resources that its message calls otherwise.
    #[must_use]
    pub fn of_list(mut self, name: &str) -> Self {
        if let Some(rest) = self.path.strip_prefix("resources[") {
            self.path = short(format!("{name}[{rest}"), PATH_BYTES_MAX);
        }
        self
    }
    /// The same error seen from one level up.
    #[must_use]
    pub fn within(mut self, prefix: &str) -> Self {
        self.path = if prefix.is_empty() { self.path } else { format!("{prefix}.{}", self.path) };
        self.path = short(self.path, PATH_BYTES_MAX);
        self
    }
}

/// A path names keys of maps, a problem what was given: both are a peer's words, and end in logs and before people.
const PATH_BYTES_MAX: usize = 512;
const PROBLEM_BYTES_MAX: usize = 1024;

fn short(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max - '…'.len_utf8()));
        text.push('…');
    }
    text
}

impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Refusal {
        Refusal::new("WIR0001", format!("the message is malformed: {error}"), "correct the field and send it again")
            .at(error.path)
    }
}

/// A refusal on the wire.
pub fn refusal_to_wire(refusal: &Refusal) -> crate::mezzo::v1::Refusal {
    crate::mezzo::v1::Refusal {
        code: refusal.code.clone(),
        message: refusal.message.clone(),
        next_step: refusal.next_step.clone(),
        field: refusal.field.clone(),
    }
}

/// A refusal from the wire.
pub fn refusal_from_wire(refusal: crate::mezzo::v1::Refusal) -> Refusal {
    Refusal { code: refusal.code, message: refusal.message, next_step: refusal.next_step, field: refusal.field }
}

macro_rules! id_readers {
    ($($name:ident: $type:ident;)*) => {$(
        pub(crate) fn $name(text: &str, path: &str) -> Result<$type, FieldError> {
            $type::new(text).map_err(|error| FieldError::new(path, error.to_string()))
        }
    )*};
}
id_readers! {
    agent_id: AgentId;
    executor_id: ExecutorId;
    framework_id: FrameworkId;
    offer_id: OfferId;
    operation_id: OperationId;
    task_id: TaskId;
    role_name: RoleName;
}

/// Seconds as Mesos sends them, to milliseconds; negative and non-finite ones are `None`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounded just before
pub(crate) fn millis_from_seconds(seconds: f64) -> Option<u64> {
    (seconds.is_finite() && seconds >= 0.0).then(|| (seconds.min(9.0e12) * 1000.0).round() as u64)
}
/// Milliseconds to seconds as Mesos sends them.
#[allow(clippy::cast_precision_loss)] // exact to 2^53 ms, which is 285,000 years
pub(crate) fn seconds_from_millis(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_said_is_cut_short() {
        let error = FieldError::new("p", "é".repeat(100_000)).within(&"x".repeat(100_000));
        assert!(error.to_string().len() < 2000, "{}", error.to_string().len());
        assert!(error.problem.starts_with("éé") && error.problem.ends_with('…'));
    }
}
