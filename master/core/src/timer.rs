//! What is to happen at a time. One queue, so that the shell needs one timer.
use std::collections::BTreeSet;

use model::{AgentId, FrameworkId, OfferId, OperationId, Timestamp};

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Ping an agent, or give its session up.
    Ping(AgentId),
    /// Agents that were given up are forgotten some day.
    Collection,
    /// An agent was away for too long.
    Grace(AgentId),
    /// An agent whose stream ended has not come back at once.
    Silence(AgentId),
    /// The frameworks' time to empty an agent is over.
    Drain(AgentId),
    /// A framework was away for too long.
    Failover(FrameworkId),
    /// An offer was not answered.
    Offer(OfferId),
    /// A framework that answered an inverse offer is asked again.
    InverseOffer(FrameworkId, AgentId),
    /// A framework has not acknowledged what became of an operation.
    Operation(FrameworkId, OperationId),
    /// A framework that let offers expire may have some again.
    HoldOff(FrameworkId),
    /// Filters end.
    Filters,
    /// Agents whose resources were held back may be looked at again.
    Relief,
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Timestamp, Timer)>,
    told: Option<Timestamp>,
}

impl Timers {
    pub(crate) fn set(&mut self, at: Timestamp, timer: Timer) {
        self.queue.insert((at, timer));
    }
    pub(crate) fn unset(&mut self, at: Timestamp, timer: Timer) {
        self.queue.remove(&(at, timer));
    }
    /// The next one whose time has come.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<Timer> {
        if self.queue.first()?.0 > now {
            return None;
        }
        self.queue.pop_first().map(|(_, timer)| timer)
    }
    /// The shell's timer has fired: it has to be told anew.
    pub(crate) fn fired(&mut self) {
        self.told = None;
    }
    /// The time to tell the shell, if it differs from what it knows.
    pub(crate) fn untold(&mut self) -> Option<Timestamp> {
        let next = self.queue.first().map(|(at, _)| *at);
        if next.is_none() || next == self.told {
            return None;
        }
        self.told = next;
        next
    }
    pub(crate) fn contains(&self, at: Timestamp, timer: Timer) -> bool {
        self.queue.contains(&(at, timer))
    }
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}
