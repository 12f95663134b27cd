//! The event loop: turns what happens into the core's events and its commands into deeds.
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use model::time::{Span, Timestamp};
use nix::sys::signal::{self, kill};
use nix::unistd::Pid;
use proto::mezzo::v1::{ContainerSpec, FromExecutor, StartPod, from_executor, to_executor};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_local};
use tracing::{error, info, warn};

use super::host::Program;
use super::logs::{RotatingFile, pump};
use super::peer::Peer;
use super::process::Reaper;
use super::{check, convert};
use crate::core::{CheckKind, Command, Core, Event, Exit, Signal};
use crate::helper;
use crate::limits::{HELPER_MS_MAX, INBOX_MAX, LOG_DRAIN_MS_MAX};
use crate::paths::PodPaths;
use crate::{cgroup, chain, files, shorten};

/// What wakes the loop.
#[derive(Debug)]
pub(super) enum Input {
    /// News of a container.
    Core(Event),
    /// An agent said hello.
    Connected { connection: u64 },
    /// An agent said something else.
    Told { connection: u64, kind: to_executor::Kind },
}

/// What tasks of the loop share; there is one thread.
pub(super) struct Shared {
    pub(super) paths: PodPaths,
    pub(super) program: Program,
    pub(super) reaper: Reaper,
    pub(super) inbox: mpsc::Sender<Input>,
}

/// A container's runtime side.
pub(super) struct Entry {
    pub(super) spec: Rc<ContainerSpec>,
    stdout: Rc<RefCell<RotatingFile>>,
    stderr: Rc<RefCell<RotatingFile>>,
    /// Init of the current run.
    pid: Option<i32>,
    /// Readers of the current run's output.
    pumps: Vec<JoinHandle<()>>,
    checks: Vec<JoinHandle<()>>,
}

struct Pod {
    shared: Rc<Shared>,
    core: Core,
    clock: Instant,
    peer: Peer,
    entries: BTreeMap<String, Entry>,
    is_over: bool,
}

/// Runs until the core says exit.
pub(super) async fn run(dir: &Path, program: Program, listener: UnixListener) -> io::Result<()> {
    let mut children = signal(SignalKind::child())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (inbox, mut inputs) = mpsc::channel(INBOX_MAX);
    let shared = Rc::new(Shared { paths: PodPaths::new(dir), program, reaper: Reaper::default(), inbox });
    let clock = Instant::now();
    let mut pod = Pod {
        shared,
        core: Core::new(Timestamp(0)),
        clock,
        peer: Peer::default(),
        entries: BTreeMap::new(),
        is_over: false,
    };
    while !pod.is_over {
        let deadline = pod.core.deadline().map(|Timestamp(ms)| clock + Duration::from_millis(ms));
        let alarm = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = children.recv() => pod.shared.reaper.reap(),
            _ = terminate.recv() => pod.terminate(),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => pod.peer.accept(stream, pod.shared.inbox.clone()),
                Err(error) => warn!(%error, "agent connection not accepted"),
            },
            Some(input) = inputs.recv() => pod.take(input),
            () = alarm => pod.step(Event::Tick),
        }
    }
    info!("executor leaves");
    Ok(())
}

impl Pod {
    fn take(&mut self, input: Input) {
        match input {
            Input::Core(event) => {
                if let Event::Created { task_id, pid, .. } = &event
                    && let Some(entry) = self.entries.get_mut(task_id)
                {
                    entry.pid = i32::try_from(*pid).ok();
                }
                // A pid that was reaped may soon be somebody else's.
                if let Event::Died { task_id, .. } = &event
                    && let Some(entry) = self.entries.get_mut(task_id)
                {
                    entry.pid = None;
                }
                self.step(event);
            }
            Input::Connected { connection } if self.peer.is_current(connection) => self.step(Event::Connected),
            Input::Told { connection, kind } if self.peer.is_current(connection) => self.told(kind),
            Input::Connected { .. } | Input::Told { .. } => {}
        }
    }

    fn told(&mut self, kind: to_executor::Kind) {
        match kind {
            to_executor::Kind::Hello(_) => {}
            to_executor::Kind::Start(start) => self.start(start),
            to_executor::Kind::Kill(order) => self.step(Event::Kill {
                task_id: order.task_id,
                grace: Span(order.grace_ms),
                reason: shorten(&order.reason),
            }),
            to_executor::Kind::Seen(seen) => self.step(Event::Seen { number: seen.number }),
            to_executor::Kind::Exit(_) => self.step(Event::ExitAsked),
        }
    }

