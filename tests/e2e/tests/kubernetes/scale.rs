//! A node more and a node less: quick, gentle to what runs, and no other task is touched.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Result, ensure};
use e2e::cluster::INSTALLED_WITHIN;
use e2e::kubectl::{has_condition, items};
use e2e::{Kubectl, Pool, eventually, until, workload};

use crate::{CLUSTER, SOON};

pub(crate) fn touches_nothing_else(pool: &Pool, kubectl: &Kubectl) -> Result<()> {
    let ids =
        || -> Result<BTreeSet<String>> { Ok(pool.tasks(CLUSTER, false)?.into_iter().map(|task| task.id).collect()) };
    let with_two = ids()?;
    let nodes_before = kubectl.ready_nodes()?;

    let started = Instant::now();
    pool.mezzo(&["kubernetes", "scale", CLUSTER, "--node-count", "3"]).within(INSTALLED_WITHIN).run()?;
    eventually("three Ready nodes", SOON, || Ok((kubectl.ready_nodes()?.len() == 3).then_some(())))?;
    let took = started.elapsed();
    eprintln!("the third node was Ready after {:.1} s", took.as_secs_f64());
    let with_three = ids()?;
    ensure!(with_two.is_subset(&with_three), "scaling up replaced a task: {with_two:?} became {with_three:?}");

    // New pods go to the new node, which has taken their image before it was Ready; so that whichever node leaves has some of the six.
    kubectl.run(&["rollout", "restart", "deployment/web"])?;
    workload::rolled_out(kubectl)?;
    pool.mezzo(&["kubernetes", "scale", CLUSTER, "--node-count", "2"])
        .args(["--delete-emptydir-data", "--force", "--detach", "--yes"])
        .within(SOON)
        .run()?;
    eventually("two nodes", INSTALLED_WITHIN, || {
        let deployment = kubectl.get(&["deployment", "web"])?;
        let available = deployment["status"]["availableReplicas"].as_u64().unwrap_or(0);
        // Not an error to ask again about: a broken promise.
        assert!(available >= 5, "the disruption budget asks for 5 pods, {available} were available");
        let nodes = kubectl.get(&["nodes"])?;
        Ok((items(&nodes).len() == 2 && ids()?.len() == with_two.len()).then_some(()))
    })?;
    let left = ids()?;
    ensure!(left.is_subset(&with_three), "scaling down replaced a task: {with_three:?} became {left:?}");
    let nodes: Vec<String> = kubectl.ready_nodes()?;
    ensure!(nodes.len() == 2, "{nodes:?} are Ready; before there were {nodes_before:?}");
    until("six pods again", SOON, || {
        let deployment = kubectl.get(&["deployment", "web"])?;
        Ok(has_condition(&deployment, "Available") && deployment["status"]["availableReplicas"] == 6)
    })
}
