//! Why the core did what it did: one value per decision, for logs, counters, explanations and the simulator.
use std::sync::Arc;

use model::call::{Offer, Unavailability};
use model::{AgentId, FrameworkId, OfferId, Principal, Refusal, RoleName, Span, TaskId, TaskState, Timestamp};

use crate::registry::AgentMode;
pub use crate::withheld::{Remedy, Withheld};

/// One decision.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant)] // one at a time
pub enum Decision {
    /// A grant became an offer.
    Granted(Arc<Offer>),
    /// Free resources were not offered to somebody.
    Withheld { framework_id: FrameworkId, role: RoleName, agent_id: AgentId, reason: Withheld },
    /// An offer left the book.
    OfferEnded { offer_id: OfferId, framework_id: FrameworkId, agent_id: AgentId, end: OfferEnd },
    /// Somebody was told no.
    Rejected { who: Principal, reason: Rejected },
    /// A pool has a new agent.
    AgentAdmitted { agent_id: AgentId, name: String, pod_subnet: String },
    /// An admitted agent is back.
    AgentReturned { agent_id: AgentId, tasks: usize },
    /// Its stream ended or it answered no ping.
    AgentDisconnected { agent_id: AgentId },
    /// It stayed away for too long.
    AgentUnreachable { agent_id: AgentId },
    /// It would be unreachable, but too many became so lately.
    RemovalHeld { agent_id: AgentId, until: Timestamp },
    /// An operator gave it up, or it stayed away for longer than anybody waits.
    AgentGone { agent_id: AgentId },
    /// It was given up long ago: the registry does not keep it any longer.
    AgentForgotten { agent_id: AgentId },
    /// An operator decided what becomes of it.
    AgentModeSet { agent_id: AgentId, mode: AgentMode },
    /// An operator announced when it is to be maintained, or withdrew that.
    MaintenanceSet { agent_id: AgentId, window: Option<Unavailability> },
    /// A framework said whether it will have left an agent in time.
    InverseOfferAnswered { framework_id: FrameworkId, agent_id: AgentId, accepted: bool },
    /// It is empty, as an operator wanted.
    AgentDrained { agent_id: AgentId },
    /// A framework began a session; with `failover` it took over from another one or came back.
    FrameworkSubscribed { framework_id: FrameworkId, name: String, failover: bool },
    /// Its session ended.
    FrameworkDisconnected { framework_id: FrameworkId },
    /// Everything of it is being killed and freed.
    FrameworkTornDown { framework_id: FrameworkId, cause: TeardownCause },
    /// A task's newest known state changed; `None`: it was not known before.
    TaskBecame { framework_id: FrameworkId, task_id: TaskId, agent_id: AgentId, from: Option<TaskState>, to: TaskState },
    /// An agent runs what it must not: it is told to kill it.
    UnwantedTask { framework_id: FrameworkId, task_id: TaskId, agent_id: AgentId },
    /// Reservations or volumes of an agent changed.
    HoldingsChanged { agent_id: AgentId, generation: u64 },
}

/// How an offer left the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OfferEnd {
    /// The framework used it.
    Accepted,
    /// The framework gave it back.
    Declined,
    /// The framework or the agent went away, or an accept named it beside an invalid one.
    Rescinded,
    /// It was not answered in time.
    Expired,
}

/// Why a framework ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TeardownCause {
    /// It asked for it.
    Framework,
    /// An operator asked for it.
    Operator,
    /// It stayed away longer than its failover timeout.
    FailoverTimeout,
}

