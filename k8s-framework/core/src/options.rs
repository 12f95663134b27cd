//! The options of a cluster: read once from JSON, checked once, with the path of whatever is wrong.
use std::collections::BTreeMap;

use model::{Milli, Refusal, Span};
use serde::{Deserialize, Serialize};

use crate::cidr::Network;
use crate::extra_args::ExtraArgs;
use crate::flags::{self, Component};
use crate::limits;

/// What a user asks for. Every field has a default, so that `{}` is a small cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Version of the components in the images.
    pub kubernetes_version: String,
    /// Three of everything in the control plane instead of one.
    pub high_availability: bool,
    /// Nodes that run pods.
    pub node_count: u32,
    /// What a node has.
    pub node: NodeOptions,
    /// What etcd's members take.
    pub etcd: EtcdOptions,
    /// What a kube-apiserver takes.
    pub kube_apiserver: ProgramOptions,
    /// What a kube-controller-manager takes.
    pub kube_controller_manager: ProgramOptions,
    /// What a kube-scheduler takes.
    pub kube_scheduler: ProgramOptions,
    /// What the kube-proxy of a node takes.
    pub kube_proxy: ProgramOptions,
    /// What the DNS of a node takes.
    pub dns: ComponentOptions,
    /// Addresses of services. Must not meet the pool's pod range nor the agents' network.
    pub service_cidr: Network,
    /// Every agent's pod subnet is cut from this: packets within it are never translated.
    pub pod_range: Network,
    /// Suffix of names in the cluster.
    pub cluster_domain: String,
    /// Image references.
    pub images: Images,
    /// Seconds after which control plane instances on an agent that stays away are given up and launched elsewhere.
    /// 0: never. A member of etcd only if the others have a quorum without it.
    pub replace_after_seconds: u32,
    /// Days for which component certificates are valid.
    pub certificate_days: Amount,
    /// Backups that the master keeps.
    pub backup: BackupOptions,
    /// Id of the backup the cluster is made from; empty: it begins empty.
    pub restore_from: String,
    /// What the scheduler itself takes; of use to the package's template alone.
    pub scheduler: ComponentOptions,
}

/// What a node has for pods, and what is added for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeOptions {
    /// Processors for pods: `allocatable` of the node.
    pub cpus: Amount,
    /// MiB of memory for pods.
    pub mem: Amount,
    /// MiB of ephemeral storage for pods.
    pub disk: Amount,
    /// For kubelet and containerd, on top.
    pub overhead: OverheadOptions,
    /// Labels of the Node objects.
    pub labels: BTreeMap<String, String>,
    /// More flags of the kubelet.
    #[serde(skip_serializing_if = "ExtraArgs::is_empty")]
    pub kubelet_extra_args: ExtraArgs,
    /// What may be lost when a node is emptied to be restarted by an update.
    #[serde(skip_serializing_if = "is_default")]
    pub update: NodeUpdateOptions,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What may be lost when a node is emptied to be restarted by an update: the flags of `kubectl drain`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeUpdateOptions {
    /// Pods that nobody would create again.
    pub force: bool,
    /// Data in emptyDir volumes.
    pub delete_emptydir_data: bool,
}

/// What kubelet and containerd of a node take beside its pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OverheadOptions {
    /// Processors.
    pub cpus: Amount,
    /// MiB of memory.
    pub mem: Amount,
    /// MiB of disk: imported images, logs of kubelet and containerd.
    pub disk: Amount,
}

/// What a component takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ComponentOptions {
    /// Processors.
    pub cpus: Amount,
    /// MiB of memory.
    pub mem: Amount,
    /// MiB of disk in the sandbox.
    pub disk: Amount,
}

/// What a component of Kubernetes takes, and what it is told beside what mezzo tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProgramOptions {
    /// Processors.
    pub cpus: Amount,
    /// MiB of memory.
    pub mem: Amount,
    /// MiB of disk in the sandbox.
    pub disk: Amount,
    /// More flags.
    #[serde(skip_serializing_if = "ExtraArgs::is_empty")]
    pub extra_args: ExtraArgs,
}

/// What an etcd member takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EtcdOptions {
    /// Processors.
    pub cpus: Amount,
    /// MiB of memory.
    pub mem: Amount,
    /// MiB of its persistent volume.
    pub disk: Amount,
    /// More flags.
    #[serde(skip_serializing_if = "ExtraArgs::is_empty")]
    pub extra_args: ExtraArgs,
}

