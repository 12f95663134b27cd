//! Certificates in use: which have to be renewed, in which order pods are restarted for it, and how authorities change.
//!
//! A pod gets its certificates when it is launched and keeps them until it is launched again. What it got is noted; a pod
//! is *outdated* when one of them has used up two thirds of its life, was signed by an authority that signs no more, or
//! when it believes others than it should. Outdated pods are restarted one at a time.
//!
//! Authorities change in two phases, and nothing stops serving: first every pod learns to believe the new ones beside the
//! old, then everything is signed by the new ones. When that is done the old ones are believed no more, for which pods are
//! restarted once again.
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// A certificate that somebody shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Leaf {
    /// What it is called: a file's name.
    pub name: String,
    /// Whom it names.
    pub subject: String,
    /// Key identifier of the authority that signed it, in hex.
    pub issuer: String,
    /// When it was issued (seconds since the epoch).
    pub issued: u64,
    /// When it ends.
    pub expires: u64,
}

impl Leaf {
    /// From when on it is to be renewed: two thirds of its life.
    pub fn due(&self) -> u64 {
        self.issued + self.expires.saturating_sub(self.issued) / 3 * 2
    }
    /// From when on one that costs no restart is renewed: half of its life, so that pods restarted at two thirds get one that
    /// lasts.
    pub fn stale(&self) -> u64 {
        self.issued + self.expires.saturating_sub(self.issued) / 2
    }
    /// From when on its renewal waits for nobody: five sixths of its life.
    pub fn urgent(&self) -> u64 {
        self.issued + self.expires.saturating_sub(self.issued) / 6 * 5
    }
}

/// What a pod was launched with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Held {
    /// What it shows.
    pub leaves: Vec<Leaf>,
    /// Key identifiers of the authorities it believes.
    pub trusted: BTreeSet<String>,
}

/// How things should be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Authorities that sign, by key identifier.
    pub signers: BTreeSet<String>,
    /// For each kind of authority, everybody to be believed.
    pub bundles: Vec<BTreeSet<String>>,
    /// Nothing issued before this moment is wanted any more.
    pub not_before: u64,
}

/// Why a pod has to be restarted; `None`: it has not.
pub fn outdated(held: &Held, wanted: &Wanted, now: u64) -> Option<String> {
    for leaf in &held.leaves {
        if now >= leaf.due() {
            return Some(format!("{} has used up two thirds of its life", leaf.name));
        }
        if !wanted.signers.contains(&leaf.issuer) {
            return Some(format!("{} was signed by an authority that signs no more", leaf.name));
        }
        if leaf.issued < wanted.not_before {
            return Some(format!("{} is to be renewed", leaf.name));
        }
    }
    let all: BTreeSet<&String> = wanted.bundles.iter().flatten().collect();
    if held.trusted.iter().any(|id| !all.contains(id)) {
        return Some("it believes an authority that is gone".to_owned());
    }
    // Who needs one of a kind needs all of that kind.
    let lacks = |bundle: &BTreeSet<String>| {
        bundle.iter().any(|id| held.trusted.contains(id)) && !bundle.iter().all(|id| held.trusted.contains(id))
    };
    wanted.bundles.iter().any(lacks).then(|| "it does not believe the new authority yet".to_owned())
}

/// Whether the renewal of one of them waits for nobody any more.
pub fn is_urgent(held: &Held, now: u64) -> bool {
    held.leaves.iter().any(|leaf| now >= leaf.urgent())
}

/// A pod as the decision sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Place in the order of pods: etcd, API servers, controllers, nodes.
    pub rank: usize,
    /// Its name.
    pub instance: String,
    /// Whether it does its work.
    pub is_ready: bool,
    /// Why it is outdated, if it is.
    pub outdated: Option<String>,
}

/// What to do next about outdated pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Everything is as it should be.
    Nothing,
    /// Somebody is not ready: restarting another one now could stop the service.
    WaitFor(String),
    /// This one is to be restarted, for that reason.
    Restart(String, String),
}

/// One at a time, in order, and only while all others do their work.
pub fn next(candidates: &[Candidate]) -> Next {
    let outdated = candidates.iter().filter(|one| one.outdated.is_some()).min_by_key(|one| (one.rank, &one.instance));
    let Some(first) = outdated else {
        // The last one that was restarted still comes back.
        return candidates
            .iter()
            .find(|one| !one.is_ready)
            .map_or(Next::Nothing, |one| Next::WaitFor(one.instance.clone()));
    };
    match candidates.iter().find(|one| !one.is_ready) {
        Some(one) => Next::WaitFor(one.instance.clone()),
        None => Next::Restart(first.instance.clone(), first.outdated.clone().unwrap_or_default()),
    }
}

/// How far a change of authorities is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// None is under way.
    Settled,
    /// Pods learn to believe the new ones, too.
    Trusting,
    /// Everything is signed by the new ones; the old are still believed.
    Switching,
}

