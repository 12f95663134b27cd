//! The flags of every component, for every known Kubernetes version, in one table.
//!
//! A row says from which minor version a flag is passed and in which it is gone; a value may hold `{names}` that the
//! caller's [`Values`] fill. Golden files hold the result for each version, so that a new one is reviewed as text.
use std::collections::BTreeMap;

/// Known versions, the default first. A new one needs rows checked against its release notes and a golden file.
pub const VERSIONS: [&str; 1] = ["1.20.2"];

/// A component that takes flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// The store. Its own version follows from the image, its flags did not change since 3.4.
    Etcd,
    /// The API.
    Apiserver,
    /// Controllers.
    ControllerManager,
    /// Scheduling of pods to nodes.
    Scheduler,
    /// Pods of a node.
    Kubelet,
    /// Services on a node.
    Proxy,
}

/// What fills the `{names}` of the table.
pub type Values = BTreeMap<&'static str, String>;

/// Why flags cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// The version is not `1.<minor>.<patch>`.
    #[error("read kubernetes version {0}")]
    Version(String),
    /// A value the table needs was not given.
    #[error("render --{flag}: no value for {{{name}}}")]
    Missing {
        /// The flag.
        flag: &'static str,
        /// The value's name.
        name: String,
    },
}

struct Row {
    component: Component,
    flag: &'static str,
    value: &'static str,
    /// First minor version that has it.
    since: u16,
    /// First minor version that has it no more.
    gone: u16,
}

const fn always(component: Component, flag: &'static str, value: &'static str) -> Row {
    Row { component, flag, value, since: 0, gone: u16::MAX }
}
const fn until(gone: u16, component: Component, flag: &'static str, value: &'static str) -> Row {
    Row { component, flag, value, since: 0, gone }
}

use Component::{Apiserver, ControllerManager, Etcd, Kubelet, Proxy, Scheduler};

/// Where secret files of the control plane are mounted.
pub const PKI: &str = "/etc/kubernetes/pki";

