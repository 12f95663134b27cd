//! Clients of the pool: they dial an address and verify a *name* (`master.mezzo`, `<name>.agent.mezzo`), because
//! addresses change and names are what certificates state.
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

pub use crate::http_client::{HttpClient, HttpError};
use crate::identity::Identity;
use crate::limits;
use crate::tls::{self, TlsError};
pub use axum::body::Body;

/// A gRPC channel to `address` (`ip:port`) that connects when it is used, and again after every loss. The server is
/// verified against the pool's CA under `server_name`; pings find a partition.
///
/// # Errors
/// If the identity or the name is malformed.
pub fn channel(address: &str, server_name: &str, identity: &Identity) -> Result<Channel, TlsError> {
    let mut config = (*tls::client_config(identity)?).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    lazy(Dialer::new(address, server_name, config)?)
}

/// A channel for joining a pool: no certificate is shown, and the server is trusted if its chain ends in the CA with
/// this SHA-256 (hex, from the join token).
///
/// # Errors
/// If the name is malformed.
pub fn joining_channel(address: &str, server_name: &str, ca_sha256: &str) -> Result<Channel, TlsError> {
    let mut config = tls::joining_config(ca_sha256)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    lazy(Dialer::new(address, server_name, config)?)
}

fn lazy(dialer: Dialer) -> Result<Channel, TlsError> {
    // The scheme says http because TLS is ours: tonic must not add its own.
    let endpoint = Endpoint::from_shared(format!("http://{}", dialer.name))
        .map_err(|_| TlsError::ServerName(dialer.name.clone()))?
        .http2_keep_alive_interval(limits::KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(limits::KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    Ok(endpoint.connect_with_connector_lazy(tower::service_fn(move |_: http::Uri| {
        let dialer = dialer.clone();
        async move { dialer.dial().await.map(TokioIo::new) }
    })))
}

/// Connects to one address and verifies one name.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) address: String,
    pub(crate) name: String,
    server_name: ServerName<'static>,
    connector: TlsConnector,
}

impl Dialer {
    pub(crate) fn new(address: &str, name: &str, config: rustls::ClientConfig) -> Result<Self, TlsError> {
        if !address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
            return Err(TlsError::Address(address.to_owned()));
        }
        let server_name = ServerName::try_from(name.to_owned()).map_err(|_| TlsError::ServerName(name.to_owned()))?;
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Self { address: address.to_owned(), name: name.to_owned(), server_name, connector })
    }
    pub(crate) async fn dial(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let dialled = async {
            let stream = TcpStream::connect(&self.address).await?;
            stream.set_nodelay(true)?;
            self.connector.connect(self.server_name.clone(), stream).await
        };
        tokio::time::timeout(limits::CONNECT_TIME, dialled).await.unwrap_or_else(|_| {
            Err(std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer from {}", self.address)))
        })
    }
}
