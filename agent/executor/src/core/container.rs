//! The life of one container: creating, running, ending, perhaps waiting to be started again, ended.
use model::time::{Span, Timestamp};

use super::check::{Check, CheckKind, CheckPlan};
use super::event::{Exit, Signal};
use super::report::{EndCause, ReportKind};

/// What happens when a container ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// The pod ends with it.
    GroupDies,
    /// It is started again after a wait that doubles from the first to the last figure.
    InPlace {
        /// First wait.
        backoff_min: Span,
        /// Longest wait; a run that lasts longer than this starts over with the first.
        backoff_max: Span,
    },
}

/// What the core must know of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPlan {
    /// Unique in the pod.
    pub name: String,
    /// What happens when it ends.
    pub restart: RestartPolicy,
    /// Gates "ready".
    pub readiness: Option<CheckPlan>,
    /// Ends a run.
    pub health: Option<CheckPlan>,
    /// Between SIGTERM and SIGKILL when nobody says otherwise.
    pub kill_grace: Span,
    /// From its first start; then it is killed.
    pub completion_max: Option<Span>,
}

/// Why a container is being stopped. Later words replace earlier ones only if they are stronger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum StopKind {
    Unhealthy,
    OverTime,
    WithPod,
    Asked,
}

/// A stop and its words.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    kind: StopKind,
    why: String,
}

impl Stop {
    pub(super) fn asked(reason: String) -> Self {
        Self { kind: StopKind::Asked, why: reason }
    }
    pub(super) fn with_pod(why: String) -> Self {
        Self { kind: StopKind::WithPod, why }
    }
    pub(super) fn over_time(max: Span) -> Self {
        Self { kind: StopKind::OverTime, why: format!("ran longer than its completion limit of {} ms", max.0) }
    }
    pub(super) fn unhealthy(message: String) -> Self {
        Self { kind: StopKind::Unhealthy, why: format!("health check failed: {message}") }
    }
}

#[derive(Debug)]
enum Phase {
    Creating,
    Running {
        since: Timestamp,
    },
    /// The init is gone, the rest is being removed.
    Ending {
        exit: Exit,
        ran: Span,
    },
    /// For the next run.
    Waiting {
        until: Timestamp,
        last: Exit,
        oom_kills: u64,
    },
    Ended,
}

/// A stop that is under way.
#[derive(Debug)]
struct Stopping {
    stop: Stop,
    grace: Span,
    /// Nothing before SIGTERM was sent, and after SIGKILL was.
    kill_at: Option<Timestamp>,
}

/// One container.
#[derive(Debug)]
pub(super) struct Container {
    plan: ContainerPlan,
    phase: Phase,
    run: u32,
    /// Waits since a run that lasted.
    streak: u32,
    first_started: Option<Timestamp>,
    stopping: Option<Stopping>,
    checks: Vec<Check>,
}

/// What became of a run that is cleaned up.
pub(super) enum Settled {
    Restarts { was_ready: bool, count: u32, backoff: Span, why: String },
    Ended(ReportKind),
}

/// What a stop does at once.
#[derive(Default)]
pub(super) struct Stopped {
    pub(super) signal: Option<Signal>,
    pub(super) ended: Option<ReportKind>,
}

