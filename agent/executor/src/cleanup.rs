//! Removing a pod whose executor is dead, or must die: processes, cgroups, mounts. Files stay, the agent reads them.
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgroup::{CgroupError, kill_pod_cgroups};
use crate::files::{ExecutorRecord, FileError, load_pod};
use crate::limits::CGROUP_KILL_MS_MAX;

/// Why something of the pod is left.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// What the pod was cannot be read.
    #[error("read what pod {dir} ran")]
    Files {
        /// Its directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: Box<FileError>,
    },
    /// SIGKILL did not help.
    #[error("executor {pid} of pod {dir} survived SIGKILL")]
    Executor {
        /// Its directory.
        dir: PathBuf,
        /// The process.
        pid: i32,
    },
    /// Processes or cgroups are left.
    #[error("kill the cgroups of pod {dir}")]
    Cgroups {
        /// Its directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: Box<CgroupError>,
    },
    /// The mount table cannot be read.
    #[error("read /proc/self/mountinfo")]
    Mounts(#[source] io::Error),
    /// A mount is left.
    #[error("unmount {path}")]
    Unmount {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Kills the executor if it still lives, kills and removes the pod's cgroups, and unmounts everything below the pod's
/// directory in the caller's mount namespace. Blocks; safe to repeat. Files in the directory are left alone.
pub fn cleanup_pod(dir: &Path) -> Result<(), CleanupError> {
    kill_pod(dir)?;
    unmount_below(dir)
}

/// Kills the executor if it still lives, and kills and removes the pod's cgroups. Blocks; safe to repeat.
pub fn kill_pod(dir: &Path) -> Result<(), CleanupError> {
    let files = |source| CleanupError::Files { dir: dir.to_owned(), source: Box::new(source) };
    // First the executor, or it would start again what is killed.
    if let Some(executor) = ExecutorRecord::load(dir).map_err(files)? {
        kill_executor(dir, &executor)?;
    }
    let cgroups: BTreeSet<String> =
        load_pod(dir).map_err(files)?.into_iter().flat_map(|pod| pod.containers).map(|spec| spec.cgroup).collect();
    let failed = |source| CleanupError::Cgroups { dir: dir.to_owned(), source: Box::new(source) };
    for cgroup in &cgroups {
        kill_pod_cgroups(cgroup).map_err(failed)?;
    }
    // The containers' common parent is the pod's own cgroup if there is nothing else in it.
    let parents: BTreeSet<&str> = cgroups
        .iter()
        .filter_map(|cgroup| cgroup.trim_end_matches('/').rsplit_once('/'))
        .map(|(parent, _)| parent)
        .collect();
    for parent in
        parents.into_iter().filter(|parent| parent.rsplit('/').next() == dir.file_name().and_then(|n| n.to_str()))
    {
        kill_pod_cgroups(parent).map_err(failed)?;
    }
    Ok(())
}

fn kill_executor(dir: &Path, executor: &ExecutorRecord) -> Result<(), CleanupError> {
    let deadline = Instant::now() + Duration::from_millis(CGROUP_KILL_MS_MAX);
    while executor.is_alive() {
        let _ = kill(Pid::from_raw(executor.pid), Signal::SIGKILL);
        if Instant::now() > deadline {
            return Err(CleanupError::Executor { dir: dir.to_owned(), pid: executor.pid });
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn unmount_below(dir: &Path) -> Result<(), CleanupError> {
    let dir = match dir.canonicalize() {
        Ok(dir) => dir,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(CleanupError::Mounts(source)),
    };
    unmount(mounts_below(&dir).map_err(CleanupError::Mounts)?)
}

/// Where something is mounted below a directory in this mount namespace, in the order it was mounted.
pub(crate) fn mounts_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let paths = table.lines().filter_map(|line| line.split(' ').nth(4)).map(|path| PathBuf::from(unescape(path)));
    Ok(paths.filter(|path| path != dir && path.starts_with(dir)).collect())
}

pub(crate) fn unmount(below: Vec<PathBuf>) -> Result<(), CleanupError> {
    // Later mounts lie on top of earlier ones.
    for path in below.into_iter().rev() {
        match umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            // Gone with what it was mounted on.
            Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
            Err(errno) => return Err(CleanupError::Unmount { path, source: errno.into() }),
        }
    }
    Ok(())
}

/// mountinfo writes blanks, tabs, newlines and backslashes as octal.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}
