//! What the core is told, and what it wants done. The shell decides nothing.
use model::call::{InverseOffer, NotYetKnown, Offer, Operation};
use model::task::TaskStatus;
use model::{AgentId, ExecutorId, OfferId, Refusal, Resources, Span, TaskId, UpdateId};
use std::collections::BTreeMap;

use crate::record::{UnitKey, Write};
use crate::spec::{InstanceName, PodSpec};
use crate::view::Placement;

/// What may happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A session begins: the core was just restored from the state of this moment.
    Subscribed,
    /// Offers came.
    Offers(Vec<Offer>),
    /// An offer is void.
    Rescind(OfferId),
    /// Agents are to be emptied.
    InverseOffers(Vec<InverseOffer>),
    /// One is not to be emptied any more, or from another time on.
    RescindInverseOffer(OfferId),
    /// A task's status.
    Update(TaskStatus),
    /// The master cannot say yet how tasks are.
    NotYetKnown(NotYetKnown),
    /// An agent is lost.
    AgentFailed(AgentId),
    /// The answer to [`Command::Launch`].
    Launched(LaunchOutcome),
    /// The answer to [`Command::Release`].
    Released {
        /// What was to be released.
        released: Vec<(AgentId, String)>,
        /// Absent: done.
        refusal: Option<Refusal>,
    },
    /// The answer to [`Command::Probe`] or [`Command::Act`].
    Answered {
        /// Which.
        key: String,
        /// What it says.
        answer: Answer,
    },
    /// The answer to [`Command::EraseState`].
    Erased,
    /// Time has passed.
    Tick,
}

/// What a probe or action says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Done,
    /// Not yet; why.
    NotYet(String),
    /// It failed; how.
    Failed(String),
}

/// What became of a launch.
#[derive(Debug, Clone, PartialEq)]
pub struct LaunchOutcome {
    /// Its number.
    pub launch: u64,
    /// Units that were certainly not launched, and why.
    pub failed: BTreeMap<UnitKey, Refusal>,
    /// Whether the others may have failed, too: their tasks are asked for.
    pub is_uncertain: bool,
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Store. What follows may depend on it.
    Persist(Vec<Write>),
    /// Render the pods, and accept the offers with the operations and what [`crate::Scheduler::launch_writes`] says then.
    Launch(Box<Launch>),
    /// Accept the offers to give reserved resources back.
    Release {
        /// With these.
        offers: Vec<OfferId>,
        /// Destroy and unreserve.
        operations: Vec<Operation>,
        /// What is released.
        released: Vec<(AgentId, String)>,
        /// For the rest.
        refuse: Span,
    },
    /// Give offers back.
    Decline {
        /// Which.
        offers: Vec<OfferId>,
        /// For how long.
        refuse: Span,
    },
    /// Say whether agents will be left in time.
    AnswerInverseOffers {
        /// Which questions.
        offers: Vec<OfferId>,
        /// Whether they will.
        accepted: bool,
    },
    /// End a task.
    Kill {
        /// Which.
        task_id: TaskId,
        /// Where.
        agent_id: Option<AgentId>,
    },
    /// Receipt of an update.
    Acknowledge {
        /// Of which agent.
        agent_id: AgentId,
        /// Of which task.
        task_id: TaskId,
        /// Which.
        uuid: UpdateId,
    },
    /// Ask for the truth. Empty: about all tasks.
    Reconcile(Vec<(TaskId, Option<AgentId>)>),
    /// Some of what it wants takes gpus: agents that have some are kept from frameworks that do not say so.
    DeclareGpus {
        /// Whether offers are not wanted now, and stay so.
        is_suppressed: bool,
    },
    /// Offers are wanted.
    Revive,
    /// Offers are not wanted.
    Suppress,
    /// Ask the framework whether an instance does its work.
    Probe {
        /// To be returned.
        key: String,
        /// The plan that asks.
        plan: String,
        /// The unit.
        unit: UnitKey,
        /// Its tasks.
        tasks: Vec<String>,
        /// Where it is.
        placement: Placement,
        /// From 1.
        attempt: u32,
    },
    /// Have the framework do something.
    Act {
        /// To be returned.
        key: String,
        /// Its name.
        action: String,
        /// The plan that asks.
        plan: String,
        /// About which instance.
        instance: Option<InstanceName>,
        /// Where it is or was.
        placement: Option<Placement>,
        /// From 1.
        attempt: u32,
    },
    /// Delete everything stored, except that the service was removed.
    EraseState,
    /// A step of a plan has a new status: for logs.
    Noted(String),
}

/// Pods launched from the offers of one agent. Rendering takes its time, and one launch may overtake another: what is to
/// be stored with it is asked for when it leaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// Number of the launch, to be returned.
    pub launch: u64,
    /// The offers.
    pub offers: Vec<OfferId>,
    /// The pods, each with what must be done before it is launched.
    pub pods: Vec<PodLaunch>,
    /// For the rest of the offers.
    pub refuse: Span,
}

/// One pod of a launch.
#[derive(Debug, Clone, PartialEq)]
pub struct PodLaunch {
    /// The unit.
    pub unit: UnitKey,
    /// What it is made from.
    pub spec: PodSpec,
    /// Where it goes.
    pub placement: Placement,
    /// The executor.
    pub executor_id: ExecutorId,
    /// What the executor takes.
    pub executor_resources: Resources,
    /// Tasks: name, id, resources.
    pub tasks: Vec<(String, TaskId, Resources)>,
    /// Reservations and volumes that come first.
    pub before: Vec<Operation>,
}
