//! What ends by itself is launched again; what should end is killed. A unit that completed a step once belongs to
//! recovery whenever no plan is working on it.
use std::collections::BTreeSet;

use model::{TaskState, Timestamp};

use crate::evaluate::Need;
use crate::event::{Answer, Command};
use crate::limits;
use crate::plan::Status;
use crate::record::{Intent, UnitKey, UnitRecord};
use crate::scheduler::{Scheduler, ended, fail};
use crate::spec::{Goal, PodSpec, RECOVERY};

impl Scheduler {
    /// Draws the consequences of tasks that ended: failures are counted, intents that are done are forgotten.
    pub(crate) fn settle_units(&mut self, now: Timestamp) {
        let keys: Vec<UnitKey> = self.units.keys().cloned().collect();
        for key in keys {
            if self.is_launching(&key) {
                continue;
            }
            let mut unit = self.units.remove(&key).expect("a key of the map");
            let before = unit.clone();
            self.settle(now, &key, &mut unit);
            if unit != before {
                self.dirty.units.insert(key.clone());
            }
            self.units.insert(key, unit);
        }
    }

    fn settle(&mut self, now: Timestamp, key: &UnitKey, unit: &mut UnitRecord) {
        if let Some(spec) = &unit.spec {
            let is_ready = unit.executor_id.is_some() && unit.is_at_goal(key, spec);
            if is_ready && unit.ready_since.is_none() {
                unit.ready_since = Some(now);
            }
            if let Some(after) = spec.replace_unreachable_after
                && unit.intent == Intent::Run
                && let Some(since) = unit.tasks.values().filter_map(|task| task.unreachable_since).min()
            {
                if now.since(since) >= after {
                    unit.intent = Intent::Replace;
                } else {
                    self.wake_by(since + after);
                }
            }
        }
        if unit.tasks.values().any(|task| task.state == TaskState::GoneByOperator) {
            // The agent and all that was kept there are no more.
            if let Some(agent) = unit.reserved_on.take() {
                let entry = (agent, key.to_string());
                self.dirty.meta |= self.meta.releases.remove(&entry);
            }
            unit.placement = None;
        }
        if matches!(unit.intent, Intent::Replace | Intent::Leave) {
            // Nobody can end what is unreachable. Should it return, it is unknown here, and killed.
            let lost: Vec<String> = unit
                .tasks
                .iter()
                .filter(|(_, task)| task.state == TaskState::Unreachable)
                .map(|(name, _)| name.clone())
                .collect();
            for name in lost {
                if let Some(task) = unit.tasks.remove(&name) {
                    self.tasks.remove(&task.task_id);
                }
            }
        }
        if !unit.is_over() {
            return;
        }
        if let Some(agent) = unit.forget_reservation_in_doubt() {
            self.meta.releases.insert((agent, key.to_string()));
            self.dirty.meta = true;
        }
        match unit.intent {
            Intent::Run => {
                if unit.executor_id.is_some() && unit.has_failed(key) {
                    let problem = unit
                        .tasks
                        .iter()
                        .filter(|(_, task)| task.state != TaskState::Finished && task.state != TaskState::Killed)
                        .chain(&unit.tasks)
                        .next()
                        .map(|(name, task)| {
                            format!("{name} ended: {:?} {}", task.state, task.message).trim_end().to_owned()
                        })
                        .unwrap_or_default();
                    self.dirty.forget.extend(unit.executor_id.take());
                    let by_itself = [TaskState::Failed, TaskState::Finished, TaskState::Error];
                    if unit.tasks.values().any(|task| by_itself.contains(&task.state)) {
                        ended(unit, now, problem.clone());
                    }
                    fail(unit, now, problem);
                }
            }
            Intent::Restart | Intent::Replace => {
                self.forget_tasks(unit);
                unit.finished.retain(|name, _| {
                    let spec = unit.spec.as_ref().and_then(|spec| spec.task(name));
                    unit.intent == Intent::Restart && spec.is_some_and(|task| task.goal == Goal::Once)
                });
                if unit.intent == Intent::Replace {
                    if let Some(agent) = unit.reserved_on.take() {
                        self.meta.releases.insert((agent, key.to_string()));
                        self.dirty.meta = true;
                    }
                    unit.placement = None;
                }
                let is_kept = unit.intent == Intent::Restart;
                unit.intent = Intent::Run;
                unit.failures = 0;
                // Where it was its images are, and others know it by its address; see `need`.
                unit.retry_at = is_kept.then_some(now);
                unit.problem.clear();
                unit.ready_since = None;
            }
            Intent::Leave => self.forget_tasks(unit),
        }
    }

    fn forget_tasks(&mut self, unit: &mut UnitRecord) {
        for task in unit.tasks.values() {
            self.tasks.remove(&task.task_id);
        }
        unit.tasks.clear();
        self.dirty.forget.extend(unit.executor_id.take());
    }

