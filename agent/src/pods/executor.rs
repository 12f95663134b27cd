//! The agent's end of a pod's executor: spawned, or found again after a restart of the agent; its reports become events.
//! An executor is dead when its process is; a broken connection alone means nothing.
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use ::executor::files::{self, ExecutorRecord};
use ::executor::link::{AgentEnd, LinkError};
use agent_core::{End, EndCause, Event, PodId, Report, ReportKind};
use model::{Span, TaskId, Timestamp};
use proto::mezzo::v1 as wire;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{info, warn};
use wire::{container_report, ended, from_executor, to_executor};

use super::{Context, cgroup, load_start};
use crate::limits;

/// What the pod's actor has to say to the executor.
#[derive(Debug)]
pub(crate) enum ToLink {
    Kill {
        task_id: TaskId,
        grace: Option<Span>,
        reason: String,
    },
    Seen(u64),
    /// The last: the link ends when the executor does.
    Exit,
}

/// From finding or spawning the executor to its death, which is the last event.
pub(super) async fn run(
    context: Arc<Context>,
    pod_id: PodId,
    dir: PathBuf,
    mut inbox: mpsc::UnboundedReceiver<ToLink>,
) {
    let why = Box::pin(follow(&context, &pod_id, &dir, &mut inbox)).await;
    let _ = context.events.send(Event::ExecutorGone { pod_id, why }).await;
}

/// Returns why it is over.
async fn follow(context: &Context, pod_id: &PodId, dir: &Path, inbox: &mut mpsc::UnboundedReceiver<ToLink>) -> String {
    let Some(start) = load_start(dir) else { return "its start record is missing".to_owned() };
    match executor_of(dir) {
        // Nothing can have run: the agent died between deciding and spawning.
        Found::Never => {
            if let Err(error) = spawn(context, pod_id, dir) {
                return format!("spawn {}: {error}", context.program.display());
            }
        }
        Found::Alive => info!(%pod_id, "executor found again"),
        Found::Dead => return report_the_dead(context, pod_id, dir).await,
    }
    let mut leaving = false;
    loop {
        let mut end = match connect(dir).await {
            Ok(end) => end,
            Err(words) => {
                let gone = report_the_dead(context, pod_id, dir).await;
                return format!("{gone} ({words})");
            }
        };
        let started = matches!(files::load_pod(dir), Ok(Some(_)));
        if !started {
            let message = wire::ToExecutor { kind: Some(to_executor::Kind::Start(start.clone())) };
            if let Err(error) = end.sender.send(&message).await {
                warn!(error = %daemon::error::chain(&error), %pod_id, "pod not handed to its executor, trying again");
                continue;
            }
        }
        let _ = context.events.send(Event::ExecutorAttached { pod_id: pod_id.clone() }).await;
        if let Err(error) = Box::pin(talk(context, pod_id, &start, &mut end, inbox, &mut leaving)).await {
            warn!(error = %daemon::error::chain(&error), %pod_id, "executor link broke");
        }
        if !is_alive(dir) {
            return report_the_dead(context, pod_id, dir).await;
        }
        if leaving && inbox.is_closed() {
            // It was told to exit and closed the connection: it is about to.
            wait_for_death(dir, limits::EXECUTOR_EXIT_TIME).await;
            return "it exited".to_owned();
        }
    }
}

/// Both directions until the connection ends.
async fn talk(
    context: &Context,
    pod_id: &PodId,
    start: &wire::StartPod,
    end: &mut AgentEnd,
    inbox: &mut mpsc::UnboundedReceiver<ToLink>,
    leaving: &mut bool,
) -> Result<(), LinkError> {
    if *leaving {
        end.sender.send(&wire::ToExecutor { kind: Some(to_executor::Kind::Exit(wire::Exit {})) }).await?;
    }
    loop {
        tokio::select! {
            message = end.receiver.recv() => {
                let Some(message) = message? else { return Ok(()) };
                if let Some(from_executor::Kind::Report(report)) = message.kind
                    && let Some(report) = report_of(&report)
                {
                    let _ = context.events.send(Event::Report { pod_id: pod_id.clone(), report }).await;
                }
            }
            command = inbox.recv(), if !*leaving => {
                let kind = match command {
                    Some(ToLink::Kill { task_id, grace, reason }) => {
                        let spec = start.containers.iter().find(|spec| spec.task_id == task_id.as_str());
                        let own = spec.map_or(0, |spec| spec.kill_grace_ms);
                        let grace_ms = grace.map_or(own, |span| span.0);
                        to_executor::Kind::Kill(wire::KillContainer { task_id: task_id.to_string(), grace_ms, reason })
                    }
                    Some(ToLink::Seen(number)) => to_executor::Kind::Seen(wire::ReportSeen { number }),
                    Some(ToLink::Exit) | None => {
                        *leaving = true;
                        inbox.close();
                        to_executor::Kind::Exit(wire::Exit {})
                    }
                };
                end.sender.send(&wire::ToExecutor { kind: Some(kind) }).await?;
            }
        }
    }
}

