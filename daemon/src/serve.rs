//! The one-port server: every connection's ClientHello is read first; a name of the gateway is passed through to a
//! backend, still encrypted; every other one is this process's own: TLS, then HTTP/1.1 or HTTP/2, gRPC and upgrades.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use model::Principal;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::error::chain;
use crate::hello::{self, Rewound};
use crate::identity::principal_of;
use crate::limits;

/// Who sends a request: an extension of every axum and tonic request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// From its certificate; `None` for a client that showed none.
    pub principal: Option<Principal>,
}

/// Which names are passed through, and to whom.
pub trait Passthrough: Send + Sync {
    /// Backends to try for a name (in lower case), the best first. `None`: the name is not one of the gateway's.
    fn backends(&self, server_name: &str) -> Option<Vec<SocketAddr>>;
}

/// gRPC services as routes to be merged with others. An unknown method is answered by [`serve`] as gRPC wants it.
pub fn grpc(routes: tonic::service::Routes) -> Router {
    // axum panics when two merged routers both have a fallback.
    routes.prepare().into_axum_router().reset_fallback()
}

/// Serves until `shutdown` completes, then lets open requests end for a moment.
///
/// # Errors
/// Never for a single connection; only if the listener itself is lost.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    router: Router,
    passthrough: Option<Arc<dyn Passthrough>>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let stopped = CancellationToken::new();
    let server = Arc::new(Server {
        acceptor: TlsAcceptor::from(tls),
        router: router.layer(axum::middleware::from_fn(unknown_grpc_method)),
        passthrough,
        turn: AtomicUsize::new(0),
        stopped: stopped.clone(),
    });
    let permits = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        // At the limit the kernel's backlog holds new connections back.
        let permit = tokio::select! {
            permit = permits.clone().acquire_owned() => permit.expect("the semaphore is never closed"),
            () = &mut shutdown => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let server = server.clone();
                tokio::spawn(async move { server.connection(stream, permit).await });
            }
            Err(error) => {
                // Out of descriptors, or the peer left: the listener itself is well.
                warn!(%error, "connection not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    stopped.cancel();
    let all = u32::try_from(limits::CONNECTIONS_MAX).expect("the limit fits");
    // A connection gives up by itself after DRAIN_TIME; only one that is stuck is left behind.
    let _ = tokio::time::timeout(limits::DRAIN_TIME * 2, permits.acquire_many(all)).await;
    Ok(())
}

struct Server {
    acceptor: TlsAcceptor,
    router: Router,
    passthrough: Option<Arc<dyn Passthrough>>,
    turn: AtomicUsize,
    stopped: CancellationToken,
}

impl Server {
    async fn connection(&self, mut stream: TcpStream, permit: OwnedSemaphorePermit) {
        let _permit = permit;
        prepare(&stream, limits::PEER_SILENCE);
        let hello = match hello::read(&mut stream).await {
            Ok(hello) => hello,
            Err(error) => {
                debug!(error = %chain(&error), "connection refused");
                return;
            }
        };
        let backends = match (&self.passthrough, &hello.server_name) {
            (Some(gateway), Some(name)) => gateway.backends(name),
            _ => None,
        };
        match backends {
            Some(backends) => self.pass(stream, hello, &backends).await,
            None => self.own(Rewound::new(hello.bytes, stream)).await,
        }
    }

    /// Between the same two ends until one closes. No idle timeout: an exec session may be silent for hours; TCP
    /// keep-alive finds dead peers.
    async fn pass(&self, mut client: TcpStream, hello: hello::Hello, backends: &[SocketAddr]) {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        for step in 0..backends.len() {
            let address = backends[(first + step) % backends.len()];
            let connected = tokio::time::timeout(limits::BACKEND_CONNECT_TIME, TcpStream::connect(address)).await;
            let Ok(Ok(mut backend)) = connected else { continue };
            // A client learns at once that its backend's host is gone, and asks again: it is led to another.
            prepare(&backend, limits::BACKEND_SILENCE);
            if backend.write_all(&hello.bytes).await.is_err() {
                continue;
            }
            tokio::select! {
                ended = tokio::io::copy_bidirectional(&mut client, &mut backend) => {
                    if let Err(error) = ended {
                        debug!(%error, %address, "passed-through connection broke");
                    }
                }
                () = self.stopped.cancelled() => {}
            }
            return;
        }
        debug!(server_name = ?hello.server_name, tried = backends.len(), "no backend for the gateway's name");
    }

    async fn own(&self, stream: Rewound) {
        let stream = match tokio::time::timeout(limits::HANDSHAKE_TIME, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return debug!(%error, "tls handshake failed"),
            Err(_) => return debug!("tls handshake took too long"),
        };
        // The verifier has checked the chain; a certificate without a name is nobody's.
        let principal =
            stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).and_then(|c| principal_of(c).ok());
        let router = self.router.clone().layer(axum::Extension(Peer { principal }));
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(30))
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits::STREAMS_MAX)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .keep_alive_interval(limits::KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(limits::KEEP_ALIVE_TIMEOUT);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(router));
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.stopped.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(limits::DRAIN_TIME, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            debug!(%error, "connection broke");
        }
    }
}

/// Small messages leave at once; a peer that vanished is noticed after so much silence: the kernel's probes, or data of ours, go
/// unanswered for so long.
fn prepare(stream: &TcpStream, silence: Duration) {
    const PROBES: u32 = 4;
    let seconds = u32::try_from(silence.as_secs()).unwrap_or(u32::MAX);
    let (idle, interval) = (seconds.div_ceil(3).max(1), (seconds / 6).max(1));
    let _ = stream.set_nodelay(true);
    // Failing to set an option is no reason to refuse the connection.
    let _ = setsockopt(stream, sockopt::KeepAlive, &true);
    let _ = setsockopt(stream, sockopt::TcpKeepIdle, &idle);
    let _ = setsockopt(stream, sockopt::TcpKeepInterval, &interval);
    let _ = setsockopt(stream, sockopt::TcpKeepCount, &PROBES);
    let _ = setsockopt(stream, sockopt::TcpUserTimeout, &(seconds.saturating_mul(1000)));
}

/// A gRPC client that calls what does not exist must read `unimplemented`, not HTTP 404.
async fn unknown_grpc_method(request: Request, next: Next) -> Response {
    let is_grpc = request
        .headers()
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    let response = next.run(request).await;
    if is_grpc && response.status() == http::StatusCode::NOT_FOUND {
        return tonic::Status::unimplemented("no such method: client and server are of different versions").into_http();
    }
    response
}
