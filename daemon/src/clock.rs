//! The time that decisions are made by. Intervals between pings, timeouts and pauses must not hang on a clock that somebody
//! sets, yet what was agreed on in the time of calendars (a maintenance window, a certificate) must come when it should.
//! So this clock starts with the wall's time, runs on by itself, and approaches the wall's time when they differ: never by a
//! jump, never backwards, and never so fast that an interval would be noticeably another.
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::Timestamp;

/// It gains or loses at most a tenth of what passes: after an hour's step of the wall clock it is right within ten hours,
/// and a timeout of ten seconds is one of nine to eleven meanwhile.
const CORRECTION_PARTS: i128 = 10;

/// What processes go by. See the module.
pub fn now() -> Timestamp {
    static CLOCK: Mutex<Option<(Instant, Steady)>> = Mutex::new(None);
    let mut clock = CLOCK.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let wall = since_epoch();
    let (started, steady) = clock.get_or_insert_with(|| (Instant::now(), Steady::set(wall)));
    let shown = steady.read(started.elapsed(), wall);
    Timestamp(u64::try_from(shown.as_millis()).unwrap_or(u64::MAX))
}

/// What the wall clock says, right or wrong: to compare clocks with.
pub fn wall() -> Timestamp {
    Timestamp(u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX))
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The clock itself, without a source of time.
#[derive(Debug)]
struct Steady {
    shown: Duration,
    /// What had passed since the start when that was shown.
    at: Duration,
}

impl Steady {
    fn set(wall: Duration) -> Self {
        Self { shown: wall, at: Duration::ZERO }
    }
    /// What it shows when so much has passed since the start, and the wall clock shows that.
    fn read(&mut self, passed: Duration, wall: Duration) -> Duration {
        let step = passed.saturating_sub(self.at);
        self.at = self.at.max(passed);
        let nanos = |span: Duration| i128::try_from(span.as_nanos()).unwrap_or(i128::MAX);
        let most = nanos(step) / CORRECTION_PARTS;
        let error = nanos(wall) - nanos(self.shown + step);
        let gain = nanos(step) + error.clamp(-most, most);
        self.shown += Duration::from_nanos(u64::try_from(gain).unwrap_or_default());
        self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;
    const START: Duration = Duration::from_secs(1_800_000_000);

    /// Reads once a second for so long while the wall clock is off by so much; what was shown at the end, and how far
    /// from a second the longest and the shortest was.
    fn run(clock: &mut Steady, from: u64, seconds: u64, off: i64) -> (Duration, Duration, Duration) {
        let (mut shortest, mut longest) = (Duration::MAX, Duration::ZERO);
        let mut before = clock.shown;
        for second in from + 1..=from + seconds {
            let passed = Duration::from_secs(second);
            let wall = Duration::from_secs((START + passed).as_secs().saturating_add_signed(off));
            let shown = clock.read(passed, wall);
            let step = shown.checked_sub(before).expect("it never steps back");
            (shortest, longest) = (shortest.min(step), longest.max(step));
            before = shown;
        }
        (before, shortest, longest)
    }

    #[test]
    fn a_wall_clock_that_is_right_is_followed() {
        let mut clock = Steady::set(START);
        let (shown, shortest, longest) = run(&mut clock, 0, 100, 0);
        assert_eq!(shown, START + Duration::from_secs(100));
        assert_eq!((shortest, longest), (Duration::from_secs(1), Duration::from_secs(1)));
    }

    #[test]
    fn a_step_of_the_wall_clock_changes_no_interval_by_more_than_a_tenth_and_is_made_up_for() {
        for off in [3600, -3600] {
            let mut clock = Steady::set(START);
            let (shown, shortest, longest) = run(&mut clock, 0, 60, off);
            let passed = shown - START;
            assert!((54..=66).contains(&passed.as_secs()), "a minute is a minute: {passed:?}");
            assert!(shortest >= Duration::from_millis(900) && longest <= Duration::from_millis(1100), "{off}");
            let (shown, ..) = run(&mut clock, 60, 11 * HOUR, off);
            let wall = (START.as_secs() + 60 + 11 * HOUR).saturating_add_signed(off);
            assert_eq!(shown, Duration::from_secs(wall), "after eleven hours it shows what the wall clock shows");
            // And the step back is as harmless.
            let (_, shortest, longest) = run(&mut clock, 60 + 11 * HOUR, 60, 0);
            assert!(shortest >= Duration::from_millis(900) && longest <= Duration::from_millis(1100), "{off} and back");
        }
    }

    #[test]
    fn many_readings_in_one_moment_move_nothing() {
        let mut clock = Steady::set(START);
        let at = Duration::from_secs(5);
        let first = clock.read(at, START + at);
        for _ in 0..1000 {
            assert_eq!(clock.read(at, START + Duration::from_secs(10_000)), first);
        }
        assert_eq!(clock.read(Duration::ZERO, Duration::ZERO), first, "threads may read out of order");
    }
}
