//! Checkpoints of an agent: its own, but on a disk that may lie.
use agent_core::{AgentRecord, LaunchRecord, ProgressRecord};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// One file.
pub fn target(data: &[u8]) {
    read::<AgentRecord>(data);
    read::<LaunchRecord>(data);
    read::<ProgressRecord>(data);
}

fn read<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(data: &[u8]) {
    let Ok(record) = serde_json::from_slice::<T>(data) else { return };
    let again = serde_json::to_vec(&record).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<T>(&again).ok().as_ref(), Some(&record));
}
