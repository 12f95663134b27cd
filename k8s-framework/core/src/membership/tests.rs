//! The decisions against a model of etcd that refuses what etcd refuses: instances crash, return, lose their data and
//! move, while the number of members goes 1, 3, 5, 3, 1.
use super::*;

#[derive(Debug, Clone)]
struct Process {
    id: u64,
    name: String,
    url: String,
    is_learner: bool,
    is_up: bool,
    has_started: bool,
    is_lost: bool,
    /// How much of the log it has.
    index: u64,
}

#[derive(Debug, Default)]
struct Etcd {
    members: Vec<Process>,
    committed: u64,
    next_id: u64,
}

impl Etcd {
    fn new(name: &str, url: &str) -> Self {
        let first = Process {
            id: 1,
            name: name.to_owned(),
            url: url.to_owned(),
            is_learner: false,
            is_up: true,
            has_started: true,
            is_lost: false,
            index: 1,
        };
        Self { members: vec![first], committed: 1, next_id: 2 }
    }
    fn voters(&self) -> Vec<&Process> {
        self.members.iter().filter(|member| !member.is_learner).collect()
    }
    fn has_quorum(&self) -> bool {
        let voters = self.voters();
        voters.iter().filter(|member| member.is_up).count() > voters.len() / 2
    }
    /// A write, and its replication: everybody who is up gets everything, a learner a little at a time.
    fn write(&mut self) {
        if !self.has_quorum() {
            return;
        }
        self.committed += 1;
        let committed = self.committed;
        for member in self.members.iter_mut().filter(|member| member.is_up) {
            member.index = if member.is_learner { committed.min(member.index + 7) } else { committed };
        }
    }
    fn list(&self) -> Vec<Member> {
        let health = |member: &Process| match (member.is_up, member.index == self.committed) {
            (false, _) => Health::Away,
            (true, true) => Health::InStep,
            (true, false) => Health::Behind,
        };
        let name = |member: &Process| if member.has_started { member.name.clone() } else { String::new() };
        self.members
            .iter()
            .map(|member| Member {
                id: member.id,
                name: name(member),
                peer_url: member.url.clone(),
                is_learner: member.is_learner,
                health: health(member),
            })
            .collect()
    }
    /// Does a step as etcd would: without a quorum, or when one would be lost by it, it refuses.
    fn apply(&mut self, step: &Step) -> Result<(), String> {
        if matches!(step, Step::Done | Step::Wait(_)) {
            return Ok(());
        }
        if !self.has_quorum() {
            return Err("no leader".to_owned());
        }
        match step {
            Step::Add { name, peer_url } => {
                if self.members.iter().any(|member| member.is_learner) {
                    return Err("too many learner members in cluster".to_owned());
                }
                if self.members.iter().any(|member| member.url == *peer_url) {
                    return Err("peer urls exist".to_owned());
                }
                let (id, name, url) = (self.next_id, name.clone(), peer_url.clone());
                self.next_id += 1;
                self.members.push(Process {
                    id,
                    name,
                    url,
                    is_learner: true,
                    is_up: false,
                    has_started: false,
                    is_lost: false,
                    index: 0,
                });
            }
            Step::Promote { id, .. } => {
                let committed = self.committed;
                let member = self.members.iter_mut().find(|member| member.id == *id).ok_or("member not found")?;
                if !member.is_learner || member.index != committed {
                    return Err("can only promote a learner member which is in sync with leader".to_owned());
                }
                member.is_learner = false;
            }
            Step::Remove { id, .. } => {
                let rest: Vec<&Process> =
                    self.voters().into_iter().filter(|member| member.id != *id).collect::<Vec<_>>();
                if rest.iter().filter(|member| member.is_up).count() <= rest.len() / 2 {
                    return Err("re-configuration failed due to not enough started members".to_owned());
                }
                self.members.retain(|member| member.id != *id);
            }
            Step::Done | Step::Wait(_) => {}
        }
        Ok(())
    }
}

/// Numbers from a seed.
struct Dice(u64);
impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

struct Run {
    etcd: Etcd,
    wanted: Wanted,
    places: u64,
    taken: BTreeMap<&'static str, u32>,
}

