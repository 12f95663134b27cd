//! `mezzo maintenance`: windows in which agents are not to be counted on.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto::mezzo::v1::{
    AgentDescription, AgentList, CancelMaintenanceRequest, ScheduleMaintenanceRequest, StartMaintenanceRequest,
    StopMaintenanceRequest,
};

use super::agent::fetch;
use crate::client::Pool;
use crate::failure::Result;
use crate::grammar::Global;
use crate::grammar::maintenance::{Agents, Maintenance, Schedule};
use crate::output::{self, Rows};

pub(crate) async fn run(verb: Maintenance, global: &Global) -> Result<()> {
    let pool = Pool::connect(global)?;
    match verb {
        Maintenance::List => {
            let mut list = fetch(&pool).await?;
            list.agents.retain(|agent| agent.maintenance_start_unix_ms > 0);
            output::data(global.output, &list, rows)
        }
        Maintenance::Schedule(arguments) => schedule(&pool, arguments).await,
        Maintenance::Cancel(Agents { agents }) => {
            let request = CancelMaintenanceRequest { agents: agents.clone() };
            pool.operator().cancel_maintenance(request).await.map_err(|status| pool.refused(&status))?;
            output::note(&format!("{} will not be maintained", agents.join(", ")));
            Ok(())
        }
        Maintenance::Start(Agents { agents }) => start(&pool, global, agents).await,
        Maintenance::Stop(Agents { agents }) => {
            let request = StopMaintenanceRequest { agents: agents.clone() };
            pool.operator().stop_maintenance(request).await.map_err(|status| pool.refused(&status))?;
            output::note(&format!("{} offered again", agents.join(", ")));
            Ok(())
        }
    }
}

async fn schedule(pool: &Pool, arguments: Schedule) -> Result<()> {
    let since = arguments.start.duration_since(UNIX_EPOCH).unwrap_or_default();
    let agents = arguments.agents.agents;
    let request = ScheduleMaintenanceRequest {
        agents: agents.clone(),
        start_unix_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        duration_ms: arguments.duration.map_or(0, |seconds| i64::from(seconds) * 1000),
    };
    pool.operator().schedule_maintenance(request).await.map_err(|status| pool.refused(&status))?;
    let names = agents.join(" ");
    output::note(&format!("the frameworks on {} were told; see their answers with: mezzo maintenance list", names));
    output::note(&format!("nothing ends by itself at that time; begin with: mezzo maintenance start {names}"));
    Ok(())
}

async fn start(pool: &Pool, global: &Global, agents: Vec<String>) -> Result<()> {
    let names = agents.join(" ");
    let found = fetch(pool).await?.agents;
    let tasks: u32 = found.iter().filter(|a| agents.contains(&a.name) || agents.contains(&a.id)).map(|a| a.tasks).sum();
    if tasks > 0 {
        output::confirm(global.yes, &format!("kill the {tasks} tasks that are still on {names}"))?;
    }
    pool.operator()
        .start_maintenance(StartMaintenanceRequest { agents })
        .await
        .map_err(|status| pool.refused(&status))?;
    output::note(&format!("{names} being emptied; when the work is done: mezzo maintenance stop {names}"));
    Ok(())
}

fn rows(list: &AgentList) -> Rows {
    let mut rows = Rows::new(&["AGENT", "STATE", "START", "FOR", "TASKS", "LEAVING", "NOT LEAVING"]);
    for agent in &list.agents {
        rows.push([
            agent.name.clone(),
            state(agent),
            instant(agent.maintenance_start_unix_ms),
            match agent.maintenance_duration_ms {
                0 => "unknown".to_owned(),
                duration => output::span(duration),
            },
            agent.tasks.to_string(),
            answered(agent, true),
            answered(agent, false),
        ]);
    }
    rows
}

/// `scheduled`, `being emptied`, `empty`.
fn state(agent: &AgentDescription) -> String {
    match agent.mode.as_str() {
        "draining" => "being emptied",
        "drained" => "empty",
        _ => "scheduled",
    }
    .to_owned()
}

fn answered(agent: &AgentDescription, accepted: bool) -> String {
    let of_answer = agent.inverse_answers.iter().filter(|answer| answer.accepted == accepted);
    of_answer.map(|answer| answer.framework.clone()).collect::<Vec<_>>().join(",")
}

fn instant(unix_ms: i64) -> String {
    let since = Duration::from_millis(u64::try_from(unix_ms).unwrap_or_default());
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since).to_string()
}
