//! A package on a pool: installed from the catalog, launched from offers, alive through the death of an agent and of the master.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Machine, Pool, Program, Task, eventually, until};

const REPLICAS: usize = 3;
const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_service_outlives_the_agent_and_the_master_and_leaves_nothing() -> Result<()> {
    let before = Machine::look()?;
    let pool = Pool::up("hello_world", 3, &[])?;
    pool.upload(&["busybox"])?;

    pool.mezzo(&["catalog", "install", "hello-world", "--name", "web", "--set", "count=3"])
        .within(Duration::from_secs(120))
        .run()?;
    let tasks = replicas(&pool)?;
    answers(&tasks)?;

    refusals_are_said_in_words(&pool)?;
    killing_an_agent_changes_nothing_for_its_tasks(&pool, &tasks)?;
    killing_the_master_changes_nothing_for_tasks(&pool, &tasks)?;
    killing_a_replica_brings_another(&pool, &tasks)?;

    pool.mezzo(&["catalog", "uninstall", "web", "--yes"]).within(Duration::from_secs(120)).run()?;
    pool.expect_nothing_held("web")?;
    pool.down()?;
    Machine::expect_nothing_new(&before)
}

/// The web servers, when all of them serve.
fn replicas(pool: &Pool) -> Result<Vec<Task>> {
    eventually("three ready replicas", SOON, || {
        let tasks: Vec<Task> =
            pool.tasks("web", false)?.into_iter().filter(|task| task.is_running_and_ready()).collect();
        Ok((tasks.len() == REPLICAS).then_some(tasks))
    })
}

fn answers(tasks: &[Task]) -> Result<()> {
    for task in tasks {
        let port = task.port.with_context(|| format!("{} has no port", task.name))?;
        let page = Program::new("curl")
            .args(["--silent", "--fail", "--max-time", "10"])
            .args([format!("http://{}:{port}/", task.agent_address)])
            .run()?;
        ensure!(page.contains("hello, world"), "{} says {page:?}", task.name);
    }
    Ok(())
}

fn ids(tasks: &[Task]) -> BTreeSet<&str> {
    tasks.iter().map(|task| task.id.as_str()).collect()
}

fn killing_an_agent_changes_nothing_for_its_tasks(pool: &Pool, tasks: &[Task]) -> Result<()> {
    let agents = pool.processes(&["agent", "run"])?;
    let victim = *agents.first().context("find an agent")?;
    pool.kill(victim)?;
    until("the agent is back", SOON, || {
        let agents = pool.processes(&["agent", "run"])?;
        Ok(agents.len() == 3 && !agents.contains(&victim) && connected_agents(pool)? == 3)
    })?;
    let now = replicas(pool)?;
    ensure!(ids(&now) == ids(tasks), "tasks changed: {tasks:?} became {now:?}");
    answers(&now)
}

fn killing_the_master_changes_nothing_for_tasks(pool: &Pool, tasks: &[Task]) -> Result<()> {
    let victim = *pool.processes(&["master", "run"])?.first().context("find the master")?;
    pool.kill(victim)?;
    answers(tasks)?;
    until("the agents are back", SOON, || Ok(connected_agents(pool)? == 3))?;
    let now = replicas(pool)?;
    ensure!(ids(&now) == ids(tasks), "tasks changed: {tasks:?} became {now:?}");
    until("the plan is complete", SOON, || Ok(pool.plan_status("web", "deploy")? == "COMPLETE"))
}

/// A task's process dies: it serves again, and the other tasks stay what they were.
fn killing_a_replica_brings_another(pool: &Pool, tasks: &[Task]) -> Result<()> {
    let (victim, others) = tasks.split_first().context("find a task")?;
    let process = *pool.processes_of(victim)?.first().context("find the process of a task")?;
    pool.kill(process)?;
    eventually("a replacement", SOON, || {
        let now = replicas(pool)?;
        answers(&now)?;
        Ok(ids(others).is_subset(&ids(&now)).then_some(()))
    })
}

fn connected_agents(pool: &Pool) -> Result<usize> {
    let list = pool.json(&["agent", "list"])?;
    Ok(list["agents"]
        .as_array()
        .map_or(0, |agents| agents.iter().filter(|agent| agent["state"] == "connected").count()))
}

fn refusals_are_said_in_words(pool: &Pool) -> Result<()> {
    let refused = pool.mezzo(&["catalog", "install", "hello-world", "--name", "other", "--set", "count=0"]).output()?;
    ensure!(!refused.status.success(), "a count of 0 was accepted");
    ensure!(refused.stderr.contains("count"), "the option is not named: {}", refused.stderr);
    let taken = pool.mezzo(&["catalog", "install", "hello-world", "--name", "web"]).output()?;
    ensure!(!taken.status.success() && taken.stderr.contains("web"), "a name was given twice: {}", taken.stderr);
    let unknown = pool.mezzo(&["task", "show", "nobody"]).output()?;
    ensure!(unknown.status.code() == Some(3), "an unknown task: {}", unknown.status);
    Ok(())
}
