//! The ledger: every task that is not both ended and acknowledged, and the ids of those that were, for a while.
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use model::{
    AgentId, ExecutorId, FrameworkId, Reason, RoleName, Source, Span, TaskHead, TaskId, TaskState, TaskStatus,
    Timestamp, UpdateId,
};

use crate::event::SessionId;
use crate::limits;
use crate::mutation::{Mutation, mutated};
use crate::view::TaskView;

/// A task.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) framework_id: FrameworkId,
    pub(crate) role: RoleName,
    pub(crate) agent_id: AgentId,
    pub(crate) executor_id: ExecutorId,
    pub(crate) head: Arc<TaskHead>,
    /// The newest known, without uuid. May be ahead of `pending`.
    pub(crate) status: TaskStatus,
    /// Head of the agent's stream of updates, which the framework has yet to acknowledge.
    pub(crate) pending: Option<TaskStatus>,
    /// The session that was told `pending`: the next one is told again.
    pub(crate) told: Option<SessionId>,
    /// The last one it acknowledged: the agent may repeat it, the framework must not see it again.
    pub(crate) acknowledged: Option<UpdateId>,
    /// Whether its resources count as allocated. Not while its agent is unreachable, nor once it has ended.
    pub(crate) charged: bool,
    /// Its end was asked for, with this grace. Said again when its agent returns.
    pub(crate) kill: Option<Option<Span>>,
    pub(crate) launched: Timestamp,
    pub(crate) running: Option<Timestamp>,
    pub(crate) ended: Option<Timestamp>,
}

impl Task {
    pub(crate) fn state(&self) -> TaskState {
        self.status.state
    }
    /// A status that the master makes: no uuid, nobody acknowledges it.
    pub(crate) fn made(&self, state: TaskState, reason: Reason, message: &str, now: Timestamp) -> TaskStatus {
        TaskStatus {
            task_id: self.head.task_id.clone(),
            state,
            reason: Some(reason),
            source: Source::Master,
            message: message.to_owned(),
            agent_id: Some(self.agent_id.clone()),
            executor_id: Some(self.executor_id.clone()),
            uuid: None,
            healthy: None,
            ready: None,
            timestamp: now,
        }
    }
    /// Takes a newer status if the transition table allows it; says from which state it came.
    pub(crate) fn advance(&mut self, status: &TaskStatus, now: Timestamp) -> Option<TaskState> {
        let from = self.status.state;
        if !from.may_become(status.state) && !mutated(Mutation::AcceptsAnyTransition) {
            return None;
        }
        self.status = TaskStatus { uuid: None, ..status.clone() };
        if status.state == TaskState::Running {
            self.running.get_or_insert(now);
        } else if status.state.is_terminal() {
            self.ended = Some(now);
        }
        Some(from)
    }
    pub(crate) fn view(&self) -> TaskView {
        TaskView {
            framework_id: self.framework_id.clone(),
            role: self.role.clone(),
            agent_id: self.agent_id.clone(),
            executor_id: self.executor_id.clone(),
            head: Arc::clone(&self.head),
            status: self.status.clone(),
            launched: self.launched,
            running: self.running,
            ended: self.ended,
            kill_asked: self.kill.is_some(),
        }
    }
}

/// What is kept of a task that has left the ledger.
#[derive(Debug, Clone)]
pub(crate) struct Remembered {
    pub(crate) state: TaskState,
    pub(crate) agent_id: AgentId,
}

/// All tasks.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    tasks: BTreeMap<FrameworkId, BTreeMap<TaskId, Task>>,
    /// How many tasks in the ledger each executor has.
    executors: BTreeMap<(FrameworkId, ExecutorId), usize>,
    remembered: BTreeMap<FrameworkId, Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    tasks: BTreeMap<TaskId, Remembered>,
    order: VecDeque<TaskId>,
    /// An agent keeps an ended pod for its logs and takes a launch with the same executor id for a repetition.
    executors: BTreeSet<ExecutorId>,
    executor_order: VecDeque<ExecutorId>,
}

