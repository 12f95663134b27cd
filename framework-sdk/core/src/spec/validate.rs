//! What a specification must satisfy before anything is created for it.
use std::collections::BTreeSet;

use model::Refusal;

use super::{
    CheckKind, CheckSpec, PhaseWork, PlacementRule, PodSpec, PortKind, PortRef, ServiceSpec, VipSpec, VolumeSource,
};
use crate::limits;

/// Why a specification cannot be a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct SpecError {
    /// Path of the field.
    pub field: String,
    /// What is wrong and what is allowed.
    pub problem: String,
}

impl From<SpecError> for Refusal {
    fn from(error: SpecError) -> Self {
        Refusal::new("SDK0001", error.to_string(), "correct the field and set the target again").at(error.field)
    }
}

fn fail<T>(field: impl Into<String>, problem: impl Into<String>) -> Result<T, SpecError> {
    Err(SpecError { field: field.into(), problem: problem.into() })
}

fn name(field: &str, text: &str) -> Result<(), SpecError> {
    let is_good = !text.is_empty()
        && text.len() <= limits::NAME_LENGTH_MAX
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    if is_good {
        return Ok(());
    }
    fail(field, format!("'{text}' must be 1 to {} of a-z, 0-9 and '-', not at the ends", limits::NAME_LENGTH_MAX))
}

impl ServiceSpec {
    /// Checks everything that does not depend on what runs.
    ///
    /// # Errors
    /// The first field at fault.
    pub fn validate(&self) -> Result<(), SpecError> {
        name("name", &self.name)?;
        if self.pods.len() > limits::PODS_MAX {
            return fail("pods", format!("{} pods, the limit is {}", self.pods.len(), limits::PODS_MAX));
        }
        let mut names = BTreeSet::new();
        for (i, pod) in self.pods.iter().enumerate() {
            let field = format!("pods[{i}]");
            if !names.insert(&pod.name) {
                return fail(format!("{field}.name"), format!("'{}' is used twice", pod.name));
            }
            validate_pod(&field, pod)?;
        }
        self.validate_plans()
    }

    fn validate_plans(&self) -> Result<(), SpecError> {
        let mut names = BTreeSet::new();
        for (i, plan) in self.plans.iter().enumerate() {
            name(&format!("plans[{i}].name"), &plan.name)?;
            if !names.insert(&plan.name)
                || [super::RECOVERY, super::DECOMMISSION, super::UNINSTALL].contains(&plan.name.as_str())
            {
                return fail(format!("plans[{i}].name"), format!("'{}' is used already", plan.name));
            }
            let mut phases = BTreeSet::new();
            let mut divided: BTreeSet<(&str, &str)> = BTreeSet::new();
            for (j, phase) in plan.phases.iter().enumerate() {
                let field = format!("plans[{i}].phases[{j}]");
                name(&format!("{field}.name"), &phase.name)?;
                if !phases.insert(&phase.name) {
                    return fail(format!("{field}.name"), format!("'{}' is used twice", phase.name));
                }
                let PhaseWork::Pod { pod, tasks } = &phase.work else { continue };
                let Some(spec) = self.pod(pod) else {
                    return fail(format!("{field}.work"), format!("there is no pod '{pod}'"));
                };
                if let Some(task) = tasks.iter().find(|task| spec.task(task).is_none()) {
                    return fail(format!("{field}.work"), format!("pod '{pod}' has no task '{task}'"));
                }
                let taken = if tasks.is_empty() {
                    spec.tasks.iter().map(|t| t.name.as_str()).collect()
                } else {
                    tasks.iter().map(String::as_str).collect::<Vec<_>>()
                };
                for task in taken {
                    if !divided.insert((pod, task)) {
                        return fail(format!("{field}.work"), format!("task '{task}' of pod '{pod}' is in two phases"));
                    }
                }
            }
        }
        Ok(())
    }
}

