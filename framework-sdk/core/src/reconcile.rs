//! Asking the master for the truth about tasks until it has spoken about each. A master that has just started says so of
//! tasks that it cannot know yet: nothing is concluded from that, they are asked for again when it can.
use std::collections::BTreeMap;

use model::call::NotYetKnown;
use model::{AgentId, Span, TaskId, TaskState, Timestamp};

use crate::backoff;
use crate::event::Command;
use crate::limits;
use crate::mutation::{Mutation, mutated};
use crate::scheduler::Scheduler;

/// A task that was launched and of which nothing was heard for so long is asked for.
const STAGING_DOUBT: Span = Span::seconds(60);

/// Tasks the master has not yet spoken about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reconciler {
    pending: BTreeMap<TaskId, Option<AgentId>>,
    attempt: u32,
    next_at: Timestamp,
    /// When all tasks are asked for again, as the master did not know all of them.
    all_at: Option<Timestamp>,
}

impl Reconciler {
    pub(crate) fn begin(&mut self, now: Timestamp, tasks: Vec<(TaskId, Option<AgentId>)>) {
        *self = Self { pending: tasks.into_iter().collect(), attempt: 0, next_at: now, all_at: None };
    }
    pub(crate) fn doubt(&mut self, now: Timestamp, tasks: Vec<(TaskId, Option<AgentId>)>) {
        self.pending.extend(tasks);
        self.attempt = 0;
        self.next_at = now;
    }
    /// The master has to wait. What was asked is pending still, and asked again as usual, but as soon as it can be answered.
    pub(crate) fn not_yet(&mut self, now: Timestamp, answer: &NotYetKnown) {
        let wait = answer.ask_again.clamp(limits::RECONCILE_MIN, limits::RECONCILE_MAX);
        if answer.tasks.is_empty() {
            self.all_at = Some(now + wait);
        } else if self.pending.keys().any(|task_id| answer.tasks.contains(task_id)) {
            self.next_at = self.next_at.min(now + wait);
        }
    }
    pub(crate) fn heard(&mut self, task_id: &TaskId) {
        self.pending.remove(task_id);
    }
}

impl Scheduler {
    pub(crate) fn advance_reconcile(&mut self, now: Timestamp) {
        let mut silent = Vec::new();
        let mut next = None;
        for unit in self.units.values().filter(|unit| unit.executor_id.is_some()) {
            for task in unit.tasks.values().filter(|task| task.state == TaskState::Staging) {
                let due = task.launched_at + STAGING_DOUBT;
                if now >= due {
                    let agent = unit.placement.as_ref().map(|placement| placement.agent_id.clone());
                    silent.push((task.task_id.clone(), agent));
                } else {
                    next = Some(next.map_or(due, |at: Timestamp| at.min(due)));
                }
            }
        }
        silent.retain(|(task_id, _)| !self.reconciler.pending.contains_key(task_id));
        if !silent.is_empty() {
            self.reconciler.pending.extend(silent);
        }
        if let Some(at) = next {
            self.wake_by(at);
        }
        if let Some(at) = self.reconciler.all_at {
            if now >= at {
                self.reconciler.all_at = None;
                self.effects.push(Command::Reconcile(Vec::new()));
            } else {
                self.wake_by(at);
            }
        }
        let reconciler = &mut self.reconciler;
        if reconciler.pending.is_empty() || mutated(Mutation::NeverReconciles) {
            return;
        }
        if now >= reconciler.next_at {
            reconciler.attempt += 1;
            reconciler.next_at = now + backoff::wait(reconciler.attempt, limits::RECONCILE_MIN, limits::RECONCILE_MAX);
            let tasks = reconciler.pending.iter().take(limits::RECONCILE_TASKS_MAX);
            let tasks = tasks.map(|(task, agent)| (task.clone(), agent.clone())).collect();
            self.effects.push(Command::Reconcile(tasks));
        }
        let at = self.reconciler.next_at;
        self.wake_by(at);
    }
}
