//! `mezzo event`.
use clap::{Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum Event {
    /// Print what there is, then every change of it, until interrupted
    Watch {
        /// Only these kinds, may be repeated [default: all]
        #[arg(long, value_enum, value_name = "KIND")]
        kind: Vec<Kind>,
        /// Only changes, not what there is already
        #[arg(long)]
        changes: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Agents
    Agent,
    /// Frameworks
    Framework,
    /// Tasks
    Task,
    /// Roles
    Role,
}

impl Kind {
    /// Its name on the wire.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Agent => "agent",
            Kind::Framework => "framework",
            Kind::Task => "task",
            Kind::Role => "role",
        }
    }
}
