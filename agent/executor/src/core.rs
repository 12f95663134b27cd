//! What should happen to the containers of a pod: starts, restarts, kills, checks, reports. Pure: time and facts come in as
//! events, deeds go out as commands. A container's own life is in `container.rs`; this ties the containers of a pod together.
mod check;
mod container;
mod event;
mod report;

pub use check::{CheckKind, CheckPlan};
pub use container::{ContainerPlan, RestartPolicy};
pub use event::{Command, Event, Exit, Signal};
pub use report::{EndCause, Report, ReportKind};

use std::collections::BTreeMap;

use model::time::{Span, Timestamp};

use crate::limits::{CONTAINERS_MAX, IDLE_MS_MAX};
use container::{Container, Settled, Stop};
use report::Reports;

/// The pod, from an empty executor to its exit.
#[derive(Debug)]
pub struct Core {
    /// By task id; empty until the pod is started.
    containers: BTreeMap<String, Container>,
    reports: Reports,
    /// Set once a container whose end ends the pod has ended: nothing is started any more.
    is_dying: bool,
    is_exit_asked: bool,
    is_exiting: bool,
    /// Until the pod is started.
    idle_until: Option<Timestamp>,
}

/// One step's clocks and its output.
struct Step<'a> {
    now: Timestamp,
    wall: Timestamp,
    out: &'a mut Vec<Command>,
}

impl Core {
    /// An executor that was told nothing yet.
    pub fn new(now: Timestamp) -> Self {
        Self {
            containers: BTreeMap::new(),
            reports: Reports::default(),
            is_dying: false,
            is_exit_asked: false,
            is_exiting: false,
            idle_until: Some(now + Span(IDLE_MS_MAX)),
        }
    }

    /// Takes one event. `now` never goes back and is for deadlines; `wall` is what people call the time, for reports.
    pub fn step(&mut self, now: Timestamp, wall: Timestamp, event: Event, out: &mut Vec<Command>) {
        let mut step = Step { now, wall, out };
        match event {
            Event::Start { containers } => self.start(containers, &mut step),
            Event::Kill { task_id, grace, reason } => {
                self.stop(&task_id, Stop::asked(reason), grace, &mut step);
            }
            Event::Seen { number } => self.reports.seen(number),
            Event::ExitAsked => self.is_exit_asked = true,
            Event::Connected => step.out.extend(self.reports.unseen().cloned().map(Command::Send)),
            Event::Created { task_id, run, pid } => self.created(&task_id, run, pid, &mut step),
            Event::CreateFailed { task_id, run, error } => {
                self.died(&task_id, run, Exit::LaunchError(error), &mut step);
            }
            Event::Died { task_id, run, exit } => self.died(&task_id, run, exit, &mut step),
            Event::Cleaned { task_id, run, oom_kills } => self.cleaned(&task_id, run, oom_kills, &mut step),
            Event::Checked { task_id, run, kind, passed, message } => {
                self.checked(&task_id, run, kind, passed, message, &mut step);
            }
            Event::Tick => {}
        }
        self.tick(&mut step);
        let is_over = self.containers.values().all(Container::is_ended);
        let is_idle = self.idle_until.is_some_and(|until| until <= step.now);
        if ((self.is_exit_asked && is_over) || is_idle) && !self.is_exiting {
            self.is_exiting = true;
            step.out.push(Command::Exit);
        }
    }

