//! What the master persists: facts that nobody can tell it again. Records are changes; applying them is pure, so that the
//! disk, the running master and the simulator agree on what they mean.
//!
//! Tasks and offers are not here: agents come back with their tasks, and offers die with the epoch.
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use model::call::{FrameworkInfo, Unavailability};
use model::{AgentId, FrameworkId, OperationId, OperationState, Resources, RoleName, Timestamp, UpdateId};
use serde::{Deserialize, Serialize};

use crate::quota::Quota;

/// The pool itself. Written by the shell at initialization and at every start, where the epoch rises by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Prefix of every id the master gives.
    pub master_id: String,
    /// The pool's name.
    pub name: String,
    /// This mastership. Nobody obeys an older one.
    pub epoch: u64,
    /// Agents' subnets are cut from this CIDR.
    pub pod_range: String,
    /// Length of an agent's subnet's prefix.
    pub pod_prefix_length: u8,
    /// Frameworks' virtual addresses are taken from this CIDR.
    pub vip_range: String,
}

/// The range of virtual addresses if nobody says otherwise: set aside by RFC 2544, routed nowhere.
pub const VIP_RANGE: &str = "198.18.0.0/16";

/// What an operator decided about an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AgentMode {
    /// Its resources are offered.
    #[default]
    Active,
    /// Nothing of it is offered; what runs there runs on.
    Deactivated,
    /// Nothing of it is offered, and it is being emptied.
    Draining(Drain),
    /// It was emptied; nothing of it is offered until it is reactivated.
    Drained {
        /// Since when.
        since: Timestamp,
    },
}

impl AgentMode {
    /// The word users see.
    pub fn word(self) -> &'static str {
        match self {
            AgentMode::Active => "active",
            AgentMode::Deactivated => "deactivated",
            AgentMode::Draining(_) => "draining",
            AgentMode::Drained { .. } => "drained",
        }
    }
    /// The drain that goes on.
    pub fn drain(self) -> Option<Drain> {
        match self {
            AgentMode::Draining(drain) => Some(drain),
            AgentMode::Active | AgentMode::Deactivated | AgentMode::Drained { .. } => None,
        }
    }
}

/// How an agent is being emptied: by the frameworks until the deadline, then by the master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Since when.
    pub since: Timestamp,
    /// From then on the master kills what is still there.
    pub deadline: Timestamp,
    /// Whether it is declared gone once it is empty.
    pub mark_gone: bool,
}

/// An agent that was admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRecord {
    /// Its id.
    pub id: AgentId,
    /// Its host name.
    pub name: String,
    /// Its address when it last registered.
    pub address: String,
    /// The subnet leased to it; never changes. Of one that is gone: the one it had, which may be another's by now.
    pub pod_subnet: String,
    /// Declared gone; never comes back. Since when: `unreachable_since`.
    pub gone: bool,
    /// Set while it is unreachable.
    pub unreachable_since: Option<Timestamp>,
    /// Rises with every change of `holdings`; zero: the master never decided any.
    pub holdings_generation: u64,
    /// Reservations and volumes as the master last decided them.
    pub holdings: Resources,
    /// What an operator decided about it.
    pub mode: AgentMode,
    /// Operations with an id that their frameworks have not acknowledged.
    #[serde(default)]
    pub operations: Vec<OperationRecord>,
    /// When it is to be maintained, if that was announced.
    #[serde(default)]
    pub maintenance: Option<Unavailability>,
    /// Reservations and volumes that were freed while it was away: on its disk until it returns and hears so.
    pub orphans: Resources,
}

/// What is known of an operation to which its framework gave an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationRecord {
    /// Whose.
    pub framework_id: FrameworkId,
    /// The framework's name for it.
    pub id: OperationId,
    /// What the framework acknowledges.
    pub uuid: UpdateId,
    /// Pending, or an end.
    pub state: OperationState,
    /// Why, in words.
    pub message: String,
    /// The generation of the agent's titles that it made; zero: it made none.
    pub generation: u64,
}

