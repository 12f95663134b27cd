//! The stored form of the core's records: JSON under keys that begin with `sdk/`.
use std::collections::BTreeMap;

use framework_core::record::{Meta, Snapshot, UnitKey, VERSION, Write};
use model::ExecutorId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::state::{FILES_PREFIX, OWN_PREFIX};

const META: &str = "sdk/meta";
const TARGET: &str = "sdk/target";
const GOOD: &str = "sdk/good";
const UNDONE: &str = "sdk/undone";
const UNIT: &str = "sdk/unit/";
const DECOMMISSION: &str = "sdk/decommission/";
const PLAN: &str = "sdk/plan/";

/// Why the stored state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A value is not what it should be.
    #[error("read state entry '{key}'")]
    Malformed {
        /// Which entry.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// It was written by a newer scheduler.
    #[error("the state has format {0}, this scheduler knows {VERSION}")]
    Newer(u32),
}

/// One change of the key-value state.
pub(crate) type Entry = (String, Option<Vec<u8>>);

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("records have string keys and no failing serializer")
}

/// A unit with its key, which `Display` cannot be turned back into.
#[derive(serde::Serialize, serde::Deserialize)]
struct StoredUnit<U> {
    key: UnitKey,
    record: U,
}

/// A write as entries. Files of a launch that is over are found among the `known` keys.
pub(crate) fn entries(write: Write, known: &BTreeMap<String, Vec<u8>>) -> Vec<Entry> {
    match write {
        Write::Meta(meta) => vec![(META.to_owned(), Some(json(&meta)))],
        Write::Target(target) => vec![(TARGET.to_owned(), Some(json(&target)))],
        Write::Good(good) => vec![(GOOD.to_owned(), Some(json(&good)))],
        Write::Undone(undone) => vec![(UNDONE.to_owned(), undone.as_ref().map(json))],
        Write::Unit(key, record) => {
            let value = record.map(|record| json(&StoredUnit { key: key.clone(), record }));
            vec![(format!("{UNIT}{key}"), value)]
        }
        Write::Decommission(instance, record) => vec![(format!("{DECOMMISSION}{instance}"), record.as_ref().map(json))],
        Write::Plan(plan, record) => vec![(format!("{PLAN}{plan}"), record.as_ref().map(json))],
        Write::ForgetFiles(executor) => {
            let prefix = files_prefix(&executor);
            known
                .range(prefix.clone()..)
                .map(|(key, _)| key)
                .take_while(|key| key.starts_with(&prefix))
                .map(|key| (key.clone(), None))
                .collect()
        }
    }
}

/// Where the files of a launch are.
pub(crate) fn files_prefix(executor: &ExecutorId) -> String {
    format!("{FILES_PREFIX}{executor}/")
}

/// The writes that leave nothing but the mark that the service was removed.
pub(crate) fn erasure(known: &BTreeMap<String, Vec<u8>>) -> Vec<Entry> {
    let meta = Meta { uninstalling: true, uninstalled: true, ..Meta::default() };
    // The mark comes first: what follows may be cut into several calls.
    let mut entries = vec![(META.to_owned(), Some(json(&meta)))];
    entries.extend(known.keys().filter(|key| *key != META).map(|key| (key.clone(), None)));
    entries
}

/// What the core stored.
pub(crate) fn snapshot(known: &BTreeMap<String, Vec<u8>>) -> Result<Snapshot, RecordError> {
    let mut snapshot = Snapshot::default();
    for (key, value) in known.range(OWN_PREFIX.to_owned()..).take_while(|(key, _)| key.starts_with(OWN_PREFIX)) {
        if key == META {
            snapshot.meta = parse(key, value)?;
            if snapshot.meta.version > VERSION {
                return Err(RecordError::Newer(snapshot.meta.version));
            }
        } else if key == TARGET {
            snapshot.target = Some(parse(key, value)?);
        } else if key == GOOD {
            snapshot.good = Some(parse(key, value)?);
        } else if key == UNDONE {
            snapshot.undone = Some(parse(key, value)?);
        } else if key.starts_with(UNIT) {
            let stored: StoredUnit<framework_core::record::UnitRecord> = parse(key, value)?;
            snapshot.units.insert(stored.key, stored.record);
        } else if let Some(instance) = key.strip_prefix(DECOMMISSION) {
            let record = parse(key, value)?;
            if let Ok(instance) = instance.parse() {
                snapshot.decommissions.insert(instance, record);
            }
        } else if let Some(plan) = key.strip_prefix(PLAN) {
            snapshot.plans.insert(plan.to_owned(), parse(key, value)?);
        }
    }
    Ok(snapshot)
}

fn parse<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, RecordError> {
    serde_json::from_slice(value).map_err(|source| RecordError::Malformed { key: key.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use framework_core::record::{UnitRecord, Write};
    use framework_core::spec::InstanceName;

    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_files_are_forgotten() {
        let key = UnitKey::new(InstanceName::new("web", 1), &["a".to_owned(), "b".to_owned()]);
        let unit = UnitRecord { failures: 3, ..UnitRecord::default() };
        let mut known = BTreeMap::new();
        let executor = ExecutorId::new("web-1.7").expect("valid");
        for write in [
            Write::Meta(Meta { launches: 7, ..Meta::default() }),
            Write::Unit(key.clone(), Some(Box::new(unit.clone()))),
        ] {
            for (key, value) in entries(write, &known.clone()) {
                known.insert(key, value.expect("nothing is deleted"));
            }
        }
        let read = snapshot(&known).expect("readable");
        assert_eq!(read.meta.launches, 7);
        assert_eq!(read.units, BTreeMap::from([(key, unit)]));
        known.insert("secret/sdk/web-1.7/0".to_owned(), vec![1]);
        known.insert("secret/sdk/web-1.70/0".to_owned(), vec![1]);
        assert_eq!(entries(Write::ForgetFiles(executor), &known), [("secret/sdk/web-1.7/0".to_owned(), None)]);
    }
}
