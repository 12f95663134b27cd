//! What people and frameworks ask of a running scheduler: another target, plans paused and resumed, pods restarted.
use model::{Refusal, Timestamp};

use crate::event::Command;
use crate::plan::coordinator::{Work, plans, steps};
use crate::record::{Intent, UnitKey};
use crate::scheduler::Scheduler;
use crate::spec::{DECOMMISSION, DEPLOY, InstanceName, RECOVERY, ServiceSpec, SpecError, UNINSTALL, VolumeSource};

impl Scheduler {
    /// Makes a specification the target.
    ///
    /// # Errors
    /// If it is invalid or not allowed; then nothing changes.
    pub fn set_target(&mut self, now: Timestamp, spec: ServiceSpec, out: &mut Vec<Command>) -> Result<(), Refusal> {
        if self.meta.uninstalling {
            return Err(Refusal::new(
                "SDK0003",
                "the service is being uninstalled",
                "install it again under another name, or later",
            ));
        }
        spec.validate()?;
        if spec.name != self.owner.framework {
            let problem = format!("'{}' is not the framework's name '{}'", spec.name, self.owner.framework);
            return Err(SpecError { field: "name".to_owned(), problem }.into());
        }
        if spec.role != self.owner.role {
            let problem = format!("'{}' is not the framework's role '{}'", spec.role, self.owner.role);
            return Err(SpecError { field: "role".to_owned(), problem }.into());
        }
        if self.target.as_ref() == Some(&spec) {
            self.finish_step(now, out);
            return Ok(());
        }
        self.refuse_undone(&spec)?;
        self.check_change(&spec)?;
        self.forget_undone(&spec);
        self.replace_target(spec);
        self.finish_step(now, out);
        Ok(())
    }

    pub(crate) fn replace_target(&mut self, spec: ServiceSpec) {
        self.forget_changed_steps(&spec);
        self.target = Some(spec);
        self.meta.generation += 1;
        self.dirty.target = true;
        self.dirty.meta = true;
    }

    pub(crate) fn check_change(&self, spec: &ServiceSpec) -> Result<(), SpecError> {
        for (key, unit) in &self.units {
            let Some(launched) = &unit.spec else { continue };
            let pod = spec.pod(&key.instance.pod);
            let stays = pod.is_some_and(|pod| pod.instances().any(|instance| instance == key.instance));
            let may_leave = pod.map_or(&launched.decommission, |pod| &pod.decommission).is_some();
            if !stays && !may_leave {
                let problem =
                    format!("{} would go, and instances of '{}' are never taken away", key.instance, key.instance.pod);
                return Err(SpecError { field: "pods".to_owned(), problem });
            }
            let Some(pod) = pod else { continue };
            for (task, volume) in launched.tasks.iter().flat_map(|task| task.volumes.iter().map(move |v| (task, v))) {
                let VolumeSource::Persistent { name, size_mib } = &volume.source else { continue };
                let now = pod.task(&task.name).into_iter().flat_map(|task| &task.volumes).find(
                    |other| matches!(&other.source, VolumeSource::Persistent { name: other, .. } if other == name),
                );
                let is_same =
                    now.is_some_and(|now| now.source == volume.source && now.container_path == volume.container_path);
                if stays && !is_same {
                    let problem = format!("the volume '{name}' of {size_mib} MiB holds data and cannot change");
                    return Err(SpecError { field: format!("pods.{}.{}.volumes", pod.name, task.name), problem });
                }
            }
        }
        Ok(())
    }

    /// Steps whose unit does not run as the new target wants begin anew; the others stay complete, with their times.
    fn forget_changed_steps(&mut self, spec: &ServiceSpec) {
        let Some(record) = self.plans.get_mut(DEPLOY) else { return };
        let deploy = spec.deploy_plan();
        let mut kept = std::collections::BTreeMap::new();
        for phase in &deploy.phases {
            for step in steps(phase, spec) {
                let key = format!("{}/{}", phase.name, step.name);
                let is_same = match &step.work {
                    Work::Action(_) => true,
                    Work::Unit(unit) => {
                        let runs = self.units.get(unit).and_then(|unit| unit.spec.as_ref());
                        spec.pod(&unit.instance.pod).zip(runs).is_some_and(|(pod, runs)| runs.runs_as(pod))
                            && !self.decommissions.contains_key(&unit.instance)
                    }
                };
                if is_same && let Some(step) = record.steps.remove(&key) {
                    kept.insert(key, step);
                }
            }
        }
        record.steps = kept;
        self.dirty.plans.insert(DEPLOY.to_owned());
        for (key, unit) in &mut self.units {
            let is_changed = spec
                .pod(&key.instance.pod)
                .is_some_and(|pod| unit.spec.as_ref().is_some_and(|launched| !launched.runs_as(pod)));
            if is_changed && (unit.failures > 0 || unit.ends > 0) {
                // What failed was something else: the new one is tried at once.
                unit.failures = 0;
                unit.ends = 0;
                unit.retry_at = None;
                self.dirty.units.insert(key.clone());
            }
        }
    }

