//! What an agent decides: whether it takes a launch, what its pods are doing, which status update goes out next, what
//! is forgotten. [`Agent::step`] is the whole interface; disk, containers and network are the shell's.
//!
//! Reading order: [`event`] and [`command`] (what goes in and out), [`agent`] (the router and the rule that a checkpoint
//! comes before the act), `registration`, `launch`, `container`, `updates`, `holdings`, `gc`.
#![deny(clippy::float_arithmetic)]

pub mod agent;
pub mod checkpoint;
pub mod command;
mod container;
pub mod event;
mod gc;
mod holdings;
pub mod invariants;
mod launch;
pub mod limits;
pub mod pod;
mod reconfiguration;
mod registration;
mod revocable;
mod rng;
mod updates;
pub mod vip;

#[cfg(feature = "mutations")]
pub mod mutation;
#[cfg(not(feature = "mutations"))]
mod mutation;

pub use agent::{Agent, AgentConfig};
pub use checkpoint::{
    AgentRecord, Checkpoint, Configured, EndRecord, LaunchRecord, ProgressRecord, TaskLaunch, TaskProgress, Write,
};
pub use command::{Command, Decision, Network, VolumeKey};
pub use event::{End, EndCause, Event, Report, ReportKind};
pub use pod::{DestroyCause, Phase, PodId};
