//! Keeps named programs running and buries every child, its own and those it inherits.
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tracing::{info, warn};

use super::NodeError;
use daemon::error::chain;

const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A program that lived this long is healthy: its next death starts with the shortest backoff again.
const HEALTHY: Duration = Duration::from_secs(30);

/// A program to keep running.
#[derive(Debug, Clone)]
pub(super) struct Program {
    name: &'static str,
    path: &'static str,
    arguments: Vec<String>,
}

impl Program {
    pub(super) fn new(name: &'static str, path: &'static str, arguments: Vec<String>) -> Self {
        Self { name, path, arguments }
    }
}

#[derive(Debug)]
struct Kept {
    program: Program,
    state: State,
    backoff: Duration,
}

#[derive(Debug)]
enum State {
    Running { pid: Pid, since: Instant },
    Due { at: Instant },
    Stopped,
}

/// What a wait brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// Nothing but housekeeping.
    Idle,
    /// SIGTERM or SIGINT.
    Stop,
}
impl Woken {
    pub(super) fn is_stop(self) -> bool {
        self == Woken::Stop
    }
}

/// Owns the process's signals from its creation on.
#[derive(Debug)]
pub(super) struct Supervisor {
    signals: SignalFd,
    kept: BTreeMap<&'static str, Kept>,
}

impl Supervisor {
    pub(super) fn new() -> nix::Result<Self> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT] {
            set.add(signal);
        }
        // Children get an empty mask from the standard library.
        set.thread_block()?;
        nix::sys::prctl::set_child_subreaper(true)?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { signals, kept: BTreeMap::new() })
    }

    /// Starts a program and keeps it running from now on.
    pub(super) fn start(&mut self, program: Program) -> Result<(), NodeError> {
        let pid = spawn(&program).map_err(|source| NodeError::Start { program: program.name, source })?;
        let state = State::Running { pid, since: Instant::now() };
        self.kept.insert(program.name, Kept { program, state, backoff: BACKOFF_MIN });
        Ok(())
    }

    /// Waits for a signal or a due restart, at most so long, and does what is due.
    pub(super) fn wait(&mut self, at_most: Duration) -> Woken {
        let now = Instant::now();
        let due = self.kept.values().filter_map(|kept| match kept.state {
            State::Due { at } => Some(at.saturating_duration_since(now)),
            State::Running { .. } | State::Stopped => None,
        });
        let timeout = due.min().unwrap_or(at_most).min(at_most);
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)], timeout);
        let mut woken = Woken::Idle;
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if signal.ssi_signo != Signal::SIGCHLD as u32 {
                woken = Woken::Stop;
            }
        }
        self.reap();
        self.restart_due();
        woken
    }

    /// Stops a program for good: SIGTERM, and SIGKILL after the grace.
    pub(super) fn stop(&mut self, name: &str, grace: Duration) {
        let Some(kept) = self.kept.get_mut(name) else { return };
        let State::Running { pid, .. } = kept.state else {
            kept.state = State::Stopped;
            return;
        };
        kept.state = State::Stopped;
        let _ = kill(pid, Signal::SIGTERM);
        let deadline = Instant::now() + grace;
        while is_alive(pid) {
            if Instant::now() > deadline {
                warn!(program = name, "program did not stop, killed");
                let _ = kill(pid, Signal::SIGKILL);
            }
            self.wait(Duration::from_millis(50));
        }
    }

    /// Ends a set of processes: SIGTERM to each, and SIGKILL to what is left after the grace.
    pub(super) fn end_all(&mut self, processes: impl Fn() -> Vec<Pid>, grace: Duration) {
        for pid in processes() {
            let _ = kill(pid, Signal::SIGTERM);
        }
        let deadline = Instant::now() + grace;
        loop {
            let left = processes();
            // A process that no signal ends (asleep in the kernel) ends with its pid namespace.
            if left.is_empty() || Instant::now() > deadline + grace {
                return;
            }
            if Instant::now() > deadline {
                for pid in left {
                    let _ = kill(pid, Signal::SIGKILL);
                }
            }
            self.wait(Duration::from_millis(50));
        }
    }

    fn reap(&mut self) {
        loop {
            let (pid, how) = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, format!("exited with {code}")),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, format!("killed by {signal}")),
                Err(Errno::EINTR) => continue,
                Ok(_) | Err(_) => return,
            };
            let Some(kept) =
                self.kept.values_mut().find(|kept| matches!(kept.state, State::Running { pid: p, .. } if p == pid))
            else {
                continue;
            };
            if let State::Running { since, .. } = kept.state
                && since.elapsed() > HEALTHY
            {
                kept.backoff = BACKOFF_MIN;
            }
            warn!(
                program = kept.program.name,
                how,
                backoff_ms = kept.backoff.as_millis(),
                "program ended, starting it again"
            );
            kept.state = State::Due { at: Instant::now() + kept.backoff };
            kept.backoff = (kept.backoff * 2).min(BACKOFF_MAX);
        }
    }

    fn restart_due(&mut self) {
        let now = Instant::now();
        for kept in self.kept.values_mut() {
            if !matches!(kept.state, State::Due { at } if at <= now) {
                continue;
            }
            match spawn(&kept.program) {
                Ok(pid) => {
                    info!(program = kept.program.name, pid = pid.as_raw(), "program started again");
                    kept.state = State::Running { pid, since: now };
                }
                Err(error) => {
                    warn!(error = %chain(&error), program = kept.program.name, "program not started");
                    kept.state = State::Due { at: now + kept.backoff };
                    kept.backoff = (kept.backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }
}

fn spawn(program: &Program) -> std::io::Result<Pid> {
    let child = Command::new(program.path)
        .args(&program.arguments)
        // Where nothing answers for a cloud, the kubelet's search for one costs eleven seconds of its start.
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null())
        .spawn()?;
    Ok(Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX)))
}

/// Zombies count as alive until they are reaped, which `wait` does.
fn is_alive(pid: Pid) -> bool {
    kill(pid, None).is_ok()
}
