//! The processes of pods: everything in the cgroups that the kubelet made.
use std::fs;
use std::path::Path;

use nix::unistd::Pid;

/// Roots of the kubelet's cgroups: version 1 (any hierarchy has them all) and version 2.
const ROOTS: [&str; 3] = ["/sys/fs/cgroup/memory/kubepods", "/sys/fs/cgroup/pids/kubepods", "/sys/fs/cgroup/kubepods"];

/// Every process of every pod, once.
pub(super) fn pod_processes() -> Vec<Pid> {
    let mut pids = Vec::new();
    for root in ROOTS {
        collect(Path::new(root), &mut pids);
    }
    pids.sort_unstable();
    pids.dedup();
    pids
}

fn collect(dir: &Path, pids: &mut Vec<Pid>) {
    let Ok(text) = fs::read_to_string(dir.join("cgroup.procs")) else { return };
    pids.extend(text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).map(Pid::from_raw));
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), pids);
        }
    }
}
