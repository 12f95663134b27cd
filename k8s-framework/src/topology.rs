//! What runs where and in which order: options and the set of nodes become the specification of a service. What depends
//! on places (addresses, ports, certificates) is added at launch by `scheduler/render.rs`.
use std::collections::BTreeMap;

use framework_sdk::spec::{
    CheckKind, CheckSpec, DEPLOY, DecommissionSpec, DiscoverySpec, Goal, PhaseSpec, PhaseWork, PlacementRule, PlanSpec,
    PodSpec, PortKind, PortRef, PortSpec, Propagation, RestartPolicy, RollSpec, Root, ServiceSpec, Strategy, TaskSpec,
    VipSpec, VolumeSource, VolumeSpec,
};
use kubernetes_core::Options;
use kubernetes_core::extra_args::ExtraArgs;
use kubernetes_core::flags::PKI;
use kubernetes_core::node::{KUBELET_PORT, PROXY_HEALTH_PORT};
use kubernetes_core::options::{ComponentOptions, NodeOptions, NodeUpdateOptions, ProgramOptions};
use kubernetes_core::scale::NodeSet;
use model::{Milli, RoleName, Span};

/// Names of pods; also of phases.
pub const ETCD: &str = "etcd";
/// The API.
pub const APISERVER: &str = "kube-apiserver";
/// Controllers.
pub const CONTROLLER_MANAGER: &str = "kube-controller-manager";
/// Scheduling.
pub const SCHEDULER: &str = "kube-scheduler";
/// Bootstrap manifests.
pub const ADD_ONS: &str = "add-ons";
/// Nodes.
pub const NODE: &str = "node";
/// The container of a node that is its kube-proxy.
pub const PROXY: &str = "kube-proxy";
/// The container of a node that is its DNS.
pub const DNS: &str = "dns";

/// Port names.
pub const CLIENT: &str = "client";
/// Between etcd members.
pub const PEER: &str = "peer";
/// The secure port of a component.
pub const HTTPS: &str = "https";
/// The DNS of a node.
pub const DNS_PORT: &str = "dns";
/// Where a node takes image archives.
pub const IMAGES_PORT: &str = "images";

/// Actions.
pub const ACT_DNS: &str = "cluster-dns";
/// Before a node's kill.
pub const ACT_DRAIN: &str = "drain";
/// After it.
pub const ACT_DELETE_NODE: &str = "delete-node";
/// Before a node is restarted by an update.
pub const ACT_EMPTY_NODE: &str = "empty-node";
/// When it is Ready again.
pub const ACT_FILL_NODE: &str = "fill-node";
/// Before a member of etcd is restarted by an update.
pub const ACT_SPARE_MEMBER: &str = "spare-member";

/// Keys of pods' configurations: what they are rendered with, beside what their specification says. A pod is rendered as it
/// is specified, not as the options are now: while an update is under way, or was undone, these differ.
const EXTRA_ARGS: &str = "extra_args";
const NODE_OPTIONS: &str = "options";
const PROXY_ARGS: &str = "kube-proxy extra_args";

/// How long a changed part of the control plane may take to be ready; it is back after half a minute where there is little
/// to run it on.
const SETTLE: Span = Span::seconds(180);

/// The virtual address at which everything in the pool finds the API, whichever kube-apiserver answers.
pub const VIP: &str = "api";
/// Its port.
pub const VIP_PORT: u16 = 6443;

/// Between two looks of the agent at a kube-apiserver: so long may connections go to one that does not answer.
const CHECK_INTERVAL: Span = Span::millis(500);
/// For one look.
const CHECK_TIMEOUT: Span = Span::seconds(2);
/// For a kube-apiserver to stop: two seconds until nobody is sent to it any more (`shutdown-delay-duration`), and as long
/// again for what was asked. It would wait a minute for open watches, which never end by themselves.
const APISERVER_GRACE: Span = Span::seconds(5);

