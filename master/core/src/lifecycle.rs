//! The lives of agents, frameworks and offers, one transition table each. A state is changed by `become` alone, which
//! holds the change against the table; the tables of tasks, operations and pods stand with their types. The book of all
//! of them is `docs/lifecycles.md`, written from here.
use model::OperationState;

use crate::agent::{Agent, AgentState};
use crate::decision::OfferEnd;
use crate::framework::{Framework, FrameworkState};

/// One row of a table: what may follow what, and when it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// From this state; empty: it begins.
    pub from: &'static str,
    /// To this one; empty: it is forgotten.
    pub to: &'static str,
    /// On what occasion.
    pub when: &'static str,
}

const fn row(from: &'static str, to: &'static str, when: &'static str) -> Row {
    Row { from, to, when }
}

/// Agents, as the master sees them.
pub const AGENT: &[Row] = &[
    row("", "connected", "it registers for the first time"),
    row("", "recovered", "the master starts with it in its registry"),
    row("", "unreachable", "the master starts, and it was unreachable before"),
    row("", "gone", "the master starts, and it was gone before"),
    row("recovered", "connected", "it registers again"),
    row("recovered", "unreachable", "it has not returned within the time after a master's start"),
    row("recovered", "gone", "an operator gives it up"),
    row("connected", "connected", "it registers on a new session"),
    row("connected", "disconnected", "its session ends, or it answers no ping"),
    row("disconnected", "connected", "it registers again"),
    row("disconnected", "unreachable", "it stays away for longer than the grace"),
    row("disconnected", "gone", "an operator gives it up, or it was drained to be gone"),
    row("unreachable", "connected", "it registers again, with its tasks"),
    row("unreachable", "gone", "an operator gives it up"),
];

/// Frameworks.
pub const FRAMEWORK: &[Row] = &[
    row("", "connected", "it subscribes for the first time"),
    row("", "recovered", "the master starts with it in its registry"),
    row("", "torn down", "the master starts, and it was torn down before"),
    row("recovered", "connected", "it subscribes again"),
    row("recovered", "torn down", "its failover timeout passes, or somebody tears it down"),
    row("connected", "connected", "it subscribes on a new session, which ends the old one"),
    row("connected", "disconnected", "its session ends"),
    row("connected", "torn down", "it or an operator tears it down"),
    row("disconnected", "connected", "it subscribes again"),
    row("disconnected", "torn down", "its failover timeout passes, or an operator tears it down"),
    row("torn down", "", "so many were torn down since that its id is forgotten"),
];

/// Offers: each leaves the book exactly once.
pub const OFFER: &[Row] = &[
    row("", "outstanding", "free resources are lent to a framework"),
    row("outstanding", OfferEnd::Accepted.word(), "the framework uses it"),
    row("outstanding", OfferEnd::Declined.word(), "the framework gives it back"),
    row(
        "outstanding",
        OfferEnd::Rescinded.word(),
        "the framework or the agent goes away, or an operator wants it back",
    ),
    row("outstanding", OfferEnd::Expired.word(), "it is not answered in time"),
];

/// Operations with an id: what their record says. Unreachable, recovering, unknown are answers to a reconciliation, and
/// dropped is said of what was never tried; neither is kept.
pub const OPERATION: &[Row] = &[
    row("", "pending", "the master has decided it with its registry"),
    row("", "error", "the request itself is wrong"),
    row("pending", "finished", "the agent says that it is done"),
    row("pending", "failed", "the agent is back without what the operation was about"),
    row("pending", "gone by operator", "an operator gives its agent up"),
    row("finished", "", "the framework acknowledges it, or ends"),
    row("failed", "", "the framework acknowledges it, or ends"),
    row("error", "", "the framework acknowledges it, or ends"),
    row("gone by operator", "", "the framework acknowledges it, or ends"),
];

/// Whether a table has a row.
pub fn allows(table: &[Row], from: &str, to: &str) -> bool {
    table.iter().any(|row| row.from == from && row.to == to)
}

/// The word of the table of operations.
pub fn operation_word(state: OperationState) -> &'static str {
    match state {
        OperationState::Pending => "pending",
        OperationState::Finished => "finished",
        OperationState::Failed => "failed",
        OperationState::Error => "error",
        OperationState::Dropped => "dropped",
        OperationState::Unreachable => "unreachable",
        OperationState::GoneByOperator => "gone by operator",
        OperationState::Recovering => "recovering",
        OperationState::Unknown => "unknown",
    }
}

impl OfferEnd {
    /// The word users see.
    pub const fn word(self) -> &'static str {
        match self {
            OfferEnd::Accepted => "accepted",
            OfferEnd::Declined => "declined",
            OfferEnd::Rescinded => "rescinded",
            OfferEnd::Expired => "expired",
        }
    }
}

impl AgentState {
    pub(crate) fn word(self) -> &'static str {
        match self {
            AgentState::Recovered => "recovered",
            AgentState::Connected { .. } => "connected",
            AgentState::Disconnected { .. } => "disconnected",
            AgentState::Unreachable { .. } => "unreachable",
            AgentState::Gone => "gone",
        }
    }
}

impl Agent {
    /// The one way from state to state.
    pub(crate) fn become_state(&mut self, next: AgentState) {
        let (from, to) = (self.state.word(), next.word());
        debug_assert!(allows(AGENT, from, to), "agent {}: {from} does not become {to}", self.record.id);
        self.state = next;
    }
}

impl FrameworkState {
    pub(crate) fn word(self) -> &'static str {
        match self {
            FrameworkState::Connected { .. } => "connected",
            FrameworkState::Disconnected { .. } => "disconnected",
            FrameworkState::Recovered { .. } => "recovered",
            FrameworkState::TornDown => "torn down",
        }
    }
}

impl Framework {
    /// The one way from state to state.
    pub(crate) fn become_state(&mut self, next: FrameworkState) {
        let (from, to) = (self.state.word(), next.word());
        debug_assert!(allows(FRAMEWORK, from, to), "framework {}: {from} does not become {to}", self.record.id);
        self.state = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_ends() {
        assert!(!AGENT.iter().any(|row| row.from == "gone"), "gone is for good");
        assert!(!FRAMEWORK.iter().any(|row| row.from == "torn down" && !row.to.is_empty()));
        assert!(OFFER.iter().all(|row| row.from.is_empty() || row.from == "outstanding"));
    }

    #[test]
    fn every_row_stands_once() {
        for table in [AGENT, FRAMEWORK, OFFER, OPERATION] {
            for row in table {
                assert_eq!(table.iter().filter(|other| (other.from, other.to) == (row.from, row.to)).count(), 1);
            }
        }
    }
}
