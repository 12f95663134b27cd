//! What a task answers to its check: a program of a stranger, spoken to by its executor.
use crate::{block_on, check};

/// An answer, byte for byte.
pub fn target(data: &[u8]) {
    let words = match block_on(executor::fuzzing::http_answer(data, "/healthz")) {
        Ok(words) | Err(words) => words,
    };
    // The body is cut off after 4096 bytes; what is no text of it grows threefold.
    check::words(&words.chars().take(1000).collect::<String>());
    assert!(words.len() <= 4 * check::MESSAGE_BYTES_MAX, "{} bytes", words.len());
}
