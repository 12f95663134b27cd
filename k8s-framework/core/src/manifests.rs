//! What is put into a fresh cluster before its nodes come, and the two objects that the framework keeps up to date:
//! each node's pod network and the endpoints of the cluster's DNS. All as JSON, applied server-side under one field manager.
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cidr::Network;
use crate::options::Options;

/// Field manager of everything the framework applies.
pub const FIELD_MANAGER: &str = "mezzo";
/// The user the cluster's DNS servers are.
pub const DNS_USER: &str = "mezzo:dns";

/// Objects for the start, in the order in which they are applied. Applying them again changes nothing.
pub fn bootstrap(options: &Options) -> Vec<Value> {
    vec![
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "kube-system" } }),
        // The apiserver calls kubelets (logs, exec) as this user; kubelets ask the apiserver whether it may.
        cluster_role_binding("mezzo:apiserver-to-kubelet", "system:kubelet-api-admin", "kube-apiserver-kubelet-client"),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": { "name": DNS_USER },
            "rules": [
                { "apiGroups": [""], "resources": ["services", "namespaces", "endpoints"], "verbs": ["list", "watch"] },
                { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"] },
            ],
        }),
        cluster_role_binding(DNS_USER, DNS_USER, DNS_USER),
        dns_service(options.dns_service_address()),
    ]
}

fn cluster_role_binding(name: &str, role: &str, user: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
    })
}

/// Without a selector: the servers are containers of the nodes' tasks, not pods.
fn dns_service(address: Ipv4Addr) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": { "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "KubeDNS" },
        },
        "spec": {
            "clusterIP": address.to_string(),
            "ports": [
                { "name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53 },
                { "name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53 },
            ],
        },
    })
}

/// A DNS server of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DnsServer {
    /// Its agent's address.
    pub address: Ipv4Addr,
    /// Its port there.
    pub port: u16,
}

/// The endpoints of the cluster's DNS: every given server, one subset for each port.
pub fn dns_endpoints(servers: &[DnsServer]) -> Value {
    let mut by_port: std::collections::BTreeMap<u16, Vec<Ipv4Addr>> = std::collections::BTreeMap::new();
    for server in servers {
        by_port.entry(server.port).or_default().push(server.address);
    }
    let subsets: Vec<Value> = by_port
        .into_iter()
        .map(|(port, mut addresses)| {
            addresses.sort_unstable();
            addresses.dedup();
            json!({
                "addresses": addresses.iter().map(|address| json!({ "ip": address.to_string() })).collect::<Vec<_>>(),
                "ports": [
                    { "name": "dns", "port": port, "protocol": "UDP" },
                    { "name": "dns-tcp", "port": port, "protocol": "TCP" },
                ],
            })
        })
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": { "name": "kube-dns", "namespace": "kube-system" },
        "subsets": subsets,
    })
}

/// The patch that gives a node its pod network: the subnet leased to its agent. A Node made beforehand would save the
/// kubelet a moment, but a kubelet that finds one without capacity panics.
pub fn pod_network(pod_subnet: Network) -> Value {
    json!({ "spec": { "podCIDR": pod_subnet.to_string(), "podCIDRs": [pod_subnet.to_string()] } })
}

/// A pod pinned to a node that ends well when the cluster's DNS answers it: proof of the kubelet, the pod network,
/// kube-proxy and DNS at once.
pub fn probe_pod(name: &str, node: &str, image: &str, cluster_domain: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": "kube-system", "labels": { "mezzo/probe": "node" } },
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "activeDeadlineSeconds": 60,
            "tolerations": [{ "operator": "Exists" }],
            "containers": [{
                "name": "probe",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                // Ten tries: the node's kube-proxy may learn of the DNS service a moment after the pod starts.
                "command": ["sh", "-c", format!(
                    "for i in 1 2 3 4 5 6 7 8 9 10; do nslookup kubernetes.default.svc.{cluster_domain} && exit 0; sleep 0.5; done; exit 1"
                )],
                "resources": { "requests": { "cpu": "10m", "memory": "8Mi" }, "limits": { "memory": "32Mi" } },
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_on_different_ports_are_different_subsets() {
        let server = |last, port| DnsServer { address: Ipv4Addr::new(192, 0, 2, last), port };
        let endpoints = dns_endpoints(&[server(2, 20053), server(1, 20053), server(3, 20054)]);
        let subsets = endpoints["subsets"].as_array().expect("a list");
        assert_eq!(subsets.len(), 2);
        assert_eq!(subsets[0]["addresses"], json!([{ "ip": "192.0.2.1" }, { "ip": "192.0.2.2" }]));
        assert_eq!(subsets[1]["ports"][0]["port"], 20054);
        assert_eq!(dns_endpoints(&[])["subsets"], json!([]));
    }
}
