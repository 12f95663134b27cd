//! The framework's own key-value state, kept by the master: what a scheduler must find again on any agent.
use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use model::Refusal;
use tokio::sync::{mpsc, oneshot};

use crate::engine::IN_DOUBT;
use crate::handle::Request;
use crate::limits;

/// Keys that begin so are the SDK's.
pub(crate) const OWN_PREFIX: &str = "sdk/";
/// Keys that begin so hold files of launched pods: `secret/sdk/<executor id>/<number>`.
pub(crate) const FILES_PREFIX: &str = "secret/sdk/";

/// Reads are of what is known to be stored; writes return when the master has stored them.
#[derive(Debug, Clone)]
pub struct StateStore {
    pub(crate) entries: Arc<RwLock<BTreeMap<String, Vec<u8>>>>,
    pub(crate) requests: mpsc::Sender<Request>,
}

/// Why a write was not done.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The key belongs to the SDK.
    #[error("the key '{0}' is reserved")]
    ReservedKey(String),
    /// The master refused.
    #[error("write state entry")]
    Refused(#[source] Refusal),
    /// The scheduler is ending.
    #[error("the scheduler is shutting down")]
    ShuttingDown,
}

impl StateStore {
    /// The value of a key. `None` before the first connection, too: hooks are called after it.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.read().get(key).cloned()
    }
    /// The framework's own keys that begin with a prefix.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.read()
            .range(prefix.to_owned()..)
            .map(|(key, _)| key)
            .take_while(|key| key.starts_with(prefix))
            .filter(|key| !is_reserved(key))
            .cloned()
            .collect()
    }
    /// Stores a value. While the master is away it waits.
    ///
    /// # Errors
    /// If the key is reserved, the master refuses, or the scheduler ends.
    pub async fn put(&self, key: &str, value: impl Into<Vec<u8>>) -> Result<(), StateError> {
        self.write(vec![(key.to_owned(), Some(value.into()))]).await
    }
    /// Deletes a key; it need not exist.
    ///
    /// # Errors
    /// As for [`StateStore::put`].
    pub async fn delete(&self, key: &str) -> Result<(), StateError> {
        self.write(vec![(key.to_owned(), None)]).await
    }
    /// Stores (`Some`) and deletes (`None`), all or nothing.
    ///
    /// # Errors
    /// As for [`StateStore::put`].
    pub async fn write(&self, writes: Vec<(String, Option<Vec<u8>>)>) -> Result<(), StateError> {
        if let Some((key, _)) = writes.iter().find(|(key, _)| is_reserved(key)) {
            return Err(StateError::ReservedKey(key.clone()));
        }
        loop {
            let (reply, answer) = oneshot::channel();
            let request = Request::Write { writes: writes.clone(), reply };
            self.requests.send(request).await.map_err(|_| StateError::ShuttingDown)?;
            match answer.await.map_err(|_| StateError::ShuttingDown)? {
                // Writing the same twice changes nothing.
                Err(refusal) if refusal.code == IN_DOUBT => tokio::time::sleep(limits::WRITE_RETRY).await,
                done => return done.map_err(StateError::Refused),
            }
        }
    }

    pub(crate) fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.entries.read().expect("no holder of the lock panics")
    }
}

fn is_reserved(key: &str) -> bool {
    key.starts_with(OWN_PREFIX) || key.starts_with(FILES_PREFIX)
}
