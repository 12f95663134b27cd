//! What a pool may leave on a machine: processes, namespaces, links, mounts, packet filter rules, cgroups, settings. A snapshot
//! before and one after tell what was left.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::Pid;

use crate::pool;
use crate::program::Program;
use crate::wait::until;

/// So much of a process's arguments is looked at and told.
const LINE: usize = 300;

/// Settings of the whole machine that a pool or what runs on it would like to be different.
const SETTINGS: [&str; 8] = [
    "net/ipv4/ip_forward",
    "net/bridge/bridge-nf-call-iptables",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// Things that are there now, each with its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    things: BTreeSet<String>,
}

impl Machine {
    /// Looks at the machine.
    ///
    /// # Errors
    /// If something cannot be read.
    pub fn look() -> Result<Self> {
        let mut things = BTreeSet::new();
        for (pid, arguments) in processes()? {
            let line: String = arguments.join(" ").chars().take(LINE).collect();
            // A task's arguments say nothing of its pool, but its cgroup does. The process may have ended since.
            let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            let group = groups.lines().find(|group| group.contains("/mezzo/")).unwrap_or_default();
            things.insert(format!("process {pid} {line} {group}"));
        }
        let mut list = |kind: &str, text: String| {
            things.extend(text.lines().filter(|line| !line.trim().is_empty()).map(|line| format!("{kind} {line}")));
        };
        list("namespace", Program::new("ip").args(["netns", "list"]).run()?);
        list("link", links(&Program::new("ip").args(["-brief", "link", "show"]).run()?));
        list("route", Program::new("ip").args(["route", "show", "table", "all"]).run()?);
        list("mount", mounts()?);
        list("filter", without_counters(&Program::new("nft").args(["list", "ruleset"]).run()?));
        for setting in SETTINGS {
            if let Ok(value) = fs::read_to_string(Path::new("/proc/sys").join(setting)) {
                list("setting", format!("{setting} = {}", value.trim()));
            }
        }
        let mut groups = String::new();
        cgroups(Path::new("/sys/fs/cgroup"), 0, &mut groups);
        list("cgroup", groups);
        Ok(Self { things })
    }

    /// What is there, was not before, and belongs to the tests' pool by its name; packet filter rules and settings have no
    /// name, so any new one counts.
    pub fn since(&self, before: &Self) -> Vec<String> {
        // The pool's directory is in its processes' arguments, its agents' names are in its tasks' cgroups.
        let marks = [format!("mezzo-{}-", pool::NAME), format!("/mezzo/{}-", pool::NAME)];
        let is_ours = |thing: &&String| match thing.split(' ').next() {
            Some("process" | "mount" | "cgroup") => marks.iter().any(|mark| thing.contains(mark)),
            Some("filter" | "setting") => true,
            _ => thing.contains(pool::NAME),
        };
        self.things.difference(&before.things).filter(is_ours).cloned().collect()
    }

    /// Waits until nothing is there that was not before: the kernel takes a moment to delete namespaces.
    ///
    /// # Errors
    /// With the list of what is left.
    pub fn expect_nothing_new(before: &Self) -> Result<()> {
        let mut left = Vec::new();
        until("nothing is left", Duration::from_secs(20), || {
            left = Self::look()?.since(before);
            Ok(left.is_empty())
        })
        .with_context(|| format!("left on the machine:\n{}", left.join("\n")))
    }
}

/// Every process with its arguments; those of the kernel have none and are left out.
pub(crate) fn processes() -> Result<Vec<(Pid, Vec<String>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("list processes")?.filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // It may have ended since.
        let Ok(bytes) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let arguments: Vec<String> = bytes
            .split(|byte| *byte == 0)
            .map(|argument| String::from_utf8_lossy(argument).into_owned())
            .filter(|argument| !argument.is_empty())
            .collect();
        if !arguments.is_empty() && pid != std::process::id().cast_signed() {
            found.push((Pid::from_raw(pid), arguments));
        }
    }
    Ok(found)
}

/// Whether a process runs: one that ended and was not yet collected does not.
pub(crate) fn is_alive(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X'])))
}

/// Names only: the rest of a link's line changes by itself.
fn links(text: &str) -> String {
    text.lines().filter_map(|line| line.split_whitespace().next()).map(|name| format!("{name}\n")).collect()
}

fn mounts() -> Result<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("read mounts")?;
    Ok(text.lines().filter_map(|line| line.split_whitespace().nth(4)).map(|path| format!("{path}\n")).collect())
}

/// `counter packets 7 bytes 420` becomes `counter`.
pub(crate) fn without_counters(text: &str) -> String {
    let mut kept = String::new();
    for line in text.lines() {
        let mut words = line.split_whitespace().peekable();
        while let Some(word) = words.next() {
            kept.push_str(word);
            kept.push(' ');
            if word == "counter" && words.peek() == Some(&"packets") {
                words.nth(3);
            }
        }
        kept.push('\n');
    }
    kept
}

/// The pool's own, and those that a container left outside of them.
fn cgroups(directory: &Path, depth: usize, groups: &mut String) {
    // A hierarchy, the pool, an agent: what is below is gone if these are.
    const DEPTH: usize = 4;
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_dir()) {
        groups.push_str(&format!("{}\n", path.display()));
        if depth < DEPTH {
            cgroups(&path, depth + 1, groups);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_left_out_of_rules() {
        let text = "chain a {\n\t\tcounter packets 7 bytes 420 accept\n}\n";
        assert_eq!(without_counters(text), "chain a { \ncounter accept \n} \n");
    }

    #[test]
    fn this_process_s_parent_is_alive_and_an_unused_number_is_not() {
        assert!(is_alive(nix::unistd::getppid()));
        assert!(!is_alive(Pid::from_raw(i32::MAX)));
    }
}
