//! The story of a run, for whoever looks for the cause of what it found: `sim --seed N --seeds 1 --tell web-1`.
#![allow(clippy::print_stdout)]

use crate::world::World;

impl World {
    /// Prints a line if it was asked for.
    pub(crate) fn tell(&self, line: impl FnOnce() -> String) {
        if self.told.is_empty() {
            return;
        }
        let line = line();
        if self.told.iter().any(|word| line.contains(word)) {
            println!("{:>8} {line}", self.now);
        }
    }
}
