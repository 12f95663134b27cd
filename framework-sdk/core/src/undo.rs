//! Targets that cannot be completed. The last one that was complete is kept beside the target; when a changed unit does
//! not come up as it should be now, the target goes back to that one by itself, and what it was made of (its settings) is
//! not taken again until the framework was given something else. Only targets with settings are undone: nobody could
//! tell another framework what counts again.
use model::{Refusal, TaskId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::plan::coordinator::steps;
use crate::record::{UnitKey, UnitRecord};
use crate::scheduler::Scheduler;
use crate::spec::{DEPLOY, ServiceSpec};

/// A target that was undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// When.
    pub at: Timestamp,
    /// What it was made of.
    pub settings: String,
    /// The unit that did not come up.
    pub unit: String,
    /// The task of it that ended or was not ready last: what it wrote says more.
    pub task_id: Option<TaskId>,
    /// What was wrong.
    pub why: Why,
    /// What was heard of it last, in words.
    pub problem: String,
    /// Whether a target made of these settings is refused: until the framework is given others.
    pub is_refused: bool,
}

/// What was wrong with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It ended by itself, so often in a row.
    Ended {
        /// How often.
        times: u32,
    },
    /// It was not ready after so many seconds.
    NotReady {
        /// How many.
        seconds: u64,
    },
}

impl Undone {
    /// In words.
    pub fn words(&self) -> String {
        let what = match self.why {
            Why::Ended { times } => format!("ended {times} times in a row"),
            Why::NotReady { seconds } => format!("was not ready after {seconds} s"),
        };
        let problem = if self.problem.is_empty() { String::new() } else { format!("; last: {}", self.problem) };
        format!("as it should be now, {} {what}{problem}", self.unit)
    }
}

impl Scheduler {
    /// The target that was undone last, unless another one was set since.
    pub fn undone(&self) -> Option<&Undone> {
        self.undone.as_ref()
    }

    /// The last target whose deploy plan was complete.
    pub fn good(&self) -> Option<&ServiceSpec> {
        self.good.as_ref()
    }

    /// What the framework is to make its target of: what it was given, unless that was undone.
    pub fn settings_in_effect<'a>(&'a self, given: &'a str) -> &'a str {
        let is_refused = self.undone.as_ref().is_some_and(|undone| undone.is_refused && undone.settings == given);
        let stored = self.target.as_ref().and_then(|target| target.settings.as_deref());
        if is_refused { stored.unwrap_or(given) } else { given }
    }

    /// Tells what the framework was given now: others than those that were undone may be followed by the same again.
    pub fn given(&mut self, now: Timestamp, settings: &str, out: &mut Vec<crate::event::Command>) {
        if let Some(undone) = &mut self.undone
            && undone.is_refused
            && undone.settings != settings
        {
            undone.is_refused = false;
            self.dirty.undone = true;
        }
        self.finish_step(now, out);
    }

    /// Whether the specification is made of settings that were undone.
    pub(crate) fn refuse_undone(&self, spec: &ServiceSpec) -> Result<(), Refusal> {
        let Some(undone) = &self.undone else { return Ok(()) };
        if !undone.is_refused || spec.settings.as_ref() != Some(&undone.settings) {
            return Ok(());
        }
        let words = format!("these options were undone: {}", undone.words());
        Err(Refusal::new("SDK0013", words, format!("correct them with: mezzo catalog update {}", self.owner.framework)))
    }

    /// A target of other settings was set: what was undone before it is of no interest.
    pub(crate) fn forget_undone(&mut self, spec: &ServiceSpec) {
        let is_other = |undone: &Undone| spec.settings.as_ref() != Some(&undone.settings);
        let is_new = self.target.as_ref().is_none_or(|target| target.settings != spec.settings);
        if is_new && self.undone.as_ref().is_some_and(|undone| is_other(undone) || !undone.is_refused) {
            self.undone = None;
            self.dirty.undone = true;
        }
    }

