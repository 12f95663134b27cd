//! A simulator that finds nothing proves nothing: each deliberate mistake in a core must break some seed.
#![allow(clippy::print_stdout)]

use std::thread;

use agent_core::mutation::Mutation as AgentMutation;
use framework_core::mutation::Mutation as FrameworkMutation;
use master_core::mutation::Mutation as MasterMutation;

/// The simulator must find a mistake within so many seeds.
const SEEDS: u64 = 300;

#[derive(Debug, Clone, Copy)]
enum Mistake {
    Master(MasterMutation),
    Agent(AgentMutation),
    Framework(FrameworkMutation),
}

impl Mistake {
    fn all() -> Vec<Mistake> {
        let master = MasterMutation::ALL.iter().copied().map(Mistake::Master);
        let agent = AgentMutation::ALL.iter().copied().map(Mistake::Agent);
        let framework = FrameworkMutation::ALL.iter().copied().map(Mistake::Framework);
        master.chain(agent).chain(framework).collect()
    }
    fn make(self) {
        match self {
            Mistake::Master(mutation) => MasterMutation::make(Some(mutation)),
            Mistake::Agent(mutation) => AgentMutation::make(Some(mutation)),
            Mistake::Framework(mutation) => FrameworkMutation::make(Some(mutation)),
        }
    }
}

/// The first seed that breaks, and how.
fn caught(mistake: Mistake) -> Option<String> {
    mistake.make();
    let mut counts = sim::Counts::default();
    let found = (0..SEEDS).find_map(|seed| sim::run(seed, &mut counts).err());
    MasterMutation::make(None);
    AgentMutation::make(None);
    FrameworkMutation::make(None);
    found
}

#[test]
fn every_deliberate_mistake_is_caught() {
    let all = Mistake::all();
    assert!(all.len() >= 20, "there are {} mistakes", all.len());
    // Cores that stop at their own assertions are expected here, and said below.
    std::panic::set_hook(Box::new(|_| {}));
    let threads: Vec<_> = all
        .iter()
        .map(|mistake| (*mistake, *mistake))
        .map(|(name, mistake)| (name, thread::spawn(move || caught(mistake))))
        .collect();
    let mut survivors = Vec::new();
    for (name, thread) in threads {
        match thread.join().expect("a run ends in words") {
            Some(how) => println!("{name:?}: {}", how.chars().take(200).collect::<String>()),
            None => survivors.push(name),
        }
    }
    assert!(survivors.is_empty(), "not caught in {SEEDS} seeds: {survivors:?}");
}
