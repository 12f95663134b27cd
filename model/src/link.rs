//! The agent link: what agents tell the master and are told.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{AgentId, ExecutorId, FrameworkId, Principal, TaskId, UpdateId};
use crate::refusal::Refusal;
use crate::resources::{Quantities, Resources};
use crate::role::RoleName;
use crate::task::{Pod, TaskHead, TaskState, TaskStatus};
use crate::time::{Span, Timestamp};

/// Code of the refusal that says: an operator gave this agent up. It ends what it runs.
pub const GIVEN_UP: &str = "MST0027";

/// First words of an agent on every stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRegistration {
    /// Absent on its first registration ever.
    pub agent_id: Option<AgentId>,
    /// Host name, unique in the pool.
    pub name: String,
    /// IPv4 address of tasks on its network.
    pub address: String,
    /// Where it serves operators.
    pub port: u16,
    /// Everything it has, with holdings as checkpointed.
    pub total: Resources,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// Its region.
    pub region: String,
    /// Its zone.
    pub zone: String,
    /// Changes with every boot of the host.
    pub boot_id: String,
    /// Its version of mezzo.
    pub software: String,
    /// Newest master epoch it has obeyed.
    pub epoch_seen: u64,
    /// Every task that is not both terminal and acknowledged.
    pub tasks: Vec<AgentTask>,
}

/// A task as its agent knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentTask {
    /// Whose.
    pub framework: FrameworkRef,
    /// Its pod's executor.
    pub executor_id: ExecutorId,
    /// What the executor itself takes, besides its tasks.
    pub executor_resources: Resources,
    /// When the agent took the launch; zero: it does not say.
    pub launched: Timestamp,
    /// What the master keeps of a task. The payload, which may have megabytes, is not said again: nobody but the agent has a
    /// use for it.
    pub head: TaskHead,
    /// Latest state, acknowledged or not.
    pub latest: TaskStatus,
}

/// What an agent must know of a framework.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameworkRef {
    /// Its id.
    pub id: FrameworkId,
    /// Its name.
    pub name: String,
    /// The role in which this pod was launched.
    pub role: RoleName,
    /// Its principal.
    pub principal: Principal,
}

/// Another agent, for routes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Peer {
    /// Which.
    pub agent_id: AgentId,
    /// IPv4 address.
    pub address: String,
    /// CIDR leased to it.
    pub pod_subnet: String,
}

/// From an agent to the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromAgent {
    /// Here I am.
    Register(Box<AgentRegistration>),
    /// Head of a task's update stream.
    Update {
        /// Whose task.
        framework_id: FrameworkId,
        /// The update.
        status: TaskStatus,
        /// The latest state, which may be ahead of `status`: lets the master free resources early.
        latest_state: TaskState,
    },
    /// Answer to a ping.
    Pong {
        /// The ping's number.
        number: u64,
    },
    /// Holdings are checkpointed.
    Applied {
        /// Which generation.
        generation: u64,
    },
    /// From now on so much is given away that can be taken back; replaces what was said before.
    Revocable(Quantities),
}

/// From the master to an agent. The shell adds the epoch to every message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToAgent {
    /// Welcome (back).
    Registered {
        /// Its id.
        agent_id: AgentId,
        /// The subnet leased to it.
        pod_subnet: String,
        /// All leases are cut from this.
        pod_range: String,
        /// Without a ping for this long, connect anew.
        ping_timeout: Span,
    },
    /// Not welcome; the stream ends.
    Refused(Refusal),
    /// Start a pod.
    Launch {
        /// For whom.
        framework: FrameworkRef,
        /// What.
        pod: Pod,
        /// Whether privileges it asks for are granted.
        privileged_allowed: bool,
    },
    /// Stop a task.
    Kill {
        /// Whose.
        framework_id: FrameworkId,
        /// Which.
        task_id: TaskId,
        /// Overrides the task's own grace.
        grace: Option<Span>,
    },
    /// The framework has the update.
    Acknowledge {
        /// Whose.
        framework_id: FrameworkId,
        /// Which task.
        task_id: TaskId,
        /// Which update.
        uuid: UpdateId,
    },
    /// All reservations and volumes from now on.
    SetHoldings {
        /// Rises with every change.
        generation: u64,
        /// All of them.
        holdings: Resources,
    },
    /// All other agents.
    Peers(Vec<Peer>),
    /// Are you there?
    Ping {
        /// To be returned.
        number: u64,
    },
    /// Kill everything of a framework and forget it.
    ShutdownFramework {
        /// Which.
        framework_id: FrameworkId,
    },
}
