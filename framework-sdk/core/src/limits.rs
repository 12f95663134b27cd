//! Every bound of a scheduler, with its arithmetic.
use model::Span;

/// Names become parts of task ids (`<pod>-<index>.<task>.<number>`): 63 + 11 + 63 + 22 is below the 255 of an id.
pub const NAME_LENGTH_MAX: usize = 63;
/// Kinds of pods. The services framework has one per service.
pub const PODS_MAX: usize = 2_000;
/// Instances of one pod.
pub const INSTANCES_MAX: u32 = 10_000;
/// Containers of one pod.
pub const TASKS_PER_POD_MAX: usize = 32;
/// Launches put into one accept: an agent prepares them at the same time.
pub const LAUNCHES_PER_ACCEPT_MAX: usize = 16;
/// Offers whose evaluation is remembered for people.
pub const VERDICTS_MAX: usize = 100;
/// Agents whose latest answer is remembered for one step.
pub const AGENTS_REMEMBERED_MAX: usize = 1_000;
/// An agent is left so long before its announced maintenance starts, and nothing new goes there from then on.
pub const LEAVE_BEFORE: Span = Span::seconds(3600);
/// Tasks named in one reconcile call.
pub const RECONCILE_TASKS_MAX: usize = 1_000;

/// Filter of what is declined while something waits for offers: the Mesos default.
pub const REFUSE_WAITING: Span = Span::seconds(5);
/// Filter of what is declined while nothing waits. A revive clears it.
pub const REFUSE_IDLE: Span = Span::seconds(3600);

/// First wait before an instance that failed is launched again.
pub const RETRY_MIN: Span = Span::seconds(1);
/// Longest wait before an instance that failed is launched again.
pub const RETRY_MAX: Span = Span::seconds(60);
/// An instance that stayed ready for so long is trusted again.
pub const RETRY_FORGET: Span = Span::seconds(120);

/// A changed unit that ended by itself so often in a row will not come up: its target is undone. What is started in
/// place comes so far in six seconds, what is launched again in half a minute.
pub const UNDO_ENDS: u32 = 5;
/// How long a changed unit may take to be ready, from its stop on: an image of a gigabyte takes two minutes.
pub const SETTLE: Span = Span::seconds(600);

/// How long the agent where an instance failed is preferred to all others: offers of freed resources take a second.
pub const STAY: Span = Span::seconds(10);

/// How often the master is asked about agents that do not offer what is to be given back.
pub const AWAY_ASKED_EVERY: Span = Span::seconds(10);

/// First wait between two probes (or tries of an action) that said "not yet".
pub const PROBE_MIN: Span = Span::millis(300);
/// Longest wait between two probes.
pub const PROBE_MAX: Span = Span::seconds(3);

/// First wait for an answer to a reconcile call.
pub const RECONCILE_MIN: Span = Span::seconds(2);
/// Longest wait for an answer to a reconcile call.
pub const RECONCILE_MAX: Span = Span::seconds(30);
/// A task that was asked to end is asked again after so long without news.
pub const KILL_REPEAT: Span = Span::seconds(15);
