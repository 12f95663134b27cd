//! Each task's stream of updates: ordered, durable before it is sent, one in flight, repeated until acknowledged. A task
//! whose terminal update is acknowledged is forgotten.
use model::link::FromAgent;
use model::task::{Reason, Source, TaskState};
use model::{AgentId, FrameworkId, Span, TaskId, TaskStatus, Timestamp, UpdateId};

use crate::agent::Agent;
use crate::checkpoint::LaunchRecord;
use crate::command::{Command, Decision};
use crate::limits;
use crate::mutation::{Mutation, mutated};
use crate::pod::{InFlight, PodId};

/// What is new about a task.
#[derive(Debug, Clone)]
pub(crate) struct News {
    pub(crate) state: TaskState,
    pub(crate) reason: Option<Reason>,
    pub(crate) source: Source,
    pub(crate) message: String,
}

impl News {
    pub(crate) fn of(state: TaskState, reason: Option<Reason>, message: impl Into<String>) -> Self {
        Self { state, reason, source: Source::Agent, message: message.into() }
    }
    pub(crate) fn by_executor(mut self) -> Self {
        self.source = Source::Executor;
        self
    }
}

impl Agent {
    /// A task's status before anything happened; its time is that of the admission.
    pub(crate) fn first_status(launch: &LaunchRecord, task_id: &TaskId, agent_id: Option<&AgentId>) -> TaskStatus {
        TaskStatus {
            task_id: task_id.clone(),
            state: TaskState::Staging,
            reason: None,
            source: Source::Agent,
            message: String::new(),
            agent_id: agent_id.cloned(),
            executor_id: Some(launch.executor_id.clone()),
            uuid: None,
            healthy: None,
            ready: None,
            timestamp: launch.admitted,
        }
    }

    /// The first update of an admitted task.
    pub(crate) fn append_first(&mut self, pod_id: &PodId, task_id: &TaskId) {
        self.append(pod_id, task_id, News::of(TaskState::Starting, None, "the agent prepares it"));
    }

    pub(crate) fn append(&mut self, pod_id: &PodId, task_id: &TaskId, news: News) {
        self.append_at(pod_id, task_id, news, None, self.now);
    }

    /// Appends to a task's stream. `verdict` is a check's: whether of readiness, and what it says.
    /// News that the transition table forbids are no news: a report that came late.
    pub(crate) fn append_at(
        &mut self,
        pod_id: &PodId,
        task_id: &TaskId,
        news: News,
        verdict: Option<(bool, Option<bool>)>,
        at: Timestamp,
    ) {
        let uuid = UpdateId(self.rng.next_u128());
        let Some(pod) = self.pods.get_mut(pod_id) else { return };
        let shut_down = pod.shut_down;
        let framework_id = pod.launch.framework.id.clone();
        let Some(task) = pod.task_mut(task_id) else { return };
        if !task.latest.state.may_become(news.state) {
            return;
        }
        let mut status = task.latest.clone();
        status.state = news.state;
        status.reason = news.reason;
        status.source = news.source;
        status.message = cut(news.message);
        // A stream's times never run backwards, whatever the executor's clock did.
        status.timestamp = at.max(task.latest.timestamp);
        match verdict {
            Some((true, ready)) => status.ready = ready,
            Some((false, healthy)) => status.healthy = healthy,
            None => {}
        }
        status.uuid = Some(uuid);
        let ended = status.state.is_terminal();
        if ended {
            (status.ready, status.healthy) = (status.ready.map(|_| false), status.healthy);
        }
        if shut_down {
            // Nobody acknowledges for a framework that is gone: said once, for the books.
            status.uuid = None;
            task.latest = status.clone();
            task.stream.clear();
            if ended {
                let latest_state = status.state;
                self.index.remove(&(framework_id.clone(), task_id.clone()));
                self.later(Command::Send(FromAgent::Update { framework_id, status, latest_state }));
            }
        } else {
            task.latest = status.clone();
            // Behind the head, a repeated state replaces its predecessor: the stream stays short however a check flaps.
            let coalesce = task.stream.len() > 1 && task.stream.back().is_some_and(|last| last.state == status.state);
            if coalesce {
                task.stream.pop_back();
            }
            task.stream.push_back(status);
            assert!(task.stream.len() <= limits::STREAM_MAX, "stream of task {task_id}");
            let is_head = task.stream.len() == 1;
            if is_head {
                self.later_head(pod_id, task_id);
            }
        }
        self.mark_pod(pod_id);
    }

