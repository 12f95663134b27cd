//! What a framework wants to be: pods of tasks, how many, where, and in which order they come up. Pure data; it is
//! stored as the target and compared with what runs. What is only known at launch is added by the framework's renderer.
mod changes;
mod check;
mod plan;
mod pod;
mod task;
mod validate;

pub use changes::PodChange;
pub use check::{CheckKind, CheckSpec, PortRef};
pub use plan::{PhaseSpec, PhaseWork, PlanSpec, Strategy};
pub use pod::{DecommissionSpec, InstanceName, InvalidInstanceName, PlacementRule, PodSpec, RollSpec};
pub use task::{
    ArtifactSpec, DiscoverySpec, Goal, PortKind, PortSpec, Propagation, RestartPolicy, Root, TaskSpec, VipSpec,
    VolumeSource, VolumeSpec,
};
pub use validate::SpecError;

use model::RoleName;
use serde::{Deserialize, Serialize};

/// The name of the plan that every service has: bringing what runs to the target.
pub const DEPLOY: &str = "deploy";
/// The name of the plan that replaces what ended by itself.
pub const RECOVERY: &str = "recovery";
/// The name of the plan that takes instances away.
pub const DECOMMISSION: &str = "decommission";
/// The name of the plan that removes the service.
pub const UNINSTALL: &str = "uninstall";

/// A whole service: the target of a framework.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// The framework's name.
    pub name: String,
    /// The role in which it takes offers.
    pub role: RoleName,
    /// Its pods.
    pub pods: Vec<PodSpec>,
    /// Its plans. Without one named `deploy`, pods come up in the order of `pods`, each after the one before.
    #[serde(default)]
    pub plans: Vec<PlanSpec>,
    /// Actions (`Framework::act`) done in order before everything is killed by an uninstall.
    #[serde(default)]
    pub uninstall_before_kill: Vec<String>,
    /// Actions done in order after everything is killed by an uninstall.
    #[serde(default)]
    pub uninstall_after_kill: Vec<String>,
    /// What the framework made it of (its options), in its own words; never looked into. A target that cannot be completed
    /// is undone, and by this the framework is told what counts again. Without it a target is never undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<String>,
}

impl ServiceSpec {
    /// A service with pods and the plan that follows from their order.
    pub fn new(name: impl Into<String>, role: RoleName, pods: Vec<PodSpec>) -> Self {
        Self {
            name: name.into(),
            role,
            pods,
            plans: Vec::new(),
            uninstall_before_kill: Vec::new(),
            uninstall_after_kill: Vec::new(),
            settings: None,
        }
    }
    /// The pod of that name.
    pub fn pod(&self, name: &str) -> Option<&PodSpec> {
        self.pods.iter().find(|pod| pod.name == name)
    }
    /// The pod of that name, to change it before it is set as the target.
    pub fn pod_mut(&mut self, name: &str) -> Option<&mut PodSpec> {
        self.pods.iter_mut().find(|pod| pod.name == name)
    }
    /// Whether some of its tasks take gpus.
    pub fn wants_gpus(&self) -> bool {
        self.pods.iter().any(PodSpec::wants_gpus)
    }
    /// The deploy plan, written out or the one that follows from the order of the pods.
    pub fn deploy_plan(&self) -> PlanSpec {
        self.plans.iter().find(|plan| plan.name == DEPLOY).cloned().unwrap_or_else(|| PlanSpec {
            name: DEPLOY.to_owned(),
            strategy: Strategy::Serial,
            phases: self.pods.iter().map(|pod| PhaseSpec::pod(&pod.name, Strategy::Parallel)).collect(),
        })
    }
}
