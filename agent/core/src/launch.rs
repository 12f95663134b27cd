//! Admission: whether a launch is taken. A refused pod never runs, but its tasks get a terminal update like any other, so
//! that nobody waits for them.
use std::collections::BTreeSet;

use model::link::FrameworkRef;
use model::task::{Pod as Launched, Reason, TaskState};
use model::{AgentId, ExecutorId, FrameworkId, Refusal, Resources};

use crate::agent::Agent;
use crate::checkpoint::{LaunchRecord, TaskLaunch, VERSION, Write};
use crate::command::{Command, Decision};
use crate::limits;
use crate::mutation::{Mutation, mutated};
use crate::pod::{Phase, Pod, PodId, Task};
use crate::updates::News;

/// Why a launch is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejected {
    #[error("task {task} was meant for agent {agent_id}, this is another")]
    OtherAgent { task: String, agent_id: AgentId },
    #[error("a pod needs 1 to {max} tasks, this one has {count}")]
    TaskCount { count: usize, max: usize },
    #[error("task {0} occurs twice")]
    TaskTwice(String),
    #[error("the pod's task descriptions have {bytes} bytes, the limit is {max}")]
    PayloadSize { bytes: usize, max: usize },
    #[error("task {0} asks for privileges that its framework was not granted")]
    Privileges(String),
    #[error("this agent lacks {0}")]
    Resources(String),
    #[error("this agent already has {0} pods")]
    TooManyPods(usize),
    #[error("executor id {0} is another pod's, or a task of this pod is")]
    Reused(ExecutorId),
}

impl Rejected {
    fn verdict(&self) -> (TaskState, Reason) {
        match self {
            Rejected::OtherAgent { .. } | Rejected::Reused(_) => (TaskState::Error, Reason::TaskInvalid),
            Rejected::TaskCount { .. } | Rejected::TaskTwice(_) | Rejected::PayloadSize { .. } => {
                (TaskState::Error, Reason::TaskGroupInvalid)
            }
            Rejected::Privileges(_) => (TaskState::Error, Reason::TaskUnauthorized),
            Rejected::Resources(_) => (TaskState::Dropped, Reason::InvalidOffers),
            Rejected::TooManyPods(_) => (TaskState::Dropped, Reason::ContainerLimitation),
        }
    }
    fn refusal(&self) -> Refusal {
        let (code, next_step) = match self {
            Rejected::OtherAgent { .. } => ("AGT0010", "set agent_id to that of the offer"),
            Rejected::TaskCount { .. } => ("AGT0011", "split the pod"),
            Rejected::TaskTwice(_) => ("AGT0012", "give every task an id of its own"),
            Rejected::PayloadSize { .. } => ("AGT0013", "pass large data as an artifact"),
            Rejected::Privileges(_) => {
                ("AGT0014", "have an operator add the framework's principal to the master's privileged_principals")
            }
            Rejected::Resources(_) => ("AGT0015", "accept a newer offer"),
            Rejected::TooManyPods(_) => ("AGT0016", "use another agent"),
            Rejected::Reused(_) => ("AGT0017", "give every pod and every task a new id"),
        };
        Refusal::new(code, self.to_string(), next_step)
    }
}

impl Agent {
    pub(crate) fn launch(
        &mut self,
        framework: FrameworkRef,
        launched: Launched,
        privileged_allowed: bool,
        out: &mut Vec<Command>,
    ) {
        // The same launch again (the master repeats after a reconnect): nothing to do, its updates tell the rest.
        if let Some(pod) = self.same_launch(&framework.id, &launched)
            && !mutated(Mutation::LaunchesTwice)
        {
            Self::note(out, Decision::LaunchRepeated { pod_id: pod.launch.pod_id.clone() });
            return;
        }
        let mut launched = launched;
        let verdict = match self.without_known_tasks(&framework.id, &mut launched) {
            Ok(()) => self.admit(&launched, privileged_allowed),
            Err(rejected) => Err(rejected),
        };
        let pod_id = PodId::make(self.record.next_pod, launched.executor_id.as_str());
        self.record.next_pod += 1;
        self.mark_agent();
        let framework_id = framework.id.clone();
        let mut launch = LaunchRecord {
            version: VERSION,
            pod_id: pod_id.clone(),
            framework,
            executor_id: launched.executor_id,
            executor: launched.executor,
            executor_resources: launched.executor_resources,
            tasks: launched
                .tasks
                .into_iter()
                .map(|task| TaskLaunch { head: task.head, payload: task.payload })
                .collect(),
            privileged_allowed,
            admitted: self.now,
        };
        let phase = match &verdict {
            Ok(()) => Phase::Preparing,
            Err(rejected) => {
                // A task named twice gets one update; a pod without tasks none.
                let mut seen = BTreeSet::new();
                launch.tasks.retain(|task| seen.insert(task.head.task_id.clone()));
                if matches!(rejected, Rejected::PayloadSize { .. }) {
                    launch.executor = [].into();
                    launch.tasks.iter_mut().for_each(|task| task.payload = [].into());
                }
                Phase::Ended(self.now)
            }
        };
        let tasks: Vec<_> = launch
            .tasks
            .iter()
            .map(|task| Task {
                id: task.head.task_id.clone(),
                latest: Self::first_status(&launch, &task.head.task_id, self.record.agent_id.as_ref()),
                stream: Default::default(),
                kill: None,
                ended: None,
                in_flight: None,
            })
            .collect();
        let task_ids: Vec<_> = tasks.iter().map(|task| task.id.clone()).collect();
        for task_id in &task_ids {
            self.index.insert((framework_id.clone(), task_id.clone()), pod_id.clone());
        }
        self.write(Write::Launch(Box::new(launch.clone())));
        let pod = Pod { launch: launch.clone(), phase, started: false, seen: 0, shut_down: false, tasks };
        self.pods.insert(pod_id.clone(), pod);
        self.mark_pod(&pod_id);
        match verdict {
            Ok(()) => {
                Self::note(out, Decision::Admitted { pod_id: pod_id.clone(), framework_id });
                for task_id in &task_ids {
                    self.append_first(&pod_id, task_id);
                }
                self.later(Command::Prepare { launch: Box::new(launch) });
            }
            Err(rejected) => {
                let refusal = rejected.refusal();
                let (state, reason) = rejected.verdict();
                for task_id in &task_ids {
                    let words = format!("{refusal}; {} ({})", refusal.next_step, refusal.code);
                    self.append(&pod_id, task_id, News::of(state, Some(reason), words));
                }
                Self::note(out, Decision::LaunchRefused { framework_id, refusal });
            }
        }
    }