/// The service of a cluster.
pub fn service(name: &str, role: &RoleName, options: &Options, nodes: &NodeSet) -> ServiceSpec {
    let count = options.control_plane_count();
    let pods = vec![
        etcd(options, count),
        apiserver(options, count),
        control_plane(CONTROLLER_MANAGER, options, count, &options.kube_controller_manager),
        control_plane(SCHEDULER, options, count, &options.kube_scheduler),
        add_ons(options),
        node(options, nodes),
    ];
    let mut spec = ServiceSpec::new(name, role.clone(), pods);
    let mut phases: Vec<PhaseSpec> = spec
        .pods
        .iter()
        .map(|pod| {
            // etcd's members join one by one; everything else is started together.
            let strategy = if pod.name == ETCD { Strategy::Serial } else { Strategy::Parallel };
            PhaseSpec {
                name: pod.name.clone(),
                strategy,
                work: PhaseWork::Pod { pod: pod.name.clone(), tasks: Vec::new() },
            }
        })
        .collect();
    phases.push(PhaseSpec::actions("cluster-dns", &[ACT_DNS]));
    spec.plans = vec![PlanSpec { name: DEPLOY.to_owned(), strategy: Strategy::Serial, phases }];
    spec
}

fn in_place() -> RestartPolicy {
    RestartPolicy::InPlace { backoff_min: Span::millis(200), backoff_max: Span::seconds(10) }
}

fn pod(name: &str, count: u32, tasks: Vec<TaskSpec>) -> PodSpec {
    PodSpec {
        name: name.to_owned(),
        count,
        placement: vec![PlacementRule::UniquePerAgent],
        tasks,
        executor_cpus: Milli(10),
        executor_mem: Milli::units(32),
        ..PodSpec::default()
    }
}

fn task(name: &str, image: &str, resources: &ComponentOptions) -> TaskSpec {
    TaskSpec {
        name: name.to_owned(),
        root: Root::Image(image.to_owned()),
        cpus: resources.cpus.0,
        mem: resources.mem.0,
        disk: resources.disk.0,
        restart: in_place(),
        ..TaskSpec::default()
    }
}

fn any_port(name: &str) -> PortSpec {
    PortSpec { name: name.to_owned(), kind: PortKind::Any }
}

fn etcd(options: &Options, count: u32) -> PodSpec {
    let resources = ComponentOptions { cpus: options.etcd.cpus, mem: options.etcd.mem, disk: Default::default() };
    let size_mib = u32::try_from(options.etcd.disk.ceil()).unwrap_or(u32::MAX);
    let mut task = task(ETCD, &options.images.etcd, &resources);
    task.ports = vec![any_port(CLIENT), any_port(PEER)];
    task.volumes = vec![VolumeSpec {
        container_path: "/var/lib/etcd".to_owned(),
        source: VolumeSource::Persistent { name: "data".to_owned(), size_mib },
        propagation: Propagation::Private,
        read_only: false,
    }];
    task.kill_grace = Some(Span::seconds(10));
    let mut pod = pod(ETCD, count, vec![task]);
    pod.settle = Some(SETTLE);
    pod.roll = Some(RollSpec { before_stop: Some(ACT_SPARE_MEMBER.to_owned()), after_ready: None });
    note_args(&mut pod, EXTRA_ARGS, &options.etcd.extra_args);
    pod
}

/// Flags of a user roll the pod that has them.
fn note_args(pod: &mut PodSpec, key: &str, args: &ExtraArgs) {
    if !args.is_empty() {
        // A map of names to texts and numbers is JSON.
        pod.configuration.insert(key.to_owned(), serde_json::to_string(args).unwrap_or_default());
    }
}

/// The options with which a pod is rendered: those of the cluster, and in their place those it was specified with.
pub fn options_of(options: &Options, pod: &PodSpec) -> Options {
    let mut options = options.clone();
    let noted = |key: &str| pod.configuration.get(key);
    let args =
        |key: &str| -> ExtraArgs { noted(key).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default() };
    match pod.name.as_str() {
        ETCD => options.etcd.extra_args = args(EXTRA_ARGS),
        APISERVER => options.kube_apiserver.extra_args = args(EXTRA_ARGS),
        CONTROLLER_MANAGER => options.kube_controller_manager.extra_args = args(EXTRA_ARGS),
        SCHEDULER => options.kube_scheduler.extra_args = args(EXTRA_ARGS),
        NODE => {
            options.kube_proxy.extra_args = args(PROXY_ARGS);
            if let Some(node) = noted(NODE_OPTIONS).and_then(|text| serde_json::from_str(text).ok()) {
                options.node = node;
            }
        }
        _ => {}
    }
    options
}

fn control_plane(name: &str, options: &Options, count: u32, program: &ProgramOptions) -> PodSpec {
    let mut task = task(name, &options.images.control_plane, &program.resources());
    task.ports = vec![any_port(HTTPS)];
    task.kill_grace = Some(Span::seconds(20));
    let mut pod = pod(name, count, vec![task]);
    // Nothing of it is on its agent: others may stand in for it anywhere.
    pod.replace_unreachable_after = options.replace_after();
    pod.settle = Some(SETTLE);
    note_args(&mut pod, EXTRA_ARGS, &program.extra_args);
    pod
}

