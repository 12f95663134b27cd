//! Waiting for a condition, with a deadline. The only place where a test sleeps.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const POLL: Duration = Duration::from_millis(100);

/// Asks until there is an answer. An error is an answer not yet given; the last one is in the message when time is up.
pub fn eventually<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        let asked = ask();
        if let Ok(Some(answer)) = asked {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            match asked {
                Err(error) => return Err(error.context(format!("{what}: not within {} s", within.as_secs()))),
                Ok(_) => bail!("{what}: not within {} s", within.as_secs()),
            }
        }
        std::thread::sleep(POLL);
    }
}

/// Waits until something holds.
pub fn until(what: &str, within: Duration, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    eventually(what, within, || Ok(holds()?.then_some(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_returned_when_it_comes() {
        let mut asked = 0;
        let answer = eventually("the third time", Duration::from_secs(10), || {
            asked += 1;
            Ok((asked == 3).then_some(asked))
        });
        assert_eq!(answer.expect("an answer"), 3);
    }

    #[test]
    fn the_last_error_is_told_when_time_is_up() {
        let error = until("never", Duration::ZERO, || bail!("no route")).expect_err("an error");
        assert_eq!(format!("{error:#}"), "never: not within 0 s: no route");
    }
}
