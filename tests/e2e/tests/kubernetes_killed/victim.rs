//! What is killed, and how its processes are found.

use std::collections::BTreeSet;

use anyhow::Result;
use e2e::cluster::CONTROL_PLANE;
use e2e::{Cluster, Pool};
use nix::unistd::Pid;

/// Everything that a cluster on a pool is made of and that must not matter alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    /// Of the control plane: which component, and which one of those there are.
    Component(&'static str, usize),
    Kubelet,
    Containerd,
    KubeProxy,
    Executor,
    Agent,
    Master,
    Services,
    /// The cluster's own, which decides what is launched.
    Framework,
}

impl Victim {
    /// Every one that this cluster has.
    pub(crate) fn all(cluster: Cluster) -> Vec<Self> {
        let others = [
            Self::Kubelet,
            Self::Containerd,
            Self::KubeProxy,
            Self::Executor,
            Self::Agent,
            Self::Master,
            Self::Services,
            Self::Framework,
        ];
        let of_component = |component| (0..cluster.replicas).map(move |index| Self::Component(component, index));
        CONTROL_PLANE.into_iter().flat_map(of_component).chain(others).collect()
    }

    /// Which of `launches` comes first among those after which it may be there, each the beginning of tasks' names.
    pub(crate) fn earliest(self, launches: &[&str]) -> usize {
        let last = launches.len().saturating_sub(1);
        match self {
            Self::Component(component, _) => launches.iter().position(|launch| *launch == component).unwrap_or(last),
            Self::Kubelet | Self::Containerd | Self::KubeProxy => last,
            Self::Executor | Self::Agent | Self::Master | Self::Services | Self::Framework => 0,
        }
    }

    /// Its executor's death ends the tasks; everything else comes back as the task that it was.
    pub(crate) fn ends_tasks(self) -> bool {
        self == Self::Executor
    }

    pub(crate) fn processes(self, pool: &Pool, cluster: Cluster) -> Result<Vec<Pid>> {
        match self {
            Self::Component(component, index) => component_processes(pool, cluster, component, index),
            Self::Kubelet => pool.processes_in_tasks("kubelet", &[]),
            Self::Containerd => pool.processes_in_tasks("containerd", &["--config"]),
            Self::KubeProxy => pool.processes_in_tasks("kube-proxy", &[]),
            Self::Framework => pool.processes_in_tasks("mezzo-kubernetes", &["scheduler"]),
            Self::Executor => pool.processes(&["executor", "--dir"]),
            Self::Agent => pool.processes(&["agent", "run"]),
            Self::Master => pool.processes(&["master", "run"]),
            Self::Services => pool.processes(&["services", "run"]),
        }
    }
}

/// The program of a component in the pod of that number.
fn component_processes(pool: &Pool, cluster: Cluster, component: &str, index: usize) -> Result<Vec<Pid>> {
    let name = format!("{component}-{index}-");
    let mut in_pod = BTreeSet::new();
    for task in cluster.tasks(pool)?.iter().filter(|task| task.name.starts_with(&name)) {
        in_pod.extend(pool.processes_of(task)?);
    }
    let mut found = pool.processes_in_tasks(component, &[])?;
    found.retain(|pid| in_pod.contains(pid));
    Ok(found)
}
