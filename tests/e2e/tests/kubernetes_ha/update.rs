//! Updates of a running cluster: nodes are emptied and restarted one at a time, and an update with a flag that no
//! kube-apiserver knows goes back by itself, while somebody writes.

use std::collections::BTreeSet;
use std::thread;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{INSTALLED_WITHIN, SILENCE, is_of_node};
use e2e::kubectl::items;
use e2e::{Kubectl, Pool, Writer, until, workload};
use serde_json::Value;

use crate::{CLUSTER, NODES, SOON, becomes_whole};

/// Of the deployment's four pods three must always be ready.
const BUDGET: &str = r#"
apiVersion: policy/v1beta1
kind: PodDisruptionBudget
metadata: {name: web}
spec:
  minAvailable: 3
  selector: {matchLabels: {app: web}}
"#;
const AT_LEAST: u64 = 3;

/// MiB for pods of each node afterwards.
const MEMORY: &str = "1792";

pub(crate) fn updates(pool: &Pool, kubectl: &Kubectl) -> Result<()> {
    nodes_get_more_memory_one_at_a_time(pool, kubectl)?;
    an_unknown_flag_goes_back(pool, kubectl)
}

/// Ids of the tasks that are not of nodes.
fn control_plane(pool: &Pool) -> Result<BTreeSet<String>> {
    Ok(CLUSTER.tasks(pool)?.into_iter().filter(|task| !is_of_node(&task.name)).map(|task| task.id).collect())
}

fn nodes_get_more_memory_one_at_a_time(pool: &Pool, kubectl: &Kubectl) -> Result<()> {
    kubectl.apply(pool.scratch(), BUDGET)?;
    let before = control_plane(pool)?;
    let memory = format!("node.mem={MEMORY}");
    let update = pool.mezzo(&["catalog", "update", CLUSTER.name, "--set", &memory]).within(INSTALLED_WITHIN);
    let update = thread::spawn(move || update.run());
    until("the end of the update", INSTALLED_WITHIN, || {
        let nodes = kubectl.get(&["nodes"])?;
        let resting = items(&nodes).iter().filter(|node| node["spec"]["unschedulable"] == Value::Bool(true)).count();
        ensure!(resting < NODES, "{resting} nodes at once take no pods");
        let budget = kubectl.get(&["poddisruptionbudget", "web"])?;
        let healthy = budget["status"]["currentHealthy"].as_u64().unwrap_or_default();
        ensure!(healthy >= AT_LEAST, "{healthy} pods are left, the budget wants {AT_LEAST}");
        Ok(update.is_finished())
    })?;
    update.join().ok().context("wait for the update")??;
    ensure!(control_plane(pool)? == before, "more than the nodes was restarted");
    let nodes = kubectl.get(&["nodes"])?;
    for node in items(&nodes) {
        let has = node["status"]["allocatable"]["memory"].as_str().unwrap_or_default();
        ensure!(has == format!("{MEMORY}Mi"), "{} has {has} for pods", node["metadata"]["name"]);
        ensure!(node["spec"]["unschedulable"].is_null(), "{} takes no pods", node["metadata"]["name"]);
    }
    kubectl.run(&["delete", "poddisruptionbudget", "web"])?;
    becomes_whole(pool, kubectl, SOON)?;
    workload::rolled_out(kubectl)
}

fn an_unknown_flag_goes_back(pool: &Pool, kubectl: &Kubectl) -> Result<()> {
    let before: BTreeSet<String> = CLUSTER.tasks(pool)?.into_iter().map(|task| task.id).collect();
    let writer = Writer::start(kubectl, "bad-flag")?;
    let flag = "kube_apiserver.extra_args.no-such-flag=1";
    let output = pool.mezzo(&["catalog", "update", CLUSTER.name, "--set", flag]).within(INSTALLED_WITHIN).output()?;
    let said = &output.stderr;
    ensure!(output.status.code() == Some(1), "the update ended with {}: {said}", output.status);
    ensure!(said.contains("was undone") && said.contains("kube-apiserver-"), "the update said {said}");
    becomes_whole(pool, kubectl, SOON)?;
    writer.finish(kubectl, SILENCE)?;
    let now: BTreeSet<String> = CLUSTER.tasks(pool)?.into_iter().map(|task| task.id).collect();
    let changed: Vec<&String> = now.difference(&before).collect();
    ensure!(changed.len() == 1 && changed[0].starts_with("kube-apiserver-"), "launched anew: {changed:?}");
    let plan = pool.mezzo(&["plan", "show", CLUSTER.name, "deploy"]).run()?;
    ensure!(plan.contains("the last update was undone"), "the plan says {plan}");
    Ok(())
}
