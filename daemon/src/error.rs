//! The error chain: our errors name operation and subject only, so what happened is read from all of them together.
use std::error::Error;
use std::fmt::Write as _;

/// The error and everything that caused it, `: ` between them. A cause that the text above already holds is skipped,
/// because some libraries repeat their source.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            // Writing to a String cannot fail.
            let _ = write!(text, ": {words}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::chain;

    #[derive(Debug, thiserror::Error)]
    #[error("read {path}")]
    struct Read {
        path: &'static str,
        #[source]
        source: std::io::Error,
    }

    #[test]
    fn every_cause_is_told_once() {
        let error = Read { path: "a", source: std::io::Error::other("disk on fire") };
        assert_eq!(chain(&error), "read a: disk on fire");
    }
}
