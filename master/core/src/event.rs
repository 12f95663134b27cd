//! What the core is told. The shell authenticates and decodes; it decides nothing.
use std::collections::BTreeSet;

use model::call::{Call, Unavailability};
use model::link::FromAgent;
use model::{Milli, Principal, Resources, RoleName, Span};

/// One connection, of a framework or an agent. Chosen by the shell, never used twice by one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// One request of an operator that waits for an answer. Chosen by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A change to a framework's own key-value state. The master never looks into values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateWrite {
    /// Which entry.
    pub key: String,
    /// `None` deletes.
    pub value: Option<Vec<u8>>,
}

/// What may happen to a master.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // one at a time
pub enum Event {
    /// A scheduler connected with a certificate of this principal.
    FrameworkOpened { session: SessionId, principal: Principal },
    /// It said something. The writes are persisted whether or not the call is refused, unless they are themselves
    /// refused: then the call is not looked at. `FrameworkInfo::principal` inside a call is ignored: the session's counts.
    FrameworkCalled { session: SessionId, sequence: u64, call: Option<Call>, writes: Vec<StateWrite>, read_state: bool },
    /// The answer to `Command::AwaitRoom`.
    FrameworkHasRoom { session: SessionId },
    /// Its stream ended (for whatever reason; also after `Command::CloseFramework`).
    FrameworkClosed { session: SessionId },
    /// An agent connected; the name is the one in its certificate.
    AgentOpened { session: SessionId, name: String },
    /// It said something.
    AgentSaid { session: SessionId, message: FromAgent },
    /// Its stream ended (for whatever reason; also after `Command::CloseAgent`).
    AgentClosed { session: SessionId },
    /// The answer to `Command::ScheduleAllocation`: the shell coalesces and may wait a few milliseconds.
    AllocationDue,
    /// The time of the last `Command::SetTimer` has come.
    Tick,
    /// This batch and all before it are durable.
    Persisted { batch: u64 },
    /// An operator asks for a change. Reads never come here: they are answered from the views.
    Asked { request: RequestId, ask: OperatorRequest },
}

/// What an operator may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // one at a time
pub enum OperatorRequest {
    /// Ends a framework, given by id or name.
    Teardown { framework: String },
    /// Sets a role's weight in thousandths.
    SetWeight { role: RoleName, weight_milli: u64 },
    /// Sets the quotas of roles, all of them or none; an empty one is none. With `force` also limits below what is used
    /// and guarantees of more than the pool has.
    SetQuotas { quotas: Vec<(RoleName, crate::quota::Quota)>, force: bool },
    /// Offers nothing of an agent, given by id or name, any more; what runs there runs on.
    DeactivateAgent { agent: String },
    /// Offers it again; an unfinished drain is called off.
    ReactivateAgent { agent: String },
    /// Empties an agent: the frameworks are told, and after the grace the master kills what is still there.
    DrainAgent { agent: String, max_grace: Span, mark_gone: bool },
    /// Declares an agent, given by id or name, gone for good. It must not be connected, or be drained.
    MarkAgentGone { agent: String },
    /// Announces when agents, given by id or name, are to be maintained, to their frameworks. All of them or none.
    ScheduleMaintenance { agents: Vec<String>, window: Unavailability },
    /// Withdraws announced windows that were not started.
    CancelMaintenance { agents: Vec<String> },
    /// Empties agents with a window now.
    StartMaintenance { agents: Vec<String> },
    /// Offers them again; their windows are over.
    StopMaintenance { agents: Vec<String> },
    /// Changes what is reserved on an agent, given by id or name, and its volumes.
    ChangeHoldings { agent: String, change: HoldingsChange, principal: Principal },
    /// Leases a virtual address to a framework, given by id or name, for its own principal or an operator.
    LeaseVip { framework: String, name: String, principal: Principal },
    /// Replaces the list of principals that may launch privileged tasks, beside those in the configuration.
    SetPrivileged { principals: BTreeSet<String> },
}

/// What an operator may do to reservations and volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldingsChange {
    /// Reserves; given as it will be held. With a source: what is reserved so now becomes reserved otherwise.
    Reserve { wanted: Resources, source: Option<Resources> },
    /// Takes the innermost reservation away.
    Unreserve(Resources),
    /// Makes volumes of reserved disk; given as they will be held.
    Create(Resources),
    /// Destroys volumes with their data.
    Destroy(Resources),
    /// Makes a volume larger.
    Grow { volume: Resources, addition: Resources },
    /// Makes a volume smaller.
    Shrink { volume: Resources, subtract: Milli },
}
