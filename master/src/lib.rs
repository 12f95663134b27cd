//! The master's shell: it authenticates, decodes, persists and sends; what is decided is decided in `master-core`.
//!
//! One task owns the core ([`runner`]); everything else talks to it through one bounded inbox. Reads never enter it: the
//! core's deltas feed a [`view`] that lists, metrics, explanations and the gateway are answered from.
mod api;
mod artifacts;
mod config;
mod explain;
mod files;
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod installs;
mod limits;
mod metrics;
mod pace;
mod pki;
mod preflight;
mod proxy;
mod refusal;
mod registry;
mod runner;
mod server;
mod services;
mod table;
mod tokens;
mod view;
mod vips;

pub use config::{MasterConfig, MasterInit};
pub use master_core::Config as CoreConfig;
pub use master_core::config::RemovalLimit;
pub use pki::{Initialized, init};
pub use registry::RegistryError;
pub use server::{MasterError, Running, run, start};