/// Backups that the master keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackupOptions {
    /// Minutes between two; 0: none is made but before changes.
    pub interval: u32,
    /// How many of them stay, and how many of those made before changes.
    pub retention: u32,
}

/// Where the images are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Images {
    /// etcd and etcdctl.
    pub etcd: String,
    /// kube-apiserver, kube-controller-manager, kube-scheduler.
    pub control_plane: String,
    /// containerd, runc, CNI plugins, kubelet, kube-proxy and `mezzo-kubernetes`.
    pub node: String,
}

/// An amount that may have three decimals, kept exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "serde_json::Number", into = "serde_json::Number")]
pub struct Amount(pub Milli);

impl Amount {
    /// So many whole units.
    pub const fn units(units: i64) -> Self {
        Self(Milli::units(units))
    }
    /// So many thousandths.
    pub const fn milli(milli: i64) -> Self {
        Self(Milli(milli))
    }
    /// Whole units, rounded up.
    pub fn ceil(self) -> i64 {
        self.0.0.saturating_add(999).div_euclid(1000)
    }
}

/// Why a number is not an [`Amount`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a non-negative number with at most three decimals")]
pub struct InvalidAmount(String);

impl TryFrom<serde_json::Number> for Amount {
    type Error = InvalidAmount;
    fn try_from(number: serde_json::Number) -> Result<Self, InvalidAmount> {
        let text = number.to_string();
        let invalid = || InvalidAmount(text.clone());
        let (whole, decimals) = text.split_once('.').unwrap_or((text.as_str(), ""));
        let decimals = decimals.trim_end_matches('0');
        if decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        let whole: u32 = whole.parse().map_err(|_| invalid())?;
        let thousandths: i64 = format!("{decimals:0<3}").parse().map_err(|_| invalid())?;
        Ok(Self(Milli(i64::from(whole) * 1000 + thousandths)))
    }
}
impl From<Amount> for serde_json::Number {
    fn from(amount: Amount) -> serde_json::Number {
        // The text of a Milli is a decimal number, which JSON can hold.
        amount.0.to_string().parse().unwrap_or_else(|_| serde_json::Number::from(0))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kubernetes_version: flags::VERSIONS[0].to_owned(),
            high_availability: false,
            node_count: 2,
            node: NodeOptions::default(),
            etcd: EtcdOptions::default(),
            // Its start alone takes three seconds of a processor; with a third of one it is ready after ten.
            kube_apiserver: ProgramOptions::new(1000, 768, 256),
            kube_controller_manager: ProgramOptions::new(250, 256, 128),
            kube_scheduler: ProgramOptions::new(200, 128, 128),
            kube_proxy: ProgramOptions::new(50, 128, 64),
            dns: ComponentOptions::new(50, 64, 64),
            service_cidr: Network::of([10, 96, 0, 0].into(), 16).expect("16 is a prefix"),
            pod_range: Network::of([10, 100, 0, 0].into(), 14).expect("14 is a prefix"),
            cluster_domain: "cluster.local".to_owned(),
            images: Images::default(),
            replace_after_seconds: 60,
            certificate_days: Amount::units(365),
            backup: BackupOptions::default(),
            restore_from: String::new(),
            scheduler: ComponentOptions::new(200, 256, 64),
        }
    }
}
impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            cpus: Amount::units(1),
            mem: Amount::units(2048),
            disk: Amount::units(4096),
            overhead: OverheadOptions::default(),
            labels: BTreeMap::new(),
            kubelet_extra_args: ExtraArgs::default(),
            update: NodeUpdateOptions::default(),
        }
    }
}
impl Default for OverheadOptions {
    fn default() -> Self {
        Self { cpus: Amount::milli(200), mem: Amount::units(512), disk: Amount::units(1024) }
    }
}
impl ComponentOptions {
    const fn new(cpus_milli: i64, mem: i64, disk: i64) -> Self {
        Self { cpus: Amount::milli(cpus_milli), mem: Amount::units(mem), disk: Amount::units(disk) }
    }
}
impl Default for ProgramOptions {
    fn default() -> Self {
        Self::new(100, 128, 128)
    }
}
impl ProgramOptions {
    fn new(cpus_milli: i64, mem: i64, disk: i64) -> Self {
        Self {
            cpus: Amount::milli(cpus_milli),
            mem: Amount::units(mem),
            disk: Amount::units(disk),
            extra_args: ExtraArgs::default(),
        }
    }
    /// Without the flags.
    pub fn resources(&self) -> ComponentOptions {
        ComponentOptions { cpus: self.cpus, mem: self.mem, disk: self.disk }
    }
}
impl Default for ComponentOptions {
    fn default() -> Self {
        Self::new(100, 128, 128)
    }
}
impl Default for EtcdOptions {
    fn default() -> Self {
        Self {
            cpus: Amount::milli(200),
            mem: Amount::units(256),
            disk: Amount::units(1024),
            extra_args: ExtraArgs::default(),
        }
    }
}
impl Default for BackupOptions {
    fn default() -> Self {
        Self { interval: 24 * 60, retention: 7 }
    }
}
impl Default for Images {
    fn default() -> Self {
        Self {
            etcd: "pool/etcd:3.4.23".to_owned(),
            control_plane: "pool/kube-control-plane:1.20.2".to_owned(),
            node: "pool/kubernetes-node:1.20.2".to_owned(),
        }
    }
}

