//! Agents that leave, for a while or for good: `mezzo agent deactivate`, `reactivate`, `drain`, `gone`, and what those that
//! are away still hold.
use std::collections::BTreeMap;
use std::time::Duration;

use proto::mezzo::v1::{
    DeactivateAgentRequest, DrainAgentRequest, ListTasksRequest, MarkAgentGoneRequest, Orphan, ReactivateAgentRequest,
};
use serde::Serialize;

use super::{fetch, find};
use crate::client::Pool;
use crate::failure::{Failure, Result};
use crate::grammar::{Drain, Global};
use crate::output::{self, Rows};

/// How often a drain is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Tasks named in a line of progress.
const NAMED_MAX: usize = 6;

pub(crate) async fn deactivate(pool: &Pool, agent: String) -> Result<()> {
    let request = DeactivateAgentRequest { agent: agent.clone() };
    pool.operator().deactivate_agent(request).await.map_err(|status| pool.refused(&status))?;
    output::note(&format!("nothing of {agent} is offered any more; what runs there runs on"));
    output::note(&format!("offer it again with: mezzo agent reactivate {agent}"));
    Ok(())
}

pub(crate) async fn reactivate(pool: &Pool, agent: String) -> Result<()> {
    let request = ReactivateAgentRequest { agent: agent.clone() };
    pool.operator().reactivate_agent(request).await.map_err(|status| pool.refused(&status))?;
    output::note(&format!("{agent} is offered again"));
    Ok(())
}

pub(crate) async fn gone(pool: &Pool, global: &Global, agent: String) -> Result<()> {
    let found = find(pool, &agent).await?;
    let holds = match found.orphans.len() + found.holdings.len() {
        0 => String::new(),
        _ => " and everything that is reserved or kept there".to_owned(),
    };
    output::confirm(global.yes, &format!("give up agent {} with its {} tasks{holds}", found.name, found.tasks))?;
    let request = MarkAgentGoneRequest { agent: found.id };
    pool.operator().mark_agent_gone(request).await.map_err(|status| pool.refused(&status))?;
    output::note(&format!("{} is gone; should it return, it is refused and ends what it runs", found.name));
    output::note("to use the machine again, remove the agent's state directory and join it anew");
    Ok(())
}

pub(crate) async fn drain(pool: &Pool, arguments: Drain) -> Result<()> {
    let found = find(pool, &arguments.agent).await?;
    let request = DrainAgentRequest {
        agent: found.id.clone(),
        max_grace_ms: u64::from(arguments.max_grace) * 1000,
        mark_gone: arguments.mark_gone,
    };
    pool.operator().drain_agent(request).await.map_err(|status| pool.refused(&status))?;
    let name = &found.name;
    output::note(&format!(
        "{name} is being emptied: its frameworks have {} to move {} tasks, then they are killed",
        output::span(i64::from(arguments.max_grace) * 1000),
        found.tasks,
    ));
    if !arguments.wait {
        output::note(&format!("see how far it is with: mezzo agent show {name}"));
        return Ok(());
    }
    follow(pool, &found.id, name).await
}

