//! The truth about tasks, as far as the master may say it. What it cannot know yet it does not answer: a task that is
//! merely not heard of after a failover must not look gone.
use model::call::SchedulerEvent;
use model::{AgentId, FrameworkId, Reason, Source, TaskId, TaskState, TaskStatus};

use crate::agent::AgentState;
use crate::decision::Rejected;
use crate::limits;
use crate::master::Master;
use crate::mutation::{Mutation, mutated};

impl Master {
    pub(crate) fn reconcile(&mut self, id: &FrameworkId, tasks: &[(TaskId, Option<AgentId>)]) -> Result<(), Rejected> {
        let (count, limit) = (tasks.len(), limits::RECONCILE_TASKS_MAX);
        if count > limit {
            return Err(Rejected::TooMany { what: "tasks", count, limit });
        }
        let answers: Vec<TaskStatus> = if tasks.is_empty() {
            let ids: Vec<TaskId> = self.ledger.of_framework(id).map(|task| task.head.task_id.clone()).collect();
            ids.iter().filter_map(|task_id| self.known_status(id, task_id)).collect()
        } else {
            tasks.iter().filter_map(|(task_id, agent_id)| self.truth(id, task_id, agent_id.as_ref())).collect()
        };
        for status in answers {
            self.tell_framework(id, SchedulerEvent::Update(status));
        }
        Ok(())
    }

    /// The answer about one task; `None` while it cannot be known.
    pub(crate) fn truth(&self, id: &FrameworkId, task_id: &TaskId, agent_id: Option<&AgentId>) -> Option<TaskStatus> {
        if let Some(status) = self.known_status(id, task_id) {
            return Some(status);
        }
        let state = match agent_id {
            Some(agent_id) => match self.agents.get(agent_id).map(|agent| agent.state) {
                Some(AgentState::Recovered) if mutated(Mutation::AnswersTooEarly) => TaskState::Gone,
                Some(AgentState::Recovered) => return None,
                Some(AgentState::Connected { .. } | AgentState::Disconnected { .. }) => TaskState::Gone,
                Some(AgentState::Unreachable { .. }) => TaskState::Unreachable,
                Some(AgentState::Gone) => TaskState::GoneByOperator,
                None => TaskState::Unknown,
            },
            None if self.agents.values().any(|agent| agent.state == AgentState::Recovered) => return None,
            None => TaskState::Unknown,
        };
        Some(self.answer(task_id, state, agent_id))
    }

    /// The state of a task that is in the ledger, or was there a while ago.
    pub(crate) fn known_status(&self, id: &FrameworkId, task_id: &TaskId) -> Option<TaskStatus> {
        if let Some(task) = self.ledger.get(id, task_id) {
            let (healthy, ready) = (task.status.healthy, task.status.ready);
            let mut status = self.answer(task_id, task.state(), Some(&task.agent_id));
            status.executor_id = Some(task.executor_id.clone());
            return Some(TaskStatus { healthy, ready, ..status });
        }
        let remembered = self.ledger.remembered(id, task_id)?;
        Some(self.answer(task_id, remembered.state, Some(&remembered.agent_id)))
    }

    fn answer(&self, task_id: &TaskId, state: TaskState, agent_id: Option<&AgentId>) -> TaskStatus {
        TaskStatus {
            task_id: task_id.clone(),
            state,
            reason: Some(Reason::Reconciliation),
            source: Source::Master,
            message: String::new(),
            agent_id: agent_id.cloned(),
            executor_id: None,
            uuid: None,
            healthy: None,
            ready: None,
            timestamp: self.now,
        }
    }
}
