//! The configuration of a node: what kubelet, containerd and the CNI plugins read, from what was granted and what the
//! machine is.
//!
//! A kubelet sees the whole machine and advertises it. What it must offer to pods is what was asked for, so everything
//! else of the machine is declared reserved: `allocatable = machine - system-reserved - kube-reserved - eviction
//! threshold` comes out as the asked amount to the byte.
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cidr::Network;
use crate::extra_args::ExtraArgs;
use crate::flags::{Component, FlagError, Values, render};
use crate::options::Amount;

/// Directory of the node's own files in its container.
pub const DIR: &str = "/etc/kubernetes";
/// The pause image, imported before the kubelet starts.
pub const PAUSE_IMAGE: &str = "k8s.gcr.io/pause:3.2";
/// Where kube-proxy says whether it is in step.
pub const PROXY_HEALTH_PORT: u16 = 10256;
/// Where a kubelet serves logs and exec.
pub const KUBELET_PORT: u16 = 10250;
/// The bridge of pods.
pub const BRIDGE: &str = "cni0";

/// Free memory at which pods are evicted, and free disk.
const EVICTION_MIB: i64 = 100;
const MIB: i64 = 1024 * 1024;

/// What the scheduler tells `node-init`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSettings {
    /// Kubernetes version.
    pub version: String,
    /// Name of the Node.
    pub node: String,
    /// Address of its agent.
    pub address: Ipv4Addr,
    /// Addresses of its pods.
    pub pod_subnet: Network,
    /// Addresses of all pods: between these nothing is translated.
    pub pod_range: Network,
    /// Addresses of services.
    pub service_cidr: Network,
    /// Address of the cluster's DNS.
    pub dns_address: Ipv4Addr,
    /// Suffix of names.
    pub cluster_domain: String,
    /// `host:port` of the apiserver.
    pub apiserver: String,
    /// The name its certificate is verified under.
    pub tls_server_name: String,
    /// The cluster's name.
    pub cluster: String,
    /// Processors for pods.
    pub cpus: Amount,
    /// MiB for pods.
    pub mem: Amount,
    /// MiB of ephemeral storage for pods.
    pub disk: Amount,
    /// Processors for kubelet and containerd.
    pub overhead_cpus: Amount,
    /// MiB for kubelet, containerd and the eviction threshold.
    pub overhead_mem: Amount,
    /// MiB of disk for images, logs and the eviction threshold.
    pub overhead_disk: Amount,
    /// Labels of the Node.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// More flags of the kubelet.
    #[serde(default, skip_serializing_if = "ExtraArgs::is_empty")]
    pub kubelet_extra_args: ExtraArgs,
}

/// What the kubelet will see of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Processors.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory: i64,
    /// Bytes of the file system below `/var/lib/kubelet`.
    pub disk: i64,
}

/// The kubelet's flags.
///
/// # Errors
/// The version is not known.
pub fn kubelet_flags(settings: &NodeSettings) -> Result<Vec<String>, FlagError> {
    let labels: Vec<String> = settings.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let values: Values = [
        ("config", format!("{DIR}/kubelet.json")),
        ("kubeconfig", format!("{DIR}/kubelet.conf")),
        ("node", settings.node.clone()),
        ("address", settings.address.to_string()),
        ("labels", labels.join(",")),
        ("pause_image", PAUSE_IMAGE.to_owned()),
    ]
    .into_iter()
    .collect();
    let flags = render(&settings.version, Component::Kubelet, &values)?;
    Ok(settings.kubelet_extra_args.put_into(Component::Kubelet, flags))
}

/// The kube-proxy's flags.
///
/// # Errors
/// The version is not known.
pub fn proxy_flags(version: &str, node: &str, address: Ipv4Addr, pod_range: Network) -> Result<Vec<String>, FlagError> {
    let values: Values = [
        ("kubeconfig", format!("{DIR}/pki/proxy.conf")),
        ("node", node.to_owned()),
        ("address", address.to_string()),
        ("pod_range", pod_range.to_string()),
    ]
    .into_iter()
    .collect();
    render(version, Component::Proxy, &values)
}