impl Options {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// The refusal names the option's path, the value and what is allowed.
    pub fn from_json(text: &str) -> Result<Self, Refusal> {
        if text.len() > limits::OPTIONS_BYTES_MAX {
            return Err(invalid("", format!("the options are {} bytes long", text.len()), "at most 65536 bytes"));
        }
        let options: Self = serde_json::from_str(text).map_err(|error| {
            invalid("", format!("the options cannot be read: {error}"), "a document of this package's schema")
        })?;
        options.check()?;
        Ok(options)
    }

    /// Checks what types cannot.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), Refusal> {
        if !flags::VERSIONS.contains(&self.kubernetes_version.as_str()) {
            return Err(invalid(
                "kubernetes_version",
                format!("Kubernetes {} is not known", self.kubernetes_version),
                &flags::VERSIONS.join(", "),
            ));
        }
        if self.node_count > limits::NODES_MAX {
            return Err(invalid("node_count", format!("{} nodes are too many", self.node_count), "0 to 1000"));
        }
        for (path, amount, minimum) in [
            ("node.cpus", self.node.cpus, Amount::milli(100)),
            ("node.mem", self.node.mem, Amount::units(128)),
            ("node.disk", self.node.disk, Amount::units(512)),
            ("node.overhead.mem", self.node.overhead.mem, Amount::units(limits::NODE_OVERHEAD_MEM_MIN)),
            ("node.overhead.disk", self.node.overhead.disk, Amount::units(256)),
            ("etcd.mem", self.etcd.mem, Amount::units(64)),
            ("etcd.disk", self.etcd.disk, Amount::units(128)),
            ("kube_apiserver.mem", self.kube_apiserver.mem, Amount::units(384)),
        ] {
            if amount < minimum {
                return Err(invalid(path, format!("{} is too little", amount.0), &format!("{} or more", minimum.0)));
            }
        }
        let prefix = self.service_cidr.prefix();
        if !(limits::SERVICE_PREFIX_MIN..=limits::SERVICE_PREFIX_MAX).contains(&prefix) {
            return Err(invalid(
                "service_cidr",
                format!("{} has a prefix of {prefix}", self.service_cidr),
                "a prefix of 12 to 27",
            ));
        }
        if self.service_cidr.overlaps(self.pod_range) {
            return Err(invalid(
                "service_cidr",
                format!("{} overlaps the pod range {}", self.service_cidr, self.pod_range),
                "a network of its own",
            ));
        }
        if !is_domain(&self.cluster_domain) {
            return Err(invalid(
                "cluster_domain",
                format!("'{}' is not a domain", self.cluster_domain),
                "labels of a-z, 0-9 and '-' joined by '.'",
            ));
        }
        if !matches!(self.replace_after_seconds, 0 | 10..=86_400) {
            let message = format!("{} seconds", self.replace_after_seconds);
            return Err(invalid("replace_after_seconds", message, "0 (never), or 10 to 86400"));
        }
        if !(Amount::milli(5)..=Amount::units(3650)).contains(&self.certificate_days) {
            let message = format!("{} days", self.certificate_days.0);
            return Err(invalid("certificate_days", message, "0.005 to 3650"));
        }
        for (path, component, args) in [
            ("etcd.extra_args", Component::Etcd, &self.etcd.extra_args),
            ("kube_apiserver.extra_args", Component::Apiserver, &self.kube_apiserver.extra_args),
            (
                "kube_controller_manager.extra_args",
                Component::ControllerManager,
                &self.kube_controller_manager.extra_args,
            ),
            ("kube_scheduler.extra_args", Component::Scheduler, &self.kube_scheduler.extra_args),
            ("kube_proxy.extra_args", Component::Proxy, &self.kube_proxy.extra_args),
            ("node.kubelet_extra_args", Component::Kubelet, &self.node.kubelet_extra_args),
        ] {
            args.check(component).map_err(|error| invalid(path, error.to_string(), &error.allowed()))?;
        }
        if !(1..=limits::BACKUPS_MAX).contains(&self.backup.retention) {
            return Err(invalid("backup.retention", format!("{} backups", self.backup.retention), "1 to 50"));
        }
        Ok(())
    }

    /// How many of each control plane component there are.
    pub fn control_plane_count(&self) -> u32 {
        if self.high_availability { 3 } else { 1 }
    }
    /// How long an agent may stay away before its control plane instances are given up.
    pub fn replace_after(&self) -> Option<Span> {
        (self.replace_after_seconds > 0).then(|| Span::seconds(self.replace_after_seconds.into()))
    }
    /// Seconds for which component certificates are valid.
    pub fn certificate_seconds(&self) -> u64 {
        // Thousandths of a day.
        u64::try_from(self.certificate_days.0.0).unwrap_or_default() * 864 / 10
    }
    /// The address of the `kubernetes` service.
    pub fn kubernetes_service_address(&self) -> std::net::Ipv4Addr {
        self.service_cidr.nth(1).expect("a checked service network has at least 32 addresses")
    }
    /// The address of the `kube-dns` service.
    pub fn dns_service_address(&self) -> std::net::Ipv4Addr {
        self.service_cidr.nth(10).expect("a checked service network has at least 32 addresses")
    }
}

