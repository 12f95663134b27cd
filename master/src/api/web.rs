//! Health and metrics.
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use daemon::serve::Peer;
use http::header;
use serde_json::json;

use super::{Context, known};
use crate::refusal::Refused;

pub(super) fn routes() -> Router<Arc<Context>> {
    Router::new().route("/v1/health", get(health)).route("/metrics", get(metrics))
}

/// For anybody: it says nothing but that the master serves, and which epoch.
async fn health(State(context): State<Arc<Context>>) -> Response {
    Json(json!({"status": "ok", "epoch": context.pool.epoch, "pool": context.pool.name})).into_response()
}

async fn metrics(State(context): State<Arc<Context>>, Extension(peer): Extension<Peer>) -> Result<Response, Refused> {
    known(Some(&peer))?;
    let text = context.metrics.text(&context.view.read());
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