/// The kubelet's configuration file.
pub fn kubelet_configuration(settings: &NodeSettings, machine: Machine) -> Value {
    let memory =
        reserve(machine.memory, settings.mem.ceil() * MIB, settings.overhead_mem.ceil() * MIB, EVICTION_MIB * MIB);
    let disk =
        reserve(machine.disk, settings.disk.ceil() * MIB, settings.overhead_disk.ceil() * MIB, EVICTION_MIB * MIB);
    let cpu = reserve(i64::from(machine.cpus) * 1000, settings.cpus.0.0, settings.overhead_cpus.0.0, 0);
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": settings.address.to_string(),
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": format!("{DIR}/pki/ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": format!("{DIR}/pki/kubelet-server.crt"),
        "tlsPrivateKeyFile": format!("{DIR}/pki/kubelet-server.key"),
        "tlsMinVersion": "VersionTLS12",
        "cgroupDriver": "cgroupfs",
        "failSwapOn": false,
        "clusterDNS": [settings.dns_address.to_string()],
        "clusterDomain": settings.cluster_domain,
        "systemReserved": {
            "cpu": format!("{}m", cpu.system),
            "memory": memory.system.to_string(),
            "ephemeral-storage": disk.system.to_string(),
        },
        "kubeReserved": {
            "cpu": format!("{}m", cpu.kube),
            "memory": memory.kube.to_string(),
            "ephemeral-storage": disk.kube.to_string(),
        },
        "enforceNodeAllocatable": ["pods"],
        // A fresh kubelet says NotReady until its second look at itself, by default 10 s later. Looking is cheap; what has
        // not changed is told every five minutes only.
        "nodeStatusUpdateFrequency": "2s",
        "nodeStatusReportFrequency": "5m0s",
        "evictionHard": {
            "memory.available": format!("{EVICTION_MIB}Mi"),
            "nodefs.available": format!("{EVICTION_MIB}Mi"),
            "nodefs.inodesFree": "1%",
            "imagefs.available": format!("{EVICTION_MIB}Mi"),
        },
        // Percentages are of the machine's disk, which others fill too; and an image loaded by hand could not be
        // pulled again.
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": false,
        "containerLogMaxSize": "10Mi",
        "containerLogMaxFiles": 3,
        "maxPods": max_pods(settings.pod_subnet),
    })
}

/// The kubelet's kubeconfig. Certificates are files, so that their renewal needs no new document.
pub fn kubelet_kubeconfig(settings: &NodeSettings) -> Value {
    let server = crate::kubeconfig::Server {
        address: settings.apiserver.clone(),
        tls_server_name: settings.tls_server_name.clone(),
        cluster: settings.cluster.clone(),
    };
    let file = |name: &str| format!("{DIR}/pki/{name}");
    crate::kubeconfig::by_path(
        &server,
        "kubelet",
        &file("ca.crt"),
        &file("kubelet-client.crt"),
        &file("kubelet-client.key"),
    )
}

/// containerd's configuration file.
pub fn containerd_configuration() -> String {
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  # Lowering oom_score_adj needs a capability that even root may lack.
  restrict_oom_score_adj = true
  sandbox_image = "{PAUSE_IMAGE}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"#
    )
}

/// The CNI plugins' configuration. Masquerading is left to the node's own rule, which exempts all pods of the cluster
/// and not only those of this node.
pub fn cni_configuration(settings: &NodeSettings) -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isGateway": true,
                "ipMasq": false,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni-networks",
                    "ranges": [[{ "subnet": settings.pod_subnet.to_string() }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true }, "snat": true },
        ],
    })
}

struct Reserved {
    system: i64,
    kube: i64,
}

/// Divides a capacity so that `pods` remains. Where the machine is smaller than the grant (an agent may be told to offer
/// more than there is), the overhead yields first, then the pods.
fn reserve(capacity: i64, pods: i64, overhead: i64, eviction: i64) -> Reserved {
    let kube = (overhead - eviction).clamp(0, (capacity - pods - eviction).max(0));
    let system = (capacity - pods - eviction - kube).max(0);
    Reserved { system, kube }
}

/// The usual 110, or what the subnet has room for: without network, gateway and broadcast address.
fn max_pods(subnet: Network) -> u32 {
    let addresses = 1u32.checked_shl(32 - u32::from(subnet.prefix())).unwrap_or(u32::MAX);
    addresses.saturating_sub(3).clamp(1, 110)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_reserved_is_what_was_asked_for() {
        let capacity = 24_000 * MIB + 17;
        let reserved = reserve(capacity, 2048 * MIB, 512 * MIB, 100 * MIB);
        assert_eq!(capacity - reserved.system - reserved.kube - 100 * MIB, 2048 * MIB);
        assert_eq!(reserved.kube, 412 * MIB);
    }

    #[test]
    fn a_machine_smaller_than_the_grant_gives_what_it_has() {
        let reserved = reserve(2000, 2000, 200, 0);
        assert_eq!((reserved.system, reserved.kube), (0, 0));
        let reserved = reserve(2000, 4000, 200, 0);
        assert_eq!((reserved.system, reserved.kube), (0, 0));
    }

    #[test]
    fn a_small_subnet_bounds_the_pods() {
        assert_eq!(max_pods("10.244.3.0/24".parse().expect("network")), 110);
        assert_eq!(max_pods("10.244.3.0/28".parse().expect("network")), 13);
    }
}
