//! Nodes whose agent is unreachable. Kubernetes cannot know that the machine is lost, mezzo says so: the Node is tainted
//! out-of-service at once and its pods are deleted for good, so that their controllers make others elsewhere, and after
//! a while a node of a new name takes its place. A kubelet that returns is killed by this framework, and its Node is gone.
use std::collections::BTreeMap;
use std::time::Duration;

use framework_sdk::view::ServiceView;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kubernetes_core::lost::{self, TAINT};
use kubernetes_core::scale;
use model::TaskState;
use serde_json::json;
use tracing::{info, warn};

use super::{Nodes, Shared, now_seconds};
use crate::topology::NODE;
use daemon::error::chain;

/// For all that is asked of the API about lost nodes in one round.
const TIME: Duration = Duration::from_secs(10);

/// Nodes whose agent is unreachable by index, with the second since when.
fn lost(view: &ServiceView) -> BTreeMap<u32, u64> {
    view.of_pod(NODE)
        .filter(|instance| !instance.is_leaving)
        .filter_map(|instance| {
            let since = instance
                .tasks
                .values()
                .filter(|task| task.state == TaskState::Unreachable)
                .filter_map(|task| task.unreachable_since)
                .min()?;
            Some((instance.name.index, since.0 / 1000))
        })
        .collect()
}

/// Watches over lost nodes.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Nothing was lost when the cluster was told last: there is nothing new to tell while nothing is.
    is_all_well: bool,
}

impl Watch {
    /// One round: what is lost is told to the cluster and replaced when its time is over, what is back is told to be back.
    ///
    /// # Errors
    /// In words.
    pub(super) async fn look(
        &mut self,
        shared: &Shared,
        client: &kube::Client,
        view: &ServiceView,
    ) -> Result<(), String> {
        let lost = lost(view);
        if lost.is_empty() && self.is_all_well {
            return Ok(());
        }
        let told = tokio::time::timeout(TIME, tell(client, view, &lost)).await;
        // A cluster that does not answer gets its new nodes all the same.
        replace(shared, &lost).await?;
        told.unwrap_or_else(|_| Err(format!("no answer about lost nodes in {} s", TIME.as_secs())))?;
        self.is_all_well = lost.is_empty();
        Ok(())
    }
}

async fn tell(client: &kube::Client, view: &ServiceView, lost: &BTreeMap<u32, u64>) -> Result<(), String> {
    let nodes: Api<Node> = Api::all(client.clone());
    for node in nodes.list(&ListParams::default()).await.map_err(|error| chain(&error))? {
        let name = node.metadata.name.clone().unwrap_or_default();
        let Some(index) = scale::index_of(&name).filter(|index| view.instance(NODE, *index).is_some()) else {
            continue;
        };
        let is_tainted = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten()).any(|taint| taint.key == TAINT);
        let patch = match (lost.contains_key(&index), is_tainted) {
            (true, false) => {
                info!(node = name, "its agent is unreachable: taken out of service");
                json!({ "spec": { "taints": [lost::taint()] } })
            }
            (false, true) => {
                info!(node = name, "its agent is back: in service again");
                json!({ "spec": { "taints": [{ "$patch": "delete", "key": TAINT }] } })
            }
            (true, true) | (false, false) => serde_json::Value::Null,
        };
        if !patch.is_null() {
            let patched = nodes.patch(&name, &PatchParams::default(), &Patch::Strategic(patch)).await;
            patched.map_err(|error| chain(&error))?;
        }
        if lost.contains_key(&index) {
            delete_pods(client, &name).await?;
        }
    }
    Ok(())
}

/// Deletes the pods of a lost node without waiting for its kubelet, which cannot answer.
pub(super) async fn delete_pods(client: &kube::Client, node: &str) -> Result<(), String> {
    let all: Api<Pod> = Api::all(client.clone());
    let on_node = all.list(&ListParams::default().fields(&format!("spec.nodeName={node}"))).await;
    for pod in on_node.map_err(|error| chain(&error))? {
        let controller = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        if controller.is_some_and(|owner| owner.kind == "DaemonSet") {
            // It would be put back at once, on the same node.
            continue;
        }
        let (namespace, name) = (pod.metadata.namespace.unwrap_or_default(), pod.metadata.name.unwrap_or_default());
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        match pods.delete(&name, &at_once).await {
            Ok(_) => info!(node, pod = format!("{namespace}/{name}"), "deleted with its lost node"),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(chain(&error)),
        }
    }
    Ok(())
}

/// Nodes that were lost for too long leave the target; as many new ones, of new names, join it.
async fn replace(shared: &Shared, lost: &BTreeMap<u32, u64>) -> Result<(), String> {
    let Some(after) = shared.options().replace_after() else { return Ok(()) };
    let now = now_seconds();
    let due = lost.iter().filter(|(_, since)| now.saturating_sub(**since) >= after.0 / 1000).map(|(index, _)| *index);
    let before = shared.nodes();
    let set = lost::replaced(&before.set, &due.collect());
    if set == before.set {
        return Ok(());
    }
    warn!(before = ?before.set.indices(), after = ?set.indices(), "nodes of unreachable agents are replaced");
    let after = Nodes { set, ..before.clone() };
    // Intent first, as for a scaling.
    shared.store_nodes(&after).await.map_err(|refusal| refusal.message)?;
    if let Err(refusal) = shared.handle.set_target(shared.service(&after.set)).await {
        shared.store_nodes(&before).await.map_err(|refusal| refusal.message)?;
        return Err(refusal.message);
    }
    Ok(())
}
