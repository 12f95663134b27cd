//! How long to wait before trying again.
use model::Span;

/// The wait after the `failures`-th failure (from 1): doubles from `min`, never above `max`.
pub fn wait(failures: u32, min: Span, max: Span) -> Span {
    let doubled = failures.saturating_sub(1).min(20);
    Span(min.0.saturating_mul(1 << doubled)).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit() {
        let waits: Vec<u64> = (1..=8).map(|n| wait(n, Span::seconds(1), Span::seconds(60)).0 / 1000).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(wait(u32::MAX, Span::seconds(1), Span::seconds(60)), Span::seconds(60));
    }
}