/// A framework that subscribed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameworkRecord {
    /// Its id.
    pub id: FrameworkId,
    /// What it last said of itself (with its id and its proven principal).
    pub info: FrameworkInfo,
    /// It ended; its id is never used again.
    pub torn_down: bool,
}

/// One change. Format versions are added by the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // few, and none lives longer than its batch
pub enum Record {
    /// Adds or replaces.
    Agent(AgentRecord),
    /// Forgets an agent that was given up long ago.
    ForgetAgent(AgentId),
    /// Adds or replaces.
    Framework(FrameworkRecord),
    /// Forgets a framework that was torn down long ago.
    ForgetFramework(FrameworkId),
    /// Writes or deletes one entry of a framework's state.
    State { framework_id: FrameworkId, key: String, value: Option<Vec<u8>> },
    /// Deletes all state of a framework, secrets included.
    DropState(FrameworkId),
    /// Sets a role's weight.
    Weight { role: RoleName, weight_milli: u64 },
    /// Sets a role's quota; an empty one is none.
    Quota { role: RoleName, quota: Quota },
    /// Replaces the list of principals that may launch privileged tasks.
    Privileged(BTreeSet<String>),
    /// Leases a virtual address.
    Vip { framework_id: FrameworkId, name: String, address: Ipv4Addr },
    /// Frees all virtual addresses of a framework.
    DropVips(FrameworkId),
}

/// What a master starts with. The values of frameworks' state stay on disk: the core needs keys and sizes only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrySnapshot {
    /// The pool.
    pub pool: Pool,
    /// Every agent admitted.
    pub agents: BTreeMap<AgentId, AgentRecord>,
    /// Every framework, and those torn down that are not yet forgotten.
    pub frameworks: BTreeMap<FrameworkId, FrameworkRecord>,
    /// Sizes in bytes of the values of frameworks' state.
    pub state_sizes: BTreeMap<FrameworkId, BTreeMap<String, u64>>,
    /// Weights that differ from one.
    pub weights: BTreeMap<RoleName, u64>,
    /// Quotas that are not empty.
    pub quotas: BTreeMap<RoleName, Quota>,
    /// Principals that may launch privileged tasks, beside those in the configuration.
    pub privileged: BTreeSet<String>,
    /// Virtual addresses by framework and name.
    pub vips: BTreeMap<(FrameworkId, String), Ipv4Addr>,
}

impl RegistrySnapshot {
    /// A pool in which nothing has happened yet.
    pub fn empty(pool: Pool) -> Self {
        Self {
            pool,
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            state_sizes: BTreeMap::new(),
            weights: BTreeMap::new(),
            quotas: BTreeMap::new(),
            privileged: BTreeSet::new(),
            vips: BTreeMap::new(),
        }
    }
    /// Applies one change.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Agent(agent) => {
                self.agents.insert(agent.id.clone(), agent.clone());
            }
            Record::ForgetAgent(id) => {
                self.agents.remove(id);
            }
            Record::Framework(framework) => {
                self.frameworks.insert(framework.id.clone(), framework.clone());
            }
            Record::ForgetFramework(id) => {
                self.frameworks.remove(id);
            }
            Record::State { framework_id, key, value: Some(value) } => {
                let size = u64::try_from(value.len()).expect("a length fits 64 bits");
                self.state_sizes.entry(framework_id.clone()).or_default().insert(key.clone(), size);
            }
            Record::State { framework_id, key, value: None } => {
                if let Some(entries) = self.state_sizes.get_mut(framework_id) {
                    entries.remove(key);
                }
            }
            Record::DropState(id) => {
                self.state_sizes.remove(id);
            }
            Record::Weight { role, weight_milli } => {
                self.weights.insert(role.clone(), *weight_milli);
            }
            Record::Quota { role, quota } if quota.is_empty() => drop(self.quotas.remove(role)),
            Record::Quota { role, quota } => {
                self.quotas.insert(role.clone(), quota.clone());
            }
            Record::Privileged(principals) => self.privileged.clone_from(principals),
            Record::Vip { framework_id, name, address } => {
                self.vips.insert((framework_id.clone(), name.clone()), *address);
            }
            Record::DropVips(id) => self.vips.retain(|(holder, _), _| holder != id),
        }
    }
}
