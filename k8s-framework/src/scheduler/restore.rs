//! A cluster made from a backup. Installed with `restore_from`, the framework makes no keys but waits for those of the
//! backup; etcd's first member starts from the snapshot, is compared with the manifest before anything may write, and the
//! Nodes of the old cluster go before new ones come.
use std::sync::Arc;

use axum::body::Body;
use framework_sdk::spec::ArtifactSpec;
use framework_sdk::view::Placement;
use framework_sdk::{PodInstance, RenderedPod};
use http::Request;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, ListParams};
use kubernetes_core::backup::{self, Manifest};
use model::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tracing::info;

use super::secrets::{self, Secrets};
use super::{Shared, api, etcd, images};
use crate::topology::{CLIENT, ETCD};
use daemon::error::chain;

/// State entry with [`Restore`].
const KEY: &str = "restore";
/// The snapshot's name in the sandbox of etcd.
const SNAPSHOT: &str = "etcd.snapshot";
/// What stands before etcd's own arguments while its first member starts from a snapshot. A data directory appears when
/// it is whole, and one that is there is not touched.
const SCRIPT: &str = r#"data=$1 name=$2 cluster=$3 peer=$4 token=$5
shift 5
if [ ! -e "$data" ]; then
  rm -rf "$data.restoring"
  ETCDCTL_API=3 /usr/local/bin/etcdctl snapshot restore "$MEZZO_SANDBOX/etcd.snapshot" --name "$name" \
    --initial-cluster "$cluster" --initial-advertise-peer-urls "$peer" --initial-cluster-token "$token" \
    --data-dir "$data.restoring"
  sync
  mv "$data.restoring" "$data"
fi
exec "$@""#;

/// How far a restore is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Restore {
    manifest: Manifest,
    /// Etcd is what the manifest says; the revision it was at then.
    verified: Option<i64>,
    /// What was bound to the old cluster's machines is gone.
    cleaned: bool,
}

/// What is sent to a cluster that waits for its backup.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sent {
    manifest: Manifest,
    /// The file of keys, as it is in the backup.
    secrets: String,
}

fn read(shared: &Shared) -> Option<Restore> {
    serde_json::from_slice(&shared.handle.state().get(KEY)?).ok()
}

async fn write(shared: &Shared, restore: &Restore) -> Result<(), String> {
    let bytes = serde_json::to_vec(restore).map_err(|error| error.to_string())?;
    shared.handle.state().put(KEY, bytes).await.map_err(|error| chain(&error))
}

/// Why no keys may be made: they come with a backup.
pub(super) fn waiting(shared: &Shared) -> Option<Refusal> {
    let options = shared.options();
    let id = options.restore_from.as_str();
    let waits = !id.is_empty() && !secrets::are_stored(shared.handle.state());
    waits.then(|| {
        let next = "send it with: mezzo kubernetes restore FILE";
        Refusal::new("K8S0011", format!("'{}' waits for the backup {id}", shared.name), next)
    })
}

/// Takes the keys and the manifest of a backup. Idempotent.
///
/// # Errors
/// If this cluster does not wait for it.
pub(super) async fn accept(shared: &Arc<Shared>, request: Sent) -> Result<Value, Refusal> {
    let manifest = request.manifest;
    let wrong = |message: String| Refusal::new("K8S0011", message, "restore into a new cluster, from a whole backup");
    if shared.options().restore_from != manifest.id {
        return Err(wrong(format!("'{}' does not wait for the backup {}", shared.name, manifest.id)));
    }
    if manifest.format > backup::FORMAT {
        return Err(wrong(format!("the backup has format {}, known is {}", manifest.format, backup::FORMAT)));
    }
    if hex::encode(Sha256::digest(request.secrets.as_bytes())) != manifest.secrets_sha256 {
        return Err(wrong("the backup's keys are damaged".to_owned()));
    }
    if let Some(known) = read(shared) {
        return Ok(json!({ "id": known.manifest.id }));
    }
    if secrets::are_stored(shared.handle.state()) {
        return Err(wrong(format!("'{}' has keys of its own", shared.name)));
    }
    serde_json::from_str::<Secrets>(&request.secrets)
        .map_err(|error| wrong(format!("the backup's keys cannot be read: {error}")))?;
    let mut present = Vec::new();
    let mut absent = Vec::new();
    for archive in &manifest.images {
        let is_there = has_artifact(shared, &archive.digest).await;
        if is_there { present.push(archive.clone()) } else { absent.push(archive.file.clone()) }
    }
    let restore = Restore { manifest, verified: None, cleaned: false };
    let id = restore.manifest.id.clone();
    let failed = |error: String| Refusal::new("K8S0008", format!("the backup is not stored: {error}"), "try again");
    let bytes = serde_json::to_vec(&restore).map_err(|error| failed(error.to_string()))?;
    images::replace(shared, &present).await?;
    let writes = vec![(KEY.to_owned(), Some(bytes)), (secrets::KEY.to_owned(), Some(request.secrets.into_bytes()))];
    shared.handle.state().write(writes).await.map_err(|error| failed(chain(&error)))?;
    info!(id, "keys of the backup taken, the cluster begins");
    Ok(json!({ "id": id, "images": present, "images_to_load_again": absent }))
}

