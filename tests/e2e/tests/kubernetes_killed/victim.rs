//! What is killed, and how its processes are found.

use anyhow::Result;
use e2e::Pool;
use nix::unistd::Pid;

/// Everything that a cluster on a pool is made of and that must not matter alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    Kubelet,
    Containerd,
    KubeProxy,
    Executor,
    Agent,
    Master,
    Services,
    Scheduler,
}

impl Victim {
    pub(crate) const ALL: [Self; 8] = [
        Self::Kubelet,
        Self::Containerd,
        Self::KubeProxy,
        Self::Executor,
        Self::Agent,
        Self::Master,
        Self::Services,
        Self::Scheduler,
    ];

    pub(crate) fn is_on_a_node(self) -> bool {
        matches!(self, Self::Kubelet | Self::Containerd | Self::KubeProxy)
    }

    pub(crate) fn processes(self, pool: &Pool) -> Result<Vec<Pid>> {
        match self {
            Self::Kubelet => pool.processes_in_tasks("kubelet", &[]),
            Self::Containerd => pool.processes_in_tasks("containerd", &["--config"]),
            Self::KubeProxy => pool.processes_in_tasks("kube-proxy", &[]),
            Self::Scheduler => pool.processes_in_tasks("mezzo-kubernetes", &["scheduler"]),
            Self::Executor => pool.processes(&["executor", "--dir"]),
            Self::Agent => pool.processes(&["agent", "run"]),
            Self::Master => pool.processes(&["master", "run"]),
            Self::Services => pool.processes(&["services", "run"]),
        }
    }
}
