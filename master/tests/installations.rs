//! A package from a folder: installed through the services framework, privileged because it says so, and uninstalled in
//! order, with a restart of the master in the middle.

// A test names the answer that it expects; every other one is a failure.
#![expect(clippy::wildcard_enum_match_arm)]

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use common::{Agent, Framework, Pool, accept, task, within};
use daemon::identity::Identity;
use http::{HeaderMap, StatusCode};
use proto::mezzo::v1 as wire;
use serde_json::{Value, json};

const PACKAGE: &str = r#"
name = "tool"
version = "1.0"
summary = "A tool"
description = "A tool for tests."
privileged = true
service = "service.json.j2"
"#;
const SCHEMA: &str = r#"{
  "type": "object", "additionalProperties": false,
  "properties": {
    "count": {"type": "integer", "minimum": 1, "default": 2, "description": "how many"},
    "disk": {"type": "integer", "default": 5, "immutable": true, "description": "how large"}
  }
}"#;
const SERVICE: &str = r#"{"name": {{ name | json }}, "count": {{ options.count }}}"#;

/// What the services framework and the tool's scheduler have been told.
#[derive(Default)]
struct Told {
    services: BTreeMap<String, Value>,
    puts: usize,
    principals: Vec<String>,
    uninstalls: usize,
    plan_is_complete: bool,
}
type Shared = Arc<Mutex<Told>>;

fn told(shared: &Shared) -> std::sync::MutexGuard<'_, Told> {
    shared.lock().expect("no test panics while holding it")
}

async fn put(State(shared): State<Shared>, Path(name): Path<String>, headers: HeaderMap, Json(body): Json<Value>) {
    let mut told = told(&shared);
    told.principals.push(headers["x-mezzo-principal"].to_str().expect("text").to_owned());
    told.puts += 1;
    told.services.insert(name, body);
}
async fn show(State(shared): State<Shared>, Path(name): Path<String>) -> StatusCode {
    if told(&shared).services.contains_key(&name) { StatusCode::OK } else { StatusCode::NOT_FOUND }
}
async fn remove(State(shared): State<Shared>, Path(name): Path<String>) -> StatusCode {
    match told(&shared).services.remove(&name) {
        Some(_) => StatusCode::OK,
        None => StatusCode::NOT_FOUND,
    }
}
async fn uninstall(State(shared): State<Shared>) {
    told(&shared).uninstalls += 1;
}
async fn plan(State(shared): State<Shared>) -> Json<Value> {
    let status = if told(&shared).plan_is_complete { "COMPLETE" } else { "STARTED" };
    Json(json!({"name": "uninstall", "status": status, "phases": [
        {"name": "kill", "steps": [{"name": "web-0", "status": status, "why": "waiting for its end"}]},
    ]}))
}

async fn serve_api(identity: &Identity, shared: &Shared) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    let router = Router::new()
        .route("/v1/services/{name}", get(show).put(put).delete(remove))
        .route("/v1/uninstall", post(uninstall))
        .route("/v1/plans/uninstall", get(plan))
        .with_state(shared.clone());
    let tls = daemon::tls::server_config(identity).expect("tls");
    tokio::spawn(daemon::serve::serve(listener, tls, router, None, std::future::pending()));
    address
}

fn write_package() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temporary directory");
    let folder = dir.path().join("catalog/tool/1.0");
    std::fs::create_dir_all(&folder).expect("made");
    for (file, text) in [("package.toml", PACKAGE), ("options.schema.json", SCHEMA), ("service.json.j2", SERVICE)] {
        std::fs::write(folder.join(file), text).expect("written");
    }
    dir
}

fn install(name: &str, options: &str) -> wire::InstallPackageRequest {
    wire::InstallPackageRequest {
        package: "tool".to_owned(),
        name: name.to_owned(),
        options_json: options.to_owned(),
        ..wire::InstallPackageRequest::default()
    }
}

