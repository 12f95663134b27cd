//! What counts as allocated: tasks that may run, the executors of their pods, and ghosts.
use model::link::ToAgent;
use model::{AgentId, FrameworkId, Resources, TaskId};

use crate::agent::{Ghost, take_what_is_there};
use crate::command::Command;
use crate::framework::Framework;
use crate::ledger::Task;
use crate::master::Master;
use crate::view::Delta;

impl Master {
    /// From now on the task uses its resources, and its pod's executor does.
    pub(crate) fn charge(&mut self, framework_id: &FrameworkId, task_id: &TaskId) {
        let task = self.ledger.get_mut(framework_id, task_id).expect("the caller put it there");
        let agent = self.agents.get_mut(&task.agent_id).expect("a task's agent is known");
        let shares = &mut self.allocator.shares;
        if !task.charged {
            task.charged = true;
            agent.allocated.add(&task.head.resources);
            shares.charge(&task.role, framework_id, &task.head.resources);
        }
        let pod = agent.pods.entry((framework_id.clone(), task.executor_id.clone())).or_default();
        pod.live.insert(task_id.clone());
        pod.role.get_or_insert_with(|| task.role.clone());
        if !pod.charged {
            pod.charged = true;
            agent.allocated.add(&pod.executor_resources);
            shares.charge(&task.role, framework_id, &pod.executor_resources);
        }
        self.dirty.roles.insert(task.role.clone());
        self.dirty.agents.insert(task.agent_id.clone());
    }

    /// The task uses nothing any more; with the last of its pod, neither does the executor.
    pub(crate) fn release(&mut self, framework_id: &FrameworkId, task_id: &TaskId) {
        let task = self.ledger.get_mut(framework_id, task_id).expect("the caller has it");
        let agent = self.agents.get_mut(&task.agent_id).expect("a task's agent is known");
        let mut freed = Resources::default();
        if std::mem::take(&mut task.charged) {
            freed.add(&task.head.resources);
            take_what_is_there(&mut agent.allocated, &task.head.resources);
            self.allocator.shares.release(&task.role, framework_id, &task.head.resources);
        }
        let key = (framework_id.clone(), task.executor_id.clone());
        if let Some(pod) = agent.pods.get_mut(&key) {
            pod.live.remove(task_id);
            if pod.live.is_empty() {
                if pod.charged {
                    freed.add(&pod.executor_resources);
                    take_what_is_there(&mut agent.allocated, &pod.executor_resources);
                    self.allocator.shares.release(&task.role, framework_id, &pod.executor_resources);
                }
                agent.pods.remove(&key);
            }
        }
        let (agent_id, role) = (task.agent_id.clone(), task.role.clone());
        self.dirty.roles.insert(role);
        self.dirty.agents.insert(agent_id.clone());
        if !freed.is_empty() {
            self.mark(&agent_id);
        }
    }

    /// Nothing of this agent counts any more: it is away, or about to say anew what it runs.
    pub(crate) fn release_agent(&mut self, agent_id: &AgentId) {
        let agent = self.agents.get_mut(agent_id).expect("the caller has it");
        let shares = &mut self.allocator.shares;
        for (framework_id, task_id) in &agent.tasks {
            let task = self.ledger.get_mut(framework_id, task_id).expect("an agent's tasks are in the ledger");
            if std::mem::take(&mut task.charged) {
                shares.release(&task.role, framework_id, &task.head.resources);
                self.dirty.roles.insert(task.role.clone());
            }
        }
        for ((framework_id, _), pod) in &mut agent.pods {
            if std::mem::take(&mut pod.charged)
                && let Some(role) = &pod.role
            {
                shares.release(role, framework_id, &pod.executor_resources);
            }
        }
        agent.allocated = Resources::default();
        shares.change_pool(&agent.total, &Resources::default());
        agent.total = Resources::default();
        self.dirty.agents.insert(agent_id.clone());
    }

    /// Takes a task out of the ledger, with its last view.
    pub(crate) fn remove_task(&mut self, framework_id: &FrameworkId, task_id: &TaskId) -> Option<Task> {
        self.ledger.get(framework_id, task_id)?;
        self.release(framework_id, task_id);
        let task = self.ledger.remove(framework_id, task_id).expect("seen above");
        if let Some(agent) = self.agents.get_mut(&task.agent_id) {
            agent.tasks.remove(&(framework_id.clone(), task_id.clone()));
        }
        self.dirty.tasks.remove(&(framework_id.clone(), task_id.clone()));
        self.dirty.frameworks.insert(framework_id.clone());
        self.last_words(&task);
        Some(task)
    }

    fn last_words(&mut self, task: &Task) {
        let (framework_id, task_id) = (task.framework_id.clone(), task.head.task_id.clone());
        self.outbox.push(Command::Changed(Delta::Task(Box::new(task.view()))));
        self.outbox.push(Command::Changed(Delta::TaskRemoved { framework_id, task_id }));
    }

    /// An unwanted task uses resources until its agent says that it has ended.
    pub(crate) fn haunt(&mut self, agent_id: &AgentId, key: (FrameworkId, TaskId), ghost: Ghost) {
        let agent = self.agents.get_mut(agent_id).expect("the caller has it");
        agent.allocated.add(&ghost.resources);
        agent.ghosts.insert(key, ghost);
        self.dirty.agents.insert(agent_id.clone());
    }

    /// It has ended, or went away with its agent.
    pub(crate) fn lay_ghost(&mut self, agent_id: &AgentId, key: &(FrameworkId, TaskId), now_ended: bool) {
        let agent = self.agents.get_mut(agent_id).expect("the caller has it");
        let Some(ghost) = agent.ghosts.remove(key) else { return };
        if now_ended {
            take_what_is_there(&mut agent.allocated, &ghost.resources);
            self.dirty.agents.insert(agent_id.clone());
            self.mark(agent_id);
        }
        if let Some(mut task) = ghost.task {
            let (state, reason) = (model::TaskState::Killed, model::Reason::FrameworkRemoved);
            let status = task.made(state, reason, "its framework was torn down", self.now);
            task.advance(&status, self.now);
            self.last_words(&task);
        }
        if now_ended {
            self.free_orphaned_holdings(agent_id);
            let is_last = !self.agents[agent_id].ghosts.keys().any(|(framework_id, _)| *framework_id == key.0);
            if is_last && !self.frameworks.get(&key.0).is_some_and(Framework::is_alive) {
                self.tell_agent(agent_id, ToAgent::ShutdownFramework { framework_id: key.0.clone() });
            }
        }
    }
}
