//! Artifacts: uploaded by operators under their digest, read by everybody of the pool; names are pointers to digests.
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Router};
use daemon::serve::Peer;
use futures::StreamExt as _;
use http::{StatusCode, header};
use tokio_util::io::ReaderStream;

use super::{Context, known, operator};
use crate::artifacts::Digest;
use crate::limits::NAME_BYTES_MAX;
use crate::refusal::{self, Refused};

pub(super) fn routes() -> Router<Arc<Context>> {
    Router::new()
        .route("/artifacts/sha256/{digest}", get(fetch).put(upload).delete(remove))
        .route("/artifacts/names/{name}", get(resolve).put(point).layer(DefaultBodyLimit::max(NAME_BYTES_MAX)))
}

async fn fetch(
    State(context): State<Arc<Context>>,
    Extension(peer): Extension<Peer>,
    Path(digest): Path<String>,
) -> Result<Response, Refused> {
    known(Some(&peer))?;
    blob(&context, &Digest::parse(&digest)?, "application/octet-stream").await
}

/// A blob as a streamed response.
pub(super) async fn blob(context: &Context, digest: &Digest, kind: &str) -> Result<Response, Refused> {
    let (file, length) = context.artifacts.open_blob(digest).await?;
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::HeaderName::from_static("docker-content-digest"), digest.to_string()),
    ];
    let body = Body::from_stream(ReaderStream::with_capacity(file, 256 * 1024));
    Ok((headers, body).into_response())
}

async fn upload(
    State(context): State<Arc<Context>>,
    Extension(peer): Extension<Peer>,
    Path(digest): Path<String>,
    body: Body,
) -> Result<Response, Refused> {
    known(Some(&peer))?;
    let answer = match operator(Some(&peer)).and_then(|_| Digest::parse(&digest)) {
        Err(refusal) => Err(Refused(refusal)),
        // What is here was verified.
        Ok(digest) if context.artifacts.has(&digest).await => Ok(StatusCode::OK.into_response()),
        Ok(digest) => return store(&context, &digest, body).await,
    };
    // The upload is read to its end: a client that is still sending does not see an answer.
    let mut rest = body.into_data_stream();
    while let Some(Ok(_)) = rest.next().await {}
    answer
}

async fn store(context: &Context, digest: &Digest, body: Body) -> Result<Response, Refused> {
    let length = context.artifacts.put(digest, body.into_data_stream()).await?;
    tracing::info!(%digest, length, "artifact uploaded");
    Ok(StatusCode::CREATED.into_response())
}

async fn remove(
    State(context): State<Arc<Context>>,
    Extension(peer): Extension<Peer>,
    Path(digest): Path<String>,
) -> Result<StatusCode, Refused> {
    operator(Some(&peer))?;
    let digest = Digest::parse(&digest)?;
    context.artifacts.delete(&digest).await?;
    tracing::info!(%digest, "artifact deleted");
    Ok(StatusCode::NO_CONTENT)
}

async fn resolve(
    State(context): State<Arc<Context>>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
) -> Result<Response, Refused> {
    known(Some(&peer))?;
    let found = context.artifacts.named(&name)?;
    let digest = found.ok_or_else(|| {
        refusal::not_found(
            format!("no artifact is named '{name}'"),
            format!("upload one with `mezzo artifact push {name} FILE`"),
        )
    })?;
    Ok(digest.to_string().into_response())
}

async fn point(
    State(context): State<Arc<Context>>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    operator(Some(&peer))?;
    let body = refusal::body(body, NAME_BYTES_MAX)?;
    let text = std::str::from_utf8(&body).map_err(|_| refusal::malformed("body", "the body is not sha256:<hex>"))?;
    let digest = Digest::parse(text.trim())?;
    context.artifacts.set_name(&name, &digest).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
