//! What is behind every virtual address, and why not, as the view knows it.
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use master_core::view::{AgentStateView, AgentView, FrameworkView, TaskView};
use model::Timestamp;

use crate::view::View;

/// A virtual address.
pub(crate) struct Vip<'a> {
    pub(crate) framework: &'a FrameworkView,
    pub(crate) name: &'a str,
    pub(crate) address: Ipv4Addr,
    /// Tasks that have not ended, by the port of the virtual address.
    pub(crate) ports: BTreeMap<u16, Vec<Behind<'a>>>,
}

/// A task that names the address.
pub(crate) struct Behind<'a> {
    pub(crate) task: &'a TaskView,
    pub(crate) agent: Option<&'a AgentView>,
    /// The port of the task.
    pub(crate) port: u16,
}

impl Behind<'_> {
    /// Where it is reached.
    pub(crate) fn address(&self) -> Option<Ipv4Addr> {
        self.agent?.address.parse().ok()
    }
    /// Why no connection is sent there, in words; `None`: they are.
    pub(crate) fn out(&self, now: Timestamp) -> Option<String> {
        let Some(agent) = self.agent else { return Some("its agent is not known".to_owned()) };
        let name = &agent.name;
        let ago = |since: Timestamp| format!("for {} s", now.since(since).0 / 1000);
        match (agent.state, agent.silent) {
            (AgentStateView::Connected | AgentStateView::Disconnected { .. }, None) => {}
            (AgentStateView::Connected, Some(since)) => {
                return Some(format!("agent {name} has not answered {}", ago(since)));
            }
            (AgentStateView::Disconnected { since }, Some(_)) => {
                return Some(format!("agent {name} is disconnected {}", ago(since)));
            }
            (AgentStateView::Unreachable { since }, _) => {
                return Some(format!("agent {name} is unreachable {}", ago(since)));
            }
            (AgentStateView::Recovered, _) => {
                return Some(format!("agent {name} has not come back since the master was started"));
            }
            (AgentStateView::Gone, _) => return Some(format!("agent {name} was declared gone")),
        }
        if self.task.kill_asked {
            return Some("it is being stopped".to_owned());
        }
        self.task.head.discovery.as_ref().and_then(|discovery| discovery.held_back(&self.task.status))
    }
}

/// Every virtual address that is leased, by framework and name.
pub(crate) fn all(view: &View) -> Vec<Vip<'_>> {
    let mut found = Vec::new();
    for ((framework_id, name), address) in &view.vips {
        let Some(framework) = view.frameworks.get(framework_id) else { continue };
        let mut ports: BTreeMap<u16, Vec<Behind<'_>>> = BTreeMap::new();
        for task_id in view.behind_vips.get(framework_id).into_iter().flatten() {
            let Some(task) = view.tasks.get(&(framework_id.clone(), task_id.clone())) else { continue };
            if task.status.state.is_terminal() {
                continue;
            }
            let vips = task.head.discovery.iter().flat_map(|discovery| discovery.vips());
            for (vip, port) in vips.filter(|(vip, _)| vip.name == *name) {
                let agent = view.agents.get(&task.agent_id);
                ports.entry(vip.port).or_default().push(Behind { task, agent, port });
            }
        }
        found.push(Vip { framework, name, address: *address, ports });
    }
    found
}
