//! What a framework is built with: say what should run ([`spec`]), and how the parts only known at launch are rendered,
//! probed and acted on ([`Framework`]); the rest (master connection, plans, offers, recovery, state, HTTP API) is here.
//!
//! ```text
//! let sdk = Sdk::new(Config::from_environment()?)?;
//! let framework = MyFramework { handle: sdk.handle() };
//! sdk.run(framework, daemon::shutdown::signal()).await?;
//! ```
//! `core/` decides; this crate does. Read `framework.rs` first, then `engine.rs`.
#![warn(missing_docs)]

pub mod config;
mod engine;
pub mod framework;
#[doc(hidden)]
pub mod fuzzing;
pub mod handle;
pub mod http;
mod limits;
mod payload;
mod records;
pub mod sdk;
pub mod state;
mod vip;

pub use config::{Config, ConfigError};
pub use framework::{
    ActionRequest, Caller, Framework, PodInstance, ProbeRequest, Progress, RenderedFile, RenderedPod, RenderedTask,
};
pub use framework_core::{plan, spec, testing, view};
pub use handle::Handle;
pub use records::RecordError;
pub use sdk::{Sdk, SdkError};
pub use state::{StateError, StateStore};
