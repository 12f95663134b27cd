//! The time that decisions are made by. Intervals between pings, timeouts and pauses must not hang on a clock that somebody
//! sets, yet what was agreed on in the time of calendars (a maintenance window, a certificate) must come when it should.
//! So this clock starts with the wall's time, runs on by itself, and approaches the wall's time when they differ: never
//! backwards, and not so fast that an interval would be noticeably another.
//!
//! Shortly after a start or a resume it is the wall's time from before that was wrong: nobody has set it yet. What lacks
//! more than a minute is then stepped over at once, or a day would take ten. What is too much by more than a minute cannot be:
//! whatever was begun before would wait for as long. It is lost while twice as much passes.
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// It gains or loses at most a tenth of what passes: after an hour's step of the wall clock it is right within ten hours,
/// and a timeout of ten seconds is one of nine to eleven meanwhile.
const CORRECTION_PARTS: i128 = 10;
/// It loses half of what passes while it is far ahead of a wall clock that was set after the start: a day takes two. Peers
/// wait for many signs of life, of which half are enough.
const BEHIND_PARTS: i128 = 2;
/// So long after a start or a resume the wall clock may still be wrong; a time service has answered by then.
const SETTLING: Duration = Duration::from_secs(10 * 60);
/// A larger error is a wrong clock. Smaller ones are made up for within ten minutes.
const LARGE: i128 = 60 * 1_000_000_000;
/// The machine slept if it did for so long; less is the time between two readings.
const SLEEP_MIN: Duration = Duration::from_secs(1);

/// What processes go by. See the module.
pub fn now() -> Timestamp {
    static CLOCK: Mutex<Option<Steady>> = Mutex::new(None);
    let mut clock = CLOCK.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let reading = Reading::take();
    let shown = clock.get_or_insert_with(|| Steady::set(reading)).read(reading);
    Timestamp(u64::try_from(shown.as_millis()).unwrap_or(u64::MAX))
}

/// What the wall clock says, right or wrong: to compare clocks with.
pub fn wall() -> Timestamp {
    Timestamp(u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX))
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// What the machine's clocks show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    /// Since the machine's start, also while it slept: what was to happen meanwhile is due.
    passed: Duration,
    /// Of it, without what it slept.
    awake: Duration,
    wall: Duration,
}

impl Reading {
    fn take() -> Self {
        let of = |clock| clock_gettime(clock).map(Duration::from).expect("Linux has this clock since 2.6.39");
        let awake = of(ClockId::CLOCK_MONOTONIC);
        Self { passed: of(ClockId::CLOCK_BOOTTIME), awake, wall: since_epoch() }
    }
    fn slept(&self) -> Duration {
        self.passed.saturating_sub(self.awake)
    }
}

/// The clock itself, without a source of time.
#[derive(Debug)]
struct Steady {
    shown: Duration,
    /// What had passed when that was shown.
    at: Duration,
    /// And of it awake.
    awake: Duration,
    /// How long the machine had slept.
    slept: Duration,
    /// Until so much has passed a large error is a wall clock that was set at last.
    settled: Duration,
    /// It was set back by much, and that is not made up for yet.
    is_ahead: bool,
}