enum Found {
    Never,
    Alive,
    Dead,
}

fn executor_of(dir: &Path) -> Found {
    match ExecutorRecord::load(dir) {
        Ok(Some(record)) if record.is_alive() => Found::Alive,
        Ok(None) if matches!(files::load_pod(dir), Ok(None)) => Found::Never,
        Ok(_) | Err(_) => Found::Dead,
    }
}

fn is_alive(dir: &Path) -> bool {
    matches!(ExecutorRecord::load(dir), Ok(Some(record)) if record.is_alive())
}

/// The executor leaves the agent's session and mount namespace by itself; its cgroup we give it.
fn spawn(context: &Context, pod_id: &PodId, dir: &Path) -> io::Result<()> {
    let log = File::options().create(true).append(true).open(dir.join("executor.log"))?;
    let mut child = tokio::process::Command::new(&context.program)
        .arg("executor")
        .arg("--dir")
        .arg(dir)
        .current_dir("/")
        .env_clear()
        .env("PATH", super::PATH)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .kill_on_drop(false)
        .spawn()?;
    if let Some(pid) = child.id()
        && let Err(error) = cgroup::place(pid, &format!("{}/executor", context.pod_cgroup(pod_id)))
    {
        warn!(%error, %pod_id, "executor has no cgroup of its own everywhere");
    }
    // As long as the agent lives it reaps; afterwards init does.
    tokio::spawn(async move { child.wait().await });
    Ok(())
}

/// A fresh executor needs a moment to listen; one that was found needs none, unless it dies just now.
async fn connect(dir: &Path) -> Result<AgentEnd, String> {
    let deadline = Instant::now() + limits::EXECUTOR_START_TIME;
    loop {
        match AgentEnd::connect(dir).await {
            Ok(end) => return Ok(end),
            Err(error) => {
                let dead = matches!(ExecutorRecord::load(dir), Ok(Some(record)) if !record.is_alive());
                if dead || Instant::now() > deadline {
                    return Err(daemon::error::chain(&error));
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn wait_for_death(dir: &Path, limit: Duration) {
    let deadline = Instant::now() + limit;
    while is_alive(dir) && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What a dead executor still wrote down: no exit code is lost. Returns how it ended, in words.
async fn report_the_dead(context: &Context, pod_id: &PodId, dir: &Path) -> String {
    let reports = files::load_ended(dir).unwrap_or_default();
    if !reports.is_empty() {
        // The core listens to attached executors only; the dead one speaks through its files.
        let _ = context.events.send(Event::ExecutorAttached { pod_id: pod_id.clone() }).await;
    }
    for report in reports.iter().filter_map(report_of) {
        let _ = context.events.send(Event::Report { pod_id: pod_id.clone(), report }).await;
    }
    let log = std::fs::read_to_string(dir.join("executor.log")).unwrap_or_default();
    match log.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(last) => format!("its process is gone; its last words: {last}"),
        None => "its process is gone".to_owned(),
    }
}

fn report_of(report: &wire::ContainerReport) -> Option<Report> {
    let kind = match report.kind.as_ref()? {
        container_report::Kind::Started(started) => ReportKind::Started { pid: started.pid },
        container_report::Kind::Ended(ended) => ReportKind::Ended {
            end: match &ended.how {
                Some(ended::How::ExitCode(code)) => End::Exit(*code),
                Some(ended::How::Signal(signal)) => End::Signal(*signal),
                Some(ended::How::LaunchError(error)) => End::NotStarted(error.clone()),
                None => End::NotStarted("its executor does not say how it ended".to_owned()),
            },
            oom_kills: ended.oom_kills,
            killed_on_request: ended.killed_on_request,
            why: ended.why.clone(),
            cause: match ended.cause() {
                ended::Cause::Other => EndCause::Other,
                ended::Cause::OverTime => EndCause::OverTime,
                ended::Cause::Unhealthy => EndCause::Unhealthy,
            },
        },
        container_report::Kind::Restarting(restarting) => ReportKind::Restarting {
            count: restarting.count,
            backoff_ms: restarting.backoff_ms,
            why: restarting.why.clone(),
        },
        container_report::Kind::Checked(checked) => ReportKind::Checked {
            is_readiness: checked.is_readiness,
            passed: checked.passed,
            message: checked.message.clone(),
        },
    };
    Some(Report {
        number: report.number,
        task_id: TaskId::new(&report.task_id).ok()?,
        at: Timestamp(u64::try_from(report.at_unix_ms).unwrap_or(0)),
        kind,
    })
}
