//! What is given away although it was promised to others, as long as they do not use it. An estimator says how much; when
//! those others need it, what runs on it ends, the youngest first.
use model::Quantities;
use model::link::FromAgent;

use crate::agent::Agent;
use crate::command::{Command, Decision};
use crate::pod::Phase;

impl Agent {
    pub(crate) fn estimated(&mut self, revocable: Quantities, out: &mut Vec<Command>) {
        if revocable == self.total.revocable {
            return;
        }
        self.total.revocable = revocable.clone();
        if self.is_registered() {
            out.push(Command::Send(FromAgent::Revocable(revocable)));
        } else {
            self.revocable_unsaid = true;
        }
    }

    /// Ends one pod that can be taken back. Whoever presses looks again before it presses once more.
    pub(crate) fn preempt(&mut self, why: &str, out: &mut Vec<Command>) {
        let is_ending = |pod: &&crate::pod::Pod| pod.tasks.iter().any(|task| task.kill.is_some() || task.is_over());
        let lives = |phase: &Phase| match phase {
            Phase::Preparing | Phase::Starting | Phase::Attaching | Phase::Attached => true,
            Phase::Destroying(_) | Phase::Ended(_) => false,
        };
        let revocable =
            self.pods.values().filter(|pod| lives(&pod.phase) && !pod.launch.resources().revocable.is_empty());
        if revocable.clone().any(|pod| is_ending(&pod)) {
            return;
        }
        let youngest = revocable.max_by_key(|pod| (pod.launch.admitted, pod.launch.pod_id.clone()));
        let Some(pod) = youngest else { return };
        let (pod_id, task_ids): (_, Vec<_>) =
            (pod.launch.pod_id.clone(), pod.tasks.iter().map(|task| task.id.clone()).collect());
        Self::note(out, Decision::Preempted { pod_id: pod_id.clone(), why: why.to_owned() });
        for task_id in task_ids {
            self.kill_in(&pod_id, &task_id, None, &format!("preempted: {why}"), true);
        }
    }
}
