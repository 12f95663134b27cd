//! What callers of a framework's API get wrong, and who may not call it at all: status, code, words and next step.
use std::collections::BTreeMap;

use axum::body::Body;
use tower::ServiceExt as _;

use super::*;

fn api() -> Router {
    let handle = Handle::ended("demo", BTreeMap::new()).expect("made");
    let guard: Guard = Arc::new(|_, _| Box::pin(async { Ok(()) }));
    let preview: Preview = Arc::new(|_| Box::pin(async { Ok(None) }));
    router(handle, guard, preview, Router::new())
}

/// What a caller with such a certificate, for whom the master may vouch, is answered.
async fn ask(method: &str, path: &str, peer: Option<&str>, vouched: Option<&str>) -> (u16, Value) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(vouched) = vouched {
        request = request.header(PRINCIPAL_HEADER, vouched);
    }
    let mut request = request.body(Body::empty()).expect("a request");
    request.extensions_mut().insert(Peer { principal: peer.map(Principal::new) });
    let response = api().oneshot(request).await.expect("a router answers");
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 16).await.expect("a short answer");
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test]
async fn what_is_not_there_or_not_so_named_is_refused() {
    for (method, path, status, code, words) in [
        ("GET", "/v1/plans/none", 404, "SDK0006", "there is no plan 'none'"),
        ("GET", "/v1/pods/web-0", 404, "SDK0005", "there is no instance 'web-0'"),
        ("GET", "/v1/pods/web", 400, "SDK0010", "web"),
        ("POST", "/v1/pods/web/restart", 400, "SDK0010", "web"),
        ("POST", "/v1/pods/web-x/replace", 400, "SDK0010", "web-x"),
        ("POST", "/v1/plans/deploy/pause", 503, "SDK0002", "the scheduler is shutting down"),
        ("POST", "/v1/plans/deploy/resume", 503, "SDK0002", "the scheduler is shutting down"),
        ("POST", "/v1/plans/deploy/restart", 503, "SDK0002", "the scheduler is shutting down"),
        ("POST", "/v1/pods/web-0/restart", 503, "SDK0002", "the scheduler is shutting down"),
        ("POST", "/v1/uninstall", 503, "SDK0002", "the scheduler is shutting down"),
    ] {
        let (found, refusal) = ask(method, path, Some("operator/ann"), None).await;
        assert_eq!((found, refusal["code"].as_str()), (status, Some(code)), "{method} {path}: {refusal}");
        assert!(refusal["message"].as_str().is_some_and(|said| said.contains(words)), "{method} {path}: {refusal}");
        assert!(refusal["next_step"].as_str().is_some_and(|next| !next.is_empty()), "{method} {path}: {refusal}");
    }
}

#[tokio::test]
async fn only_the_master_and_operators_may_call() {
    for peer in [None, Some("framework/demo"), Some("agent/one"), Some("framework/other")] {
        // Nobody but the master vouches for others.
        for vouched in [None, Some("operator/ann")] {
            for path in ["/v1/plans", "/v1/pods", "/v1/state", "/metrics"] {
                let (status, refusal) = ask("GET", path, peer, vouched).await;
                assert_eq!((status, refusal["code"].as_str()), (403, Some("SDK0011")), "{peer:?} {path}: {refusal}");
            }
        }
    }
    assert_eq!(ask("GET", "/v1/plans", Some("master"), Some("operator/ann")).await.0, 200);
}

#[tokio::test]
async fn a_name_of_no_address_and_a_master_that_is_away_are_told_apart() {
    let handle = Handle::ended("demo", BTreeMap::new()).expect("made");
    let refusal = handle.vip("-api").await.expect_err("no name");
    assert_eq!(
        (refusal.code.as_str(), refusal.message.as_str()),
        ("SDK0012", "'-api' is no name of a virtual address")
    );
    let away = crate::vip::lease(&handle.master, "demo", "api").await.expect_err("nobody listens");
    assert!(away.is_passing(), "{away:?}");
    let refusal = away.refusal();
    assert!(refusal.code == "SDK0012" && refusal.message.contains("the master gives no virtual address"), "{refusal}");
}
