//! What there is of a local pool on this machine, found by looking: processes, namespaces, links, mounts, cgroups. What
//! is removed and what is reported as left over come from the same look.
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::layout::Layout;
use super::network;
use super::supervise::{MARK, ProcessId};
use crate::failure::Result;

/// Everything found.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    pub(super) processes: Vec<(ProcessId, String)>,
    pub(super) namespaces: Vec<String>,
    pub(super) links: Vec<String>,
    pub(super) mounts: Vec<PathBuf>,
    pub(super) cgroups: Vec<PathBuf>,
}

impl Leftovers {
    /// Looks. The caller itself is never part of it.
    pub(super) fn find(layout: &Layout) -> Result<Self> {
        Ok(Self {
            processes: processes(layout),
            namespaces: namespaces(layout),
            links: links(layout)?,
            mounts: mounts(layout),
            cgroups: cgroups(layout),
        })
    }
    pub(super) fn is_empty(&self) -> bool {
        self.lines().is_empty()
    }
    /// The directory of another pool of the same name, one of whose processes is among what was found.
    pub(super) fn other_pool(&self, layout: &Layout) -> Option<PathBuf> {
        let dirs = self.processes.iter().filter_map(|(id, _)| marked_by(id.pid));
        dirs.map(PathBuf::from).find(|dir| *dir != layout.dir)
    }
    /// How much of what, as in `2 processes, 1 links`.
    pub(super) fn summary(&self) -> String {
        let counted = [
            (self.processes.len(), "processes"),
            (self.namespaces.len(), "network namespaces"),
            (self.links.len(), "links"),
            (self.mounts.len(), "mounts"),
            (self.cgroups.len(), "cgroups"),
        ];
        let told: Vec<String> =
            counted.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        told.join(", ")
    }
    /// One line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.processes.iter().map(|(id, what)| format!("process {} ({what})", id.pid)).collect();
        lines.extend(self.namespaces.iter().map(|name| format!("network namespace {name}")));
        lines.extend(self.links.iter().map(|name| format!("link {name}")));
        lines.extend(self.mounts.iter().map(|path| format!("mount {}", path.display())));
        lines.extend(self.cgroups.iter().map(|path| format!("cgroup {}", path.display())));
        lines
    }
}

/// Processes of the pool: in a network namespace of it, in a cgroup of it, or marked in their environment.
fn processes(layout: &Layout) -> Vec<(ProcessId, String)> {
    let own: BTreeSet<i32> = ancestors();
    let namespaces: BTreeSet<u64> =
        layout_netns(layout).iter().filter_map(|path| path.metadata().ok()).map(|meta| meta.ino()).collect();
    let in_cgroups: BTreeSet<i32> = cgroups(layout).iter().flat_map(|path| members(path)).collect();
    let mark = layout.dir.as_os_str();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if own.contains(&pid) {
            continue;
        }
        let proc = entry.path();
        let in_namespace = proc.join("ns/net").metadata().is_ok_and(|meta| namespaces.contains(&meta.ino()));
        let is_marked = || marked_by(pid).is_some_and(|dir| dir == mark);
        // A dead process that nobody has waited for yet holds nothing.
        if (in_cgroups.contains(&pid) || in_namespace || is_marked())
            && let Some(id) = ProcessId::of(pid)
            && !is_zombie(pid)
        {
            let command = std::fs::read(proc.join("cmdline")).unwrap_or_default();
            let words: Vec<String> = command
                .split(|byte| *byte == 0)
                .take(3)
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect();
            found.push((id, words.join(" ").trim().to_owned()));
        }
    }
    found
}

/// The directory of the pool that a process was started by.
fn marked_by(pid: i32) -> Option<OsString> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let mut variables = environment.split(|byte| *byte == 0);
    let value = variables.find_map(|variable| variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="))?;
    Some(OsStr::from_bytes(value).to_owned())
}

fn is_zombie(pid: i32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z') || rest.starts_with('X'))
}

/// This process and those that started it: a `mezzo down` typed in a task's shell must not end itself half-way.
fn ancestors() -> BTreeSet<i32> {
    let mut all = BTreeSet::new();
    let mut pid = i32::try_from(std::process::id()).unwrap_or(0);
    while pid > 0 && all.insert(pid) {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = text.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        pid = parent.unwrap_or(0);
    }
    all
}

fn layout_netns(layout: &Layout) -> Vec<PathBuf> {
    namespaces(layout).iter().map(|name| Path::new("/run/netns").join(name)).collect()
}

/// By name, not by number: an earlier pool may have had more agents.
fn namespaces(layout: &Layout) -> Vec<String> {
    let prefix = format!("{}-agent-", layout.name);
    let mut names: Vec<String> = names_of("/run/netns").filter(|name| is_numbered(name, &prefix)).collect();
    names.sort();
    names
}

fn links(layout: &Layout) -> Result<Vec<String>> {
    let prefix = format!("{}-v", layout.name);
    Ok(network::links()?.into_iter().filter(|link| *link == layout.bridge() || is_numbered(link, &prefix)).collect())
}

fn is_numbered(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

fn mounts(layout: &Layout) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let prefix = format!("{}-agent-", layout.name);
    let netns = Path::new("/run/netns");
    let is_ours = |path: &PathBuf| {
        let in_netns = path.parent() == Some(netns)
            && path.file_name().and_then(|name| name.to_str()).is_some_and(|name| is_numbered(name, &prefix));
        in_netns || (path.starts_with(&layout.dir) && *path != layout.dir)
    };
    // The last is on top.
    table.lines().rev().filter_map(|line| line.split(' ').nth(4)).map(unescape).filter(is_ours).collect()
}

fn unescape(path: &str) -> PathBuf {
    PathBuf::from(path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\"))
}

/// `/mezzo/<agent>` in every hierarchy, below it first.
fn cgroups(layout: &Layout) -> Vec<PathBuf> {
    let mut roots = vec![PathBuf::from("/sys/fs/cgroup")];
    roots.extend(names_of("/sys/fs/cgroup").map(|name| Path::new("/sys/fs/cgroup").join(name)));
    let prefix = layout.agent(0);
    let prefix = prefix.trim_end_matches('0');
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for root in roots {
        let ours = root.join("mezzo");
        // cpu and cpu,cpuacct may be the same directory under two names.
        let Ok(meta) = ours.metadata() else { continue };
        if !seen.insert((meta.dev(), meta.ino())) {
            continue;
        }
        for name in names_of(&ours).filter(|name| is_numbered(name, prefix)) {
            deepest_first(&ours.join(name), &mut found);
        }
    }
    found
}

fn deepest_first(path: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            deepest_first(&entry.path(), found);
        }
    }
    found.push(path.to_owned());
}

/// The processes of one cgroup.
pub(super) fn members(cgroup: &Path) -> Vec<i32> {
    let text = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn names_of(folder: impl AsRef<Path>) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_with_a_number_are_ours() {
        assert!(is_numbered("mezzo-agent-12", "mezzo-agent-"));
        for other in ["mezzo-agent-", "mezzo-agent-x", "mezzo2-agent-1", "agent-1"] {
            assert!(!is_numbered(other, "mezzo-agent-"), "{other}");
        }
    }

    #[test]
    fn a_process_is_known_by_its_start_too() {
        let own = i32::try_from(std::process::id()).expect("fits");
        let id = ProcessId::of(own).expect("alive");
        assert!(id.is_alive());
        assert!(!ProcessId { started: id.started + 1, ..id }.is_alive());
        assert!(ancestors().contains(&own));
    }
}
