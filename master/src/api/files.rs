//! `/files/<framework>/<name>`: what a framework keeps in the pool, for itself and for operators.
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use daemon::serve::Peer;
use http::{StatusCode, header};
use model::Refusal;
use tokio_util::io::ReaderStream;

use super::{Context, known};
use crate::files::Kept;
use crate::refusal::{self, Refused};

pub(super) fn routes() -> Router<Arc<Context>> {
    Router::new()
        .route("/files/{framework}", get(list))
        .route("/files/{framework}/{name}", get(fetch).put(store).delete(remove))
}

/// The framework itself, or an operator.
fn owner(peer: &Peer, framework: &str) -> Result<(), Refusal> {
    let principal = known(Some(peer))?;
    if principal.is_operator() || principal.as_str() == format!("framework/{framework}") {
        return Ok(());
    }
    let message = format!("{principal} may not use the files of framework '{framework}'");
    Err(refusal::forbidden(message, "use the framework's or an operator's identity"))
}

async fn list(
    State(context): State<Arc<Context>>,
    Extension(peer): Extension<Peer>,
    Path(framework): Path<String>,
) -> Result<Json<Vec<Kept>>, Refused> {
    owner(&peer, &framework)?;
    Ok(Json(context.artifacts.files().list(&framework).await?))
}

async fn fetch(
    State(context): State<Arc<Context>>,
    Extension(peer): Extension<Peer>,
    Path((framework, name)): Path<(String, String)>,
) -> Result<Response, Refused> {
    owner(&peer, &framework)?;
    let (file, length) = context.artifacts.files().read(&framework, &name).await?;
    let headers =
        [(header::CONTENT_TYPE, "application/octet-stream".to_owned()), (header::CONTENT_LENGTH, length.to_string())];
    Ok((headers, Body::from_stream(ReaderStream::with_capacity(file, 256 * 1024))).into_response())
}

async fn store(
    State(context): State<Arc<Context>>,
    Extension(peer): Extension<Peer>,
    Path((framework, name)): Path<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refused> {
    owner(&peer, &framework)?;
    let length = context.artifacts.files().write(&framework, &name, body.into_data_stream()).await?;
    tracing::info!(framework, name, length, "file of a framework kept");
    Ok(StatusCode::CREATED)
}

async fn remove(
    State(context): State<Arc<Context>>,
    Extension(peer): Extension<Peer>,
    Path((framework, name)): Path<(String, String)>,
) -> Result<StatusCode, Refused> {
    owner(&peer, &framework)?;
    context.artifacts.files().delete(&framework, &name).await?;
    tracing::info!(framework, name, "file of a framework deleted");
    Ok(StatusCode::NO_CONTENT)
}