impl Ledger {
    pub(crate) fn insert(&mut self, task: Task) {
        *self.executors.entry((task.framework_id.clone(), task.executor_id.clone())).or_default() += 1;
        let of_framework = self.tasks.entry(task.framework_id.clone()).or_default();
        let twice = of_framework.insert(task.head.task_id.clone(), task);
        assert!(twice.is_none(), "a task id enters the ledger once");
    }
    pub(crate) fn get(&self, framework_id: &FrameworkId, task_id: &TaskId) -> Option<&Task> {
        self.tasks.get(framework_id)?.get(task_id)
    }
    pub(crate) fn get_mut(&mut self, framework_id: &FrameworkId, task_id: &TaskId) -> Option<&mut Task> {
        self.tasks.get_mut(framework_id)?.get_mut(task_id)
    }
    pub(crate) fn of_framework(&self, framework_id: &FrameworkId) -> impl Iterator<Item = &Task> {
        self.tasks.get(framework_id).into_iter().flat_map(BTreeMap::values)
    }
    /// Those whose ids come after this one.
    pub(crate) fn of_framework_after(
        &self,
        framework_id: &FrameworkId,
        after: Option<&TaskId>,
    ) -> impl Iterator<Item = &Task> {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let tasks = self.tasks.get(framework_id).into_iter();
        tasks.flat_map(move |tasks| tasks.range::<TaskId, _>((begin, Bound::Unbounded))).map(|(_, task)| task)
    }
    pub(crate) fn count_of(&self, framework_id: &FrameworkId) -> usize {
        self.tasks.get(framework_id).map_or(0, BTreeMap::len)
    }
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values().flat_map(BTreeMap::values)
    }
    /// Takes a task out; its id stays remembered.
    pub(crate) fn remove(&mut self, framework_id: &FrameworkId, task_id: &TaskId) -> Option<Task> {
        let of_framework = self.tasks.get_mut(framework_id)?;
        let task = of_framework.remove(task_id)?;
        if of_framework.is_empty() {
            self.tasks.remove(framework_id);
        }
        let executor = (framework_id.clone(), task.executor_id.clone());
        if let Some(count) = self.executors.get_mut(&executor) {
            *count -= 1;
            if *count == 0 {
                self.executors.remove(&executor);
            }
        }
        let memory = self.remembered.entry(framework_id.clone()).or_default();
        let remembered = Remembered { state: task.state(), agent_id: task.agent_id.clone() };
        if memory.tasks.insert(task_id.clone(), remembered).is_none() {
            memory.order.push_back(task_id.clone());
        }
        if memory.order.len() > limits::REMEMBERED_TASKS_PER_FRAMEWORK_MAX
            && let Some(oldest) = memory.order.pop_front()
        {
            memory.tasks.remove(&oldest);
        }
        if memory.executors.insert(task.executor_id.clone()) {
            memory.executor_order.push_back(task.executor_id.clone());
        }
        if memory.executor_order.len() > limits::REMEMBERED_TASKS_PER_FRAMEWORK_MAX
            && let Some(oldest) = memory.executor_order.pop_front()
        {
            memory.executors.remove(&oldest);
        }
        Some(task)
    }
    /// Whether a pod has this executor, or one that has ended had it.
    pub(crate) fn knows_executor(&self, framework_id: &FrameworkId, executor_id: &ExecutorId) -> bool {
        self.executors.contains_key(&(framework_id.clone(), executor_id.clone()))
            || self.remembered.get(framework_id).is_some_and(|memory| memory.executors.contains(executor_id))
    }
    pub(crate) fn remembered(&self, framework_id: &FrameworkId, task_id: &TaskId) -> Option<&Remembered> {
        self.remembered.get(framework_id)?.tasks.get(task_id)
    }
    /// The framework has ended: nobody asks for its ids again.
    pub(crate) fn forget(&mut self, framework_id: &FrameworkId) {
        self.remembered.remove(framework_id);
    }
    pub(crate) fn remembered_max(&self) -> usize {
        self.remembered.values().map(|memory| memory.tasks.len().max(memory.order.len())).max().unwrap_or(0)
    }
}
