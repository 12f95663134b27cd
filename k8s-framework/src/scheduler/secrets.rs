//! The cluster's keys: made once, kept in the framework's state below `secret/`, where nothing shows them.
use std::collections::BTreeMap;

use framework_sdk::StateStore;
use kubernetes_core::pki::{self, Authority};
use model::Refusal;
use serde::{Deserialize, Serialize};

use crate::pki::{Pair, PkiError, authority, issue, service_account};
use daemon::error::chain;

/// State entry with [`Secrets`].
pub(super) const KEY: &str = "secret/pki";

/// Whether there are some.
pub(super) fn are_stored(state: &StateStore) -> bool {
    state.get(KEY).is_some()
}

/// Everything that is made before anything runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Secrets {
    authorities: BTreeMap<String, Pair>,
    clients: BTreeMap<String, Pair>,
    service_account: Pair,
    /// Certificates of other authorities that are believed, too, by stem: while authorities change.
    #[serde(default)]
    also_trusted: BTreeMap<String, Vec<String>>,
}

impl Secrets {
    /// Reads them, or makes and stores them.
    ///
    /// # Errors
    /// If what is stored cannot be read, or nothing can be stored.
    pub(super) async fn load_or_make(state: &StateStore, days: u32) -> Result<Self, Refusal> {
        if let Some(bytes) = state.get(KEY) {
            return serde_json::from_slice(&bytes).map_err(|error| {
                Refusal::new(
                    "K8S0004",
                    format!("the cluster's keys cannot be read: {error}"),
                    "restore the framework's state",
                )
            });
        }
        let made = tokio::task::spawn_blocking(move || Self::make(days)).await;
        let secrets = made.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        let bytes = serde_json::to_vec(&secrets).map_err(|error| failed(&error))?;
        state.put(KEY, bytes).await.map_err(|error| failed(&error))?;
        Ok(secrets)
    }

    pub(super) fn make(days: u32) -> Result<Self, PkiError> {
        let mut authorities = BTreeMap::new();
        for one in Authority::ALL {
            authorities.insert(one.stem().to_owned(), authority(one)?);
        }
        let mut clients = BTreeMap::new();
        for leaf in pki::clients() {
            clients.insert(leaf.stem.clone(), issue(&authorities[leaf.authority.stem()], &leaf, days)?);
        }
        Ok(Self { authorities, clients, service_account: service_account()?, also_trusted: BTreeMap::new() })
    }

    /// An authority.
    pub(super) fn authority(&self, which: Authority) -> &Pair {
        &self.authorities[which.stem()]
    }
    /// Whom to believe: the authority that signs, then others. Several PEM certificates while authorities change.
    pub(super) fn trust(&self, which: Authority) -> String {
        let others = self.also_trusted.get(which.stem());
        let mut bundle = self.authority(which).certificate.clone();
        for other in others.into_iter().flatten() {
            bundle.push_str(other);
        }
        bundle
    }
    /// A client's certificate, by its stem in the plan.
    pub(super) fn client(&self, stem: &str) -> &Pair {
        &self.clients[stem]
    }
    /// The key of service account tokens.
    pub(super) fn service_account(&self) -> &Pair {
        &self.service_account
    }
    /// A certificate for an address.
    ///
    /// # Errors
    /// If the library cannot.
    pub(super) fn issue(&self, leaf: &pki::Leaf, days: u32) -> Result<Pair, Refusal> {
        issue(self.authority(leaf.authority), leaf, days).map_err(|error| failed(&error))
    }
}

fn failed(error: &dyn std::error::Error) -> Refusal {
    Refusal::new("K8S0005", format!("the cluster's keys are not made: {}", chain(error)), "it is tried again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_read_back() {
        let made = Secrets::make(30).expect("made");
        let read: Secrets = serde_json::from_slice(&serde_json::to_vec(&made).expect("JSON")).expect("readable");
        assert_eq!(read.client("admin"), made.client("admin"));
        assert_eq!(read.authority(Authority::Etcd), made.authority(Authority::Etcd));
        assert_ne!(read.authority(Authority::Etcd), made.authority(Authority::Cluster));
    }
}
