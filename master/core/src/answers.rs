//! Answers of which there may be very many: updates that a framework missed while it was away, and what it asks for by
//! reconciling. They are told at the pace at which it reads: a hundred thousand at once would fill its queue, which ends its
//! session, and the next one would begin with the same.
//!
//! Answers of one kind keep their order, and what was asked first is answered first. News goes past them: whatever is told
//! late is looked up when it is told, so it is never older than what went past.
use std::collections::VecDeque;

use model::call::{NotYetKnown, SchedulerEvent};
use model::{AgentId, FrameworkId, OperationId, TaskId};

use crate::agent::AgentState;
use crate::command::Command;
use crate::decision::Rejected;
use crate::event::SessionId;
use crate::framework::Framework;
use crate::limits;
use crate::master::{Master, Session};

/// What one framework is still to be told, in order. A session begins with an empty one.
#[derive(Debug)]
pub(crate) struct Answers {
    rounds: VecDeque<Round>,
    /// So many may be told before the shell is asked whether there is room for more.
    room: usize,
    /// It was asked.
    is_asked: bool,
}

impl Default for Answers {
    fn default() -> Self {
        Self { rounds: VecDeque::new(), room: limits::ANSWERS_PER_TURN, is_asked: false }
    }
}

impl Answers {
    /// How many a peer made us keep.
    pub(crate) fn kept(&self) -> usize {
        self.rounds.iter().map(Round::kept).sum()
    }
}

/// Answers that belong together. Those about everything there is go from id to id, and keep only where they are.
#[derive(Debug)]
pub(crate) enum Round {
    /// Updates without a receipt that this session has not heard.
    Missed { after: Option<TaskId> },
    /// What became of operations and was not acknowledged.
    Operations { after: Option<OperationId> },
    /// How every task is.
    AllTasks { after: Option<TaskId> },
    /// How these are, and of which that cannot be said yet.
    Tasks { asked: VecDeque<(TaskId, Option<AgentId>)>, not_yet: Vec<(TaskId, Option<AgentId>)> },
    /// What every operation has become.
    AllOperations { after: Option<OperationId> },
    /// What these have become.
    TheseOperations { asked: VecDeque<(OperationId, Option<AgentId>)> },
}

impl Round {
    fn kept(&self) -> usize {
        1 + match self {
            Round::Tasks { asked, not_yet } => asked.len() + not_yet.len(),
            Round::TheseOperations { asked } => asked.len(),
            Round::Missed { .. } | Round::Operations { .. } | Round::AllTasks { .. } | Round::AllOperations { .. } => 0,
        }
    }
    /// Nothing was told of it yet, and it is about everything: another one of its kind would say the same.
    fn covers(&self, other: &Round) -> bool {
        match (self, other) {
            (Round::AllTasks { after: None }, Round::AllTasks { .. })
            | (Round::AllOperations { after: None }, Round::AllOperations { .. }) => true,
            (
                Round::Missed { .. }
                | Round::Operations { .. }
                | Round::AllTasks { .. }
                | Round::Tasks { .. }
                | Round::AllOperations { .. }
                | Round::TheseOperations { .. },
                _,
            ) => false,
        }
    }
}

impl Master {
    /// Tells a framework that is there, now as much as there is room for and the rest later.
    pub(crate) fn say_in_turn(&mut self, id: &FrameworkId, round: Round) -> Result<(), Rejected> {
        let Some(framework) = self.frameworks.get_mut(id) else { return Ok(()) };
        let answers = &mut framework.answers;
        if answers.rounds.iter().any(|waiting| waiting.covers(&round)) {
            return Ok(());
        }
        let (count, limit) = (answers.kept() + round.kept(), limits::ANSWERS_DUE_MAX);
        if count > limit {
            return Err(Rejected::TooMany { what: "answers that wait for the framework to read", count, limit });
        }
        answers.rounds.push_back(round);
        self.go_on_answering(id);
        Ok(())
    }

    /// The queue of a session has room for [`limits::ANSWERS_PER_TURN`] more.
    pub(crate) fn has_room(&mut self, session: SessionId) {
        let Some(Session::Framework { subscribed: Some(id), .. }) = self.sessions.get(&session) else { return };
        let id = id.clone();
        if let Some(framework) = self.frameworks.get_mut(&id).filter(|framework| framework.session() == Some(session)) {
            framework.answers.room = limits::ANSWERS_PER_TURN;
            framework.answers.is_asked = false;
            self.go_on_answering(&id);
        }
    }

    fn go_on_answering(&mut self, id: &FrameworkId) {
        let Some(session) = self.frameworks.get(id).and_then(Framework::session) else { return };
        let mut answers = std::mem::take(&mut self.frameworks.get_mut(id).expect("seen above").answers);
        if !answers.rounds.is_empty() && answers.room > 0 {
            let awaited = self.agents_awaited();
            while answers.room > 0
                && let Some(round) = answers.rounds.front_mut()
            {
                if self.tell_next(id, round, awaited) {
                    answers.room -= 1;
                } else {
                    answers.rounds.pop_front();
                }
            }
        }
        if !answers.rounds.is_empty() && !answers.is_asked {
            answers.is_asked = true;
            self.outbox.push(Command::AwaitRoom { session });
        }
        self.frameworks.get_mut(id).expect("seen above").answers = answers;
    }

