//! `/service/<name>/...` for operators.
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::any;
use axum::{Extension, Router};
use daemon::serve::Peer;

use super::{Context, operator};
use crate::refusal::Refused;

pub(super) fn routes() -> Router<Arc<Context>> {
    Router::new()
        .route("/service/{name}", any(forward))
        .route("/service/{name}/", any(forward))
        .route("/service/{name}/{*path}", any(forward))
}

async fn forward(
    State(context): State<Arc<Context>>,
    Extension(peer): Extension<Peer>,
    Path(parts): Path<Vec<(String, String)>>,
    request: Request<Body>,
) -> Result<Response, Refused> {
    let principal = operator(Some(&peer))?;
    let name = parts.first().map(|(_, name)| name.as_str()).unwrap_or_default();
    // As it was sent: decoding and encoding again could change what it means.
    let path = request.uri().path();
    let rest = path.strip_prefix("/service/").and_then(|rest| rest.split_once('/')).map_or("", |(_, rest)| rest);
    let path = format!("/{rest}");
    Ok(context.proxy.forward(name, &path, principal.as_str(), request).await?)
}
