//! Beside the kubelet of a node: takes image archives from the cluster's scheduler, over TLS with the cluster's own
//! certificates, and imports them into containerd. Nobody but the scheduler may ask.
//!
//! What was taken is noted in a mark beside containerd's data, so that a container started again does not import again;
//! a refused archive leaves a mark, too, for a node must not wait for it for ever.
mod store;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path as UrlPath, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Extension, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use daemon::error::chain;
use daemon::identity::{Identity, IdentityError};
use daemon::serve::Peer;
use daemon::tls::TlsError;
use kubernetes_core::flags::PKI;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

pub(crate) use store::{DIR, Mark, has_mark};
use store::{ImportError, Store};

/// The scheduler's common name, in the certificate it shows.
const SCHEDULER: &str = "mezzo-framework";
/// Header with the [`Description`] of the archive that follows.
pub(crate) const DESCRIPTION: &str = "x-mezzo-archive";

/// What an archive is called, beside its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Description {
    /// The file's name.
    pub(crate) file: String,
    /// Its images.
    pub(crate) images: Vec<String>,
    /// As `Archive::base` of the core.
    pub(crate) base: Option<String>,
}

impl Description {
    /// As a header's value: names of files may hold anything.
    pub(crate) fn to_header(&self) -> serde_json::Result<String> {
        Ok(BASE64.encode(serde_json::to_vec(self)?))
    }
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(DESCRIPTION)?.as_bytes();
        serde_json::from_slice(&BASE64.decode(value).ok()?).ok()
    }
}

/// Why the service cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A certificate of the node.
    #[error("read {PKI}/{file}")]
    Read {
        /// Which.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// They do not fit.
    #[error("use the node's certificate")]
    Tls(#[from] TlsError),
    /// The certificate is none.
    #[error("use the node's certificate")]
    Identity(#[from] IdentityError),
    /// The port is taken.
    #[error("listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The listener was lost.
    #[error("serve")]
    Serve(#[source] std::io::Error),
    /// Its directory.
    #[error("make {DIR}")]
    Directory(#[source] std::io::Error),
}

/// Serves until SIGTERM.
///
/// # Errors
/// If it cannot start.
pub async fn run(address: SocketAddr) -> Result<(), ServiceError> {
    let read = |file: &str| {
        std::fs::read_to_string(Path::new(PKI).join(file))
            .map_err(|source| ServiceError::Read { file: file.to_owned(), source })
    };
    let identity = Identity {
        ca_pem: read("ca.crt")?,
        cert_pem: read("kubelet-server.crt")?,
        key_pem: read("kubelet-server.key")?,
    };
    let tls = daemon::tls::server_config(&identity)?;
    let store = Arc::new(Mutex::new(Store::open(Path::new(DIR)).map_err(ServiceError::Directory)?));
    let listener =
        tokio::net::TcpListener::bind(address).await.map_err(|source| ServiceError::Listen { address, source })?;
    let router = Router::new()
        .route("/v1/images", get(list))
        .route("/v1/images/{digest}", put(import).delete(forget))
        .layer(axum::middleware::from_fn(authorize))
        .with_state(store);
    daemon::serve::serve(listener, tls, router, None, daemon::shutdown::signal()).await.map_err(ServiceError::Serve)
}

async fn authorize(Extension(peer): Extension<Peer>, request: Request, next: Next) -> Response {
    if peer.principal.as_ref().is_some_and(|principal| principal.as_str() == SCHEDULER) {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "only the cluster's scheduler may ask").into_response()
}

type Shared = Arc<Mutex<Store>>;

async fn list() -> Result<Json<Vec<Mark>>, Failed> {
    // The lock is not waited for: while an archive is imported the list is what it was before.
    let marks = tokio::task::spawn_blocking(Store::marks_of_node).await;
    Ok(Json(marks.map_err(|error| Failed(ImportError::Runtime(error.to_string())))?.map_err(Failed)?))
}

async fn import(
    State(store): State<Shared>,
    UrlPath(digest): UrlPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Mark>, Failed> {
    let description = Description::from_headers(&headers).ok_or(Failed(ImportError::NoDescription))?;
    let store = store.lock().await;
    let mark = store.import(&digest, description, body.into_data_stream()).await.map_err(Failed)?;
    Ok(Json(mark))
}

async fn forget(State(store): State<Shared>, UrlPath(digest): UrlPath<String>) -> Result<StatusCode, Failed> {
    store.lock().await.forget(&digest).await.map_err(Failed)?;
    Ok(StatusCode::NO_CONTENT)
}

/// An error in words. 422: the archive is at fault, and it will be tomorrow.
struct Failed(ImportError);

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status =
            if self.0.is_final() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::INTERNAL_SERVER_ERROR };
        tracing::warn!(error = %chain(&self.0), "image archive not imported");
        (status, chain(&self.0)).into_response()
    }
}
