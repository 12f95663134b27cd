//! The framework edge: what a scheduler asks (calls) and what it is told (events).
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{AgentId, ExecutorId, FrameworkId, OfferId, Principal, TaskId, UpdateId};
use crate::resources::Resources;
use crate::role::RoleName;
use crate::task::{Pod, TaskStatus};
use crate::time::{Span, Timestamp};

/// What a framework says of itself when it subscribes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameworkInfo {
    /// Absent on its first subscription ever.
    pub id: Option<FrameworkId>,
    /// Unique among living frameworks; also its name at the gateway and under `/service/`.
    pub name: String,
    /// The roles in which it wants offers; at least one.
    pub roles: BTreeSet<RoleName>,
    /// How long its tasks live on while it is disconnected.
    pub failover_timeout: Span,
    /// Where its HTTP API is, for `/service/<name>/`.
    pub api_url: Option<String>,
    /// Proven by its certificate, set by the shell, never taken from the message.
    pub principal: Principal,
}

/// How long what is declined is not offered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Zero: no filter.
    pub refuse: Span,
}
impl Default for Filter {
    /// Five seconds, as in Mesos.
    fn default() -> Self {
        Self { refuse: Span::seconds(5) }
    }
}

/// What a scheduler asks of the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Begins a session; a living older session of the same framework ends.
    Subscribe {
        /// Who it is.
        info: FrameworkInfo,
        /// Roles that want no offers for now.
        suppressed: BTreeSet<RoleName>,
    },
    /// Ends the framework: everything of it is killed and freed.
    Teardown,
    /// Uses offers (of one agent and role). What no operation consumes is declined with the filter.
    Accept {
        /// Which.
        offers: Vec<OfferId>,
        /// In order, each on what the ones before left.
        operations: Vec<Operation>,
        /// For the rest.
        filter: Filter,
    },
    /// Gives offers back.
    Decline {
        /// Which.
        offers: Vec<OfferId>,
        /// For how long.
        filter: Filter,
    },
    /// Clears every filter of the roles and wants offers again. Empty: all its roles.
    Revive {
        /// Which.
        roles: BTreeSet<RoleName>,
    },
    /// Wants no offers. Empty: all its roles.
    Suppress {
        /// Which.
        roles: BTreeSet<RoleName>,
    },
    /// Stops a task. An unknown one is answered as by [`Call::Reconcile`].
    Kill {
        /// Which.
        task_id: TaskId,
        /// Where, if the framework knows.
        agent_id: Option<AgentId>,
        /// Overrides the task's own grace.
        grace: Option<Span>,
    },
    /// Receipt of an update.
    Acknowledge {
        /// Of which agent.
        agent_id: AgentId,
        /// Of which task.
        task_id: TaskId,
        /// The update.
        uuid: UpdateId,
    },
    /// Asks for the truth about tasks. Empty: about all of them.
    Reconcile {
        /// Which, and where they are believed to be.
        tasks: Vec<(TaskId, Option<AgentId>)>,
    },
}

/// One thing an accept does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Starts a pod: all of its tasks or none.
    Launch(Pod),
    /// Unreserved resources become reserved; given as they will be held.
    Reserve(Resources),
    /// Reserved resources become unreserved; given as they are held.
    Unreserve(Resources),
    /// Reserved disk becomes volumes; given as they will be held.
    Create(Resources),
    /// Volumes become reserved disk, their data is deleted; given as they are held.
    Destroy(Resources),
}

/// Resources of one agent lent to one framework in one role until answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its id.
    pub id: OfferId,
    /// To whom.
    pub framework_id: FrameworkId,
    /// In which role.
    pub role: RoleName,
    /// Whose.
    pub agent_id: AgentId,
    /// The agent's name.
    pub agent_name: String,
    /// The agent's address.
    pub address: String,
    /// What.
    pub resources: Resources,
    /// The agent's attributes.
    pub attributes: BTreeMap<String, String>,
    /// The agent's region.
    pub region: String,
    /// The agent's zone.
    pub zone: String,
    /// The subnet leased to the agent (CIDR).
    pub pod_subnet: String,
}

/// An agent is wanted back: until `unavailable_from` its tasks are the framework's to move, then they are killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InverseOffer {
    /// Its id.
    pub id: OfferId,
    /// From whom.
    pub framework_id: FrameworkId,
    /// Which agent.
    pub agent_id: AgentId,
    /// When the time for it is over.
    pub unavailable_from: Timestamp,
}

/// What a scheduler is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchedulerEvent {
    /// First on every session.
    Subscribed {
        /// Its id, given now or before.
        framework_id: FrameworkId,
    },
    /// Offers, of one allocation.
    Offers(Vec<Offer>),
    /// An offer is void.
    Rescind(OfferId),
    /// Agents are to be emptied.
    InverseOffers(Vec<InverseOffer>),
    /// An agent is not to be emptied any more, or from another time on.
    RescindInverseOffer(OfferId),
    /// A task's status.
    Update(TaskStatus),
    /// An agent was lost, or an executor ended. Unordered, may be missing.
    Failure {
        /// Which agent.
        agent_id: AgentId,
        /// Which executor, if it was one.
        executor_id: Option<ExecutorId>,
    },
    /// The session ends; the reason is final.
    Error(String),
}