    /// The pod that this very launch made: the same executor and the same tasks, or no task that is not known here.
    fn same_launch(&self, framework_id: &FrameworkId, launched: &Launched) -> Option<&Pod> {
        let ids = |pod: &Pod| pod.tasks.iter().map(|task| task.id.clone()).collect::<BTreeSet<_>>();
        let wanted: BTreeSet<_> = launched.tasks.iter().map(|task| task.head.task_id.clone()).collect();
        let mut own = self.pods.values().filter(|pod| pod.launch.framework.id == *framework_id);
        own.find(|pod| {
            let has = ids(pod);
            pod.launch.executor_id == launched.executor_id && has == wanted
                || !wanted.is_disjoint(&has) && {
                    let known =
                        |id| self.pods.values().any(|p| p.launch.framework.id == *framework_id && ids(p).contains(id));
                    wanted.iter().all(known)
                }
        })
    }

    /// Takes tasks that are known here out of a launch: theirs is another truth. Whoever launches them, or their
    /// executor, in another company is wrong about all of it.
    fn without_known_tasks(&self, framework_id: &FrameworkId, launched: &mut Launched) -> Result<(), Rejected> {
        let own = || self.pods.values().filter(|pod| pod.launch.framework.id == *framework_id);
        let known: BTreeSet<_> = own().flat_map(|pod| pod.tasks.iter().map(|task| task.id.clone())).collect();
        let before = launched.tasks.len();
        launched.tasks.retain(|task| !known.contains(&task.head.task_id) || mutated(Mutation::LaunchesTwice));
        if mutated(Mutation::LaunchesTwice) {
            return Ok(());
        }
        if launched.tasks.len() < before || own().any(|pod| pod.launch.executor_id == launched.executor_id) {
            return Err(Rejected::Reused(launched.executor_id.clone()));
        }
        Ok(())
    }

    /// What no living pod has.
    pub(crate) fn free(&self) -> Resources {
        let mut free = self.total.clone();
        for pod in self.pods.values().filter(|pod| !pod.is_ended()) {
            for (task, launch) in pod.tasks.iter().zip(&pod.launch.tasks) {
                // A task that is over gave its share back when it said so; the executor's goes with the pod.
                if !task.latest.state.is_terminal() {
                    // What the master took away under a living task is not there to be counted.
                    free.take_what_is_there(&launch.head.resources.without_shared());
                }
            }
            if !pod.all_terminal() {
                free.take_what_is_there(&pod.launch.executor_resources.without_shared());
            }
        }
        free
    }

    fn admit(&self, launched: &Launched, privileged_allowed: bool) -> Result<(), Rejected> {
        let count = launched.tasks.len();
        if count == 0 || count > limits::TASKS_PER_POD_MAX {
            return Err(Rejected::TaskCount { count, max: limits::TASKS_PER_POD_MAX });
        }
        let mut seen = BTreeSet::new();
        for task in &launched.tasks {
            if Some(&task.head.agent_id) != self.record.agent_id.as_ref() {
                return Err(Rejected::OtherAgent {
                    task: task.head.task_id.to_string(),
                    agent_id: task.head.agent_id.clone(),
                });
            }
            if !seen.insert(&task.head.task_id) {
                return Err(Rejected::TaskTwice(task.head.task_id.to_string()));
            }
            if task.head.privileged && !privileged_allowed {
                return Err(Rejected::Privileges(task.head.task_id.to_string()));
            }
        }
        let bytes = launched.executor.len() + launched.tasks.iter().map(|task| task.payload.len()).sum::<usize>();
        if bytes > limits::POD_PAYLOAD_BYTES_MAX {
            return Err(Rejected::PayloadSize { bytes, max: limits::POD_PAYLOAD_BYTES_MAX });
        }
        let living = self.pods.values().filter(|pod| !pod.is_ended()).count();
        if living >= limits::PODS_MAX {
            return Err(Rejected::TooManyPods(living));
        }
        let mut free = self.free();
        let parts = launched.tasks.iter().map(|task| &task.head.resources);
        for part in std::iter::once(&launched.executor_resources).chain(parts) {
            free.give(part).map_err(Rejected::Resources)?;
        }
        Ok(())
    }
}
