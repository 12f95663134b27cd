//! A model of etcd that refuses what etcd refuses and forgives nothing that Raft does not, and of a framework that
//! launches instances whose disks, places and processes come and go.
use std::collections::BTreeMap;

use super::{Health, Join, Joiner, Member, Step, Wanted, is_first, join, next};

/// Numbers from a seed.
#[derive(Debug)]
pub(super) struct Dice(u64);
impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.roll(length as u64)).expect("small")
    }
}

/// One member as Raft knows it.
#[derive(Debug, Clone)]
struct Node {
    id: u64,
    name: String,
    url: String,
    is_learner: bool,
    is_up: bool,
    has_spoken: bool,
    /// The disk on which it ran; nothing: it never did.
    disk: Option<u64>,
    is_disk_lost: bool,
    /// How much of the log it has.
    index: u64,
}

#[derive(Debug, Default)]
struct Etcd {
    nodes: Vec<Node>,
    committed: u64,
    last_id: u64,
}

impl Etcd {
    fn voters(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| !node.is_learner)
    }
    fn is_quorum(&self, mut is_there: impl FnMut(&Node) -> bool) -> bool {
        self.voters().filter(|node| is_there(node)).count() > self.voters().count() / 2
    }
    fn has_quorum(&self) -> bool {
        self.is_quorum(|node| node.is_up)
    }
    /// A write, and its replication: everybody who is up gets everything, a learner a little at a time. Who has data
    /// makes its name known.
    fn write(&mut self) {
        if !self.has_quorum() {
            return;
        }
        self.committed += 1;
        self.replicate();
    }
    fn replicate(&mut self) {
        let committed = self.committed;
        for node in self.nodes.iter_mut().filter(|node| node.is_up) {
            node.has_spoken |= node.index > 0;
            node.index = if node.is_learner { committed.min(node.index + 7) } else { committed };
        }
    }
    fn list(&self) -> Vec<Member> {
        let health = |node: &Node| match (node.is_up, node.index == self.committed) {
            (false, _) => Health::Away,
            (true, true) => Health::InStep,
            (true, false) => Health::Behind,
        };
        self.nodes
            .iter()
            .map(|node| Member {
                id: node.id,
                name: if node.has_spoken { node.name.clone() } else { String::new() },
                peer_url: node.url.clone(),
                is_learner: node.is_learner,
                health: health(node),
            })
            .collect()
    }
    /// Does a step as etcd would: without a quorum, or when one would be lost by it, it refuses.
    fn apply(&mut self, step: &Step) -> Result<(), String> {
        if !matches!(step, Step::Done | Step::Wait(_)) && !self.has_quorum() {
            return Err("no leader".to_owned());
        }
        match step {
            Step::Add { name, peer_url } => {
                if self.nodes.iter().any(|node| node.is_learner) {
                    return Err("too many learner members in cluster".to_owned());
                }
                if self.nodes.iter().any(|node| node.url == *peer_url) {
                    return Err("peer urls exist".to_owned());
                }
                if self.voters().any(|node| !node.is_up) {
                    return Err("unhealthy cluster".to_owned());
                }
                self.last_id += 1;
                self.nodes.push(Node {
                    id: self.last_id,
                    name: name.clone(),
                    url: peer_url.clone(),
                    is_learner: true,
                    is_up: false,
                    has_spoken: false,
                    disk: None,
                    is_disk_lost: false,
                    index: 0,
                });
            }
            Step::Promote { id, .. } => {
                let committed = self.committed;
                let node = self.nodes.iter_mut().find(|node| node.id == *id).ok_or("member not found")?;
                if !node.is_learner || !node.is_up || node.index != committed {
                    return Err("can only promote a learner member which is in sync with leader".to_owned());
                }
                node.is_learner = false;
            }
            Step::Remove { id, .. } => {
                let rest: Vec<&Node> = self.voters().filter(|node| node.id != *id).collect();
                if rest.iter().filter(|node| node.is_up).count() <= rest.len() / 2 {
                    return Err("re-configuration failed due to not enough started members".to_owned());
                }
                self.nodes.retain(|node| node.id != *id);
            }
            Step::Done | Step::Wait(_) => return Ok(()),
        }
        // A change is an entry of the log, too: it is done when the voters have it, and all before it.
        self.replicate();
        Ok(())
    }
    /// A process begins with a disk. False: it ends at once, it was removed.
    fn start(&mut self, id: u64, disk: u64, initial_cluster: &[(String, String)]) -> bool {
        let mut listed: Vec<String> = self.nodes.iter().map(|node| node.url.clone()).collect();
        let Some(node) = self.nodes.iter_mut().find(|node| node.id == id) else { return false };
        if node.disk != Some(disk) {
            assert!(
                node.disk.is_none() && node.index == 0,
                "member {id} forgot what it agreed to: it is started with another disk"
            );
            let mut given: Vec<String> = initial_cluster.iter().map(|(_, url)| url.clone()).collect();
            listed.sort();
            given.sort();
            assert_eq!(given, listed, "member count is unequal");
            node.disk = Some(disk);
        }
        node.is_up = true;
        true
    }
}