    /// Stops a plan from beginning anything, or lets it go on.
    ///
    /// # Errors
    /// If there is no such plan.
    pub fn pause(
        &mut self,
        now: Timestamp,
        plan: &str,
        is_paused: bool,
        out: &mut Vec<Command>,
    ) -> Result<(), Refusal> {
        self.known_plan(plan)?;
        self.plans.entry(plan.to_owned()).or_default().is_paused = is_paused;
        self.dirty.plans.insert(plan.to_owned());
        self.finish_step(now, out);
        Ok(())
    }

    /// Begins a plan anew.
    ///
    /// # Errors
    /// If there is no such plan, or it is not begun by hand.
    pub fn restart_plan(&mut self, now: Timestamp, plan: &str, out: &mut Vec<Command>) -> Result<(), Refusal> {
        self.known_plan(plan)?;
        if [RECOVERY, DECOMMISSION, UNINSTALL].contains(&plan) {
            let next = "restart or replace a pod, change the target, or uninstall";
            return Err(Refusal::new("SDK0004", format!("the plan '{plan}' begins by itself"), next));
        }
        let target = self.target.clone().expect("only a target has such plans");
        let spec = plans(&target).into_iter().find(|spec| spec.name == plan).expect("it is known");
        let units: Vec<UnitKey> = spec
            .phases
            .iter()
            .flat_map(|phase| steps(phase, &target))
            .filter_map(|step| match step.work {
                Work::Unit(key) => Some(key),
                Work::Action(_) => None,
            })
            .collect();
        for key in units {
            let Some(unit) = self.units.get_mut(&key) else { continue };
            // As if it had been launched from something else: so it rolls, one after the other.
            if let Some(spec) = &mut unit.spec {
                spec.configuration.insert("restarted".to_owned(), self.meta.generation.to_string());
            }
            unit.probed = None;
            self.dirty.units.insert(key);
        }
        self.meta.generation += 1;
        self.dirty.meta = true;
        let record = self.plans.entry(plan.to_owned()).or_default();
        record.steps.clear();
        record.is_active = true;
        record.is_paused = false;
        self.asks.retain(|key, _| !key.starts_with(&format!("action {plan}/")));
        self.dirty.plans.insert(plan.to_owned());
        self.finish_step(now, out);
        Ok(())
    }

    /// Has an instance end and be launched again; with `replace` anywhere, without its data.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn restart_pod(
        &mut self,
        now: Timestamp,
        instance: &InstanceName,
        replace: bool,
        out: &mut Vec<Command>,
    ) -> Result<(), Refusal> {
        let keys = self.units_of(instance);
        if keys.is_empty() || self.decommissions.contains_key(instance) {
            let next = "see `GET /v1/pods` for the instances there are";
            return Err(Refusal::new("SDK0005", format!("there is no instance '{instance}' to restart"), next));
        }
        for key in keys {
            let unit = self.units.get_mut(&key).expect("a key of the map");
            unit.intent = if replace { Intent::Replace } else { Intent::Restart };
            self.dirty.units.insert(key);
        }
        self.finish_step(now, out);
        Ok(())
    }

    /// Begins to remove everything. Idempotent.
    pub fn uninstall(&mut self, now: Timestamp, out: &mut Vec<Command>) {
        self.meta.uninstalling = true;
        self.dirty.meta = true;
        self.finish_step(now, out);
    }

    fn known_plan(&self, plan: &str) -> Result<(), Refusal> {
        let is_own = [RECOVERY, DECOMMISSION].contains(&plan) || (plan == UNINSTALL && self.meta.uninstalling);
        let is_written = self.target.as_ref().is_some_and(|target| plans(target).iter().any(|spec| spec.name == plan));
        if is_own || is_written {
            return Ok(());
        }
        Err(Refusal::new(
            "SDK0006",
            format!("there is no plan '{plan}'"),
            "see `mezzo plan show` for the plans there are",
        ))
    }
}
