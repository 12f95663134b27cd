//! What a cluster's components are told, as text: flags, configuration files and manifests of each known version. A
//! change shows as a difference in `golden/`, to be reviewed there; the failing test prints the new text.
use std::net::Ipv4Addr;

use kubernetes_core::flags::{self, Component, VERSIONS, Values};
use kubernetes_core::node::{self, Machine, NodeSettings};
use kubernetes_core::{Options, manifests};

fn settings(version: &str) -> NodeSettings {
    let options = Options::default();
    NodeSettings {
        version: version.to_owned(),
        node: "node-0".to_owned(),
        address: Ipv4Addr::new(192, 0, 2, 7),
        pod_subnet: "10.100.3.0/24".parse().expect("a network"),
        pod_range: options.pod_range,
        service_cidr: options.service_cidr,
        dns_address: options.dns_service_address(),
        cluster_domain: options.cluster_domain.clone(),
        apiserver: "192.0.2.1:20003".to_owned(),
        tls_server_name: "api.demo.mezzo".to_owned(),
        cluster: "demo".to_owned(),
        cpus: options.node.cpus,
        mem: options.node.mem,
        disk: options.node.disk,
        overhead_cpus: options.node.overhead.cpus,
        overhead_mem: options.node.overhead.mem,
        overhead_disk: options.node.overhead.disk,
        labels: options.node.labels,
        kubelet_extra_args: options.node.kubelet_extra_args,
    }
}

fn everything(version: &str) -> String {
    let names = [
        "name",
        "data_dir",
        "address",
        "client_port",
        "peer_port",
        "initial_cluster",
        "initial_cluster_state",
        "cluster",
        "port",
        "etcd_servers",
        "domain",
        "service_cidr",
    ];
    let values: Values = names.into_iter().map(|name| (name, format!("<{name}>"))).collect();
    let settings = settings(version);
    let machine = Machine { cpus: 4, memory: 16 << 30, disk: 100 << 30 };
    let mut text = String::new();
    let mut section = |title: &str, body: String| text.push_str(&format!("== {title}\n{}\n", body.trim_end()));
    for (title, component) in [
        ("etcd", Component::Etcd),
        ("kube-apiserver", Component::Apiserver),
        ("kube-controller-manager", Component::ControllerManager),
        ("kube-scheduler", Component::Scheduler),
    ] {
        section(title, flags::render(version, component, &values).expect("complete").join("\n"));
    }
    section("kubelet", node::kubelet_flags(&settings).expect("known").join("\n"));
    let proxy = node::proxy_flags(version, "node-0", settings.address, settings.pod_range).expect("known");
    section("kube-proxy", proxy.join("\n"));
    section("kubelet.json", format!("{:#}", node::kubelet_configuration(&settings, machine)));
    section("kubelet.conf", format!("{:#}", node::kubelet_kubeconfig(&settings)));
    section("config.toml", node::containerd_configuration());
    section("10-pods.conflist", format!("{:#}", node::cni_configuration(&settings)));
    for manifest in manifests::bootstrap(&Options::default()) {
        section("manifest", format!("{manifest:#}"));
    }
    text
}

#[test]
fn what_components_are_told_is_as_reviewed() {
    let golden = [("1.20.2", include_str!("golden/1.20.2.txt"))];
    assert_eq!(golden.map(|(version, _)| version), VERSIONS, "every known version has its file");
    for (version, reviewed) in golden {
        let now = everything(version);
        assert!(now == reviewed, "golden/{version}.txt is to be this, if it is right:\n<<<\n{now}>>>");
    }
}