/// One instance as the framework knows it.
#[derive(Debug, Clone, Default)]
struct Instance {
    /// Where it is; stays when it fails, goes when its data is given up.
    place: Option<String>,
    place_before: Option<String>,
    disk: Option<u64>,
    /// Stored: launched as which member. Outer `None`: never launched.
    launched_as: Option<Option<u64>>,
    /// Stored: with which list.
    launched_with: Vec<(String, String)>,
    /// The process that runs (or is started again in place).
    runs: Option<u64>,
}

/// All of it.
#[derive(Debug)]
pub(super) struct World {
    etcd: Etcd,
    instances: BTreeMap<String, Instance>,
    last_place: u64,
    last_disk: u64,
    pub(super) taken: BTreeMap<&'static str, u32>,
}

/// In one of so many launches the framework dies in between.
const CRASHES_ONE_IN: u64 = 8;

impl World {
    pub(super) fn new(count: usize) -> Self {
        let mut world = Self {
            etcd: Etcd::default(),
            instances: BTreeMap::new(),
            last_place: 0,
            last_disk: 0,
            taken: BTreeMap::new(),
        };
        world.scale(count);
        world.launch("etcd-0", None);
        world
    }
    pub(super) fn scale(&mut self, count: usize) {
        while self.instances.len() > count {
            self.instances.pop_last();
        }
        for index in self.instances.len()..count {
            self.instances.insert(format!("etcd-{index}"), Instance::default());
        }
    }
    pub(super) fn voters(&self) -> usize {
        self.etcd.voters().count()
    }
    fn wanted(&self) -> Wanted {
        Wanted { members: self.instances.iter().map(|(name, one)| (name.clone(), one.place.clone())).collect() }
    }
    fn count(&mut self, kind: &'static str) {
        *self.taken.entry(kind).or_default() += 1;
    }

    /// Does a step, with the rules checked around it.
    fn apply(&mut self, step: &Step) {
        let kind = match step {
            Step::Done => "done",
            Step::Wait(_) => "wait",
            Step::Add { .. } => "add",
            Step::Promote { .. } => "promote",
            Step::Remove { .. } => "remove",
        };
        self.count(kind);
        if let Step::Remove { id, .. } = step {
            let node = self.etcd.nodes.iter().find(|node| node.id == *id).expect("it was listed");
            let is_used = self
                .instances
                .values()
                .any(|one| one.place.as_ref() == Some(&node.url) && node.disk.is_some() && one.disk == node.disk);
            assert!(!is_used, "{step:?}: an instance keeps its data: {self:#?}");
        }
        let had_quorum = self.etcd.has_quorum();
        self.etcd.apply(step).unwrap_or_else(|why| panic!("{step:?} is refused: {why}\n{:#?}", self.etcd));
        assert!(!had_quorum || self.etcd.has_quorum(), "{step:?} lost the quorum: {:#?}", self.etcd);
        self.check();
    }
    fn check(&self) {
        assert!(self.etcd.voters().next().is_some());
        let holds = |node: &Node| node.index == self.etcd.committed && !node.is_disk_lost;
        assert!(self.etcd.voters().any(holds), "committed data is nowhere: {:#?}", self.etcd);
    }

