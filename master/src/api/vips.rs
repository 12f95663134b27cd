//! Virtual addresses: frameworks lease them by name. The answer comes when the lease is durable; asking again finds the same.
use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::put;
use axum::{Extension, Json, Router};
use daemon::serve::Peer;
use master_core::OperatorRequest;
use serde::Serialize;

use super::{Context, known};
use crate::refusal::{Refused, not_found};

pub(super) fn routes() -> Router<Arc<Context>> {
    Router::new().route("/v1/frameworks/{framework}/vips/{name}", put(lease))
}

#[derive(Serialize)]
struct Leased {
    address: Ipv4Addr,
}

async fn lease(
    State(context): State<Arc<Context>>,
    Extension(peer): Extension<Peer>,
    Path((framework, name)): Path<(String, String)>,
) -> Result<Json<Leased>, Refused> {
    let principal = known(Some(&peer))?.clone();
    let ask = OperatorRequest::LeaseVip { framework: framework.clone(), name: name.clone(), principal };
    context.core.ask(ask).await?;
    let view = context.view.read();
    let leased = view.framework(&framework).and_then(|found| view.vips.get(&(found.id.clone(), name.clone())));
    leased.map(|address| Json(Leased { address: *address })).ok_or_else(|| {
        // It was leased a moment ago: its framework ended meanwhile.
        Refused(not_found(format!("framework '{framework}' has no VIP '{name}'"), "see `mezzo framework list`"))
    })
}
