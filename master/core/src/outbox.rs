//! Holds back what depends on the disk. A plain queue: nothing overtakes anything, so no peer can see an effect before its
//! cause, and a reply after a crash never promised what was lost. What promises nothing and shows nothing does not queue.
use std::collections::VecDeque;

use crate::command::Command;
use crate::mutation::{Mutation, mutated};
use crate::registry::Record;

/// Commands on their way out.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    records: Vec<Record>,
    staged: Vec<Command>,
    held: VecDeque<(u64, Command)>,
    urgent: Vec<Command>,
    batch: u64,
    persisted: u64,
}

impl Outbox {
    pub(crate) fn persist(&mut self, record: Record) {
        self.records.push(record);
    }
    pub(crate) fn push(&mut self, command: Command) {
        self.staged.push(command);
    }
    /// For pings alone: true whatever the disk does, and late they would say that the agent is silent, not the disk slow.
    pub(crate) fn push_past(&mut self, command: Command) {
        self.urgent.push(command);
    }
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }
    /// Ends a step: what may leave, leaves.
    pub(crate) fn flush(&mut self, out: &mut Vec<Command>) {
        out.append(&mut self.urgent);
        if !self.records.is_empty() {
            self.batch += 1;
            out.push(Command::Persist { batch: self.batch, records: std::mem::take(&mut self.records) });
        }
        if self.persisted >= self.batch || mutated(Mutation::SpeaksBeforeTheDisk) {
            out.append(&mut self.staged);
        } else {
            let batch = self.batch;
            self.held.extend(self.staged.drain(..).map(|command| (batch, command)));
        }
    }
    /// Everything up to this batch is durable.
    pub(crate) fn persisted(&mut self, batch: u64, out: &mut Vec<Command>) {
        assert!(batch <= self.batch, "batch {batch} was never written");
        self.persisted = self.persisted.max(batch);
        while let Some((needs, _)) = self.held.front()
            && *needs <= self.persisted
        {
            out.extend(self.held.pop_front().map(|(_, command)| command));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::SessionId;

    #[test]
    fn nothing_overtakes_what_waits_for_the_disk() {
        let close = |n| Command::CloseAgent { session: SessionId(n) };
        let record = Record::Weight { role: model::RoleName::new("a").expect("valid"), weight_milli: 1 };
        let (mut outbox, mut out) = (Outbox::default(), Vec::new());
        outbox.persist(record.clone());
        outbox.push(close(1));
        outbox.flush(&mut out);
        outbox.push(close(2));
        outbox.flush(&mut out);
        assert_eq!(out, [Command::Persist { batch: 1, records: vec![record] }]);
        out.clear();
        outbox.push_past(close(9));
        outbox.flush(&mut out);
        assert_eq!(out, [close(9)], "but for what promises nothing");
        out.clear();
        outbox.persisted(1, &mut out);
        assert_eq!(out, [close(1), close(2)]);
        out.clear();
        outbox.push(close(3));
        outbox.flush(&mut out);
        assert_eq!(out, [close(3)]);
    }
}
