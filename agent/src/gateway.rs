//! The gateway on an agent: the master's table of names and virtual addresses, followed and kept on disk, so that clients of
//! any agent reach a framework's tasks while the master is away, also after the agent was restarted.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daemon::client::{HttpClient, HttpError};
use daemon::serve::Passthrough;
use model::gateway::Table;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::limits;

/// The newest table known.
#[derive(Debug)]
pub(crate) struct Gateway {
    table: watch::Sender<Arc<Table>>,
    path: PathBuf,
}

/// Why there is no newer table.
#[derive(Debug, thiserror::Error)]
enum GatewayError {
    #[error("ask the master for the gateway's table")]
    Ask(#[source] HttpError),
    #[error("the master did not answer in time")]
    Late,
    #[error("read the gateway's table")]
    Read(#[source] serde_json::Error),
    #[error("write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl Gateway {
    /// The table as it was left; an unreadable one is as good as none, the master has it.
    pub(crate) fn open(path: &Path) -> Arc<Self> {
        let table = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Arc::new(Self { table: watch::Sender::new(Arc::new(table)), path: path.to_owned() })
    }

    /// The table, now and whenever there is another one.
    pub(crate) fn tables(&self) -> watch::Receiver<Arc<Table>> {
        self.table.subscribe()
    }

    /// Follows the master's table until dropped.
    pub(crate) async fn follow(self: Arc<Self>, master: HttpClient) {
        let mut pause = limits::RETRY_MIN;
        loop {
            match self.next(&master).await {
                Ok(()) => pause = limits::RETRY_MIN,
                Err(error) => {
                    if pause == limits::RETRY_MIN {
                        warn!(error = %daemon::error::chain(&error), "the gateway goes on with the table it has");
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(limits::GATEWAY_RETRY_MAX);
                }
            }
        }
    }

    async fn next(&self, master: &HttpClient) -> Result<(), GatewayError> {
        let known = self.table.borrow().clone();
        let path = format!("/v1/gateway?known={}", known.tag);
        let answer = tokio::time::timeout(limits::GATEWAY_ANSWER, master.get(&path, limits::GATEWAY_TABLE_BYTES_MAX));
        let bytes = answer.await.map_err(|_| GatewayError::Late)?.map_err(GatewayError::Ask)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let table: Table = serde_json::from_slice(&bytes).map_err(GatewayError::Read)?;
        let table = table.after(&known);
        let bytes = serde_json::to_vec(&table).map_err(GatewayError::Read)?;
        let fresh = self.path.with_extension("new");
        std::fs::write(&fresh, &bytes)
            .and_then(|()| std::fs::rename(&fresh, &self.path))
            .map_err(|source| GatewayError::Write { path: self.path.clone(), source })?;
        info!(names = table.names.len(), vips = table.vips.len(), "the gateway has a new table");
        self.table.send_replace(Arc::new(table));
        Ok(())
    }
}

impl Passthrough for Gateway {
    fn backends(&self, server_name: &str) -> Option<Vec<SocketAddr>> {
        self.table.borrow().names.get(server_name).cloned()
    }
}