fn apiserver(options: &Options, count: u32) -> PodSpec {
    let mut pod = control_plane(APISERVER, options, count, &options.kube_apiserver);
    for task in &mut pod.tasks {
        task.kill_grace = Some(APISERVER_GRACE);
        // The `kubernetes` service has one port for all of them.
        task.ports = vec![PortSpec { name: HTTPS.to_owned(), kind: PortKind::Shared }];
        task.discovery = Some(DiscoverySpec {
            name: "api".to_owned(),
            external: vec![HTTPS.to_owned()],
            vip: Some(VipSpec { name: VIP.to_owned(), port: VIP_PORT }),
        });
        task.readiness = Some(CheckSpec {
            interval: CHECK_INTERVAL,
            timeout: CHECK_TIMEOUT,
            consecutive_failures: 2,
            grace: Span(0),
            ..CheckSpec::new(CheckKind::Http {
                scheme: "https".to_owned(),
                host: String::new(),
                port: PortRef::Name(HTTPS.to_owned()),
                path: "/readyz".to_owned(),
                ca_file: format!("{PKI}/ca.crt"),
                cert_file: format!("{PKI}/apiserver-kubelet-client.crt"),
                key_file: format!("{PKI}/apiserver-kubelet-client.key"),
            })
        });
    }
    pod
}

fn add_ons(options: &Options) -> PodSpec {
    let resources = ComponentOptions::default();
    let mut task = task(ADD_ONS, &options.images.node, &resources);
    task.goal = Goal::Finish;
    task.restart = RestartPolicy::GroupDies;
    let mut pod = pod(ADD_ONS, 1, vec![task]);
    // Its manifests follow from these; a change runs it again.
    pod.configuration = BTreeMap::from([
        ("service_cidr".to_owned(), options.service_cidr.to_string()),
        ("version".to_owned(), options.kubernetes_version.clone()),
    ]);
    pod
}

fn node(options: &Options, nodes: &NodeSet) -> PodSpec {
    let (size, overhead) = (&options.node, &options.node.overhead);
    let sum = |pods: kubernetes_core::options::Amount, own: kubernetes_core::options::Amount| {
        kubernetes_core::options::Amount(Milli(pods.0.0 + own.0.0))
    };
    let resources = ComponentOptions {
        cpus: sum(size.cpus, overhead.cpus),
        mem: sum(size.mem, overhead.mem),
        disk: sum(size.disk, overhead.disk),
    };
    let volume = |path: &str, source, propagation| VolumeSpec {
        container_path: path.to_owned(),
        source,
        propagation,
        read_only: false,
    };
    let mut init = task(NODE, &options.images.node, &resources);
    init.privileged = true;
    init.argv = vec!["/usr/local/bin/mezzo-kubernetes".to_owned(), "node-init".to_owned()];
    init.kill_grace = Some(Span::seconds(60));
    init.clean_up = vec!["/usr/local/bin/mezzo-kubernetes".to_owned(), "node-cleanup".to_owned()];
    init.ports = vec![
        PortSpec { name: "kubelet".to_owned(), kind: PortKind::Fixed(KUBELET_PORT) },
        PortSpec { name: "node-ports".to_owned(), kind: PortKind::Range(30000, 32767) },
        any_port(IMAGES_PORT),
    ];
    // Pods mount in these two, and overlayfs cannot lie on the container's own overlay.
    init.volumes = vec![
        volume("/var/lib/containerd", VolumeSource::Sandbox("containerd".to_owned()), Propagation::Rshared),
        volume("/var/lib/kubelet", VolumeSource::Sandbox("kubelet".to_owned()), Propagation::Rshared),
        volume("/run", VolumeSource::Tmpfs { size_mib: 64, mode: 0o755 }, Propagation::Private),
    ];
    let mut proxy = task(PROXY, &options.images.node, &options.kube_proxy.resources());
    proxy.privileged = true;
    proxy.ports = vec![PortSpec { name: "proxy-health".to_owned(), kind: PortKind::Fixed(PROXY_HEALTH_PORT) }];
    let mut dns = task(DNS, &options.images.node, &options.dns);
    dns.ports = vec![any_port(DNS_PORT)];

    let mut pod = pod(NODE, nodes.count, vec![init, proxy, dns]);
    pod.without = nodes.without.clone();
    pod.decommission = Some(DecommissionSpec {
        before_kill: Some(ACT_DRAIN.to_owned()),
        after_kill: Some(ACT_DELETE_NODE.to_owned()),
    });
    let rendered = NodeOptions { update: NodeUpdateOptions::default(), ..options.node.clone() };
    pod.configuration = BTreeMap::from([
        ("version".to_owned(), options.kubernetes_version.clone()),
        // Amounts, texts and numbers are JSON. What a drain may take is no matter of the node.
        (NODE_OPTIONS.to_owned(), serde_json::to_string(&rendered).unwrap_or_default()),
    ]);
    note_args(&mut pod, PROXY_ARGS, &options.kube_proxy.extra_args);
    pod.roll =
        Some(RollSpec { before_stop: Some(ACT_EMPTY_NODE.to_owned()), after_ready: Some(ACT_FILL_NODE.to_owned()) });
    pod
}

