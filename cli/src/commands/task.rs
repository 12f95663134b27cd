//! `mezzo task`.
use std::io::Write as _;
use std::process::ExitCode;

use proto::mezzo::v1::{ListTasksRequest, ReadLogRequest, TaskDescription};

use super::{exec, why};
use crate::client::Pool;
use crate::failure::{Failure, Result};
use crate::grammar::{Global, Task};
use crate::output::{self, Rows};

pub(crate) async fn run(verb: Task, global: &Global) -> Result<ExitCode> {
    match verb {
        Task::List { framework, all } => list(global, framework, all).await?,
        Task::Show { task } => {
            let found = Pool::connect(global)?.task(&task).await?;
            output::one(global.output, &found, fields)?;
        }
        Task::Logs { task, follow, stderr, tail } => logs(global, &task, follow, stderr, tail).await?,
        Task::Exec { tty, task, command } => return exec::run(global, &task, command, tty).await,
        Task::Why { task } => {
            let found = Pool::connect(global)?.task(&task).await?;
            why(global, "task", &found.id).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(global: &Global, framework: String, all: bool) -> Result<()> {
    let pool = Pool::connect(global)?;
    let answer = pool.operator().list_tasks(ListTasksRequest { framework, all }).await;
    let list = answer.map_err(|status| pool.refused(&status))?.into_inner();
    output::data(global.output, &list, |list| {
        let mut rows = Rows::new(&["ID", "NAME", "FRAMEWORK", "STATE", "READY", "AGENT", "AGE", "RESOURCES"]);
        for task in &list.tasks {
            rows.push([
                task.id.clone(),
                task.name.clone(),
                task.framework.clone(),
                task.state.clone(),
                task.ready.map(|ready| if ready { "yes" } else { "no" }.to_owned()).unwrap_or_default(),
                task.agent.clone(),
                output::ago(task.launched_unix_ms),
                task.resources.as_ref().map(|resources| resources.text.clone()).unwrap_or_default(),
            ]);
        }
        rows
    })
}

fn fields(task: &TaskDescription) -> Vec<(&'static str, String)> {
    let yes = |flag: Option<bool>| flag.map(|flag| if flag { "yes" } else { "no" }.to_owned()).unwrap_or_default();
    vec![
        ("id", task.id.clone()),
        ("name", task.name.clone()),
        ("framework", task.framework.clone()),
        ("state", task.state.clone()),
        ("reason", task.reason.clone()),
        ("message", task.message.clone()),
        ("ready", yes(task.ready)),
        ("healthy", yes(task.healthy)),
        ("agent", format!("{} ({}:{})", task.agent, task.agent_address, task.agent_port)),
        ("pod", task.pod_id.clone()),
        ("executor", task.executor_id.clone()),
        ("resources", task.resources.as_ref().map(|resources| resources.text.clone()).unwrap_or_default()),
        ("launched", output::ago(task.launched_unix_ms)),
        ("running", output::ago(task.running_unix_ms)),
        ("ended", output::ago(task.ended_unix_ms)),
    ]
}

async fn logs(global: &Global, task: &str, follow: bool, stderr: bool, tail: Option<i64>) -> Result<()> {
    let pool = Pool::connect(global)?;
    let found = pool.task(task).await?;
    let mut agent = pool.agent(&found.agent, &found.agent_address, found.agent_port)?;
    let request = ReadLogRequest {
        task_id: found.id.clone(),
        stream: if stderr { "stderr" } else { "stdout" }.to_owned(),
        follow,
        tail_bytes: tail.unwrap_or(0),
    };
    let refused =
        |status: &tonic::Status| Failure::status(&format!("agent {} at {}", found.agent, found.agent_address), status);
    let mut stream = agent.read_log(request).await.map_err(|status| refused(&status))?.into_inner();
    let mut stdout = std::io::stdout();
    loop {
        tokio::select! {
            chunk = stream.message() => match chunk.map_err(|status| refused(&status))? {
                Some(chunk) => if stdout.write_all(&chunk.data).and_then(|()| stdout.flush()).is_err() {
                    return Ok(()); // the reader went away
                },
                None => return Ok(()),
            },
            () = daemon::shutdown::signal() => return Ok(()),
        }
    }
}