    /// Ends what should end: by intent, or because a task beside it failed.
    pub(crate) fn advance_kills(&mut self, now: Timestamp) {
        let mut kills = Vec::new();
        for (key, unit) in &self.units {
            if unit.intent == Intent::Run && !(unit.executor_id.is_some() && unit.has_failed(key)) {
                continue;
            }
            if self.is_launching(key) {
                continue;
            }
            let agent_id = unit.placement.as_ref().map(|placement| placement.agent_id.clone());
            for task in unit.tasks.values().filter(|task| !task.is_over()) {
                kills.push((task.task_id.clone(), agent_id.clone()));
            }
        }
        for (task_id, agent_id) in kills {
            let asked = self.kills.get(&task_id).copied();
            match asked.map(|asked| asked + limits::KILL_REPEAT) {
                Some(again) if now < again => self.wake_by(again),
                Some(_) | None => {
                    self.kills.insert(task_id.clone(), now);
                    self.effects.push(Command::Kill { task_id, agent_id });
                    self.wake_by(now + limits::KILL_REPEAT);
                }
            }
        }
        let tasks = &self.tasks;
        self.kills.retain(|task_id, _| tasks.contains_key(task_id));
    }

    pub(crate) fn advance_recovery(&mut self, now: Timestamp) {
        let is_paused = self.plans.get(RECOVERY).is_some_and(|plan| plan.is_paused);
        let driven: BTreeSet<UnitKey> = self.units_in_work();
        let keys: Vec<UnitKey> = self.units.keys().filter(|key| !driven.contains(*key)).cloned().collect();
        for key in keys {
            let unit = &self.units[&key];
            let Some(spec) = unit.spec.clone() else { continue };
            let is_leaving = unit.intent == Intent::Leave || self.decommissions.contains_key(&key.instance);
            if !unit.was_complete || is_leaving || !self.is_wanted(&key) {
                continue;
            }
            if is_whole(&key, unit) && !unit.is_held {
                continue;
            }
            let (status, why) = if is_paused {
                (Status::Waiting, "the plan is paused".to_owned())
            } else {
                self.drive_unit(now, RECOVERY, &key, &spec)
            };
            if status != Status::Complete {
                self.standing.insert(format!("{RECOVERY}/{RECOVERY}/{key}"), (status, why));
            }
        }
    }

    /// Brings a unit that is to run as `spec` one step further; its status and what it waits for.
    pub(crate) fn drive_unit(&mut self, now: Timestamp, plan: &str, key: &UnitKey, spec: &PodSpec) -> (Status, String) {
        if self.is_launching(key) {
            return (Status::Starting, "being launched".to_owned());
        }
        let unit = self.units.entry(key.clone()).or_default();
        if unit.intent != Intent::Run {
            return (Status::Prepared, format!("waits for the tasks of {key} to end"));
        }
        if unit.executor_id.is_none() {
            return self.need(now, key, spec);
        }
        if !unit.is_at_goal(key, spec) {
            return waiting_for(key, unit, spec);
        }
        if unit.probed == unit.executor_id {
            return self.let_go(now, plan, key, spec);
        }
        let Some(placement) = unit.placement.clone() else { return (Status::Complete, String::new()) };
        let executor = unit.executor_id.clone();
        let ask_key = format!("probe {}", executor.as_ref().map_or("", |id| id.as_str()));
        let tasks = key.tasks(spec).map(|task| task.name.clone()).collect();
        let (plan, unit_key) = (plan.to_owned(), key.clone());
        let asking = plan.clone();
        let answer = self.ask(now, &ask_key, |asked, attempt| Command::Probe {
            key: asked,
            plan: asking,
            unit: unit_key,
            tasks,
            placement,
            attempt,
        });
        match answer {
            Answer::Done => {
                self.asks.remove(&ask_key);
                let unit = self.units.get_mut(key).expect("it was there above");
                unit.probed = executor;
                unit.was_complete = true;
                unit.tried_since = None;
                unit.problem.clear();
                self.dirty.units.insert(key.clone());
                // Steps of plans that were looked at before may wait for it to do its work.
                self.wake_by(now);
                self.let_go(now, &plan, key, spec)
            }
            Answer::NotYet(words) => (Status::Started, words),
            Answer::Failed(words) => (Status::Error, words),
        }
    }

    /// The action that is owed to a unit that was held to be rolled, now that it does its work.
    fn let_go(&mut self, now: Timestamp, plan: &str, key: &UnitKey, spec: &PodSpec) -> (Status, String) {
        let unit = &self.units[key];
        if !unit.is_held {
            return (Status::Complete, String::new());
        }
        let executor = unit.executor_id.as_ref().map_or("", |id| id.as_str()).to_owned();
        let action = spec.roll.as_ref().and_then(|roll| roll.after_ready.clone());
        let ask_key = format!("after roll {executor}");
        let answer = match action {
            Some(action) => self.ask_about(now, &ask_key, &action, plan, key),
            None => Answer::Done,
        };
        match answer {
            Answer::Done => {
                self.asks.remove(&ask_key);
                self.units.get_mut(key).expect("it was there above").is_held = false;
                self.dirty.units.insert(key.clone());
                (Status::Complete, String::new())
            }
            Answer::NotYet(words) => (Status::Started, words),
            Answer::Failed(words) => (Status::Error, words),
        }
    }

