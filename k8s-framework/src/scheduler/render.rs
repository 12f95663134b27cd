//! What a pod gets when its place is known: flags with addresses and ports, certificates that name them, kubeconfigs.
use std::net::Ipv4Addr;

use framework_sdk::view::{Placement, ServiceView};
use framework_sdk::{PodInstance, RenderedPod, RenderedTask};
use kubernetes_core::extra_args::ExtraArgs;
use kubernetes_core::flags::{self, Component, PKI, Values};
use kubernetes_core::kubeconfig::{self, Credentials, Server};
use kubernetes_core::node::{self, NodeSettings};
use kubernetes_core::pki::{self, Authority};
use kubernetes_core::{Network, Options};
use model::Refusal;

use super::members::{self, Launch};
use super::secrets::Secrets;
use crate::pki::Pair;
use crate::topology::{
    ADD_ONS, APISERVER, CLIENT, CONTROLLER_MANAGER, DNS, DNS_PORT, ETCD, HTTPS, NODE, PEER, PROXY, SCHEDULER, VIP_PORT,
};

/// Everything rendering depends on beside the place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) cluster: &'a str,
    pub(super) options: &'a Options,
    pub(super) secrets: &'a Secrets,
    pub(super) view: &'a ServiceView,
    /// Where everything in the pool finds the API.
    pub(super) vip: Ipv4Addr,
    /// Of a member of etcd: as which.
    pub(super) member: Option<&'a Launch>,
}

