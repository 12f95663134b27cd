//! A pod's life after admission: prepared, started, reporting, killed, removed. Any container that ends for good ends
//! its pod: the executor restarts in place what is to be restarted, so an end it reports is final.
use model::task::{Reason, TaskState};
use model::{FrameworkId, Span, TaskId};

use crate::agent::Agent;
use crate::checkpoint::{EndRecord, KillOrder};
use crate::command::{Command, Decision};
use crate::event::{End, EndCause, Report, ReportKind};
use crate::mutation::{Mutation, mutated};
use crate::pod::{DestroyCause, Phase, PodId};
use crate::updates::News;

impl Agent {
    pub(crate) fn prepared(&mut self, pod_id: &PodId, failure: Option<String>) {
        let Some(pod) = self.pods.get_mut(pod_id) else { return };
        if pod.phase != Phase::Preparing {
            return;
        }
        match failure {
            None => {
                pod.become_phase(Phase::Starting);
                // On the disk before an executor exists: a restarted agent must look for it.
                pod.started = true;
                self.mark_pod(pod_id);
                self.later(Command::Start { pod_id: pod_id.clone() });
            }
            Some(why) => self.destroy(pod_id, DestroyCause::NotPrepared(why)),
        }
    }

    pub(crate) fn executor_attached(&mut self, pod_id: &PodId) {
        let Some(pod) = self.pods.get_mut(pod_id) else { return };
        match pod.phase {
            Phase::Starting | Phase::Attaching => pod.become_phase(Phase::Attached),
            // A new connection: what was on its way on the old one is lost, and said again.
            Phase::Attached => {}
            Phase::Preparing | Phase::Destroying(_) | Phase::Ended(_) => return,
        }
        let seen = pod.seen;
        if seen > 0 {
            self.later(Command::ReportSeen { pod_id: pod_id.clone(), number: seen });
        }
        self.order_kills(pod_id);
        self.end_if_over(pod_id);
    }

    pub(crate) fn executor_gone(&mut self, pod_id: &PodId, why: String, out: &mut Vec<Command>) {
        let Some(pod) = self.pods.get_mut(pod_id) else { return };
        match pod.phase {
            Phase::Starting | Phase::Attaching | Phase::Attached => {}
            Phase::Preparing | Phase::Destroying(_) | Phase::Ended(_) => return,
        }
        if !pod.all_over() {
            Self::note(out, Decision::ExecutorLost { pod_id: pod_id.clone(), why: why.clone() });
        }
        self.destroy(pod_id, DestroyCause::ExecutorLost(why));
    }

    pub(crate) fn reported(&mut self, pod_id: &PodId, report: Report) {
        let Some(pod) = self.pods.get_mut(pod_id) else { return };
        match pod.phase {
            Phase::Attached => {}
            Phase::Preparing | Phase::Starting | Phase::Attaching | Phase::Destroying(_) | Phase::Ended(_) => return,
        }
        let number = report.number;
        if number > pod.seen {
            pod.seen = number;
            self.mark_pod(pod_id);
            self.take_report(pod_id, report);
        }
        self.later(Command::ReportSeen { pod_id: pod_id.clone(), number });
        self.order_group_death(pod_id);
        self.end_if_over(pod_id);
    }

    fn take_report(&mut self, pod_id: &PodId, report: Report) {
        let Report { task_id, at, kind, .. } = report;
        let Some(pod) = self.pods.get_mut(pod_id) else { return };
        let cleans_up = pod.cleans_up();
        let Some(task) = pod.task_mut(&task_id).filter(|task| task.ended.is_none()) else { return };
        // A running task stays running whatever its checks say; one that is being killed stays killing.
        let state = task.latest.state;
        let alive = if state == TaskState::Starting { TaskState::Running } else { state };
        let was_ready = task.latest.ready;
        match kind {
            ReportKind::Started { pid } => {
                let news = News::of(alive, None, format!("process {pid} runs")).by_executor();
                self.append_at(pod_id, &task_id, news, None, at);
            }
            ReportKind::Restarting { count, backoff_ms, why } => {
                let words = format!("{why}; restart {count} after {backoff_ms} ms");
                self.append_at(
                    pod_id,
                    &task_id,
                    News::of(state, Some(Reason::ContainerRestarted), words).by_executor(),
                    Some((true, was_ready.map(|_| false))),
                    at,
                );
            }
            ReportKind::Checked { is_readiness, passed, message } => {
                let reason =
                    if is_readiness { Reason::TaskCheckStatusUpdated } else { Reason::TaskHealthCheckStatusUpdated };
                let news = News::of(alive, Some(reason), message).by_executor();
                self.append_at(pod_id, &task_id, news, Some((is_readiness, Some(passed))), at);
            }
            ReportKind::Ended { end, oom_kills, killed_on_request, why, cause } => {
                let asked = task.kill.as_ref().map(|order| order.reason.clone());
                let is_preempted = task.kill.as_ref().is_some_and(|order| order.is_preemption);
                let News { state, reason, message, .. } = ended(&end, oom_kills, killed_on_request, why, asked, cause);
                let end = if killed_on_request && is_preempted {
                    EndRecord { state: TaskState::Gone, reason: Some(Reason::ContainerPreempted), message, at }
                } else {
                    EndRecord { state, reason, message, at }
                };
                if cleans_up && !mutated(Mutation::SaysEndsEarly) {
                    // Said when its pod is gone: before, the next of its kind would find what this one left.
                    task.ended = Some(end).filter(|_| !task.latest.state.is_terminal());
                } else {
                    self.say_end(pod_id, &task_id, end);
                }
            }
        }
    }

