//! HTTP and HTTPS checks. TLS is set up per check, from files in the container, so that renewed certificates count at once
//! and a pod without such a check pays nothing.
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper_util::rt::TokioIo;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use proto::mezzo::v1::HttpCheck;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::limits::{HTTP_BODY_BYTES_MAX, PEM_BYTES_MAX};

/// Why an HTTP check failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpCheckError {
    #[error("{0} is no port")]
    Port(u32),
    #[error("'{0}' is neither http nor https")]
    Scheme(String),
    #[error("'{0}' is no host name")]
    Host(String),
    #[error("read {} in the container", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("understand {} in the container", path.display())]
    Pem { path: PathBuf, source: rustls_pki_types::pem::Error },
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
    #[error("connect to {host}:{port}")]
    Connect { host: String, port: u16, source: io::Error },
    #[error("agree on TLS with {host}:{port}")]
    Handshake { host: String, port: u16, source: io::Error },
    #[error("build a request for '{path}'")]
    Request { path: String, source: hyper::http::Error },
    #[error("speak HTTP")]
    Http(#[source] hyper::Error),
    #[error("answered {status}: {body}")]
    Status { status: hyper::StatusCode, body: String },
}

/// 200 to 399 is success. `pid` is the container's init: certificate files are the container's.
pub(super) async fn get(pid: i32, check: &HttpCheck) -> Result<String, HttpCheckError> {
    let port = u16::try_from(check.port).map_err(|_| HttpCheckError::Port(check.port))?;
    let host = if check.host.is_empty() { "127.0.0.1" } else { check.host.as_str() };
    let tls = match check.scheme.as_str() {
        "http" | "" => None,
        "https" => Some(tls_config(pid, check)?),
        other => return Err(HttpCheckError::Scheme(other.to_owned())),
    };
    // Names are looked up on a thread of their own, which the usual one does not need.
    let address = if host == "localhost" { "127.0.0.1" } else { host };
    let stream = TcpStream::connect((address, port)).await.map_err(|source| HttpCheckError::Connect {
        host: host.to_owned(),
        port,
        source,
    })?;
    match tls {
        None => request(stream, host, port, &check.path).await,
        Some(config) => {
            let name = ServerName::try_from(host.to_owned()).map_err(|_| HttpCheckError::Host(host.to_owned()))?;
            let stream = TlsConnector::from(Arc::new(config))
                .connect(name, stream)
                .await
                .map_err(|source| HttpCheckError::Handshake { host: host.to_owned(), port, source })?;
            request(stream, host, port, &check.path).await
        }
    }
}

pub(crate) async fn request<S>(stream: S, host: &str, port: u16, path: &str) -> Result<String, HttpCheckError>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let path = if path.is_empty() { "/" } else { path };
    let request = Request::get(path)
        .header("host", format!("{host}:{port}"))
        .header("user-agent", "mezzo-check")
        .header("connection", "close")
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|source| HttpCheckError::Request { path: path.to_owned(), source })?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(8 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(HttpCheckError::Http)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(HttpCheckError::Http)?;
        let status = answer.status();
        // Only for words: a body that is too long or breaks off changes nothing.
        let body = Limited::new(answer.into_body(), HTTP_BODY_BYTES_MAX).collect().await;
        let body = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).trim().to_owned()).unwrap_or_default();
        if status.is_success() || status.is_redirection() {
            Ok(format!("answered {status}"))
        } else {
            Err(HttpCheckError::Status { status, body })
        }
    };
    // The connection has to be driven for the answer to come; it dies with this future.
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        done = &mut answer => done,
        driven = connection => match driven {
            Ok(()) => answer.await,
            Err(err) => Err(HttpCheckError::Http(err)),
        },
    }
}

fn tls_config(pid: i32, check: &HttpCheck) -> Result<ClientConfig, HttpCheckError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(HttpCheckError::Tls)?;
    let builder = if check.ca_file.is_empty() {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
    } else {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pid, &check.ca_file)? {
            roots.add(certificate).map_err(HttpCheckError::Tls)?;
        }
        builder.with_root_certificates(roots)
    };
    if check.cert_file.is_empty() {
        return Ok(builder.with_no_client_auth());
    }
    let path = PathBuf::from(&check.key_file);
    let key = PrivateKeyDer::from_pem_slice(&read_inside(pid, &path)?)
        .map_err(|source| HttpCheckError::Pem { path, source })?;
    builder.with_client_auth_cert(certificates(pid, &check.cert_file)?, key).map_err(HttpCheckError::Tls)
}

fn certificates(pid: i32, path: &str) -> Result<Vec<CertificateDer<'static>>, HttpCheckError> {
    let path = PathBuf::from(path);
    let pem = read_inside(pid, &path)?;
    CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|source| HttpCheckError::Pem { path, source })
}

/// Reads a file as the container's init sees it; its symbolic links cannot lead out.
fn read_inside(pid: i32, path: &Path) -> Result<Vec<u8>, HttpCheckError> {
    let read = || -> io::Result<Vec<u8>> {
        let root = File::open(format!("/proc/{pid}/root"))?;
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT);
        let file = File::from(openat2(&root, path, how)?);
        let mut bytes = Vec::new();
        file.take(PEM_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| HttpCheckError::File { path: path.to_owned(), source })
}

/// For checks without a CA: whether it answers is asked, not who.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