async fn has_artifact(shared: &Shared, hex: &str) -> bool {
    let Ok(request) = Request::head(format!("/artifacts/sha256/{hex}")).body(Body::empty()) else { return false };
    shared.pool.request(request).await.is_ok_and(|answer| answer.status().is_success())
}

/// Has the first member start from the snapshot, until it was seen that it did.
pub(super) fn prepare(shared: &Shared, instance: &PodInstance, pod: &mut RenderedPod) {
    if instance.name.pod != ETCD || instance.name.index != 0 {
        return;
    }
    let Some(restore) = read(shared).filter(|restore| restore.verified.is_none()) else { return };
    let Some(task) = pod.tasks.get_mut(ETCD) else { return };
    let Some(argv) = task.argv.take() else { return };
    let flag = |name: &str| {
        let prefix = format!("--{name}=");
        argv.iter().find_map(|argument| argument.strip_prefix(&prefix)).unwrap_or_default().to_owned()
    };
    let mut wrapped = vec!["/bin/sh".to_owned(), "-ec".to_owned(), SCRIPT.to_owned(), "restore".to_owned()];
    wrapped.extend(
        ["data-dir", "name", "initial-cluster", "initial-advertise-peer-urls", "initial-cluster-token"].map(flag),
    );
    wrapped.extend(argv);
    task.argv = Some(wrapped);
    task.artifacts.push(ArtifactSpec {
        uri: format!("artifact:sha256:{}", restore.manifest.snapshot_sha256),
        output_file: Some(SNAPSHOT.to_owned()),
        executable: false,
        extract: false,
    });
}

/// Compares etcd with the manifest, once, before an apiserver may write.
///
/// # Errors
/// In words, what differs.
pub(super) async fn verify(shared: &Shared, placement: &Placement) -> Result<(), String> {
    let Some(mut restore) = read(shared).filter(|restore| restore.verified.is_none()) else { return Ok(()) };
    let port = placement.port(CLIENT).ok_or("etcd has no client port")?;
    let mut client = etcd::connect_to(shared, &format!("{}:{port}", placement.address)).await?;
    let found = etcd::count(&mut client, Some(restore.manifest.revision)).await?;
    let differences = backup::differences(&restore.manifest, found.current, &found.objects);
    if !differences.is_empty() {
        return Err(format!("etcd is not what the backup {} holds: {}", restore.manifest.id, differences.join("; ")));
    }
    restore.verified = Some(found.current);
    write(shared, &restore).await?;
    info!(id = restore.manifest.id, revision = found.current, "etcd holds what the backup's manifest says");
    Ok(())
}

/// Deletes what names machines of the old cluster, once, before a node comes: Nodes, the pods bound to them (their owners make
/// new ones), and leases that nobody holds any more.
///
/// # Errors
/// In words.
pub(super) async fn clean(shared: &Shared, view: &framework_sdk::view::ServiceView) -> Result<(), String> {
    let Some(mut restore) = read(shared).filter(|restore| !restore.cleaned) else { return Ok(()) };
    let words = |error: kube::Error| chain(&error);
    let client = api::cluster(shared, view).await?;
    let all = ListParams::default();
    let gone = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    let pods: Api<Pod> = Api::all(client.clone());
    let mut count = 0;
    for pod in pods.list(&all).await.map_err(words)? {
        if pod.spec.as_ref().is_none_or(|spec| spec.node_name.is_none()) {
            continue;
        }
        let of: Api<Pod> = Api::namespaced(client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default());
        absent_or(of.delete(pod.metadata.name.as_deref().unwrap_or_default(), &gone).await.map(drop)).map_err(words)?;
        count += 1;
    }
    let nodes: Api<Node> = Api::all(client.clone());
    for node in nodes.list(&all).await.map_err(words)? {
        absent_or(nodes.delete(node.metadata.name.as_deref().unwrap_or_default(), &gone).await.map(drop))
            .map_err(words)?;
    }
    for namespace in ["kube-system", "kube-node-lease"] {
        let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
        for lease in leases.list(&all).await.map_err(words)? {
            let name = lease.metadata.name.unwrap_or_default();
            absent_or(leases.delete(&name, &gone).await.map(drop)).map_err(words)?;
        }
    }
    restore.cleaned = true;
    write(shared, &restore).await?;
    info!(pods = count, "nodes of the old cluster and the pods bound to them are gone");
    Ok(())
}

fn absent_or(result: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other,
    }
}

/// What a user is shown.
pub(super) fn show(shared: &Shared) -> Value {
    let Some(restore) = read(shared) else {
        if waiting(shared).is_some() {
            return json!({ "id": shared.options().restore_from, "verified": false });
        }
        return Value::Null;
    };
    let objects: u64 = restore.manifest.objects.values().sum();
    json!({
        "id": restore.manifest.id,
        "from": restore.manifest.cluster,
        "created": restore.manifest.created,
        "backup_revision": restore.manifest.revision,
        "objects": objects,
        "kinds": restore.manifest.objects.len(),
        "verified": restore.verified.is_some(),
        "verified_revision": restore.verified,
        "old_nodes_removed": restore.cleaned,
    })
}