impl Context<'_> {
    pub(super) fn render(&self, instance: &PodInstance, placement: &Placement) -> Result<RenderedPod, Refusal> {
        let address: Ipv4Addr = placement.address.parse().map_err(|_| {
            not_yet(format!("agent {} has no IPv4 address but '{}'", placement.agent_name, placement.address))
        })?;
        let mut pod = RenderedPod::default();
        let name = instance.name.to_string();
        match instance.name.pod.as_str() {
            ETCD => self.add(&mut pod, ETCD, self.etcd(&name, placement, address)?),
            APISERVER => self.add(&mut pod, APISERVER, self.apiserver(placement, address)?),
            CONTROLLER_MANAGER => self.add(&mut pod, CONTROLLER_MANAGER, self.controller_manager(placement, address)?),
            SCHEDULER => self.add(&mut pod, SCHEDULER, self.scheduler(placement, address)?),
            ADD_ONS => self.add(&mut pod, ADD_ONS, self.add_ons()?),
            NODE => {
                self.add(&mut pod, NODE, self.node(&name, placement, address)?);
                self.add(&mut pod, PROXY, self.proxy(&name, address)?);
                self.add(&mut pod, DNS, self.dns(placement, address)?);
            }
            other => return Err(Refusal::new("K8S0006", format!("there is no pod '{other}'"), "")),
        }
        pod.tasks.retain(|task, _| instance.tasks.contains_key(task));
        Ok(pod)
    }

    #[allow(clippy::unused_self)]
    fn add(&self, pod: &mut RenderedPod, task: &str, rendered: RenderedTask) {
        pod.tasks.insert(task.to_owned(), rendered);
    }

    fn etcd(&self, name: &str, placement: &Placement, address: Ipv4Addr) -> Result<RenderedTask, Refusal> {
        let certificate = self.issue(&pki::etcd_member("etcd-server", name, address))?;
        let member = self.member.ok_or_else(|| not_yet(format!("{name} is no member of etcd yet")))?;
        let values: Values = [
            ("name", name.to_owned()),
            ("data_dir", member.data_dir.clone()),
            ("address", address.to_string()),
            ("client_port", port(placement, CLIENT)?.to_string()),
            ("peer_port", port(placement, PEER)?.to_string()),
            ("initial_cluster", member.initial_cluster.clone()),
            ("initial_cluster_state", member.initial_cluster_state.to_owned()),
            ("cluster", self.cluster.to_owned()),
        ]
        .into_iter()
        .collect();
        let mut argv = vec!["/usr/local/bin/etcd".to_owned()];
        argv.extend(self.flags(Component::Etcd, &values, &self.options.etcd.extra_args)?);
        Ok(with_pair(RenderedTask::default().argv(argv), "etcd-server", &certificate)
            .file(format!("{PKI}/etcd-ca.crt"), self.ca(Authority::Etcd)))
    }

    fn apiserver(&self, placement: &Placement, address: Ipv4Addr) -> Result<RenderedTask, Refusal> {
        let members = members::servers(self.view);
        if members.is_empty() {
            return Err(not_yet("no etcd member has a place yet"));
        }
        let values: Values = [
            ("address", address.to_string()),
            ("port", port(placement, HTTPS)?.to_string()),
            ("etcd_servers", members.join(",")),
            ("domain", self.options.cluster_domain.clone()),
            ("service_cidr", self.options.service_cidr.to_string()),
        ]
        .into_iter()
        .collect();
        let mut argv = vec!["/usr/local/bin/kube-apiserver".to_owned()];
        argv.extend(self.flags(Component::Apiserver, &values, &self.options.kube_apiserver.extra_args)?);
        let mut task = RenderedTask::default()
            .argv(argv)
            .file(format!("{PKI}/ca.crt"), self.ca(Authority::Cluster))
            .file(format!("{PKI}/etcd-ca.crt"), self.ca(Authority::Etcd))
            .file(format!("{PKI}/front-proxy-ca.crt"), self.ca(Authority::FrontProxy))
            .file(format!("{PKI}/sa.pub"), self.secrets.service_account().certificate.as_str())
            .file(format!("{PKI}/sa.key"), self.secrets.service_account().key.as_str());
        for stem in ["apiserver-etcd-client", "apiserver-kubelet-client", "front-proxy-client"] {
            task = with_pair(task, stem, self.secrets.client(stem));
        }
        let own = self.issue(&pki::apiserver("apiserver", self.cluster, self.options, address, self.vip))?;
        Ok(with_pair(task, "apiserver", &own))
    }

    fn controller_manager(&self, placement: &Placement, address: Ipv4Addr) -> Result<RenderedTask, Refusal> {
        let extra = &self.options.kube_controller_manager.extra_args;
        let program = (Component::ControllerManager, CONTROLLER_MANAGER, "controller-manager");
        let task = self.component(program, extra, placement, address)?;
        let ca = self.secrets.authority(Authority::Cluster);
        Ok(task
            // Who signs is one; who is trusted may be two while authorities change.
            .file(format!("{PKI}/signer.crt"), ca.certificate.as_str())
            .file(format!("{PKI}/signer.key"), ca.key.as_str())
            .file(format!("{PKI}/sa.key"), self.secrets.service_account().key.as_str()))
    }

    fn scheduler(&self, placement: &Placement, address: Ipv4Addr) -> Result<RenderedTask, Refusal> {
        let extra = &self.options.kube_scheduler.extra_args;
        self.component((Component::Scheduler, SCHEDULER, "scheduler"), extra, placement, address)
    }

    /// What controller-manager and scheduler have in common.
    fn component(
        &self,
        (component, program, stem): (Component, &str, &str),
        extra: &ExtraArgs,
        placement: &Placement,
        address: Ipv4Addr,
    ) -> Result<RenderedTask, Refusal> {
        let values: Values =
            [("port", port(placement, HTTPS)?.to_string()), ("cluster", self.cluster.to_owned())].into_iter().collect();
        let mut argv = vec![format!("/usr/local/bin/{program}")];
        argv.extend(self.flags(component, &values, extra)?);
        let own = self.issue(&pki::component_server(stem, program, address))?;
        let task = RenderedTask::default()
            .argv(argv)
            .file(format!("{PKI}/ca.crt"), self.ca(Authority::Cluster))
            .file(format!("{PKI}/front-proxy-ca.crt"), self.ca(Authority::FrontProxy))
            .file(format!("{PKI}/{stem}.conf"), self.kubeconfig(&format!("{stem}-client"))?);
        Ok(with_pair(task, stem, &own))
    }

    fn add_ons(&self) -> Result<RenderedTask, Refusal> {
        let options = serde_json::to_string(self.options).map_err(|error| not_yet(error.to_string()))?;
        Ok(RenderedTask::default()
            .argv(["/usr/local/bin/mezzo-kubernetes", "add-ons", "--kubeconfig", "/etc/kubernetes/pki/framework.conf"])
            .env(crate::add_ons::OPTIONS, options)
            .file(format!("{PKI}/framework.conf"), self.kubeconfig("framework")?))
    }

    fn node(&self, name: &str, placement: &Placement, address: Ipv4Addr) -> Result<RenderedTask, Refusal> {
        let options = self.options;
        let settings = NodeSettings {
            version: options.kubernetes_version.clone(),
            node: name.to_owned(),
            address,
            pod_subnet: pod_subnet(placement)?,
            pod_range: options.pod_range,
            service_cidr: options.service_cidr,
            dns_address: options.dns_service_address(),
            cluster_domain: options.cluster_domain.clone(),
            apiserver: self.apiserver_address(),
            tls_server_name: pki::api_server_name(self.cluster),
            cluster: self.cluster.to_owned(),
            cpus: options.node.cpus,
            mem: options.node.mem,
            disk: options.node.disk,
            overhead_cpus: options.node.overhead.cpus,
            overhead_mem: options.node.overhead.mem,
            overhead_disk: options.node.overhead.disk,
            labels: options.node.labels.clone(),
            kubelet_extra_args: options.node.kubelet_extra_args.clone(),
        };
        let client = self.issue(&pki::node_client("kubelet-client", name))?;
        let server = self.issue(&pki::node_server("kubelet-server", name, address))?;
        let task = RenderedTask { hostname: Some(name.to_owned()), ..RenderedTask::default() }
            .env(
                crate::node_init::SETTINGS,
                serde_json::to_string(&settings).map_err(|error| not_yet(error.to_string()))?,
            )
            .file(format!("{PKI}/ca.crt"), self.ca(Authority::Cluster));
        Ok(with_pair(with_pair(task, "kubelet-client", &client), "kubelet-server", &server))
    }

    fn proxy(&self, name: &str, address: Ipv4Addr) -> Result<RenderedTask, Refusal> {
        let mut argv = vec!["/usr/local/bin/kube-proxy".to_owned()];
        let flags = node::proxy_flags(&self.options.kubernetes_version, name, address, self.options.pod_range)
            .map_err(|error| not_yet(error.to_string()))?;
        argv.extend(self.options.kube_proxy.extra_args.put_into(Component::Proxy, flags));
        Ok(RenderedTask::default().argv(argv).file(format!("{PKI}/proxy.conf"), self.kubeconfig("proxy-client")?))
    }

    fn dns(&self, placement: &Placement, address: Ipv4Addr) -> Result<RenderedTask, Refusal> {
        let listen = format!("{address}:{}", port(placement, DNS_PORT)?);
        Ok(RenderedTask::default()
            .argv([
                "/usr/local/bin/mezzo-kubernetes",
                "dns",
                "--kubeconfig",
                "/etc/kubernetes/pki/dns.conf",
                "--listen",
                &listen,
                "--domain",
                &self.options.cluster_domain,
            ])
            .file(format!("{PKI}/dns.conf"), self.kubeconfig("dns-client")?))
    }

    /// A document for a client of the cluster that runs in the pool.
    fn kubeconfig(&self, client: &str) -> Result<String, Refusal> {
        let server = Server {
            address: self.apiserver_address(),
            tls_server_name: pki::api_server_name(self.cluster),
            cluster: self.cluster.to_owned(),
        };
        Ok(kubeconfig_text(&server, client, self.secrets))
    }

    /// Whichever kube-apiserver answers: none is known by its place.
    fn apiserver_address(&self) -> String {
        format!("{}:{VIP_PORT}", self.vip)
    }

    fn ca(&self, which: Authority) -> String {
        self.secrets.trust(which)
    }
    fn issue(&self, leaf: &pki::Leaf) -> Result<Pair, Refusal> {
        self.secrets.issue(leaf, self.options.certificate_seconds())
    }
    fn flags(&self, component: Component, values: &Values, extra: &ExtraArgs) -> Result<Vec<String>, Refusal> {
        let flags = flags::render(&self.options.kubernetes_version, component, values);
        Ok(extra.put_into(component, flags.map_err(|error| not_yet(error.to_string()))?))
    }
}