const TABLE: &[Row] = &[
    always(Etcd, "name", "{name}"),
    always(Etcd, "data-dir", "{data_dir}"),
    always(Etcd, "listen-client-urls", "https://{address}:{client_port}"),
    always(Etcd, "advertise-client-urls", "https://{address}:{client_port}"),
    always(Etcd, "listen-peer-urls", "https://{address}:{peer_port}"),
    always(Etcd, "initial-advertise-peer-urls", "https://{address}:{peer_port}"),
    always(Etcd, "initial-cluster", "{initial_cluster}"),
    always(Etcd, "initial-cluster-state", "{initial_cluster_state}"),
    always(Etcd, "initial-cluster-token", "{cluster}"),
    always(Etcd, "client-cert-auth", "true"),
    always(Etcd, "cert-file", "/etc/kubernetes/pki/etcd-server.crt"),
    always(Etcd, "key-file", "/etc/kubernetes/pki/etcd-server.key"),
    always(Etcd, "trusted-ca-file", "/etc/kubernetes/pki/etcd-ca.crt"),
    always(Etcd, "peer-client-cert-auth", "true"),
    always(Etcd, "peer-cert-file", "/etc/kubernetes/pki/etcd-server.crt"),
    always(Etcd, "peer-key-file", "/etc/kubernetes/pki/etcd-server.key"),
    always(Etcd, "peer-trusted-ca-file", "/etc/kubernetes/pki/etcd-ca.crt"),
    // A leader lost is noticed after a second; a disk that stalls for less does not cost an election.
    always(Etcd, "heartbeat-interval", "100"),
    always(Etcd, "election-timeout", "1000"),
    always(Etcd, "snapshot-count", "10000"),
    always(Etcd, "logger", "zap"),
    always(Apiserver, "advertise-address", "{address}"),
    always(Apiserver, "bind-address", "0.0.0.0"),
    always(Apiserver, "secure-port", "{port}"),
    until(24, Apiserver, "insecure-port", "0"),
    always(Apiserver, "etcd-servers", "{etcd_servers}"),
    always(Apiserver, "etcd-cafile", "/etc/kubernetes/pki/etcd-ca.crt"),
    always(Apiserver, "etcd-certfile", "/etc/kubernetes/pki/apiserver-etcd-client.crt"),
    always(Apiserver, "etcd-keyfile", "/etc/kubernetes/pki/apiserver-etcd-client.key"),
    always(Apiserver, "client-ca-file", "/etc/kubernetes/pki/ca.crt"),
    always(Apiserver, "tls-cert-file", "/etc/kubernetes/pki/apiserver.crt"),
    always(Apiserver, "tls-private-key-file", "/etc/kubernetes/pki/apiserver.key"),
    always(Apiserver, "tls-min-version", "VersionTLS12"),
    always(Apiserver, "service-account-key-file", "/etc/kubernetes/pki/sa.pub"),
    always(Apiserver, "service-account-signing-key-file", "/etc/kubernetes/pki/sa.key"),
    always(Apiserver, "service-account-issuer", "https://kubernetes.default.svc.{domain}"),
    always(Apiserver, "service-cluster-ip-range", "{service_cidr}"),
    // Each says in etcd that it is there, so that the `kubernetes` service has the addresses of those that are.
    always(Apiserver, "endpoint-reconciler-type", "lease"),
    always(Apiserver, "authorization-mode", "Node,RBAC"),
    always(Apiserver, "anonymous-auth", "false"),
    always(Apiserver, "enable-admission-plugins", "NodeRestriction"),
    always(Apiserver, "allow-privileged", "true"),
    always(Apiserver, "kubelet-client-certificate", "/etc/kubernetes/pki/apiserver-kubelet-client.crt"),
    always(Apiserver, "kubelet-client-key", "/etc/kubernetes/pki/apiserver-kubelet-client.key"),
    always(Apiserver, "kubelet-certificate-authority", "/etc/kubernetes/pki/ca.crt"),
    // Node names resolve nowhere: logs and exec go to addresses.
    always(Apiserver, "kubelet-preferred-address-types", "InternalIP"),
    always(Apiserver, "requestheader-client-ca-file", "/etc/kubernetes/pki/front-proxy-ca.crt"),
    always(Apiserver, "requestheader-allowed-names", "front-proxy-client"),
    always(Apiserver, "requestheader-extra-headers-prefix", "X-Remote-Extra-"),
    always(Apiserver, "requestheader-group-headers", "X-Remote-Group"),
    always(Apiserver, "requestheader-username-headers", "X-Remote-User"),
    always(Apiserver, "proxy-client-cert-file", "/etc/kubernetes/pki/front-proxy-client.crt"),
    always(Apiserver, "proxy-client-key-file", "/etc/kubernetes/pki/front-proxy-client.key"),
    // Agents route to pods, so webhooks and aggregated APIs are reached at the pod itself: no kube-proxy is needed here.
    always(Apiserver, "enable-aggregator-routing", "true"),
    // Asked to stop, it says at once that it is not ready and serves on until nobody is sent to it any more.
    always(Apiserver, "shutdown-delay-duration", "2s"),
    always(Apiserver, "profiling", "false"),
    always(ControllerManager, "bind-address", "0.0.0.0"),
    always(ControllerManager, "secure-port", "{port}"),
    until(24, ControllerManager, "port", "0"),
    always(ControllerManager, "cluster-name", "{cluster}"),
    always(ControllerManager, "kubeconfig", "/etc/kubernetes/pki/controller-manager.conf"),
    always(ControllerManager, "authentication-kubeconfig", "/etc/kubernetes/pki/controller-manager.conf"),
    always(ControllerManager, "authorization-kubeconfig", "/etc/kubernetes/pki/controller-manager.conf"),
    always(ControllerManager, "client-ca-file", "/etc/kubernetes/pki/ca.crt"),
    always(ControllerManager, "requestheader-client-ca-file", "/etc/kubernetes/pki/front-proxy-ca.crt"),
    always(ControllerManager, "tls-cert-file", "/etc/kubernetes/pki/controller-manager.crt"),
    always(ControllerManager, "tls-private-key-file", "/etc/kubernetes/pki/controller-manager.key"),
    always(ControllerManager, "root-ca-file", "/etc/kubernetes/pki/ca.crt"),
    always(ControllerManager, "cluster-signing-cert-file", "/etc/kubernetes/pki/signer.crt"),
    always(ControllerManager, "cluster-signing-key-file", "/etc/kubernetes/pki/signer.key"),
    always(ControllerManager, "service-account-private-key-file", "/etc/kubernetes/pki/sa.key"),
    always(ControllerManager, "use-service-account-credentials", "true"),
    // A node's pod network is its agent's leased subnet, set by the scheduler of this framework.
    always(ControllerManager, "allocate-node-cidrs", "false"),
    always(ControllerManager, "leader-elect", "true"),
    // A leader that was killed gives nothing back: its successor waits for the lease to end.
    always(ControllerManager, "leader-elect-lease-duration", "10s"),
    always(ControllerManager, "leader-elect-renew-deadline", "7s"),
    always(ControllerManager, "leader-elect-retry-period", "1s"),
    always(ControllerManager, "profiling", "false"),
    always(Scheduler, "bind-address", "0.0.0.0"),
    always(Scheduler, "secure-port", "{port}"),
    until(23, Scheduler, "port", "0"),
    always(Scheduler, "kubeconfig", "/etc/kubernetes/pki/scheduler.conf"),
    always(Scheduler, "authentication-kubeconfig", "/etc/kubernetes/pki/scheduler.conf"),
    always(Scheduler, "authorization-kubeconfig", "/etc/kubernetes/pki/scheduler.conf"),
    always(Scheduler, "client-ca-file", "/etc/kubernetes/pki/ca.crt"),
    always(Scheduler, "requestheader-client-ca-file", "/etc/kubernetes/pki/front-proxy-ca.crt"),
    always(Scheduler, "tls-cert-file", "/etc/kubernetes/pki/scheduler.crt"),
    always(Scheduler, "tls-private-key-file", "/etc/kubernetes/pki/scheduler.key"),
    always(Scheduler, "leader-elect", "true"),
    // A leader that was killed gives nothing back: its successor waits for the lease to end.
    always(Scheduler, "leader-elect-lease-duration", "10s"),
    always(Scheduler, "leader-elect-renew-deadline", "7s"),
    always(Scheduler, "leader-elect-retry-period", "1s"),
    always(Scheduler, "profiling", "false"),
    always(Kubelet, "config", "{config}"),
    always(Kubelet, "kubeconfig", "{kubeconfig}"),
    always(Kubelet, "hostname-override", "{node}"),
    always(Kubelet, "node-ip", "{address}"),
    always(Kubelet, "node-labels", "{labels}"),
    until(27, Kubelet, "container-runtime", "remote"),
    // From 1.27 on this moved into the configuration file, and the flag still works.
    always(Kubelet, "container-runtime-endpoint", "unix:///run/containerd/containerd.sock"),
    until(35, Kubelet, "pod-infra-container-image", "{pause_image}"),
    always(Proxy, "kubeconfig", "{kubeconfig}"),
    always(Proxy, "hostname-override", "{node}"),
    always(Proxy, "proxy-mode", "iptables"),
    // Only what comes from outside this range is masqueraded on its way to a service: pods keep their address.
    always(Proxy, "cluster-cidr", "{pod_range}"),
    always(Proxy, "healthz-bind-address", "{address}:10256"),
    always(Proxy, "metrics-bind-address", "127.0.0.1:10249"),
    // Zero leaves the host's conntrack sysctls alone.
    always(Proxy, "conntrack-max-per-core", "0"),
    always(Proxy, "conntrack-tcp-timeout-established", "0"),
    always(Proxy, "conntrack-tcp-timeout-close-wait", "0"),
];