impl Steady {
    fn set(reading: Reading) -> Self {
        let Reading { passed, awake, wall } = reading;
        Self { shown: wall, at: passed, awake, slept: reading.slept(), settled: passed + SETTLING, is_ahead: false }
    }
    fn read(&mut self, reading: Reading) -> Duration {
        let Reading { passed, awake, wall } = reading;
        let (step, step_awake) = (passed.saturating_sub(self.at), awake.saturating_sub(self.awake));
        (self.at, self.awake) = (self.at.max(passed), self.awake.max(awake));
        if reading.slept() >= self.slept + SLEEP_MIN {
            self.slept = reading.slept();
            self.settled = self.at + SETTLING;
        }
        let nanos = |span: Duration| i128::try_from(span.as_nanos()).unwrap_or(i128::MAX);
        let error = nanos(wall) - nanos(self.shown + step);
        let is_settling = self.at < self.settled;
        self.is_ahead = error < 0 && (self.is_ahead || (is_settling && error < -LARGE));
        let correction = if is_settling && error > LARGE {
            error
        } else {
            // Of a long sleep so much could be lost at once that it would be a jump.
            let most = nanos(step_awake) / CORRECTION_PARTS;
            let most_lost = if self.is_ahead { nanos(step_awake) / BEHIND_PARTS } else { most };
            error.clamp(-most_lost, most)
        };
        let gain = nanos(step) + correction;
        self.shown += Duration::from_nanos(u64::try_from(gain).unwrap_or_default());
        self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;
    const DAY: u64 = 24 * HOUR;
    const START: Duration = Duration::from_secs(1_800_000_000);

    /// The machine's clocks so many seconds after the clock's start, of which it slept some, and with a wall clock that is
    /// off by so much.
    fn reading(second: u64, slept: u64, off: i64) -> Reading {
        // The machine started before.
        let passed = Duration::from_secs(DAY + second);
        let wall = Duration::from_secs((START.as_secs() + second).saturating_add_signed(off));
        Reading { passed, awake: passed - Duration::from_secs(slept), wall }
    }

    /// Reads once a second for so long while the wall clock is off by so much; what was shown at the end, and how long
    /// the shortest second and the longest were.
    fn run(clock: &mut Steady, from: u64, seconds: u64, off: i64) -> (Duration, Duration, Duration) {
        let (mut shortest, mut longest) = (Duration::MAX, Duration::ZERO);
        let mut before = clock.shown;
        for second in from + 1..=from + seconds {
            let shown = clock.read(reading(second, clock.slept.as_secs(), off));
            let step = shown.checked_sub(before).expect("it never steps back");
            (shortest, longest) = (shortest.min(step), longest.max(step));
            before = shown;
        }
        (before, shortest, longest)
    }

    /// One that has run for an hour with a wall clock that was right; the next second is [`HOUR`].
    fn settled() -> Steady {
        let mut clock = Steady::set(reading(0, 0, 0));
        run(&mut clock, 0, HOUR, 0);
        clock
    }

    #[test]
    fn a_wall_clock_that_is_right_is_followed() {
        let mut clock = Steady::set(reading(0, 0, 0));
        let (shown, shortest, longest) = run(&mut clock, 0, 2 * HOUR, 0);
        assert_eq!(shown, START + Duration::from_secs(2 * HOUR));
        assert_eq!((shortest, longest), (Duration::from_secs(1), Duration::from_secs(1)));
    }

    #[test]
    fn a_step_of_the_wall_clock_changes_no_interval_by_more_than_a_tenth_and_is_made_up_for() {
        for off in [3600, -3600] {
            let mut clock = settled();
            let (shown, shortest, longest) = run(&mut clock, HOUR, 60, off);
            let passed = shown - START - Duration::from_secs(HOUR);
            assert!((54..=66).contains(&passed.as_secs()), "a minute is a minute: {passed:?}");
            assert!(shortest >= Duration::from_millis(900) && longest <= Duration::from_millis(1100), "{off}");
            let (shown, ..) = run(&mut clock, HOUR + 60, 11 * HOUR, off);
            let wall = (START.as_secs() + 60 + 12 * HOUR).saturating_add_signed(off);
            assert_eq!(shown, Duration::from_secs(wall), "after eleven hours it shows what the wall clock shows");
            // And the step back is as harmless.
            let (_, shortest, longest) = run(&mut clock, 60 + 12 * HOUR, 60, 0);
            assert!(shortest >= Duration::from_millis(900) && longest <= Duration::from_millis(1100), "{off} and back");
        }
    }

    #[test]
    fn a_small_error_after_the_start_is_no_step_either() {
        for off in [-60, 60] {
            let mut clock = Steady::set(reading(0, 0, 0));
            let (shown, shortest, longest) = run(&mut clock, 0, 600, off);
            assert!(shortest >= Duration::from_millis(900) && longest <= Duration::from_millis(1100), "{off}");
            assert_eq!(shown.as_secs(), (START.as_secs() + 600).saturating_add_signed(off), "and gone in ten minutes");
        }
    }

    #[test]
    fn a_wall_clock_that_is_set_forward_soon_after_the_start_is_right_at_once() {
        for behind in [DAY, START.as_secs()] {
            let off = -i64::try_from(behind).expect("small");
            let mut clock = Steady::set(reading(0, 0, off));
            let (_, _, longest) = run(&mut clock, 0, 30, off);
            assert_eq!(longest, Duration::from_secs(1), "nothing is known to be wrong");
            assert_eq!(clock.read(reading(31, 0, 0)), START + Duration::from_secs(31), "{behind} s behind");
            let (_, shortest, longest) = run(&mut clock, 31, 60, 0);
            assert_eq!((shortest, longest), (Duration::from_secs(1), Duration::from_secs(1)), "and runs on");
        }
        // Later it is somebody who sets a clock.
        let mut clock = settled();
        let longest = run(&mut clock, HOUR, 60, 86_400).2;
        assert!(longest <= Duration::from_millis(1100), "{longest:?}");
    }

    #[test]
    fn a_wall_clock_that_is_set_back_soon_after_the_start_stops_nothing_and_is_met_in_twice_the_time() {
        let hours = 2 * HOUR;
        let mut clock = Steady::set(reading(0, 0, i64::try_from(hours).expect("small")));
        let (_, shortest, longest) = run(&mut clock, 0, 2 * hours + 1, 0);
        assert!(
            shortest >= Duration::from_millis(500) && longest <= Duration::from_secs(1),
            "{shortest:?} {longest:?}"
        );
        assert_eq!(clock.shown, START + Duration::from_secs(2 * hours + 1));
        let (_, shortest, _) = run(&mut clock, 2 * hours + 1, 60, -3600);
        assert!(shortest >= Duration::from_millis(900), "the next time somebody sets it, it is as ever");
    }

    #[test]
    fn time_that_the_machine_slept_has_passed() {
        let mut clock = settled();
        // The night was eight hours, and the wall clock knows.
        let morning = 9 * HOUR;
        assert_eq!(clock.read(reading(morning, 8 * HOUR, 0)), START + Duration::from_secs(morning));
        run(&mut clock, morning, 3 * HOUR, 0);
        // The next night it loses three hours, and is set five minutes later.
        let morning = 20 * HOUR;
        clock.read(reading(morning, 16 * HOUR, -3 * 3600));
        let (_, shortest, _) = run(&mut clock, morning, 300, -3 * 3600);
        assert!(shortest >= Duration::from_millis(500));
        let behind = START + Duration::from_secs(morning + 300) - clock.shown;
        assert!(behind <= Duration::from_secs(151), "it goes by what passed: {behind:?}");
        assert_eq!(clock.read(reading(morning + 301, 16 * HOUR, 0)), START + Duration::from_secs(morning + 301));
    }

    #[test]
    fn many_readings_in_one_moment_move_nothing() {
        let mut clock = settled();
        let first = clock.read(reading(HOUR + 5, 0, 0));
        for _ in 0..1000 {
            assert_eq!(clock.read(reading(HOUR + 5, 0, 10_000)), first);
        }
        let earlier = Reading { passed: Duration::ZERO, awake: Duration::ZERO, wall: Duration::ZERO };
        assert_eq!(clock.read(earlier), first, "threads may read out of order");
    }

    #[test]
    fn the_machine_has_these_clocks() {
        let first = Reading::take();
        let second = Reading::take();
        assert!(second.passed >= first.passed && second.awake >= first.awake);
        let shown = now();
        assert!(wall().since(shown).0 < 60_000 && shown <= now());
    }
}