    fn start(&mut self, start: StartPod) {
        if self.entries.is_empty() {
            // On disk before anything runs: whoever finds this executor dead must know which cgroups to kill.
            if let Err(err) = files::save_pod(self.shared.paths.dir(), &start) {
                error!(error = %chain(&err), "pod not started");
                return;
            }
            info!(pod_id = %start.pod_id, containers = start.containers.len(), "pod starts");
        }
        let containers = start.containers.iter().map(|spec| (spec.task_id.clone(), convert::plan(spec))).collect();
        if self.entries.is_empty() {
            self.entries = start.containers.into_iter().map(|spec| (spec.task_id.clone(), Entry::new(spec))).collect();
        }
        self.step(Event::Start { containers });
    }

    /// Somebody ends the process in the usual way: containers first.
    fn terminate(&mut self) {
        let all: Vec<(String, u64)> =
            self.entries.iter().map(|(id, entry)| (id.clone(), entry.spec.kill_grace_ms)).collect();
        for (task_id, grace) in all {
            let reason = "the executor was told to stop".to_owned();
            self.step(Event::Kill { task_id, grace: Span(grace), reason });
        }
        self.step(Event::ExitAsked);
    }

    fn step(&mut self, event: Event) {
        let now = Timestamp(u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX));
        let mut commands = Vec::new();
        self.core.step(now, wall(), event, &mut commands);
        for command in commands {
            self.perform(command);
        }
    }

    fn perform(&mut self, command: Command) {
        match command {
            Command::Create { task_id, run } => self.create(&task_id, run),
            Command::Signal { task_id, signal, .. } => self.signal(&task_id, signal),
            Command::Clean { task_id, run } => self.clean(&task_id, run),
            Command::Check { task_id, run, kind } => self.check(task_id, run, kind),
            Command::PersistEnded { name, report } => {
                let report = convert::report(&report);
                if let Err(err) = files::save_ended(self.shared.paths.dir(), &name, &report) {
                    error!(error = %chain(&err), container = name, "end of container not written");
                }
            }
            Command::Send(report) => {
                let report = convert::report(&report);
                self.peer.send(FromExecutor { kind: Some(from_executor::Kind::Report(report)) });
            }
            Command::Exit => self.is_over = true,
        }
    }

    fn create(&mut self, task_id: &str, run: u32) {
        let Some(entry) = self.entries.get_mut(task_id) else { return };
        let (shared, spec) = (self.shared.clone(), entry.spec.clone());
        let streams = entry.open_streams();
        let task_id = task_id.to_owned();
        spawn_local(async move {
            let created = match streams {
                Ok(streams) => create(&shared, &spec, streams).await,
                Err(err) => Err(format!("make pipes for its output: {err}")),
            };
            match created {
                Err(error) => shared.tell(Event::CreateFailed { task_id, run, error: shorten(&error) }).await,
                Ok(mut child) => {
                    let pid = child.pid.cast_unsigned();
                    shared.tell(Event::Created { task_id: task_id.clone(), run, pid }).await;
                    let exit = child.exit().await;
                    info!(container = %spec.name, run, %exit, "container ended");
                    shared.tell(Event::Died { task_id, run, exit }).await;
                }
            }
        });
    }

    fn signal(&mut self, task_id: &str, which: Signal) {
        let Some(pid) = self.entries.get(task_id).and_then(|entry| entry.pid) else { return };
        let signal = match which {
            Signal::Term => signal::Signal::SIGTERM,
            Signal::Kill => signal::Signal::SIGKILL,
        };
        // It is our child and not reaped, so the pid is its own. ESRCH cannot be, and EPERM not for root.
        let _ = kill(Pid::from_raw(pid), signal);
    }

    fn clean(&mut self, task_id: &str, run: u32) {
        let Some(entry) = self.entries.get_mut(task_id) else { return };
        entry.checks.drain(..).for_each(|check| check.abort());
        let (shared, spec, pumps) = (self.shared.clone(), entry.spec.clone(), std::mem::take(&mut entry.pumps));
        let task_id = task_id.to_owned();
        spawn_local(async move {
            let oom_kills = cgroup::oom_kills(&spec.cgroup);
            delete(&shared, &spec).await;
            drain(pumps).await;
            shared.tell(Event::Cleaned { task_id, run, oom_kills }).await;
        });
    }

    fn check(&mut self, task_id: String, run: u32, kind: CheckKind) {
        let Some(entry) = self.entries.get_mut(&task_id) else { return };
        let spec = entry.spec.clone();
        let (shared, pid) = (self.shared.clone(), entry.pid.unwrap_or_default());
        entry.checks.retain(|check| !check.is_finished());
        entry.checks.push(spawn_local(async move {
            let wanted = match kind {
                CheckKind::Readiness => spec.readiness.as_ref(),
                CheckKind::Health => spec.health.as_ref(),
            };
            let Some(wanted) = wanted else { return };
            let result = check::run(&shared, &spec.name, pid, wanted).await;
            let passed = result.is_ok();
            let message = shorten(&result.unwrap_or_else(|message| message));
            shared.tell(Event::Checked { task_id, run, kind, passed, message }).await;
        }));
    }
}

