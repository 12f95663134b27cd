//! What the core wants done. Complete: the shell makes no choice, it only carries out, in order.
use model::call::SchedulerEvent;
use model::link::ToAgent;
use model::{FrameworkId, Refusal, Timestamp};

use crate::decision::Decision;
use crate::event::{RequestId, SessionId};
use crate::registry::Record;
use crate::view::Delta;

/// One thing to do.
///
/// Whatever depends on a batch comes out only after [`crate::Event::Persisted`] for it: the shell never holds anything
/// back itself. A command for a session that has ended meanwhile is dropped.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Write these records in one transaction, in order, then say `Persisted`. Several batches may be written together.
    /// A write that fails ends the process.
    Persist { batch: u64, records: Vec<Record> },
    /// Tell a scheduler.
    SendFramework { session: SessionId, event: SchedulerEvent },
    /// The result of a call. For an accept a refusal names the first operation that was not done (`field` is
    /// `operations[i]` or `offers[i]`); the others were.
    ReplyCall { session: SessionId, sequence: u64, result: Result<(), Refusal> },
    /// Say `FrameworkHasRoom` once the session's queue has room for [`crate::limits::ANSWERS_PER_TURN`] events, now or later.
    AwaitRoom { session: SessionId },
    /// Send the framework's whole state as the registry has it now.
    SendState { session: SessionId, framework_id: FrameworkId },
    /// End the stream after what was sent.
    CloseFramework { session: SessionId },
    /// Tell an agent.
    SendAgent { session: SessionId, message: ToAgent },
    /// End the stream after what was sent.
    CloseAgent { session: SessionId },
    /// Answer an operator.
    Reply { request: RequestId, result: Result<(), Refusal> },
    /// Say `AllocationDue` soon, once however often this is asked.
    ScheduleAllocation,
    /// Say `Tick` at this time; replaces the time set before.
    SetTimer { at: Timestamp },
    /// Something that can be listed has changed.
    Changed(Delta),
    /// Something was decided, for logs, metrics and explanations.
    Decided(Decision),
}
