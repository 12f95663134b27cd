//! Flags of components that a user adds. What mezzo itself decides (addresses, certificates, who is who) is refused by
//! name; of the rest a user's value replaces ours. Whether a component knows a flag only it can say: an update that a
//! component does not come up with is undone.
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::flags::{self, Component};
use crate::limits;

/// Flags by name, without dashes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExtraArgs(pub BTreeMap<String, Argument>);

/// A value: people write numbers and truth values as such.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Argument {
    /// `true` or `false`.
    Truth(bool),
    /// A number.
    Number(serde_json::Number),
    /// Anything else.
    Text(String),
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Argument::Truth(value) => value.fmt(f),
            Argument::Number(value) => value.fmt(f),
            Argument::Text(value) => value.fmt(f),
        }
    }
}

/// Why a flag is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExtraArgError {
    /// Too many.
    #[error("there are {0} of them")]
    TooMany(usize),
    /// It is no name.
    #[error("'{0}' is not the name of a flag")]
    Name(String),
    /// Its value is too long or not one line.
    #[error("the value of --{0} is longer than {limit} bytes or not one line", limit = limits::EXTRA_ARG_BYTES_MAX)]
    Value(String),
    /// It is not the user's.
    #[error("--{0} is set by mezzo and cannot be chosen")]
    Owned(String),
}

impl ExtraArgError {
    /// What is allowed instead.
    pub fn allowed(&self) -> String {
        match self {
            ExtraArgError::TooMany(_) => format!("at most {} flags", limits::EXTRA_ARGS_MAX),
            ExtraArgError::Name(_) => "names of a-z, 0-9 and '-', without the dashes before them".to_owned(),
            ExtraArgError::Value(_) => "a text of one line, a number, true or false".to_owned(),
            ExtraArgError::Owned(_) => "any other flag of the component".to_owned(),
        }
    }
}

/// Flags that are no part of the table and would break what mezzo relies on: other sources of configuration, other
/// identities, other places of data.
const FOREIGN: &[(Component, &str)] = &[
    (Component::Etcd, "config-file"),
    (Component::Etcd, "discovery"),
    (Component::Etcd, "discovery-srv"),
    (Component::Etcd, "force-new-cluster"),
    (Component::Etcd, "proxy"),
    (Component::Etcd, "wal-dir"),
    (Component::Apiserver, "etcd-prefix"),
    (Component::Apiserver, "insecure-bind-address"),
    (Component::Apiserver, "token-auth-file"),
    (Component::ControllerManager, "cluster-cidr"),
    (Component::ControllerManager, "master"),
    (Component::ControllerManager, "service-cluster-ip-range"),
    (Component::Scheduler, "config"),
    (Component::Scheduler, "master"),
    (Component::Kubelet, "bootstrap-kubeconfig"),
    (Component::Kubelet, "cgroup-root"),
    (Component::Kubelet, "register-node"),
    (Component::Kubelet, "root-dir"),
    (Component::Proxy, "config"),
    (Component::Proxy, "master"),
];

/// Flags of the table whose value a user may choose.
const CHOSEN: &[(Component, &str)] = &[
    (Component::Etcd, "heartbeat-interval"),
    (Component::Etcd, "election-timeout"),
    (Component::Etcd, "snapshot-count"),
    (Component::Etcd, "logger"),
    (Component::Apiserver, "tls-min-version"),
    (Component::Apiserver, "enable-admission-plugins"),
    (Component::Apiserver, "allow-privileged"),
    (Component::Apiserver, "shutdown-delay-duration"),
    (Component::Apiserver, "profiling"),
    (Component::ControllerManager, "leader-elect-lease-duration"),
    (Component::ControllerManager, "leader-elect-renew-deadline"),
    (Component::ControllerManager, "leader-elect-retry-period"),
    (Component::ControllerManager, "profiling"),
    (Component::Scheduler, "leader-elect-lease-duration"),
    (Component::Scheduler, "leader-elect-renew-deadline"),
    (Component::Scheduler, "leader-elect-retry-period"),
    (Component::Scheduler, "profiling"),
    (Component::Proxy, "conntrack-max-per-core"),
    (Component::Proxy, "conntrack-tcp-timeout-established"),
    (Component::Proxy, "conntrack-tcp-timeout-close-wait"),
];

