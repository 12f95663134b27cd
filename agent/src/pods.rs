//! One actor per pod: takes the core's commands in order, prepares, starts or finds the executor, and removes what is
//! left. The pod's directory is `pods/<pod id>/`:
//!
//! - `start.json`: what the executor is told, written when everything is prepared
//! - `executor.sock`, `executor.json`, `pod.json`, `run/`: the executor's
//! - `containers/<name>/`: bundle and root filesystem, gone when the pod has ended; `clean-up/` in it: another of each, for
//!   what the task undoes at the end
//! - `sandbox/<name>/`: a task's files with its logs, `shared/`: what its tasks share; kept until the core forgets the pod
mod artifacts;
pub(crate) mod cgroup;
mod clean_up;
mod executor;
mod prepare;
mod volumes;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use agent_core::{Event, LaunchRecord, PodId};
use model::{Span, TaskId};
use proto::mezzo::v1::StartPod;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::images::ImageStore;
use crate::limits;
pub(crate) use executor::ToLink;
pub(crate) use volumes::Places;

/// Of processes that the agent starts.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What every pod needs of its agent.
pub(crate) struct Context {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) state_dir: PathBuf,
    pub(crate) places: Places,
    /// With the `executor` and `container` subcommands.
    pub(crate) program: PathBuf,
    pub(crate) images: ImageStore,
    pub(crate) artifacts: artifacts::ArtifactStore,
    pub(crate) master: tonic::transport::Channel,
    pub(crate) pod_subnet: Mutex<String>,
    pub(crate) events: mpsc::Sender<Event>,
}

pub(crate) use artifacts::ArtifactStore;

impl Context {
    pub(crate) fn pod_dir(&self, pod_id: &PodId) -> PathBuf {
        self.state_dir.join("pods").join(pod_id.as_str())
    }
    /// Where the pod's cgroups are, below the root of every hierarchy.
    pub(crate) fn pod_cgroup(&self, pod_id: &PodId) -> String {
        format!("/mezzo/{}/{pod_id}", self.name)
    }
}

/// What the core wants of a pod.
#[derive(Debug)]
pub(crate) enum PodCommand {
    Prepare(Box<LaunchRecord>),
    Start,
    Attach,
    Kill { task_id: TaskId, grace: Option<Span>, reason: String },
    ReportSeen(u64),
    Destroy,
    Remove,
}

/// Starts the actor of a pod. It ends after `Remove`, or when the sender is dropped (the agent ends): then nothing
/// is stopped.
pub(crate) fn spawn(context: Arc<Context>, pod_id: PodId) -> mpsc::UnboundedSender<PodCommand> {
    // Unbounded, but the core speaks only of what it admitted, and repeats itself only when told something new.
    let (sender, inbox) = mpsc::unbounded_channel();
    let dir = context.pod_dir(&pod_id);
    let actor = Actor { context, pod_id, dir, preparation: None, link: None };
    tokio::spawn(Box::pin(actor.run(inbox)));
    sender
}

struct Actor {
    context: Arc<Context>,
    pod_id: PodId,
    dir: PathBuf,
    preparation: Option<(CancellationToken, JoinHandle<()>)>,
    link: Option<(mpsc::UnboundedSender<ToLink>, JoinHandle<()>)>,
}

