//! Everything of mezzo that strangers' bytes reach, and a way to send it the worst ones: from peers of the network, from images and
//! archives, from files that people hand over.
//!
//! The same targets run with damage by a seed, as tests, and guided by coverage (`cargo xtask fuzz`). Inputs that broke something
//! once are in `regressions/`, and run with the tests. See docs/fuzzing.md.

#![allow(clippy::wildcard_enum_match_arm)] // a target says what holds of some, and nothing of the others

pub mod check;
pub mod corpus;
pub mod measure;
pub mod mutate;
pub mod parts;
pub mod targets;

use std::cell::RefCell;

use mutate::Mutator;
use targets::{TARGETS, Target};

impl Target {
    /// The target of a name.
    pub fn find(name: &str) -> Option<&'static Target> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// Reads an input within its bounds.
    ///
    /// # Panics
    /// Something that must hold does not.
    pub fn execute(&self, input: &[u8]) {
        prepare();
        measure::bounded(input.len(), || (self.run)(input));
    }

    /// Tries the seeds, then so many damaged ones.
    ///
    /// # Panics
    /// Something that must hold does not; the input was written down, and the message says where.
    pub fn run_seeded(&self, seed: u64, iterations: usize) {
        let seeds = (self.seeds)();
        for (number, input) in seeds.iter().enumerate() {
            self.guarded(input, &format!("seed {number}"));
        }
        let mut mutator = Mutator::new(seed);
        let mut kept = seeds.clone();
        for round in 0..iterations {
            let mut input = kept[round % kept.len()].clone();
            mutator.mutate(self.shape, &mut input, &kept);
            self.guarded(&input, &format!("round {round} of seed {seed}"));
            // Damage upon damage, but always from something that was good not long ago.
            if round % 7 == 0 {
                let place = round % (4 * seeds.len());
                if place < kept.len() { kept[place] = input } else { kept.push(input) }
            }
            if round % 500 == 499 {
                kept.clone_from(&seeds);
            }
        }
    }

    fn guarded(&self, input: &[u8], which: &str) {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.execute(input)));
        if let Err(panic) = result {
            let place = std::env::temp_dir().join(format!("mezzo-fuzz-{}", self.name));
            let kept = std::fs::write(&place, input).is_ok();
            let place = if kept { place.display().to_string() } else { "nowhere".to_owned() };
            eprintln!("{}, {which}: the input is in {place}; make it a file of regressions/{}", self.name, self.name);
            std::panic::resume_unwind(panic);
        }
    }
}

/// What a process needs once.
pub fn prepare() {
    daemon::tls::install_crypto_provider();
}

thread_local! {
    static RUNTIME: RefCell<tokio::runtime::Runtime> =
        RefCell::new(tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));
}

/// Decoders that read from streams: here they come as a whole.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    RUNTIME.with_borrow(|runtime| runtime.block_on(work))
}
