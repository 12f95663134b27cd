//! The pod's cgroups in every hierarchy: membership, OOM kills, killing everything and removal. Works on v1, hybrid and v2.
//! Limits are written by the OCI runtime library; this is about life and death only.
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::limits::CGROUP_KILL_MS_MAX;

const PROCS: &str = "cgroup.procs";
const FREEZER: &str = "freezer.state";

/// Why cgroups were not killed or removed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The hierarchies are unknown.
    #[error("read the cgroup hierarchies from /proc/self/mountinfo")]
    Hierarchies(#[source] io::Error),
    /// A cgroup that is the root, or leads out of it, is never touched.
    #[error("refuse to touch cgroup {path:?}")]
    Forbidden {
        /// Which.
        path: String,
    },
    /// Members cannot be listed.
    #[error("list members of cgroup {path}")]
    Members {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A process cannot be moved in.
    #[error("join cgroup {path}")]
    Join {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// SIGKILL did not help: they hang in the kernel.
    #[error("{count} processes of cgroup {path} survived SIGKILL for {waited_ms} ms")]
    Survivors {
        /// Which.
        path: String,
        /// How many.
        count: usize,
        /// How long.
        waited_ms: u64,
    },
    /// The kernel keeps it.
    #[error("remove cgroup {path}")]
    Remove {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    mount: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// v1 with controllers, which the runtime library joins.
    Controllers(BTreeSet<String>),
    /// v1 without a controller (`name=systemd`), which it does not.
    Named,
    /// v2: the only one, or an empty one beside v1.
    Unified,
}

/// Kills every process in the pod's cgroup and below, in every hierarchy, and removes the cgroups.
///
/// `prefix` is a cgroup path below every hierarchy's root, such as `/mezzo/<agent>/<pod id>`. Blocks until the
/// processes are gone, at most [`CGROUP_KILL_MS_MAX`] ms. No cgroup there is success.
pub fn kill_pod_cgroups(prefix: &str) -> Result<(), CgroupError> {
    let path = relative(prefix)?;
    let hierarchies = hierarchies()?;
    let roots: Vec<PathBuf> = hierarchies.iter().map(|h| h.mount.join(&path)).filter(|p| p.exists()).collect();
    // A frozen v1 cgroup cannot fork faster than it is listed.
    let freezers: Vec<&PathBuf> = roots.iter().filter(|root| root.join(FREEZER).exists()).collect();
    for root in &freezers {
        let _ = fs::write(root.join(FREEZER), "FROZEN");
    }
    let started = Instant::now();
    let limit = Duration::from_millis(CGROUP_KILL_MS_MAX);
    let killed = loop {
        let members = kill_members(&roots)?;
        // Frozen processes take their SIGKILL only when thawed; what the container froze itself counts too.
        for root in &freezers {
            walk(root, &mut |dir| drop(fs::write(dir.join(FREEZER), "THAWED")));
        }
        if members == 0 {
            break Ok(());
        }
        if started.elapsed() > limit {
            break Err(CgroupError::Survivors {
                path: prefix.to_owned(),
                count: members,
                waited_ms: CGROUP_KILL_MS_MAX,
            });
        }
        thread::sleep(Duration::from_millis(2));
    };
    killed?;
    for root in &roots {
        remove_tree(root, started + limit)?;
    }
    Ok(())
}

/// Kills of the OOM killer in a cgroup and below. Must be read before the cgroup is removed.
pub(crate) fn oom_kills(cgroup: &str) -> u64 {
    let (Ok(path), Ok(hierarchies)) = (relative(cgroup), hierarchies()) else { return 0 };
    let mut total = 0;
    for hierarchy in &hierarchies {
        let root = hierarchy.mount.join(&path);
        match &hierarchy.kind {
            // v1 counts in the victim's own cgroup only.
            Kind::Controllers(names) if names.contains("memory") => {
                walk(&root, &mut |dir| total += counter(&dir.join("memory.oom_control"), "oom_kill"));
            }
            Kind::Unified => total += counter(&root.join("memory.events"), "oom_kill"),
            Kind::Controllers(_) | Kind::Named => {}
        }
    }
    total
}

/// Moves this process into the cgroup of every hierarchy that the runtime library leaves alone, so that all of a
/// container's hierarchies, and the cgroup namespace made later, have the same root.
pub(crate) fn join_unmanaged(cgroup: &str) -> Result<(), CgroupError> {
    let path = relative(cgroup)?;
    let hierarchies = hierarchies()?;
    let is_v2_only = hierarchies.iter().all(|h| h.kind == Kind::Unified);
    for hierarchy in &hierarchies {
        let is_managed = match &hierarchy.kind {
            Kind::Controllers(names) => names.iter().all(|name| RUNTIME_CONTROLLERS.contains(&name.as_str())),
            Kind::Named => false,
            Kind::Unified => is_v2_only,
        };
        if is_managed {
            continue;
        }
        let dir = hierarchy.mount.join(&path);
        fs::create_dir_all(&dir)
            .and_then(|()| fs::write(dir.join(PROCS), "0"))
            .map_err(|source| CgroupError::Join { path: dir, source })?;
    }
    Ok(())
}

/// The controllers the runtime library knows on v1.
const RUNTIME_CONTROLLERS: [&str; 12] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "hugetlb",
    "memory",
    "pids",
    "perf_event",
    "blkio",
    "net_prio",
    "net_cls",
    "freezer",
];

fn relative(cgroup: &str) -> Result<PathBuf, CgroupError> {
    let parts: Vec<&str> = cgroup.split('/').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() || parts.iter().any(|part| matches!(*part, "." | "..")) {
        return Err(CgroupError::Forbidden { path: cgroup.to_owned() });
    }
    Ok(parts.iter().collect())
}

fn hierarchies() -> Result<Vec<Hierarchy>, CgroupError> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(CgroupError::Hierarchies)?;
    Ok(parse_hierarchies(&mounts))
}

fn parse_hierarchies(mountinfo: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let Some(mount) = before.split(' ').nth(4) else { continue };
        let mut after = after.split(' ');
        let (fstype, options) = (after.next().unwrap_or_default(), after.nth(1).unwrap_or_default());
        // Where the runtime library looks too. Others are inside containers' root filesystems.
        if !Path::new(mount).starts_with("/sys/fs/cgroup") {
            continue;
        }
        let kind = match fstype {
            "cgroup2" => Kind::Unified,
            "cgroup" if options.split(',').any(|option| option.starts_with("name=")) => Kind::Named,
            "cgroup" => Kind::Controllers(
                options
                    .split(',')
                    .filter(|o| !matches!(*o, "rw" | "ro" | "xattr" | "clone_children"))
                    .map(str::to_owned)
                    .collect(),
            ),
            _ => continue,
        };
        let hierarchy = Hierarchy { mount: PathBuf::from(mount), kind };
        if !found.iter().any(|other| other.kind == hierarchy.kind) {
            found.push(hierarchy);
        }
    }
    found
}