    /// Remembers a complete target; undoes one that cannot be completed.
    pub(crate) fn advance_undo(&mut self, now: Timestamp) {
        self.note.clear();
        let Some(target) = self.target.as_ref().filter(|target| target.settings.is_some()) else { return };
        if self.good.as_ref() == Some(target) {
            return;
        }
        if self.is_deployed(target) {
            self.good = Some(target.clone());
            self.dirty.good = true;
            return;
        }
        let is_paused = self.plans.get(DEPLOY).is_some_and(|plan| plan.is_paused);
        let Some(good) = self.good.clone().filter(|good| good.settings != target.settings && !is_paused) else {
            return;
        };
        let target = target.clone();
        let mut trouble: Option<(UnitKey, Option<Why>)> = None;
        for (key, unit) in &self.units {
            let Some(judged) = judge(now, key, unit, &target, &good) else { continue };
            if judged.why.is_some() {
                trouble = Some((key.clone(), judged.why));
                break;
            }
            if let Some(until) = judged.until.filter(|_| !self.is_launching(key)) {
                self.wake = Some(self.wake.map_or(until, |wake| wake.min(until)));
                trouble.get_or_insert((key.clone(), None));
            }
        }
        let Some((key, why)) = trouble else { return };
        let command = format!("mezzo catalog update {} --rollback", self.owner.framework);
        let back = self.check_change(&good);
        self.note = match (&back, why) {
            (Err(error), _) => format!("{key} does not come up, and the update cannot be undone by itself: {error}"),
            (Ok(()), Some(_)) => String::new(),
            (Ok(()), None) => {
                let seconds = settle(&key, &target).0 / 1000;
                format!("if {key} is not ready within {seconds} s, the update is undone; at once with: {command}")
            }
        };
        if let (Ok(()), Some(why)) = (back, why) {
            self.undo(now, &key, why, good);
        }
    }

    fn undo(&mut self, now: Timestamp, key: &UnitKey, why: Why, good: ServiceSpec) {
        let unit = &self.units[key];
        let culprit = unit.tasks.iter().find(|(_, task)| task.is_over() || task.ready != Some(true));
        let problem = match culprit {
            _ if !unit.problem.is_empty() => unit.problem.clone(),
            Some((name, task)) => format!("{name} {}", task.message),
            None => String::new(),
        };
        let undone = Undone {
            at: now,
            settings: self.target.as_ref().and_then(|target| target.settings.clone()).unwrap_or_default(),
            unit: key.to_string(),
            task_id: culprit.map(|(_, task)| task.task_id.clone()),
            why,
            problem,
            is_refused: true,
        };
        self.effects.push(crate::event::Command::Noted(format!("{DEPLOY} undone: {}", undone.words())));
        self.undone = Some(undone);
        self.dirty.undone = true;
        self.replace_target(good);
        self.wake_by(now);
    }

    fn is_deployed(&self, target: &ServiceSpec) -> bool {
        let deploy = target.deploy_plan();
        self.decommissions.is_empty()
            && deploy
                .phases
                .iter()
                .all(|phase| steps(phase, target).iter().all(|step| self.is_complete(DEPLOY, &phase.name, &step.name)))
    }
}

/// How a unit that is to be changed is.
struct Judged {
    /// It does not come up.
    why: Option<Why>,
    /// That is said then.
    until: Option<Timestamp>,
}

/// How long the unit may take to be ready.
fn settle(key: &UnitKey, target: &ServiceSpec) -> model::Span {
    target.pod(&key.instance.pod).and_then(|pod| pod.settle).unwrap_or(limits::SETTLE)
}

/// Nothing if the unit is not changed by the target, or is as it should be.
fn judge(now: Timestamp, key: &UnitKey, unit: &UnitRecord, target: &ServiceSpec, good: &ServiceSpec) -> Option<Judged> {
    let (wanted, before) = (target.pod(&key.instance.pod)?, good.pod(&key.instance.pod)?);
    let is_of = |pod: &crate::spec::PodSpec| pod.indices().any(|index| index == key.instance.index);
    if before.runs_as(wanted) || !is_of(before) || !is_of(wanted) {
        return None;
    }
    let since = unit.tried_since?;
    let is_launched = unit.spec.as_ref().is_some_and(|spec| spec.runs_as(wanted));
    if is_launched && unit.ends >= limits::UNDO_ENDS {
        return Some(Judged { why: Some(Why::Ended { times: unit.ends }), until: None });
    }
    if unit.tasks.values().any(|task| task.unreachable_since.is_some()) {
        // Its agent is at fault.
        return None;
    }
    let until = since + settle(key, target);
    let why = (until <= now).then(|| Why::NotReady { seconds: now.since(since).0 / 1000 });
    Some(Judged { why, until: Some(until) })
}
