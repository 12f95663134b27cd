//! What a framework sees of its own service: where instances are and how their tasks do. A copy; nothing can be changed
//! through it.
use std::collections::BTreeMap;

use model::{AgentId, ExecutorId, TaskId, TaskState, Timestamp};
use serde::{Deserialize, Serialize};

use crate::spec::InstanceName;

/// Where an instance is (or was last) placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The agent.
    pub agent_id: AgentId,
    /// Its name.
    pub agent_name: String,
    /// IPv4 address of its tasks.
    pub address: String,
    /// The subnet leased to the agent (CIDR).
    pub pod_subnet: String,
    /// Its region.
    pub region: String,
    /// Its zone.
    pub zone: String,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// Port numbers by the names in the pod; of a range the first.
    pub ports: BTreeMap<String, u16>,
}

impl Placement {
    /// The number of a port.
    pub fn port(&self, name: &str) -> Option<u16> {
        self.ports.get(name).copied()
    }
}

/// One task of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskView {
    /// Its name in the pod.
    pub name: String,
    /// The id of its latest launch.
    pub task_id: TaskId,
    /// The pod's executor.
    pub executor_id: ExecutorId,
    /// Its latest state.
    pub state: TaskState,
    /// What the agent said last.
    pub message: String,
    /// Whether its readiness check passed; without a check, whether it runs.
    pub ready: bool,
    /// What its health check says, if there is one.
    pub healthy: Option<bool>,
    /// When it was launched.
    pub launched_at: Timestamp,
    /// When it was first seen running.
    pub running_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Since when its agent is unreachable.
    #[serde(default)]
    pub unreachable_since: Option<Timestamp>,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceView {
    /// Its name.
    pub name: InstanceName,
    /// Where it is, once it was placed.
    pub placement: Option<Placement>,
    /// Its tasks as launched last, by name.
    pub tasks: BTreeMap<String, TaskView>,
    /// Whether every task of the pod is at its goal and ready.
    pub is_ready: bool,
    /// Whether it is being taken away.
    pub is_leaving: bool,
}

/// The whole service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServiceView {
    /// Every instance that was ever launched or is wanted, by name.
    pub instances: BTreeMap<InstanceName, InstanceView>,
}

impl ServiceView {
    /// Instances of a pod, ascending.
    pub fn of_pod<'a>(&'a self, pod: &'a str) -> impl Iterator<Item = &'a InstanceView> {
        self.instances.values().filter(move |instance| instance.name.pod == pod)
    }
    /// One instance.
    pub fn instance(&self, pod: &str, index: u32) -> Option<&InstanceView> {
        self.instances.get(&InstanceName::new(pod, index))
    }
    /// `address:port` of every placed instance of a pod, ascending.
    pub fn endpoints(&self, pod: &str, port: &str) -> Vec<String> {
        self.of_pod(pod)
            .filter_map(|instance| instance.placement.as_ref())
            .filter_map(|placement| Some(format!("{}:{}", placement.address, placement.port(port)?)))
            .collect()
    }
}
