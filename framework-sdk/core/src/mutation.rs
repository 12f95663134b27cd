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
    /// Nobody is asked what became of tasks.
    NeverReconciles,
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
        Mutation::NeverReconciles,
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
