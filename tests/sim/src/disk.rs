//! An agent's disk as its shell uses it: one file per record, each replaced whole. A process that dies leaves a beginning of what
//! it was writing; a power cut any part of it, since only a synced directory keeps the order of renames.
use std::collections::{BTreeMap, BTreeSet};

use agent_core::{AgentRecord, Checkpoint, LaunchRecord, PodId, ProgressRecord, Write};

use crate::rng::Rng;

/// The files.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    agent: AgentRecord,
    launches: BTreeMap<PodId, LaunchRecord>,
    progress: BTreeMap<PodId, ProgressRecord>,
}

/// One file is replaced or removed.
#[derive(Debug, Clone)]
enum Change {
    Agent(Box<AgentRecord>),
    Launch(Box<LaunchRecord>),
    Progress(ProgressRecord),
    DropLaunch(PodId),
    DropProgress(PodId),
}

/// What of a write is there after the process died in it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Torn {
    /// The process was killed: a beginning.
    Beginning,
    /// The machine stopped: any part.
    Part,
}

impl Disk {
    /// What the shell reads when it starts. Progress of a pod that was not launched means nothing.
    pub(crate) fn load(&self) -> Checkpoint {
        let pods = self.launches.iter().map(|(id, launch)| {
            let progress = self.progress.get(id).cloned();
            (id.clone(), (launch.clone(), progress))
        });
        Checkpoint { agent: self.agent.clone(), pods: pods.collect() }
    }
    /// A pod's progress.
    pub(crate) fn progress(&self, pod_id: &PodId) -> Option<&ProgressRecord> {
        self.launches.get(pod_id).and_then(|launch| self.progress.get(&launch.pod_id))
    }
    /// Everybody's progress.
    pub(crate) fn all_progress(&self) -> impl Iterator<Item = &ProgressRecord> {
        self.launches.keys().filter_map(|id| self.progress.get(id))
    }
    /// The whole batch.
    pub(crate) fn write(&mut self, writes: &[Write]) {
        changes(writes).into_iter().for_each(|change| self.change(change));
    }
    /// Less than the whole batch.
    pub(crate) fn tear(&mut self, writes: &[Write], torn: Torn, rng: &mut Rng) {
        let changes = changes(writes);
        match torn {
            Torn::Beginning => {
                let count = rng.index(changes.len().max(1));
                changes.into_iter().take(count).for_each(|change| self.change(change));
            }
            Torn::Part => {
                changes.into_iter().filter(|_| rng.percent(50)).for_each(|change| self.change(change));
            }
        }
    }
    fn change(&mut self, change: Change) {
        match change {
            Change::Agent(record) => self.agent = *record,
            Change::Launch(record) => drop(self.launches.insert(record.pod_id.clone(), *record)),
            Change::Progress(record) => drop(self.progress.insert(record.pod_id.clone(), record)),
            Change::DropLaunch(pod_id) => drop(self.launches.remove(&pod_id)),
            Change::DropProgress(pod_id) => drop(self.progress.remove(&pod_id)),
        }
    }
}

/// In the shell's order: of what replaces itself within a batch only the last is written.
fn changes(writes: &[Write]) -> Vec<Change> {
    let (mut agent_is_written, mut written) = (false, BTreeSet::new());
    let mut changes = Vec::new();
    for write in writes.iter().rev() {
        match write {
            Write::Agent(record) => {
                if !std::mem::replace(&mut agent_is_written, true) {
                    changes.push(Change::Agent(Box::new(record.clone())));
                }
            }
            Write::Launch(record) => changes.push(Change::Launch(record.clone())),
            Write::Progress(record) => {
                if written.insert(&record.pod_id) {
                    changes.push(Change::Progress(record.clone()));
                }
            }
            Write::Forget(pod_id) => {
                changes.push(Change::DropProgress(pod_id.clone()));
                changes.push(Change::DropLaunch(pod_id.clone()));
            }
        }
    }
    changes.reverse();
    changes
}
