//! Keeps the zone in step with the cluster's services and endpoints.
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Endpoints, Service};
use kube::api::Api;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kubernetes_core::dns::{self, Endpoint, Port, Zone};
use tracing::{debug, info};

use super::{DnsError, Shared};

/// Watches for ever; broken watches are taken up again with a backoff.
pub(super) async fn watch(client: kube::Client, domain: &str, shared: Shared) -> Result<(), DnsError> {
    let (services, service_writer) = reflector::store::<Service>();
    let (endpoints, endpoint_writer) = reflector::store::<Endpoints>();
    let config = watcher::Config::default;
    let service_events =
        watcher(Api::<Service>::all(client.clone()), config()).default_backoff().reflect(service_writer).map_ok(|_| ());
    let endpoint_events =
        watcher(Api::<Endpoints>::all(client), config()).default_backoff().reflect(endpoint_writer).map_ok(|_| ());
    let events = futures::stream::select(service_events, endpoint_events);
    // What arrives together is taken together: a zone is made of everything.
    let mut batches = std::pin::pin!(events.ready_chunks(1024));
    while let Some(batch) = batches.next().await {
        for event in &batch {
            if let Err(error) = event {
                // The backoff is inside of the stream; old answers are better than none.
                debug!(error = %daemon::error::chain(error), "watch interrupted");
            }
        }
        let is_complete = |ready: Option<Result<(), _>>| matches!(ready, Some(Ok(())));
        if !is_complete(now(services.wait_until_ready())) || !is_complete(now(endpoints.wait_until_ready())) {
            continue;
        }
        let zone = Arc::new(make(domain, &services.state(), &endpoints.state()));
        let mut slot = shared.write().expect("no holder of the lock panics");
        if slot.is_none() {
            info!(services = services.state().len(), "cluster seen, answering");
        }
        *slot = Some(zone);
    }
    Ok(())
}

fn now<F: Future>(future: F) -> Option<F::Output> {
    use futures::FutureExt;
    future.now_or_never()
}

fn make(domain: &str, services: &[Arc<Service>], endpoints: &[Arc<Endpoints>]) -> Zone {
    let key = |metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
        (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
    };
    let behind: BTreeMap<_, _> = endpoints.iter().map(|endpoints| (key(&endpoints.metadata), endpoints)).collect();
    let all = services.iter().map(|service| {
        let key = key(&service.metadata);
        let of = behind.get(&key).map(|endpoints| endpoints.as_ref());
        let value = of_service(service, of);
        (key, value)
    });
    Zone::new(domain, all)
}

fn of_service(service: &Service, endpoints: Option<&Endpoints>) -> dns::Service {
    let Some(spec) = &service.spec else { return dns::Service::default() };
    if spec.type_.as_deref() == Some("ExternalName") {
        return dns::Service { external_name: spec.external_name.clone(), ..dns::Service::default() };
    }
    let ports = spec
        .ports
        .iter()
        .flatten()
        .filter_map(|port| self::port(port.name.as_deref(), port.protocol.as_deref(), port.port))
        .collect();
    let publishes_all = spec.publish_not_ready_addresses == Some(true);
    dns::Service {
        address: spec.cluster_ip.as_deref().and_then(|address| address.parse().ok()),
        ports,
        external_name: None,
        endpoints: endpoints.map_or_else(Vec::new, |endpoints| endpoints_of(endpoints, publishes_all)),
    }
}

fn endpoints_of(endpoints: &Endpoints, publishes_all: bool) -> Vec<Endpoint> {
    let mut all = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports: Vec<Port> = subset
            .ports
            .iter()
            .flatten()
            .filter_map(|port| self::port(port.name.as_deref(), port.protocol.as_deref(), port.port))
            .collect();
        let unready = subset.not_ready_addresses.iter().flatten().filter(|_| publishes_all);
        for address in subset.addresses.iter().flatten().chain(unready) {
            if let Ok(ip) = address.ip.parse::<Ipv4Addr>() {
                all.push(Endpoint { address: ip, hostname: address.hostname.clone(), ports: ports.clone() });
            }
        }
    }
    all
}

fn port(name: Option<&str>, protocol: Option<&str>, number: i32) -> Option<Port> {
    Some(Port {
        name: name.unwrap_or_default().to_owned(),
        protocol: protocol.unwrap_or("TCP").to_ascii_lowercase(),
        number: u16::try_from(number).ok()?,
    })
}
