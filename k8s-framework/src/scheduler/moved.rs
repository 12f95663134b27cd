//! A node that is launched on another agent than before. Its Node still has the pod network of the former agent, which
//! nobody can ever change, and another node may get that network. So the Node goes, and the kubelet makes it anew. A
//! kubelet does that once, when it starts: the Node must be gone before the launch.
use std::time::Duration;

use framework_sdk::view::{Placement, ServiceView};
use k8s_openapi::api::core::v1::Node;
use kube::api::Api;
use model::Refusal;
use tracing::info;

use super::render::pod_subnet;
use super::{Shared, act, api};
use daemon::error::chain;

/// For all that is asked of the API before one launch.
const TIME: Duration = Duration::from_secs(10);

/// Deletes the Node of that name if its pod network is not that of the place it is launched at, with the pods that were on
/// it: none of them lives.
///
/// # Errors
/// It is not known; the launch has to wait.
pub(super) async fn make_room(
    shared: &Shared,
    name: &str,
    placement: &Placement,
    view: &ServiceView,
) -> Result<(), Refusal> {
    let subnet = pod_subnet(placement)?.to_string();
    let done = tokio::time::timeout(TIME, async {
        let nodes: Api<Node> = Api::all(api::cluster(shared, view).await?);
        let node = nodes.get_opt(name).await.map_err(|error| chain(&error))?;
        let former = node.and_then(|node| node.spec?.pod_cidr).filter(|former| *former != subnet);
        let Some(former) = former else { return Ok(()) };
        info!(node = name, former, subnet, "launched on another agent: its Node is made anew");
        act::delete_node(shared, name, view).await.map(drop)
    });
    let done = done.await.unwrap_or_else(|_| Err(format!("no answer in {} s", TIME.as_secs())));
    done.map_err(|why: String| {
        let words = format!("whether {name} was on another agent before is not known: {why}");
        Refusal::new("K8S0007", words, "it is tried again")
    })
}