    /// Has the framework do something about a unit's instance.
    pub(crate) fn ask_about(
        &mut self,
        now: Timestamp,
        ask_key: &str,
        action: &str,
        plan: &str,
        key: &UnitKey,
    ) -> Answer {
        let placement = self.units.get(key).and_then(|unit| unit.placement.clone());
        let (action, plan, instance) = (action.to_owned(), plan.to_owned(), Some(key.instance.clone()));
        self.ask(now, ask_key, |key, attempt| Command::Act { key, action, plan, instance, placement, attempt })
    }

    fn need(&mut self, now: Timestamp, key: &UnitKey, spec: &PodSpec) -> (Status, String) {
        let unit = &self.units[key];
        let tasks: Vec<String> =
            key.tasks(spec).filter(|task| !unit.is_finished(task)).map(|task| task.name.clone()).collect();
        if tasks.is_empty() {
            let unit = self.units.get_mut(key).expect("it was there above");
            unit.was_complete = true;
            unit.tried_since = None;
            unit.spec = Some(spec.clone());
            self.dirty.units.insert(key.clone());
            return (Status::Complete, String::new());
        }
        if let Some(at) = unit.retry_at
            && now < at
        {
            let words = format!("{}; try {} in {} s", unit.problem, unit.failures + 1, at.since(now).0.div_ceil(1000));
            self.wake_by(at);
            return (Status::Delayed, words);
        }
        let mut bound_to = unit.reserved_on.clone().map(|agent| (agent, format!("the data of {key} is there")));
        if bound_to.is_none() && !key.part.is_empty() {
            bound_to = self
                .units
                .iter()
                .filter(|(other, unit)| other.instance == key.instance && *other != key && unit.executor_id.is_some())
                .find_map(|(other, unit)| {
                    Some((unit.placement.as_ref()?.agent_id.clone(), format!("{other} is there")))
                });
        }
        // What failed is started again where it was, with its ports, if that agent offers in time: others may know it by
        // its address, and its images are there.
        let stay = unit.retry_at.map(|at| at + limits::STAY);
        if bound_to.is_none()
            && let (Some(before), Some(until)) = (&unit.placement, stay)
            && now < until
            && !self.is_left(now, &before.agent_id)
        {
            bound_to = Some((before.agent_id.clone(), format!("{key} was there a moment ago")));
            self.wake_by(until);
        }
        let unit = &self.units[key];
        let need = Need {
            unit: key.clone(),
            spec: spec.clone(),
            tasks,
            is_reserved: unit.reserved_on.is_some(),
            bound_to,
            before: unit.placement.clone(),
            common_ports: model::Ranges::default(),
        };
        let mut why = self.obstacle(&need);
        let unit = &self.units[key];
        if unit.failures > 0 && !unit.problem.is_empty() {
            why = format!("{why}; last time: {}", unit.problem);
        }
        self.needs.push(need);
        (Status::Prepared, why)
    }
}

/// Whether a unit runs and does its work.
pub(crate) fn is_whole(key: &UnitKey, unit: &UnitRecord) -> bool {
    unit.executor_id.is_some()
        && unit.intent == Intent::Run
        && unit.spec.as_ref().is_some_and(|spec| unit.is_at_goal(key, spec))
        && unit.probed == unit.executor_id
}

fn waiting_for(key: &UnitKey, unit: &UnitRecord, spec: &PodSpec) -> (Status, String) {
    let mut all_run = true;
    let mut words = Vec::new();
    for task in key.tasks(spec) {
        let Some(record) = unit.tasks.get(&task.name) else { continue };
        if unit.is_finished(task) || unit.is_ready(task) {
            continue;
        }
        let on = unit.placement.as_ref().map_or("", |placement| placement.agent_name.as_str());
        let what = match record.state {
            TaskState::Running if task.goal != Goal::Running => "has not finished".to_owned(),
            TaskState::Running => "is not ready yet".to_owned(),
            TaskState::Staging => "is being sent to its agent".to_owned(),
            TaskState::Starting => "is starting".to_owned(),
            TaskState::Unreachable => "is unreachable".to_owned(),
            TaskState::Killing
            | TaskState::Finished
            | TaskState::Failed
            | TaskState::Killed
            | TaskState::Error
            | TaskState::Lost
            | TaskState::Dropped
            | TaskState::Gone
            | TaskState::GoneByOperator
            | TaskState::Unknown => format!("is {:?}", record.state).to_lowercase(),
        };
        all_run &= record.state == TaskState::Running;
        let message = if record.message.is_empty() { String::new() } else { format!(": {}", record.message) };
        words.push(format!("{} on {on} {what}{message}", task.name));
    }
    (if all_run { Status::Started } else { Status::Starting }, words.join("; "))
}