/// The nodes of a target.
pub fn nodes_of(spec: &ServiceSpec) -> NodeSet {
    spec.pod(NODE).map_or_else(NodeSet::default, |pod| NodeSet { count: pod.count, without: pod.without.clone() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn demo(count: u32) -> ServiceSpec {
        let role = RoleName::new("demo").expect("a role");
        service("demo", &role, &Options::default(), &NodeSet { count, without: BTreeSet::new() })
    }

    #[test]
    fn the_order_is_that_of_the_plan_and_the_service_is_valid() {
        let spec = demo(2);
        spec.validate().expect("a valid service");
        let phases: Vec<String> = spec.deploy_plan().phases.into_iter().map(|phase| phase.name).collect();
        assert_eq!(phases, [ETCD, APISERVER, CONTROLLER_MANAGER, SCHEDULER, ADD_ONS, NODE, "cluster-dns"]);
    }

    #[test]
    fn high_availability_is_three_of_everything_on_agents_of_their_own_and_rolls_nothing() {
        let role = RoleName::new("demo").expect("a role");
        let options = Options { high_availability: true, ..Options::default() };
        let nodes = NodeSet { count: 2, without: BTreeSet::new() };
        let three = service("demo", &role, &options, &nodes);
        three.validate().expect("a valid service");
        let one = demo(2);
        for name in [ETCD, APISERVER, CONTROLLER_MANAGER, SCHEDULER] {
            let pod = three.pod(name).expect("present");
            assert_eq!((pod.count, pod.placement.as_slice()), (3, [PlacementRule::UniquePerAgent].as_slice()));
            assert!(one.pod(name).expect("present").runs_as(pod), "{name}");
        }
    }

    #[test]
    fn scaling_touches_no_pod_but_the_nodes_and_rolls_none() {
        let (two, three) = (demo(2), demo(3));
        for pod in &two.pods {
            assert!(pod.runs_as(three.pod(&pod.name).expect("present")), "{}", pod.name);
        }
    }

    #[test]
    fn a_flag_rolls_its_component_alone_and_a_pod_is_rendered_with_its_own() {
        let role = RoleName::new("demo").expect("a role");
        let nodes = NodeSet { count: 2, without: BTreeSet::new() };
        let good = demo(2);
        let text = r#"{"kube_apiserver":{"cpus":1,"mem":768,"disk":256,"extra_args":{"v":4}},"node":{"mem":1024}}"#;
        let options = Options::from_json(text).expect("valid");
        let updated = service("demo", &role, &options, &nodes);
        updated.validate().expect("a valid service");
        let changed: Vec<String> = good.changes(&updated).into_iter().map(|change| change.pod).collect();
        assert_eq!(changed, [APISERVER, NODE]);
        let (old, new) = (good.pod(APISERVER).expect("present"), updated.pod(APISERVER).expect("present"));
        assert!(options_of(&options, old).kube_apiserver.extra_args.is_empty());
        assert_eq!(options_of(&Options::default(), new).kube_apiserver, options.kube_apiserver);
        let (old, new) = (good.pod(NODE).expect("present"), updated.pod(NODE).expect("present"));
        assert_eq!(options_of(&options, old).node, Options::default().node);
        assert_eq!(options_of(&Options::default(), new).node, options.node);
    }

    #[test]
    fn a_node_asks_for_what_its_pods_get_and_its_own_overhead() {
        let spec = demo(1);
        let node = spec.pod(NODE).and_then(|pod| pod.task(NODE)).expect("present");
        assert_eq!((node.cpus, node.mem, node.disk), (Milli(1200), Milli::units(2560), Milli::units(5120)));
    }
}