/// Waits until the installation is as wished.
async fn until(pool: &Pool, what: &str, wished: impl Fn(Option<&wire::Installation>) -> bool) {
    within(what, async {
        loop {
            let listed = pool.operator().list_installations(wire::ListInstallationsRequest::default()).await;
            let listed = listed.expect("listed").into_inner().installations;
            if wished(listed.iter().find(|installation| installation.name == "demo")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_comes_and_goes_in_order() {
    let mut pool = Pool::start_in(write_package()).await;
    let found = pool.operator().search_catalog(wire::SearchCatalogRequest { text: "tool".to_owned() }).await;
    assert_eq!(found.expect("found").into_inner().packages[0].versions, ["1.0"]);
    let shared = Shared::default();
    let services_identity = pool.identity("framework/services").await;
    let api = format!("https://{}", serve_api(&services_identity, &shared).await);
    let mut services = Framework::connect(&pool, "services", &services_identity).await;
    services.subscribe("", Some(&api)).await;
    services.suppress().await;

    // Refused before anything is created; shown without being created; created.
    let refused = pool.operator().install_package(install("demo", r#"{"count": 0}"#)).await.expect_err("too few");
    assert!(refused.message().contains("count"), "{refused}");
    let dry = wire::InstallPackageRequest { dry_run: true, ..install("demo", "") };
    let shown = pool.operator().install_package(dry).await.expect("rendered").into_inner();
    assert_eq!(shown.service_json, r#"{"name":"demo","count":2}"#);
    assert!(told(&shared).services.is_empty());
    pool.operator().install_package(install("demo", r#"{"count": 3}"#)).await.expect("installed");
    until(&pool, "the installation", |found| found.is_some_and(|found| found.state == "installed")).await;
    assert_eq!(told(&shared).services["demo"], json!({"name": "demo", "count": 3}));
    assert!(told(&shared).principals.iter().all(|principal| principal == "master"));
    let taken = pool.operator().install_package(install("demo", "")).await.expect_err("in use");
    assert_eq!(taken.code(), tonic::Code::AlreadyExists);

    // Its framework may launch privileged tasks, because the package says so.
    let mut agent = Agent::connect(&pool, "one", pool.join("one").await).await;
    agent.register("", Vec::new()).await;
    let registered = agent.registered().await;
    let demo_identity = pool.identity("framework/demo").await;
    let demo_api = format!("https://{}", serve_api(&demo_identity, &shared).await);
    let mut demo = Framework::connect(&pool, "demo", &demo_identity).await;
    demo.subscribe("", Some(&demo_api)).await;
    let offer = demo.offer("one").await;
    let mut wanted = task("demo.1", &registered.agent_id, "secret/x", 20_000);
    wanted.mezzo = Some(wire::TaskExtension { privileged: true, ..wire::TaskExtension::default() });
    let write = wire::StateWrite { key: "secret/x".to_owned(), value: Some("x".into()) };
    let accepted = demo.call(Some(accept(&demo.id, &offer, vec![wanted])), vec![write]).await;
    demo.result(accepted).await.expect("accepted");
    match agent.next().await {
        wire::master_message::Kind::Launch(launch) => assert!(launch.privileged_allowed),
        other => panic!("no launch: {other:?}"),
    }

    // Options change, except those that cannot; only what differs is merged.
    let update = |options: &str| wire::UpdatePackageRequest {
        name: "demo".to_owned(),
        options_json: options.to_owned(),
        ..wire::UpdatePackageRequest::default()
    };
    let refused = pool.operator().update_package(update(r#"{"disk": 6}"#)).await.expect_err("immutable");
    assert!(refused.message().contains("disk"), "{refused}");
    pool.operator().update_package(update(r#"{"count": 4}"#)).await.expect("updated");
    until(&pool, "the update", |found| {
        found.is_some_and(|found| found.state == "installed" && found.options_json.contains("\"count\":4"))
    })
    .await;
    assert_eq!(told(&shared).services["demo"]["count"], 4);

    // Uninstalling waits for the framework's own plan, also across a restart of the master.
    let gone = wire::UninstallPackageRequest { name: "demo".to_owned(), dry_run: false };
    pool.operator().uninstall_package(gone.clone()).await.expect("begun");
    until(&pool, "the plan to be waited for", |found| {
        found.is_some_and(|found| found.waiting_for.contains("web-0: waiting for its end"))
    })
    .await;
    let (services_id, demo_id) = (services.id.clone(), demo.id.clone());
    pool.restart().await;
    let mut services = Framework::connect(&pool, "services", &services_identity).await;
    services.subscribe(&services_id, Some(&api)).await;
    until(&pool, "the framework to be waited for", |found| found.is_some_and(|found| !found.waiting_for.is_empty()))
        .await;
    assert!(told(&shared).services.contains_key("demo"), "its service goes only after the framework has freed all");
    let mut demo = Framework::connect(&pool, "demo", &demo_identity).await;
    demo.subscribe(&demo_id, Some(&demo_api)).await;
    told(&shared).plan_is_complete = true;
    until(&pool, "the end of the installation", |found| found.is_none()).await;
    {
        let told = told(&shared);
        assert!(told.services.is_empty());
        assert!(told.uninstalls >= 2, "asked again after the restart: {}", told.uninstalls);
    }
    let frameworks = pool.operator().list_frameworks(wire::ListFrameworksRequest::default()).await.expect("listed");
    let demo = frameworks.into_inner().frameworks.into_iter().find(|framework| framework.name == "demo");
    assert!(demo.is_none_or(|demo| demo.state == "torn down"));
    pool.operator().uninstall_package(gone).await.expect_err("gone already");
    pool.stop().await;
}
