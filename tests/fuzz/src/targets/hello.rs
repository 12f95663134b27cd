//! The first bytes of every connection: read before anybody is known.
use crate::{block_on, check};

/// A connection's first bytes.
pub fn target(data: &[u8]) {
    match block_on(daemon::fuzzing::hello(data)) {
        Ok((name, read)) => {
            assert!(read <= data.len());
            if let Some(name) = name {
                assert!(!name.is_empty() && name.len() <= 255 && !name.contains(char::is_whitespace), "{name:?}");
                assert_eq!(name, name.to_ascii_lowercase());
            }
        }
        Err(words) => check::words(&words),
    }
}
