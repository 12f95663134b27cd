//! Deliberate mistakes, each one line: the simulator makes them one by one and must notice every one. Without the
//! feature `mutations` there is none.

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "mutations"), expect(unreachable_pub))]
pub enum Mutation {
    /// What depends on a checkpoint leaves before it is durable.
    ActsBeforeTheDisk,
    /// A master of an older epoch is obeyed.
    ObeysTheDeposed,
    /// A repeated launch is taken for a new one.
    LaunchesTwice,
    /// An update that is not acknowledged is not repeated.
    SendsOnce,
    /// Executors of a former life are not looked for.
    LeavesExecutorsAlone,
    /// Volumes stay as they were when titles change.
    KeepsVolumes,
    /// What is said at a registration is not on the disk.
    RegistersBeforeTheDisk,
    /// A task is said to have ended before its pod has undone what it did.
    SaysEndsEarly,
}

#[cfg(feature = "mutations")]
std::thread_local! {
    static MADE: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

#[cfg(feature = "mutations")]
impl Mutation {
    /// Every mistake there is.
    pub const ALL: &[Mutation] = &[
        Mutation::ActsBeforeTheDisk,
        Mutation::ObeysTheDeposed,
        Mutation::LaunchesTwice,
        Mutation::SendsOnce,
        Mutation::LeavesExecutorsAlone,
        Mutation::KeepsVolumes,
        Mutation::RegistersBeforeTheDisk,
        Mutation::SaysEndsEarly,
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
