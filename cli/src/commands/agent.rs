//! `mezzo agent`.
pub(super) mod leaving;

use proto::mezzo::v1::{AgentDescription, AgentList, ListAgentsRequest, PreflightReport, PreflightRequest, Quantities};

use crate::client::Pool;
use crate::daemons;
use crate::failure::{Failure, Result};
use crate::grammar::{Agent, Global};
use crate::output::{self, Rows};

pub(crate) async fn run(verb: Agent, global: &Global) -> Result<()> {
    match verb {
        Agent::Run(arguments) => Box::pin(daemons::agent(*arguments, global)).await,
        Agent::List { orphans: false } => {
            let list = fetch(&Pool::connect(global)?).await?;
            output::data(global.output, &list, |list| rows(&list.agents))
        }
        Agent::List { orphans: true } => leaving::orphans(&Pool::connect(global)?, global).await,
        Agent::Deactivate { agent } => leaving::deactivate(&Pool::connect(global)?, agent).await,
        Agent::Reactivate { agent } => leaving::reactivate(&Pool::connect(global)?, agent).await,
        Agent::Drain(arguments) => leaving::drain(&Pool::connect(global)?, arguments).await,
        Agent::Gone { agent } => leaving::gone(&Pool::connect(global)?, global, agent).await,
        Agent::Show { agent } => {
            let found = find(&Pool::connect(global)?, &agent).await?;
            output::one(global.output, &found, fields)
        }
        Agent::Why { agent } => super::why(global, "agent", &agent).await,
        Agent::Preflight { agent: None } => report(global, &::agent::preflight(std::path::Path::new("/var/lib"))),
        Agent::Preflight { agent: Some(name) } => {
            let pool = Pool::connect(global)?;
            let found = find(&pool, &name).await?;
            let mut client = pool.agent(&found.name, &found.address, found.port)?;
            let answer = client.preflight(PreflightRequest {}).await;
            let answer = answer.map_err(|status| Failure::status(&format!("agent {}", found.name), &status))?;
            report(global, &answer.into_inner())
        }
    }
}

pub(super) async fn fetch(pool: &Pool) -> Result<AgentList> {
    let answer = pool.operator().list_agents(ListAgentsRequest {}).await;
    Ok(answer.map_err(|status| pool.refused(&status))?.into_inner())
}

pub(crate) async fn find(pool: &Pool, wanted: &str) -> Result<AgentDescription> {
    let agents = fetch(pool).await?.agents;
    let found = agents.into_iter().find(|agent| agent.name == wanted || agent.id == wanted);
    found.ok_or_else(|| Failure::not_found(format!("there is no agent '{wanted}'"), "list them with: mezzo agent list"))
}

/// `connected`, `connected, draining`.
fn state(agent: &AgentDescription) -> String {
    match agent.mode.as_str() {
        "" | "active" => agent.state.clone(),
        mode => format!("{}, {mode}", agent.state),
    }
}

/// The columns of a list of agents.
pub(crate) fn rows(agents: &[AgentDescription]) -> Rows {
    let mut rows =
        Rows::new(&["NAME", "STATE", "ADDRESS", "CPUS FREE", "MEMORY FREE", "DISK FREE", "POD SUBNET", "ID"]);
    for agent in agents {
        let nothing = Quantities::default();
        let (free, total) = (agent.free.as_ref().unwrap_or(&nothing), agent.total.as_ref().unwrap_or(&nothing));
        rows.push([
            agent.name.clone(),
            state(agent),
            format!("{}:{}", agent.address, agent.port),
            format!("{} of {}", cpus(free.cpus_milli), cpus(total.cpus_milli)),
            format!("{} of {}", size(free.mem_bytes), size(total.mem_bytes)),
            format!("{} of {}", size(free.disk_bytes), size(total.disk_bytes)),
            agent.pod_subnet.clone(),
            agent.id.clone(),
        ]);
    }
    rows
}

fn fields(agent: &AgentDescription) -> Vec<(&'static str, String)> {
    let text = |quantities: &Option<Quantities>| quantities.as_ref().map(|q| q.text.clone()).unwrap_or_default();
    let mut attributes: Vec<String> = agent.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    attributes.sort();
    vec![
        ("name", agent.name.clone()),
        ("id", agent.id.clone()),
        ("state", state(agent)),
        ("tasks", agent.tasks.to_string()),
        ("address", format!("{}:{}", agent.address, agent.port)),
        ("version", agent.version.clone()),
        ("registered", output::ago(agent.registered_unix_ms)),
        ("total", text(&agent.total)),
        ("allocated", text(&agent.allocated)),
        ("offered", text(&agent.offered)),
        ("free", text(&agent.free)),
        ("holdings", agent.holdings.join("\n")),
        ("pod subnet", agent.pod_subnet.clone()),
        ("region", agent.region.clone()),
        ("zone", agent.zone.clone()),
        ("attributes", attributes.join(" ")),
    ]
}

fn report(global: &Global, report: &PreflightReport) -> Result<()> {
    output::data(global.output, report, |report| {
        let mut rows = Rows::new(&["CHECK", "", "FOUND", "WHAT HELPS"]);
        for check in &report.checks {
            let verdict = if check.passed { "ok" } else { "FAILED" };
            let remedy = if check.passed { String::new() } else { check.remedy.clone() };
            rows.push([check.name.clone(), verdict.to_owned(), check.found.clone(), remedy]);
        }
        rows
    })?;
    match report.checks.iter().filter(|check| !check.passed).count() {
        0 => Ok(()),
        failed => Err(Failure::new(
            format!("{failed} of {} checks failed", report.checks.len()),
            "",
            "see the column WHAT HELPS",
        )),
    }
}

pub(crate) fn cpus(milli: i64) -> String {
    model::Milli(milli).to_string()
}

/// `6 GiB`, `512 MiB`.
pub(crate) fn size(bytes: i64) -> String {
    let mib = bytes >> 20;
    if mib >= 1024 && mib % 1024 == 0 {
        format!("{} GiB", mib / 1024)
    } else if mib >= 10 * 1024 {
        format!("{}.{} GiB", mib / 1024, (mib % 1024) * 10 / 1024)
    } else {
        format!("{mib} MiB")
    }
}
