//! The one-port server as a peer meets it: who it is, whom it takes for whom, what it passes through and what it
//! refuses.
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::{Extension, Router, routing::get};
use daemon::client::{Body, HttpClient, HttpError};
use daemon::identity::{CertificateAuthority, CertificateRequest, Identity};
use daemon::serve::{Passthrough, Peer, serve};
use model::Principal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

fn issue(ca: &CertificateAuthority, principal: &str, name: &str) -> Identity {
    ca.issue(&CertificateRequest {
        principal: Principal::new(principal),
        dns_names: vec![name.to_owned()],
        addresses: vec![IpAddr::from([127, 0, 0, 1])],
        valid: Duration::from_secs(600),
    })
    .expect("issued")
}

async fn whoami(Extension(peer): Extension<Peer>) -> String {
    peer.principal.map_or_else(|| "nobody".to_owned(), |principal| principal.to_string())
}

struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn start(identity: &Identity, greeting: &'static str, gateway: Option<Arc<dyn Passthrough>>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    let tls = daemon::tls::server_config(identity).expect("tls");
    let router = Router::new().route("/whoami", get(whoami)).route("/greeting", get(move || async move { greeting }));
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(serve(listener, tls, router, gateway, async {
        let _ = stopped.await;
    }));
    Server { address, stop: Some(stop), task }
}

#[tokio::test]
async fn the_server_knows_its_clients_by_certificate() {
    let ca = CertificateAuthority::create("test").expect("CA");
    let server = start(&issue(&ca, "master", "master.mezzo"), "own", None).await;
    let address = server.address.to_string();
    let client = HttpClient::new(&address, "master.mezzo", &issue(&ca, "agent/a", "a.agent.mezzo")).expect("client");
    assert_eq!(client.get("/whoami", 100).await.expect("answered"), "agent/a");

    let other = HttpClient::new(&address, "other.mezzo", &issue(&ca, "agent/a", "a.agent.mezzo")).expect("client");
    let refused = other.get("/whoami", 100).await.expect_err("the name is not on the certificate");
    assert!(daemon::error::chain(&refused).contains("certificate"), "{}", daemon::error::chain(&refused));

    let foreign = CertificateAuthority::create("other").expect("CA");
    let mut stranger = issue(&foreign, "operator/root", "x.mezzo");
    stranger.ca_pem = ca.ca_pem().to_owned();
    let stranger = HttpClient::new(&address, "master.mezzo", &stranger).expect("client");
    stranger.get("/whoami", 100).await.expect_err("a certificate of another pool");

    let long = client.get("/greeting", 2).await.expect_err("the answer is longer than the limit");
    assert!(matches!(long, HttpError::Body { .. }), "{long:?}");
    let missing = client.get("/missing", 2).await.expect_err("not there");
    assert!(matches!(missing, HttpError::Status { status: http::StatusCode::NOT_FOUND, .. }), "{missing:?}");
}

struct OneName(SocketAddr);

impl Passthrough for OneName {
    fn backends(&self, server_name: &str) -> Option<Vec<SocketAddr>> {
        match server_name {
            "api.demo.mezzo" => Some(vec![SocketAddr::from(([127, 0, 0, 1], 1)), self.0]),
            "none.demo.mezzo" => Some(Vec::new()),
            _ => None,
        }
    }
}

#[tokio::test]
async fn a_name_of_the_gateway_is_passed_through_still_encrypted() {
    let ca = CertificateAuthority::create("test").expect("CA");
    let backend_ca = CertificateAuthority::create("cluster").expect("CA");
    let backend = start(&issue(&backend_ca, "apiserver", "api.demo.mezzo"), "backend", None).await;
    let gateway = Arc::new(OneName(backend.address));
    let server = start(&issue(&ca, "master", "master.mezzo"), "own", Some(gateway)).await;
    let address = server.address.to_string();

    // The client trusts the backend's own CA: only the backend itself can have answered. The first backend of the
    // list is dead and must cost the client nothing but time.
    let user = issue(&backend_ca, "user", "user.mezzo");
    for _ in 0..2 {
        let client = HttpClient::new(&address, "api.demo.mezzo", &user).expect("client");
        assert_eq!(client.get("/greeting", 100).await.expect("answered"), "backend");
        assert_eq!(client.get("/whoami", 100).await.expect("answered"), "user");
    }
    HttpClient::new(&address, "none.demo.mezzo", &user).expect("client").get("/", 1).await.expect_err("no backend");
    let own = HttpClient::new(&address, "master.mezzo", &issue(&ca, "operator/a", "a.mezzo")).expect("client");
    assert_eq!(own.get("/greeting", 100).await.expect("answered"), "own");
}

/// How the server ends a connection on which these bytes arrived: by an end of stream or a reset, within the time.
async fn ended(address: SocketAddr, bytes: &[u8], within: Duration) -> Duration {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let begun = Instant::now();
    // The server may close while this is being written.
    let _ = stream.write_all(bytes).await;
    let mut rest = Vec::new();
    let read = tokio::time::timeout(within, stream.read_to_end(&mut rest)).await.expect("ended by the server");
    assert!(read.is_err() || rest.len() < 64, "a refused connection gets no more than an alert");
    begun.elapsed()
}

/// A ClientHello that announces 16000 bytes per record and 60000 in all.
fn endless_hello() -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in 0..5 {
        bytes.extend_from_slice(&[0x16, 3, 1, 0x3e, 0x80]);
        let mut body = vec![0; 0x3e80];
        if record == 0 {
            body[..4].copy_from_slice(&[1, 0, 0xea, 0x60]);
        }
        bytes.extend_from_slice(&body);
    }
    bytes
}

#[tokio::test]
async fn what_is_no_client_hello_costs_only_its_sender() {
    let ca = CertificateAuthority::create("test").expect("CA");
    let server = start(&issue(&ca, "master", "master.mezzo"), "own", None).await;
    let (nonsense, endless, silent) = tokio::join!(
        ended(server.address, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", Duration::from_secs(4)),
        async { ended(server.address, &endless_hello(), Duration::from_secs(4)).await },
        ended(server.address, &[0x16, 3, 1], Duration::from_secs(20)),
    );
    assert!(nonsense < Duration::from_secs(4) && endless < Duration::from_secs(4));
    assert!(silent >= daemon::limits::HELLO_TIME, "it had its time: {silent:?}");
    let client = HttpClient::new(&server.address.to_string(), "master.mezzo", &issue(&ca, "operator/a", "a.mezzo"));
    assert_eq!(client.expect("client").get("/greeting", 100).await.expect("answered"), "own");
}

#[tokio::test]
async fn a_server_asked_to_stop_stops() {
    let ca = CertificateAuthority::create("test").expect("CA");
    let mut server = start(&issue(&ca, "master", "master.mezzo"), "own", None).await;
    let client = HttpClient::new(&server.address.to_string(), "master.mezzo", &issue(&ca, "operator/a", "a.mezzo"));
    let client = client.expect("client");
    client.request(http::Request::get("/greeting").body(Body::empty()).expect("made")).await.expect("answered");
    server.stop.take().expect("running").send(()).expect("listening");
    tokio::time::timeout(Duration::from_secs(10), server.task).await.expect("stopped").expect("no panic").expect("ok");
}