/// A kubeconfig that stands alone.
pub(super) fn kubeconfig_text(server: &Server, client: &str, secrets: &Secrets) -> String {
    let pair = secrets.client(client);
    let authority = secrets.trust(Authority::Cluster);
    let credentials =
        Credentials { user: client, authority: &authority, certificate: &pair.certificate, key: &pair.key };
    let document = kubeconfig::inline(server, credentials);
    // JSON is YAML too, should the library ever fail at a document of maps and texts.
    serde_saphyr::to_string(&document).unwrap_or_else(|_| format!("{document:#}\n"))
}

/// The subnet leased to the agent of a place.
pub(super) fn pod_subnet(placement: &Placement) -> Result<Network, Refusal> {
    placement.pod_subnet.parse().map_err(|error| {
        not_yet(format!("agent {} has no pod subnet: '{}' {error}", placement.agent_name, placement.pod_subnet))
    })
}

fn with_pair(task: RenderedTask, stem: &str, pair: &Pair) -> RenderedTask {
    task.file(format!("{PKI}/{stem}.crt"), pair.certificate.as_str())
        .file(format!("{PKI}/{stem}.key"), pair.key.as_str())
}

fn port(placement: &Placement, name: &str) -> Result<u16, Refusal> {
    placement.port(name).ok_or_else(|| not_yet(format!("the offer has no port for '{name}'")))
}

