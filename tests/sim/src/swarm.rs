//! What a seed breaks, and how often. Each run has a mixture of its own, some things left out of it entirely: with
//! everything on all the time, what comes of one fault is soon hidden by the next.
use crate::rng::Rng;

/// The mixture of one run.
#[derive(Debug, Clone)]
pub(crate) struct Swarm {
    /// Per cent of messages that are late.
    pub(crate) delayed: u64,
    /// Per cent of messages that come twice, where that may happen.
    pub(crate) duplicated: u64,
    /// How many of a thousand writes a process dies at.
    pub(crate) crashes_at_writes: u64,
    /// Per cent of an agent's deaths at a write that leave a part of it.
    pub(crate) torn: u64,
    /// Per cent of broken links whose ends hear what was under way until they notice.
    pub(crate) last_words: u64,
    /// The longest pause between two faults, in milliseconds.
    pub(crate) pause: u64,
    /// How far clocks may be apart from each other, and from what they were before a restart, in milliseconds.
    pub(crate) skew: u64,
    /// How much too fast or too slow clocks may be, in millionths: a quartz's hundred, or per cents on a machine that is not
    /// let run when it should.
    pub(crate) drift: u64,
    /// Per cent of links on which everything takes longer than on others.
    pub(crate) slow_links: u64,
    /// Faults that this run leaves out.
    without: Vec<u64>,
}

/// Kinds of faults that `faults.rs` chooses from.
pub(crate) const KINDS: u64 = 24;

impl Swarm {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let or_nothing = |rng: &mut Rng, low, high| if rng.percent(25) { 0 } else { rng.between(low, high) };
        Self {
            delayed: or_nothing(rng, 1, 6),
            duplicated: or_nothing(rng, 1, 4),
            crashes_at_writes: or_nothing(rng, 1, 12),
            torn: or_nothing(rng, 20, 80),
            last_words: or_nothing(rng, 10, 60),
            pause: rng.between(3000, 12_000),
            skew: if rng.percent(50) { 0 } else { rng.between(1, 300_000) },
            drift: [0, 0, 100, 20_000][rng.index(4)],
            slow_links: or_nothing(rng, 5, 50),
            without: (0..KINDS).filter(|_| rng.percent(20)).collect(),
        }
    }
    /// Nothing breaks but what is asked for.
    pub(crate) fn calm() -> Self {
        Self {
            delayed: 0,
            duplicated: 0,
            crashes_at_writes: 0,
            torn: 0,
            last_words: 0,
            pause: 0,
            skew: 0,
            drift: 0,
            slow_links: 0,
            without: (0..KINDS).collect(),
        }
    }
    pub(crate) fn has(&self, kind: u64) -> bool {
        !self.without.contains(&kind)
    }
}
