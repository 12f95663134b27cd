//! What becomes of operations to which a framework gave an id: told at least once, until it is acknowledged.
use serde::{Deserialize, Serialize};

use crate::id::{AgentId, OperationId, UpdateId};

/// The states of Mesos v1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OperationState {
    /// The master has decided it; the agent has not yet said that it is done.
    Pending,
    /// The agent has done it.
    Finished,
    /// It was tried and could not be done.
    Failed,
    /// The request itself was wrong.
    Error,
    /// It was never tried.
    Dropped,
    /// Its agent is unreachable; it may return.
    Unreachable,
    /// An operator declared its agent gone for good.
    GoneByOperator,
    /// Its agent has not come back since the master's start: ask again.
    Recovering,
    /// Nobody knows it.
    Unknown,
}

impl OperationState {
    /// Every state.
    pub const ALL: [OperationState; 9] = [
        OperationState::Pending,
        OperationState::Finished,
        OperationState::Failed,
        OperationState::Error,
        OperationState::Dropped,
        OperationState::Unreachable,
        OperationState::GoneByOperator,
        OperationState::Recovering,
        OperationState::Unknown,
    ];
    /// Whether nothing follows.
    pub fn is_terminal(self) -> bool {
        match self {
            OperationState::Finished
            | OperationState::Failed
            | OperationState::Error
            | OperationState::Dropped
            | OperationState::GoneByOperator => true,
            OperationState::Pending
            | OperationState::Unreachable
            | OperationState::Recovering
            | OperationState::Unknown => false,
        }
    }
}

/// State of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationStatus {
    /// Which.
    pub operation_id: OperationId,
    /// Its state.
    pub state: OperationState,
    /// Why, in words.
    pub message: String,
    /// Where it is done.
    pub agent_id: Option<AgentId>,
    /// Present if it must be acknowledged.
    pub uuid: Option<UpdateId>,
}
