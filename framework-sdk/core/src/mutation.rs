//! Deliberate mistakes, each one line: the simulator makes them one by one and must notice every one. Without the
//! feature `mutations` there is none.

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "mutations"), expect(unreachable_pub))]
pub enum Mutation {
    /// Updates are not acknowledged.
    NeverAcknowledges,
    /// A launch goes out without what it means being stored.
    LaunchesUnwritten,
    /// Tasks that nobody here knows are left alone.
    SparesStrangers,
    /// What is held for nobody is not given back.
    KeepsReservations,
    /// What is given up later than something else is not asked for.
    RevivesOnce,
    /// Nobody is asked what became of tasks.
    NeverReconciles,
    /// What a pod held is forgotten with it.
    ForgetsReleases,
    /// A task that was lost is waited for, for ever.
    WaitsForTheLost,
}

#[cfg(feature = "mutations")]
std::thread_local! {
    static MADE: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

#[cfg(feature = "mutations")]
impl Mutation {
    /// Every mistake there is.
    pub const ALL: &[Mutation] = &[
        Mutation::NeverAcknowledges,
        Mutation::LaunchesUnwritten,
        Mutation::SparesStrangers,
        Mutation::KeepsReservations,
        Mutation::RevivesOnce,
        Mutation::NeverReconciles,
        Mutation::ForgetsReleases,
        Mutation::WaitsForTheLost,
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
