//! What the executor does to itself before it has threads, and how it runs its helpers.
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::cleanup::{CleanupError, mounts_below, unmount};

/// Leaves the agent's session, takes the containers' inits as children when their helpers leave, and gets a mount
/// namespace that sees the host's mounts but sends none back.
pub(super) fn detach() -> io::Result<()> {
    // Fails if the agent made it a group leader; then it left the session's signals behind as well.
    let _ = nix::unistd::setsid();
    // Containers inherit it: what they make should not depend on how the agent was started.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    nix::sys::prctl::set_child_subreaper(true)?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)?;
    Ok(())
}

/// Unmounts the other pods' root filesystems, volumes and secrets in this mount namespace: the copies would keep them alive after
/// their own pod is gone. `dir` is this pod's directory, the others' are beside it.
pub(super) fn forget_other_pods(dir: &Path) -> Result<(), CleanupError> {
    let Some(pods) = dir.parent().filter(|parent| parent.parent().is_some()) else { return Ok(()) };
    let mut mounts = mounts_below(pods).map_err(CleanupError::Mounts)?;
    mounts.retain(|path| !path.starts_with(dir));
    unmount(mounts)
}

/// The program this process runs, held open: replacing the file on disk does not change the helpers of a running pod.
#[derive(Debug)]
pub(super) struct Program {
    file: File,
}

impl Program {
    pub(super) fn pin() -> io::Result<Self> {
        Ok(Self { file: File::open("/proc/self/exe")? })
    }
    /// `<program> container <operation>`. The descriptor is close-on-exec; exec opens it before it closes it.
    pub(super) fn helper(&self, operation: &str) -> Command {
        let mut command = Command::new(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        command.args(["container", operation]);
        command
    }
}
