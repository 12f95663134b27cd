//! The plans of the target at work: whose turn it is, and one step further with each. Rolling (ending what runs to
//! launch it anew) is serial within a phase whatever its strategy: a change must not take all instances at once.
use std::collections::BTreeSet;

use model::Timestamp;

use super::Status;
use super::strategy::turns;
use crate::event::{Answer, Command};
use crate::record::{Intent, StepRecord, UnitKey};
use crate::recovery::is_whole;
use crate::scheduler::Scheduler;
use crate::spec::{DEPLOY, Goal, PhaseSpec, PhaseWork, PlanSpec, PodSpec, ServiceSpec, Strategy};

/// One step of a phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) work: Work,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Work {
    Unit(UnitKey),
    Action(String),
}

/// How the others of a phase are, for a unit that is to be rolled.
struct Others<'a> {
    /// One that does not do its work.
    broken: Option<&'a UnitKey>,
    /// Whether one is being rolled.
    is_rolling: &'a mut bool,
}

/// The steps of a phase for a target.
pub(crate) fn steps(phase: &PhaseSpec, target: &ServiceSpec) -> Vec<Step> {
    match &phase.work {
        PhaseWork::Actions(actions) => {
            actions.iter().map(|name| Step { name: name.clone(), work: Work::Action(name.clone()) }).collect()
        }
        PhaseWork::Pod { pod, tasks } => target
            .pod(pod)
            .into_iter()
            .flat_map(PodSpec::instances)
            .map(|instance| {
                let key = UnitKey::new(instance, tasks);
                Step { name: key.to_string(), work: Work::Unit(key) }
            })
            .collect(),
    }
}

/// All plans written in a target; deploy first.
pub(crate) fn plans(target: &ServiceSpec) -> Vec<PlanSpec> {
    let mut plans = vec![target.deploy_plan()];
    plans.extend(target.plans.iter().filter(|plan| plan.name != DEPLOY).cloned());
    plans
}

impl Scheduler {
    /// Every unit that some plan of the target knows.
    pub(crate) fn wanted_units(&self) -> BTreeSet<UnitKey> {
        let Some(target) = &self.target else { return BTreeSet::new() };
        plans(target)
            .iter()
            .flat_map(|plan| &plan.phases)
            .flat_map(|phase| steps(phase, target))
            .filter_map(|step| match step.work {
                Work::Unit(key) => Some(key),
                Work::Action(_) => None,
            })
            .collect()
    }

    pub(crate) fn is_wanted(&self, key: &UnitKey) -> bool {
        self.wanted.contains(key)
    }

    /// Units a plan is working on now; recovery leaves them alone.
    pub(crate) fn units_in_work(&self) -> BTreeSet<UnitKey> {
        self.in_work.clone()
    }

    pub(crate) fn advance_plans(&mut self, now: Timestamp) {
        self.in_work.clear();
        let Some(target) = self.target.clone() else { return };
        for plan in plans(&target) {
            let record = self.plans.get(&plan.name);
            let is_active = plan.name == DEPLOY || record.is_some_and(|record| record.is_active);
            if is_active {
                let is_paused = record.is_some_and(|record| record.is_paused);
                self.advance_plan(now, &plan, &target, is_paused);
            }
        }
    }

    fn advance_plan(&mut self, now: Timestamp, plan: &PlanSpec, target: &ServiceSpec, is_paused: bool) {
        let phases: Vec<(&PhaseSpec, Vec<Step>)> =
            plan.phases.iter().map(|phase| (phase, steps(phase, target))).collect();
        let mut complete: Vec<bool> = phases
            .iter()
            .map(|(phase, steps)| steps.iter().all(|step| self.is_complete(&plan.name, &phase.name, &step.name)))
            .collect();
        let mut phase_turns = Vec::new();
        let mut is_stale = true;
        for (i, (phase, steps)) in phases.iter().enumerate() {
            if is_stale {
                let members: Vec<(&str, bool)> = phases
                    .iter()
                    .zip(&complete)
                    .map(|((phase, _), complete)| (phase.name.as_str(), *complete))
                    .collect();
                phase_turns = turns(&plan.strategy, &members);
                is_stale = false;
            }
            if complete[i] || !phase_turns[i] {
                continue;
            }
            if is_paused {
                for step in steps {
                    if self.is_complete(&plan.name, &phase.name, &step.name) {
                        continue;
                    }
                    let key = format!("{}/{}/{}", plan.name, phase.name, step.name);
                    self.standing.insert(key, (Status::Waiting, "the plan is paused".to_owned()));
                }
                continue;
            }
            self.advance_phase(now, &plan.name, phase, steps, target);
            complete[i] = steps.iter().all(|step| self.is_complete(&plan.name, &phase.name, &step.name));
            is_stale = complete[i];
        }
        if plan.name != DEPLOY && complete.iter().all(|complete| *complete) {
            // It may be started again; until then its units are recovery's.
            if let Some(record) = self.plans.get_mut(&plan.name) {
                record.is_active = false;
                self.dirty.plans.insert(plan.name.clone());
            }
        }
    }