impl Actor {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<PodCommand>) {
        while let Some(command) = inbox.recv().await {
            match command {
                PodCommand::Prepare(launch) => self.prepare(*launch),
                PodCommand::Start | PodCommand::Attach => self.attach(),
                PodCommand::Kill { task_id, grace, reason } => self.tell(ToLink::Kill { task_id, grace, reason }),
                PodCommand::ReportSeen(number) => self.tell(ToLink::Seen(number)),
                PodCommand::Destroy => self.destroy().await,
                PodCommand::Remove => {
                    self.remove().await;
                    return;
                }
            }
        }
        if let Some((_, task)) = self.link {
            task.abort();
        }
    }

    fn prepare(&mut self, launch: LaunchRecord) {
        let cancel = CancellationToken::new();
        let context = self.context.clone();
        let token = cancel.clone();
        let task = tokio::spawn(async move {
            let pod_id = launch.pod_id.clone();
            let started = std::time::Instant::now();
            let result = Box::pin(prepare::prepare(&context, &launch, &token)).await;
            if token.is_cancelled() {
                return;
            }
            let failure = match result {
                Ok(()) => {
                    info!(%pod_id, milliseconds = started.elapsed().as_millis(), "pod prepared");
                    None
                }
                Err(error) => {
                    let words = daemon::error::chain(&error);
                    warn!(error = %words, %pod_id, "pod not prepared");
                    Some(words)
                }
            };
            let _ = context.events.send(Event::Prepared { pod_id, failure }).await;
        });
        self.preparation = Some((cancel, task));
    }

    fn attach(&mut self) {
        if self.link.is_some() {
            return;
        }
        let (sender, inbox) = mpsc::unbounded_channel();
        let link = executor::run(self.context.clone(), self.pod_id.clone(), self.dir.clone(), inbox);
        self.link = Some((sender, tokio::spawn(Box::pin(link))));
    }

    fn tell(&self, what: ToLink) {
        if let Some((link, _)) = &self.link {
            // A link that ended has said that the executor is gone.
            let _ = link.send(what);
        }
    }

    /// Until nothing is left: whoever reports a task dead that may live would start it twice.
    async fn destroy(&mut self) {
        if let Some((cancel, task)) = self.preparation.take() {
            cancel.cancel();
            let _ = task.await;
        }
        if let Some((link, mut task)) = self.link.take() {
            let _ = link.send(ToLink::Exit);
            if tokio::time::timeout(limits::EXECUTOR_EXIT_TIME, &mut task).await.is_err() {
                task.abort();
            }
        }
        clean_up::clean_up(&self.context, &self.pod_id, &self.dir).await;
        until_done(&self.pod_id, &self.dir, &self.context.pod_cgroup(&self.pod_id), clean).await;
        let _ = self.context.events.send(Event::PodDestroyed { pod_id: self.pod_id.clone() }).await;
    }

    async fn remove(&self) {
        let dir = self.dir.clone();
        let removed = tokio::task::spawn_blocking(move || match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            result => result,
        });
        if let Ok(Err(error)) = removed.await {
            warn!(%error, pod_id = %self.pod_id, "sandbox not deleted");
        }
    }
}

/// Repeats something that blocks until it succeeds.
async fn until_done(pod_id: &PodId, dir: &Path, cgroup: &str, work: fn(&Path, &str) -> Result<(), String>) {
    let mut pause = limits::RETRY_MIN;
    loop {
        let (dir, cgroup) = (dir.to_owned(), cgroup.to_owned());
        match tokio::task::spawn_blocking(move || work(&dir, &cgroup)).await {
            Ok(Ok(())) => return,
            Ok(Err(words)) => warn!(error = words, %pod_id, "pod not removed, trying again"),
            Err(error) => warn!(%error, %pod_id, "pod not removed, trying again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::RETRY_MAX);
    }
}

/// Kills everything of a pod. Blocks; safe to repeat.
fn kill(dir: &Path, cgroup: &str) -> Result<(), String> {
    ::executor::kill_pod(dir).map_err(|error| daemon::error::chain(&error))?;
    ::executor::kill_pod_cgroups(cgroup).map_err(|error| daemon::error::chain(&error))
}

/// Kills and unmounts everything of a pod, and deletes its containers' files. Blocks; safe to repeat.
fn clean(dir: &Path, cgroup: &str) -> Result<(), String> {
    kill(dir, cgroup)?;
    ::executor::cleanup_pod(dir).map_err(|error| daemon::error::chain(&error))?;
    match std::fs::remove_dir_all(dir.join("containers")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("remove containers of {}: {error}", dir.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What a pod's executor is told, as the preparation left it.
pub(crate) fn load_start(dir: &Path) -> Option<StartPod> {
    serde_json::from_slice(&std::fs::read(dir.join("start.json")).ok()?).ok()
}

/// The pod's directory and the container of a task, as long as its sandbox is kept; the newest pod wins.
pub(crate) fn find_task(state_dir: &Path, task_id: &str) -> Option<(PathBuf, proto::mezzo::v1::ContainerSpec)> {
    let mut found: Vec<_> = std::fs::read_dir(state_dir.join("pods"))
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let dir = entry.path();
            let spec = load_start(&dir)?.containers.into_iter().find(|spec| spec.task_id == task_id)?;
            let number: u64 = dir.file_name()?.to_str()?.split('-').next()?.parse().ok()?;
            Some((number, dir, spec))
        })
        .collect();
    found.sort_by_key(|(number, ..)| *number);
    found.pop().map(|(_, dir, spec)| (dir, spec))
}