/// Tells what is left each time that changes, until nothing is.
async fn follow(pool: &Pool, id: &str, name: &str) -> Result<()> {
    let mut told = String::new();
    loop {
        let agent = fetch(pool).await?.agents.into_iter().find(|agent| agent.id == id);
        let Some(agent) = agent else {
            return Err(Failure::not_found(format!("agent {name} is not known any more"), "mezzo agent list"));
        };
        match (agent.state.as_str(), agent.mode.as_str()) {
            ("gone", _) => {
                output::note(&format!("{name} is empty and gone"));
                return Ok(());
            }
            (_, "drained") => {
                output::note(&format!("{name} is empty; offer it again with: mezzo agent reactivate {name}"));
                return Ok(());
            }
            (_, "draining") => {}
            (_, mode) => {
                return Err(Failure::new(
                    format!("the drain of {name} was called off: it is {mode}"),
                    "",
                    format!("begin anew with: mezzo agent drain {name}"),
                ));
            }
        }
        let mut line = left(pool, id).await?;
        if agent.state != "connected" {
            line = format!("{line}; the agent is {}, and only one that is here can be seen to be empty", agent.state);
        }
        if line != told {
            output::note(&format!("  {line}"));
            told = line;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// `3 tasks left: demo: node-1-node, node-1-dns; web: web-0-server`.
async fn left(pool: &Pool, agent_id: &str) -> Result<String> {
    let request = ListTasksRequest { framework: String::new(), all: false };
    let tasks = pool.operator().list_tasks(request).await.map_err(|status| pool.refused(&status))?.into_inner().tasks;
    let mut by_framework: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for task in tasks.into_iter().filter(|task| task.agent_id == agent_id) {
        let state = if task.state == "TASK_KILLING" { " (ending)" } else { "" };
        by_framework.entry(task.framework).or_default().push(format!("{}{state}", task.name));
    }
    let count: usize = by_framework.values().map(Vec::len).sum();
    let words: Vec<String> = by_framework
        .into_iter()
        .map(|(framework, mut names)| {
            let more = names.len().saturating_sub(NAMED_MAX);
            names.truncate(NAMED_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{framework}: {}{more}", names.join(", "))
        })
        .collect();
    let many = if count == 1 { "task" } else { "tasks" };
    Ok(if count == 0 { "no task left".to_owned() } else { format!("{count} {many} left: {}", words.join("; ")) })
}

/// One line of the list of orphans.
#[derive(Debug, Serialize)]
struct Held {
    agent: String,
    agent_state: String,
    #[serde(flatten)]
    orphan: Orphan,
}

pub(crate) async fn orphans(pool: &Pool, global: &Global) -> Result<()> {
    let held = held(pool).await?;
    output::data(global.output, &held, |held| {
        let mut rows = Rows::new(&["AGENT", "STATE", "FRAMEWORK", "UNIT", "WHAT", "HOLDS", "WHAT BECOMES OF IT"]);
        for one in held {
            let orphan = &one.orphan;
            let what = if orphan.volume.is_empty() { "reservation" } else { "volume" };
            let fate = if orphan.freed {
                "destroyed when the agent returns"
            } else {
                "its framework's, when the agent returns"
            };
            rows.push([
                one.agent.clone(),
                one.agent_state.clone(),
                orphan.framework.clone(),
                orphan.unit.clone(),
                what.to_owned(),
                orphan.resources.as_ref().map(|held| held.text.clone()).unwrap_or_default(),
                fate.to_owned(),
            ]);
        }
        rows
    })?;
    if held.iter().any(|one| one.orphan.freed) {
        output::note("an agent that never returns is given up, with what it holds, by: mezzo agent gone NAME");
    }
    Ok(())
}

async fn held(pool: &Pool) -> Result<Vec<Held>> {
    let agents = fetch(pool).await?.agents;
    let of = |agent: proto::mezzo::v1::AgentDescription| {
        let (name, state) = (agent.name, agent.state);
        agent.orphans.into_iter().map(move |orphan| Held { agent: name.clone(), agent_state: state.clone(), orphan })
    };
    Ok(agents.into_iter().flat_map(of).collect())
}

/// Says what a framework that was removed has left on agents that are away.
pub(crate) async fn tell_left_behind(pool: &Pool, framework: &str) -> Result<()> {
    let mut agents: BTreeMap<String, usize> = BTreeMap::new();
    for one in held(pool).await?.into_iter().filter(|one| one.orphan.freed && one.orphan.framework == framework) {
        *agents.entry(one.agent).or_default() += 1;
    }
    for (agent, count) in agents {
        output::note(&format!(
            "left on {agent}, which is away: {count} reservations or volumes, destroyed when it returns"
        ));
        output::note("  see them with: mezzo agent list --orphans");
    }
    Ok(())
}
