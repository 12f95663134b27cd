//! Artifacts, images, the gateway, and frameworks' own APIs through the master.

// A test names the answer that it expects; every other one is a failure.
#![expect(clippy::wildcard_enum_match_arm)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get};
use common::{Agent, Framework, Pool, accept, running, task, within};
use daemon::client::{Body, HttpClient, HttpError};
use daemon::identity::Identity;
use http::{HeaderMap, Request, StatusCode};
use proto::mesos::v1::scheduler;
use proto::mezzo::v1 as wire;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn status(error: &HttpError) -> Option<StatusCode> {
    if let HttpError::Status { status, .. } = error { Some(*status) } else { None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_operators_upload_the_pool_reads() {
    let pool = Pool::start().await;
    let operator = pool.http(&pool.admin);
    let agent = pool.http(&pool.join("one").await);

    // Longer than any buffer on the way, from a file.
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let file = pool.dir.path().join("file");
    std::fs::write(&file, &content).expect("written");
    let path = format!("/artifacts/sha256/{}", digest(&content));
    assert_eq!(
        status(&agent.put_file(&path, &file).await.expect_err("only operators write")),
        Some(StatusCode::FORBIDDEN)
    );
    operator.put_file(&path, &file).await.expect("uploaded");
    operator.put_file(&path, &file).await.expect("uploaded again");
    assert_eq!(agent.get(&path, 1 << 26).await.expect("fetched"), content);

    let wrong = format!("/artifacts/sha256/{}", digest(b"something else"));
    let refused = operator.put(&wrong, "", "something").await.expect_err("another digest");
    assert!(refused.to_string().contains("MST0107"), "{refused}");
    assert_eq!(status(&agent.get(&wrong, 100).await.expect_err("not kept")), Some(StatusCode::NOT_FOUND));
    let escape = agent.get("/artifacts/sha256/..%2F..%2Fpki%2Fca-key.pem", 10_000).await.expect_err("no digest");
    assert_eq!(status(&escape), Some(StatusCode::BAD_REQUEST));

    let named = format!("sha256:{}", digest(&content));
    operator.put("/artifacts/names/tool", "text/plain", named.clone()).await.expect("named");
    assert_eq!(agent.get("/artifacts/names/tool", 100).await.expect("found"), named);
    operator
        .put("/artifacts/names/none", "text/plain", format!("sha256:{}", digest(b"none")))
        .await
        .expect_err("no blob");

    // An image: blobs, then the manifest under a tag; read by tag and by digest.
    let config = b"{}".to_vec();
    let layer = b"a layer".to_vec();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": format!("sha256:{}", digest(&config)), "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": format!("sha256:{}", digest(&layer)), "size": 7}],
    });
    let manifest = manifest.to_string();
    operator.put(&format!("/artifacts/sha256/{}", digest(&config)), "", config).await.expect("config");
    operator.put("/v2/team/web/manifests/1.0", "", manifest.clone()).await.expect_err("a layer is missing");
    operator.put(&format!("/artifacts/sha256/{}", digest(&layer)), "", layer.clone()).await.expect("layer");
    operator.put("/v2/team/web/manifests/1.0", "", manifest.clone()).await.expect("tagged");
    let request = Request::get("/v2/team/web/manifests/1.0").body(Body::empty()).expect("made");
    let answer = agent.request(request).await.expect("answered");
    assert_eq!(answer.headers()["content-type"], "application/vnd.oci.image.manifest.v1+json");
    let by_digest = answer.headers()["docker-content-digest"].to_str().expect("text").to_owned();
    assert_eq!(by_digest, format!("sha256:{}", digest(manifest.as_bytes())));
    assert_eq!(agent.get(&format!("/v2/team/web/manifests/{by_digest}"), 10_000).await.expect("by digest"), manifest);
    let blob = format!("/v2/team/web/blobs/sha256:{}", digest(&layer));
    assert_eq!(agent.get(&blob, 100).await.expect("blob"), layer);
    assert_eq!(agent.get("/v2/", 100).await.expect("version"), "{}");

    let health = operator.get("/v1/health", 1000).await.expect("health");
    assert!(health.starts_with(b"{\"status\":\"ok\""), "{health:?}");
    let metrics = operator.get("/metrics", 1 << 20).await.expect("metrics");
    assert!(metrics.starts_with(b"# HELP mezzo_master_"), "{metrics:?}");
    pool.stop().await;
}

async fn echo(headers: HeaderMap, request: Request<Body>) -> String {
    let who =
        headers.get_all("x-mezzo-principal").iter().map(|v| v.to_str().unwrap_or("?")).collect::<Vec<_>>().join(",");
    let target = request.uri().path_and_query().map(|path| path.as_str().to_owned()).unwrap_or_default();
    let body = axum::body::to_bytes(request.into_body(), 100).await.unwrap_or_default();
    format!("{who} {target} {}", String::from_utf8_lossy(&body))
}

