//! A small HTTPS client to one server of the pool: pooled connections, bodies with limits, files as streams.
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::client::Dialer;
use crate::identity::Identity;
use crate::limits::ERROR_BODY_BYTES_MAX;
use crate::tls::{self, TlsError};

/// Why a request was not answered as wished.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The request itself is malformed.
    #[error("make a request for {path}")]
    Malformed {
        /// Of what.
        path: String,
        /// Why.
        #[source]
        source: http::Error,
    },
    /// No answer.
    #[error("ask {address} for {path}")]
    Send {
        /// Whom.
        address: String,
        /// For what.
        path: String,
        /// Why.
        #[source]
        source: hyper_util::client::legacy::Error,
    },
    /// The answer broke off, or is longer than wished.
    #[error("read the answer of {address} for {path}")]
    Body {
        /// Whose.
        address: String,
        /// To what.
        path: String,
        /// Why.
        #[source]
        source: axum::Error,
    },
    /// The answer is no success.
    #[error("{address} answers {status} for {path}: {text}")]
    Status {
        /// Who.
        address: String,
        /// To what.
        path: String,
        /// What.
        status: StatusCode,
        /// Its words.
        text: String,
    },
    /// The file to send cannot be read.
    #[error("open {path} for upload")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A client of one server. Cheap to clone; clones share connections. Speaks HTTP/1.1, so responses may be upgraded.
#[derive(Clone)]
pub struct HttpClient {
    address: String,
    name: String,
    client: Client<Connector, Body>,
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient").field("address", &self.address).field("name", &self.name).finish_non_exhaustive()
    }
}

impl HttpClient {
    /// A client of the server at `address` (`ip:port`), verified under `server_name`.
    ///
    /// # Errors
    /// If the identity, address or name is malformed.
    pub fn new(address: &str, server_name: &str, identity: &Identity) -> Result<Self, TlsError> {
        let mut config = (*tls::client_config(identity)?).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let dialer = Dialer::new(address, server_name, config)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(std::time::Duration::from_secs(20))
            .build(Connector { dialer });
        Ok(Self { address: address.to_owned(), name: server_name.to_owned(), client })
    }
    /// Sends a request as it is, only its scheme and authority are set. The answer may have any status.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn request(&self, mut request: Request<Body>) -> Result<Response<Incoming>, HttpError> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let uri = Uri::builder().scheme("http").authority(self.name.as_str()).path_and_query(path.as_str()).build();
        *request.uri_mut() = uri.map_err(|source| HttpError::Malformed { path: path.clone(), source })?;
        self.client.request(request).await.map_err(|source| HttpError::Send {
            address: self.address.clone(),
            path,
            source,
        })
    }
    /// Sends and reads the whole answer of at most `limit` bytes.
    ///
    /// # Errors
    /// If there is no answer, it is no success, or it is too long.
    pub async fn send(&self, request: Request<Body>, limit: usize) -> Result<Bytes, HttpError> {
        let path = request.uri().path().to_owned();
        let response = self.request(request).await?;
        let (head, body) = response.into_parts();
        let limit = if head.status.is_success() { limit } else { ERROR_BODY_BYTES_MAX };
        let read = axum::body::to_bytes(Body::new(body), limit).await;
        if !head.status.is_success() {
            let text = read.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()).unwrap_or_default();
            return Err(HttpError::Status { address: self.address.clone(), path, status: head.status, text });
        }
        read.map_err(|source| HttpError::Body { address: self.address.clone(), path, source })
    }
    /// GET.
    ///
    /// # Errors
    /// As [`HttpClient::send`].
    pub async fn get(&self, path: &str, limit: usize) -> Result<Bytes, HttpError> {
        self.send(make(Method::GET, path, "", Body::empty())?, limit).await
    }
    /// PUT.
    ///
    /// # Errors
    /// As [`HttpClient::send`].
    pub async fn put(&self, path: &str, content_type: &str, body: impl Into<Bytes>) -> Result<Bytes, HttpError> {
        self.send(make(Method::PUT, path, content_type, Body::from(body.into()))?, ERROR_BODY_BYTES_MAX).await
    }
    /// POST; the answer may have `limit` bytes.
    ///
    /// # Errors
    /// As [`HttpClient::send`].
    pub async fn post(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<Bytes>,
        limit: usize,
    ) -> Result<Bytes, HttpError> {
        self.send(make(Method::POST, path, content_type, Body::from(body.into()))?, limit).await
    }
    /// DELETE.
    ///
    /// # Errors
    /// As [`HttpClient::send`].
    pub async fn delete(&self, path: &str) -> Result<Bytes, HttpError> {
        self.send(make(Method::DELETE, path, "", Body::empty())?, ERROR_BODY_BYTES_MAX).await
    }
    /// PUT of a file, as a stream.
    ///
    /// # Errors
    /// As [`HttpClient::send`], or if the file cannot be opened.
    pub async fn put_file(&self, path: &str, file: &Path) -> Result<Bytes, HttpError> {
        let failed = |source| HttpError::File { path: file.to_owned(), source };
        let opened = tokio::fs::File::open(file).await.map_err(failed)?;
        let length = opened.metadata().await.map_err(failed)?.len();
        let stream = tokio_util::io::ReaderStream::with_capacity(opened, 256 * 1024);
        let mut request = make(Method::PUT, path, "application/octet-stream", Body::from_stream(stream))?;
        request.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        self.send(request, ERROR_BODY_BYTES_MAX).await
    }
}

fn make(method: Method, path: &str, content_type: &str, body: Body) -> Result<Request<Body>, HttpError> {
    let mut builder = Request::builder().method(method).uri(path);
    if !content_type.is_empty() {
        builder = builder.header(header::CONTENT_TYPE, content_type);
    }
    builder.body(body).map_err(|source| HttpError::Malformed { path: path.to_owned(), source })
}

/// Dials the one server whatever the URI says.
#[derive(Clone)]
struct Connector {
    dialer: Dialer,
}

impl tower::Service<Uri> for Connector {
    type Response = Link;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Link>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, _: Uri) -> Self::Future {
        let dialer = self.dialer.clone();
        Box::pin(async move { Ok(Link(TokioIo::new(dialer.dial().await?))) })
    }
}

/// A TLS connection as hyper's client wants it.
struct Link(TokioIo<TlsStream<TcpStream>>);

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
impl Read for Link {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, out)
    }
}
impl Write for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
