//! The cluster's keys: made once, kept in the framework's state below `secret/`, where nothing shows them.
use std::collections::BTreeMap;

use framework_sdk::StateStore;
use kubernetes_core::certificates::Phase;
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
    /// Those that will sign when everybody believes them.
    #[serde(default)]
    next: BTreeMap<String, Pair>,
}

impl Secrets {
    /// Reads them, or makes and stores them.
    ///
    /// # Errors
    /// If what is stored cannot be read, or nothing can be stored.
    pub(super) async fn load_or_make(state: &StateStore, seconds: u64) -> Result<Self, Refusal> {
        if let Some(bytes) = state.get(KEY) {
            return serde_json::from_slice(&bytes).map_err(|error| {
                Refusal::new(
                    "K8S0004",
                    format!("the cluster's keys cannot be read: {error}"),
                    "restore the framework's state",
                )
            });
        }
        let made = tokio::task::spawn_blocking(move || Self::make(seconds)).await;
        let secrets = made.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        let bytes = serde_json::to_vec(&secrets).map_err(|error| failed(&error))?;
        state.put(KEY, bytes).await.map_err(|error| failed(&error))?;
        Ok(secrets)
    }

    pub(super) fn make(seconds: u64) -> Result<Self, PkiError> {
        let mut authorities = BTreeMap::new();
        for one in Authority::ALL {
            authorities.insert(one.stem().to_owned(), authority(one)?);
        }
        let mut clients = BTreeMap::new();
        for leaf in pki::clients() {
            clients.insert(leaf.stem.clone(), issue(&authorities[leaf.authority.stem()], &leaf, seconds)?);
        }
        Ok(Self {
            authorities,
            clients,
            service_account: service_account()?,
            also_trusted: BTreeMap::new(),
            next: BTreeMap::new(),
        })
    }

    /// Stores them, changed.
    ///
    /// # Errors
    /// If nothing can be stored.
    pub(super) async fn store(&self, state: &StateStore) -> Result<(), Refusal> {
        let bytes = serde_json::to_vec(self).map_err(|error| failed(&error))?;
        state.put(KEY, bytes).await.map_err(|error| failed(&error))
    }

    /// How far a change of authorities is.
    pub(super) fn phase(&self) -> Phase {
        match (self.next.is_empty(), self.also_trusted.is_empty()) {
            (false, _) => Phase::Trusting,
            (true, false) => Phase::Switching,
            (true, true) => Phase::Settled,
        }
    }

    /// Makes the authorities that will sign; from now on they are believed, too.
    pub(super) fn with_next(&self) -> Result<Self, PkiError> {
        let mut changed = self.clone();
        for one in Authority::ALL {
            let made = authority(one)?;
            changed.also_trusted.insert(one.stem().to_owned(), vec![made.certificate.clone()]);
            changed.next.insert(one.stem().to_owned(), made);
        }
        Ok(changed)
    }

    /// Those that follow sign from now on; those before are still believed.
    pub(super) fn switched(&self, seconds: u64) -> Result<Self, PkiError> {
        let mut changed = self.clone();
        for (stem, made) in std::mem::take(&mut changed.next) {
            if let Some(before) = changed.authorities.insert(stem.clone(), made) {
                changed.also_trusted.insert(stem, vec![before.certificate]);
            }
        }
        changed.renewed(seconds, |_| true)
    }

    /// Those before are believed no more.
    pub(super) fn settled(&self) -> Self {
        Self { also_trusted: BTreeMap::new(), ..self.clone() }
    }

    /// With new certificates for the clients that are meant.
    pub(super) fn renewed(&self, seconds: u64, is_meant: impl Fn(&Pair) -> bool) -> Result<Self, PkiError> {
        let mut changed = self.clone();
        for leaf in pki::clients() {
            if changed.clients.get(&leaf.stem).is_none_or(&is_meant) {
                let made = issue(self.authority(leaf.authority), &leaf, seconds)?;
                changed.clients.insert(leaf.stem, made);
            }
        }
        Ok(changed)
    }

    /// Every client, by stem.
    pub(super) fn clients(&self) -> impl Iterator<Item = (&String, &Pair)> {
        self.clients.iter()
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
    pub(super) fn issue(&self, leaf: &pki::Leaf, seconds: u64) -> Result<Pair, Refusal> {
        issue(self.authority(leaf.authority), leaf, seconds).map_err(|error| failed(&error))
    }
}

fn failed(error: &dyn std::error::Error) -> Refusal {
    Refusal::new("K8S0005", format!("the cluster's keys are not made: {}", chain(error)), "it is tried again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_change_in_phases_and_clients_are_signed_by_who_signs_now() {
        let old = Secrets::make(30).expect("made");
        assert_eq!((old.phase(), Phase::Settled), (Phase::Settled, old.settled().phase()));
        let trusting = old.with_next().expect("made");
        assert_eq!((trusting.phase(), trusting.client("admin")), (Phase::Trusting, old.client("admin")));
        assert_eq!(trusting.authority(Authority::Etcd), old.authority(Authority::Etcd));
        let switching = trusting.switched(30).expect("made");
        assert_eq!(switching.phase(), Phase::Switching);
        let both = |secrets: &Secrets| {
            let mut all: Vec<String> = secrets
                .trust(Authority::Cluster)
                .split_inclusive("-----END CERTIFICATE-----")
                .map(|one| one.trim().to_owned())
                .collect();
            all.retain(|one| !one.is_empty());
            all.sort();
            all
        };
        assert_eq!((both(&trusting), both(&trusting).len()), (both(&switching), 2));
        assert_ne!(switching.client("admin"), old.client("admin"));
        let settled = switching.settled();
        assert_eq!((settled.phase(), both(&settled).len()), (Phase::Settled, 1));
        assert_eq!(settled.service_account(), old.service_account());
    }

    #[tokio::test]
    async fn keys_that_cannot_be_read_or_kept_are_not_made_anew() {
        let damaged = [(KEY.to_owned(), b"{".to_vec())].into();
        let handle = framework_sdk::Handle::ended("demo", damaged).expect("made");
        let refusal = Secrets::load_or_make(handle.state(), 30).await.map(drop).expect_err("damaged");
        assert!(refusal.code == "K8S0004" && refusal.message.contains("cannot be read"), "{refusal}");
        assert_eq!(handle.state().get(KEY), Some(b"{".to_vec()), "they may be mended");
        let handle = framework_sdk::Handle::ended("demo", Default::default()).expect("made");
        let refusal = Secrets::load_or_make(handle.state(), 30).await.map(drop).expect_err("not stored");
        assert!(refusal.code == "K8S0005" && refusal.message.contains("are not made"), "{refusal}");
        assert_eq!(handle.state().get(KEY), None);
    }

    #[test]
    fn what_was_made_is_read_back() {
        let made = Secrets::make(30).expect("made");
        let read: Secrets = serde_json::from_slice(&serde_json::to_vec(&made).expect("JSON")).expect("readable");
        assert_eq!(read.client("admin"), made.client("admin"));
        assert_eq!(read.authority(Authority::Etcd), made.authority(Authority::Etcd));
        assert_ne!(read.authority(Authority::Etcd), made.authority(Authority::Cluster));
    }
}
