//! Two things in the cluster follow the places of nodes, and are kept so all the time: every Node's pod network (the
//! subnet leased to its agent), and the endpoints of the cluster's DNS (every Ready node's).
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use framework_sdk::view::ServiceView;
use k8s_openapi::api::core::v1::{Endpoints, Node};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kubernetes_core::manifests::{self, DnsServer};
use tracing::{debug, warn};

use super::probe::not_ready;
use super::render::pod_subnet;
use super::{Shared, api, lost};
use crate::add_ons;
use crate::topology::{APISERVER, DNS_PORT, NODE};
use daemon::error::chain;

/// A kubelet that has registered waits for its pod network, so this is short.
const PERIOD: Duration = Duration::from_millis(500);
const PERIOD_AFTER_FAILURE: Duration = Duration::from_secs(3);

/// Keeps both as long as the scheduler runs.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut was_failing = false;
    let mut watch = lost::Watch::default();
    loop {
        let view = shared.handle.view();
        let is_up = view.of_pod(APISERVER).any(|instance| instance.is_ready);
        let result = if is_up { once(&shared, &view, &mut watch).await } else { Ok(()) };
        let period = match &result {
            Ok(()) => PERIOD,
            Err(_) => PERIOD_AFTER_FAILURE,
        };
        if let Err(error) = &result
            && !was_failing
        {
            warn!(error, "nodes' pod networks and DNS endpoints not brought up to date");
        }
        was_failing = result.is_err();
        tokio::time::sleep(period).await;
    }
}

async fn once(shared: &Shared, view: &ServiceView, watch: &mut lost::Watch) -> Result<(), String> {
    let client = api::cluster(shared, view).await?;
    watch.look(shared, &client, view).await?;
    tokio::time::timeout(Duration::from_secs(10), keep(shared, &client, view))
        .await
        .unwrap_or_else(|_| Err("no answer in 10 s".to_owned()))
}

/// Brings both up to date, once.
///
/// # Errors
/// In words.
pub(super) async fn keep(_shared: &Shared, client: &kube::Client, view: &ServiceView) -> Result<(), String> {
    let words = |error: kube::Error| chain(&error);
    let nodes: Api<Node> = Api::all(client.clone());
    let mut servers = Vec::new();
    for node in nodes.list(&ListParams::default()).await.map_err(words)? {
        let name = node.metadata.name.clone().unwrap_or_default();
        let Some(index) = kubernetes_core::scale::index_of(&name) else { continue };
        let Some(instance) = view.instance(NODE, index) else { continue };
        let Some(placement) = &instance.placement else { continue };
        if node.spec.as_ref().and_then(|spec| spec.pod_cidr.as_ref()).is_none() {
            let subnet = pod_subnet(placement).map_err(|refusal| refusal.message)?;
            nodes
                .patch(&name, &PatchParams::default(), &Patch::Strategic(manifests::pod_network(subnet)))
                .await
                .map_err(words)?;
            debug!(node = name, %subnet, "pod network set");
        }
        let address = placement.address.parse::<Ipv4Addr>();
        if not_ready(&node).is_none()
            && !instance.is_leaving
            && let (Ok(address), Some(port)) = (address, placement.port(DNS_PORT))
        {
            servers.push(DnsServer { address, port });
        }
    }
    let endpoints: Api<Endpoints> = Api::namespaced(client.clone(), "kube-system");
    let present = endpoints.get_opt("kube-dns").await.map_err(words)?.map(|present| servers_of(&present));
    servers.sort_unstable();
    if present.as_ref() != Some(&servers) {
        add_ons::apply(client, &manifests::dns_endpoints(&servers)).await.map_err(|error| chain(&error))?;
    }
    Ok(())
}

/// The servers that endpoints name.
pub(super) fn servers_of(endpoints: &Endpoints) -> Vec<DnsServer> {
    let mut servers = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        let port = subset.ports.iter().flatten().next().and_then(|port| u16::try_from(port.port).ok());
        for address in subset.addresses.iter().flatten() {
            if let (Ok(address), Some(port)) = (address.ip.parse(), port) {
                servers.push(DnsServer { address, port });
            }
        }
    }
    servers.sort_unstable();
    servers
}
