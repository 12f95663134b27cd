//! What another specification would change, in words: which instances are stopped for it, and why.
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{InstanceName, PodSpec, Root, ServiceSpec, TaskSpec};

/// What happens to a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodChange {
    /// Which.
    pub pod: String,
    /// Instances that are stopped and launched anew, one at a time.
    pub rolled: Vec<InstanceName>,
    /// Instances that come.
    pub added: Vec<InstanceName>,
    /// Instances that go.
    pub removed: Vec<InstanceName>,
    /// What is done before each of the rolled is stopped; empty: nothing.
    pub before_stop: String,
    /// Why they are rolled.
    pub why: Vec<String>,
}

impl ServiceSpec {
    /// What would change if `after` were the target instead. Pods that stay as they are are left out.
    pub fn changes(&self, after: &ServiceSpec) -> Vec<PodChange> {
        let names: BTreeSet<&str> = self.pods.iter().chain(&after.pods).map(|pod| pod.name.as_str()).collect();
        let none = PodSpec::default();
        let mut changes = Vec::new();
        for name in names {
            let (old, new) = (self.pod(name).unwrap_or(&none), after.pod(name).unwrap_or(&none));
            let before: BTreeSet<InstanceName> = old.instances().collect();
            let now: BTreeSet<InstanceName> = new.instances().collect();
            let rolls = !old.runs_as(new);
            let change = PodChange {
                pod: name.to_owned(),
                rolled: before.intersection(&now).filter(|_| rolls).cloned().collect(),
                added: now.difference(&before).cloned().collect(),
                removed: before.difference(&now).cloned().collect(),
                before_stop: new.roll.as_ref().and_then(|roll| roll.before_stop.clone()).unwrap_or_default(),
                why: reasons(old, new),
            };
            if !(change.rolled.is_empty() && change.added.is_empty() && change.removed.is_empty()) {
                changes.push(change);
            }
        }
        changes
    }
}

fn reasons(old: &PodSpec, new: &PodSpec) -> Vec<String> {
    let mut why = Vec::new();
    for task in &new.tasks {
        match old.task(&task.name) {
            Some(before) => of_task(before, task, &mut why),
            None => why.push(format!("{} is new", task.name)),
        }
    }
    for task in old.tasks.iter().filter(|task| new.task(&task.name).is_none()) {
        why.push(format!("{} goes", task.name));
    }
    if (old.executor_cpus, old.executor_mem) != (new.executor_cpus, new.executor_mem) {
        why.push("resources of its executor".to_owned());
    }
    let keys: BTreeSet<&String> = old.configuration.keys().chain(new.configuration.keys()).collect();
    why.extend(keys.into_iter().filter(|key| old.configuration.get(*key) != new.configuration.get(*key)).cloned());
    why
}

fn of_task(old: &TaskSpec, new: &TaskSpec, why: &mut Vec<String>) {
    let name = &new.name;
    for (what, before, now) in [
        ("cpus", old.cpus, new.cpus),
        ("memory", old.mem, new.mem),
        ("disk", old.disk, new.disk),
        ("gpus", old.gpus, new.gpus),
    ] {
        if before != now {
            why.push(format!("{what} of {name}: {before} -> {now}"));
        }
    }
    let image = |root: &Root| match root {
        Root::Image(image) => image.clone(),
        Root::Host => "the agent's files".to_owned(),
    };
    if old.root != new.root {
        why.push(format!("image of {name}: {} -> {}", image(&old.root), image(&new.root)));
    }
    let same = TaskSpec {
        cpus: new.cpus,
        mem: new.mem,
        disk: new.disk,
        gpus: new.gpus,
        root: new.root.clone(),
        ..old.clone()
    };
    if same != *new {
        why.push(format!("how {name} is run"));
    }
}
