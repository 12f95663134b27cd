//! Virtual addresses as rules of the kernel: what a table means on this agent, and the fewest edits that lead from one
//! state to the next. Rendering and applying them is the shell's.
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use model::gateway::Table;
use model::{FrameworkId, TaskId};

use crate::agent::Agent;
use crate::pod::Phase;

/// An address and a port.
pub type Endpoint = (Ipv4Addr, u16);

/// What the kernel is to do with connections to virtual addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Whatever is sent here and has no backend is refused.
    pub range: String,
    /// Sources whose connections keep their source address.
    pub routable: BTreeSet<String>,
    /// Backends whose own host may be the client.
    pub hairpins: BTreeSet<Ipv4Addr>,
    /// Where connections go. A service without backends is not here.
    pub services: BTreeMap<Endpoint, BTreeSet<Endpoint>>,
}

/// One change of the rules. All that belong together are made in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// A service gets its first backends.
    Add(Endpoint, BTreeSet<Endpoint>),
    /// A service gets other backends.
    Replace(Endpoint, BTreeSet<Endpoint>),
    /// A service has no backend any more.
    Remove(Endpoint),
    /// Other sources keep their address.
    Routable(BTreeSet<String>),
    /// Other hosts may be client and backend at once.
    Hairpins(BTreeSet<Ipv4Addr>),
}

impl Rules {
    /// What a table means here. The agent's own tasks it knows better than the master: those that do not serve are left
    /// out before the master says so. `None`: no virtual address is leased, nothing is to be there.
    ///
    /// Networks are told as text and become part of commands: what is none is left out.
    pub fn of(table: &Table, agent: &str, serving: &BTreeSet<(FrameworkId, TaskId)>) -> Option<Rules> {
        if table.vips.is_empty() || !is_network(&table.vip_range) {
            return None;
        }
        let mut services = BTreeMap::new();
        for vip in &table.vips {
            for (port, backends) in &vip.ports {
                let live = backends.iter().filter(|backend| {
                    backend.agent != agent || serving.contains(&(vip.framework_id.clone(), backend.task.clone()))
                });
                let live: BTreeSet<Endpoint> = live.map(|backend| (backend.address, backend.port)).collect();
                if !live.is_empty() {
                    services.insert((vip.address, *port), live);
                }
            }
        }
        let hairpins = services.values().flatten().map(|(address, _)| *address).collect();
        let routable = table.routable.iter().filter(|network| is_network(network)).cloned().collect();
        Some(Rules { range: table.vip_range.clone(), routable, hairpins, services })
    }

    /// The edits that make of these rules those. `None`: everything has to be made anew.
    pub fn edits_to(&self, next: &Rules) -> Option<Vec<Edit>> {
        if self.range != next.range {
            return None;
        }
        let mut edits = Vec::new();
        if self.routable != next.routable {
            edits.push(Edit::Routable(next.routable.clone()));
        }
        if self.hairpins != next.hairpins {
            edits.push(Edit::Hairpins(next.hairpins.clone()));
        }
        for service in self.services.keys().filter(|service| !next.services.contains_key(service)) {
            edits.push(Edit::Remove(*service));
        }
        for (service, backends) in &next.services {
            match self.services.get(service) {
                None => edits.push(Edit::Add(*service, backends.clone())),
                Some(before) if before != backends => edits.push(Edit::Replace(*service, backends.clone())),
                Some(_) => {}
            }
        }
        Some(edits)
    }

    /// Whether connections to this service may go to this backend.
    pub fn leads(&self, service: Endpoint, backend: Endpoint) -> bool {
        self.services.get(&service).is_some_and(|backends| backends.contains(&backend))
    }

    /// Whether a backend of these rules is none in those: its connections have to end.
    pub fn withdraws(&self, next: &Rules) -> bool {
        self.services.iter().any(|(service, backends)| backends.iter().any(|backend| !next.leads(*service, *backend)))
    }
}

/// An IPv4 address and the length of a prefix, in the one way in which they are written.
fn is_network(text: &str) -> bool {
    let read = || {
        let (address, length) = text.split_once('/')?;
        let (address, length): (Ipv4Addr, u8) = (address.parse().ok()?, length.parse().ok()?);
        Some(length <= 32 && format!("{address}/{length}") == text)
    };
    read().unwrap_or(false)
}

impl Agent {
    /// Tasks with a virtual address that run, are ready and are not about to end.
    pub fn serving(&self) -> BTreeSet<(FrameworkId, TaskId)> {
        let mut serving = BTreeSet::new();
        for pod in self.pods.values() {
            if !matches!(pod.phase, Phase::Attached | Phase::Attaching) {
                continue;
            }
            for (task, launch) in pod.tasks.iter().zip(&pod.launch.tasks) {
                let Some(discovery) = &launch.head.discovery else { continue };
                if discovery.vips().next().is_some()
                    && task.kill.is_none()
                    && discovery.held_back(&task.latest).is_none()
                {
                    serving.insert((pod.launch.framework.id.clone(), task.id.clone()));
                }
            }
        }
        serving
    }
}