fn not_yet(words: impl Into<String>) -> Refusal {
    Refusal::new("K8S0007", words, "it is tried again")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use framework_sdk::spec::InstanceName;
    use framework_sdk::view::InstanceView;
    use kubernetes_core::scale::NodeSet;
    use model::{AgentId, ExecutorId, RoleName, TaskId};

    use super::*;

    fn placement() -> Placement {
        let ports =
            [CLIENT, PEER, HTTPS, DNS_PORT].into_iter().zip(20000u16..).map(|(name, port)| (name.to_owned(), port));
        Placement {
            agent_id: AgentId::new("a").expect("an id"),
            agent_name: "agent-1".to_owned(),
            address: "192.0.2.7".to_owned(),
            pod_subnet: "10.100.3.0/24".to_owned(),
            region: String::new(),
            zone: String::new(),
            attributes: BTreeMap::new(),
            ports: ports.collect(),
        }
    }

    fn placed(pod: &str) -> InstanceView {
        let name = InstanceName::new(pod, 0);
        InstanceView { name, placement: Some(placement()), tasks: BTreeMap::new(), is_ready: true, is_leaving: false }
    }

    #[test]
    fn every_pod_of_the_topology_renders_and_its_files_are_where_its_flags_say() {
        let options = Options::default();
        let secrets = Secrets::make(30).expect("made");
        let view =
            ServiceView { instances: [ETCD, APISERVER].map(|pod| (InstanceName::new(pod, 0), placed(pod))).into() };
        let member = Launch {
            data_dir: "/var/lib/etcd/member-data".to_owned(),
            initial_cluster: "etcd-0=https://192.0.2.7:20001".to_owned(),
            initial_cluster_state: "new",
        };
        let vip = [198, 18, 0, 1].into();
        let context =
            Context { cluster: "demo", options: &options, secrets: &secrets, view: &view, vip, member: Some(&member) };
        let nodes = NodeSet { count: 1, without: Default::default() };
        let spec = crate::topology::service("demo", &RoleName::new("demo").expect("a role"), &options, &nodes);
        for pod in spec.pods {
            let id = |text: &str| TaskId::new(text).expect("an id");
            let instance = PodInstance {
                name: InstanceName::new(&pod.name, 0),
                tasks: pod.tasks.iter().map(|task| (task.name.clone(), id(&task.name))).collect(),
                executor_id: ExecutorId::new("e").expect("an id"),
                has_new_volumes: true,
                pod,
            };
            let rendered = context.render(&instance, &placement()).expect("complete");
            for (task, rendered) in rendered.tasks {
                for argument in rendered.argv.iter().flatten() {
                    let Some((_, path)) = argument.split_once('=') else { continue };
                    let is_there = rendered.files.iter().any(|file| file.container_path == path);
                    assert!(is_there || !path.starts_with(PKI), "{task}: {argument} has no file");
                }
            }
        }
    }

    #[test]
    fn an_apiserver_waits_for_etcds_place() {
        let options = Options::default();
        let secrets = Secrets::make(30).expect("made");
        let view = ServiceView::default();
        let vip = [198, 18, 0, 1].into();
        let context = Context { cluster: "demo", options: &options, secrets: &secrets, view: &view, vip, member: None };
        let error = context.apiserver(&placement(), [192, 0, 2, 7].into()).expect_err("nothing is placed");
        assert_eq!((error.code.as_str(), error.message.as_str()), ("K8S0007", "no etcd member has a place yet"));
        let task = TaskId::new("t").expect("an id");
        let instance = PodInstance {
            name: InstanceName::new("other", 0),
            pod: framework_sdk::spec::PodSpec { name: "other".to_owned(), ..Default::default() },
            tasks: [("t".to_owned(), task)].into(),
            executor_id: ExecutorId::new("e").expect("an id"),
            has_new_volumes: false,
        };
        let error = context.render(&instance, &placement()).expect_err("no pod of the topology");
        assert_eq!((error.code.as_str(), error.message.as_str()), ("K8S0006", "there is no pod 'other'"));
    }
}
