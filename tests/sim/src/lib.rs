//! A deterministic cluster: the real cores of master, agents and framework, a scheduler that does every allowed and many forbidden
//! things, links that break, disks that are slow, processes that die. Time is virtual and chance has a seed: a run can be
//! repeated to the last step.
//!
//! `world` moves time and messages; `master_host`, `agent_host` and `service_host` are the shells, `framework_host` the
//! scheduler that misbehaves; `swarm` says what a seed breaks, `faults` breaks it; `strangers` says what nobody should say; `checks` is what must hold after every step and in the end.

// Checks and duplication look at a few kinds of messages and mean "no other".
#![allow(clippy::wildcard_enum_match_arm)]

use std::panic::{self, AssertUnwindSafe};

pub mod counts;
pub mod coverage;

mod agent_host;
mod checks;
mod clock;
mod disk;
mod faults;
mod framework_host;
mod master_host;
mod quotas;
mod rng;
mod service_host;
mod service_spec;
mod strangers;
mod swarm;
mod tell;
mod world;

pub use counts::Counts;
pub use faults::Crash;

/// Runs one seed: first with faults, then without until everything has converged.
///
/// # Errors
/// `Err` says what did not hold, and when.
pub fn run(seed: u64, counts: &mut Counts) -> Result<(), String> {
    run_and_tell(seed, counts, Vec::new())
}

/// Runs one seed, and prints every event and command with one of these words in it.
///
/// # Errors
/// As [`run`].
pub fn run_and_tell(seed: u64, counts: &mut Counts, words: Vec<String>) -> Result<(), String> {
    let mut world = world::World::new(seed);
    world.told = words;
    run_world(seed, world, counts).map(drop)
}

/// Runs one seed and sums up every event in it: the same seed has the same sum, whatever the machine does beside it.
pub fn digest(seed: u64) -> u64 {
    let mut world = world::World::new(seed);
    world.digest = Some(0xcbf2_9ce4_8422_2325);
    run_world(seed, world, &mut Counts::default()).map_or(0, |world| world.digest.unwrap_or_default())
}

/// Who writes, and how each can die at that: a master's writes are transactions, and a scheduler's are the master's.
pub const WRITERS: &[(&str, &[Crash])] = &[
    ("master", &[Crash::Before, Crash::After]),
    ("agent", &[Crash::Before, Crash::Within, Crash::WithPower, Crash::After]),
    ("scheduler", &[Crash::Before, Crash::After]),
];

/// Runs one seed in which nothing breaks, but one of [`WRITERS`] dies at its n-th write, in one of
/// the ways of [`Crash`]. Says whether there are so many writes.
///
/// # Errors
/// As [`run`].
pub fn run_with_crash(seed: u64, who: &'static str, nth: u64, crash: Crash) -> Result<bool, String> {
    let mut world = world::World::new(seed);
    world.swarm = swarm::Swarm::calm();
    world.crash = Some(faults::CrashAt { who, left: nth, crash, is_done: false });
    let world = run_world(seed, world, &mut Counts::default());
    let world = world.map_err(|what| format!("{what}\n  the {who} died at its write {nth}, {crash:?}"))?;
    Ok(world.crash.is_some_and(|crash| crash.is_done))
}

fn run_world(seed: u64, mut world: world::World, counts: &mut Counts) -> Result<world::World, String> {
    // A core that finds itself wrong panics: that is a finding like any other.
    let result = panic::catch_unwind(AssertUnwindSafe(|| world.run())).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
        Err(format!("a core stopped: {words}"))
    });
    counts.add(&world.counts);
    result.map_err(|what| format!("seed {seed} at {} ms: {what}", world.now))?;
    Ok(world)
}
