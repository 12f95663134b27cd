//! Join tokens: one use, expiring. The registry has only their hashes.
use std::sync::Arc;
use std::time::Duration;

use model::{Refusal, Timestamp};
use proto::mezzo::v1::JoinTokenRecord;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use crate::limits;
use crate::refusal;
use crate::registry::record::{self, millis};
use crate::registry::{FORMAT, Registry, Table, Write};
use crate::runner::now;

/// The tokens of a pool.
pub(crate) struct Tokens {
    registry: Arc<dyn Registry>,
    /// Taking a token is read, check, write: one at a time.
    turn: Mutex<()>,
}

impl Tokens {
    pub(crate) fn new(registry: Arc<dyn Registry>) -> Self {
        Self { registry, turn: Mutex::new(()) }
    }

    /// Makes a token; the answer is the token and when it expires.
    pub(crate) async fn create(&self, valid: Duration) -> Result<(String, Timestamp), Refusal> {
        let _turn = self.turn.lock().await;
        let valid = if valid.is_zero() { limits::TOKEN_VALID } else { valid.min(limits::TOKEN_VALID_MAX) };
        let expires = Timestamp(now().0.saturating_add(u64::try_from(valid.as_millis()).unwrap_or(u64::MAX)));
        let mut writes = self.expired()?;
        let token = hex::encode(rand::random::<[u8; 32]>());
        let hash = Sha256::digest(token.as_bytes()).to_vec();
        let token_record = JoinTokenRecord {
            version: FORMAT,
            token_sha256: hash.clone().into(),
            expires_unix_ms: millis(expires),
            used: false,
        };
        writes.push(record::put(Table::Tokens, hash, &token_record));
        self.registry.commit(writes).await.map_err(|error| refusal::failed("write the join token", &error))?;
        Ok((token, expires))
    }

    /// Uses a token up. When this has returned `Ok` no other call will, not even after a restart.
    pub(crate) async fn take(&self, token: &str) -> Result<(), Refusal> {
        let _turn = self.turn.lock().await;
        let hash = Sha256::digest(token.as_bytes()).to_vec();
        let found =
            self.registry.get(Table::Tokens, &hash).map_err(|error| refusal::failed("read the join token", &error))?;
        let unknown =
            || refusal::bad_token("the join token is not known: it was used, has expired, or was never given");
        let bytes = found.ok_or_else(unknown)?;
        let found: JoinTokenRecord = record::read(Table::Tokens, &hash, &bytes)
            .map_err(|error| refusal::failed("read the join token", &error))?;
        if found.used || found.expires_unix_ms <= millis(now()) {
            return Err(unknown());
        }
        let used = vec![Write::Delete { table: Table::Tokens, key: hash }];
        self.registry.commit(used).await.map_err(|error| refusal::failed("use the join token", &error))
    }

    /// Deletes what has expired; refuses more than the limit.
    fn expired(&self) -> Result<Vec<Write>, Refusal> {
        let all = record::read_all::<JoinTokenRecord>(&*self.registry, Table::Tokens)
            .map_err(|error| refusal::failed("read the join tokens", &error))?;
        let total = all.len();
        let at = millis(now());
        let writes: Vec<_> = all
            .into_iter()
            .filter(|(_, token)| token.used || token.expires_unix_ms <= at)
            .map(|(key, _)| Write::Delete { table: Table::Tokens, key })
            .collect();
        if total - writes.len() >= limits::TOKENS_MAX {
            let limit = limits::TOKENS_MAX;
            return Err(refusal::too_much(
                format!("{limit} join tokens are unused"),
                "use them, or wait until they expire",
            ));
        }
        Ok(writes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::RedbRegistry;

    #[tokio::test]
    async fn a_token_can_be_used_once() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let tokens = Tokens::new(Arc::new(RedbRegistry::open(&dir.path().join("r")).expect("opened")));
        let (token, expires) = tokens.create(Duration::ZERO).await.expect("made");
        assert!(expires > now());
        let (first, second) = tokio::join!(tokens.take(&token), tokens.take(&token));
        assert_eq!([first.is_ok(), second.is_ok()].iter().filter(|taken| **taken).count(), 1);
        assert_eq!(tokens.take("guess").await.expect_err("unknown").code, "MST0102");
        let (short, _) = tokens.create(Duration::from_nanos(1)).await.expect("made");
        assert_eq!(tokens.take(&short).await.expect_err("expired").code, "MST0102");
    }
}
