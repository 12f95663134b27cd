//! The PKI plan: which authorities there are, which certificates they sign, for whom and under which names. The shell
//! makes the keys; nothing here is secret.
//!
//! Three authorities, so that none can speak for another: a client of etcd is not a user of the cluster, and what the
//! front proxy vouches for cannot be vouched for by a node. Certificates whose names hold an address are made when the
//! pod's place is known.
use std::net::Ipv4Addr;

use crate::options::Options;

/// Who signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Authority {
    /// Users, nodes and servers of the cluster.
    Cluster,
    /// Members and clients of etcd.
    Etcd,
    /// Aggregated API servers believe what it vouches for.
    FrontProxy,
}

impl Authority {
    /// Every authority.
    pub const ALL: [Authority; 3] = [Authority::Cluster, Authority::Etcd, Authority::FrontProxy];
    /// Stem of its files.
    pub fn stem(self) -> &'static str {
        match self {
            Authority::Cluster => "ca",
            Authority::Etcd => "etcd-ca",
            Authority::FrontProxy => "front-proxy-ca",
        }
    }
    /// Its common name.
    pub fn common_name(self) -> &'static str {
        match self {
            Authority::Cluster => "kubernetes-ca",
            Authority::Etcd => "etcd-ca",
            Authority::FrontProxy => "front-proxy-ca",
        }
    }
    /// Years for which it is valid.
    pub const YEARS: u32 = 10;
}

/// What a certificate may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Usage {
    /// To be a client.
    Client,
    /// To be a server.
    Server,
    /// Both: etcd members call each other.
    Both,
}

/// A certificate to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Stem of its files, and of its state keys.
    pub stem: String,
    /// Who signs it.
    pub authority: Authority,
    /// Who it is for: the user's name.
    pub common_name: String,
    /// The user's groups.
    pub organizations: Vec<String>,
    /// Names it serves.
    pub dns_names: Vec<String>,
    /// Addresses it serves.
    pub addresses: Vec<Ipv4Addr>,
    /// What for.
    pub usage: Usage,
}

impl Leaf {
    fn client(stem: &str, authority: Authority, common_name: &str, organizations: &[&str]) -> Self {
        Self {
            stem: stem.to_owned(),
            authority,
            common_name: common_name.to_owned(),
            organizations: organizations.iter().map(|&group| group.to_owned()).collect(),
            dns_names: Vec::new(),
            addresses: Vec::new(),
            usage: Usage::Client,
        }
    }
}

/// Clients of the control plane; their names hold no address, so they are made once, before anything runs.
pub fn clients() -> Vec<Leaf> {
    use Authority::{Cluster, Etcd, FrontProxy};
    vec![
        Leaf::client("admin", Cluster, "kubernetes-admin", &["system:masters"]),
        // The framework's own scheduler; a name of its own shows in audits who did what.
        Leaf::client("framework", Cluster, "mezzo-framework", &["system:masters"]),
        Leaf::client("apiserver-kubelet-client", Cluster, "kube-apiserver-kubelet-client", &[]),
        Leaf::client("apiserver-etcd-client", Etcd, "kube-apiserver", &[]),
        Leaf::client("etcd-probe", Etcd, "mezzo-framework", &[]),
        Leaf::client("front-proxy-client", FrontProxy, "front-proxy-client", &[]),
        Leaf::client("controller-manager-client", Cluster, "system:kube-controller-manager", &[]),
        Leaf::client("scheduler-client", Cluster, "system:kube-scheduler", &[]),
        Leaf::client("proxy-client", Cluster, "system:kube-proxy", &[]),
        Leaf::client("dns-client", Cluster, "mezzo:dns", &[]),
    ]
}

/// The certificate of an etcd member at its address, as server, peer and client of its peers.
pub fn etcd_member(stem: &str, member: &str, address: Ipv4Addr) -> Leaf {
    Leaf {
        stem: stem.to_owned(),
        authority: Authority::Etcd,
        common_name: member.to_owned(),
        organizations: Vec::new(),
        dns_names: vec![member.to_owned(), "localhost".to_owned()],
        addresses: vec![address, Ipv4Addr::LOCALHOST],
        usage: Usage::Both,
    }
}

/// Name under which every kubeconfig of ours verifies the apiserver: the gateway's.
pub fn api_server_name(cluster: &str) -> String {
    format!("api.{cluster}.mezzo")
}

/// The certificate of a kube-apiserver at its address, behind the cluster's virtual one.
pub fn apiserver(stem: &str, cluster: &str, options: &Options, address: Ipv4Addr, vip: Ipv4Addr) -> Leaf {
    let domain = &options.cluster_domain;
    Leaf {
        stem: stem.to_owned(),
        authority: Authority::Cluster,
        common_name: "kube-apiserver".to_owned(),
        organizations: Vec::new(),
        dns_names: vec![
            api_server_name(cluster),
            "kubernetes".to_owned(),
            "kubernetes.default".to_owned(),
            "kubernetes.default.svc".to_owned(),
            format!("kubernetes.default.svc.{domain}"),
            "localhost".to_owned(),
        ],
        addresses: vec![options.kubernetes_service_address(), address, vip, Ipv4Addr::LOCALHOST],
        usage: Usage::Server,
    }
}

/// The serving certificate of a controller-manager or scheduler at its address.
pub fn component_server(stem: &str, component: &str, address: Ipv4Addr) -> Leaf {
    Leaf {
        stem: stem.to_owned(),
        authority: Authority::Cluster,
        common_name: component.to_owned(),
        organizations: Vec::new(),
        dns_names: vec![component.to_owned(), "localhost".to_owned()],
        addresses: vec![address, Ipv4Addr::LOCALHOST],
        usage: Usage::Server,
    }
}

/// The identity of a node: the Node authorizer reads its name from it.
pub fn node_client(stem: &str, node: &str) -> Leaf {
    Leaf::client(stem, Authority::Cluster, &format!("system:node:{node}"), &["system:nodes"])
}

/// What a node's kubelet serves logs and exec with.
pub fn node_server(stem: &str, node: &str, address: Ipv4Addr) -> Leaf {
    Leaf {
        stem: stem.to_owned(),
        authority: Authority::Cluster,
        common_name: format!("system:node:{node}"),
        organizations: vec!["system:nodes".to_owned()],
        dns_names: vec![node.to_owned()],
        addresses: vec![address],
        usage: Usage::Server,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_but_the_operator_and_the_framework_is_a_master_of_the_cluster() {
        let masters: Vec<_> = clients()
            .into_iter()
            .filter(|leaf| leaf.organizations.iter().any(|group| group == "system:masters"))
            .map(|leaf| leaf.stem)
            .collect();
        assert_eq!(masters, ["admin", "framework"]);
    }

    #[test]
    fn an_apiserver_is_verified_by_gateway_name_service_name_and_address() {
        let (own, vip) = (Ipv4Addr::new(192, 0, 2, 7), Ipv4Addr::new(198, 18, 0, 1));
        let leaf = apiserver("apiserver", "demo", &Options::default(), own, vip);
        assert_eq!(leaf.dns_names[0], "api.demo.mezzo");
        assert!(leaf.dns_names.contains(&"kubernetes.default.svc.cluster.local".to_owned()));
        assert_eq!(
            leaf.addresses,
            ["10.96.0.1", "192.0.2.7", "198.18.0.1", "127.0.0.1"].map(|a| a.parse::<Ipv4Addr>().expect("address"))
        );
        assert_eq!(leaf.usage, Usage::Server);
    }
}
