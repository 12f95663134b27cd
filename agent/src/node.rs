//! The agent's loop: one task owns the core, feeds it events and carries out its commands.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_core::{Agent, Command, Decision, Event, PodId, VolumeKey, Write};
use model::Span;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::checkpoint::Store;
use crate::error::AgentError;
use crate::limits;
use crate::link::Link;
use crate::metrics::Metrics;
use crate::pods::{self, Context, PodCommand};
use crate::routes::Routes;
use crate::vip::Vips;

/// Everything around the core.
pub(crate) struct Node {
    pub(crate) core: Agent,
    pub(crate) context: Arc<Context>,
    pub(crate) store: Arc<Store>,
    pub(crate) channel: tonic::transport::Channel,
    pub(crate) routes: Routes,
    pub(crate) vips: Vips,
    pub(crate) metrics: Arc<Metrics>,
}

type Batches = (u64, Vec<Write>);

impl Node {
    /// Runs until `stop` completes, or the disk fails: an agent that cannot remember must not act.
    pub(crate) async fn run(
        self,
        mut events: mpsc::Receiver<Event>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), AgentError> {
        let (batches, written) = writer(self.store.clone(), self.context.events.clone());
        let (volumes, _volume_task) = volume_task(self.context.clone());
        let mut hands = Hands {
            link: None,
            pods: BTreeMap::new(),
            batches,
            volumes,
            context: self.context,
            channel: self.channel,
            routes: self.routes,
            vips: self.vips,
            metrics: self.metrics,
        };
        let mut core = self.core;
        let mut out = Vec::new();
        let mut stop = std::pin::pin!(stop);
        let mut written = std::pin::pin!(written);
        let mut looks = tokio::time::interval(limits::DISK_LOOK);
        core.step(now(), Event::Tick, &mut out);
        loop {
            for command in out.drain(..) {
                hands.carry_out(command)?;
            }
            hands.metrics.observe(&core);
            hands.vips.serve(core.serving());
            let wake = core.next_wake().map(|at| Duration::from_millis(at.since(now()).0));
            let event = tokio::select! {
                event = events.recv() => event.ok_or(AgentError::Broken("event queue"))?,
                () = sleep(wake) => Event::Tick,
                _ = looks.tick() => Event::Disk { used_permille: used_permille(&hands.context.state_dir) },
                failed = &mut written => return Err(failed),
                () = &mut stop => break,
            };
            core.step(now(), event, &mut out);
        }
        hands.routes.remove_all().await;
        hands.vips.end(core.task_count() == 0).await;
        Ok(())
    }
}

async fn sleep(wake: Option<Duration>) {
    match wake {
        Some(wake) => tokio::time::sleep(wake).await,
        None => std::future::pending().await,
    }
}

/// How full the file system is for this process; nothing if it does not say.
fn used_permille(dir: &Path) -> u16 {
    let Ok(stat) = nix::sys::statvfs::statvfs(dir) else { return 0 };
    let (all, free) = (stat.blocks().max(1), stat.blocks_available());
    u16::try_from(1000 - free.min(all) * 1000 / all).unwrap_or(1000)
}

/// The core's clock.
pub(crate) use daemon::clock::now;

/// What carries the core's commands out.
struct Hands {
    link: Option<Link>,
    pods: BTreeMap<PodId, mpsc::UnboundedSender<PodCommand>>,
    batches: std::sync::mpsc::Sender<Batches>,
    volumes: mpsc::UnboundedSender<(u64, BTreeSet<VolumeKey>)>,
    context: Arc<Context>,
    channel: tonic::transport::Channel,
    routes: Routes,
    vips: Vips,
    metrics: Arc<Metrics>,
}

impl Hands {
    fn carry_out(&mut self, command: Command) -> Result<(), AgentError> {
        match command {
            Command::Connect { after } => {
                let Span(after) = after;
                let link =
                    Link::connect(self.channel.clone(), Duration::from_millis(after), self.context.events.clone());
                self.link = Some(link);
            }
            Command::CloseLink => {
                if let Some(link) = &self.link {
                    link.close("closed by the agent");
                }
            }
            Command::Send(message) => {
                if let Some(link) = &self.link {
                    link.send(&message);
                }
            }
            Command::Checkpoint { batch, writes } => {
                self.metrics.batches.inc();
                self.batches.send((batch, writes)).map_err(|_| AgentError::Broken("checkpoint writer"))?;
            }
            Command::Prepare { launch } => {
                let pod_id = launch.pod_id.clone();
                self.pod(&pod_id, PodCommand::Prepare(launch));
            }
            Command::Start { pod_id } => self.pod(&pod_id, PodCommand::Start),
            Command::Attach { pod_id } => self.pod(&pod_id, PodCommand::Attach),
            Command::Kill { pod_id, task_id, grace, reason } => {
                self.pod(&pod_id, PodCommand::Kill { task_id, grace, reason })
            }
            Command::ReportSeen { pod_id, number } => self.pod(&pod_id, PodCommand::ReportSeen(number)),
            Command::Destroy { pod_id } => self.pod(&pod_id, PodCommand::Destroy),
            Command::RemoveSandbox { pod_id } => {
                self.pod(&pod_id, PodCommand::Remove);
                self.pods.remove(&pod_id);
            }
            Command::SetVolumes { generation, volumes } => {
                self.volumes.send((generation, volumes)).map_err(|_| AgentError::Broken("volume task"))?;
            }
            Command::SetNetwork(network) => {
                self.context.pod_subnet.lock().expect("no holder panics").clone_from(&network.pod_subnet);
                self.routes.set(network);
            }
            Command::Note(decision) => note(&decision),
        }
        Ok(())
    }

