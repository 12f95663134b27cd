//! What the cluster's scheduler answers beyond the SDK: how the cluster is, its kubeconfig, and scaling.
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use framework_sdk::http::ApiError;
use framework_sdk::view::InstanceView;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams};
use kubernetes_core::drain::DrainFlags;
use kubernetes_core::kubeconfig::Server;
use kubernetes_core::pki;
use kubernetes_core::scale::{self, NodeSet, Weight};
use model::Refusal;
use serde::Deserialize;
use serde_json::{Value, json};

use super::probe::not_ready;
use super::render::kubeconfig_text;
use super::{Nodes, Shared, act, api, backup, certificates, images, restore};
use crate::topology::{APISERVER, CONTROLLER_MANAGER, ETCD, NODE, SCHEDULER};
use daemon::error::chain;

const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

pub(super) fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/cluster", get(cluster))
        .route("/v1/cluster/kubeconfig", get(kubeconfig))
        .route("/v1/cluster/scale", post(scale_cluster))
        .route("/v1/cluster/backup", get(make_backup))
        .route("/v1/cluster/backups", get(list_backups).post(keep_backup))
        .route("/v1/cluster/certificates", get(list_certificates))
        .route("/v1/cluster/certificates/renew", post(renew_certificates))
        .route("/v1/cluster/certificates/rotate-ca", post(rotate_authorities))
        .route("/v1/cluster/metrics", get(metrics))
        .route("/v1/cluster/restore", post(take_backup))
        .route("/v1/cluster/images", get(list_images).post(load_images))
        .route("/v1/cluster/images/unload", post(unload_images))
        .with_state(shared)
}

async fn cluster(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let view = shared.handle.view();
    let components: Vec<Value> = [ETCD, APISERVER, CONTROLLER_MANAGER, SCHEDULER]
        .into_iter()
        .flat_map(|pod| view.of_pod(pod))
        .map(component)
        .collect();
    let seen =
        tokio::time::timeout(TIMEOUT, seen_nodes(&shared)).await.unwrap_or_else(|_| Err("no answer in 5 s".to_owned()));
    let (seen, api) = match seen {
        Ok(seen) => (seen, json!({ "reachable": true })),
        Err(error) => (BTreeMap::new(), json!({ "reachable": false, "error": error })),
    };
    let nodes: Vec<Value> = view
        .of_pod(NODE)
        .map(|instance| {
            let name = instance.name.to_string();
            let node = seen.get(&name).map(|(node, _)| node);
            let mut value = component(instance);
            value["kubernetes_ready"] = node.map_or(Value::Null, |node| not_ready(node).is_none().into());
            value["reason"] = node.and_then(not_ready).into();
            value["kubelet_version"] =
                node.and_then(|node| Some(node.status.as_ref()?.node_info.as_ref()?.kubelet_version.clone())).into();
            value["schedulable"] =
                node.map(|node| node.spec.as_ref().and_then(|spec| spec.unschedulable) != Some(true)).into();
            value["allocatable"] = node
                .and_then(|node| serde_json::to_value(node.status.as_ref()?.allocatable.as_ref()?).ok())
                .unwrap_or(Value::Null);
            value["pods"] = seen.get(&name).map(|(_, pods)| *pods).into();
            value
        })
        .collect();
    Json(json!({
        "name": shared.name,
        "kubernetes_version": shared.options().kubernetes_version,
        "high_availability": shared.options().high_availability,
        "node_count": shared.nodes().set.count,
        "api": api,
        "components": components,
        "nodes": nodes,
        "restore": restore::show(&shared),
        "certificates": certificates::summary(&shared).await,
    }))
}

fn component(instance: &InstanceView) -> Value {
    let tasks: Vec<Value> = instance
        .tasks
        .values()
        .map(|task| json!({ "name": task.name, "task_id": task.task_id, "state": task.state, "message": task.message }))
        .collect();
    json!({
        "name": instance.name.to_string(),
        "agent": instance.placement.as_ref().map(|placement| &placement.agent_name),
        "address": instance.placement.as_ref().map(|placement| &placement.address),
        "ready": instance.is_ready,
        "leaving": instance.is_leaving,
        "tasks": tasks,
    })
}

/// Every Node, with how many pods would have to move from it.
async fn seen_nodes(shared: &Shared) -> Result<BTreeMap<String, (Node, usize)>, String> {
    let words = |error: kube::Error| chain(&error);
    let client = api::cluster(shared, &shared.handle.view()).await?;
    let nodes: Api<Node> = Api::all(client.clone());
    let pods: Api<Pod> = Api::all(client);
    let mut seen: BTreeMap<String, (Node, usize)> = nodes
        .list(&ListParams::default())
        .await
        .map_err(words)?
        .into_iter()
        .filter_map(|node| Some((node.metadata.name.clone()?, (node, 0))))
        .collect();
    for pod in
        pods.list(&ListParams::default().fields("status.phase!=Succeeded,status.phase!=Failed")).await.map_err(words)?
    {
        let is_of_daemon_set = pod.metadata.owner_references.iter().flatten().any(|owner| owner.kind == "DaemonSet");
        let node = pod.spec.and_then(|spec| spec.node_name).unwrap_or_default();
        if let Some((_, pods)) = seen.get_mut(&node).filter(|_| !is_of_daemon_set) {
            *pods += 1;
        }
    }
    Ok(seen)
}

