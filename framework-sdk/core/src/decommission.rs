//! Instances on their way out: the framework's action, the kill, the framework's action, the release of what they held.
//! Each stage is stored before it begins, so that a restarted scheduler goes on where it was.
use std::collections::{BTreeMap, BTreeSet};

use model::{TaskState, Timestamp};

use crate::event::{Answer, Command};
use crate::plan::Status;
use crate::record::{DecommissionRecord, Intent, Stage, UnitKey};
use crate::scheduler::Scheduler;
use crate::spec::{DECOMMISSION, DecommissionSpec, InstanceName};

impl Scheduler {
    pub(crate) fn advance_decommissions(&mut self, now: Timestamp) {
        self.wanted = self.wanted_units();
        self.begin_decommissions(now);
        self.drop_unwanted_parts();
        if self.plans.get(DECOMMISSION).is_some_and(|plan| plan.is_paused) {
            for (instance, record) in &self.decommissions {
                let key = format!("{DECOMMISSION}/{instance}/{}", stage_name(record.stage, &record.spec));
                self.standing.insert(key, (Status::Waiting, "the plan is paused".to_owned()));
            }
            return;
        }
        // Of each pod one at a time, the highest index first.
        let mut first: BTreeMap<&str, &InstanceName> = BTreeMap::new();
        for instance in self.decommissions.keys() {
            first.insert(&instance.pod, instance);
        }
        let turn: Vec<InstanceName> = first.into_values().cloned().collect();
        for instance in turn {
            self.advance_decommission(now, &instance);
        }
    }

    fn begin_decommissions(&mut self, now: Timestamp) {
        let kept: BTreeSet<&InstanceName> = self.wanted.iter().map(|key| &key.instance).collect();
        let leaving: BTreeSet<InstanceName> =
            self.units.keys().map(|key| &key.instance).filter(|instance| !kept.contains(instance)).cloned().collect();
        for instance in leaving {
            if self.decommissions.contains_key(&instance) {
                continue;
            }
            let units: Vec<UnitKey> = self.units_of(&instance);
            let spec = units.iter().find_map(|key| self.units[key].spec.clone());
            let Some(pod) = spec else {
                for key in units {
                    self.erase_unit(&key);
                }
                continue;
            };
            let spec = self
                .target
                .as_ref()
                .and_then(|target| target.pod(&instance.pod))
                .and_then(|pod| pod.decommission.clone())
                .or(pod.decommission)
                .unwrap_or_default();
            let record = DecommissionRecord { spec, stage: Stage::BeforeKill, began_at: now, stage_at: now };
            self.decommissions.insert(instance.clone(), record);
            self.dirty.decommissions.insert(instance);
        }
    }

    /// Units of instances that stay, which no phase launches any more.
    fn drop_unwanted_parts(&mut self) {
        let parts: Vec<UnitKey> = self
            .units
            .keys()
            .filter(|key| !self.wanted.contains(*key) && !self.decommissions.contains_key(&key.instance))
            .cloned()
            .collect();
        for key in parts {
            if self.leave(&key) {
                self.release(&key);
                self.erase_unit(&key);
            }
        }
    }

    fn advance_decommission(&mut self, now: Timestamp, instance: &InstanceName) {
        let record = self.decommissions[instance].clone();
        let standing = format!("{DECOMMISSION}/{instance}/{}", stage_name(record.stage, &record.spec));
        let mut next = None;
        let outcome = match record.stage {
            Stage::BeforeKill => {
                next = Some(Stage::Kill);
                if self.is_past_saving(now, instance) {
                    Ok(())
                } else {
                    self.stage_action(now, instance, record.spec.before_kill.as_deref())
                }
            }
            Stage::Kill => {
                next = Some(Stage::AfterKill);
                let mut alive = Vec::new();
                for key in self.units_of(instance) {
                    if !self.leave(&key) {
                        alive.push(key.to_string());
                    }
                }
                if alive.is_empty() {
                    Ok(())
                } else {
                    Err((Status::Started, format!("{} is ending", alive.join(", "))))
                }
            }
            Stage::AfterKill => {
                next = Some(Stage::Release);
                self.stage_action(now, instance, record.spec.after_kill.as_deref())
            }
            Stage::Release => {
                for key in self.units_of(instance) {
                    self.release(&key);
                }
                let prefix = instance.to_string();
                let is_held = |unit: &String| *unit == prefix || unit.starts_with(&format!("{prefix}."));
                // What is away gives it back when it returns; nobody waits for that.
                let mut held = self.meta.releases.iter().filter(|(_, unit)| is_held(unit));
                match held.find(|(agent, _)| !self.away.is_away(agent) && !self.is_left(now, agent)) {
                    Some((agent, _)) => {
                        Err((Status::Prepared, format!("waits for agent {agent} to offer what it held")))
                    }
                    None => Ok(()),
                }
            }
        };
        match (outcome, next) {
            (Err((status, why)), _) => {
                self.standing.insert(standing, (status, why));
            }
            (Ok(()), Some(next)) => {
                let record = self.decommissions.get_mut(instance).expect("it is being advanced");
                record.stage = next;
                record.stage_at = now;
                self.dirty.decommissions.insert(instance.clone());
                self.advance_decommission(now, instance);
            }
            (Ok(()), None) => {
                for key in self.units_of(instance) {
                    self.erase_unit(&key);
                }
                self.decommissions.remove(instance);
                self.dirty.decommissions.insert(instance.clone());
                self.effects.push(Command::Noted(format!("{DECOMMISSION}/{instance} Complete")));
                // The next of this pod begins at once.
                self.wake_by(now);
            }
        }
    }

