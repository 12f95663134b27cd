//! Why an agent cannot start or go on.
use std::io;
use std::path::PathBuf;

use crate::checkpoint::CheckpointError;
use crate::config::ConfigError;

/// Why an agent ended.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The checkpoints.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A directory of the state directory.
    #[error("make directory {path}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another agent runs on the same state.
    #[error("state directory {path} is in use by another agent")]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// No identity and no token.
    #[error("this agent has no identity yet: give it a join token ('mezzo agent join-token' on the master makes one)")]
    NoIdentity,
    /// The identity.
    #[error(transparent)]
    Identity(#[from] daemon::identity::IdentityError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] daemon::tls::TlsError),
    /// The master said no.
    #[error("join the pool of master {master}")]
    Join {
        /// Its address.
        master: String,
        /// Why.
        #[source]
        source: Box<tonic::Status>,
    },
    /// The port.
    #[error("listen on port {port}")]
    Listen {
        /// Which.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The core refuses to start.
    #[error("{0}; {next}", next = .0.next_step)]
    Refused(model::Refusal),
    /// A thread or task ended that never should.
    #[error("the agent's {0} ended unexpectedly")]
    Broken(&'static str),
}
