//! The deciding part of the master. One value, [`Master`], whose `step` takes an [`Event`] and pushes [`Command`]s; it
//! has no clock, socket, disk, thread or log.
//!
//! Who is offered what: `allocator`. What is lent: `offer`. The one place where races are decided: `accept`. What runs:
//! `ledger`. What survives a crash: `registry`.
#![deny(clippy::float_arithmetic)]

pub mod command;
pub mod config;
pub mod decision;
pub mod event;
pub mod limits;
pub mod quota;
pub mod registry;
pub mod view;

mod accept;
mod agent;
mod allocator;
mod answers;
mod charge;
mod collection;
mod drain;
mod feedback;
mod framework;
mod holdings;
mod invariants;
pub mod lease;
mod ledger;
pub mod lifecycle;
mod maintenance;
mod master;
mod offer;
mod outbox;
mod reconcile;
mod registration;
mod subscribe;
mod teardown;
mod tenancy;
mod timer;
mod titles;
mod totals;
mod update;
mod vip;
mod withheld;

#[cfg(test)]
mod tests;

#[cfg(feature = "mutations")]
pub mod mutation;
#[cfg(not(feature = "mutations"))]
mod mutation;

pub use command::Command;
pub use config::Config;
pub use decision::{Decision, OfferEnd, Rejected, Remedy, Withheld};
pub use event::{Event, HoldingsChange, OperatorRequest, RequestId, SessionId, StateWrite};
pub use invariants::check;
pub use master::Master;
pub use quota::{Ceiling, Quota};
pub use registry::{AgentMode, AgentRecord, Drain, FrameworkRecord, OperationRecord, Pool, Record, RegistrySnapshot};
pub use view::Delta;
