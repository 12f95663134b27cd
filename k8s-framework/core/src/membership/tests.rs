//! The decisions against the model: instances crash, return, lose their data and move, the framework dies between any
//! two things it does, while the number of members goes 1, 3, 5, 3, 1; and twenty mistakes that must not pass.
use super::model::{Dice, World};
use super::*;

const SEEDS: u64 = 10_000;
/// A mistake must show within so many.
const SEEDS_PER_MUTATION: u64 = 2_000;

fn life(seed: u64) -> World {
    let mut dice = Dice::new(seed);
    let mut world = World::new(1);
    for count in [3, 5, 3, 1, 3] {
        world.scale(count);
        for _ in 0..30 {
            match dice.roll(8) {
                0 | 1 => world.fault(&mut dice),
                2..=4 => world.launch_one(&mut dice),
                5 => world.write(),
                _ => {
                    world.keep();
                }
            }
        }
        // A shrink with members away may need them back.
        world.converge();
        assert_eq!(world.voters(), count);
    }
    world
}

#[test]
fn one_three_five_three_one_without_a_fault_is_the_shortest_way() {
    let mut world = World::new(1);
    for count in [3, 5, 3, 1] {
        world.scale(count);
        world.converge();
        assert_eq!(world.voters(), count);
    }
    let taken = |kind| world.taken[kind];
    assert_eq!((taken("add"), taken("promote"), taken("remove"), taken("start")), (4, 4, 4, 5));
}

#[test]
fn whatever_fails_meanwhile_nothing_breaks_the_quorum_and_all_ends_well() {
    let mut taken: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in 1..=SEEDS {
        for (kind, times) in life(seed).taken {
            *taken.entry(kind).or_default() += times;
        }
    }
    for kind in ["add", "promote", "remove", "wait", "done", "crash", "loss", "start", "waits to join"] {
        assert!(taken.get(kind).is_some_and(|times| *times > 1_000), "{kind} hardly happened: {taken:?}");
    }
}

#[test]
fn every_deliberate_mistake_is_noticed() {
    // What a mistake does is a panic; people need not read hundreds of them.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut unnoticed = Vec::new();
    for mutation in Mutation::ALL {
        Mutation::make(Some(*mutation));
        let is_noticed = (1..=SEEDS_PER_MUTATION).any(|seed| std::panic::catch_unwind(|| life(seed)).is_err());
        Mutation::make(None);
        if !is_noticed {
            unnoticed.push(*mutation);
        }
    }
    std::panic::set_hook(hook);
    assert_eq!(unnoticed, []);
    assert!(Mutation::ALL.len() >= 20);
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
    let wanted = Wanted { members: BTreeMap::from([("etcd-0".to_owned(), Some("etcd-0".to_owned()))]) };
    let Step::Wait(words) = next(&listed, &wanted) else { panic!("a step without a quorum") };
    assert_eq!(words, "1 of 3 voters answer, 2 must: waits for etcd-1, etcd-2");
    assert!(matches!(next(&[], &wanted), Step::Wait(_)));
    // A framework that does not know its instances yet removes nobody.
    assert!(matches!(next(&listed[..1], &Wanted::default()), Step::Wait(_)));
}
