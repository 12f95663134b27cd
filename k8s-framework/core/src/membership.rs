//! Which change of etcd's membership comes next: a pure decision from what etcd lists and what shall be.
//!
//! Three rules, whatever happens. One change at a time, and none while a member of the quorum is away, unless the change
//! is to replace that very member. A voter is added only after it has caught up as a learner. Nothing is removed that the
//! quorum of the rest would miss: without a quorum the only answer is to wait for one.
use std::collections::{BTreeMap, BTreeSet};

/// What etcd lists about a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// etcd's number for it.
    pub id: u64,
    /// Its name, which is its instance's; empty until it has started.
    pub name: String,
    /// The address others reach it at: a member that was moved or lost its data is another member.
    pub peer_url: String,
    /// A learner has no vote.
    pub is_learner: bool,
    /// Whether it answers, and for a learner whether it has caught up.
    pub health: Health,
}

/// How a member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// It answers, with all data.
    InStep,
    /// It answers, and lacks data.
    Behind,
    /// It does not answer.
    Away,
}

/// What shall be: instances by name, with the address each has (or had last).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Members by name.
    pub members: BTreeMap<String, Instance>,
}

/// An instance that is to be a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its peer address; `None`: it has no place yet.
    pub peer_url: Option<String>,
    /// Its data is gone for good (its volume was given up): waiting for it to return is of no use.
    pub is_lost: bool,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Everything is as it shall be.
    Done,
    /// Nothing can be done now, and why.
    Wait(String),
    /// `MemberAdd` as a learner; then the instance is started as a member of the existing cluster.
    Add {
        /// Instance.
        name: String,
        /// Where it will be.
        peer_url: String,
    },
    /// `MemberPromote`.
    Promote {
        /// Instance.
        name: String,
        /// etcd's number.
        id: u64,
    },
    /// `MemberRemove`.
    Remove {
        /// Instance; empty if it never started.
        name: String,
        /// etcd's number.
        id: u64,
    },
}

/// The next step. Asked again after every step, and whenever anything changed.
pub fn next(listed: &[Member], wanted: &Wanted) -> Step {
    let voters: Vec<&Member> = listed.iter().filter(|member| !member.is_learner).collect();
    let present = voters.iter().filter(|member| member.health != Health::Away).count();
    let quorum = voters.len() / 2 + 1;
    if voters.is_empty() {
        return Step::Wait("etcd lists no members yet".to_owned());
    }
    if present < quorum {
        let away = names(voters.iter().filter(|member| member.health == Health::Away));
        return Step::Wait(format!("{present} of {} voters answer, {quorum} must: waits for {away}", voters.len()));
    }
    // A learner first: until it votes or is gone, nothing else is begun.
    if let Some(learner) = listed.iter().find(|member| member.is_learner) {
        return match (is_wanted(learner, wanted), learner.health) {
            (false, _) => Step::Remove { name: learner.name.clone(), id: learner.id },
            // Whoever is a quorum now is one with a voter more that answers.
            (true, Health::InStep) => Step::Promote { name: learner.name.clone(), id: learner.id },
            (true, Health::Behind) => Step::Wait(format!("{} has not caught up yet", title(learner))),
            (true, Health::Away) => Step::Wait(format!("{} has not started yet", title(learner))),
        };
    }
    if let Some(step) = removal(&voters, present, wanted) {
        return step;
    }
    if let Some(away) = voters.iter().find(|member| member.health == Health::Away) {
        return Step::Wait(format!("{} does not answer; its data is kept", title(away)));
    }
    let listed_urls: BTreeSet<&str> = voters.iter().map(|member| member.peer_url.as_str()).collect();
    for (name, instance) in &wanted.members {
        match &instance.peer_url {
            Some(url) if listed_urls.contains(url.as_str()) => {}
            Some(url) => return Step::Add { name: name.clone(), peer_url: url.clone() },
            None => return Step::Wait(format!("{name} has no place yet")),
        }
    }
    Step::Done
}

/// Who must go: first those that are lost or unwanted and away, for they count in the quorum and add nothing to it.
fn removal(voters: &[&Member], present: usize, wanted: &Wanted) -> Option<Step> {
    let mut unwanted: Vec<&&Member> = voters.iter().filter(|member| !is_wanted(member, wanted)).collect();
    unwanted.sort_by_key(|member| (member.health != Health::Away, std::cmp::Reverse(member.name.clone())));
    let member = unwanted.first()?;
    let left = voters.len() - 1;
    let answering = present - usize::from(member.health != Health::Away);
    if left == 0 {
        // The last one is never removed: there must be another voter first.
        return None;
    }
    if answering < left / 2 + 1 {
        return Some(Step::Wait(format!(
            "without {} {answering} of {left} voters would answer: waits for the others",
            title(member)
        )));
    }
    Some(Step::Remove { name: member.name.clone(), id: member.id })
}

/// A member is wanted if its instance is, at this very address and with its data.
fn is_wanted(member: &Member, wanted: &Wanted) -> bool {
    wanted.members.values().any(|instance| {
        // An instance without a place keeps the member it was: it may return with its data.
        instance.peer_url.as_ref().is_some_and(|url| *url == member.peer_url && !instance.is_lost)
    }) || wanted.members.get(&member.name).is_some_and(|instance| instance.peer_url.is_none() && !instance.is_lost)
}

fn title(member: &Member) -> String {
    if member.name.is_empty() { format!("the member at {}", member.peer_url) } else { member.name.clone() }
}

fn names<'a>(members: impl Iterator<Item = &'a &'a Member>) -> String {
    members.map(|member| title(member)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
