//! Actions of the plans: draining a node before it is killed, deleting its Node after, and the cluster's DNS.
use framework_sdk::view::ServiceView;
use framework_sdk::{ActionRequest, Progress};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Endpoints, Node, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kubernetes_core::drain::{self, DrainFlags, PodOnNode, Verdict};
use kubernetes_core::flags;
use serde_json::json;

use super::{Shared, api, keeper, members};
use crate::topology::{ACT_DELETE_NODE, ACT_DNS, ACT_DRAIN, ACT_EMPTY_NODE, ACT_FILL_NODE, ACT_SPARE_MEMBER};
use daemon::error::chain;

/// From this minor version on evictions are of `policy/v1`.
const POLICY_V1_SINCE: u16 = 22;

pub(super) async fn act(shared: &Shared, request: &ActionRequest, view: &ServiceView) -> Progress {
    let node = request.instance.as_ref().map(ToString::to_string).unwrap_or_default();
    let result = match request.name.as_str() {
        ACT_DNS => cluster_dns(shared, view).await,
        ACT_DRAIN => drain_node(shared, &node, view).await,
        ACT_DELETE_NODE => delete_node(shared, &node, view).await,
        ACT_EMPTY_NODE => empty_node(shared, &node, view).await,
        ACT_FILL_NODE => fill_node(shared, &node, view).await,
        ACT_SPARE_MEMBER => match &request.instance {
            Some(instance) => members::spare(shared, instance, view).await.map(|()| Progress::Done),
            None => Ok(Progress::Done),
        },
        other => return Progress::Failed(format!("there is no action '{other}'")),
    };
    result.unwrap_or_else(Progress::NotYet)
}

async fn cluster_dns(shared: &Shared, view: &ServiceView) -> Result<Progress, String> {
    let client = api::cluster(shared, view).await?;
    keeper::keep(shared, &client, view).await?;
    let endpoints: Api<Endpoints> = Api::namespaced(client, "kube-system");
    let endpoints = endpoints.get_opt("kube-dns").await.map_err(|error| chain(&error))?;
    let servers = endpoints.map_or_else(Vec::new, |endpoints| keeper::servers_of(&endpoints));
    if servers.is_empty() && shared.nodes().set.count > 0 {
        return Ok(Progress::NotYet("the cluster's DNS has no server yet: no node is Ready".to_owned()));
    }
    Ok(Progress::Done)
}

async fn drain_node(shared: &Shared, name: &str, view: &ServiceView) -> Result<Progress, String> {
    let decided = shared.nodes();
    drain(shared, name, view, &decided.drain, decided.since).await
}

/// Annotation of a Node that is cordoned for an update: whoever else cordoned it wants it so after the update, too.
const CORDONED: &str = "mezzo/cordoned-for-update";

/// Empties a node that is about to be restarted: what runs on it would end with it.
async fn empty_node(shared: &Shared, name: &str, view: &ServiceView) -> Result<Progress, String> {
    let nodes: Api<Node> = Api::all(api::cluster(shared, view).await?);
    let Some(node) = nodes.get_opt(name).await.map_err(|error| chain(&error))? else { return Ok(Progress::Done) };
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) != Some(true) {
        let patch = json!({ "metadata": { "annotations": { CORDONED: "true" } }, "spec": { "unschedulable": true } });
        let patched = nodes.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map_err(|error| chain(&error))?;
    }
    let options = shared.options();
    let allowed = &options.node.update;
    let flags =
        DrainFlags { force: allowed.force, delete_emptydir_data: allowed.delete_emptydir_data, timeout_seconds: 0 };
    match drain(shared, name, view, &flags, super::now_seconds()).await? {
        Progress::Failed(words) => Ok(Progress::Failed(format!(
            "{words}; delete these pods, or allow it with the options node.update.force and \
             node.update.delete_emptydir_data"
        ))),
        progress @ (Progress::Done | Progress::NotYet(_)) => Ok(progress),
    }
}

/// It is back: it takes pods again.
async fn fill_node(shared: &Shared, name: &str, view: &ServiceView) -> Result<Progress, String> {
    let nodes: Api<Node> = Api::all(api::cluster(shared, view).await?);
    let node = nodes.get_opt(name).await.map_err(|error| chain(&error))?;
    if node.is_some_and(|node| node.metadata.annotations.iter().flatten().any(|(key, _)| key == CORDONED)) {
        let patch = json!({ "metadata": { "annotations": { CORDONED: null } }, "spec": { "unschedulable": null } });
        let patched = nodes.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map_err(|error| chain(&error))?;
    }
    Ok(Progress::Done)
}

