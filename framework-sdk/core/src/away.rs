//! Agents that are away for long, as far as it matters here: something is still held there that should be given back.
//! Mesos has no question about an agent, but answers one about a task that it does not know by how the task's agent is.
use std::collections::{BTreeMap, BTreeSet};

use model::task::TaskStatus;
use model::{AgentId, TaskId, TaskState, Timestamp};

use crate::event::Command;
use crate::limits;
use crate::scheduler::Scheduler;

/// How the ids of tasks that never were begin; no pod has an upper-case name.
const QUESTION: &str = "AGENT-OF-";

/// What is known of agents that something is held on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Away {
    /// Unreachable ones.
    agents: BTreeSet<AgentId>,
    /// When each was asked for last.
    asked: BTreeMap<AgentId, Timestamp>,
}

impl Away {
    /// Whether an agent is unreachable.
    pub(crate) fn is_away(&self, agent: &AgentId) -> bool {
        self.agents.contains(agent)
    }
    pub(crate) fn returned(&mut self, agent: &AgentId) {
        self.agents.remove(agent);
    }
    /// Something happened to some agent.
    pub(crate) fn ask_soon(&mut self) {
        self.asked.clear();
    }
}

impl Scheduler {
    /// Asks how the agents are that do not offer what is to be given back.
    pub(crate) fn advance_away(&mut self, now: Timestamp) {
        let held: BTreeSet<AgentId> = self.meta.releases.iter().map(|(agent, _)| agent.clone()).collect();
        self.away.agents.retain(|agent| held.contains(agent));
        self.away.asked.retain(|agent, _| held.contains(agent));
        let mut questions = Vec::new();
        for agent in held {
            let due = self.away.asked.get(&agent).map(|asked| *asked + limits::AWAY_ASKED_EVERY);
            match due {
                Some(at) if now < at => self.wake_by(at),
                Some(_) | None => {
                    if let Ok(question) = TaskId::new(format!("{QUESTION}{agent}")) {
                        questions.push((question, Some(agent.clone())));
                    }
                    self.away.asked.insert(agent, now);
                    self.wake_by(now + limits::AWAY_ASKED_EVERY);
                }
            }
        }
        if !questions.is_empty() {
            self.effects.push(Command::Reconcile(questions));
        }
    }

    /// Takes in the answer to a question about an agent; false if it is news of a task.
    pub(crate) fn is_about_an_agent(&mut self, status: &TaskStatus) -> bool {
        let Some(agent) = status.task_id.as_str().strip_prefix(QUESTION) else { return false };
        let Ok(agent) = AgentId::new(agent) else { return true };
        match status.state {
            TaskState::Unreachable => {
                self.away.agents.insert(agent);
            }
            TaskState::GoneByOperator => {
                // With the agent went all that was held there.
                let before = self.meta.releases.len();
                self.meta.releases.retain(|(held_on, _)| *held_on != agent);
                self.dirty.meta |= self.meta.releases.len() < before;
                self.away.returned(&agent);
            }
            TaskState::Staging
            | TaskState::Starting
            | TaskState::Running
            | TaskState::Killing
            | TaskState::Finished
            | TaskState::Failed
            | TaskState::Killed
            | TaskState::Error
            | TaskState::Lost
            | TaskState::Dropped
            | TaskState::Gone
            | TaskState::Unknown => self.away.returned(&agent),
        }
        true
    }
}
