//! Plans as they are written: phases in order, each over the instances of a pod or over actions.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A plan. One named `deploy` is run at the start and at every change of the target; others when they are started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanSpec {
    /// Its name.
    pub name: String,
    /// The order of its phases.
    pub strategy: Strategy,
    /// Its phases.
    pub phases: Vec<PhaseSpec>,
}

/// One phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseSpec {
    /// Unique in its plan.
    pub name: String,
    /// The order of its steps. A step that replaces a running instance always waits for others that do.
    pub strategy: Strategy,
    /// What its steps are.
    pub work: PhaseWork,
}

impl PhaseSpec {
    /// A phase of the same name as a pod: all its instances, all their tasks.
    pub fn pod(pod: &str, strategy: Strategy) -> Self {
        Self { name: pod.to_owned(), strategy, work: PhaseWork::Pod { pod: pod.to_owned(), tasks: Vec::new() } }
    }
    /// A phase of actions.
    pub fn actions(name: &str, actions: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            strategy: Strategy::Serial,
            work: PhaseWork::Actions(actions.iter().map(|action| (*action).to_owned()).collect()),
        }
    }
}

/// What the steps of a phase are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseWork {
    /// One step per instance of a pod.
    Pod {
        /// Which.
        pod: String,
        /// Which of its tasks, launched together. Empty: all. A pod's tasks may be divided among phases, each task in
        /// one of them at most.
        tasks: Vec<String>,
    },
    /// One step per action, done by `Framework::act`.
    Actions(Vec<String>),
}

/// The order of the members (phases of a plan, steps of a phase).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Each when the one before is complete.
    Serial,
    /// All at once.
    Parallel,
    /// Each when those it names are complete; one that is not a key waits for none.
    Dependency(BTreeMap<String, Vec<String>>),
}
