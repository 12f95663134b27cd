//! What a process takes for the time. Clocks are apart from each other and from what they were before a restart, and none
//! runs exactly as fast as the next. Every step of a core gets the time of its own process: what two of them agree on must
//! not hang on their clocks.
use model::Timestamp;

use crate::rng::Rng;

/// Timers as far away as this, ten thousand hours, need not be exact.
const BEYOND_ALL_RUNS: u64 = 36_000_000_000;

/// A process's clock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clock {
    /// When it was set, in the simulator's time.
    set_at: u64,
    /// How far off it was then, in milliseconds.
    offset: i64,
    /// How much too fast it is, in millionths.
    drift: i64,
}

impl Clock {
    /// So far off and so wrong at most.
    pub(crate) fn draw(now: u64, skew: u64, drift: u64, rng: &mut Rng) -> Self {
        let mut within = |limit: u64| {
            let limit = i64::try_from(limit).expect("small");
            i64::try_from(rng.between(0, 2 * limit.unsigned_abs())).expect("small") - limit
        };
        Self { set_at: now, offset: within(skew), drift: within(drift) }
    }
    /// What it shows.
    pub(crate) fn shows(&self, now: u64) -> Timestamp {
        let passed = i64::try_from(now.saturating_sub(self.set_at)).expect("a run is short");
        let gained = passed * self.drift / 1_000_000;
        Timestamp(now.saturating_add_signed(self.offset + gained))
    }
    /// When it shows this, or what is later.
    pub(crate) fn reaches(&self, at: Timestamp) -> u64 {
        let target = at.0.saturating_sub(self.shows(self.set_at).0);
        if target > BEYOND_ALL_RUNS {
            return self.set_at + target;
        }
        let target = i64::try_from(target).expect("within a run");
        let mut now = self.set_at.saturating_add_signed(target * 1_000_000 / (1_000_000 + self.drift));
        // Divisions round: a millisecond too late or too early.
        while self.set_at < now && self.shows(now - 1) >= at {
            now -= 1;
        }
        while self.shows(now) < at {
            now += 1;
        }
        now
    }
    /// It runs too fast or too slowly.
    pub(crate) fn drifts(&self) -> bool {
        self.drift != 0
    }
    /// It was set wrongly.
    pub(crate) fn is_off(&self) -> bool {
        self.offset != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_runs_forward_and_reaches_what_it_shows() {
        let mut rng = Rng::new(7);
        for _ in 0..200 {
            let clock = Clock::draw(1_000_000, 300_000, 20_000, &mut rng);
            let mut last = clock.shows(1_000_000);
            for now in (1_000_000..1_400_000).step_by(997) {
                let shown = clock.shows(now);
                assert!(last <= shown, "{clock:?} steps back at {now}");
                last = shown;
                let reached = clock.reaches(shown);
                assert!(reached <= now && clock.shows(reached) >= shown, "{clock:?} at {now}: {reached}");
            }
        }
    }

    #[test]
    fn a_clock_that_is_right_shows_the_time() {
        let clock = Clock::default();
        assert_eq!((clock.shows(5), clock.reaches(Timestamp(5))), (Timestamp(5), 5));
    }
}
