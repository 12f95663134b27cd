//! What every long-running process of mezzo shares: identities and TLS, the one-port server with its gateway, the
//! clients that verify names instead of addresses, logs, shutdown and the error chain.
//!
//! Nothing here knows of offers or tasks.

pub mod client;
pub mod clock;
pub mod error;
#[doc(hidden)]
pub mod fuzzing;
mod hello;
mod http_client;
pub mod identity;
pub mod limits;
pub mod logging;
pub mod serve;
pub mod shutdown;
pub mod tls;