/// Lists to which a user's value is added: what is ours stays.
const ADDED: &[(Component, &str)] = &[(Component::Apiserver, "enable-admission-plugins")];

/// The flags of a component that a user may not choose, in order.
pub fn owned(component: Component) -> Vec<&'static str> {
    let foreign = FOREIGN.iter().filter(|(of, _)| *of == component).map(|(_, flag)| *flag);
    let ours = flags::names(component).filter(|flag| !CHOSEN.contains(&(component, flag)));
    let mut all: Vec<&str> = ours.chain(foreign).collect();
    all.sort_unstable();
    all.dedup();
    all
}

impl ExtraArgs {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks every flag.
    ///
    /// # Errors
    /// The first that cannot be taken.
    pub fn check(&self, component: Component) -> Result<(), ExtraArgError> {
        if self.0.len() > limits::EXTRA_ARGS_MAX {
            return Err(ExtraArgError::TooMany(self.0.len()));
        }
        let owned = owned(component);
        for (name, value) in &self.0 {
            let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            let is_name = name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(is_plain);
            if !is_name || name.len() > limits::EXTRA_ARG_NAME_MAX {
                return Err(ExtraArgError::Name(name.clone()));
            }
            if owned.contains(&name.as_str()) {
                return Err(ExtraArgError::Owned(name.clone()));
            }
            let text = value.to_string();
            if text.len() > limits::EXTRA_ARG_BYTES_MAX || text.contains(|c: char| c.is_control()) {
                return Err(ExtraArgError::Value(name.clone()));
            }
        }
        Ok(())
    }

    /// Puts them into a component's flags: in the place of those they replace, the others after.
    pub fn put_into(&self, component: Component, flags: Vec<String>) -> Vec<String> {
        let mut left: BTreeMap<&str, String> =
            self.0.iter().map(|(name, value)| (name.as_str(), value.to_string())).collect();
        let mut all: Vec<String> = flags
            .into_iter()
            .map(|flag| {
                let Some((name, ours)) = flag.trim_start_matches('-').split_once('=') else { return flag };
                match left.remove(name) {
                    Some(value) if ADDED.contains(&(component, name)) => format!("--{name}={ours},{value}"),
                    Some(value) => format!("--{name}={value}"),
                    None => flag,
                }
            })
            .collect();
        all.extend(left.into_iter().map(|(name, value)| format!("--{name}={value}")));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(json: &str) -> ExtraArgs {
        serde_json::from_str(json).expect("readable")
    }

    #[test]
    fn values_may_be_written_as_what_they_are_and_come_back_so() {
        let text = r#"{"audit-log-maxage":30,"profiling":true,"v":"4"}"#;
        let args = args(text);
        args.check(Component::Apiserver).expect("allowed");
        assert_eq!(serde_json::to_string(&args).expect("JSON"), text);
        let flags = args.put_into(Component::Apiserver, vec!["--profiling=false".to_owned(), "--port=1".to_owned()]);
        assert_eq!(flags, ["--profiling=true", "--port=1", "--audit-log-maxage=30", "--v=4"]);
    }

    #[test]
    fn lists_of_ours_are_added_to() {
        let args = args(r#"{"enable-admission-plugins":"PodNodeSelector"}"#);
        let flags = args.put_into(Component::Apiserver, vec!["--enable-admission-plugins=NodeRestriction".to_owned()]);
        assert_eq!(flags, ["--enable-admission-plugins=NodeRestriction,PodNodeSelector"]);
    }

    #[test]
    fn what_is_ours_and_what_is_no_flag_is_refused() {
        for (component, json, expected) in [
            (Component::Apiserver, r#"{"etcd-servers":"x"}"#, "--etcd-servers is set by mezzo and cannot be chosen"),
            (Component::Scheduler, r#"{"config":"x"}"#, "--config is set by mezzo and cannot be chosen"),
            (Component::Etcd, r#"{"--v":"x"}"#, "'--v' is not the name of a flag"),
            (Component::Etcd, r#"{"v":"x\ny"}"#, "the value of --v is longer than 4096 bytes or not one line"),
        ] {
            let error = args(json).check(component).expect_err("refused");
            assert_eq!(error.to_string(), expected);
        }
    }
}
