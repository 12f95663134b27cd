//! The deciding part of a framework, as a plain value: what should run is compared with what runs, plans say what is
//! next, offers are evaluated, and commands come out. Knows nothing of sockets, clocks or threads. Start at `spec.rs`
//! (what is wanted), then `scheduler.rs` (how it comes about).
#![warn(missing_docs)]
#![deny(clippy::float_arithmetic)]

pub mod limits;
pub mod plan;
pub mod spec;
pub mod view;
