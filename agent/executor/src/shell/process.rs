//! Children: the executor reaps everything, also what containers leave behind, and tells those who wait.
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::sync::oneshot;

use crate::core::Exit;
use crate::limits::UNCLAIMED_MAX;

/// Who waits for which child.
#[derive(Debug, Default)]
pub(super) struct Reaper {
    inner: RefCell<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: BTreeMap<i32, oneshot::Sender<Exit>>,
    /// A container's init may be reaped before its helper, which knows its pid. Kept only while a helper is at work.
    unclaimed: BTreeMap<i32, Exit>,
    creates: u32,
}

impl Reaper {
    /// Takes every dead child.
    pub(super) fn reap(&self) {
        loop {
            let (pid, exit) = match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid.as_raw(), Exit::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid.as_raw(), Exit::Signal(signal as i32)),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
                Ok(_) | Err(_) => continue,
            };
            let mut inner = self.inner.borrow_mut();
            if let Some(waiting) = inner.waiting.remove(&pid) {
                // Nobody waits any more: it was given up.
                let _ = waiting.send(exit);
            } else if inner.creates > 0 && inner.unclaimed.len() < UNCLAIMED_MAX {
                inner.unclaimed.insert(pid, exit);
            }
        }
    }

    /// Starts a child of this process. No reaping can happen in between.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let child = command.spawn()?;
        let pid = child.id().cast_signed();
        let (sender, exit) = oneshot::channel();
        let mut inner = self.inner.borrow_mut();
        inner.unclaimed.remove(&pid);
        inner.waiting.insert(pid, sender);
        Ok(Child { pid, exit })
    }

    /// A helper that will leave us a child begins; drop the guard when the child is adopted.
    pub(super) fn creating(&self) -> Creating<'_> {
        self.inner.borrow_mut().creates += 1;
        Creating { reaper: self }
    }
}

/// While it lives, exits of unknown children are remembered.
#[derive(Debug)]
pub(super) struct Creating<'a> {
    reaper: &'a Reaper,
}

impl Creating<'_> {
    /// Waits for a child that somebody else started and that may be dead already.
    pub(super) fn adopt(&self, pid: i32) -> Child {
        let (sender, exit) = oneshot::channel();
        let mut inner = self.reaper.inner.borrow_mut();
        match inner.unclaimed.remove(&pid) {
            Some(known) => drop(sender.send(known)),
            None => drop(inner.waiting.insert(pid, sender)),
        }
        Child { pid, exit }
    }
}

impl Drop for Creating<'_> {
    fn drop(&mut self) {
        let mut inner = self.reaper.inner.borrow_mut();
        inner.creates -= 1;
        if inner.creates == 0 {
            inner.unclaimed.clear();
        }
    }
}

/// A child and its exit to come.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) pid: i32,
    exit: oneshot::Receiver<Exit>,
}

impl Child {
    pub(super) async fn exit(&mut self) -> Exit {
        (&mut self.exit).await.unwrap_or_else(|_| Exit::LaunchError("its exit was lost".to_owned()))
    }
    /// Waits; after `limit` kills it and its children. Nothing: it was killed.
    pub(super) async fn exit_within(&mut self, limit: Duration) -> Option<Exit> {
        if let Ok(exit) = tokio::time::timeout(limit, self.exit()).await {
            return Some(exit);
        }
        self.kill_with_children();
        // SIGKILL is not refused, but a process in the kernel's hands may take it late: whoever waits goes on.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.exit()).await;
        None
    }
    fn kill_with_children(&self) {
        let list = format!("/proc/{0}/task/{0}/children", self.pid);
        let children = std::fs::read_to_string(list).unwrap_or_default();
        for pid in children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
    }
}
