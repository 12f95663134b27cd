//! The table that the master keeps for every agent: where names and virtual addresses lead. Agents serve from the last one
//! they heard while the master is away.
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{FrameworkId, TaskId};

/// One state of the table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Table {
    /// Differs from that of every other content.
    pub tag: String,
    /// Backends of every name of the gateway: `<discovery name>.<framework>.mezzo`.
    pub names: BTreeMap<String, Vec<SocketAddr>>,
    /// Agents that the master, just started, has not heard of yet. What they run it does not know: what was known of it
    /// before stands.
    pub unheard: Vec<Unheard>,
    /// Agents that do not answer the master. Whether their hosts answer others is for these to find out.
    pub silent: Vec<Silent>,
    /// All virtual addresses are of this network.
    pub vip_range: String,
    /// Networks whose hosts are answered directly from anywhere in the pool: agents and pods.
    pub routable: BTreeSet<String>,
    /// Every virtual address that is leased.
    pub vips: Vec<VipEntry>,
}

/// An agent not heard of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unheard {
    /// Its name.
    pub agent: String,
    /// Where its tasks are reached.
    pub address: IpAddr,
}

/// An agent that does not answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Silent {
    /// Its name.
    pub agent: String,
    /// Where its tasks are reached.
    pub address: Ipv4Addr,
    /// Where it is reached itself, when it answers.
    pub port: u16,
}

/// A virtual address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipEntry {
    /// Whose it is.
    pub framework_id: FrameworkId,
    /// Unique in the framework.
    pub name: String,
    /// What clients connect to.
    pub address: Ipv4Addr,
    /// The tasks behind each of its ports.
    pub ports: BTreeMap<u16, Vec<Backend>>,
}

/// A task that runs and is ready, on an agent that answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Backend {
    /// The task.
    pub task: TaskId,
    /// Name of its agent.
    pub agent: String,
    /// Where it listens.
    pub address: Ipv4Addr,
    /// Where it listens.
    pub port: u16,
}

impl Table {
    /// This table, with what the one before said of agents that this one knows nothing of.
    #[must_use]
    pub fn after(mut self, before: &Table) -> Table {
        for (name, backends) in &before.names {
            for kept in backends.iter().filter(|kept| self.unheard.iter().any(|agent| agent.address == kept.ip())) {
                let now = self.names.entry(name.clone()).or_default();
                if !now.contains(kept) {
                    now.push(*kept);
                }
            }
        }
        let unheard: BTreeSet<&str> = self.unheard.iter().map(|agent| agent.agent.as_str()).collect();
        for vip in &mut self.vips {
            // A lease never changes: another address means another framework of the same name.
            let same = |old: &&VipEntry| {
                old.framework_id == vip.framework_id && old.name == vip.name && old.address == vip.address
            };
            let Some(old) = before.vips.iter().find(same) else { continue };
            for (port, backends) in &old.ports {
                for kept in backends.iter().filter(|kept| unheard.contains(kept.agent.as_str())) {
                    let now = vip.ports.entry(*port).or_default();
                    if !now.contains(kept) {
                        now.push(kept.clone());
                    }
                }
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(agent: u8) -> Backend {
        Backend {
            task: TaskId::new(format!("api-{agent}")).expect("valid"),
            agent: format!("a{agent}"),
            address: [10, 0, 0, agent].into(),
            port: 6443,
        }
    }

    fn table(agents: &[u8], unheard: &[u8]) -> Table {
        let sockets = agents.iter().map(|agent| SocketAddr::from(([10, 0, 0, *agent], 6443))).collect();
        Table {
            names: if agents.is_empty() { BTreeMap::new() } else { [("api.demo.mezzo".to_owned(), sockets)].into() },
            unheard: unheard
                .iter()
                .map(|agent| Unheard { agent: format!("a{agent}"), address: [10, 0, 0, *agent].into() })
                .collect(),
            vips: vec![VipEntry {
                framework_id: FrameworkId::new("m-1").expect("valid"),
                name: "api".to_owned(),
                address: [198, 18, 0, 1].into(),
                ports: [(443, agents.iter().map(|agent| backend(*agent)).collect())].into(),
            }],
            ..Table::default()
        }
    }

    #[test]
    fn what_a_new_master_has_not_heard_of_stands() {
        let before = table(&[1, 2, 3], &[]);
        let mut after = table(&[2], &[1]).after(&before);
        let agents = |table: &Table| table.vips[0].ports[&443].iter().map(|b| b.agent.clone()).collect::<Vec<_>>();
        assert_eq!(agents(&after), ["a2", "a1"]);
        assert_eq!(after.names["api.demo.mezzo"].len(), 2);
        after = table(&[2], &[]).after(&after);
        assert_eq!(agents(&after), ["a2"]);
    }

    #[test]
    fn an_address_that_was_freed_keeps_nothing() {
        let before = table(&[1], &[]);
        let mut now = table(&[], &[1]);
        now.vips[0].framework_id = FrameworkId::new("m-2").expect("valid");
        assert!(now.after(&before).vips[0].ports[&443].is_empty());
        let mut now = table(&[], &[1]);
        now.vips.clear();
        assert!(now.after(&before).vips.is_empty());
    }
}
