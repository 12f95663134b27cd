//! Deliberate mistakes, each one line: the simulator makes them one by one and must notice every one. Without the
//! feature `mutations` there is none.

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "mutations"), expect(unreachable_pub))]
pub enum Mutation {
    /// What depends on the disk leaves before it is there.
    SpeaksBeforeTheDisk,
    /// An acknowledged update that an agent repeats is passed on again.
    ForgetsReceipts,
    /// What tasks use counts as free.
    OffersWhatIsUsed,
    /// A task goes from any state to any other.
    AcceptsAnyTransition,
    /// Tasks launched under an earlier master are not taken over.
    NeverAdopts,
    /// What was declined is never offered again.
    FiltersForever,
    /// What an agent came back without is not told.
    HidesWhatIsMissing,
    /// Tasks that should not run are left alone.
    SparesGhosts,
    /// What cannot be known yet is answered as gone.
    AnswersTooEarly,
    /// What became of an operation is told once, and then left to luck.
    TellsOperationsOnce,
    /// Offers of an agent that left stay in the book.
    LendsTheAbsent,
    /// A role gets more than its limit.
    ExceedsLimits,
    /// Pings wait for the disk.
    PingsBehindTheDisk,
}

#[cfg(feature = "mutations")]
std::thread_local! {
    static MADE: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

#[cfg(feature = "mutations")]
impl Mutation {
    /// Every mistake there is.
    pub const ALL: &[Mutation] = &[
        Mutation::SpeaksBeforeTheDisk,
        Mutation::ForgetsReceipts,
        Mutation::OffersWhatIsUsed,
        Mutation::AcceptsAnyTransition,
        Mutation::NeverAdopts,
        Mutation::FiltersForever,
        Mutation::HidesWhatIsMissing,
        Mutation::SparesGhosts,
        Mutation::AnswersTooEarly,
        Mutation::TellsOperationsOnce,
        Mutation::LendsTheAbsent,
        Mutation::ExceedsLimits,
        Mutation::PingsBehindTheDisk,
    ];
    /// Makes this mistake, or none, in this thread from now on.
    pub fn make(mutation: Option<Mutation>) {
        MADE.set(mutation);
    }
}

/// Whether the mistake is made.
#[cfg(feature = "mutations")]
pub(crate) fn mutated(mutation: Mutation) -> bool {
    MADE.get() == Some(mutation)
}
/// Whether the mistake is made: never.
#[cfg(not(feature = "mutations"))]
pub(crate) const fn mutated(_: Mutation) -> bool {
    false
}
