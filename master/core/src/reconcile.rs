//! The truth about tasks, as far as the master may say it. What it cannot know yet it answers as such: a task that is
//! merely not heard of after a failover must not look gone. How the answers are told: `answers`.
use model::{AgentId, FrameworkId, Reason, Source, TaskId, TaskState, TaskStatus};

use crate::agent::AgentState;
use crate::answers::{Round, asked};
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
        let round = if tasks.is_empty() {
            Round::AllTasks { after: None }
        } else {
            Round::Tasks { asked: asked(tasks), not_yet: Vec::new() }
        };
        self.say_in_turn(id, round)
    }

    /// The answer about one task, while so many agents have not come back; `None` while it cannot be known.
    pub(crate) fn truth_while(
        &self,
        id: &FrameworkId,
        task_id: &TaskId,
        agent_id: Option<&AgentId>,
        agents_awaited: u32,
    ) -> Option<TaskStatus> {
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
                // Given up so long ago that it was forgotten.
                None if self.has_given(agent_id) => TaskState::GoneByOperator,
                None => TaskState::Unknown,
            },
            None if agents_awaited > 0 => return None,
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
