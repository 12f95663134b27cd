//! The table of names and virtual addresses for agents: they serve the same, so that a dead master cuts nobody off. A client
//! says which table it has and is answered when there is another one, or after a while, then with nothing.
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Router};
use daemon::serve::Peer;
use http::{StatusCode, header};
use serde::Deserialize;

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

async fn table(
    State(context): State<Arc<Context>>,
    Extension(peer): Extension<Peer>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Refused> {
    known(Some(&peer))?;
    let mut newest = context.table.clone();
    let other = newest.wait_for(|table| table.as_ref().is_some_and(|table| table.tag != wanted.known));
    match tokio::time::timeout(limits::GATEWAY_POLL, other).await {
        Ok(Ok(table)) => {
            let json = table.as_ref().map(|table| table.json.clone()).unwrap_or_default();
            Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
        }
        // Nothing new, or the master is stopping.
        Ok(Err(_)) | Err(_) => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}