/// The flags of a component of a version, in the table's order.
///
/// # Errors
/// The version cannot be read, or the caller forgot a value.
pub fn render(version: &str, component: Component, values: &Values) -> Result<Vec<String>, FlagError> {
    let minor = minor(version)?;
    TABLE
        .iter()
        .filter(|row| row.component == component && row.since <= minor && minor < row.gone)
        .map(|row| Ok(format!("--{}={}", row.flag, fill(row, values)?)))
        .collect()
}

/// Names of the flags that are passed to a component of any version.
pub(crate) fn names(component: Component) -> impl Iterator<Item = &'static str> {
    TABLE.iter().filter(move |row| row.component == component).map(|row| row.flag)
}

/// The minor version: 20 of `1.20.2`.
///
/// # Errors
/// The text is not `1.<minor>.<patch>`.
pub fn minor(version: &str) -> Result<u16, FlagError> {
    version
        .strip_prefix("1.")
        .and_then(|rest| rest.split_once('.'))
        .and_then(|(minor, _)| minor.parse().ok())
        .ok_or_else(|| FlagError::Version(version.to_owned()))
}

fn fill(row: &Row, values: &Values) -> Result<String, FlagError> {
    let mut out = String::new();
    let mut rest = row.value;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, tail) = after.split_once('}').expect("every brace of the table is closed");
        out.push_str(before);
        out.push_str(values.get(name).ok_or_else(|| FlagError::Missing { flag: row.flag, name: name.to_owned() })?);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_goes_with_the_version_that_drops_it() {
        let values: Values = [
            ("config", "c"),
            ("kubeconfig", "k"),
            ("node", "n"),
            ("address", "a"),
            ("labels", ""),
            ("pause_image", "p"),
        ]
        .into_iter()
        .map(|(name, value)| (name, value.to_owned()))
        .collect();
        let has = |version| {
            render(version, Kubelet, &values).expect("complete").contains(&"--container-runtime=remote".to_owned())
        };
        assert!(has("1.20.2"));
        assert!(has("1.26.0"));
        assert!(!has("1.27.0"));
    }

    #[test]
    fn a_forgotten_value_is_named() {
        let error = render("1.20.2", Proxy, &Values::new()).expect_err("nothing was given");
        assert_eq!(error, FlagError::Missing { flag: "kubeconfig", name: "kubeconfig".to_owned() });
        assert_eq!(minor("v1.20"), Err(FlagError::Version("v1.20".to_owned())));
    }
}
