//! What can be listed, as the read model keeps it: whole values, so that a reader never has to put pieces together.
//! Each step ends with at most one delta per thing that changed in it.
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use model::call::{Offer, Unavailability};
use model::{
    AgentId, ExecutorId, FrameworkId, OfferId, Principal, Resources, RoleName, Span, TaskHead, TaskId, TaskStatus,
    Timestamp,
};

use crate::decision::OfferEnd;
use crate::registry::AgentMode;

/// A change to what can be listed.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// New or changed.
    Agent(Box<AgentView>),
    /// Given up long ago, and forgotten.
    AgentRemoved(AgentId),
    /// New or changed.
    Framework(Box<FrameworkView>),
    /// More or less of it is lent, and nothing else has changed.
    AgentOffers(Box<AgentOffers>),
    /// More or less is lent to it, and nothing else has changed.
    FrameworkOffers { framework_id: FrameworkId, offers: usize },
    /// Ended and forgotten.
    FrameworkRemoved(FrameworkId),
    /// New or changed; also the last word on a task before it is removed.
    Task(Box<TaskView>),
    /// Ended, and its end was acknowledged (or needs no acknowledgement): only history from now on.
    TaskRemoved { framework_id: FrameworkId, task_id: TaskId },
    /// Lent.
    OfferAdded(Arc<Offer>),
    /// Answered or taken back.
    OfferRemoved { offer_id: OfferId, end: OfferEnd },
    /// New or changed.
    Role(RoleView),
    /// Without weight, framework and use.
    RoleRemoved(RoleName),
    /// A virtual address was leased; it ends with its framework.
    Vip { framework_id: FrameworkId, name: String, address: Ipv4Addr },
}

/// An agent.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentView {
    pub id: AgentId,
    pub name: String,
    pub address: String,
    pub port: u16,
    pub state: AgentStateView,
    /// Since when nothing was heard of it, if that is too long for others to be sent there.
    pub silent: Option<Timestamp>,
    pub mode: AgentMode,
    /// The announced window.
    pub maintenance: Option<Unavailability>,
    /// What frameworks said of leaving it in time.
    pub answers: BTreeMap<FrameworkId, bool>,
    pub total: Resources,
    pub allocated: Resources,
    pub offered: Resources,
    pub free: Resources,
    pub pod_subnet: String,
    pub region: String,
    pub zone: String,
    pub attributes: BTreeMap<String, String>,
    pub software: String,
    /// When it registered last; zero if not since the master's start.
    pub registered: Timestamp,
    pub tasks: usize,
    /// Reservations and volumes, also while it is away.
    pub holdings: Resources,
    /// What was freed while it was away.
    pub orphans: Resources,
    /// Operations with an id that their frameworks have not acknowledged.
    pub operations: usize,
}

/// What of an agent is lent, and what is left.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentOffers {
    pub agent_id: AgentId,
    pub offered: Resources,
    pub free: Resources,
}

/// How an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentStateView {
    /// Known from the registry, not back since the master's start.
    Recovered,
    Connected,
    Disconnected {
        since: Timestamp,
    },
    Unreachable {
        since: Timestamp,
    },
    Gone,
}

impl AgentStateView {
    /// The word users see.
    pub fn word(self) -> &'static str {
        match self {
            AgentStateView::Recovered => "recovered",
            AgentStateView::Connected => "connected",
            AgentStateView::Disconnected { .. } => "disconnected",
            AgentStateView::Unreachable { .. } => "unreachable",
            AgentStateView::Gone => "gone",
        }
    }
}

/// A framework.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameworkView {
    pub id: FrameworkId,
    pub name: String,
    pub principal: Principal,
    pub roles: BTreeSet<RoleName>,
    /// Roles in which it wants no offers.
    pub suppressed: BTreeSet<RoleName>,
    pub state: FrameworkStateView,
    pub tasks: usize,
    pub offers: usize,
    pub api_url: Option<String>,
    pub failover_timeout: Span,
}

/// How a framework is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameworkStateView {
    Connected,
    Disconnected {
        since: Timestamp,
    },
    /// Known from the registry, not back since the master's start.
    Recovered,
    /// Ended; some of its tasks may still be on their way out.
    TornDown,
}

impl FrameworkStateView {
    /// The word users see.
    pub fn word(self) -> &'static str {
        match self {
            FrameworkStateView::Connected => "connected",
            FrameworkStateView::Disconnected { .. } => "disconnected",
            FrameworkStateView::Recovered => "recovered",
            FrameworkStateView::TornDown => "torn down",
        }
    }
}

/// A task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskView {
    pub framework_id: FrameworkId,
    pub role: RoleName,
    pub agent_id: AgentId,
    pub executor_id: ExecutorId,
    pub head: Arc<TaskHead>,
    /// The newest the master knows, which may be ahead of what the framework acknowledged.
    pub status: TaskStatus,
    /// Zero if it was launched under an earlier master.
    pub launched: Timestamp,
    pub running: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    /// The framework or an operator asked for its end.
    pub kill_asked: bool,
}

/// A role.
#[derive(Debug, Clone, PartialEq)]
pub struct RoleView {
    pub name: RoleName,
    pub weight_milli: u64,
    /// How many frameworks subscribed in it.
    pub frameworks: usize,
    /// Dominant share in millionths, not divided by the weight.
    pub share_ppm: u64,
    /// Scalars allocated or offered, by name, in thousandths.
    pub consumed: BTreeMap<String, i64>,
    /// Its own guarantees and limits.
    pub quota: crate::quota::Quota,
    /// What it and those below it have towards their quotas: as `consumed`, but with what is reserved and not used.
    pub counted: BTreeMap<String, i64>,
}
