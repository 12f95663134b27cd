//! What an agent's shell is told to do, and why the core decided as it did.
use std::collections::BTreeSet;

use model::link::{FromAgent, Peer};
use model::{Disk, FrameworkId, Holding, Quantities, Refusal, RoleName, Span, TaskId, VolumeId};

use crate::checkpoint::{LaunchRecord, Write};
use crate::pod::PodId;

/// Everything the core may ask of its shell. Commands are complete: the shell makes no choice of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Dial the master after a pause; answered by `LinkUp` (and later `LinkDown`) or `LinkDown`.
    Connect {
        /// The pause.
        after: Span,
    },
    /// Give the stream up; answered by `LinkDown`.
    CloseLink,
    /// Say this to the master.
    Send(FromAgent),
    /// Make this durable, in order; answered by `Checkpointed`. What depends on it comes out afterwards.
    Checkpoint {
        /// Rises by one.
        batch: u64,
        /// What.
        writes: Vec<Write>,
    },
    /// Get a pod ready to start; answered by `Prepared`. Anything a previous attempt left is replaced.
    Prepare {
        /// Everything known of it.
        launch: Box<LaunchRecord>,
    },
    /// Spawn the pod's executor and give it the prepared containers; answered by `ExecutorAttached` or `ExecutorGone`.
    Start {
        /// Which pod.
        pod_id: PodId,
    },
    /// Find the executor of a former life of this agent; answered like `Start`.
    Attach {
        /// Which pod.
        pod_id: PodId,
    },
    /// Have the executor stop a container. Repeating it is harmless.
    Kill {
        /// Which pod.
        pod_id: PodId,
        /// Whose container.
        task_id: TaskId,
        /// Overrides the container's own grace.
        grace: Option<Span>,
        /// In words.
        reason: String,
    },
    /// The executor may forget reports up to this one.
    ReportSeen {
        /// Which pod.
        pod_id: PodId,
        /// The report's number.
        number: u64,
    },
    /// End the preparation or the executor, kill what is left, unmount, forget secrets; answered by `PodDestroyed`.
    /// The sandbox with its logs stays.
    Destroy {
        /// Which pod.
        pod_id: PodId,
    },
    /// Delete what is left of an ended pod.
    RemoveSandbox {
        /// Which pod.
        pod_id: PodId,
    },
    /// Make the volumes on the disk be exactly these: create missing ones, destroy others with their data; answered by
    /// `VolumesSet`.
    SetVolumes {
        /// Of which generation.
        generation: u64,
        /// All there should be.
        volumes: BTreeSet<VolumeKey>,
    },
    /// Route to the other agents' pod subnets.
    SetNetwork(Network),
    /// For the log.
    Note(Decision),
}

/// A volume on this agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VolumeKey {
    /// On which disk; `None`: where the agent keeps everything else.
    pub disk: Option<Disk>,
    /// Whose role.
    pub role: RoleName,
    /// Which.
    pub id: VolumeId,
}

impl VolumeKey {
    /// The volume that a title names, if it names one.
    pub fn of(holding: &Holding, quantities: &Quantities) -> Option<Self> {
        let volume = holding.volume.as_ref()?;
        let disk = quantities.disks.keys().next().cloned();
        Some(Self { disk, role: holding.reservation.role.clone(), id: volume.id.clone() })
    }
}

/// What the agent must know to reach the pods of others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// The subnet leased to this agent (CIDR).
    pub pod_subnet: String,
    /// All leases are cut from this.
    pub pod_range: String,
    /// The others.
    pub peers: Vec<Peer>,
}

/// Why the core did what it did, where that is worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The master knows us now.
    Registered,
    /// The master refused us.
    RefusedByMaster(Refusal),
    /// A message of a deposed master was not obeyed.
    StaleEpoch {
        /// On the message.
        epoch: u64,
        /// The newest seen.
        seen: u64,
    },
    /// The master took us for another agent.
    WrongAgentId {
        /// What it said.
        given: String,
        /// What we are.
        own: String,
    },
    /// Nothing was heard from the master for too long.
    MasterSilent,
    /// A launch was accepted.
    Admitted {
        /// The pod.
        pod_id: PodId,
        /// Whose.
        framework_id: FrameworkId,
    },
    /// A launch was refused.
    LaunchRefused {
        /// Whose.
        framework_id: FrameworkId,
        /// Why.
        refusal: Refusal,
    },
    /// The same launch again: nothing to do.
    LaunchRepeated {
        /// The pod.
        pod_id: PodId,
    },
    /// Nobody here has that task.
    KillUnknown {
        /// Which.
        task_id: TaskId,
    },
    /// An acknowledgement that fits no update in flight.
    AcknowledgeUnknown {
        /// Of which task.
        task_id: TaskId,
    },
    /// Holdings of an older generation were not obeyed.
    StaleHoldings {
        /// On the message.
        generation: u64,
        /// Ours.
        seen: u64,
    },
    /// Holdings that exceed what the agent has were not obeyed.
    HoldingsTooLarge {
        /// What is missing.
        missing: String,
    },
    /// The executor died under its pod.
    ExecutorLost {
        /// Which pod.
        pod_id: PodId,
        /// In words.
        why: String,
    },
    /// A pod is ended because others need what it was given for the time being.
    Preempted {
        /// The pod.
        pod_id: PodId,
        /// In words.
        why: String,
    },
    /// A pod has ended.
    PodEnded {
        /// Which.
        pod_id: PodId,
    },
}
