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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use master_core::registry::AgentMode;
    use master_core::view::FrameworkStateView;
    use master_core::{Delta, Pool};
    use model::task::{Discovery, DiscoveryPort};
    use model::{
        AgentId, ExecutorId, FrameworkId, Principal, Resources, RoleName, Source, Span, TaskHead, TaskId, TaskState,
        TaskStatus,
    };

    use super::*;

    fn framework_id() -> FrameworkId {
        FrameworkId::new("m-1").expect("valid")
    }
    fn agent(number: u8, state: AgentStateView, silent: Option<Timestamp>) -> Delta {
        Delta::Agent(Box::new(AgentView {
            id: AgentId::new(format!("m-S{number}")).expect("valid"),
            name: format!("a{number}"),
            address: format!("10.0.0.{number}"),
            port: 5051,
            state,
            silent,
            mode: AgentMode::Active,
            maintenance: None,
            answers: BTreeMap::new(),
            operations: 0,
            total: Resources::default(),
            allocated: Resources::default(),
            offered: Resources::default(),
            free: Resources::default(),
            pod_subnet: String::new(),
            region: String::new(),
            zone: String::new(),
            attributes: BTreeMap::new(),
            software: String::new(),
            registered: Timestamp(1),
            tasks: 1,
            holdings: Resources::default(),
            orphans: Resources::default(),
        }))
    }
    fn framework() -> Delta {
        Delta::Framework(Box::new(FrameworkView {
            id: framework_id(),
            name: "demo".to_owned(),
            principal: Principal::new("framework/demo"),
            roles: Default::default(),
            suppressed: Default::default(),
            state: FrameworkStateView::Connected,
            tasks: 1,
            offers: 0,
            api_url: None,
            failover_timeout: Span::seconds(60),
        }))
    }
    fn task(agent: u8, state: TaskState, ready: Option<bool>, kill_asked: bool) -> Delta {
        let (task_id, agent_id) =
            (TaskId::new(format!("api-{agent}")).expect("valid"), AgentId::new(format!("m-S{agent}")).expect("valid"));
        let port = DiscoveryPort {
            number: 20_000 + u16::from(agent),
            name: "https".to_owned(),
            external: true,
            vip: Some("api:443".parse().expect("a VIP")),
        };
        Delta::Task(Box::new(TaskView {
            framework_id: framework_id(),
            role: RoleName::new("demo").expect("valid"),
            agent_id: agent_id.clone(),
            executor_id: ExecutorId::new("e").expect("valid"),
            head: Arc::new(TaskHead {
                task_id: task_id.clone(),
                name: "api".to_owned(),
                agent_id,
                resources: Resources::default(),
                discovery: Some(Discovery { name: "api".to_owned(), ports: vec![port], checked: true }),
                kill_grace: None,
                secrets: Vec::new(),
                privileged: false,
                cleans_up: false,
                limits: Default::default(),
            }),
            status: TaskStatus {
                task_id,
                state,
                reason: None,
                source: Source::Executor,
                message: "GET /readyz: 500".to_owned(),
                agent_id: None,
                executor_id: None,
                uuid: None,
                healthy: None,
                ready,
                timestamp: Timestamp(1),
            },
            launched: Timestamp(1),
            running: None,
            ended: None,
            kill_asked,
        }))
    }

    #[test]
    fn whoever_is_out_is_out_for_a_reason_in_words() {
        use AgentStateView::{Connected, Disconnected, Recovered, Unreachable};
        let ready = |agent| task(agent, TaskState::Running, Some(true), false);
        let since = Timestamp(60_000);
        for (place, what, expected) in [
            (agent(1, Connected, None), ready(1), None),
            (agent(1, Disconnected { since }, None), ready(1), None),
            (agent(1, Disconnected { since }, Some(since)), ready(1), Some("agent a1 is disconnected for 40 s")),
            (agent(1, Connected, Some(since)), ready(1), Some("agent a1 has not answered for 40 s")),
            (agent(1, Unreachable { since }, None), ready(1), Some("agent a1 is unreachable for 40 s")),
            (agent(1, Recovered, None), ready(1), Some("agent a1 has not come back since the master was started")),
            (agent(2, Connected, None), ready(1), Some("its agent is not known")),
            (
                agent(1, Connected, None),
                task(1, TaskState::Running, Some(false), false),
                Some("not ready: GET /readyz: 500"),
            ),
            (
                agent(1, Connected, None),
                task(1, TaskState::Running, None, false),
                Some("not ready: its check has not passed yet"),
            ),
            (
                agent(1, Connected, None),
                task(1, TaskState::Starting, None, false),
                Some("not running but starting: GET /readyz: 500"),
            ),
            (agent(1, Connected, None), task(1, TaskState::Running, Some(true), true), Some("it is being stopped")),
        ] {
            let mut view = View::default();
            let lease =
                Delta::Vip { framework_id: framework_id(), name: "api".to_owned(), address: [198, 18, 0, 1].into() };
            [framework(), place, what, lease].into_iter().for_each(|delta| view.apply(delta));
            let found = all(&view);
            let behind = &found[0].ports[&443][0];
            assert_eq!(behind.out(Timestamp(100_000)).as_deref(), expected);
        }
    }

    #[test]
    fn a_table_has_what_can_be_reached_and_its_tag_says_whether_it_is_another() {
        let pool = Pool {
            master_id: "m".to_owned(),
            name: "test".to_owned(),
            epoch: 1,
            pod_range: "10.100.0.0/14".to_owned(),
            pod_prefix_length: 24,
            vip_range: "198.18.0.0/16".to_owned(),
        };
        let mut view = View::default();
        let table = |view: &View, now| crate::table::table(view, &pool, Timestamp(0), Timestamp(now));
        view.apply(framework());
        assert!(table(&view, 1).vips.is_empty());
        let lease =
            Delta::Vip { framework_id: framework_id(), name: "api".to_owned(), address: [198, 18, 0, 1].into() };
        view.apply(lease);
        assert!(table(&view, 1).vips[0].ports.is_empty(), "leased before anything is behind it");
        for number in [1, 2, 3] {
            view.apply(agent(number, AgentStateView::Connected, None));
            view.apply(task(number, TaskState::Running, Some(number != 2), false));
        }
        view.apply(agent(4, AgentStateView::Recovered, None));
        let first = table(&view, 1);
        let agents: Vec<_> = first.vips[0].ports[&443].iter().map(|b| (b.agent.as_str(), b.port)).collect();
        assert_eq!(agents, [("a1", 20_001), ("a3", 20_003)]);
        assert!(first.routable.contains("10.100.0.0/14") && first.routable.contains("10.0.0.4/32"));
        assert_eq!(first.unheard.iter().map(|agent| agent.agent.as_str()).collect::<Vec<_>>(), ["a4"]);
        assert_eq!(table(&view, 2).tag, first.tag);
        view.apply(agent(3, AgentStateView::Connected, Some(Timestamp(5))));
        let second = table(&view, 60_000);
        assert_ne!(second.tag, first.tag);
        assert_eq!(second.vips[0].ports[&443].len(), 1);
        assert!(second.unheard.is_empty());
        view.apply(Delta::FrameworkRemoved(framework_id()));
        assert!(table(&view, 60_000).vips.is_empty());
    }
}