    fn say_end(&mut self, pod_id: &PodId, task_id: &TaskId, end: EndRecord) {
        let EndRecord { state, reason, message, at } = end;
        self.append_at(pod_id, task_id, News::of(state, reason, message).by_executor(), None, at);
    }

    /// One container ended: the others have no reason to live.
    fn order_group_death(&mut self, pod_id: &PodId) {
        let Some(pod) = self.pods.get_mut(pod_id) else { return };
        let Some(dead) = pod.tasks.iter().find(|task| task.is_over()).map(|task| task.id.clone()) else { return };
        let mut ordered = false;
        for task in pod.tasks.iter_mut().filter(|task| !task.is_over() && task.kill.is_none()) {
            task.kill = Some(KillOrder {
                grace: None,
                reason: format!("its pod ended with task {dead}"),
                is_preemption: false,
            });
            ordered = true;
        }
        if ordered {
            self.mark_pod(pod_id);
            self.order_kills(pod_id);
        }
    }

    /// Tells an attached executor what it is to stop.
    fn order_kills(&mut self, pod_id: &PodId) {
        let Some(pod) = self.pods.get(pod_id) else { return };
        if pod.phase != Phase::Attached {
            return;
        }
        let orders: Vec<_> = pod
            .tasks
            .iter()
            .filter(|task| !task.is_over())
            .filter_map(|task| task.kill.clone().map(|order| (task.id.clone(), order)))
            .collect();
        for (task_id, KillOrder { grace, reason, is_preemption: _ }) in orders {
            self.later(Command::Kill { pod_id: pod_id.clone(), task_id, grace, reason });
        }
    }

    fn end_if_over(&mut self, pod_id: &PodId) {
        if self.pods.get(pod_id).is_some_and(|pod| pod.phase == Phase::Attached && pod.all_over()) {
            self.destroy(pod_id, DestroyCause::AllEnded);
        }
    }

    fn destroy(&mut self, pod_id: &PodId, cause: DestroyCause) {
        if let Some(pod) = self.pods.get_mut(pod_id) {
            pod.become_phase(Phase::Destroying(cause));
            self.later(Command::Destroy { pod_id: pod_id.clone() });
        }
    }

    pub(crate) fn pod_destroyed(&mut self, pod_id: &PodId, out: &mut Vec<Command>) {
        let now = self.now;
        let Some(pod) = self.pods.get_mut(pod_id) else { return };
        let Phase::Destroying(cause) = pod.phase.clone() else { return };
        let kept_back: Vec<_> =
            pod.tasks.iter_mut().filter_map(|task| Some((task.id.clone(), task.ended.take()?))).collect();
        pod.become_phase(Phase::Ended(now));
        self.mark_pod(pod_id);
        for (task_id, end) in kept_back {
            self.say_end(pod_id, &task_id, end);
        }
        let Some(pod) = self.pods.get(pod_id) else { return };
        let left: Vec<_> = pod
            .tasks
            .iter()
            .filter(|task| !task.latest.state.is_terminal())
            .map(|task| (task.id.clone(), task.kill.as_ref().map(|order| order.reason.clone())))
            .collect();
        for (task_id, asked) in left {
            let news = match (&cause, asked) {
                (DestroyCause::KilledDuringLaunch(words), _) => {
                    News::of(TaskState::Killed, Some(Reason::TaskKilledDuringLaunch), words.clone())
                }
                (DestroyCause::NotPrepared(words), _) => {
                    News::of(TaskState::Failed, Some(Reason::ContainerLaunchFailed), words.clone())
                }
                (DestroyCause::HostRestarted, _) => {
                    let words = "the host of its agent was started anew";
                    News::of(TaskState::Gone, Some(Reason::AgentRestarted), words)
                }
                (DestroyCause::ExecutorLost(_), Some(words)) => {
                    News::of(TaskState::Killed, Some(Reason::ExecutorTerminated), words)
                }
                (DestroyCause::ExecutorLost(words), None) => {
                    News::of(TaskState::Failed, Some(Reason::ExecutorTerminated), format!("its executor died: {words}"))
                }
                (DestroyCause::AllEnded, _) => {
                    News::of(TaskState::Failed, Some(Reason::ExecutorTerminated), "its pod was removed")
                }
            };
            self.append(pod_id, &task_id, news);
        }
        Self::note(out, Decision::PodEnded { pod_id: pod_id.clone() });
        if self.volumes_doomed {
            self.order_volumes();
        }
    }

