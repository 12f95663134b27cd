//! A door for `tests/fuzz` to what a scheduler reads of its own state; nothing else goes through it.
use std::collections::BTreeMap;

use framework_core::record::Snapshot;

use crate::records::{self, RecordError};

/// What a scheduler begins with.
///
/// # Errors
/// Why the state is refused.
pub fn snapshot(state: &BTreeMap<String, Vec<u8>>) -> Result<Snapshot, RecordError> {
    records::snapshot(state)
}
