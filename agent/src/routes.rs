//! Routes to the other agents' pod subnets, through their addresses. Ours carry a protocol number of their own: nothing
//! else is ever touched.
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use agent_core::Network;
use futures::TryStreamExt as _;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol};
use rtnetlink::{Handle, RouteMessageBuilder};
use tokio::sync::watch;
use tracing::{info, warn};

/// Marks routes as ours; unassigned in the kernel's list.
const PROTOCOL: u8 = 77;

type Subnet = (Ipv4Addr, u8);

/// The keeper of the routes.
pub(crate) struct Routes {
    wanted: watch::Sender<Network>,
    own_address: String,
}

impl Routes {
    pub(crate) fn start(own_address: String) -> Self {
        let (wanted, seen) = watch::channel(Network::default());
        tokio::spawn(Box::pin(keep(seen, own_address.clone())));
        Self { wanted, own_address }
    }
    pub(crate) fn set(&self, network: Network) {
        self.wanted.send_if_modified(|old| {
            let changed = *old != network;
            *old = network;
            changed
        });
    }
    /// At a clean end.
    pub(crate) async fn remove_all(&self) {
        if let Err(error) = apply(&BTreeMap::new()).await {
            warn!(%error, address = self.own_address, "routes not removed");
        }
    }
}

/// Applies whatever is wanted last; a failure is tried again until something else is wanted.
async fn keep(mut wanted: watch::Receiver<Network>, own_address: String) {
    while wanted.changed().await.is_ok() {
        let network = wanted.borrow_and_update().clone();
        if network.pod_range.is_empty() && network.peers.is_empty() {
            continue;
        }
        if let Err(error) = std::fs::write("/proc/sys/net/ipv4/ip_forward", "1") {
            warn!(%error, "forwarding not switched on: pods of other agents may not reach those here");
        }
        let routes: BTreeMap<Subnet, Ipv4Addr> = network
            .peers
            .iter()
            // Agents that share an address share the routing table too.
            .filter(|peer| peer.address != own_address)
            .filter_map(|peer| Some((parse(&peer.pod_subnet)?, peer.address.parse().ok()?)))
            .collect();
        let mut pause = crate::limits::RETRY_MIN;
        while let Err(error) = apply(&routes).await {
            warn!(%error, "routes to other agents' pods not set, trying again");
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(crate::limits::RETRY_MAX * 6),
                changed = wanted.changed() => {
                    if changed.is_ok() { wanted.mark_changed(); }
                    break;
                }
            }
        }
    }
}

fn parse(cidr: &str) -> Option<Subnet> {
    let (address, prefix) = cidr.split_once('/')?;
    Some((address.parse().ok()?, prefix.parse().ok().filter(|prefix| *prefix <= 32)?))
}

/// Makes our routes exactly these.
async fn apply(wanted: &BTreeMap<Subnet, Ipv4Addr>) -> Result<(), rtnetlink::Error> {
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(|error| rtnetlink::Error::NamespaceError(error.to_string()))?;
    let driver = tokio::spawn(connection);
    let result = apply_with(&handle, wanted).await;
    driver.abort();
    result
}

async fn apply_with(handle: &Handle, wanted: &BTreeMap<Subnet, Ipv4Addr>) -> Result<(), rtnetlink::Error> {
    let mut have = BTreeMap::new();
    let mut routes = handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
    while let Some(route) = routes.try_next().await? {
        if route.header.address_family == AddressFamily::Inet
            && route.header.protocol == RouteProtocol::Other(PROTOCOL)
            && let Some((subnet, gateway)) = describe(&route)
        {
            have.insert(subnet, (gateway, route));
        }
    }
    for (subnet, (gateway, route)) in &have {
        if wanted.get(subnet) != Some(gateway) {
            handle.route().del(route.clone()).execute().await?;
            info!(subnet = %format!("{}/{}", subnet.0, subnet.1), "route removed");
        }
    }
    for (subnet, gateway) in wanted {
        if have.get(subnet).map(|(gateway, _)| gateway) == Some(gateway) {
            continue;
        }
        let message = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(subnet.0, subnet.1)
            .gateway(*gateway)
            .protocol(RouteProtocol::Other(PROTOCOL))
            .build();
        handle.route().add(message).replace().execute().await?;
        info!(subnet = %format!("{}/{}", subnet.0, subnet.1), %gateway, "route set");
    }
    Ok(())
}

fn describe(route: &RouteMessage) -> Option<(Subnet, Ipv4Addr)> {
    let (mut destination, mut gateway) = (None, None);
    for attribute in &route.attributes {
        if let RouteAttribute::Destination(RouteAddress::Inet(address)) = attribute {
            destination = Some(*address);
        } else if let RouteAttribute::Gateway(RouteAddress::Inet(address)) = attribute {
            gateway = Some(*address);
        }
    }
    Some(((destination?, route.header.destination_prefix_length), gateway?))
}
