//! The node's own packet rule: pods that leave the pod network do so under the agent's address; between pods nothing is
//! translated. And the record of network sysctls as they were, for [`crate::node_cleanup`].
//!
//! The record is kept as comments in the node's own chain: it lives exactly as long as what it describes, survives the
//! container, and needs no file on the agent.
use std::fs;
use std::path::Path;

use kubernetes_core::cleanup::{CHAIN, RECORD};
use kubernetes_core::node::NodeSettings;

use super::command::{CommandError, run, succeeds};

/// Sysctls of the network namespace that kubelet, kube-proxy or the CNI plugins change.
const SYSCTLS: [&str; 3] =
    ["net/ipv4/ip_forward", "net/ipv4/conf/all/route_localnet", "net/bridge/bridge-nf-call-iptables"];

/// Makes the chain, its rule and the record; what is there already stays.
///
/// # Errors
/// If iptables fails.
pub(super) fn prepare(settings: &NodeSettings) -> Result<(), CommandError> {
    let nat = |arguments: &[&str]| run("iptables", &[&["-w", "5", "-t", "nat"], arguments].concat());
    if !succeeds("iptables", &["-w", "5", "-t", "nat", "-n", "-L", CHAIN]) {
        nat(&["-N", CHAIN])?;
        for name in SYSCTLS {
            if let Ok(value) = fs::read_to_string(Path::new("/proc/sys").join(name)) {
                nat(&["-A", CHAIN, "-m", "comment", "--comment", &format!("{RECORD}{name}={}", value.trim())])?;
            }
        }
    }
    for name in SYSCTLS {
        let path = Path::new("/proc/sys").join(name);
        // route_localnet is kube-proxy's to set; the other two are needed for pods to reach anything at all.
        if !name.ends_with("route_localnet") && path.exists() {
            let _ = fs::write(path, "1\n");
        }
    }
    let (subnet, range) = (settings.pod_subnet.to_string(), settings.pod_range.to_string());
    let rule = ["-s", &subnet, "!", "-d", &range, "-j", "MASQUERADE"];
    if !succeeds("iptables", &[&["-w", "5", "-t", "nat", "-C", CHAIN][..], &rule[..]].concat()) {
        nat(&[&["-A", CHAIN][..], &rule[..]].concat())?;
    }
    if !succeeds("iptables", &["-w", "5", "-t", "nat", "-C", "POSTROUTING", "-j", CHAIN]) {
        nat(&["-A", "POSTROUTING", "-j", CHAIN])?;
    }
    Ok(())
}
