//! The deciding part of a framework, as a plain value: what should run is compared with what runs, plans say what is
//! next, offers are evaluated, and commands come out. Knows nothing of sockets, clocks or threads. Start at `spec.rs`
//! (what is wanted), then `scheduler.rs` (how it comes about).
#![warn(missing_docs)]
#![deny(clippy::float_arithmetic)]

mod ask;
mod away;
pub mod backoff;
mod decommission;
mod drain;
pub mod evaluate;
pub mod event;
mod invariants;
pub mod limits;
mod offers;
pub mod plan;
mod reconcile;
pub mod record;
mod recovery;
pub mod scheduler;
mod show;
pub mod spec;
mod target;
pub mod testing;
mod undo;
mod uninstall;
pub mod view;

#[cfg(feature = "mutations")]
pub mod mutation;
#[cfg(not(feature = "mutations"))]
mod mutation;

pub use evaluate::Owner;
pub use event::{Answer, Command, Event, Launch, LaunchOutcome, PodLaunch};
pub use scheduler::Scheduler;
pub use undo::{Undone, Why};