impl Entry {
    pub(super) fn new(spec: ContainerSpec) -> Self {
        let open = |path: &str| Rc::new(RefCell::new(RotatingFile::new(path, spec.log_bytes_max, spec.log_files_max)));
        let stdout = open(&spec.stdout_path);
        let stderr = if spec.stderr_path == spec.stdout_path { stdout.clone() } else { open(&spec.stderr_path) };
        Self { spec: Rc::new(spec), stdout, stderr, pid: None, pumps: Vec::new(), checks: Vec::new() }
    }
    /// New pipes for a run: the ends for the container; this end is read until the last writer is gone.
    pub(super) fn open_streams(&mut self) -> io::Result<[io::PipeWriter; 2]> {
        let (out_reader, out_writer) = io::pipe()?;
        let (err_reader, err_writer) = io::pipe()?;
        self.pumps.push(spawn_local(pump(out_reader.into(), self.stdout.clone())));
        self.pumps.push(spawn_local(pump(err_reader.into(), self.stderr.clone())));
        Ok([out_writer, err_writer])
    }
    /// Reads what is left of the output.
    pub(super) async fn drain(&mut self) {
        drain(std::mem::take(&mut self.pumps)).await;
    }
}

/// Every writer is dead, so the pipes end, unless a descriptor was passed out of the container.
async fn drain(pumps: Vec<JoinHandle<()>>) {
    let drained = tokio::time::Instant::now() + Duration::from_millis(LOG_DRAIN_MS_MAX);
    for mut pump in pumps {
        if tokio::time::timeout_at(drained, &mut pump).await.is_err() {
            pump.abort();
        }
    }
}

impl Shared {
    async fn tell(&self, event: Event) {
        // The loop ends only when nobody has anything to tell.
        let _ = self.inbox.send(Input::Core(event)).await;
    }
}

pub(super) async fn create(
    shared: &Shared,
    spec: &ContainerSpec,
    [stdout, stderr]: [io::PipeWriter; 2],
) -> Result<super::process::Child, String> {
    let work = shared.paths.container(&spec.name);
    for file in [helper::PID, helper::ERROR] {
        let _ = fs::remove_file(work.join(file));
    }
    let creating = shared.reaper.creating();
    let mut command = shared.program.helper("create");
    command.arg("--bundle").arg(&spec.bundle).arg("--state-root").arg(shared.paths.state_root());
    command.arg("--work").arg(&work).arg("--cgroup").arg(&spec.cgroup).arg("--id").arg(&spec.name);
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    let spawned = shared.reaper.spawn(&mut command);
    // It holds the pipes' ends, which must be the container's alone.
    drop(command);
    let mut helper = spawned.map_err(|err| format!("run the container helper: {err}"))?;
    let exit = helper.exit_within(Duration::from_millis(HELPER_MS_MAX)).await;
    if exit == Some(Exit::Code(0)) {
        let pid = fs::read_to_string(work.join(helper::PID)).ok().and_then(|text| text.parse().ok());
        return pid.map(|pid| creating.adopt(pid)).ok_or_else(|| "the container helper left no pid".to_owned());
    }
    let said = fs::read_to_string(work.join(helper::ERROR)).unwrap_or_default();
    Err(match exit {
        _ if !said.is_empty() => said,
        Some(exit) => format!("the container helper {exit}"),
        None => format!("the container helper took longer than {HELPER_MS_MAX} ms"),
    })
}

pub(super) async fn delete(shared: &Shared, spec: &ContainerSpec) {
    let work = shared.paths.container(&spec.name);
    let log = work.join(helper::ERROR);
    let mut command = shared.program.helper("delete");
    command.arg("--state-root").arg(shared.paths.state_root());
    command.arg("--cgroup").arg(&spec.cgroup).arg("--id").arg(&spec.name);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(File::create(&log).map_or_else(|_| Stdio::null(), Stdio::from));
    let exit = match shared.reaper.spawn(&mut command) {
        Ok(mut helper) => helper.exit_within(Duration::from_millis(HELPER_MS_MAX)).await,
        Err(err) => Some(Exit::LaunchError(err.to_string())),
    };
    if exit != Some(Exit::Code(0)) {
        // The agent removes what is left with the pod.
        let said = fs::read_to_string(&log).unwrap_or_default();
        error!(container = %spec.name, error = %shorten(&said), exit = ?exit, "container not removed");
    }
}

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