impl Run {
    fn new() -> Self {
        let mut run =
            Self { etcd: Etcd::new("etcd-0", "url-0"), wanted: Wanted::default(), places: 1, taken: BTreeMap::new() };
        let first = Instance { peer_url: Some("url-0".to_owned()), is_lost: false };
        run.wanted.members.insert("etcd-0".to_owned(), first);
        run
    }
    fn place(&mut self) -> Option<String> {
        self.places += 1;
        Some(format!("url-{}", self.places))
    }
    fn scale(&mut self, count: usize) {
        while self.wanted.members.len() > count {
            self.wanted.members.pop_last();
        }
        for index in self.wanted.members.len()..count {
            let peer_url = self.place();
            self.wanted.members.insert(format!("etcd-{index}"), Instance { peer_url, is_lost: false });
        }
    }
    /// One decision, done at once; the rules are checked around it.
    fn step(&mut self) -> Step {
        let had_quorum = self.etcd.has_quorum();
        let step = next(&self.etcd.list(), &self.wanted);
        let kind = match &step {
            Step::Done => "done",
            Step::Wait(_) => "wait",
            Step::Add { .. } => "add",
            Step::Promote { .. } => "promote",
            Step::Remove { .. } => "remove",
        };
        *self.taken.entry(kind).or_default() += 1;
        self.etcd.apply(&step).unwrap_or_else(|why| panic!("{step:?} is refused: {why}\n{:#?}", self.etcd));
        assert!(!had_quorum || self.etcd.has_quorum(), "{step:?} lost the quorum: {:#?}", self.etcd);
        assert!(!self.etcd.voters().is_empty());
        let holds = |member: &&&Process| member.index == self.etcd.committed;
        assert!(self.etcd.voters().iter().filter(holds).count() > 0, "committed data is nowhere: {:#?}", self.etcd);
        step
    }
    /// What the framework does beside: added members are started, removed ones are no more.
    fn start_added(&mut self) {
        for member in &mut self.etcd.members {
            if !member.has_started && self.wanted.members.values().any(|one| one.peer_url.as_ref() == Some(&member.url))
            {
                member.has_started = true;
                member.is_up = true;
            }
        }
    }
    fn fault(&mut self, dice: &mut Dice) {
        if self.etcd.members.is_empty() {
            return;
        }
        let victim = usize::try_from(dice.roll(self.etcd.members.len() as u64)).expect("small");
        match dice.roll(4) {
            0 => self.etcd.members[victim].is_up = false,
            1 => {
                let member = &mut self.etcd.members[victim];
                member.is_up = member.has_started && !member.is_lost;
            }
            2 => {
                // Its data is lost, and it is launched elsewhere; of the last quorum nobody could make good for that.
                let id = self.etcd.members[victim].id;
                let voters = self.etcd.voters();
                if voters.iter().filter(|member| member.is_up && member.id != id).count() <= voters.len() / 2 {
                    return;
                }
                let name = self.etcd.members[victim].name.clone();
                let url = self.etcd.members[victim].url.clone();
                let is_of_member =
                    self.wanted.members.get(&name).is_some_and(|one| one.peer_url.as_ref() == Some(&url));
                if is_of_member {
                    self.etcd.members[victim].is_up = false;
                    // It will never return: whoever has this address has another disk.
                    self.etcd.members[victim].is_lost = true;
                    let peer_url = if dice.roll(2) == 0 { None } else { self.place() };
                    let is_lost = peer_url.is_none();
                    self.wanted.members.insert(name, Instance { peer_url, is_lost });
                }
            }
            _ => {
                let lost: Vec<String> =
                    self.wanted.members.iter().filter(|(_, one)| one.is_lost).map(|(name, _)| name.clone()).collect();
                for name in lost {
                    let peer_url = self.place();
                    self.wanted.members.insert(name, Instance { peer_url, is_lost: false });
                }
            }
        }
    }
    /// Everybody whose data exists returns, and every instance has a place.
    fn heal(&mut self) {
        let unplaced: Vec<String> = self
            .wanted
            .members
            .iter()
            .filter(|(_, one)| one.is_lost || one.peer_url.is_none())
            .map(|(name, _)| name.clone())
            .collect();
        for name in unplaced {
            let peer_url = self.place();
            self.wanted.members.insert(name, Instance { peer_url, is_lost: false });
        }
        for member in &mut self.etcd.members {
            // Who is to leave runs until etcd has let it go.
            member.is_up |= member.has_started && !member.is_lost;
        }
    }
    fn converge(&mut self) {
        for _ in 0..400 {
            self.etcd.write();
            self.heal();
            self.start_added();
            let is_still = self.etcd.members.iter().all(|member| member.index == self.etcd.committed);
            if self.step() == Step::Done && is_still {
                let names: BTreeSet<&String> = self.etcd.voters().iter().map(|member| &member.name).collect();
                assert_eq!(names, self.wanted.members.keys().collect());
                return;
            }
        }
        panic!("no end: {:?}\n{:#?}\n{:#?}", next(&self.etcd.list(), &self.wanted), self.etcd, self.wanted);
    }
}

#[test]
fn one_three_five_three_one_without_a_fault_is_the_shortest_way() {
    let mut run = Run::new();
    for count in [3, 5, 3, 1] {
        run.scale(count);
        run.converge();
        assert_eq!(run.etcd.voters().len(), count);
    }
    let taken = |kind| run.taken[kind];
    assert_eq!((taken("add"), taken("promote"), taken("remove")), (4, 4, 4));
}

#[test]
fn whatever_fails_meanwhile_nothing_breaks_the_quorum_and_all_ends_well() {
    let mut taken: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in 1..=500u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut run = Run::new();
        for count in [3, 5, 3, 1, 3] {
            run.scale(count);
            for _ in 0..30 {
                if dice.roll(4) == 0 {
                    run.fault(&mut dice);
                }
                if dice.roll(2) == 0 {
                    run.start_added();
                }
                run.etcd.write();
                run.step();
            }
            // A shrink with members away may need them back.
            run.converge();
        }
        for (kind, times) in run.taken {
            *taken.entry(kind).or_default() += times;
        }
    }
    for kind in ["add", "promote", "remove", "wait", "done"] {
        assert!(taken.get(kind).is_some_and(|times| *times > 100), "{kind} hardly happened: {taken:?}");
    }
}

#[test]
fn without_a_quorum_nothing_is_done() {
    let away = |id: u64, name: &str| Member {
        id,
        name: name.to_owned(),
        peer_url: name.to_owned(),
        is_learner: false,
        health: if id > 1 { Health::Away } else { Health::InStep },
    };
    let listed = [away(1, "etcd-0"), away(2, "etcd-1"), away(3, "etcd-2")];
    let Step::Wait(words) = next(&listed, &Wanted::default()) else { panic!("a step without a quorum") };
    assert_eq!(words, "1 of 3 voters answer, 2 must: waits for etcd-1, etcd-2");
    assert!(matches!(next(&[], &Wanted::default()), Step::Wait(_)));
}