    pub(crate) fn kill(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        grace: Option<Span>,
        out: &mut Vec<Command>,
    ) {
        match self.index.get(&(framework_id.clone(), task_id.clone())).cloned() {
            Some(pod_id) => self.kill_in(&pod_id, task_id, grace, "killed on request", false),
            None => Self::note(out, Decision::KillUnknown { task_id: task_id.clone() }),
        }
    }

    pub(crate) fn kill_in(
        &mut self,
        pod_id: &PodId,
        task_id: &TaskId,
        grace: Option<Span>,
        reason: &str,
        is_preemption: bool,
    ) {
        let Some(pod) = self.pods.get_mut(pod_id) else { return };
        let phase = pod.phase.clone();
        let Some(task) = pod.task_mut(task_id) else { return };
        if task.is_over() {
            return;
        }
        let first = task.kill.is_none();
        // A second order may shorten the grace, and changes nothing else.
        if first || grace.is_some() {
            task.kill = Some(KillOrder { grace, reason: reason.to_owned(), is_preemption });
            self.mark_pod(pod_id);
        }
        match phase {
            Phase::Preparing => self.destroy(pod_id, DestroyCause::KilledDuringLaunch(reason.to_owned())),
            Phase::Starting | Phase::Attaching | Phase::Attached => {
                if first {
                    self.append(pod_id, task_id, News::of(TaskState::Killing, None, reason));
                }
                self.order_kills(pod_id);
            }
            Phase::Destroying(_) | Phase::Ended(_) => {}
        }
    }

    pub(crate) fn shutdown_framework(&mut self, framework_id: &FrameworkId) {
        let pods: Vec<_> = self
            .pods
            .values()
            .filter(|pod| pod.launch.framework.id == *framework_id)
            .map(|pod| (pod.launch.pod_id.clone(), pod.tasks.iter().map(|task| task.id.clone()).collect::<Vec<_>>()))
            .collect();
        for (pod_id, task_ids) in pods {
            let Some(pod) = self.pods.get_mut(&pod_id) else { continue };
            if !pod.shut_down {
                pod.shut_down = true;
                for task in &mut pod.tasks {
                    task.stream.clear();
                    task.in_flight = None;
                }
                for task in pod.tasks.iter().filter(|task| task.latest.state.is_terminal()) {
                    self.index.remove(&(framework_id.clone(), task.id.clone()));
                }
                self.mark_pod(&pod_id);
            }
            for task_id in task_ids {
                self.kill_in(&pod_id, &task_id, None, "its framework was shut down", false);
            }
        }
    }
}

/// What the end of a container means for its task.
fn ended(
    end: &End,
    oom_kills: u64,
    killed_on_request: bool,
    why: String,
    asked: Option<String>,
    cause: EndCause,
) -> News {
    let words = match end {
        End::Exit(code) => format!("exited with {code}"),
        End::Signal(signal) => format!("killed by signal {signal}"),
        End::NotStarted(error) => format!("not started: {error}"),
    };
    let words = if why.is_empty() { words } else { format!("{why}; {words}") };
    if killed_on_request {
        return News::of(TaskState::Killed, None, asked.map_or(words.clone(), |reason| format!("{reason}; {words}")));
    }
    // However politely it then ended.
    match cause {
        EndCause::OverTime => return News::of(TaskState::Failed, Some(Reason::MaxCompletionTimeReached), words),
        EndCause::Unhealthy => return News::of(TaskState::Failed, Some(Reason::TaskHealthCheckStatusUpdated), words),
        EndCause::Other => {}
    }
    match end {
        End::NotStarted(_) => News::of(TaskState::Failed, Some(Reason::ContainerLaunchFailed), words),
        End::Exit(0) => News::of(TaskState::Finished, None, words),
        End::Exit(_) | End::Signal(_) if oom_kills > 0 => News::of(
            TaskState::Failed,
            Some(Reason::ContainerLimitationMemory),
            format!("out of its memory limit; {words}"),
        ),
        End::Exit(_) | End::Signal(_) => News::of(TaskState::Failed, None, words),
    }
}
