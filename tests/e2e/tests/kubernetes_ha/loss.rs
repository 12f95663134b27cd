//! A host that is cut off and returns, and one that is destroyed, while somebody writes.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use e2e::kubectl::{has_condition, items, name};
use e2e::pool::list;
use e2e::{Kubectl, Pool, until};

use crate::writer::Writer;
use crate::{CLUSTER, INSTALLED_WITHIN, SILENCE, SOON, becomes_whole, kubectl_answers};

pub(crate) fn hosts_are_lost(pool: &mut Pool, kubectl: &Kubectl) -> Result<()> {
    a_host_is_cut_off_and_returns(pool, kubectl)?;
    a_host_is_destroyed(pool, kubectl)?;
    with_too_few_hosts_it_is_said_what_is_missing(pool, kubectl)
}

/// With a fourth agent everything moves; what returns later is ended, and nothing runs twice.
fn a_host_is_cut_off_and_returns(pool: &Pool, kubectl: &Kubectl) -> Result<()> {
    let agent = busiest_agent(pool)?;
    eprintln!("cut off: {agent}");
    let writer = Writer::start(kubectl, "cut-off")?;
    let lost = ids_on(pool, &agent)?;
    pool.unplug(&agent)?;
    kubectl_answers(kubectl)?;
    becomes_whole(pool, kubectl, INSTALLED_WITHIN)?;
    writer.finish(kubectl, "cut-off", SILENCE)?;
    pool.plug_in(&agent)?;
    until("the end of what the others took over", SOON, || {
        let now = ids_on(pool, &agent)?;
        Ok(now.is_disjoint(&lost))
    })?;
    becomes_whole(pool, kubectl, SOON)?;
    pods_run(kubectl)
}

/// The same, and nothing returns.
fn a_host_is_destroyed(pool: &mut Pool, kubectl: &Kubectl) -> Result<()> {
    let agent = busiest_agent(pool)?;
    eprintln!("destroyed: {agent}");
    let writer = Writer::start(kubectl, "destroyed")?;
    pool.destroy(&agent)?;
    kubectl_answers(kubectl)?;
    becomes_whole(pool, kubectl, INSTALLED_WITHIN)?;
    writer.finish(kubectl, "destroyed", SILENCE)?;
    pool.mezzo(&["agent", "gone", &agent, "--yes"]).run()?;
    pods_run(kubectl)
}

/// Three agents are left; now one of them goes.
fn with_too_few_hosts_it_is_said_what_is_missing(pool: &Pool, kubectl: &Kubectl) -> Result<()> {
    let agent = busiest_agent(pool)?;
    eprintln!("cut off, and there is no fourth: {agent}");
    let writer = Writer::start(kubectl, "too-few")?;
    pool.unplug(&agent)?;
    kubectl_answers(kubectl)?;
    let mut said = String::new();
    until("a plan that says what is missing", INSTALLED_WITHIN, || {
        said = pool.mezzo(&["plan", "show", CLUSTER]).run()?;
        Ok(said.contains("2 agents"))
    })
    .with_context(|| said.clone())?;
    eprintln!("{said}");
    kubectl_answers(kubectl)?;
    writer.finish(kubectl, "too-few", SILENCE)?;
    pool.plug_in(&agent)?;
    becomes_whole(pool, kubectl, INSTALLED_WITHIN)?;
    pods_run(kubectl)
}

/// One with a node, and as much else as there is: it is missed most.
fn busiest_agent(pool: &Pool) -> Result<String> {
    let tasks = pool.tasks(CLUSTER, false)?;
    let agents: BTreeSet<&String> = tasks.iter().map(|task| &task.agent).collect();
    let scheduler = pool.all_tasks(false)?.into_iter().find(|task| task.name.contains(CLUSTER) && task.port.is_some());
    let weight = |agent: &&&String| {
        let here = tasks.iter().filter(|task| task.agent == ***agent);
        let is_schedulers = scheduler.as_ref().is_some_and(|task| task.agent == ***agent);
        (here.clone().any(|task| task.name.starts_with("node-")), is_schedulers, here.count())
    };
    agents.iter().max_by_key(weight).map(|agent| (**agent).clone()).context("no agent runs a task")
}

fn ids_on(pool: &Pool, agent: &str) -> Result<BTreeSet<String>> {
    Ok(pool.tasks(CLUSTER, false)?.into_iter().filter(|task| task.agent == agent).map(|task| task.id).collect())
}

/// Every pod of the deployment runs on a node that is Ready.
fn pods_run(kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["rollout", "status", "deployment/web", "--timeout=150s"])?;
    let ready: BTreeSet<String> = kubectl.ready_nodes()?.into_iter().collect();
    let pods = kubectl.get(&["pods", "--selector", "app=web"])?;
    for pod in items(&pods).iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()) {
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        ensure!(has_condition(pod, "Ready") && ready.contains(node), "{} on {node} is not Ready", name(pod));
    }
    ensure!(!list(&pods, "items").is_empty(), "the deployment has no pods");
    Ok(())
}