    fn advance_phase(&mut self, now: Timestamp, plan: &str, phase: &PhaseSpec, steps: &[Step], target: &ServiceSpec) {
        let mut complete: Vec<bool> =
            steps.iter().map(|step| self.is_complete(plan, &phase.name, &step.name)).collect();
        let mut is_rolling = steps.iter().zip(&complete).any(|(step, complete)| {
            let Work::Unit(key) = &step.work else { return false };
            let Some(unit) = self.units.get(key) else { return false };
            let is_new =
                target.pod(&key.instance.pod).is_some_and(|pod| unit.spec.as_ref().is_some_and(|s| s.runs_as(pod)));
            let is_stopped = unit.intent != Intent::Run || unit.executor_id.is_none();
            !complete && unit.was_complete && (is_stopped || is_new || unit.is_held)
        });
        // Whoever does not do its work comes first, or is waited for: two at once would be missing.
        let broken: Option<UnitKey> = steps.iter().find_map(|step| {
            let Work::Unit(key) = &step.work else { return None };
            let unit = self.units.get(key).filter(|_| phase.strategy != Strategy::Serial)?;
            (unit.was_complete && !is_whole(key, unit)).then(|| key.clone())
        });
        let mut step_turns = Vec::new();
        let mut is_stale = true;
        for (i, step) in steps.iter().enumerate() {
            if is_stale {
                let members: Vec<(&str, bool)> =
                    steps.iter().zip(&complete).map(|(step, complete)| (step.name.as_str(), *complete)).collect();
                step_turns = turns(&phase.strategy, &members);
                is_stale = false;
            }
            if complete[i] || !step_turns[i] {
                continue;
            }
            let record_key = format!("{}/{}", phase.name, step.name);
            let (status, why) = match &step.work {
                Work::Action(action) => self.drive_action(now, plan, &record_key, action),
                Work::Unit(key) => {
                    let pod = target.pod(&key.instance.pod).expect("steps are made of the target's pods");
                    let broken = broken.as_ref().filter(|broken| *broken != key);
                    self.drive_step(now, plan, key, pod, Others { broken, is_rolling: &mut is_rolling })
                }
            };
            self.record_step(now, plan, &record_key, &step.work, status);
            complete[i] = status == Status::Complete;
            is_stale = complete[i];
            if is_stale {
                // Steps that were looked at before may have waited for this one.
                self.wake_by(now);
            }
            if !complete[i] {
                self.standing.insert(format!("{plan}/{record_key}"), (status, why));
            }
        }
    }

