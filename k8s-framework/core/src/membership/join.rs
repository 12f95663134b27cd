//! How an instance that is about to be launched becomes the member it shall be.
//!
//! A member is a number and the data that was written under it. So an instance starts as a member only with that
//! member's data, or as one that was added for it and never ran: a voter that has forgotten what it agreed to would break
//! the promise that makes a quorum.
use super::mutation::{Mutation, mutated};
use super::{Member, Step, Wanted, next};

/// An instance about to be launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joiner<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where others will reach it.
    pub peer_url: &'a str,
    /// Whether its disk is the one of earlier launches.
    pub has_data: bool,
    /// As which member it was launched last; `None`: as the first of its cluster, or never.
    pub last: Option<u64>,
}

/// What the instance waits for, or becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Join {
    /// It is launched as this member. Whoever finds no data for that number begins with this list.
    Start {
        /// etcd's number, to be stored before the launch. `None`: still as the first of its cluster.
        id: Option<u64>,
        /// Name and peer address of every member, its own among them.
        initial_cluster: Vec<(String, String)>,
    },
    /// The membership changes first; then it is asked again.
    First(Step),
    /// It cannot be launched yet, and why.
    Wait(String),
}

/// Decides from what etcd lists and from all that shall be.
pub fn join(listed: &[Member], wanted: &Wanted, joiner: Joiner<'_>) -> Join {
    let own = listed.iter().find(|member| member.peer_url == joiner.peer_url);
    if let Some(own) = own.filter(|own| may_start(own, joiner)) {
        let is_listed = |member: &&Member| !mutated(Mutation::ListsVoters) || !member.is_learner;
        let name_of = |member: &Member| match member.name.as_str() {
            _ if member.id == own.id => joiner.name.to_owned(),
            "" => format!("member-{:x}", member.id),
            name => name.to_owned(),
        };
        let is_first = joiner.last.is_none() && !own.name.is_empty();
        return Join::Start {
            id: (!is_first).then_some(own.id),
            initial_cluster: listed
                .iter()
                .filter(is_listed)
                .map(|member| (name_of(member), member.peer_url.clone()))
                .collect(),
        };
    }
    if mutated(Mutation::StartsTheRemoved)
        && let Some(id) = joiner.last.filter(|_| joiner.has_data)
    {
        return Join::Start { id: Some(id), initial_cluster: Vec::new() };
    }
    // Others that are no members yet have their own turn.
    let is_member = |url: &Option<String>| url.as_ref().is_some_and(|url| listed.iter().any(|m| m.peer_url == *url));
    let mut wanted = wanted.clone();
    wanted.members.retain(|_, url| is_member(url));
    // A member at its address whose data is gone is in the way: nobody is there for it.
    let url = own.is_none().then(|| joiner.peer_url.to_owned());
    wanted.members.insert(joiner.name.to_owned(), url);
    match next(listed, &wanted) {
        Step::Add { name, .. } if name != joiner.name => Join::Wait(format!("{name} joins first")),
        step @ (Step::Add { .. } | Step::Promote { .. } | Step::Remove { .. }) => Join::First(step),
        Step::Wait(words) => Join::Wait(words),
        Step::Done => Join::Wait(format!("the member at {} has lost its data and cannot be replaced", joiner.peer_url)),
    }
}

fn may_start(own: &Member, joiner: Joiner<'_>) -> bool {
    if mutated(Mutation::StartsEmpty) {
        return true;
    }
    let was_it = joiner.last == Some(own.id);
    if own.name.is_empty() {
        // It was added, and has not spoken. If it was launched for this number with a disk that is gone, it may have run.
        return joiner.has_data || !was_it || mutated(Mutation::TrustsTheAddress);
    }
    joiner.has_data && (was_it || joiner.last.is_none())
}

/// Whether an instance begins a cluster of its own: the very first launch of the first instance, or, with its data, of
/// the only one there is. Everybody else asks the others.
pub fn is_first(index: u32, others_have_members: bool) -> bool {
    index == 0 && (!others_have_members || mutated(Mutation::StartsAlone))
}
