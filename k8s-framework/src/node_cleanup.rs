//! After a node: takes out of the agent's network whatever the node, its kubelet, kube-proxy and CNI plugins put there,
//! and nothing else. The node's task names this as what undoes its work, so the agent runs it after every node, however
//! that ended, when nothing of the node lives any more and before the next may come. It knows the node by the environment
//! of the node's task.
use std::fs;
use std::path::Path;

use kubernetes_core::cidr::Network;
use kubernetes_core::cleanup;
use kubernetes_core::node::BRIDGE;
use serde_json::Value;
use tracing::{info, warn};

use crate::node_init::NodeError;
use crate::node_init::command::{CommandError, run, run_with_input};
use daemon::error::chain;

/// What is to be forgotten beside rules and links.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Networks whose tracked connections are dropped: the node's pods and the cluster's services.
    pub networks: Vec<Network>,
}

impl Scope {
    /// That of the node whose environment this process has.
    ///
    /// # Errors
    /// There is none.
    pub fn of_this_node() -> Result<Self, NodeError> {
        let settings = crate::node_init::settings()?;
        Ok(Self { networks: vec![settings.pod_subnet, settings.service_cidr] })
    }
}

/// Where IGMP tells which groups a host listens to.
const MEMBERSHIP_REPORTS: &str = "224.0.0.22";

/// Tables that iptables makes, and deletes never.
const TABLES: [&str; 4] = ["filter", "nat", "mangle", "raw"];

/// Cleans up; what cannot be done is logged, and the rest is done nevertheless.
///
/// # Errors
/// The first thing that failed, after everything was tried.
pub fn run_all(scope: &Scope) -> Result<(), CommandError> {
    let mut first = Ok(());
    let mut note = |what: &str, result: Result<(), CommandError>| {
        if let Err(error) = result {
            warn!(error = %chain(&error), what, "part of a node's traces not removed");
            if first.is_ok() {
                first = Err(error);
            }
        }
    };
    let saved = run("iptables-save", &[]).unwrap_or_default();
    let recorded = cleanup::recorded_sysctls(&saved);
    for (save, restore) in [("iptables-save", "iptables-restore"), ("ip6tables-save", "ip6tables-restore")] {
        note(restore, remove_rules(save, restore));
    }
    note("links", remove_links());
    for network in &scope.networks {
        forget_connections(*network);
    }
    // What links say to the network when they come is tracked for ten minutes.
    let _ = run("conntrack", &["--delete", "--orig-src", "0.0.0.0", "--orig-dst", MEMBERSHIP_REPORTS]);
    note("tables", remove_empty_tables());
    for (name, value) in recorded {
        if let Err(error) = fs::write(Path::new("/proc/sys").join(&name), format!("{value}\n")) {
            warn!(error = %chain(&error), sysctl = name, "sysctl not put back");
        }
    }
    info!("node's traces removed");
    first
}

fn remove_rules(save: &str, restore: &str) -> Result<(), CommandError> {
    let script = cleanup::removal(&run(save, &[])?);
    if script.is_empty() {
        return Ok(());
    }
    run_with_input(restore, &["--noflush", "-w", "5"], &script).map(|_| ())
}

fn remove_links() -> Result<(), CommandError> {
    if !Path::new("/sys/class/net").join(BRIDGE).exists() {
        return Ok(());
    }
    let ports = fs::read_dir(format!("/sys/class/net/{BRIDGE}/brif"))
        .map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_else(|_| Vec::new());
    for port in ports {
        // A pod's network namespace that is going takes its end, and so ours, along: both orders are fine.
        let _ = run("ip", &["link", "delete", &port]);
    }
    run("ip", &["link", "delete", BRIDGE]).map(|_| ())
}

/// conntrack fails when there is nothing to delete, which is as good.
fn forget_connections(network: Network) {
    let network = network.to_string();
    for direction in ["--orig-src", "--orig-dst", "--reply-src"] {
        let _ = run("conntrack", &["--delete", direction, &network]);
    }
}

/// The tables themselves remain when iptables (on nftables) deletes its last rule. One that says nothing any more goes.
fn remove_empty_tables() -> Result<(), CommandError> {
    for family in ["ip", "ip6"] {
        for table in TABLES {
            let Ok(listing) = run("nft", &["--json", "list", "table", family, table]) else { continue };
            let listing: Value = serde_json::from_str(&listing).unwrap_or_default();
            if cleanup::says_nothing(&listing) {
                run("nft", &["delete", "table", family, table])?;
            }
        }
    }
    Ok(())
}