    /// When to send [`Event::Tick`] at the latest.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.containers.values().filter_map(Container::deadline).chain(self.idle_until).min()
    }

    /// A pod is started once; a repetition after a reconnect changes nothing.
    fn start(&mut self, containers: Vec<(String, ContainerPlan)>, step: &mut Step<'_>) {
        if self.idle_until.take().is_none() {
            return;
        }
        let is_too_many = containers.len() > CONTAINERS_MAX;
        for (task_id, plan) in containers {
            let mut container = Container::new(plan);
            let run = container.run();
            if is_too_many {
                let error = format!("a pod has at most {CONTAINERS_MAX} containers");
                container.died(run, Exit::LaunchError(error), step.now);
            }
            let command = if is_too_many {
                Command::Clean { task_id: task_id.clone(), run }
            } else {
                Command::Create { task_id: task_id.clone(), run }
            };
            step.out.push(command);
            self.containers.insert(task_id, container);
        }
    }

    fn created(&mut self, task_id: &str, run: u32, pid: u32, step: &mut Step<'_>) {
        let Some(container) = self.containers.get_mut(task_id).filter(|c| c.is_creating(run)) else { return };
        let signal = container.created(step.now);
        self.report(task_id, ReportKind::Started { pid }, step);
        if let Some(signal) = signal {
            step.out.push(Command::Signal { task_id: task_id.to_owned(), run, signal });
        }
    }

    fn died(&mut self, task_id: &str, run: u32, exit: Exit, step: &mut Step<'_>) {
        let Some(container) = self.containers.get_mut(task_id) else { return };
        if container.died(run, exit, step.now) {
            step.out.push(Command::Clean { task_id: task_id.to_owned(), run });
        }
    }

    fn cleaned(&mut self, task_id: &str, run: u32, oom_kills: u64, step: &mut Step<'_>) {
        let is_dying = self.is_dying;
        let Some(container) = self.containers.get_mut(task_id) else { return };
        match container.cleaned(run, oom_kills, is_dying, step.now) {
            None => {}
            Some(Settled::Restarts { was_ready, count, backoff, why }) => {
                if was_ready {
                    let message = "the container is started again".to_owned();
                    self.report(
                        task_id,
                        ReportKind::Checked { kind: CheckKind::Readiness, passed: false, message },
                        step,
                    );
                }
                self.report(task_id, ReportKind::Restarting { count, backoff, why }, step);
            }
            Some(Settled::Ended(ended)) => self.ended(task_id, ended, step),
        }
    }

    /// Reports the end, and ends the pod with it if the container's policy says so.
    fn ended(&mut self, task_id: &str, ended: ReportKind, step: &mut Step<'_>) {
        let Some(container) = self.containers.get(task_id) else { return };
        let (name, is_fatal) = (container.name().to_owned(), container.policy() == RestartPolicy::GroupDies);
        let how = ended.to_string();
        self.report(task_id, ended, step);
        if !is_fatal || self.is_dying {
            return;
        }
        self.is_dying = true;
        let others: Vec<(String, Span)> =
            self.containers.iter().filter(|(_, c)| !c.is_ended()).map(|(id, c)| (id.clone(), c.kill_grace())).collect();
        for (other, grace) in others {
            let why = format!("container '{name}' of the same pod ended: {how}");
            self.stop(&other, Stop::with_pod(why), grace, step);
        }
    }

    fn stop(&mut self, task_id: &str, stop: Stop, grace: Span, step: &mut Step<'_>) {
        let Some(container) = self.containers.get_mut(task_id) else { return };
        let run = container.run();
        let stopped = container.stop(stop, grace, step.now);
        if let Some(signal) = stopped.signal {
            step.out.push(Command::Signal { task_id: task_id.to_owned(), run, signal });
        }
        if let Some(ended) = stopped.ended {
            self.ended(task_id, ended, step);
        }
    }

    fn checked(&mut self, id: &str, run: u32, kind: CheckKind, passed: bool, message: String, step: &mut Step<'_>) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some(change) = container.checked(run, kind, passed, step.now) else { return };
        let grace = container.kill_grace();
        self.report(id, ReportKind::Checked { kind, passed: change, message: message.clone() }, step);
        if kind == CheckKind::Health && !change {
            self.stop(id, Stop::unhealthy(message), grace, step);
        }
    }

    fn tick(&mut self, step: &mut Step<'_>) {
        let ids: Vec<String> = self.containers.keys().cloned().collect();
        for id in ids {
            let Some(container) = self.containers.get_mut(&id) else { continue };
            if container.is_over_time(step.now) {
                let grace = container.kill_grace();
                let stop = Stop::over_time(container.completion_max());
                self.stop(&id, stop, grace, step);
            }
            let Some(container) = self.containers.get_mut(&id) else { continue };
            if container.is_kill_due(step.now) {
                step.out.push(Command::Signal { task_id: id.clone(), run: container.run(), signal: Signal::Kill });
            }
            if container.is_restart_due(step.now) {
                step.out.push(Command::Create { task_id: id.clone(), run: container.run() });
            }
            for kind in container.due_checks(step.now) {
                step.out.push(Command::Check { task_id: id.clone(), run: container.run(), kind });
            }
        }
    }

    fn report(&mut self, task_id: &str, kind: ReportKind, step: &mut Step<'_>) {
        let report = self.reports.push(task_id, kind, step.wall);
        if matches!(report.kind, ReportKind::Ended { .. }) {
            let name = self.containers.get(task_id).map_or_else(String::new, |c| c.name().to_owned());
            step.out.push(Command::PersistEnded { name, report: report.clone() });
        }
        step.out.push(Command::Send(report));
    }
}

#[cfg(test)]
mod tests;
