//! The master: routes events to the parts that decide.
use model::Timestamp;

use crate::command::Command;
use crate::config::Config;
use crate::event::Event;
use crate::registry::RegistrySnapshot;

/// The deciding part of a master.
#[derive(Debug)]
pub struct Master {
    config: Config,
    registry: RegistrySnapshot,
    seed: u64,
    now: Timestamp,
}

impl Master {
    /// A master that starts now with what its registry holds.
    pub fn new(config: Config, registry: RegistrySnapshot, seed: u64, now: Timestamp) -> Self {
        Self { config, registry, seed, now }
    }
    /// Takes one event and pushes what is to be done.
    pub fn step(&mut self, now: Timestamp, event: Event, out: &mut Vec<Command>) {
        self.now = self.now.max(now);
        drop((event, out, &self.config, &self.registry, self.seed));
    }
}
