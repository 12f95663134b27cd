//! Keeps master and agents running, as systemd would: starts them again after a growing pause when they end. Holds no
//! state that matters: whoever kills it loses nothing, and `mezzo down` finds everything without it.
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::layout::Layout;
use crate::failure::{Failure, Result};
use crate::{limits, output};

/// The environment variable by which every process of a local pool is known; its value is the pool's directory.
pub(super) const MARK: &str = "MEZZO_LOCAL_POOL";

/// One process to keep running.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
}

/// A process, known by more than a number that may be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessId {
    pub(super) pid: i32,
    /// When it started, in clock ticks since boot.
    pub(super) started: u64,
}

impl ProcessId {
    /// `None` if there is no such process.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the name in parentheses and may hold anything.
        let started = text.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
        Some(Self { pid, started })
    }
    pub(super) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// One supervisor per pool: held as long as it lives, by the kernel.
#[derive(Debug)]
pub(super) struct Lock {
    _file: Flock<File>,
}

impl Lock {
    /// `None` if another supervisor lives.
    pub(super) fn take(dir: &Path) -> Result<Option<Self>> {
        let path = Layout::lock(dir);
        let failed = |error: &dyn std::error::Error| Failure::while_doing(format!("lock {}", path.display()), error);
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(|error| failed(&error))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Some(Self { _file: file })),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(failed(&error)),
        }
    }
}

/// Everything that was started, for `mezzo down`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Pids {
    pub(super) supervisor: Option<ProcessId>,
}

impl Pids {
    pub(super) fn load(dir: &Path) -> Self {
        let text = std::fs::read_to_string(Layout::pids(dir)).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }
    pub(super) fn save(&self, dir: &Path) -> Result<()> {
        let path = Layout::pids(dir);
        let text = serde_json::to_string(self).map_err(|error| Failure::while_doing("print as json", &error))?;
        std::fs::write(&path, text).map_err(|error| Failure::while_doing(format!("write {}", path.display()), &error))
    }
}

/// Keeps one program running until told to stop; then asks it to end, and makes it.
pub(super) async fn keep_running(layout: Layout, program: Program, mut stop: watch::Receiver<bool>) {
    let (first, longest) = limits::RESTART;
    let mut pause = first;
    while !*stop.borrow() {
        let started = Instant::now();
        match start(&layout, &program) {
            Ok(mut child) => {
                tokio::select! {
                    ended = child.wait() => {
                        let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                        output::note(&format!("{} ended ({how}), it is started again; see {}", program.name, layout.log(&program.name).display()));
                    }
                    _ = stop.changed() => {
                        end(&mut child).await;
                        return;
                    }
                }
            }
            Err(failure) => output::note(&failure.to_string()),
        }
        if started.elapsed() > limits::RESTART_FORGET {
            pause = first;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(longest),
            _ = stop.changed() => return,
        }
    }
}

fn start(layout: &Layout, program: &Program) -> Result<Child> {
    let path = layout.log(&program.name);
    let failed = |error: std::io::Error| Failure::while_doing(format!("start {}", program.name), &error);
    let log = File::options().create(true).append(true).open(&path).map_err(failed)?;
    let errors = log.try_clone().map_err(failed)?;
    let mut command = Command::new(&program.path);
    command
        .args(&program.arguments)
        .envs(&program.environment)
        .env(MARK, &layout.dir)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        // Ctrl-C of a terminal is for the supervisor alone; it ends them in order.
        .process_group(0);
    command.spawn().map_err(failed)
}

async fn end(child: &mut Child) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
    }
    if tokio::time::timeout(limits::TERM_TIME, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}
