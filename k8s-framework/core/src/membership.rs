//! Which change of etcd's membership comes next, and how an instance becomes a member: pure decisions from what etcd
//! lists and what shall be.
//!
//! Three rules, whatever happens. One change at a time, and none while a member of the quorum is away, unless the change
//! is to remove that very member. A voter is added only after it has caught up as a learner. Nothing is removed that the
//! quorum of the rest would miss: without a quorum the only answer is to wait for one.
mod join;
mod mutation;

use std::collections::{BTreeMap, BTreeSet};

pub use join::{Join, Joiner, is_first, join};
use mutation::{Mutation, mutated};

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

/// What shall be: instances by name, with the peer address each has. `None`: it has no place (yet, or any more), and so
/// no data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Members by name.
    pub members: BTreeMap<String, Option<String>>,
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
    let is_voter = |member: &&Member| !member.is_learner || mutated(Mutation::LearnersVote);
    let voters: Vec<&Member> = listed.iter().filter(is_voter).collect();
    let answers = |member: &&&Member| member.health != Health::Away || mutated(Mutation::CountsTheAway);
    let present = voters.iter().filter(answers).count();
    let quorum = if mutated(Mutation::HalfIsEnough) { voters.len() / 2 } else { voters.len() / 2 + 1 };
    if voters.is_empty() || wanted.members.is_empty() {
        return Step::Wait("it is not known yet which members there are".to_owned());
    }
    if present < quorum {
        let away = names(voters.iter().filter(|member| member.health == Health::Away));
        return Step::Wait(format!("{present} of {} voters answer, {quorum} must: waits for {away}", voters.len()));
    }
    // A learner first: until it votes or is gone, nothing else is begun.
    let is_learner = |member: &&Member| member.is_learner && !mutated(Mutation::ManyAtOnce);
    if let Some(learner) = listed.iter().find(is_learner) {
        return of_learner(learner, wanted);
    }
    if let Some(step) = removal(&voters, present, wanted) {
        return step;
    }
    if let Some(away) = voters.iter().find(|member| member.health == Health::Away)
        && !mutated(Mutation::AddsToTheSick)
    {
        return Step::Wait(format!("{} does not answer; its data is kept", title(away)));
    }
    let listed_urls: BTreeSet<&str> = voters.iter().map(|member| member.peer_url.as_str()).collect();
    if mutated(Mutation::CountsHeads) && voters.len() >= wanted.members.len() {
        return Step::Done;
    }
    for (name, peer_url) in &wanted.members {
        match peer_url {
            Some(url) if listed_urls.contains(url.as_str()) && !mutated(Mutation::AddsTwice) => {}
            Some(url) => return Step::Add { name: name.clone(), peer_url: url.clone() },
            None => return Step::Wait(format!("{name} has no place yet")),
        }
    }
    Step::Done
}

fn of_learner(learner: &Member, wanted: &Wanted) -> Step {
    let promote = Step::Promote { name: learner.name.clone(), id: learner.id };
    match (is_wanted(learner, wanted) || mutated(Mutation::KeepsLearners), learner.health) {
        (false, _) => Step::Remove { name: learner.name.clone(), id: learner.id },
        // Whoever is a quorum now is one with a voter more that answers.
        (true, Health::InStep) => promote,
        (true, Health::Behind) if mutated(Mutation::PromotesWhoLags) => promote,
        (true, Health::Away) if mutated(Mutation::PromotesTheAbsent) => promote,
        (true, Health::Behind) if mutated(Mutation::Impatient) => {
            Step::Remove { name: learner.name.clone(), id: learner.id }
        }
        (true, Health::Behind) => Step::Wait(format!("{} has not caught up yet", title(learner))),
        (true, Health::Away) => Step::Wait(format!("{} has not started yet", title(learner))),
    }
}

/// Who must go: first those that are unwanted and away, for they count in the quorum and add nothing to it.
fn removal(voters: &[&Member], present: usize, wanted: &Wanted) -> Option<Step> {
    let mut unwanted: Vec<&&Member> = voters.iter().filter(|member| !is_wanted(member, wanted)).collect();
    unwanted.sort_by_key(|member| {
        let is_present = member.health != Health::Away;
        (is_present != mutated(Mutation::HealthyFirst), std::cmp::Reverse(member.name.clone()))
    });
    let member = unwanted.first()?;
    let left = voters.len() - 1;
    let is_missed = member.health != Health::Away && !mutated(Mutation::MissesNobody);
    let answering = present - usize::from(is_missed);
    if left == 0 && !mutated(Mutation::RemovesTheLast) {
        // The last one is never removed: there must be another voter first.
        return None;
    }
    if answering < left / 2 + 1 && !mutated(Mutation::RemovesAnyway) {
        return Some(Step::Wait(format!(
            "without {} {answering} of {left} voters would answer: waits for the others",
            title(member)
        )));
    }
    Some(Step::Remove { name: member.name.clone(), id: member.id })
}

/// A member is wanted if an instance is at this very address, with its data.
fn is_wanted(member: &Member, wanted: &Wanted) -> bool {
    if mutated(Mutation::KnowsByName) {
        return wanted.members.contains_key(&member.name);
    }
    wanted.members.values().flatten().any(|url| *url == member.peer_url)
}

fn title(member: &Member) -> String {
    if member.name.is_empty() { format!("the member at {}", member.peer_url) } else { member.name.clone() }
}

fn names<'a>(members: impl Iterator<Item = &'a &'a Member>) -> String {
    members.map(|member| title(member)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
