//! A cluster on a pool, as tests install it and look at it: which tasks it must have, and whether all of it is there and well.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::kubectl::{Kubectl, items, name};
use crate::pool::{Pool, list};
use crate::program::Program;
use crate::tasks::Task;
use crate::wait::until;

/// The components of the control plane, in the order of their launch: so are their pods called, and so the programs in them.
pub const CONTROL_PLANE: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// What pods of nodes are called.
pub const NODE: &str = "node";

/// An installation on a busy machine; an uninstallation, too.
pub const INSTALLED_WITHIN: Duration = Duration::from_secs(420);

/// How long the API may be silent, whatever one thing is lost, when there are three of everything.
pub const SILENCE: Duration = Duration::from_secs(10);

/// The node itself, its kube-proxy, its DNS.
const TASKS_OF_A_NODE: usize = 3;

/// A cluster by its name and the form of its control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cluster {
    /// Its name.
    pub name: &'static str,
    /// Of every component of the control plane, each on an agent of its own.
    pub replicas: usize,
}

impl Cluster {
    /// One of everything.
    pub const fn plain(name: &'static str) -> Self {
        Self { name, replicas: 1 }
    }

    /// Three of everything.
    pub const fn highly_available(name: &'static str) -> Self {
        Self { name, replicas: 3 }
    }

    /// Whether anything may be lost without being missed.
    pub fn is_highly_available(self) -> bool {
        self.replicas > 1
    }

    /// The command that installs it.
    pub fn installation(self, pool: &Pool, nodes: usize) -> Program {
        let nodes = format!("node_count={nodes}");
        let availability = format!("high_availability={}", self.is_highly_available());
        pool.mezzo(&["catalog", "install", "kubernetes", "--name", self.name, "--set", &nodes, "--set", &availability])
            .within(INSTALLED_WITHIN)
    }

    /// Takes it off the pool; nothing is held afterwards.
    ///
    /// # Errors
    /// If something is.
    pub fn uninstall(self, pool: &Pool) -> Result<()> {
        pool.mezzo(&["catalog", "uninstall", self.name, "--yes"]).within(INSTALLED_WITHIN).run()?;
        pool.expect_nothing_held(self.name)
    }

    /// Its tasks. Those of a host that is away are in the list until it is known what became of them; they do not count.
    ///
    /// # Errors
    /// If the master does not answer.
    pub fn tasks(self, pool: &Pool) -> Result<Vec<Task>> {
        let mut tasks = pool.tasks(self.name, false)?;
        tasks.retain(|task| task.state != "unreachable");
        Ok(tasks)
    }

    /// As many of every component of the control plane as there must be, each on an agent of its own.
    ///
    /// # Errors
    /// If it is not so.
    pub fn expect_apart(self, tasks: &[Task]) -> Result<()> {
        for component in CONTROL_PLANE {
            let prefix = format!("{component}-");
            let of_it: Vec<_> = tasks.iter().filter(|task| task.name.starts_with(&prefix)).collect();
            let agents: BTreeSet<&str> = of_it.iter().map(|task| task.agent.as_str()).collect();
            ensure!(
                of_it.len() == self.replicas && agents.len() == self.replicas,
                "of {component} there are {of_it:?}"
            );
        }
        Ok(())
    }

    /// Waits until every plan is complete, every task runs once, every component has its replicas, and every node is Ready and
    /// in the network of its agent.
    ///
    /// # Errors
    /// With what was seen at last.
    pub fn expect_whole(self, pool: &Pool, kubectl: &Kubectl, nodes: usize, within: Duration) -> Result<()> {
        let mut seen = String::new();
        until(&format!("a whole cluster of {nodes} nodes"), within, || {
            pool.assert_every_launch_is_on_one_agent()?;
            let is_complete = pool.is_every_plan_complete(self.name)?;
            let tasks = self.tasks(pool)?;
            let names: BTreeSet<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
            let of_nodes = names.iter().filter(|name| is_of_node(name)).count();
            let apart = self.expect_apart(&tasks);
            let ready = kubectl.ready_nodes()?;
            let strays = with_the_network_of_another_agent(pool, kubectl, &tasks)?;
            seen = format!(
                "plans complete: {is_complete}, Ready are {ready:?}, with another agent's network {strays:?}, \
                 tasks are {tasks:?}"
            );
            Ok(is_complete
                && tasks.iter().all(|task| task.state == "running")
                && names.len() == tasks.len()
                && of_nodes == nodes * TASKS_OF_A_NODE
                && apart.is_ok()
                && strays.is_empty()
                && ready.len() == nodes)
        })
        .with_context(|| format!("at last {seen}"))
    }
}

/// Whether a task or a pod with this name is of a node.
pub fn is_of_node(name: &str) -> bool {
    name.strip_prefix(NODE).is_some_and(|rest| rest.starts_with('-'))
}

/// `7-node-1.4` and `node-1.4` are a launch of `node-1`.
pub fn node_of(pod_id: &str) -> Option<&str> {
    let (name, _) = without_number(pod_id).rsplit_once('.')?;
    is_of_node(name).then_some(name)
}

/// Agents call a pod after its own name, with a number before.
pub fn without_number(pod_id: &str) -> &str {
    let number = pod_id.split_once('-').filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()));
    number.map_or(pod_id, |(_, name)| name)
}

/// Nodes whose pod network is not the one of the agent that they are on.
fn with_the_network_of_another_agent(pool: &Pool, kubectl: &Kubectl, tasks: &[Task]) -> Result<Vec<String>> {
    let agents = pool.json(&["agent", "list"])?;
    let subnets: BTreeMap<&str, &Value> = list(&agents, "agents")
        .iter()
        .filter_map(|agent| Some((agent["name"].as_str()?, &agent["podSubnet"])))
        .collect();
    let nodes = kubectl.get(&["nodes"])?;
    let is_stray = |node: &&Value| {
        let task = tasks.iter().find(|task| task.name == format!("{}-node", name(node)));
        task.is_none_or(|task| subnets.get(task.agent.as_str()) != Some(&&node["spec"]["podCIDR"]))
    };
    Ok(items(&nodes).iter().filter(is_stray).map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_tells_its_node() {
        let nodes = ["7-node-1.4", "node-1.4", "7-etcd-0.4", "nodes-1.4", "node-1"].map(node_of);
        assert_eq!(nodes, [Some("node-1"), Some("node-1"), None, None, None]);
        assert_eq!(["12-etcd-0.3", "etcd-0.3"].map(without_number), ["etcd-0.3"; 2]);
    }
}