/// The phase that follows when every pod is as it should be in this one.
pub fn after(phase: Phase) -> Option<Phase> {
    match phase {
        Phase::Settled => None,
        Phase::Trusting => Some(Phase::Switching),
        Phase::Switching => Some(Phase::Settled),
    }
}

/// The earliest end of all, by instance.
pub fn first_to_end(held: &BTreeMap<String, Held>) -> Option<(&String, &Leaf)> {
    held.iter()
        .flat_map(|(instance, held)| held.leaves.iter().map(move |leaf| (instance, leaf)))
        .min_by_key(|(_, leaf)| leaf.expires)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }
    fn leaf(issuer: &str, issued: u64, expires: u64) -> Leaf {
        Leaf { name: "apiserver".to_owned(), subject: "x".to_owned(), issuer: issuer.to_owned(), issued, expires }
    }
    fn held(issuer: &str, trusted: &[&str]) -> Held {
        Held { leaves: vec![leaf(issuer, 0, 300)], trusted: set(trusted) }
    }
    fn wanted(signers: &[&str], bundles: &[&[&str]]) -> Wanted {
        Wanted { signers: set(signers), bundles: bundles.iter().map(|bundle| set(bundle)).collect(), not_before: 0 }
    }

    #[test]
    fn two_thirds_of_a_life_are_enough() {
        let wanted = wanted(&["a"], &[&["a"]]);
        assert_eq!(outdated(&held("a", &["a"]), &wanted, 199), None);
        assert!(outdated(&held("a", &["a"]), &wanted, 200).is_some_and(|why| why.contains("two thirds")));
        assert!(!is_urgent(&held("a", &["a"]), 249));
        assert!(is_urgent(&held("a", &["a"]), 250));
    }

    #[test]
    fn what_was_asked_to_be_renewed_is_outdated_until_it_was_issued_again() {
        let wanted = Wanted { not_before: 10, ..wanted(&["a"], &[&["a"]]) };
        assert!(outdated(&held("a", &["a"]), &wanted, 20).is_some());
        let renewed = Held { leaves: vec![leaf("a", 10, 310)], trusted: set(&["a"]) };
        assert_eq!(outdated(&renewed, &wanted, 20), None);
    }

    #[test]
    fn every_phase_of_a_change_rolls_every_pod_once_and_at_no_time_two_cannot_talk() {
        let other: &[&str] = &["e"];
        let phases = [
            wanted(&["old", "e"], &[&["old"], other]),
            wanted(&["old", "e"], &[&["old", "new"], other]),
            wanted(&["new", "e"], &[&["old", "new"], other]),
            wanted(&["new", "e"], &[&["new"], other]),
        ];
        let pods =
            [held("old", &["old"]), held("old", &["old", "new"]), held("new", &["old", "new"]), held("new", &["new"])];
        for (now, pod) in pods.iter().enumerate() {
            assert_eq!(outdated(pod, &phases[now], 1), None, "{now}");
            if let Some(later) = phases.get(now + 1) {
                assert!(outdated(pod, later, 1).is_some(), "{now}");
            }
            // Pods of two neighbouring phases live beside each other while pods are restarted.
            if let Some(other) = pods.get(now + 1) {
                for (shows, believes) in [(pod, other), (other, pod)] {
                    assert!(believes.trusted.contains(&shows.leaves[0].issuer), "{now}");
                }
            }
        }
    }

    #[test]
    fn who_needs_one_authority_of_a_kind_needs_all_of_that_kind_and_no_other() {
        let wanted = wanted(&["a", "e"], &[&["a", "b"], &["e"]]);
        assert_eq!(outdated(&held("a", &["a", "b"]), &wanted, 1), None);
        assert!(outdated(&held("a", &["a"]), &wanted, 1).is_some());
        assert_eq!(outdated(&held("e", &["e"]), &wanted, 1), None);
        assert!(outdated(&held("e", &["e", "gone"]), &wanted, 1).is_some());
    }

    #[test]
    fn one_at_a_time_in_order_and_never_beside_one_that_is_away() {
        let one = |rank, instance: &str, is_ready, why: Option<&str>| Candidate {
            rank,
            instance: instance.to_owned(),
            is_ready,
            outdated: why.map(str::to_owned),
        };
        let mut pods = vec![one(3, "node-0", true, Some("old")), one(0, "etcd-0", true, Some("old"))];
        assert_eq!(next(&pods), Next::Restart("etcd-0".to_owned(), "old".to_owned()));
        pods[0].is_ready = false;
        assert_eq!(next(&pods), Next::WaitFor("node-0".to_owned()));
        let done = [one(0, "etcd-0", true, None), one(1, "kube-apiserver-0", false, None)];
        assert_eq!(next(&done), Next::WaitFor("kube-apiserver-0".to_owned()));
        assert_eq!(next(&done[..1]), Next::Nothing);
    }

    #[test]
    fn phases_end() {
        assert_eq!(after(Phase::Trusting), Some(Phase::Switching));
        assert_eq!(after(Phase::Switching), Some(Phase::Settled));
        assert_eq!(after(Phase::Settled), None);
    }
}
