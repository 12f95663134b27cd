//! A host that is cut off and returns, one that is destroyed, and one too many, while somebody writes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::cluster::{INSTALLED_WITHIN, SILENCE, is_of_node};
use e2e::kubectl::{items, name};
use e2e::pool::list;
use e2e::{Kubectl, Pool, Seed, Task, Writer, until, workload};

use crate::{CLUSTER, SOON, becomes_whole};

/// What says that a node's machine is not in service.
const TAINT: &str = "node.kubernetes.io/out-of-service";

/// From the moment that the pool knows to the taint, if the cluster's scheduler is elsewhere.
const AT_ONCE: Duration = Duration::from_secs(10);

/// The same, if it was on the lost host and had to be started elsewhere first.
const AFTER_A_MOVE: Duration = Duration::from_secs(60);

/// Which of the hosts is lost.
#[derive(Debug, Clone, Copy)]
enum Lost {
    /// One with a node, and with the cluster's own scheduler if there is such a one: it is missed most.
    Busiest,
    /// One with a node but without the cluster's scheduler, which sees it go.
    SeenByTheScheduler,
}

pub(crate) fn hosts_are_lost(pool: &mut Pool, kubectl: &Kubectl, seed: &mut Seed) -> Result<()> {
    let orders = [[Lost::Busiest, Lost::SeenByTheScheduler], [Lost::SeenByTheScheduler, Lost::Busiest]];
    let [first, second] = seed.one_of(&orders).context("choose an order")?;
    a_host_is_cut_off_and_returns(pool, kubectl, first)?;
    a_host_is_destroyed(pool, kubectl, second)?;
    with_too_few_hosts_it_is_said_what_is_missing(pool, kubectl)
}

/// With a fourth agent everything moves; what returns later is ended by its framework, and nothing runs twice.
fn a_host_is_cut_off_and_returns(pool: &Pool, kubectl: &Kubectl, which: Lost) -> Result<()> {
    let agent = choose(pool, which)?;
    eprintln!("cut off: {agent}");
    let writer = Writer::start(kubectl, "cut-off")?;
    let lost = tasks_on(pool, &agent)?;
    pool.unplug(&agent)?;
    kubectl.answers_within(SILENCE)?;
    is_out_of_service_at_once(pool, kubectl, &agent, &lost)?;
    becomes_whole(pool, kubectl, INSTALLED_WITHIN)?;
    writer.finish(kubectl, SILENCE)?;

    pool.plug_in(&agent)?;
    let lost: BTreeSet<String> = lost.into_iter().map(|task| task.id).collect();
    let mut ends = BTreeMap::new();
    until("the end of what others took over", SOON, || {
        pool.assert_every_launch_is_on_one_agent()?;
        // What ended is forgotten in time: each is asked for until its end was seen.
        let tasks = pool.tasks(CLUSTER.name, true)?.into_iter();
        ends.extend(tasks.filter(|task| lost.contains(&task.id) && task.has_ended()).map(|task| (task.id, task.state)));
        Ok(ends.len() == lost.len())
    })
    .with_context(|| format!("of {lost:?} ended {ends:?}"))?;
    // Nobody but their framework asks for that: mezzo itself leaves a returning agent what it runs.
    ensure!(ends.values().all(|state| state == "killed"), "what returned ended so: {ends:?}");
    becomes_whole(pool, kubectl, SOON)?;
    workload::runs_on_ready_nodes(kubectl)
}

/// The same, and nothing returns.
fn a_host_is_destroyed(pool: &mut Pool, kubectl: &Kubectl, which: Lost) -> Result<()> {
    let agent = choose(pool, which)?;
    eprintln!("destroyed: {agent}");
    let writer = Writer::start(kubectl, "destroyed")?;
    let lost = tasks_on(pool, &agent)?;
    pool.destroy(&agent)?;
    kubectl.answers_within(SILENCE)?;
    is_out_of_service_at_once(pool, kubectl, &agent, &lost)?;
    becomes_whole(pool, kubectl, INSTALLED_WITHIN)?;
    writer.finish(kubectl, SILENCE)?;
    pool.mezzo(&["agent", "gone", &agent, "--yes"]).run()?;
    workload::runs_on_ready_nodes(kubectl)
}

