//! Each component was launched only when the one before it was ready: the plan says so, and so do the tasks' own times.

use anyhow::{Result, ensure};
use e2e::{Pool, Task};

use crate::CLUSTER;

/// What tasks' names begin with, in the order of their launch.
const ORDER: [&str; 6] =
    ["etcd-", "kube-apiserver-", "kube-controller-manager-", "kube-scheduler-", "add-ons-", "node-"];

pub(crate) fn components_started_one_after_the_other(pool: &Pool) -> Result<()> {
    let tasks = pool.tasks(CLUSTER, true)?;
    let of = |prefix: &str| -> Result<Vec<&Task>> {
        let found: Vec<&Task> = tasks.iter().filter(|task| task.name.starts_with(prefix)).collect();
        let names: Vec<&String> = tasks.iter().map(|task| &task.name).collect();
        ensure!(!found.is_empty(), "no task {prefix}* among {names:?}");
        Ok(found)
    };
    for pair in ORDER.windows(2) {
        let running = of(pair[0])?.iter().map(|task| task.running).max().unwrap_or(u64::MAX);
        let launched = of(pair[1])?.iter().map(|task| task.launched).min().unwrap_or(0);
        ensure!(running <= launched, "{}* ran at {running}, {}* was launched at {launched}", pair[0], pair[1]);
    }
    let status = pool.plan_status(CLUSTER, "deploy")?;
    ensure!(status == "COMPLETE", "the plan is {status}");
    let plan = pool.mezzo(&["plan", "show", CLUSTER, "deploy"]).run()?;
    let places: Vec<Option<usize>> = ORDER.iter().map(|prefix| plan.find(prefix)).collect();
    ensure!(places.iter().all(Option::is_some) && places.is_sorted(), "the plan has another order:\n{plan}");
    Ok(())
}