/// An administrator's document. It leads to the gateway at which the caller is, and verifies the name, not the address.
async fn kubeconfig(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Result<Response, ApiError> {
    let secrets = shared.secrets().await?;
    let gateway = headers.get("x-forwarded-host").and_then(|value| value.to_str().ok()).unwrap_or(&shared.master);
    let server = Server {
        address: gateway.to_owned(),
        tls_server_name: pki::api_server_name(&shared.name),
        cluster: shared.name.clone(),
    };
    Ok(([(header::CONTENT_TYPE, "application/yaml")], kubeconfig_text(&server, "admin", &secrets)).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScaleRequest {
    node_count: u32,
    #[serde(default)]
    remove: Vec<String>,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    delete_emptydir_data: bool,
    #[serde(default)]
    timeout_seconds: u64,
}

async fn scale_cluster(State(shared): State<Arc<Shared>>, body: String) -> Result<Json<Value>, ApiError> {
    let request: ScaleRequest = serde_json::from_str(&body).map_err(|error| {
        Refusal::new(
            "K8S0002",
            format!("the request cannot be read: {error}"),
            r#"send {"node_count": 3, "remove": ["node-0"]}"#,
        )
    })?;
    let before = shared.nodes();
    let seen = tokio::time::timeout(TIMEOUT, seen_nodes(&shared)).await.ok().and_then(Result::ok).unwrap_or_default();
    let weights: Vec<Weight> = seen
        .iter()
        .filter_map(|(name, (node, pods))| {
            let index = std::cmp::Reverse(scale::index_of(name)?);
            Some(Weight { is_ready: not_ready(node).is_none(), pods: *pods, index })
        })
        .collect();
    let set = scale::scale(&before.set, &weights, request.node_count, &request.remove)?;
    let names = |set: &NodeSet, other: &NodeSet| -> Vec<String> {
        set.indices().difference(&other.indices()).map(|index| format!("{NODE}-{index}")).collect()
    };
    let (added, removed) = (names(&set, &before.set), names(&before.set, &set));
    let after = Nodes {
        drain: DrainFlags {
            force: request.force,
            delete_emptydir_data: request.delete_emptydir_data,
            timeout_seconds: request.timeout_seconds,
        },
        since: super::now_seconds(),
        set,
        option: before.option,
    };
    // Intent first: a scheduler that dies between the two sets the target at its next start.
    shared.store_nodes(&after).await?;
    if let Err(refusal) = shared.handle.set_target(shared.service(&after.set)).await {
        shared.store_nodes(&before).await?;
        return Err(refusal.into());
    }
    let staying: Vec<String> = added
        .iter()
        .filter(|name| {
            seen.get(*name)
                .is_some_and(|(node, _)| node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true)))
        })
        .cloned()
        .collect();
    if !staying.is_empty()
        && let Err(error) = act::uncordon(&shared, &shared.handle.view(), &staying).await
    {
        tracing::warn!(error, "nodes that stay are still cordoned");
    }
    Ok(Json(json!({ "node_count": after.set.count, "added": added, "removed": removed })))
}

async fn list_images(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(images::show(&shared))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadRequest {
    digest: String,
    name: String,
}

async fn load_images(State(shared): State<Arc<Shared>>, body: String) -> Result<Json<Value>, ApiError> {
    let request: LoadRequest = read(&body, r#"send {"digest": "sha256:<hex>", "name": FILE}"#)?;
    Ok(Json(images::load(&shared, &request.digest, &request.name).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UnloadRequest {
    what: String,
}

async fn unload_images(State(shared): State<Arc<Shared>>, body: String) -> Result<Json<Value>, ApiError> {
    let request: UnloadRequest = read(&body, r#"send {"what": FILE, IMAGE or DIGEST}"#)?;
    Ok(Json(images::unload(&shared, &request.what).await?))
}

/// A backup, made while it is sent. If it breaks off, the answer does.
async fn make_backup(State(shared): State<Arc<Shared>>) -> Result<Response, ApiError> {
    let making = backup::make(&shared, "asked").await?;
    let name = format!("attachment; filename=\"{}.tar\"", making.id);
    let headers = [(header::CONTENT_TYPE, "application/x-tar".to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(making.into_stream())).into_response())
}

async fn list_backups(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "backups": backup::stored(&shared).await? })))
}

async fn keep_backup(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "backup": backup::keep(&shared, "asked").await? })))
}

async fn take_backup(State(shared): State<Arc<Shared>>, body: String) -> Result<Json<Value>, ApiError> {
    let sent: restore::Sent = read(&body, r#"send {"manifest": {...}, "secrets": "..."} of a backup"#)?;
    Ok(Json(restore::accept(&shared, sent).await?))
}

async fn list_certificates(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(certificates::show(&shared).await)
}

async fn metrics(State(shared): State<Arc<Shared>>) -> String {
    certificates::metrics(&shared).await
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RenewRequest {
    force: bool,
}

async fn renew_certificates(State(shared): State<Arc<Shared>>, body: String) -> Result<Json<Value>, ApiError> {
    let request: RenewRequest = read(&body, r#"send {"force": false}"#)?;
    Ok(Json(certificates::renew(&shared, request.force).await?))
}

async fn rotate_authorities(State(shared): State<Arc<Shared>>, body: String) -> Result<Json<Value>, ApiError> {
    let request: RenewRequest = read(&body, r#"send {"force": false}"#)?;
    Ok(Json(certificates::rotate(&shared, request.force).await?))
}

/// A request's body, or what it should have been.
fn read<T: serde::de::DeserializeOwned>(body: &str, example: &str) -> Result<T, Refusal> {
    serde_json::from_str(body)
        .map_err(|error| Refusal::new("K8S0002", format!("the request cannot be read: {error}"), example))
}
