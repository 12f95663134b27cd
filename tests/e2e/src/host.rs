//! What one agent's host carries beside the agent itself: packet filter rules, links, routes, tracked connections, mounts,
//! cgroups, processes, settings. A snapshot before and one after an installation tell what it left.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::machine::without_counters;
use crate::pool::{self, Pool};
use crate::program::Program;
use crate::wait::until;

/// Settings that count something, and so change by themselves.
const COUNTERS: [&str; 3] = ["net.netfilter.nf_conntrack_count", "net.core.netdev_rss_key", "net.ipv4.tcp_available"];

/// What is there now, on each agent of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    things: BTreeSet<String>,
}

impl Hosts {
    /// Looks at every agent's host.
    ///
    /// # Errors
    /// If something cannot be read.
    pub fn look(pool: &Pool) -> Result<Self> {
        let mut things = BTreeSet::new();
        let agents = pool.processes(&["agent", "run"])?;
        ensure!(!agents.is_empty(), "no agent runs");
        for number in 1..=agents.len() {
            let name = format!("{}-agent-{number}", pool::NAME);
            let mut list = |kind: &str, text: &str| {
                let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
                things.extend(lines.map(|line| format!("{name}: {kind} {line}")));
            };
            let inside = |arguments: &[&str]| Program::new("ip").args(["netns", "exec", &name]).args(arguments).run();
            list("rule", &without_counters(&inside(&["nft", "list", "ruleset"])?));
            list("link", &names_of_links(&inside(&["ip", "-brief", "link", "show"])?));
            list("address", &inside(&["ip", "-brief", "-4", "address", "show"])?);
            list("route", &inside(&["ip", "route", "show", "table", "all"])?);
            list("routing rule", &inside(&["ip", "rule", "show"])?);
            list("connection", &of_pods_and_services(&inside(&["conntrack", "-L", "--output", "id"])?));
            list("setting", &settings(&inside(&["sysctl", "--all", "--pattern", "^net\\."])?));
            list("process", &processes(&inside(&["ip", "netns", "pids", &name])?));
            list("cgroup", &cgroups(&name));
        }
        for pid in agents {
            // The number of a restarted agent differs; what it sees must not.
            let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).context("read an agent's mounts")?;
            let places = mounts.lines().filter_map(|line| line.split(' ').nth(4)).filter(|place| !is_of_others(place));
            things.extend(places.map(|place| format!("mount {place}")));
        }
        Ok(Self { things })
    }

    /// Waits until every host carries exactly what it did `before`: connections are forgotten in time.
    ///
    /// # Errors
    /// With what came and what went.
    pub fn expect_unchanged(pool: &Pool, before: &Self) -> Result<()> {
        let mut differences = Vec::new();
        until("the hosts are as before", Duration::from_secs(45), || {
            let now = Self::look(pool)?;
            differences = now.things.difference(&before.things).map(|thing| format!("new: {thing}")).collect();
            differences.extend(before.things.difference(&now.things).map(|thing| format!("gone: {thing}")));
            Ok(differences.is_empty())
        })
        .with_context(|| format!("the agents' hosts are not as they were:\n{}", differences.join("\n")))
    }
}

/// The namespaces and directories of other pools on this machine come and go.
fn is_of_others(mount: &str) -> bool {
    let is_others = |directory: &str, own: &str| {
        mount.strip_prefix(directory).and_then(|rest| rest.strip_prefix('/')).is_some_and(|rest| !rest.starts_with(own))
    };
    is_others("/run/netns", &format!("{}-", pool::NAME)) || is_others(pool::PARENT, pool::PREFIX)
}

/// `eth0@if7` is `eth0`: the rest and the state change with the other end.
fn names_of_links(text: &str) -> String {
    let name = |line: &str| Some(format!("{}\n", line.split_whitespace().next()?.split('@').next()?));
    text.lines().filter_map(name).collect()
}

/// Connections between hosts of the pool come and go; those with another address are of pods or of services.
fn of_pods_and_services(text: &str) -> String {
    let hosts = pool::SUBNET.rsplit_once('.').map_or("", |(hosts, _)| hosts);
    let is_foreign = |word: &str| {
        let address = word.strip_prefix("src=").or_else(|| word.strip_prefix("dst="));
        address.and_then(|address| address.parse::<Ipv4Addr>().ok()).is_some_and(|address| {
            !address.is_loopback() && !address.is_multicast() && !address.to_string().starts_with(hosts)
        })
    };
    text.lines().filter(|line| line.split_whitespace().any(is_foreign)).map(|line| format!("{line}\n")).collect()
}

/// Settings of single links go with their links.
fn settings(text: &str) -> String {
    text.lines()
        .filter(|line| !COUNTERS.iter().any(|counter| line.starts_with(counter)))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Their names: numbers change when one is restarted.
fn processes(pids: &str) -> String {
    let name = |pid: &str| Some(format!("{}\n", fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim()));
    // The program that lists is in the namespace too.
    pids.lines().filter_map(name).filter(|name| name.trim() != "ip").collect()
}

fn cgroups(agent: &str) -> String {
    let mut found = String::new();
    let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().filter_map(Result::ok);
    let roots = hierarchies.map(|entry| entry.path().join("mezzo").join(agent));
    for root in roots.chain([Path::new("/sys/fs/cgroup/mezzo").join(agent)]) {
        below(&root, &mut found);
    }
    found
}

fn below(directory: &Path, found: &mut String) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_dir()) {
        found.push_str(&format!("{}\n", path.display()));
        below(&path, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connections_of_pods_and_services_are_told() {
        let text = "tcp 6 86398 ESTABLISHED src=10.85.0.11 dst=10.85.0.1 sport=1 dport=5050 src=10.85.0.1 dst=10.85.0.11\n\
                    udp 17 20 src=10.100.0.7 dst=10.96.0.10 sport=9 dport=53 src=10.85.0.11 dst=10.100.0.7\n";
        assert_eq!(of_pods_and_services(text).lines().count(), 1);
    }

    #[test]
    fn only_namespaces_and_directories_of_other_pools_are_not_told() {
        let told = ["/run/netns/e2e-agent-1", "/run/netns", "/var/run"].map(is_of_others);
        assert_eq!((told, is_of_others("/run/netns/mezzo-agent-1")), ([false; 3], true));
        assert_eq!(
            ["/var/tmp/mezzo-e2e-1/pool/agent-1", "/var/tmp/other/pool/agent-1"].map(is_of_others),
            [false, true]
        );
    }

    #[test]
    fn a_link_is_its_name() {
        assert_eq!(names_of_links("lo UNKNOWN 00:00\neth0@if7 UP 02:42 <UP>\n"), "lo\neth0\n");
    }
}