    fn drive_step(
        &mut self,
        now: Timestamp,
        plan: &str,
        key: &UnitKey,
        pod: &PodSpec,
        others: Others<'_>,
    ) -> (Status, String) {
        if self.decommissions.contains_key(&key.instance) {
            return (Status::Pending, format!("{} is being taken away first", key.instance));
        }
        let is_launching = self.is_launching(key);
        let unit = self.units.entry(key.clone()).or_default();
        let is_old = unit.spec.as_ref().is_some_and(|spec| !spec.runs_as(pod));
        // News of tasks may come before the launch's own result: until that, the launch is not over.
        if is_old && unit.intent == Intent::Run && !(is_launching && unit.is_over()) {
            if !unit.is_over() {
                if unit.was_complete && *others.is_rolling && !unit.is_held {
                    // It goes on as it was until its turn; recovery may look after it.
                    return (Status::Pending, "waits for another instance to be replaced".to_owned());
                }
                if let Some(broken) = others.broken
                    && is_whole(key, unit)
                    && !unit.is_held
                {
                    return (Status::Pending, format!("waits for {broken} to be ready: both would be missing"));
                }
                *others.is_rolling = true;
                self.in_work.insert(key.clone());
                if let Err(waiting) = self.hold(now, plan, key, pod) {
                    return waiting;
                }
                let unit = self.units.get_mut(key).expect("it was there above");
                unit.intent = Intent::Restart;
                unit.tried_since = Some(now);
                unit.ends = 0;
                self.dirty.units.insert(key.clone());
                return (Status::Prepared, format!("{key} is being stopped to be launched as it should be now"));
            }
            if unit.executor_id.is_some() {
                self.dirty.forget.extend(unit.executor_id.take());
                self.dirty.units.insert(key.clone());
            }
            unit.finished.retain(|name, _| pod.task(name).is_some_and(|task| task.goal == Goal::Once));
        }
        self.in_work.insert(key.clone());
        self.drive_unit(now, plan, key, pod)
    }

    /// What is done before a unit is stopped for a roll. One that never did its work as it is has nothing to lose.
    fn hold(&mut self, now: Timestamp, plan: &str, key: &UnitKey, pod: &PodSpec) -> Result<(), (Status, String)> {
        let unit = self.units.get_mut(key).expect("a unit that is stopped is there");
        let action = pod.roll.as_ref().and_then(|roll| roll.before_stop.clone());
        let Some(action) = action.filter(|_| unit.probed == unit.executor_id) else { return Ok(()) };
        if !unit.is_held {
            unit.is_held = true;
            self.dirty.units.insert(key.clone());
        }
        let executor = unit.executor_id.as_ref().map_or("", |id| id.as_str());
        let ask_key = format!("before roll {executor}");
        match self.ask_about(now, &ask_key, &action, plan, key) {
            Answer::Done => {
                self.asks.remove(&ask_key);
                Ok(())
            }
            Answer::NotYet(words) => Err((Status::Starting, words)),
            Answer::Failed(words) => Err((Status::Error, words)),
        }
    }

    fn drive_action(&mut self, now: Timestamp, plan: &str, record_key: &str, action: &str) -> (Status, String) {
        let ask_key = format!("action {plan}/{record_key}");
        let (action, plan) = (action.to_owned(), plan.to_owned());
        let answer = self.ask(now, &ask_key, |key, attempt| Command::Act {
            key,
            action,
            plan,
            instance: None,
            placement: None,
            attempt,
        });
        match answer {
            Answer::Done => {
                self.asks.remove(&ask_key);
                (Status::Complete, String::new())
            }
            Answer::NotYet(words) => (Status::Starting, words),
            Answer::Failed(words) => (Status::Error, words),
        }
    }

    pub(crate) fn record_step(&mut self, now: Timestamp, plan: &str, record_key: &str, work: &Work, status: Status) {
        let launched = match work {
            Work::Unit(key) => self
                .units
                .get(key)
                .filter(|unit| unit.executor_id.is_some())
                .and_then(|unit| unit.tasks.values().map(|task| task.launched_at).min()),
            Work::Action(_) => None,
        };
        let record = self.plans.entry(plan.to_owned()).or_default();
        let step = record.steps.entry(record_key.to_owned()).or_default();
        let before = step.clone();
        step.began_at = step.began_at.or(Some(now));
        if launched.is_some() {
            step.launched_at = launched;
        }
        if status == Status::Complete {
            step.completed_at = Some(now);
        }
        if *step != before {
            self.dirty.plans.insert(plan.to_owned());
        }
    }

    pub(crate) fn step_record(&self, plan: &str, phase: &str, step: &str) -> Option<&StepRecord> {
        self.plans.get(plan)?.steps.get(&format!("{phase}/{step}"))
    }

    pub(crate) fn is_complete(&self, plan: &str, phase: &str, step: &str) -> bool {
        self.step_record(plan, phase, step).is_some_and(|step| step.completed_at.is_some())
    }
}