/// Three agents are left; now one of them goes.
fn with_too_few_hosts_it_is_said_what_is_missing(pool: &Pool, kubectl: &Kubectl) -> Result<()> {
    let agent = choose(pool, Lost::Busiest)?;
    eprintln!("cut off, and there is no fourth: {agent}");
    let writer = Writer::start(kubectl, "too-few")?;
    pool.unplug(&agent)?;
    kubectl.answers_within(SILENCE)?;
    let mut said = String::new();
    until("a plan that says what is missing", INSTALLED_WITHIN, || {
        said = pool.mezzo(&["plan", "show", CLUSTER.name]).run()?;
        Ok(said.contains("2 agents"))
    })
    .with_context(|| said.clone())?;
    eprintln!("{said}");
    kubectl.answers_within(SILENCE)?;
    writer.finish(kubectl, SILENCE)?;
    pool.plug_in(&agent)?;
    becomes_whole(pool, kubectl, INSTALLED_WITHIN)?;
    workload::runs_on_ready_nodes(kubectl)
}

/// As soon as the pool knows that an agent is lost, the cluster knows that the node there is.
fn is_out_of_service_at_once(pool: &Pool, kubectl: &Kubectl, agent: &str, lost: &[Task]) -> Result<()> {
    let nodes: BTreeSet<&str> =
        lost.iter().filter(|task| is_of_node(&task.name)).filter_map(|task| task.name.strip_suffix("-node")).collect();
    ensure!(!nodes.is_empty(), "no node was on {agent}");
    until(&format!("the master knows that {agent} is lost"), SOON, || {
        let agents = pool.json(&["agent", "list"])?;
        Ok(list(&agents, "agents").iter().any(|listed| listed["name"] == agent && listed["state"] == "unreachable"))
    })?;
    let known = Instant::now();
    let is_moved = scheduler_agent(pool)?.is_none_or(|place| place == agent);
    let within = if is_moved { AFTER_A_MOVE } else { AT_ONCE };
    until(&format!("{nodes:?} are out of service"), within, || {
        let present = kubectl.get(&["nodes"])?;
        let is_tainted = |node: &&serde_json::Value| {
            node["spec"]["taints"].as_array().is_some_and(|taints| taints.iter().any(|taint| taint["key"] == TAINT))
        };
        let tainted: BTreeSet<String> = items(&present).iter().filter(is_tainted).map(name).collect();
        Ok(nodes.iter().all(|node| tainted.contains(*node)))
    })?;
    eprintln!(
        "out of service {:.1} s after the pool knew; its scheduler moved: {is_moved}",
        known.elapsed().as_secs_f64()
    );
    Ok(())
}

fn choose(pool: &Pool, which: Lost) -> Result<String> {
    let tasks = CLUSTER.tasks(pool)?;
    let with_nodes: BTreeSet<&String> =
        tasks.iter().filter(|task| is_of_node(&task.name)).map(|task| &task.agent).collect();
    let scheduler = scheduler_agent(pool)?;
    let is_schedulers = |agent: &&&String| Some(agent.as_str()) == scheduler.as_deref();
    let count = |agent: &&&String| tasks.iter().filter(|task| task.agent == ***agent).count();
    let chosen = match which {
        Lost::Busiest => with_nodes.iter().max_by_key(|agent| (is_schedulers(agent), count(agent))),
        Lost::SeenByTheScheduler => with_nodes.iter().max_by_key(|agent| (!is_schedulers(agent), count(agent))),
    };
    chosen.map(|agent| (**agent).clone()).context("no agent runs a node")
}

/// Where the cluster's own scheduler runs, or is thought to.
fn scheduler_agent(pool: &Pool) -> Result<Option<String>> {
    let all = pool.tasks("services", false)?;
    Ok(all.into_iter().find(|task| task.name.contains(CLUSTER.name)).map(|task| task.agent))
}

fn tasks_on(pool: &Pool, agent: &str) -> Result<Vec<Task>> {
    Ok(CLUSTER.tasks(pool)?.into_iter().filter(|task| task.agent == agent).collect())
}
