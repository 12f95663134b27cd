//! The reading half of the OCI distribution API, and the one write mezzo needs: a tag for a manifest whose blobs are here.
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use daemon::serve::Peer;
use http::{StatusCode, header};
use model::Refusal;
use serde_json::{Value, json};

use super::{Context, known, operator};
use crate::artifacts::{Digest, check_tag};
use crate::limits::MANIFEST_BYTES_MAX;
use crate::refusal::{self, Refused};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub(super) fn routes() -> Router<Arc<Context>> {
    Router::new()
        .route("/v2/", get(version))
        .route("/v2/{*rest}", get(read).put(tag).layer(DefaultBodyLimit::max(MANIFEST_BYTES_MAX)))
}

async fn version(Extension(peer): Extension<Peer>) -> Result<Response, Refused> {
    known(Some(&peer))?;
    Ok(([("docker-distribution-api-version", "registry/2.0")], Json(json!({}))).into_response())
}

/// What a path below `/v2/` names. Repositories may have slashes, so it is read from its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    Manifest { repository: &'a str, reference: &'a str },
    Blob { digest: &'a str },
}

pub(super) fn target(rest: &str) -> Result<Target<'_>, Refusal> {
    let unknown = || {
        refusal::not_found(
            format!("'/v2/{rest}' is neither a manifest nor a blob"),
            "see the OCI distribution specification",
        )
    };
    let (before, last) = rest.rsplit_once('/').ok_or_else(unknown)?;
    let (repository, kind) = before.rsplit_once('/').ok_or_else(unknown)?;
    match kind {
        "manifests" => Ok(Target::Manifest { repository, reference: last }),
        "blobs" => Ok(Target::Blob { digest: last }),
        _ => Err(unknown()),
    }
}

async fn read(
    State(context): State<Arc<Context>>,
    Extension(peer): Extension<Peer>,
    Path(rest): Path<String>,
) -> Result<Response, Refused> {
    known(Some(&peer))?;
    match target(&rest)? {
        Target::Blob { digest } => {
            super::artifacts::blob(&context, &Digest::parse(digest)?, "application/octet-stream").await
        }
        Target::Manifest { repository, reference } => {
            let digest = if reference.contains(':') {
                Digest::parse(reference)?
            } else {
                let found = context.artifacts.tagged(repository, reference)?;
                found.ok_or_else(|| {
                    refusal::not_found(
                        format!("the pool has no image {repository}:{reference}"),
                        "upload it with `mezzo image push`",
                    )
                })?
            };
            let kind = media_type(&context, &digest).await?;
            super::artifacts::blob(&context, &digest, &kind).await
        }
    }
}

/// Manifests say themselves what they are.
async fn media_type(context: &Context, digest: &Digest) -> Result<String, Refusal> {
    let (file, length) = context.artifacts.open_blob(digest).await?;
    if length > u64::try_from(MANIFEST_BYTES_MAX).expect("the limit fits 64 bits") {
        return Err(refusal::malformed("reference", format!("{digest} is too long for a manifest")));
    }
    let mut bytes = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut { file }, &mut bytes).await;
    read.map_err(|error| refusal::failed("read the manifest", &error))?;
    let manifest: Value = serde_json::from_slice(&bytes)
        .map_err(|_| refusal::malformed("reference", format!("{digest} is not a manifest")))?;
    Ok(manifest["mediaType"].as_str().unwrap_or(MANIFEST).to_owned())
}

async fn tag(
    State(context): State<Arc<Context>>,
    Extension(peer): Extension<Peer>,
    Path(rest): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    operator(Some(&peer))?;
    let body = refusal::body(body, MANIFEST_BYTES_MAX)?;
    let Target::Manifest { repository, reference } = target(&rest)? else {
        return Err(refusal::malformed("path", "blobs are uploaded with PUT /artifacts/sha256/<hex>").into());
    };
    let manifest: Value = serde_json::from_slice(&body)
        .map_err(|error| refusal::malformed("body", format!("the manifest is not JSON: {error}")))?;
    // All is checked before anything is kept.
    let digest = Digest::of(&body);
    if !reference.contains(':') {
        check_tag(repository, reference)?;
    } else if Digest::parse(reference)? != digest {
        return Err(refusal::wrong_digest(format!("the manifest has the digest {digest}, not {reference}")).into());
    }
    for digest in references(&manifest) {
        let digest = Digest::parse(digest)?;
        if !context.artifacts.has(&digest).await {
            return Err(refusal::not_found(
                format!("the manifest refers to {digest}, which the pool has not"),
                "upload blobs before their manifest",
            )
            .into());
        }
    }
    let stream = Body::from(body).into_data_stream();
    context.artifacts.put(&digest, stream).await?;
    if !reference.contains(':') {
        context.artifacts.set_tag(repository, reference, &digest).await?;
    }
    let headers = [
        (header::LOCATION, format!("/v2/{repository}/manifests/{digest}")),
        (header::HeaderName::from_static("docker-content-digest"), digest.to_string()),
    ];
    Ok((StatusCode::CREATED, headers).into_response())
}

/// Everything a manifest or an index needs.
pub(super) fn references(manifest: &Value) -> Vec<&str> {
    let list = |field: &str| manifest[field].as_array().map(Vec::as_slice).unwrap_or_default();
    let parts = list("layers").iter().chain(list("manifests")).chain(std::iter::once(&manifest["config"]));
    parts.filter_map(|part| part["digest"].as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_may_have_slashes() {
        assert_eq!(
            target("a/b/c/manifests/1.0").expect("a manifest"),
            Target::Manifest { repository: "a/b/c", reference: "1.0" }
        );
        assert_eq!(target("a/blobs/sha256:00").expect("a blob"), Target::Blob { digest: "sha256:00" });
        assert!(target("a/tags/list").is_err() && target("a").is_err());
    }
}
