//! Every question, where something listens and the answer is no; and the same where it is yes.
use std::net::SocketAddr;
use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::checks;
use crate::scheduler::secrets::Secrets;
use kubernetes_core::pki::Authority;

const LIMIT: Duration = Duration::from_secs(5);

/// An HTTP server with one answer to everything, and a client of it.
async fn answering(status: u16, body: Value) -> kube::Client {
    daemon::tls::install_crypto_provider();
    let status = StatusCode::from_u16(status).expect("a status");
    let answer = move || async move {
        // A text is a page, everything else an object of the API.
        match body.as_str() {
            Some(text) => (status, text.to_owned()).into_response(),
            None => (status, Json(body)).into_response(),
        }
    };
    let router = axum::Router::new().fallback(get(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    let config = kube::Config::new(format!("http://{address}").parse().expect("an address"));
    kube::Client::try_from(config).expect("a client")
}

async fn plain(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // The question is read first: what is closed with something unread is reset. Whoever asked may be gone.
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

fn refused(result: Result<(), String>) -> String {
    result.expect_err("it is not ready")
}

#[tokio::test]
async fn etcd_that_listens_and_does_not_answer_has_no_quorum() {
    daemon::tls::install_crypto_provider();
    let secrets = Secrets::make(30).expect("made");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("bound"));
    let authority = &secrets.authority(Authority::Etcd).certificate;
    let limit = Duration::from_millis(500);
    let words = refused(checks::linearizable_read(&url, authority, secrets.client("etcd-probe"), limit).await);
    assert!(words.starts_with("etcd answers no linearizable read"), "{words}");
}

#[tokio::test]
async fn an_apiserver_whose_hooks_have_not_run_is_not_ready() {
    let page = "[+]ping ok\n[-]poststarthook/rbac/bootstrap-roles failed: reason withheld\nreadyz check failed\n";
    let client = answering(500, page.into()).await;
    assert_eq!(refused(checks::healthy(&client, "/readyz", LIMIT).await), "/readyz: rbac/bootstrap-roles not done");
    let client = answering(200, "ok".into()).await;
    checks::healthy(&client, "/readyz", LIMIT).await.expect("ready");
}

#[tokio::test]
async fn a_component_that_runs_and_leads_nothing_is_not_ready() {
    let missing = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": "NotFound", "code": 404 });
    let client = answering(404, missing).await;
    let words = refused(checks::led(&client, "kube-scheduler", 0, LIMIT).await);
    assert_eq!(words, "no kube-scheduler has asked for leadership");
    let lease = json!({
        "kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": { "name": "kube-scheduler" },
        "spec": { "holderIdentity": "somebody", "renewTime": "2026-01-01T00:00:00.000000Z" },
    });
    let renewed = 1_767_225_600;
    let client = answering(200, lease).await;
    checks::led(&client, "kube-scheduler", renewed + 5, LIMIT).await.expect("led");
    assert_eq!(refused(checks::led(&client, "kube-scheduler", renewed + 60, LIMIT).await), "no kube-scheduler leads");
}

#[tokio::test]
async fn a_node_is_not_ready_in_its_kubelets_words() {
    let node = |status: &str| {
        json!({
            "kind": "Node", "apiVersion": "v1", "metadata": { "name": "node-0" },
            "status": { "conditions": [{ "type": "Ready", "status": status, "message": "cni plugin not initialized" }] },
        })
    };
    let client = answering(200, node("False")).await;
    assert_eq!(refused(checks::node_ready(&client, "node-0", LIMIT).await), "cni plugin not initialized");
    let client = answering(200, node("True")).await;
    checks::node_ready(&client, "node-0", LIMIT).await.expect("ready");
}

#[tokio::test]
async fn a_kube_proxy_that_is_out_of_step_says_so_by_its_status() {
    let socket = plain("HTTP/1.0 503 Service Unavailable\r\n\r\n").await;
    assert_eq!(refused(checks::proxy_in_step(socket, LIMIT).await), "kube-proxy is not in step: it answers 503");
    let socket = plain("HTTP/1.0 200 OK\r\n\r\n").await;
    checks::proxy_in_step(socket, LIMIT).await.expect("in step");
}

#[tokio::test]
async fn a_pod_that_could_not_resolve_the_clusters_name_keeps_its_node_from_being_ready() {
    let pod = |phase: &str| json!({ "kind": "Pod", "apiVersion": "v1", "metadata": { "name": "mezzo-probe-node-0" }, "status": { "phase": phase } });
    let client = answering(200, pod("Pending")).await;
    let words = refused(checks::resolves(&client, "node-0", "cluster.local", LIMIT).await);
    assert_eq!(words, "a pod on it is resolving kubernetes.default");
}
