//! What draining a node means for each of its pods: the rules of `kubectl drain`, with its flags.
use serde::{Deserialize, Serialize};

/// The flags.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DrainFlags {
    /// Pods that nobody would create again are deleted too.
    pub force: bool,
    /// Pods with emptyDir volumes are evicted although that loses the data.
    pub delete_emptydir_data: bool,
    /// After so many seconds the drain has failed; 0: it waits.
    pub timeout_seconds: u64,
}

/// A pod of the node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodOnNode {
    /// `namespace/name`.
    pub name: String,
    /// Kind of its controller.
    pub controller: Option<String>,
    /// Whether that controller still exists (asked for DaemonSets alone).
    pub controller_exists: bool,
    /// Whether it mirrors a static pod.
    pub is_mirror: bool,
    /// Whether it has an emptyDir volume.
    pub has_empty_dir: bool,
    /// Whether it has ended.
    pub is_finished: bool,
    /// Whether its deletion has begun.
    pub is_terminating: bool,
}

/// What happens to a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It stays until the node is gone: a DaemonSet would put it back, a mirror pod is the kubelet's.
    Ignored,
    /// It is asked to leave; its PodDisruptionBudget is heard.
    Evicted,
    /// It is leaving.
    Awaited,
    /// It holds the drain up until a flag is given.
    Refused(Why),
}

/// Why a pod holds a drain up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Nobody would create it again.
    Bare,
    /// Its data would be lost.
    EmptyDir,
}

/// The verdict on a pod.
pub fn judge(pod: &PodOnNode, flags: &DrainFlags) -> Verdict {
    if pod.is_mirror {
        return Verdict::Ignored;
    }
    let is_of_daemon_set = pod.controller.as_deref() == Some("DaemonSet");
    if is_of_daemon_set && pod.controller_exists && !pod.is_finished {
        return Verdict::Ignored;
    }
    if pod.is_terminating {
        return Verdict::Awaited;
    }
    if !pod.is_finished {
        if (pod.controller.is_none() || is_of_daemon_set) && !flags.force {
            return Verdict::Refused(Why::Bare);
        }
        if pod.has_empty_dir && !flags.delete_emptydir_data {
            return Verdict::Refused(Why::EmptyDir);
        }
    }
    Verdict::Evicted
}

/// What a person reads of pods that hold a drain up; empty if there are none.
pub fn complaint(pods: &[PodOnNode], flags: &DrainFlags) -> String {
    let of = |why: Why| -> Vec<&str> {
        pods.iter().filter(|pod| judge(pod, flags) == Verdict::Refused(why)).map(|pod| pod.name.as_str()).collect()
    };
    let mut sentences = Vec::new();
    let bare = of(Why::Bare);
    if !bare.is_empty() {
        sentences.push(format!("nobody would create {} again (allow it with --force)", bare.join(", ")));
    }
    let empty_dir = of(Why::EmptyDir);
    if !empty_dir.is_empty() {
        sentences
            .push(format!("{} would lose emptyDir data (allow it with --delete-emptydir-data)", empty_dir.join(", ")));
    }
    sentences.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_judged_as_kubectl_drain_judges_them() {
        let none = DrainFlags::default();
        let force = DrainFlags { force: true, ..DrainFlags::default() };
        let data = DrainFlags { delete_emptydir_data: true, ..DrainFlags::default() };
        let pod = PodOnNode { name: "a/b".into(), ..PodOnNode::default() };
        let owned = PodOnNode { controller: Some("ReplicaSet".into()), ..pod.clone() };
        let daemon = PodOnNode { controller: Some("DaemonSet".into()), controller_exists: true, ..pod.clone() };
        let orphan = PodOnNode { controller_exists: false, ..daemon.clone() };
        let with_data = PodOnNode { has_empty_dir: true, ..owned.clone() };
        for (case, pod, flags, expected) in [
            ("replicated", &owned, &none, Verdict::Evicted),
            ("bare", &pod, &none, Verdict::Refused(Why::Bare)),
            ("bare, forced", &pod, &force, Verdict::Evicted),
            ("bare, ended", &PodOnNode { is_finished: true, ..pod.clone() }, &none, Verdict::Evicted),
            ("of a DaemonSet", &daemon, &force, Verdict::Ignored),
            ("of a DaemonSet that is gone", &orphan, &none, Verdict::Refused(Why::Bare)),
            ("of a DaemonSet that is gone, forced", &orphan, &force, Verdict::Evicted),
            ("with data", &with_data, &none, Verdict::Refused(Why::EmptyDir)),
            ("with data, allowed", &with_data, &data, Verdict::Evicted),
            ("mirror", &PodOnNode { is_mirror: true, ..pod.clone() }, &none, Verdict::Ignored),
            ("leaving", &PodOnNode { is_terminating: true, ..owned.clone() }, &none, Verdict::Awaited),
        ] {
            assert_eq!(judge(pod, flags), expected, "{case}");
        }
    }

    #[test]
    fn a_complaint_names_the_pod_and_the_flag() {
        let pod = PodOnNode { name: "default/one".into(), ..PodOnNode::default() };
        assert_eq!(
            complaint(&[pod], &DrainFlags::default()),
            "nobody would create default/one again (allow it with --force)"
        );
        assert_eq!(complaint(&[], &DrainFlags::default()), "");
    }
}