    /// Whether there is nothing left to be careful with: its tasks have ended or are unreachable, or its agent's time is
    /// over and the master kills them.
    fn is_past_saving(&self, now: Timestamp, instance: &InstanceName) -> bool {
        self.units.iter().filter(|(key, _)| key.instance == *instance).all(|(_, unit)| {
            let agent = unit.placement.as_ref().and_then(|placement| self.draining.get(&placement.agent_id));
            agent.is_some_and(|drain| drain.is_drain && drain.unavailability.start <= now)
                || unit.tasks.values().all(|task| task.is_over() || task.state == TaskState::Unreachable)
        })
    }

    fn stage_action(
        &mut self,
        now: Timestamp,
        instance: &InstanceName,
        action: Option<&str>,
    ) -> Result<(), (Status, String)> {
        let Some(action) = action else { return Ok(()) };
        let ask_key = format!("action {DECOMMISSION}/{instance}/{action}");
        let placement = self.units_of(instance).iter().find_map(|key| self.units[key].placement.clone());
        let (name, about) = (action.to_owned(), instance.clone());
        let answer = self.ask(now, &ask_key, |key, attempt| Command::Act {
            key,
            action: name,
            plan: DECOMMISSION.to_owned(),
            instance: Some(about),
            placement,
            attempt,
        });
        match answer {
            Answer::Done => {
                self.asks.remove(&ask_key);
                Ok(())
            }
            Answer::NotYet(words) => Err((Status::Starting, words)),
            Answer::Failed(words) => Err((Status::Error, words)),
        }
    }

    pub(crate) fn units_of(&self, instance: &InstanceName) -> Vec<UnitKey> {
        self.units.keys().filter(|key| key.instance == *instance).cloned().collect()
    }

    /// Has a unit end for good; true when it has.
    pub(crate) fn leave(&mut self, key: &UnitKey) -> bool {
        if self.is_launching(key) {
            return false;
        }
        let unit = self.units.get_mut(key).expect("a key of the map");
        if unit.intent != Intent::Leave {
            unit.intent = Intent::Leave;
            self.dirty.units.insert(key.clone());
        }
        unit.is_over()
    }

    /// Marks what a unit holds to be given back.
    pub(crate) fn release(&mut self, key: &UnitKey) {
        let unit = self.units.get_mut(key).expect("a key of the map");
        if let Some(agent) = unit.reserved_on.take() {
            self.meta.releases.insert((agent, key.to_string()));
            self.dirty.meta = true;
            self.dirty.units.insert(key.clone());
        }
    }

    pub(crate) fn erase_unit(&mut self, key: &UnitKey) {
        let Some(unit) = self.units.remove(key) else { return };
        for task in unit.tasks.values() {
            self.tasks.remove(&task.task_id);
        }
        self.dirty.forget.extend(unit.executor_id);
        self.dirty.units.insert(key.clone());
        for plan in self.plans.iter_mut() {
            let suffix = format!("/{key}");
            let count = plan.1.steps.len();
            plan.1.steps.retain(|step, _| !step.ends_with(&suffix));
            if plan.1.steps.len() != count {
                self.dirty.plans.insert(plan.0.clone());
            }
        }
    }
}

pub(crate) fn stage_name(stage: Stage, spec: &DecommissionSpec) -> String {
    match stage {
        Stage::BeforeKill => spec.before_kill.clone().unwrap_or_else(|| "kill".to_owned()),
        Stage::Kill => "kill".to_owned(),
        Stage::AfterKill => spec.after_kill.clone().unwrap_or_else(|| "release".to_owned()),
        Stage::Release => "release".to_owned(),
    }
}

/// The stages of a decommission as steps.
pub(crate) fn stages(spec: &DecommissionSpec) -> Vec<(Stage, String)> {
    let mut stages = Vec::new();
    if spec.before_kill.is_some() {
        stages.push((Stage::BeforeKill, stage_name(Stage::BeforeKill, spec)));
    }
    stages.push((Stage::Kill, stage_name(Stage::Kill, spec)));
    if spec.after_kill.is_some() {
        stages.push((Stage::AfterKill, stage_name(Stage::AfterKill, spec)));
    }
    stages.push((Stage::Release, stage_name(Stage::Release, spec)));
    stages
}