/// One look at the node: cordon it, ask every pod that must leave to leave, and say who is still there. `since`: when it
/// began.
///
/// # Errors
/// In words.
pub(super) async fn drain(
    shared: &Shared,
    name: &str,
    view: &ServiceView,
    flags: &DrainFlags,
    since: u64,
) -> Result<Progress, String> {
    let words = |error: kube::Error| chain(&error);
    let client = api::cluster(shared, view).await?;
    let nodes: Api<Node> = Api::all(client.clone());
    if nodes.get_opt(name).await.map_err(words)?.is_none() {
        return Ok(Progress::Done);
    }
    nodes.cordon(name).await.map_err(words)?;
    let all: Api<Pod> = Api::all(client.clone());
    let on_node = all.list(&ListParams::default().fields(&format!("spec.nodeName={name}"))).await.map_err(words)?;
    let mut pods = Vec::new();
    for pod in &on_node {
        pods.push((pod, describe(&client, pod).await?));
    }
    let complaint = drain::complaint(&pods.iter().map(|(_, pod)| pod.clone()).collect::<Vec<_>>(), flags);
    if !complaint.is_empty() {
        return Ok(Progress::Failed(format!("{name} is not drained: {complaint}")));
    }
    let mut left = Vec::new();
    for (pod, description) in &pods {
        match drain::judge(description, flags) {
            Verdict::Ignored | Verdict::Refused(_) => {}
            Verdict::Awaited => left.push(format!("{} is ending", description.name)),
            Verdict::Evicted => {
                if let Some(why) = evict(shared, &client, pod).await? {
                    left.push(format!("{}: {why}", description.name));
                } else {
                    left.push(format!("{} was asked to leave", description.name));
                }
            }
        }
    }
    if left.is_empty() {
        return Ok(Progress::Done);
    }
    let waited = super::now_seconds().saturating_sub(since);
    let report = format!("{} of its pods are still there: {}", left.len(), left.join("; "));
    if flags.timeout_seconds > 0 && waited > flags.timeout_seconds {
        return Ok(Progress::Failed(format!("{name} is not drained after {waited} s; {report}")));
    }
    Ok(Progress::NotYet(report))
}

async fn describe(client: &kube::Client, pod: &Pod) -> Result<PodOnNode, String> {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let owner = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let mut controller_exists = owner.is_some();
    if let Some(owner) = owner.filter(|owner| owner.kind == "DaemonSet") {
        let sets: Api<DaemonSet> = Api::namespaced(client.clone(), &namespace);
        controller_exists = sets.get_opt(&owner.name).await.map_err(|error| chain(&error))?.is_some();
    }
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    Ok(PodOnNode {
        name: format!("{namespace}/{}", pod.metadata.name.as_deref().unwrap_or_default()),
        controller: owner.map(|owner| owner.kind.clone()),
        controller_exists,
        is_mirror: pod.metadata.annotations.iter().flatten().any(|(key, _)| key == "kubernetes.io/config.mirror"),
        has_empty_dir: volumes.is_some_and(|all| all.iter().any(|volume| volume.empty_dir.is_some())),
        is_finished: matches!(phase, "Succeeded" | "Failed"),
        is_terminating: pod.metadata.deletion_timestamp.is_some(),
    })
}

/// `None`: it was evicted. Otherwise why it stays for now. Posted by hand: the version of an eviction depends on the
/// cluster's.
async fn evict(shared: &Shared, client: &kube::Client, pod: &Pod) -> Result<Option<String>, String> {
    let minor = flags::minor(&shared.options().kubernetes_version).map_err(|error| error.to_string())?;
    let version = if minor >= POLICY_V1_SINCE { "policy/v1" } else { "policy/v1beta1" };
    let name = pod.metadata.name.clone().unwrap_or_default();
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let body =
        json!({ "apiVersion": version, "kind": "Eviction", "metadata": { "name": name, "namespace": namespace } });
    let request = http::Request::post(format!("/api/v1/namespaces/{namespace}/pods/{name}/eviction"))
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .map_err(|error| error.to_string())?;
    match client.request_text(request).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 429 => {
            Ok(Some(format!("its PodDisruptionBudget does not allow it yet ({})", status.message)))
        }
        Err(error) => Err(chain(&error)),
    }
}

pub(super) async fn delete_node(shared: &Shared, name: &str, view: &ServiceView) -> Result<Progress, String> {
    let client = api::cluster(shared, view).await?;
    let nodes: Api<Node> = Api::all(client.clone());
    match nodes.delete(name, &DeleteParams::default()).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(chain(&error)),
    }
    // What a DaemonSet kept there, and what was ending when the kubelet went, would be terminating for ever.
    let all: Api<Pod> = Api::all(client.clone());
    let rest = all
        .list(&ListParams::default().fields(&format!("spec.nodeName={name}")))
        .await
        .map_err(|error| chain(&error))?;
    for pod in rest {
        let pods: Api<Pod> = Api::namespaced(client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default());
        let gone = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        // Gone by itself is as good.
        let _ = pods.delete(pod.metadata.name.as_deref().unwrap_or_default(), &gone).await;
    }
    Ok(Progress::Done)
}

/// Takes back the cordon of nodes that stay after all.
///
/// # Errors
/// In words.
pub(super) async fn uncordon(shared: &Shared, view: &ServiceView, names: &[String]) -> Result<(), String> {
    let client = api::cluster(shared, view).await?;
    let nodes: Api<Node> = Api::all(client);
    for name in names {
        let patch = Patch::Merge(json!({ "spec": { "unschedulable": null } }));
        nodes.patch(name, &PatchParams::default(), &patch).await.map_err(|error| chain(&error))?;
    }
    Ok(())
}
