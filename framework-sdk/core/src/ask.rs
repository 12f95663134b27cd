//! Probes and actions of the framework: asked one at a time per key, again after a backoff, without ever blocking.
use model::Timestamp;

use crate::backoff;
use crate::event::{Answer, Command};
use crate::limits;
use crate::scheduler::Scheduler;

/// One thing asked of the framework again and again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ask {
    attempt: u32,
    is_in_flight: bool,
    next_at: Timestamp,
    answer: Option<Answer>,
}

impl Scheduler {
    /// The latest answer; asks (again) if it is time. `command` makes the question with the number of the attempt.
    pub(crate) fn ask(&mut self, now: Timestamp, key: &str, command: impl FnOnce(String, u32) -> Command) -> Answer {
        let ask = self.asks.entry(key.to_owned()).or_default();
        if ask.answer == Some(Answer::Done) {
            return Answer::Done;
        }
        let words = ask.answer.clone().unwrap_or(Answer::NotYet("asked the framework".to_owned()));
        if !ask.is_in_flight && now >= ask.next_at {
            ask.is_in_flight = true;
            ask.attempt += 1;
            let attempt = ask.attempt;
            self.effects.push(command(key.to_owned(), attempt));
        } else if !ask.is_in_flight {
            let at = ask.next_at;
            self.wake_by(at);
        }
        words
    }

    pub(crate) fn answered(&mut self, now: Timestamp, key: &str, answer: Answer) {
        let Some(ask) = self.asks.get_mut(key) else { return };
        ask.is_in_flight = false;
        let wait = match answer {
            Answer::Done | Answer::NotYet(_) => backoff::wait(ask.attempt, limits::PROBE_MIN, limits::PROBE_MAX),
            Answer::Failed(_) => backoff::wait(ask.attempt, limits::RETRY_MIN, limits::RETRY_MAX),
        };
        ask.next_at = now + wait;
        ask.answer = Some(answer);
    }
}