fn validate_pod(field: &str, pod: &PodSpec) -> Result<(), SpecError> {
    name(&format!("{field}.name"), &pod.name)?;
    if pod.count > limits::INSTANCES_MAX {
        return fail(
            format!("{field}.count"),
            format!("{} is more than the limit of {}", pod.count, limits::INSTANCES_MAX),
        );
    }
    if pod.tasks.is_empty() || pod.tasks.len() > limits::TASKS_PER_POD_MAX {
        return fail(format!("{field}.tasks"), format!("a pod has 1 to {} tasks", limits::TASKS_PER_POD_MAX));
    }
    for (i, rule) in pod.placement.iter().enumerate() {
        if let PlacementRule::AgentNameIs(names) = rule
            && names.is_empty()
        {
            return fail(format!("{field}.placement[{i}]"), "names no agent, so nothing could ever be placed");
        }
    }
    let mut tasks = BTreeSet::new();
    let mut ports = BTreeSet::new();
    let mut volumes = BTreeSet::new();
    for (i, task) in pod.tasks.iter().enumerate() {
        let field = format!("{field}.tasks[{i}]");
        name(&format!("{field}.name"), &task.name)?;
        if !tasks.insert(&task.name) {
            return fail(format!("{field}.name"), format!("'{}' is used twice", task.name));
        }
        for (amount, what) in [(task.cpus, "cpus"), (task.mem, "mem"), (task.disk, "disk"), (task.gpus, "gpus")] {
            if amount.0 < 0 {
                return fail(format!("{field}.{what}"), format!("{amount} is negative"));
            }
        }
        if task.gpus.0 % 1000 != 0 {
            return fail(format!("{field}.gpus"), format!("{} gpus: a gpu is not divided", task.gpus));
        }
        for (j, port) in task.ports.iter().enumerate() {
            let field = format!("{field}.ports[{j}]");
            name(&format!("{field}.name"), &port.name)?;
            if !ports.insert(&port.name) {
                return fail(format!("{field}.name"), format!("'{}' is used twice in the pod", port.name));
            }
            match port.kind {
                PortKind::Fixed(0) | PortKind::Range(0, _) => {
                    return fail(format!("{field}.kind"), "port 0 cannot be held");
                }
                PortKind::Range(begin, end) if begin > end => {
                    return fail(format!("{field}.kind"), "the range is empty");
                }
                PortKind::Any | PortKind::Shared | PortKind::Fixed(_) | PortKind::Range(..) => {}
            }
        }
        for (j, volume) in task.volumes.iter().enumerate() {
            let field = format!("{field}.volumes[{j}]");
            if !volume.container_path.starts_with('/') {
                return fail(format!("{field}.container_path"), format!("'{}' is not absolute", volume.container_path));
            }
            match &volume.source {
                VolumeSource::Persistent { name: volume_name, .. } => {
                    name(&format!("{field}.source"), volume_name)?;
                    if !volumes.insert(volume_name) {
                        return fail(
                            format!("{field}.source"),
                            format!("volume '{volume_name}' is used twice in the pod"),
                        );
                    }
                }
                VolumeSource::Secret(key) if !key.starts_with("secret/") => {
                    return fail(format!("{field}.source"), format!("'{key}' does not begin with 'secret/'"));
                }
                VolumeSource::Secret(_)
                | VolumeSource::Sandbox(_)
                | VolumeSource::Pod(_)
                | VolumeSource::Tmpfs { .. }
                | VolumeSource::Host(_) => {}
            }
        }
        for (what, check) in [("readiness", &task.readiness), ("health", &task.health)] {
            if let Some(check) = check {
                validate_check(&format!("{field}.{what}"), check, pod)?;
            }
        }
        if let Some(discovery) = &task.discovery {
            name(&format!("{field}.discovery.name"), &discovery.name)?;
            if let Some(port) = discovery.external.iter().find(|port| !task.ports.iter().any(|p| p.name == **port)) {
                return fail(format!("{field}.discovery.external"), format!("the task has no port '{port}'"));
            }
            if let Some(vip) = &discovery.vip {
                validate_vip(&format!("{field}.discovery"), vip, discovery.external.len())?;
            }
        }
    }
    Ok(())
}

fn validate_vip(field: &str, vip: &VipSpec, external: usize) -> Result<(), SpecError> {
    name(&format!("{field}.vip.name"), &vip.name)?;
    if vip.port == 0 {
        return fail(format!("{field}.vip.port"), "must be 1 to 65535");
    }
    if external != 1 {
        let problem = format!("{external} ports are external, behind a virtual address there is one");
        return fail(format!("{field}.external"), problem);
    }
    Ok(())
}

fn validate_check(field: &str, check: &CheckSpec, pod: &PodSpec) -> Result<(), SpecError> {
    let port = match &check.kind {
        CheckKind::Command(argv) if argv.is_empty() => return fail(format!("{field}.kind"), "the command is empty"),
        CheckKind::Command(_) => return Ok(()),
        CheckKind::Http { port, .. } | CheckKind::Tcp(port) => port,
    };
    match port {
        PortRef::Name(name) if !pod.tasks.iter().flat_map(|task| &task.ports).any(|p| p.name == *name) => {
            fail(format!("{field}.kind"), format!("the pod has no port '{name}'"))
        }
        PortRef::Name(_) | PortRef::Number(_) => Ok(()),
    }
}