macro_rules! rejections {
    ($($(#[$doc:meta])* $variant:ident $({ $($field:ident : $type:ty),* $(,)? })? = $code:literal, $message:literal, $next:literal;)*) => {
        /// Why a request was not done.
        #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
        pub enum Rejected {
            $($(#[$doc])* #[error($message)] $variant $({ $($field: $type),* })?,)*
        }
        impl Rejected {
            /// The stable codes of all reasons with their names.
            pub const ALL: &'static [(&'static str, &'static str)] = &[$(($code, stringify!($variant))),*];
            /// The stable code.
            pub fn code(&self) -> &'static str {
                match self { $(Rejected::$variant { .. } => $code),* }
            }
            fn next_step(&self) -> &'static str {
                match self { $(Rejected::$variant { .. } => $next),* }
            }
        }
    };
}

rejections! {
    /// A call before SUBSCRIBE.
    NotSubscribed = "MST0001", "the session has not subscribed", "send SUBSCRIBE first";
    /// SUBSCRIBE twice on a session.
    AlreadySubscribed = "MST0002", "the session is already subscribed", "open a new session to subscribe again";
    /// The certificate is another framework's.
    ForeignName { name: String, principal: Principal } = "MST0003",
        "{principal} may not act as framework '{name}'", "use the identity framework/{name}, or an operator's";
    /// The name is in use.
    NameTaken { name: String, owner: Principal } = "MST0004",
        "the framework name '{name}' is in use by {owner}", "choose another name, or tear the other framework down";
    /// No role, or too many.
    RoleCount { count: usize, limit: usize } = "MST0005",
        "a framework needs 1 to {limit} roles, this one has {count}", "subscribe with at least one role";
    /// The id's framework has ended.
    TornDown { framework_id: FrameworkId } = "MST0006",
        "framework {framework_id} was torn down, its id is never used again", "subscribe without an id, as a new framework";
    /// The id was never given, or was torn down long ago.
    UnknownFramework { framework: String } = "MST0007",
        "there is no framework '{framework}'", "see `mezzo framework list`";
    /// The framework belongs to somebody else.
    ForeignFramework { framework_id: FrameworkId, principal: Principal } = "MST0008",
        "framework {framework_id} is not {principal}'s", "use the identity it subscribed with first";
    /// A framework changed its name.
    Renamed { framework_id: FrameworkId, name: String } = "MST0009",
        "framework {framework_id} is called '{name}', a framework cannot be renamed", "subscribe with its first name";
    /// Too many of something.
    TooMany { what: &'static str, count: usize, limit: usize } = "MST0010",
        "{count} {what} are more than the limit of {limit}", "ask for less at once";
    /// The disk cannot keep up.
    Busy = "MST0011", "the master's disk does not keep up", "try again in a moment";
    /// An offer is not the framework's to use (any more).
    InvalidOffer { offer_id: OfferId } = "MST0012",
        "offer {offer_id} is not outstanding to this framework", "wait for a new offer";
    /// Offers of different agents or roles in one accept.
    MixedOffers { offer_id: OfferId } = "MST0013",
        "offer {offer_id} is of another agent or role than the first", "accept the offers of one agent and role together";
    /// No offer, or one twice.
    OfferList = "MST0014", "an accept needs at least one offer and each only once", "name each offer once";
    /// More than the offers hold.
    TooMuch { missing: String } = "MST0015",
        "the offers lack {missing}", "ask for what the offers hold, or wait for larger ones";
    /// A malformed request for resources.
    Malformed { what: &'static str } = "MST0016", "{what}", "correct the request";
    /// A task id used before.
    TaskIdUsed { task_id: TaskId } = "MST0017",
        "task id {task_id} was used before by this framework", "give every launch a new task id";
    /// An executor id used before.
    ExecutorIdUsed { executor_id: model::ExecutorId } = "MST0018",
        "executor id {executor_id} was used before by this framework", "give every pod a new executor id";
    /// A task names another agent.
    WrongAgent { task_id: TaskId, agent_id: AgentId } = "MST0019",
        "task {task_id} names agent {agent_id}, which is not the offers' agent", "name the agent of the offers";
    /// Privileges.
    NotPrivileged { task_id: TaskId, principal: Principal } = "MST0020",
        "task {task_id} asks for privileges that {principal} does not have",
        "list the principal in the master's option privileged_principals";
    /// A secret that is not there.
    NoSecret { task_id: TaskId, key: String } = "MST0021",
        "task {task_id} needs the secret '{key}', which is not in the framework's state", "write the secret first";
    /// A reservation for another role.
    WrongRole { role: RoleName, offered: RoleName } = "MST0022",
        "a reservation for role {role} is asked of an offer for role {offered}", "reserve for the role of the offer";
    /// A reservation in another name.
    WrongPrincipal { principal: Principal } = "MST0023",
        "a reservation must carry the framework's own principal {principal}", "put the own principal into the reservation";
    /// A volume id in use.
    VolumeExists { volume: model::VolumeId } = "MST0024",
        "volume {volume} exists on this agent", "give every volume of a role a new id";
    /// An agent with the certificate of another one.
    ForeignAgentName { name: String, certified: String } = "MST0025",
        "the agent calls itself '{name}', its certificate says '{certified}'", "join again under the agent's own name";
    /// An agent id of another pool, or in other hands.
    ForeignAgentId { agent_id: AgentId } = "MST0026",
        "agent id {agent_id} was not given to this agent by this pool", "remove the agent's state directory";
    /// The agent was declared gone.
    AgentGone { agent_id: AgentId } = "MST0027",
        "agent {agent_id} was declared gone", "remove the agent's state directory and join again: it gets a new id";
    /// Longer than anybody waits.
    GraceTooLong { seconds: u64, limit: u64 } = "MST0038",
        "a drain of {seconds} s is longer than the limit of {limit} s", "choose a shorter grace";
    /// The agent has obeyed a newer master.
    NewerMaster { seen: u64, epoch: u64 } = "MST0028",
        "the agent has obeyed epoch {seen}, this master's is {epoch}", "let the agent connect to the newest master";
    /// No subnet left.
    NoSubnet { range: String } = "MST0029",
        "the pool's pod range {range} has no subnet left", "make the pool anew with a larger pod range";
    /// No virtual address left.
    NoVip { range: String } = "MST0039",
        "the pool's VIP range {range} has no address left", "make the pool anew with a larger VIP range";
    /// The agent would be hidden by a virtual address.
    AddressIsVip { address: String, range: String } = "MST0040",
        "the agent's address {address} is in the pool's VIP range {range}",
        "give the agent another address, or make the pool anew with another VIP range";
    /// A message before registration.
    NotRegistered = "MST0030", "the agent has not registered", "register first";
    /// No such agent.
    UnknownAgent { agent: String } = "MST0031", "there is no agent '{agent}'", "see `mezzo agent list`";
    /// Gone is for agents that are away.
    AgentConnected { agent_id: AgentId } = "MST0032",
        "agent {agent_id} is connected", "stop the agent first, or empty it with `mezzo agent drain NAME --mark-gone`";
    /// A weight of nothing, or of too much.
    BadWeight { weight_milli: u64 } = "MST0033",
        "a weight of {weight_milli} thousandths is not between 1 and 1000000", "choose a weight between 0.001 and 1000";
    /// A bad state key or value.
    BadWrite { key: String, why: &'static str } = "MST0034", "state entry '{key}' {why}", "correct the entry";
    /// Too much state.
    StateTooLarge { bytes: u64, limit: u64 } = "MST0035",
        "the framework's state would be {bytes} bytes, the limit is {limit}", "delete entries first";
    /// A second registration on a session, or of a session that was replaced.
    AlreadyRegistered = "MST0036", "the agent has registered on this session", "open a new session";
    /// An answer to a question that stands no more.
    NoInverseOffer { offer_id: OfferId } = "MST0041",
        "inverse offer {offer_id} does not stand", "nothing is to be done: the agent is not wanted back any more";
    /// Maintenance without a window.
    NotScheduled { agent: String } = "MST0042",
        "no maintenance of agent '{agent}' is scheduled", "schedule it first: mezzo maintenance schedule {agent}";
    /// A window cannot be withdrawn while it is used.
    UnderMaintenance { agent: String } = "MST0043",
        "agent '{agent}' is being maintained or drained", "end that first: mezzo maintenance stop {agent}";
    /// Stopping what was not started.
    NotUnderMaintenance { agent: String } = "MST0044",
        "maintenance of agent '{agent}' has not started", "start it, or withdraw it: mezzo maintenance cancel {agent}";
    /// A role that the framework does not have.
    ForeignRole { role: RoleName } = "MST0045",
        "the framework has not subscribed in role {role}", "name roles of the subscription, or subscribe in it";
    /// A quota that makes no sense.
    BadQuota { role: RoleName, why: String } = "MST0046", "the quota of role {role} {why}", "correct the quota";
    /// A limit below what is used.
    QuotaBelowUse { ceiling: crate::quota::Ceiling } = "MST0047",
        "{ceiling}: more than the new limit", "choose a higher limit, free some first, or insist with --force";
    /// More promised than there is.
    QuotaAbovePool { guaranteed: String, total: String } = "MST0048",
        "guarantees of {guaranteed} are more than the pool's {total}",
        "lower a guarantee, add agents first, or insist with --force";
    /// An operation would take the role above a limit.
    OverLimit { ceiling: crate::quota::Ceiling } = "MST0049",
        "{ceiling}: the operation would exceed it", "raise the limit, or free some first";
    /// What the agent's configuration says cannot be changed from outside.
    StaticReservation { role: RoleName } = "MST0051",
        "what the agent's configuration reserves for role {role} stays so reserved",
        "change the agent's --resources, and start it anew";
    /// A volume that something runs on.
    VolumeInUse { volume: model::VolumeId } = "MST0052",
        "volume {volume} is used by something that runs", "end the tasks that have it first";
    /// An operator wants what tasks use.
    InUse { agent_id: AgentId, missing: String } = "MST0053",
        "of what is asked for, tasks on agent {agent_id} use {missing}", "end those tasks first, or ask for less";
    /// An operator wants more than there is.
    AgentLacks { agent_id: AgentId, missing: String } = "MST0054",
        "agent {agent_id} lacks {missing}", "see what it has: `mezzo reservation list`, `mezzo agent show`";
    /// An operator wants something of an agent that is away.
    AgentAway { agent_id: AgentId } = "MST0055",
        "agent {agent_id} is not connected", "bring it back first";
    /// An operation's id that still means another one.
    OperationIdUsed { operation_id: model::OperationId } = "MST0056",
        "operation id {operation_id} is of another operation that is not acknowledged", "give every operation a new id";
    /// A limit that would take away what was asked for.
    LimitBelowRequest { task_id: TaskId, name: &'static str } = "MST0057",
        "task {task_id} limits its {name} to less than it takes", "raise the limit, or take less";
    /// Two kinds of one resource.
    MixedRevocable { task_id: TaskId, name: String } = "MST0058",
        "task {task_id} takes {name} that may be taken back, and {name} that may not", "take only one kind of each resource";
    /// A constraint that cannot be kept.
    BadConstraint { role: RoleName, why: &'static str } = "MST0050",
        "the offer constraints for role {role} {why}", "correct the constraints";
    /// A kill or acknowledgement of a task that is elsewhere.
    WrongTaskAgent { task_id: TaskId } = "MST0037", "task {task_id} is not on that agent", "reconcile the task";
}

impl Rejected {
    /// For whoever asked.
    pub fn refusal(&self) -> Refusal {
        Refusal::new(self.code(), self.to_string(), self.next_step())
    }
}

/// Caps a filter at what the master keeps.
pub(crate) fn capped(span: Span) -> Span {
    span.min(crate::limits::REFUSE_MAX)
}