/// Signals every member once and says how many there were.
fn kill_members(roots: &[PathBuf]) -> Result<usize, CgroupError> {
    let mut members = BTreeSet::new();
    for root in roots {
        let all_at_once = root.join("cgroup.kill");
        if all_at_once.exists() {
            let _ = fs::write(&all_at_once, "1");
        }
        let mut failed = None;
        walk(root, &mut |dir| match fs::read_to_string(dir.join(PROCS)) {
            Ok(procs) => members.extend(procs.lines().filter_map(|line| line.parse::<i32>().ok())),
            Err(err) if is_gone(&err) => {}
            Err(source) => failed = Some(CgroupError::Members { path: dir.to_owned(), source }),
        });
        if let Some(err) = failed {
            return Err(err);
        }
    }
    // 0 stands for processes of other pid namespaces, which no signal of ours reaches.
    let own = std::process::id().cast_signed();
    let mut count = 0;
    for &pid in members.iter().filter(|pid| **pid > 0 && **pid != own) {
        match kill(Pid::from_raw(pid), Signal::SIGKILL) {
            Err(Errno::ESRCH) => {}
            Ok(()) | Err(_) => count += 1,
        }
    }
    Ok(count)
}

fn remove_tree(root: &Path, deadline: Instant) -> Result<(), CgroupError> {
    let mut dirs = Vec::new();
    walk(root, &mut |dir| dirs.push(dir.to_owned()));
    // Children come after their parents in the walk.
    for dir in dirs.iter().rev() {
        loop {
            match fs::remove_dir(dir) {
                Ok(()) => break,
                Err(err) if is_gone(&err) => break,
                // The last process has gone, the kernel still lets go of it.
                Err(err) if err.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(2));
                }
                Err(source) => return Err(CgroupError::Remove { path: dir.clone(), source }),
            }
        }
    }
    Ok(())
}

fn walk(dir: &Path, visit: &mut dyn FnMut(&Path)) {
    if !dir.is_dir() {
        return;
    }
    visit(dir);
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), visit);
        }
    }
}

fn is_gone(err: &io::Error) -> bool {
    matches!(err.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

fn counter(file: &Path, key: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == key)
        .map_or(0, |(_, value)| value.trim().parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_told_apart() {
        let text = "31 30 0:26 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
                    32 30 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                    33 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                    34 30 0:26 /mezzo/a /somewhere rw - cgroup cgroup rw,memory\n\
                    35 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";
        let kinds: Vec<Kind> = parse_hierarchies(text).into_iter().map(|h| h.kind).collect();
        let names = |list: &[&str]| Kind::Controllers(list.iter().map(|&n| n.to_owned()).collect());
        assert_eq!(kinds, [names(&["memory"]), Kind::Named, Kind::Unified, names(&["cpu", "cpuacct"])]);
    }

    #[test]
    fn root_and_dots_are_refused() {
        for path in ["", "/", "//", "/a/../b", "."] {
            assert!(matches!(kill_pod_cgroups(path), Err(CgroupError::Forbidden { .. })), "{path}");
        }
    }
}
