//! Deliberate mistakes, each one line: the tests make them one by one and must notice every one. Outside of the tests
//! there is none.

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutation {
    /// Learners count among the voters.
    LearnersVote,
    /// Who does not answer counts as if it did.
    CountsTheAway,
    /// Half of the voters are thought to be a quorum.
    HalfIsEnough,
    /// Other changes are begun beside a learner.
    ManyAtOnce,
    /// Members are added while one is away.
    AddsToTheSick,
    /// Enough members are thought to be the right members.
    CountsHeads,
    /// A member is added again.
    AddsTwice,
    /// A learner that nobody wants stays.
    KeepsLearners,
    /// A learner that lacks data is promoted.
    PromotesWhoLags,
    /// A learner that does not answer is promoted.
    PromotesTheAbsent,
    /// A learner that lacks data is removed.
    Impatient,
    /// Who answers is removed before who does not.
    HealthyFirst,
    /// Who is to go is counted among those who stay.
    MissesNobody,
    /// The last voter is removed.
    RemovesTheLast,
    /// Members are removed although the rest has no quorum.
    RemovesAnyway,
    /// A member is its instance's wherever it is.
    KnowsByName,
    /// A member is started without the data it had.
    StartsEmpty,
    /// A member is started again by whoever is at its address.
    TrustsTheAddress,
    /// Learners are left out of the initial cluster.
    ListsVoters,
    /// A member is started although it was removed.
    StartsTheRemoved,
    /// An instance begins as a cluster of its own whenever nobody answers.
    StartsAlone,
}

#[cfg(test)]
std::thread_local! {
    static MADE: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
impl Mutation {
    /// Every mistake there is.
    pub(super) const ALL: &[Mutation] = &[
        Mutation::LearnersVote,
        Mutation::CountsTheAway,
        Mutation::HalfIsEnough,
        Mutation::ManyAtOnce,
        Mutation::AddsToTheSick,
        Mutation::CountsHeads,
        Mutation::AddsTwice,
        Mutation::KeepsLearners,
        Mutation::PromotesWhoLags,
        Mutation::PromotesTheAbsent,
        Mutation::Impatient,
        Mutation::HealthyFirst,
        Mutation::MissesNobody,
        Mutation::RemovesTheLast,
        Mutation::RemovesAnyway,
        Mutation::KnowsByName,
        Mutation::StartsEmpty,
        Mutation::TrustsTheAddress,
        Mutation::ListsVoters,
        Mutation::StartsTheRemoved,
        Mutation::StartsAlone,
    ];
    /// Makes this mistake, or none, in this thread from now on.
    pub(super) fn make(mutation: Option<Mutation>) {
        MADE.set(mutation);
    }
}

/// Whether the mistake is made.
#[cfg(test)]
pub(super) fn mutated(mutation: Mutation) -> bool {
    MADE.get() == Some(mutation)
}
/// Whether the mistake is made: never.
#[cfg(not(test))]
pub(super) const fn mutated(_: Mutation) -> bool {
    false
}
