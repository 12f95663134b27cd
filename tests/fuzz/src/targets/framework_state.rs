//! What a scheduler kept in the pool, as it is when it comes back.
use std::collections::BTreeMap;

use framework_sdk::spec::InstanceName;

use crate::{check, parts};

/// A key and what is kept under it.
pub fn target(data: &[u8]) {
    let [key, value] = parts::of(data);
    let Ok(key) = std::str::from_utf8(key) else { return };
    let state = BTreeMap::from([(key.to_owned(), value.to_vec())]);
    match framework_sdk::fuzzing::snapshot(&state) {
        Err(error) => check::said(&error.to_string()),
        Ok(snapshot) => {
            // A specification that was kept is judged again before it is used.
            for spec in [&snapshot.target, &snapshot.good].into_iter().flatten() {
                if let Err(error) = spec.validate() {
                    check::said(&error.to_string());
                }
            }
        }
    }
    match key.parse::<InstanceName>() {
        Ok(name) => assert_eq!(name.to_string().parse().as_ref(), Ok(&name)),
        Err(error) => check::said(&error.to_string()),
    }
}
