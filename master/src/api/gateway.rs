//! The gateway's table for agents: they serve the same names, so that a dead master cuts nobody off. A client says which
//! table it has and is answered when there is another one, or after a while.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Extension, Json, Router};
use daemon::serve::Peer;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Context, known};
use crate::limits;
use crate::refusal::Refused;

pub(super) fn routes() -> Router<Arc<Context>> {
    Router::new().route("/v1/gateway", get(table))
}

#[derive(Deserialize)]
struct Wanted {
    /// Tag of the table the client has; empty: none.
    #[serde(default)]
    known: String,
}

#[derive(Serialize)]
struct Table {
    /// Changes with the names.
    tag: String,
    /// Backends of every name.
    names: BTreeMap<String, Vec<SocketAddr>>,
}

async fn table(
    State(context): State<Arc<Context>>,
    Extension(peer): Extension<Peer>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Table>, Refused> {
    known(Some(&peer))?;
    let deadline = tokio::time::Instant::now() + limits::GATEWAY_POLL;
    let mut changes = context.view.changes();
    loop {
        changes.borrow_and_update();
        let names = context.view.read().gateway_names();
        let json = serde_json::to_vec(&names).expect("names and addresses are JSON");
        let tag = hex::encode(Sha256::digest(json));
        if tag != wanted.known {
            return Ok(Json(Table { tag, names }));
        }
        // The view changes with every status; a table is made at most ten times a second.
        tokio::time::sleep(limits::GATEWAY_PAUSE).await;
        if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
            return Ok(Json(Table { tag, names }));
        }
    }
}
