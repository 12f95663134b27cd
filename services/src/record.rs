//! What is kept of every service in the framework's state, and of every identity issued for one.
use std::collections::BTreeMap;

use framework_sdk::StateStore;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::definition::ServiceDefinition;

/// Definitions hold options, which may be secret: nobody but this framework reads these keys.
const SERVICE_PREFIX: &str = "secret/service/";
const IDENTITY_PREFIX: &str = "secret/identity/";

/// A service as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// Rises with every change of the definition.
    pub generation: u64,
    /// What is wanted.
    pub definition: ServiceDefinition,
}

/// The identity of a framework whose scheduler is a service.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct IdentityRecord {
    pub(crate) ca_pem: String,
    pub(crate) cert_pem: String,
    pub(crate) key_pem: String,
    pub(crate) issued_unix_s: u64,
}

pub(crate) fn service_key(name: &str) -> String {
    format!("{SERVICE_PREFIX}{name}")
}
pub(crate) fn identity_key(name: &str) -> String {
    format!("{IDENTITY_PREFIX}{name}")
}

/// Every service, by name. A record that cannot be read is left where it is and said in the log: a newer version wrote it.
pub(crate) fn load_services(state: &StateStore) -> BTreeMap<String, ServiceRecord> {
    let mut records = BTreeMap::new();
    for key in state.keys(SERVICE_PREFIX) {
        let Some(value) = state.get(&key) else { continue };
        match serde_json::from_slice::<ServiceRecord>(&value) {
            Ok(record) => {
                records.insert(record.definition.name.clone(), record);
            }
            Err(error) => warn!(%error, key, "service record not readable, left alone"),
        }
    }
    records
}

pub(crate) fn load_identity(state: &StateStore, name: &str) -> Option<IdentityRecord> {
    serde_json::from_slice(&state.get(&identity_key(name))?).ok()
}