impl Container {
    pub(super) fn new(plan: ContainerPlan) -> Self {
        Self {
            plan,
            phase: Phase::Creating,
            run: 1,
            streak: 0,
            first_started: None,
            stopping: None,
            checks: Vec::new(),
        }
    }
    pub(super) fn name(&self) -> &str {
        &self.plan.name
    }
    pub(super) fn run(&self) -> u32 {
        self.run
    }
    pub(super) fn policy(&self) -> RestartPolicy {
        self.plan.restart
    }
    pub(super) fn kill_grace(&self) -> Span {
        self.plan.kill_grace
    }
    pub(super) fn completion_max(&self) -> Span {
        self.plan.completion_max.unwrap_or_default()
    }
    pub(super) fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }
    pub(super) fn is_creating(&self, run: u32) -> bool {
        matches!(self.phase, Phase::Creating) && self.run == run
    }

    /// Returns the signal that had to wait for the process.
    pub(super) fn created(&mut self, now: Timestamp) -> Option<Signal> {
        self.phase = Phase::Running { since: now };
        self.first_started.get_or_insert(now);
        let readiness = self.plan.readiness.clone().map(|plan| Check::new(CheckKind::Readiness, plan, now));
        let health = self.plan.health.clone().map(|plan| Check::new(CheckKind::Health, plan, now));
        self.checks = readiness.into_iter().chain(health).collect();
        self.stopping.as_mut().map(|stopping| stopping.begin(now))
    }

    /// Returns whether this was news.
    pub(super) fn died(&mut self, run: u32, exit: Exit, now: Timestamp) -> bool {
        let ran = match &self.phase {
            Phase::Running { since } if self.run == run => now.since(*since),
            Phase::Creating if self.run == run => Span(0),
            Phase::Creating | Phase::Running { .. } | Phase::Ending { .. } | Phase::Waiting { .. } | Phase::Ended => {
                return false;
            }
        };
        self.phase = Phase::Ending { exit, ran };
        true
    }

    /// Decides between another run and the end.
    pub(super) fn cleaned(&mut self, run: u32, oom_kills: u64, is_pod_dying: bool, now: Timestamp) -> Option<Settled> {
        let Phase::Ending { exit, ran } = &self.phase else { return None };
        if self.run != run {
            return None;
        }
        let (exit, ran) = (exit.clone(), *ran);
        let was_ready = self.checks.iter().any(|check| check.kind == CheckKind::Readiness && check.is_passed());
        self.checks.clear();
        let is_final = self.stopping.as_ref().is_some_and(|s| s.stop.kind > StopKind::Unhealthy) || is_pod_dying;
        // What never ran once will not run the next time either.
        let never_ran = matches!(exit, Exit::LaunchError(_)) && self.first_started.is_none();
        match self.plan.restart {
            RestartPolicy::InPlace { backoff_min, backoff_max } if !is_final && !never_ran => {
                let why = match self.stopping.take() {
                    Some(stopping) => stopping.stop.why,
                    None if oom_kills > 0 => format!("{exit}, out of memory ({oom_kills} killed)"),
                    None => exit.to_string(),
                };
                if ran > backoff_max {
                    self.streak = 0;
                }
                let doubled = backoff_min.0.saturating_mul(1_u64 << self.streak.min(32));
                let backoff = Span(doubled.min(backoff_max.0));
                self.streak = self.streak.saturating_add(1);
                let count = self.run;
                self.phase = Phase::Waiting { until: now + backoff, last: exit, oom_kills };
                Some(Settled::Restarts { was_ready, count, backoff, why })
            }
            RestartPolicy::InPlace { .. } | RestartPolicy::GroupDies => Some(Settled::Ended(self.end(exit, oom_kills))),
        }
    }

    /// Stops it for good, or for this run if it is unhealthy. The shorter of two graces counts.
    pub(super) fn stop(&mut self, stop: Stop, grace: Span, now: Timestamp) -> Stopped {
        match &self.phase {
            Phase::Ended => return Stopped::default(),
            Phase::Waiting { last, oom_kills, .. } => {
                let (last, oom_kills) = (last.clone(), *oom_kills);
                self.stopping = Some(Stopping { stop, grace, kill_at: None });
                return Stopped { signal: None, ended: Some(self.end(last, oom_kills)) };
            }
            Phase::Creating | Phase::Running { .. } | Phase::Ending { .. } => {}
        }
        let is_running = matches!(self.phase, Phase::Running { .. });
        let signal = match &mut self.stopping {
            None => {
                let mut stopping = Stopping { stop, grace, kill_at: None };
                let signal = is_running.then(|| stopping.begin(now));
                self.stopping = Some(stopping);
                signal
            }
            Some(stopping) => {
                if stop.kind > stopping.stop.kind {
                    stopping.stop = stop;
                }
                stopping.hurry(grace, now)
            }
        };
        Stopped { signal, ended: None }
    }

    /// Returns the verdict if it changed. A container that is being stopped has no verdicts.
    pub(super) fn checked(&mut self, run: u32, kind: CheckKind, passed: bool, now: Timestamp) -> Option<bool> {
        if self.run != run || !matches!(self.phase, Phase::Running { .. }) || self.stopping.is_some() {
            return None;
        }
        self.checks.iter_mut().find(|check| check.kind == kind)?.done(passed, now)
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let restart = match &self.phase {
            Phase::Ended => return None,
            Phase::Waiting { until, .. } => Some(*until),
            Phase::Creating | Phase::Running { .. } | Phase::Ending { .. } => None,
        };
        let kill = self.stopping.as_ref().and_then(|stopping| stopping.kill_at);
        let over = if self.is_stopped_for_good() { None } else { self.over_time_at() };
        let checks = self.may_check().then(|| self.checks.iter().filter_map(Check::next_at).min()).flatten();
        [restart, kill, over, checks].into_iter().flatten().min()
    }
    pub(super) fn is_over_time(&self, now: Timestamp) -> bool {
        !self.is_ended() && !self.is_stopped_for_good() && self.over_time_at().is_some_and(|at| at <= now)
    }
    /// Whether SIGKILL is due; it is sent once.
    pub(super) fn is_kill_due(&mut self, now: Timestamp) -> bool {
        let is_running = matches!(self.phase, Phase::Running { .. });
        let Some(stopping) = self.stopping.as_mut() else { return false };
        let is_due = stopping.kill_at.is_some_and(|at| at <= now);
        if is_due {
            stopping.kill_at = None;
        }
        is_due && is_running
    }
    /// Whether the next run is due; then it is being created.
    pub(super) fn is_restart_due(&mut self, now: Timestamp) -> bool {
        let is_due = matches!(&self.phase, Phase::Waiting { until, .. } if *until <= now);
        if is_due {
            self.run += 1;
            self.phase = Phase::Creating;
        }
        is_due
    }
    pub(super) fn due_checks(&mut self, now: Timestamp) -> Vec<CheckKind> {
        if !self.may_check() {
            return Vec::new();
        }
        self.checks.iter_mut().filter_map(|check| check.take_due(now).then_some(check.kind)).collect()
    }

    fn may_check(&self) -> bool {
        matches!(self.phase, Phase::Running { .. }) && self.stopping.is_none()
    }
    fn is_stopped_for_good(&self) -> bool {
        self.stopping.as_ref().is_some_and(|stopping| stopping.stop.kind > StopKind::Unhealthy)
    }
    fn over_time_at(&self) -> Option<Timestamp> {
        Some(self.first_started? + self.plan.completion_max?)
    }
    fn end(&mut self, exit: Exit, oom_kills: u64) -> ReportKind {
        self.phase = Phase::Ended;
        let (kind, why) = match self.stopping.take() {
            Some(stopping) => (Some(stopping.stop.kind), stopping.stop.why),
            None => (None, String::new()),
        };
        let cause = match kind {
            Some(StopKind::OverTime) => EndCause::OverTime,
            Some(StopKind::Unhealthy) => EndCause::Unhealthy,
            Some(StopKind::WithPod | StopKind::Asked) | None => EndCause::Other,
        };
        ReportKind::Ended { exit, oom_kills, killed_on_request: kind == Some(StopKind::Asked), why, cause }
    }
}

impl Stopping {
    /// First signal to a running process.
    fn begin(&mut self, now: Timestamp) -> Signal {
        if self.grace == Span(0) {
            return Signal::Kill;
        }
        self.kill_at = Some(now + self.grace);
        Signal::Term
    }
    /// Another stop on top of this one.
    fn hurry(&mut self, grace: Span, now: Timestamp) -> Option<Signal> {
        self.grace = self.grace.min(grace);
        let at = self.kill_at?;
        if grace == Span(0) {
            self.kill_at = None;
            return Some(Signal::Kill);
        }
        self.kill_at = Some(at.min(now + grace));
        None
    }
}
