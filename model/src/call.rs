//! The framework edge: what a scheduler asks (calls) and what it is told (events).
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::constraint::OfferConstraints;
use crate::id::{AgentId, ExecutorId, FrameworkId, OfferId, OperationId, Principal, TaskId, UpdateId};
use crate::operation::OperationStatus;
use crate::resources::{Milli, Quantities, Resources};
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
    /// What it can live with; without, it is not offered such things.
    #[serde(default)]
    pub capabilities: BTreeSet<Capability>,
    /// Per role: what is unreserved is offered if it holds all of at least one of these; none at all: whatever it is. Roles
    /// that are not named go by the master's own.
    #[serde(default)]
    pub offer_filters: BTreeMap<RoleName, Vec<Quantities>>,
}

/// What a framework can live with beyond what all of them can: roles, unreachable tasks and refined reservations all can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Capability {
    /// Resources that are taken back without being asked.
    RevocableResources,
    /// Agents with gpus: others would fill them up with work that needs none.
    GpuResources,
    /// Volumes that several tasks have at once.
    SharedResources,
    /// Agents of other regions than the master's.
    RegionAware,
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
        /// Which agents it wants offers of.
        constraints: OfferConstraints,
    },
    /// Says anew what [`Call::Subscribe`] said, on the session that goes on. Offers in roles that it leaves are void.
    UpdateFramework {
        /// Who it is; id and name stay.
        info: FrameworkInfo,
        /// Roles that want no offers for now; filters of those that want some again are forgotten.
        suppressed: BTreeSet<RoleName>,
        /// Which agents it wants offers of.
        constraints: OfferConstraints,
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
    /// Receipt of an operation's state.
    AcknowledgeOperation {
        /// Of which agent, if the framework knows.
        agent_id: Option<AgentId>,
        /// Of which operation.
        operation_id: OperationId,
        /// The update.
        uuid: UpdateId,
    },
    /// Asks for the truth about operations. Empty: about all of them.
    ReconcileOperations {
        /// Which, and where they are believed to be.
        operations: Vec<(OperationId, Option<AgentId>)>,
    },
    /// Asks for the truth about tasks. Empty: about all of them.
    Reconcile {
        /// Which, and where they are believed to be.
        tasks: Vec<(TaskId, Option<AgentId>)>,
    },
    /// Says that agents will be emptied in time. For operators to see; it binds nobody.
    AcceptInverseOffers {
        /// Which.
        offers: Vec<OfferId>,
        /// For how long the framework is not asked again; after that it is, if the agents are still wanted back. `None`:
        /// the answer stands until the question changes.
        filter: Option<Filter>,
    },
    /// Says that agents will not be emptied in time. For operators to see; it binds nobody.
    DeclineInverseOffers {
        /// Which.
        offers: Vec<OfferId>,
        /// As of an accept.
        filter: Option<Filter>,
    },
}

/// One thing an accept does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // few, and none lives longer than its accept
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
    /// A volume becomes larger.
    Grow {
        /// As it is held; one.
        volume: Resources,
        /// Disk under the same reservation.
        addition: Resources,
    },
    /// A volume becomes smaller; what it loses is reserved as before.
    Shrink {
        /// As it is held; one.
        volume: Resources,
        /// By so much.
        subtract: Milli,
    },
    /// One of the others, but no launch, that the framework wants to hear of until it has acknowledged.
    Identified {
        /// Unique among the framework's operations that are not acknowledged.
        id: OperationId,
        /// What to do.
        operation: Box<Operation>,
    },
}

impl Operation {
    /// Its id, and what to do.
    pub fn split(self) -> (Option<OperationId>, Operation) {
        match self {
            Operation::Identified { id, operation } => (Some(id), *operation),
            operation @ (Operation::Launch(_)
            | Operation::Reserve(_)
            | Operation::Unreserve(_)
            | Operation::Create(_)
            | Operation::Destroy(_)
            | Operation::Grow { .. }
            | Operation::Shrink { .. }) => (None, operation),
        }
    }
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
    /// When the agent is to be maintained, if that is planned: what is launched there has to leave before.
    pub unavailability: Option<Unavailability>,
}

/// When an agent is not to be counted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unavailability {
    /// From then on.
    pub start: Timestamp,
    /// For how long; `None`: nobody knows.
    pub duration: Option<Span>,
}

/// An agent is wanted back: until its unavailability starts its tasks are the framework's to move. A drain then kills
/// what is left; maintenance waits for an operator to start it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InverseOffer {
    /// Its id.
    pub id: OfferId,
    /// From whom.
    pub framework_id: FrameworkId,
    /// Which agent.
    pub agent_id: AgentId,
    /// When the time for it is over.
    pub unavailability: Unavailability,
    /// The agent is being drained: nothing of it is offered, and what is left at the end is killed. Otherwise it is an
    /// announcement of maintenance.
    pub is_drain: bool,
}

/// Part of the answer to a reconciliation that has to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotYetKnown {
    /// The tasks; none: it was asked for all.
    pub tasks: Vec<TaskId>,
    /// So many agents have not come back since the master's start.
    pub agents_awaited: u32,
    /// After this at the latest the answer is known: they have come, or count as unreachable.
    pub ask_again: Span,
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
    Offers(Vec<Arc<Offer>>),
    /// An offer is void.
    Rescind(OfferId),
    /// Agents are to be emptied.
    InverseOffers(Vec<InverseOffer>),
    /// An agent is not to be emptied any more, or from another time on.
    RescindInverseOffer(OfferId),
    /// A task's status.
    Update(TaskStatus),
    /// What was asked of tasks cannot be answered yet: after a start of the master it knows of agents, and not of what runs
    /// there. Nothing follows from it for the tasks; those that run come up with their agents.
    NotYetKnown(NotYetKnown),
    /// What became of an operation.
    OperationUpdate(OperationStatus),
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