#[cfg(test)]
mod tests {
    use model::gateway::{Backend, VipEntry};

    use super::*;

    const SERVICE: Endpoint = (Ipv4Addr::new(198, 18, 0, 1), 443);

    fn id() -> FrameworkId {
        FrameworkId::new("m-1").expect("valid")
    }
    fn task(agent: u8) -> TaskId {
        TaskId::new(format!("api-{agent}")).expect("valid")
    }
    fn at(agent: u8) -> Endpoint {
        (Ipv4Addr::new(10, 0, 0, agent), 6443)
    }
    fn table(agents: &[u8]) -> Table {
        let backends = agents.iter().map(|agent| Backend {
            task: task(*agent),
            agent: format!("a{agent}"),
            address: at(*agent).0,
            port: at(*agent).1,
        });
        Table {
            vip_range: "198.18.0.0/16".to_owned(),
            routable: ["10.9.0.0/16".to_owned()].into(),
            vips: vec![VipEntry {
                framework_id: id(),
                name: "api".to_owned(),
                address: SERVICE.0,
                ports: [(SERVICE.1, backends.collect())].into(),
            }],
            ..Table::default()
        }
    }
    fn rules(agents: &[u8]) -> Rules {
        Rules::of(&table(agents), "elsewhere", &BTreeSet::new()).expect("a VIP is leased")
    }
    fn set(agents: &[u8]) -> BTreeSet<Endpoint> {
        agents.iter().map(|agent| at(*agent)).collect()
    }

    #[test]
    fn an_agent_knows_its_own_tasks_better() {
        let serving = BTreeSet::from([(id(), task(1))]);
        for (agent, expected) in [("a1", &[1, 2][..]), ("a2", &[1]), ("a3", &[1, 2])] {
            let found = Rules::of(&table(&[1, 2]), agent, &serving).expect("a VIP is leased");
            assert_eq!(found.services.get(&SERVICE), Some(&set(expected)), "{agent}");
        }
        assert_eq!(Rules::of(&table(&[1]), "a1", &BTreeSet::new()).expect("leased").services, BTreeMap::new());
        assert_eq!(Rules::of(&Table::default(), "a1", &serving), None);
    }

    #[test]
    fn what_is_no_network_does_not_become_a_command() {
        let mut told = table(&[1]);
        told.routable.insert("10.9.0.0/16\nflush ruleset".to_owned());
        let found = Rules::of(&told, "a3", &BTreeSet::new()).expect("leased");
        assert_eq!(found.routable, ["10.9.0.0/16".to_owned()].into());
        for bad in
            ["", "198.18.0.0", "198.18.0.0/33", "198.18.0.0/+8", "198.18.0.0/16 drop", "198.18.0.0/16\nflush ruleset"]
        {
            told.vip_range = bad.to_owned();
            assert_eq!(Rules::of(&told, "a3", &BTreeSet::new()), None, "{bad}");
        }
    }

    #[test]
    fn only_what_differs_is_edited() {
        let hairpins = |agents: &[u8]| Edit::Hairpins(agents.iter().map(|agent| at(*agent).0).collect());
        for (before, next, expected) in [
            (&[1, 2][..], &[1, 2][..], vec![]),
            (&[], &[1], vec![hairpins(&[1]), Edit::Add(SERVICE, set(&[1]))]),
            (&[1, 2], &[2], vec![hairpins(&[2]), Edit::Replace(SERVICE, set(&[2]))]),
            (&[1], &[], vec![hairpins(&[]), Edit::Remove(SERVICE)]),
        ] {
            assert_eq!(rules(before).edits_to(&rules(next)), Some(expected), "{before:?} {next:?}");
        }
        let other = Rules { range: "198.19.0.0/16".to_owned(), ..rules(&[1]) };
        assert_eq!(rules(&[1]).edits_to(&other), None);
        let other = Rules { routable: BTreeSet::new(), ..rules(&[1]) };
        assert_eq!(rules(&[1]).edits_to(&other), Some(vec![Edit::Routable(BTreeSet::new())]));
    }

    #[test]
    fn edits_lead_where_they_say() {
        let sets: [&[u8]; 5] = [&[], &[1], &[1, 2], &[2, 3], &[1, 2, 3]];
        for before in sets {
            for next in sets {
                let (from, to) = (rules(before), rules(next));
                let mut services = from.services.clone();
                for edit in from.edits_to(&to).expect("the same range") {
                    match edit {
                        Edit::Add(service, backends) => assert_eq!(services.insert(service, backends), None),
                        Edit::Replace(service, backends) => assert!(services.insert(service, backends).is_some()),
                        Edit::Remove(service) => assert!(services.remove(&service).is_some()),
                        Edit::Routable(_) | Edit::Hairpins(_) => {}
                    }
                }
                assert_eq!(services, to.services, "{before:?} {next:?}");
                assert_eq!(from.withdraws(&to), before.iter().any(|agent| !next.contains(agent)));
            }
        }
    }
}