    /// Tells the next one; `false`: there is none.
    fn tell_next(&mut self, id: &FrameworkId, round: &mut Round, awaited: u32) -> bool {
        match round {
            Round::Missed { after } => {
                let session = self.frameworks[id].session();
                let missed = |task: &&crate::ledger::Task| task.pending.is_some() && task.told != session;
                let next = self.ledger.of_framework_after(id, after.as_ref()).find(missed);
                let Some(task_id) = next.map(|task| task.head.task_id.clone()) else { return false };
                self.tell_pending(id, &task_id);
                *after = Some(task_id);
            }
            Round::Operations { after } => {
                let Some(next) = self.feedback.next_of(id, after.as_ref()) else { return false };
                self.tell_operation(id, &next, limits::OPERATION_RETRY_MIN);
                *after = Some(next);
            }
            Round::AllTasks { after } => {
                let next = self.ledger.of_framework_after(id, after.as_ref()).next();
                let Some(task_id) = next.map(|task| task.head.task_id.clone()) else {
                    // The last word on all of them: others may come up with their agents.
                    self.not_yet(id, Vec::new(), awaited);
                    return false;
                };
                if let Some(status) = self.known_status(id, &task_id) {
                    self.tell_framework(id, SchedulerEvent::Update(status));
                }
                *after = Some(task_id);
            }
            Round::Tasks { asked, not_yet } => {
                if awaited == 0 {
                    // The last agent came, or was given up, while the round waited for room: now it can be known.
                    not_yet.drain(..).rev().for_each(|unknown| asked.push_front(unknown));
                }
                let next = asked.pop_front();
                let is_last = next.is_none();
                if let Some((task_id, agent_id)) = next {
                    match self.truth_while(id, &task_id, agent_id.as_ref(), awaited) {
                        Some(status) => self.tell_framework(id, SchedulerEvent::Update(status)),
                        None => not_yet.push((task_id, agent_id)),
                    }
                }
                if is_last || not_yet.len() >= limits::NOT_YET_PER_EVENT {
                    let tasks: Vec<_> = not_yet.drain(..).map(|(task_id, _)| task_id).collect();
                    if !tasks.is_empty() {
                        self.not_yet(id, tasks, awaited);
                    }
                }
                return !is_last;
            }
            Round::AllOperations { after } => {
                let Some(next) = self.feedback.next_of(id, after.as_ref()) else { return false };
                let status = self.operation_truth(id, &next, None);
                self.tell_framework(id, SchedulerEvent::OperationUpdate(status));
                *after = Some(next);
            }
            Round::TheseOperations { asked } => {
                let Some((operation_id, agent_id)) = asked.pop_front() else { return false };
                let status = self.operation_truth(id, &operation_id, agent_id.as_ref());
                self.tell_framework(id, SchedulerEvent::OperationUpdate(status));
            }
        }
        true
    }

    /// Tells the head of a task's updates, if it has one without a receipt.
    pub(crate) fn tell_pending(&mut self, id: &FrameworkId, task_id: &TaskId) {
        let session = self.frameworks.get(id).and_then(Framework::session);
        let Some(task) = self.ledger.get_mut(id, task_id) else { return };
        if let Some(status) = task.pending.clone() {
            task.told = session;
            self.tell_framework(id, SchedulerEvent::Update(status));
        }
    }

    /// Says that something cannot be said yet, and why: a task that is merely not heard of must not look gone.
    pub(crate) fn not_yet(&mut self, id: &FrameworkId, tasks: Vec<TaskId>, agents_awaited: u32) {
        if agents_awaited > 0 {
            let left = self.recovered_by.since(self.now);
            let ask_again =
                left.clamp(limits::ASK_AGAIN_MIN, self.config.reregister_timeout.max(limits::ASK_AGAIN_MIN));
            let not_yet = NotYetKnown { tasks, agents_awaited, ask_again };
            self.tell_framework(id, SchedulerEvent::NotYetKnown(not_yet));
        }
    }

    /// How many agents the registry knows that have not come back since the master's start.
    pub(crate) fn agents_awaited(&self) -> u32 {
        let recovered = self.agents.values().filter(|agent| agent.state == AgentState::Recovered);
        u32::try_from(recovered.count()).unwrap_or(u32::MAX)
    }
}

/// What a framework that asks by name wants to hear.
pub(crate) fn asked<T: Clone>(named: &[(T, Option<AgentId>)]) -> VecDeque<(T, Option<AgentId>)> {
    named.iter().cloned().collect()
}
