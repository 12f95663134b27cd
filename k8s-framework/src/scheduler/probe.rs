//! Whether a component does its work: asked of the component itself, every time from outside of its container. Here is
//! whom to ask; what is asked is in `checks.rs`.
mod checks;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use framework_sdk::view::{Placement, ServiceView};
use framework_sdk::{ProbeRequest, Progress};
use kubernetes_core::node::PROXY_HEALTH_PORT;
use kubernetes_core::pki::Authority;

use super::{Shared, api, images, keeper, members, restore};
use crate::topology::{APISERVER, CLIENT, CONTROLLER_MANAGER, ETCD, HTTPS, NODE, SCHEDULER};
pub(super) use checks::not_ready;

/// For one question.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The SDK waits longer from probe to probe, up to seconds. So a probe is patient itself: it looks this often, for so
/// long, and what has become ready is seen at once. The first answer comes without patience: people want to read it.
const STEP: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(4);

pub(super) async fn probe(shared: &Shared, request: &ProbeRequest, view: &ServiceView) -> Progress {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match once(shared, request, view).await {
            Ok(()) => return Progress::Done,
            Err(words) if request.attempt <= 1 || Instant::now() > deadline => return Progress::NotYet(words),
            Err(_) => tokio::time::sleep(STEP).await,
        }
    }
}

async fn once(shared: &Shared, request: &ProbeRequest, view: &ServiceView) -> Result<(), String> {
    let placement = &request.placement;
    match request.instance.pod.as_str() {
        ETCD => {
            etcd(shared, &request.instance.to_string(), placement).await?;
            if request.instance.index == 0 { restore::verify(shared, placement).await } else { Ok(()) }
        }
        APISERVER => {
            let name = kubernetes_core::pki::api_server_name(&shared.name);
            checks::healthy(&own(shared, placement, &name).await?, "/readyz", TIMEOUT).await?;
            restore::clean(shared, view).await
        }
        component @ (CONTROLLER_MANAGER | SCHEDULER) => {
            // Healthy, and somebody leads: with one instance that is this one.
            checks::healthy(&own(shared, placement, component).await?, "/healthz", TIMEOUT).await?;
            checks::led(&api::cluster(shared, view).await?, component, super::now_seconds(), TIMEOUT).await
        }
        NODE => node(shared, &request.instance.to_string(), placement, view).await,
        // The add-ons' task has ended with 0, which says it all.
        _ => Ok(()),
    }
}

/// A client of the component itself.
async fn own(shared: &Shared, placement: &Placement, name: &str) -> Result<kube::Client, String> {
    let port = placement.port(HTTPS).ok_or("it has no port")?;
    api::at(shared, &format!("{}:{port}", placement.address), name).await
}

async fn etcd(shared: &Shared, name: &str, placement: &Placement) -> Result<(), String> {
    if shared.options().control_plane_count() > 1 {
        // Whoever waits for a vote need not wait for the keeper's next look, too.
        if let Ok(step) = members::advance(shared).await {
            tracing::debug!(name, ?step, "etcd's membership");
        }
    }
    let secrets = shared.secrets().await.map_err(|refusal| refusal.message)?;
    let port = placement.port(CLIENT).ok_or("etcd has no client port")?;
    let url = format!("https://{}:{port}", placement.address);
    let authority = secrets.trust(Authority::Etcd);
    checks::linearizable_read(&url, &authority, secrets.client("etcd-probe"), TIMEOUT).await
}

async fn node(shared: &Shared, name: &str, placement: &Placement, view: &ServiceView) -> Result<(), String> {
    let client = api::cluster(shared, view).await?;
    checks::within(TIMEOUT, keeper::keep(shared, &client, view)).await?;
    // Its kubelet waits for these.
    images::missing(shared, name).map_or(Ok(()), Err)?;
    checks::node_ready(&client, name, TIMEOUT).await?;
    let address: Ipv4Addr = placement.address.parse().map_err(|_| "its agent has no IPv4 address")?;
    checks::proxy_in_step(SocketAddr::from((address, PROXY_HEALTH_PORT)), TIMEOUT).await?;
    checks::resolves(&client, name, &shared.options().cluster_domain, TIMEOUT).await
}
