//! Chance that can be repeated: the seed is printed, and `MEZZO_SEED` gives it back.

use std::time::{Duration, Instant};

use anyhow::Result;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::wait::until;

/// The seed of every run that is not told another: a gate says the same twice.
const DEFAULT: u64 = 7;

/// Where a test's choices come from.
#[derive(Debug)]
pub struct Seed {
    random: StdRng,
}

impl Seed {
    /// From the environment.
    pub fn from_environment() -> Self {
        let seed = std::env::var("MEZZO_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(DEFAULT);
        eprintln!("MEZZO_SEED={seed}");
        Self { random: StdRng::seed_from_u64(seed) }
    }

    /// In an order of its own.
    pub fn shuffled<T>(&mut self, mut things: Vec<T>) -> Vec<T> {
        things.shuffle(&mut self.random);
        things
    }

    /// One of several.
    pub fn one_of<T: Clone>(&mut self, things: &[T]) -> Option<T> {
        if things.is_empty() { None } else { things.get(self.random.random_range(0..things.len())).cloned() }
    }

    /// Lets so much time pass, at most: what happens next, happens at a moment that nobody planned for.
    ///
    /// # Errors
    /// Never; it waits as everything in tests does.
    pub fn some_moment(&mut self, at_most: Duration) -> Result<()> {
        let most = u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX);
        let moment = Duration::from_millis(self.random.random_range(0..=most));
        let begun = Instant::now();
        until("the moment", at_most * 2 + Duration::from_secs(1), || Ok(begun.elapsed() >= moment))
    }
}