    /// What the keeper does, again and again: everything but adding.
    pub(super) fn keep(&mut self) -> Step {
        let step = next(&self.etcd.list(), &self.wanted());
        match &step {
            Step::Add { .. } => self.count("left to the launch"),
            Step::Done | Step::Wait(_) | Step::Promote { .. } | Step::Remove { .. } => self.apply(&step),
        }
        step
    }

    /// What a launch of the framework does, up to where it dies.
    pub(super) fn launch(&mut self, name: &str, mut dice: Option<&mut Dice>) {
        // Who is leaving is still there until its member is removed.
        let others = self.instances.iter().any(|(other, one)| other != name && one.launched_as.is_some())
            || self.etcd.nodes.iter().any(|node| node.name != name);
        let Some(mut instance) = self.instances.get(name).cloned() else { return };
        if instance.runs.is_some() {
            return;
        }
        let mut dies = || dice.as_mut().is_some_and(|dice| dice.roll(CRASHES_ONE_IN) == 0);
        if instance.place.is_none() {
            // Ports are given again: the same address may come back with another disk.
            let again = instance.place_before.take().filter(|_| !dies());
            instance.place = again.or_else(|| {
                self.last_place += 1;
                Some(format!("url-{}", self.last_place))
            });
            self.instances.insert(name.to_owned(), instance.clone());
        }
        let url = instance.place.clone().expect("set above");
        let has_data = instance.disk.is_some();
        let mut last = instance.launched_as.flatten();
        let mut initial_cluster = vec![(name.to_owned(), url.clone())];
        let index = name.rsplit('-').next().and_then(|index| index.parse().ok()).expect("a number");
        if is_first(index, others) {
            if !has_data {
                assert!(self.etcd.nodes.is_empty(), "a second cluster of the same name");
                self.etcd.nodes.push(Node {
                    id: 1,
                    name: name.to_owned(),
                    url,
                    is_learner: false,
                    is_up: false,
                    has_spoken: true,
                    disk: None,
                    is_disk_lost: false,
                    index: 1,
                });
                (self.etcd.last_id, self.etcd.committed) = (1, 1);
            }
        } else if !self.etcd.voters().any(|node| node.is_up) {
            // Nobody can be asked: who has data starts with it, everybody else waits.
            if !has_data {
                return;
            }
            initial_cluster.clone_from(&instance.launched_with);
        } else {
            let mut tries = 0;
            loop {
                tries += 1;
                let joiner = Joiner { name, peer_url: &url, has_data, last };
                match join(&self.etcd.list(), &self.wanted(), joiner) {
                    Join::First(step) => {
                        if dies() || tries > 4 {
                            return;
                        }
                        self.apply(&step);
                        self.stop_removed();
                    }
                    Join::Start { id, initial_cluster: cluster } => {
                        last = id;
                        initial_cluster = cluster;
                        break;
                    }
                    Join::Wait(_) => return self.count("waits to join"),
                }
            }
        }
        if dies() {
            return;
        }
        // Stored before it is launched.
        instance.launched_as = Some(last);
        instance.launched_with.clone_from(&initial_cluster);
        self.instances.insert(name.to_owned(), instance.clone());
        if dies() {
            return;
        }
        self.last_disk += u64::from(!has_data);
        let disk = *instance.disk.get_or_insert(self.last_disk);
        let id = last.unwrap_or(1);
        if id == 1 && !has_data {
            self.etcd.nodes[0].disk = Some(disk);
        }
        instance.runs = self.etcd.start(id, disk, &initial_cluster).then_some(id);
        self.instances.insert(name.to_owned(), instance);
        self.count("start");
    }

    /// A process whose member was removed ends; a keeper has it launched anew.
    fn stop_removed(&mut self) {
        let ids: Vec<u64> = self.etcd.nodes.iter().map(|node| node.id).collect();
        for one in self.instances.values_mut() {
            one.runs = one.runs.filter(|id| ids.contains(id));
        }
    }

