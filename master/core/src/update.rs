//! News of tasks from agents to frameworks, receipts back, and kills. Agents keep the order of one task's updates and
//! repeat the head until it is acknowledged; the master adds no queue of its own.
use model::call::SchedulerEvent;
use model::link::ToAgent;
use model::{AgentId, FrameworkId, Reason, Span, TaskId, TaskState, TaskStatus, UpdateId};

use crate::decision::{Decision, Rejected};
use crate::framework::Framework;
use crate::master::Master;
use crate::mutation::{Mutation, mutated};

impl Master {
    pub(crate) fn update(&mut self, agent_id: &AgentId, id: &FrameworkId, mut status: TaskStatus, latest: TaskState) {
        let task_id = status.task_id.clone();
        let ended = latest.is_terminal() || status.state.is_terminal();
        let now = self.now;
        let by_force = self.is_emptied_by_force(agent_id);
        let session = self.frameworks.get(id).and_then(Framework::session);
        let Some(task) = self.ledger.get_mut(id, &task_id).filter(|task| task.agent_id == *agent_id) else {
            self.update_of_unwanted(agent_id, id, &status, ended);
            return;
        };
        status.agent_id = Some(agent_id.clone());
        if by_force && matches!(status.state, TaskState::Killing | TaskState::Killed) {
            status.reason = status.reason.or(Some(Reason::AgentDraining));
        }
        if status.uuid.is_some() && task.acknowledged == status.uuid {
            // The framework's receipt did not reach the agent.
            self.acknowledge_to_agent(agent_id, id, &task_id, status.uuid);
            return;
        }
        let from = task.advance(&status, now);
        if ended {
            task.ended.get_or_insert(now);
        }
        let repeated = task.pending.as_ref().is_some_and(|head| head.uuid == status.uuid);
        if status.uuid.is_some() {
            task.pending = Some(status.clone());
            task.told = session;
        }
        if !repeated {
            self.dirty.tasks.insert((id.clone(), task_id.clone()));
        }
        if let Some(from) = from
            && from != status.state
        {
            self.decided(Decision::TaskBecame {
                framework_id: id.clone(),
                task_id: task_id.clone(),
                agent_id: agent_id.clone(),
                from: Some(from),
                to: status.state,
            });
        }
        if ended {
            self.release(id, &task_id);
        }
        self.tell_framework(id, SchedulerEvent::Update(status));
    }

    /// News of a task that is not in the ledger, or is there on another agent. Nobody else will acknowledge it.
    fn update_of_unwanted(&mut self, agent_id: &AgentId, id: &FrameworkId, status: &TaskStatus, ended: bool) {
        let key = (id.clone(), status.task_id.clone());
        self.acknowledge_to_agent(agent_id, id, &status.task_id, status.uuid);
        if ended {
            self.lay_ghost(agent_id, &key, true);
            return;
        }
        if !self.agents[agent_id].ghosts.contains_key(&key) {
            self.decided(Decision::UnwantedTask {
                framework_id: id.clone(),
                task_id: key.1.clone(),
                agent_id: agent_id.clone(),
            });
        }
        if !mutated(Mutation::SparesGhosts) {
            self.tell_agent(agent_id, ToAgent::Kill { framework_id: key.0, task_id: key.1, grace: None });
        }
    }

    fn acknowledge_to_agent(&mut self, agent_id: &AgentId, id: &FrameworkId, task_id: &TaskId, uuid: Option<UpdateId>) {
        if let Some(uuid) = uuid {
            let (framework_id, task_id) = (id.clone(), task_id.clone());
            self.tell_agent(agent_id, ToAgent::Acknowledge { framework_id, task_id, uuid });
        }
    }

    /// The framework has an update. If the agent is away it repeats the update when it is back, and is answered then.
    pub(crate) fn acknowledge(
        &mut self,
        id: &FrameworkId,
        agent_id: &AgentId,
        task_id: &TaskId,
        uuid: UpdateId,
    ) -> Result<(), Rejected> {
        let Some(task) = self.ledger.get_mut(id, task_id) else { return Ok(()) };
        if task.agent_id != *agent_id {
            return Err(Rejected::WrongTaskAgent { task_id: task_id.clone() });
        }
        let Some(head) = task.pending.take_if(|head| head.uuid == Some(uuid)) else { return Ok(()) };
        task.acknowledged = Some(uuid).filter(|_| !mutated(Mutation::ForgetsReceipts));
        self.acknowledge_to_agent(agent_id, id, task_id, Some(uuid));
        if head.state.is_terminal() {
            self.remove_task(id, task_id);
        }
        Ok(())
    }

    pub(crate) fn kill(&mut self, id: &FrameworkId, task_id: &TaskId, agent_id: Option<&AgentId>, grace: Option<Span>) {
        let Some(task) = self.ledger.get_mut(id, task_id).filter(|task| !task.state().is_terminal()) else {
            let awaited = self.agents_awaited();
            match self.truth_while(id, task_id, agent_id, awaited) {
                Some(status) => self.tell_framework(id, SchedulerEvent::Update(status)),
                None => self.not_yet(id, vec![task_id.clone()], awaited),
            }
            return;
        };
        // A later kill can only be harsher.
        let grace = match (task.kill.flatten(), grace) {
            (Some(before), Some(now)) => Some(before.min(now)),
            (before, now) => now.or(before),
        };
        task.kill = Some(grace);
        let agent_id = task.agent_id.clone();
        self.dirty.tasks.insert((id.clone(), task_id.clone()));
        self.tell_agent(&agent_id, ToAgent::Kill { framework_id: id.clone(), task_id: task_id.clone(), grace });
    }

    /// The master's own word on a task: told at once, acknowledged by nobody. A terminal one ends the task.
    pub(crate) fn declare(
        &mut self,
        id: &FrameworkId,
        task_id: &TaskId,
        state: TaskState,
        reason: Reason,
        words: &str,
    ) {
        let now = self.now;
        let Some(task) = self.ledger.get_mut(id, task_id) else { return };
        let status = task.made(state, reason, words, now);
        let Some(from) = task.advance(&status, now) else {
            // It has ended, and its agent may have had no time to say so: only the newest state came with another update.
            if task.state().is_terminal() {
                let end = task.status.clone();
                self.tell_framework(id, SchedulerEvent::Update(end));
            }
            return;
        };
        let agent_id = task.agent_id.clone();
        self.dirty.tasks.insert((id.clone(), task_id.clone()));
        self.decided(Decision::TaskBecame {
            framework_id: id.clone(),
            task_id: task_id.clone(),
            agent_id,
            from: Some(from),
            to: state,
        });
        if state.is_terminal() {
            self.remove_task(id, task_id);
        }
        self.tell_framework(id, SchedulerEvent::Update(status));
    }
}
