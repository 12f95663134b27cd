//! The DNS server of a cluster: one runs on every node. Watches services and their endpoints, answers for the cluster's
//! domain, and passes everything else on to the servers of its container's `/etc/resolv.conf`.
//!
//! Wire by hickory; answers by `kubernetes_core::dns`.
mod serve;
pub(crate) mod wire;
mod zone;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use kubernetes_core::dns::Zone;
use tracing::info;

use crate::kube_client::{self, ClientError};

/// What it is told.
#[derive(Debug, Clone)]
pub struct DnsConfig {
    /// Kubeconfig of a user who may watch services and endpoints.
    pub kubeconfig: PathBuf,
    /// Where it listens, by UDP and TCP.
    pub listen: SocketAddr,
    /// The cluster's domain.
    pub domain: String,
}

/// Why it does not serve.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The client of the cluster's API.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The address is taken, or not ours.
    #[error("listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The cluster cannot be watched any more.
    #[error("watch the cluster")]
    Watch(#[source] kube::runtime::watcher::Error),
}

/// The zone as of now. Questions read it, the watch replaces it; none before the cluster was seen once.
type Shared = Arc<RwLock<Option<Arc<Zone>>>>;

/// Serves until SIGTERM.
///
/// # Errors
/// If it cannot listen.
pub async fn run(config: DnsConfig) -> Result<(), DnsError> {
    let client = kube_client::from_file(&config.kubeconfig).await?;
    let shared: Shared = Arc::default();
    let upstream = upstream(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(), config.listen);
    info!(listen = %config.listen, domain = config.domain, ?upstream, "DNS started");
    tokio::select! {
        served = serve::serve(config.listen, shared.clone(), upstream) => served,
        watched = zone::watch(client, &config.domain, shared) => watched,
        () = daemon::shutdown::signal() => Ok(()),
    }
}

/// Servers to ask for names that are not the cluster's; never this one.
fn upstream(resolv_conf: &str, own: SocketAddr) -> Vec<SocketAddr> {
    resolv_conf
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().parse::<IpAddr>().ok())
        .map(|address| SocketAddr::new(address, 53))
        .filter(|address| *address != own)
        .take(3)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_the_host_are_asked_in_order() {
        let own = "192.0.2.1:53".parse().expect("address");
        let found =
            upstream("# comment\nsearch example\nnameserver 192.0.2.1\nnameserver\t192.0.2.9\nnameserver x\n", own);
        assert_eq!(found, ["192.0.2.9:53".parse::<SocketAddr>().expect("address")]);
    }
}