    /// Sends the head of a stream unless it is on its way, or is another one by now.
    pub(crate) fn send_head(&mut self, pod_id: &PodId, task_id: &TaskId, uuid: UpdateId, out: &mut Vec<Command>) {
        if !self.is_registered() {
            return;
        }
        let (now, is_durable) = (self.now, self.is_durable());
        let Some(pod) = self.pods.get_mut(pod_id) else { return };
        let framework_id = pod.launch.framework.id.clone();
        let Some(task) = pod.task_mut(task_id) else { return };
        if task.in_flight.is_some() {
            return;
        }
        let Some(head) = task.stream.front().filter(|head| head.uuid == Some(uuid)).cloned() else { return };
        task.in_flight = Some(InFlight { again: now + limits::UPDATE_RETRY_MIN, delay: limits::UPDATE_RETRY_MIN });
        let latest_state = if is_durable { task.latest.state } else { head.state };
        out.push(Command::Send(FromAgent::Update { framework_id, status: head, latest_state }));
    }

    /// Repeats what was not acknowledged in time.
    pub(crate) fn updates_due(&mut self, out: &mut Vec<Command>) {
        if !self.is_registered() {
            return;
        }
        let (now, is_durable) = (self.now, self.is_durable());
        for pod in self.pods.values_mut() {
            let framework_id = pod.launch.framework.id.clone();
            for task in &mut pod.tasks {
                let (Some(sent), Some(head)) = (task.in_flight, task.stream.front().cloned()) else { continue };
                if sent.again <= now {
                    let delay = Span(sent.delay.0.saturating_mul(2).min(limits::UPDATE_RETRY_MAX.0));
                    task.in_flight = Some(InFlight { again: now + delay, delay });
                    if mutated(Mutation::SendsOnce) {
                        continue;
                    }
                    // What is newer may not be on the disk yet.
                    let latest_state = if is_durable { task.latest.state } else { head.state };
                    out.push(Command::Send(FromAgent::Update {
                        framework_id: framework_id.clone(),
                        status: head,
                        latest_state,
                    }));
                }
            }
        }
    }

    pub(crate) fn nothing_in_flight(&mut self) {
        for task in self.pods.values_mut().flat_map(|pod| &mut pod.tasks) {
            task.in_flight = None;
        }
    }

    pub(crate) fn acknowledged(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        uuid: UpdateId,
        out: &mut Vec<Command>,
    ) {
        let key = (framework_id.clone(), task_id.clone());
        let pod_id = self.index.get(&key).cloned();
        let task = pod_id.as_ref().and_then(|pod_id| self.pods.get_mut(pod_id)?.task_mut(task_id));
        let (Some(pod_id), Some(task)) = (&pod_id, task) else {
            Self::note(out, Decision::AcknowledgeUnknown { task_id: task_id.clone() });
            return;
        };
        if task.stream.front().and_then(|head| head.uuid) != Some(uuid) {
            Self::note(out, Decision::AcknowledgeUnknown { task_id: task_id.clone() });
            return;
        }
        task.stream.pop_front();
        task.in_flight = None;
        let forgotten = task.is_forgotten();
        if forgotten {
            self.index.remove(&key);
        } else {
            self.later_head(pod_id, task_id);
        }
        self.mark_pod(pod_id);
    }
}

/// A message no longer than the limit.
fn cut(mut text: String) -> String {
    if text.len() > limits::MESSAGE_BYTES_MAX {
        let end = (0..=limits::MESSAGE_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}