    /// Something happens to somebody.
    pub(super) fn fault(&mut self, dice: &mut Dice) {
        let names: Vec<String> = self.instances.keys().cloned().collect();
        let name = &names[dice.index(names.len())];
        let id = self.instances[name].runs;
        let at = self.etcd.nodes.iter().position(|node| Some(node.id) == id);
        match (dice.roll(5), at) {
            // It crashes, to be started again in place or launched anew.
            (0, Some(at)) => {
                self.etcd.nodes[at].is_up = false;
                if dice.roll(2) == 0 {
                    self.instances.get_mut(name).expect("chosen").runs = None;
                }
                self.count("crash");
            }
            (1, Some(at)) => self.etcd.nodes[at].is_up = true,
            // Its data is given up for good. Without a quorum of the others nobody may do that: nobody could repair it.
            (2, _) if self.etcd.is_quorum(|node| node.is_up && self.is_of_other(node, name)) => {
                self.lose(name);
                self.count("loss");
            }
            // Somebody else removes a member by hand: its instance keeps its disk, and becomes another member.
            (4, Some(at)) if dice.roll(4) == 0 => {
                let id = self.etcd.nodes[at].id;
                // etcd refuses it where a quorum would be lost.
                let _ = self.etcd.apply(&Step::Remove { name: name.clone(), id });
                self.stop_removed();
            }
            // Somebody who was to leave ends before etcd has let it go.
            (3, _) => {
                let left: Vec<usize> =
                    (0..self.etcd.nodes.len()).filter(|at| !self.is_of_anybody(&self.etcd.nodes[*at])).collect();
                if !left.is_empty() {
                    self.etcd.nodes[left[dice.index(left.len())]].is_up = false;
                }
            }
            _ => {}
        }
    }
    fn is_of_anybody(&self, node: &Node) -> bool {
        self.instances.values().any(|one| one.disk.is_some() && one.disk == node.disk)
    }
    fn is_of_other(&self, node: &Node, name: &str) -> bool {
        self.instances[name].disk.is_none() || self.instances[name].disk != node.disk
    }
    fn lose(&mut self, name: &str) {
        let one = self.instances.get_mut(name).expect("chosen");
        let disk = one.disk.take();
        one.runs = None;
        one.place_before = one.place.take();
        for node in self.etcd.nodes.iter_mut().filter(|node| node.disk.is_some() && node.disk == disk) {
            node.is_up = false;
            node.is_disk_lost = true;
        }
    }
    pub(super) fn write(&mut self) {
        self.etcd.write();
        self.check();
    }
    pub(super) fn launch_one(&mut self, dice: &mut Dice) {
        let names: Vec<String> = self.instances.keys().cloned().collect();
        let name = &names[dice.index(names.len())];
        self.launch(name, Some(dice));
    }

    /// Faults are over: everybody whose data exists returns, everything is launched until nothing is left to do.
    pub(super) fn converge(&mut self) {
        for _ in 0..200 {
            for node in &mut self.etcd.nodes {
                // Who is to leave runs until etcd has let it go.
                node.is_up |= node.disk.is_some() && !node.is_disk_lost;
            }
            self.stop_removed();
            let names: Vec<String> = self.instances.keys().cloned().collect();
            for name in names {
                self.launch(&name, None);
            }
            self.write();
            if self.keep() == Step::Done && self.is_whole() {
                return;
            }
        }
        panic!("no end: {:?}\n{self:#?}", next(&self.etcd.list(), &self.wanted()));
    }
    fn is_whole(&self) -> bool {
        let is_good = |node: &Node| {
            let of = self.instances.get(&node.name);
            !node.is_learner
                && node.is_up
                && node.index == self.etcd.committed
                && of.is_some_and(|one| one.runs == Some(node.id) && one.disk == node.disk)
        };
        self.etcd.nodes.len() == self.instances.len() && self.etcd.nodes.iter().all(is_good)
    }
}