fn invalid(path: &str, message: String, allowed: &str) -> Refusal {
    Refusal::new("K8S0001", message, format!("allowed: {allowed}")).at(path)
}

fn is_domain(text: &str) -> bool {
    text.len() <= 200
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_document_is_a_small_cluster_and_survives_a_round_trip() {
        let options = Options::from_json("{}").expect("defaults are valid");
        assert_eq!(options.control_plane_count(), 1);
        assert_eq!(options.dns_service_address().to_string(), "10.96.0.10");
        let text = serde_json::to_string(&options).expect("options are JSON");
        assert_eq!(Options::from_json(&text).expect("its own text"), options);
        assert!(text.contains(r#""cpus":0.2"#), "{text}");
    }

    #[test]
    fn what_is_wrong_is_named_by_path() {
        for (json, field) in [
            (r#"{"kubernetes_version":"1.2"}"#, "kubernetes_version"),
            (r#"{"node":{"mem":4}}"#, "node.mem"),
            (r#"{"kube_apiserver":{"mem":768,"extra_args":{"etcd-servers":"x"}}}"#, "kube_apiserver.extra_args"),
            (r#"{"node":{"kubelet_extra_args":{"V":4}}}"#, "node.kubelet_extra_args"),
            (r#"{"service_cidr":"10.101.0.0/20"}"#, "service_cidr"),
            (r#"{"service_cidr":"10.0.0.0/8"}"#, "service_cidr"),
            (r#"{"cluster_domain":"Über"}"#, "cluster_domain"),
            (r#"{"node_count":5000}"#, "node_count"),
            (r#"{"replace_after_seconds":5}"#, "replace_after_seconds"),
            (r#"{"nodes":1}"#, ""),
            (r#"{"node":{"cpus":-1}}"#, ""),
            (r#"{"node":{"cpus":0.0001}}"#, ""),
        ] {
            let refusal = Options::from_json(json).expect_err(json);
            assert_eq!((refusal.code.as_str(), refusal.field.as_str()), ("K8S0001", field), "{json}: {refusal}");
        }
    }
}
