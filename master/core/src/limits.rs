//! Bounds of everything a peer can make the master keep or do, with their arithmetic.
use model::Span;

/// 16,384 agents: a /8 of pod addresses cut into /22. Those that were given up do not count.
pub const AGENTS_MAX: usize = 16_384;
/// How long agents that are away or gone are kept, if nobody says otherwise: two weeks, as in Mesos.
pub const REGISTRY_AGE: Span = Span::seconds(14 * 24 * 3600);
/// How many that are gone are kept at most, if nobody says otherwise: of a pool of 1,024 every one four times over.
pub const REGISTRY_COUNT: usize = 4_096;
/// As much as an operator may ask for: 1 KiB of memory each.
pub const REGISTRY_COUNT_MAX: usize = 102_400;
/// How often it is looked for those that are too old or too many, as in Mesos.
pub const COLLECTION_INTERVAL: Span = Span::seconds(15 * 60);
/// How often at most, however soon an operator wants agents forgotten.
pub const COLLECTION_INTERVAL_MIN: Span = Span::seconds(1);
/// Frameworks alive at once.
pub const FRAMEWORKS_MAX: usize = 4_096;
/// Ids of ended frameworks that are still refused by name; older ones are refused as unknown.
pub const TORN_DOWN_MAX: usize = 1_024;
/// Sessions that are open but have not yet subscribed or registered: each costs a socket of the shell's.
pub const SESSIONS_MAX: usize = 32_768;
/// Principals an operator lists for privileges: one per framework alive.
pub const PRIVILEGED_MAX: usize = FRAMEWORKS_MAX;
/// Roles of one framework.
pub const ROLES_PER_FRAMEWORK_MAX: usize = 64;
/// Virtual addresses of one framework: 256 frameworks with that many fill the usual range of 65,534.
pub const VIPS_PER_FRAMEWORK_MAX: usize = 256;
/// Tasks alive per framework; with 4,096 frameworks no practical bound on the pool.
pub const TASKS_PER_FRAMEWORK_MAX: usize = 100_000;
/// Tasks one agent may report or run.
pub const TASKS_PER_AGENT_MAX: usize = 4_096;
/// What the master keeps of one task: its name, discovery, secrets and titles. An agent with as many tasks as it may have
/// says all that in one message when it registers: 4,096 x (8 KiB + a status of 3 KiB) is below the link's 64 MiB.
pub const TASK_HEAD_BYTES_MAX: usize = 8 * 1024;
/// Tasks of one pod.
pub const TASKS_PER_POD_MAX: usize = 64;
/// Ended tasks remembered per framework, so that their ids are not launched again and late agents are told to kill them.
pub const REMEMBERED_TASKS_PER_FRAMEWORK_MAX: usize = 10_000;
/// Offers named in one call: one per agent would be usual, an accept takes those of one agent.
pub const OFFERS_PER_CALL_MAX: usize = 1_024;
/// Operations of one accept.
pub const OPERATIONS_PER_ACCEPT_MAX: usize = 256;
/// Tasks named in one reconciliation.
pub const RECONCILE_TASKS_MAX: usize = 100_000;
/// Answers told to a framework in one turn; then the shell is asked whether its queue has room for as many again.
pub const ANSWERS_PER_TURN: usize = 1_024;
/// Answers that wait for a framework to read: those of two reconciliations with as many tasks as it may name.
pub const ANSWERS_DUE_MAX: usize = 2 * RECONCILE_TASKS_MAX + 64;
/// Tasks of which one event says that they are not known yet: at 255 bytes each 255 KiB.
pub const NOT_YET_PER_EVENT: usize = 1_024;
/// Nobody is told to ask again sooner.
pub const ASK_AGAIN_MIN: Span = Span::seconds(1);
/// Titles (reservations and volumes) on one agent: each is sent to the agent with every change of any.
pub const HOLDINGS_PER_AGENT_MAX: usize = 512;
/// Kinds of resources under all of these titles together: each is an entry of the list that the agent is sent. A list has
/// 4096 at most, and of what is free and what may be taken back there are 261 each.
pub const HOLDING_ENTRIES_PER_AGENT_MAX: usize = 3_500;
/// Parts into which the numbers of one name fall on one agent, over all titles: as many as one list may have.
pub const RANGES_PER_AGENT_MAX: usize = 4_096;
/// Operations with an id that one framework has not acknowledged: each is repeated to it.
pub const OPERATIONS_PER_FRAMEWORK_MAX: usize = 4_096;
/// Likewise on one agent: they are written whenever the agent's titles change, at 200 bytes each 100 KiB.
pub const OPERATIONS_PER_AGENT_MAX: usize = 512;
/// Operations named in one reconciliation.
pub const RECONCILE_OPERATIONS_MAX: usize = OPERATIONS_PER_FRAMEWORK_MAX;
/// After which a framework is told again what became of an operation, doubling, as agents do with tasks.
pub const OPERATION_RETRY_MIN: Span = Span::seconds(10);
/// The longest pause between two such tellings.
pub const OPERATION_RETRY_MAX: Span = Span::seconds(600);
/// Outstanding offers of one framework: slow frameworks must not own the pool's memory.
pub const OFFERS_PER_FRAMEWORK_MAX: usize = 16_384;
/// Filters kept per framework, role and agent; more are merged into the newest.
pub const FILTERS_PER_TRIPLE_MAX: usize = 8;
/// The longest filter: 365 days, as in Mesos.
pub const REFUSE_MAX: Span = Span::seconds(365 * 24 * 3600);
/// Between two pings of an agent. 1,000 agents answer 2,500 a second, some 100 KiB.
pub const PING_INTERVAL: Span = Span::millis(400);
/// Pings missed before an agent's tasks are no backends any more: 3 x 400 ms after the first one missed, that is at most
/// 1.6 s after its last answer. With the table's way to the other agents that stays below 2 s.
pub const SILENCE_MISSES: u32 = 3;
/// Pings missed before an agent's session is given up: 15 s.
pub const PING_MISSES_MAX: u32 = 37;
/// Agents looked at in one allocation step: a few ms, also if 1,000 frameworks refuse each.
pub const AGENTS_PER_ALLOCATION: usize = 256;
/// How often agents are looked at again of which something was held back.
pub const RELIEF_EVERY: Span = Span::millis(500);
/// How long the numbers of roles may be behind while there is more to allocate than one step does.
pub const ROLES_SHOWN_EVERY: Span = Span::millis(100);
/// The longest time frameworks get to empty an agent: a week, for data that moves slowly.
pub const DRAIN_GRACE_MAX: Span = Span::seconds(7 * 24 * 3600);
/// Timers fired in one step.
pub const TIMERS_PER_STEP: usize = 256;
/// Agents told of their peers in one step.
pub const PEERS_PER_STEP: usize = 64;
/// Commands held back for the disk. At 1 KiB each 64 MiB; more means the disk stands still, and calls are refused.
pub const HELD_COMMANDS_MAX: usize = 65_536;
/// State writes of one call.
pub const WRITES_PER_CALL_MAX: usize = 256;
/// State entries of one framework, also empty ones: its keys take 32 MiB of the master at most.
pub const STATE_ENTRIES_PER_FRAMEWORK_MAX: usize = 65_536;
/// Length of a framework's name in bytes.
pub const FRAMEWORK_NAME_BYTES_MAX: usize = 256;
/// Length of a state key in bytes.
pub const STATE_KEY_BYTES_MAX: usize = 512;
/// One state value: what the wire carries in one message.
pub const STATE_VALUE_BYTES_MAX: usize = 1024 * 1024;
/// All state of one framework.
pub const STATE_BYTES_PER_FRAMEWORK_MAX: u64 = 64 * 1024 * 1024;
/// The heaviest role: a thousand times the lightest sensible one.
pub const WEIGHT_MILLI_MAX: u64 = 1_000_000;
/// The weight of a role that nobody gave one.
pub const WEIGHT_MILLI_USUAL: u64 = 1000;
/// Roles with a weight of their own: one per framework alive.
pub const WEIGHTS_MAX: usize = FRAMEWORKS_MAX;
/// Roles whose quotas are set in one request.
pub const QUOTAS_PER_REQUEST_MAX: usize = 256;
/// Roles with a quota: one per framework alive.
pub const QUOTAS_MAX: usize = FRAMEWORKS_MAX;
/// Scalars of one quota.
pub const SCALARS_PER_QUOTA_MAX: usize = 32;
/// Alternatives of what an offer has to hold, per framework and role.
pub const SETS_PER_OFFER_FILTER_MAX: usize = 64;
/// Conditions of a framework on agents, per role: looked at for every agent that is offered.
pub const CONSTRAINTS_PER_ROLE_MAX: usize = 1024;
/// A framework that lets offers expire twice in a row is offered nothing for so long, then for twice as long each time: what
/// is lent for a minute and not used should be there for others most of the time.
pub const HOLD_OFF_FIRST: Span = Span::seconds(5);
/// But not longer than this: five of its offers' lives.
pub const HOLD_OFF_MAX: Span = Span::seconds(300);
/// Reasons for withholding told per allocation step, so that explanations never cost more than decisions.
pub const WITHHELD_PER_STEP_MAX: usize = 256;
