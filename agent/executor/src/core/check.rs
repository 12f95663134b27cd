//! One check of one run of a container: when it is due, and how results become a verdict.
use model::time::{Span, Timestamp};

/// Which of a container's checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckKind {
    /// Gates "ready"; never kills.
    Readiness,
    /// Its failure ends the run.
    Health,
}

/// When to check and when to believe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckPlan {
    /// Before the first.
    pub delay: Span,
    /// From the end of one to the start of the next.
    pub interval: Span,
    /// Failures in a row until the verdict is a failure.
    pub consecutive_failures: u32,
    /// From the start until failures count, unless there was a success before.
    pub grace: Span,
}

/// A check's state.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) kind: CheckKind,
    plan: CheckPlan,
    started: Timestamp,
    /// Nothing while one is under way.
    next_at: Option<Timestamp>,
    failures: u32,
    verdict: Option<bool>,
    has_passed: bool,
}

impl Check {
    pub(super) fn new(kind: CheckKind, plan: CheckPlan, now: Timestamp) -> Self {
        let next_at = Some(now + plan.delay);
        Self { kind, plan, started: now, next_at, failures: 0, verdict: None, has_passed: false }
    }
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.next_at
    }
    pub(super) fn is_passed(&self) -> bool {
        self.verdict == Some(true)
    }
    /// Whether to run it now; then it is under way.
    pub(super) fn take_due(&mut self, now: Timestamp) -> bool {
        let is_due = self.next_at.is_some_and(|at| at <= now);
        if is_due {
            self.next_at = None;
        }
        is_due
    }
    /// Takes a result; returns the verdict if it changed.
    pub(super) fn done(&mut self, passed: bool, now: Timestamp) -> Option<bool> {
        self.next_at = Some(now + self.plan.interval);
        if passed {
            self.failures = 0;
            self.has_passed = true;
            return self.change(true);
        }
        if !self.has_passed && now.since(self.started) < self.plan.grace {
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures < self.plan.consecutive_failures {
            return None;
        }
        self.change(false)
    }
    fn change(&mut self, verdict: bool) -> Option<bool> {
        let is_new = self.verdict != Some(verdict);
        self.verdict = Some(verdict);
        is_new.then_some(verdict)
    }
}
