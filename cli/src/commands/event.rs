//! `mezzo event watch`: one line per change, or one JSON document per line.
use proto::mezzo::v1::pool_event::Kind;
use proto::mezzo::v1::{PoolEvent, WatchEventsRequest};

use crate::client::Pool;
use crate::failure::{Failure, Result};
use crate::grammar::event::Event;
use crate::grammar::{Format, Global};
use crate::output;

pub(crate) async fn run(verb: Event, global: &Global) -> Result<()> {
    let Event::Watch { kind, changes } = verb;
    let pool = Pool::connect(global)?;
    let request = WatchEventsRequest { kinds: kind.into_iter().map(|kind| kind.word().to_owned()).collect() };
    let answer = pool.operator().watch_events(request).await;
    let mut events = answer.map_err(|status| pool.refused(&status))?.into_inner();
    // After a gap everything comes anew: then it is news.
    let mut is_told = !changes;
    while let Some(event) = events.message().await.map_err(|status| pool.refused(&status))? {
        match &event.kind {
            Some(Kind::Missed(missed)) => {
                output::note(&format!("{missed} changes were missed; everything there is follows"));
            }
            Some(Kind::SnapshotEnd(_)) => is_told = true,
            _ => {}
        }
        if is_told {
            print(global.output, &event)?;
        }
    }
    Err(Failure::new("the master ended the stream", "it is stopping, or was stopped", "watch again when it is back"))
}

fn print(format: Format, event: &PoolEvent) -> Result<()> {
    if format == Format::Json {
        let line = serde_json::to_string(event).map_err(|error| Failure::while_doing("print an event", &error))?;
        return output::out(&format!("{line}\n"));
    }
    match line(event) {
        Some(line) => output::out(&format!("{line}\n")),
        None => Ok(()),
    }
}

fn line(event: &PoolEvent) -> Option<String> {
    Some(
        match event.kind.as_ref()? {
            Kind::Agent(agent) => {
                format!("agent {} {} {} {} tasks", agent.name, agent.state, agent.mode, agent.tasks)
            }
            Kind::AgentRemoved(id) => format!("agent {id} removed"),
            Kind::Framework(framework) => {
                format!("framework {} {} {} tasks", framework.name, framework.state, framework.tasks)
            }
            Kind::FrameworkRemoved(id) => format!("framework {id} removed"),
            Kind::Task(task) => {
                let ready = match task.ready {
                    Some(true) => " ready",
                    Some(false) => " not-ready",
                    None => "",
                };
                let why = [task.reason.as_str(), task.message.as_str()].join(" ");
                format!("task {} {} on {}{ready} {}", task.id, task.state, task.agent, why.trim())
            }
            Kind::TaskRemoved(task) => format!("task {} removed", task.task_id),
            Kind::Role(role) => format!("role {} share {:.1}%", role.name, f64::from(role.share_ppm) / 10_000.0),
            Kind::RoleRemoved(name) => format!("role {name} removed"),
            Kind::SnapshotEnd(_) | Kind::Missed(_) | Kind::Heartbeat(_) => return None,
        }
        .trim_end()
        .to_owned(),
    )
}