    fn pod(&mut self, pod_id: &PodId, command: PodCommand) {
        let context = &self.context;
        let actor = self.pods.entry(pod_id.clone()).or_insert_with(|| pods::spawn(context.clone(), pod_id.clone()));
        let _ = actor.send(command);
    }
}

/// Batches are written by a thread of their own: as many at once as have gathered, one directory sync for all. The
/// future completes only if writing failed.
fn writer(
    store: Arc<Store>,
    events: mpsc::Sender<Event>,
) -> (std::sync::mpsc::Sender<Batches>, impl Future<Output = AgentError>) {
    let (sender, batches) = std::sync::mpsc::channel::<Batches>();
    let thread = tokio::task::spawn_blocking(move || {
        while let Ok((mut newest, mut writes)) = batches.recv() {
            while let Ok((batch, more)) = batches.try_recv() {
                newest = batch;
                writes.extend(more);
            }
            if let Err(error) = store.write(&writes) {
                return Some(AgentError::Checkpoint(error));
            }
            if events.blocking_send(Event::Checkpointed { batch: newest }).is_err() {
                return None;
            }
        }
        None
    });
    (sender, async move {
        match thread.await {
            Ok(Some(error)) => error,
            Ok(None) | Err(_) => AgentError::Broken("checkpoint writer"),
        }
    })
}

/// Volumes are made and destroyed one generation after the other; a failure is tried again until it helps, or until there
/// is a newer generation: the volume that cannot be made may have been destroyed meanwhile.
fn volume_task(
    context: Arc<Context>,
) -> (mpsc::UnboundedSender<(u64, BTreeSet<VolumeKey>)>, tokio::task::JoinHandle<()>) {
    let (sender, mut wanted) = mpsc::unbounded_channel::<(u64, BTreeSet<VolumeKey>)>();
    let task = tokio::spawn(async move {
        while let Some((mut generation, volumes)) = wanted.recv().await {
            let mut volumes = Arc::new(volumes);
            let mut pause = limits::RETRY_MIN;
            loop {
                while let Ok(newer) = wanted.try_recv() {
                    (generation, volumes) = (newer.0, Arc::new(newer.1));
                }
                let (places, set) = (context.places.clone(), volumes.clone());
                let done = tokio::task::spawn_blocking(move || places.set(&set)).await;
                match done {
                    Ok(Ok(())) => break,
                    Ok(Err(error)) => warn!(%error, generation, "volumes not set, trying again"),
                    Err(error) => warn!(%error, generation, "volumes not set, trying again"),
                }
                // A newer one is seen after at most this long.
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(limits::RETRY_MAX);
            }
            let _ = context.events.send(Event::VolumesSet { generation }).await;
        }
    });
    (sender, task)
}

fn note(decision: &Decision) {
    match decision {
        Decision::Registered => info!("registered with the master"),
        Decision::RefusedByMaster(refusal) => {
            warn!(
                code = refusal.code,
                message = refusal.message,
                next_step = refusal.next_step,
                "the master refuses this agent"
            );
        }
        Decision::StaleEpoch { epoch, seen } => warn!(epoch, seen, "a deposed master speaks, not obeyed"),
        Decision::WrongAgentId { given, own } => {
            warn!(given, own, "the master takes this agent for another, not obeyed")
        }
        Decision::MasterSilent => info!("the master is silent, connecting anew"),
        Decision::Admitted { pod_id, framework_id } => info!(%pod_id, %framework_id, "pod admitted"),
        Decision::LaunchRefused { framework_id, refusal } => {
            warn!(%framework_id, code = refusal.code, message = refusal.message, "launch refused");
        }
        Decision::LaunchRepeated { pod_id } => debug!(%pod_id, "launch repeated, nothing to do"),
        Decision::KillUnknown { task_id } => debug!(%task_id, "asked to stop a task that is not here"),
        Decision::AcknowledgeUnknown { task_id } => debug!(%task_id, "acknowledgement of no update in flight"),
        Decision::StaleHoldings { generation, seen } => warn!(generation, seen, "older holdings not obeyed"),
        Decision::HoldingsTooLarge { missing } => warn!(missing, "holdings exceed what the agent has, not obeyed"),
        Decision::ExecutorLost { pod_id, why } => warn!(%pod_id, why, "executor died under its pod"),
        Decision::Preempted { pod_id, why } => warn!(%pod_id, why, "pod preempted"),
        Decision::PodEnded { pod_id } => info!(%pod_id, "pod ended"),
    }
}
