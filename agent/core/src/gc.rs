//! Sandboxes of ended pods are kept for their logs, bounded in number and age, the fuller the disk the shorter; then the pod
//! is forgotten entirely.
use model::{Span, Timestamp};

use crate::agent::Agent;
use crate::checkpoint::Write;
use crate::command::Command;
use crate::limits;
use crate::pod::{Phase, PodId};

impl Agent {
    /// The whole age on an empty disk, nothing on one that is full up to the headroom.
    fn sandbox_age_max(&self) -> Span {
        let free = 1000_u64.saturating_sub(u64::from(self.disk_used));
        let usable = 1000 - u64::from(limits::DISK_HEADROOM_PERMILLE);
        let left = free.saturating_sub(u64::from(limits::DISK_HEADROOM_PERMILLE));
        Span(limits::SANDBOX_AGE_MAX.0 / usable * left.min(usable))
    }

    /// Pods that nobody waits for, the longest ended first.
    fn collectable(&self) -> Vec<(Timestamp, PodId)> {
        let mut ended: Vec<_> = self
            .pods
            .iter()
            .filter(|(_, pod)| pod.tasks.iter().all(crate::pod::Task::is_forgotten))
            .filter_map(|(pod_id, pod)| match pod.phase {
                Phase::Ended(at) => Some((at, pod_id.clone())),
                Phase::Preparing | Phase::Starting | Phase::Attaching | Phase::Attached | Phase::Destroying(_) => None,
            })
            .collect();
        ended.sort();
        ended
    }

    pub(crate) fn collect_garbage(&mut self) {
        let ended = self.collectable();
        let surplus = ended.len().saturating_sub(limits::SANDBOXES_MAX);
        for (i, (at, pod_id)) in ended.into_iter().enumerate() {
            if i < surplus || self.now.since(at) >= self.sandbox_age_max() {
                self.pods.remove(&pod_id);
                self.write(Write::Forget(pod_id.clone()));
                self.later(Command::RemoveSandbox { pod_id });
            }
        }
    }

    pub(crate) fn garbage_due(&self) -> Option<Timestamp> {
        let (oldest, _) = self.collectable().into_iter().next()?;
        Some((oldest + self.sandbox_age_max()).max(self.now + Span::millis(1)))
    }
}
