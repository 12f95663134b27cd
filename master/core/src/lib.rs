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
pub mod registry;
pub mod view;

mod master;

pub use command::Command;
pub use config::Config;
pub use decision::{Decision, OfferEnd, Rejected, Withheld};
pub use event::{Event, OperatorRequest, RequestId, SessionId, StateWrite};
pub use master::Master;
pub use registry::{AgentRecord, FrameworkRecord, Pool, Record, RegistrySnapshot};
pub use view::Delta;