/// Changes to a protocol that sends back what it gets.
async fn parrot(mut request: Request<Body>) -> axum::response::Response {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let (mut read, mut write) = tokio::io::split(hyper_util::rt::TokioIo::new(upgraded));
            let _ = tokio::io::copy(&mut read, &mut write).await;
        }
    });
    axum::response::Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", "parrot")
        .body(Body::empty())
        .expect("made")
}

/// A framework's API as the SDK serves it; ends with the test.
async fn serve_api(identity: &Identity) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    let router = Router::new().route("/parrot", get(parrot)).fallback(any(echo));
    let tls = daemon::tls::server_config(identity).expect("tls");
    tokio::spawn(daemon::serve::serve(listener, tls, router, None, std::future::pending()));
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_framework_is_reached_through_the_master_which_says_who_calls() {
    let pool = Pool::start().await;
    let identity = pool.identity("framework/web").await;
    let api = serve_api(&identity).await;
    let mut framework = Framework::connect(&pool, "web", &identity).await;
    framework.subscribe("", Some(&format!("https://{api}"))).await;
    let operator = pool.http(&pool.admin);

    let request = Request::post("/service/web/v1/a%2Fb?x=1&y=2").header("x-mezzo-principal", "operator/somebody-else");
    let answer = operator.send(request.body(Body::from("hello")).expect("made"), 1000).await.expect("answered");
    assert_eq!(answer, "operator/admin /v1/a%2Fb?x=1&y=2 hello");
    assert_eq!(operator.get("/service/web/", 1000).await.expect("answered"), "operator/admin / ");

    let stranger = pool.http(&identity);
    let refused = stranger.get("/service/web/v1/plans", 1000).await.expect_err("not an operator");
    assert_eq!(status(&refused), Some(StatusCode::FORBIDDEN));
    let missing = operator.get("/service/none/v1/plans", 1000).await.expect_err("no such framework");
    assert_eq!(status(&missing), Some(StatusCode::NOT_FOUND));

    let request = Request::get("/service/web/parrot").header("connection", "upgrade").header("upgrade", "parrot");
    let answer = operator.request(request.body(Body::empty()).expect("made")).await.expect("answered");
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut stream = hyper_util::rt::TokioIo::new(hyper::upgrade::on(answer).await.expect("upgraded"));
    within("the parrot", async {
        stream.write_all(b"hello").await.expect("sent");
        let mut back = [0; 5];
        stream.read_exact(&mut back).await.expect("received");
        assert_eq!(&back, b"hello");
    })
    .await;
    drop(stream);
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_leads_to_healthy_running_tasks() {
    let pool = Pool::start().await;
    let mut agent = Agent::connect(&pool, "one", pool.join("one").await).await;
    agent.register("", Vec::new()).await;
    let registered = agent.registered().await;

    // The task is played by a server of its own with a certificate the master knows nothing about.
    let ca = daemon::identity::CertificateAuthority::create("cluster").expect("CA");
    let issue = |name: &str| {
        ca.issue(&daemon::identity::CertificateRequest {
            principal: model::Principal::new("apiserver"),
            dns_names: vec![name.to_owned()],
            addresses: Vec::new(),
            valid: std::time::Duration::from_secs(600),
        })
    };
    let identity = Arc::new(issue("api.web.mezzo").expect("issued"));
    let backend = serve_api(&identity).await;

    let mut framework = Framework::connect(&pool, "web", &pool.identity("framework/web").await).await;
    framework.subscribe("", None).await;
    let secret = wire::StateWrite { key: "secret/x".to_owned(), value: Some("x".into()) };
    let written = framework.call(None, vec![secret]).await;
    framework.result(written).await.expect("written");
    let offer = framework.offer("one").await;
    let mut wanted = task("web.1", &registered.agent_id, "secret/x", 20_000);
    if let Some(port) = wanted.discovery.as_mut().and_then(|d| d.ports.as_mut()).and_then(|p| p.ports.first_mut()) {
        port.number = backend.port().into();
    }
    let accepted = framework.call(Some(accept(&framework.id, &offer, vec![wanted])), Vec::new()).await;
    framework.result(accepted).await.expect("accepted");
    let gateway = HttpClient::new(&pool.address.to_string(), "api.web.mezzo", &identity).expect("client");
    gateway.get("/", 1000).await.expect_err("it does not run yet");

    agent.update(&framework.id, running("web.1", &registered.agent_id, "web.1", 1)).await;
    framework.event(scheduler::event::Type::Update).await;
    assert_eq!(gateway.get("/x", 1000).await.expect("answered by the task"), " /x ");

    let sick =
        proto::mesos::v1::TaskStatus { healthy: Some(false), ..running("web.1", &registered.agent_id, "web.1", 2) };
    agent.update(&framework.id, sick).await;
    // Pooled connections of before may live on; a new client is a new connection.
    within("the unhealthy task to leave the gateway", async {
        loop {
            let gateway = HttpClient::new(&pool.address.to_string(), "api.web.mezzo", &identity).expect("client");
            if gateway.get("/x", 1000).await.is_err() {
                break;
            }
        }
    })
    .await;
    pool.stop().await;
}
