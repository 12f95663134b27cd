//! `mezzo framework`, `mezzo service`, `mezzo services`, `mezzo vip`.
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Framework {
    /// List frameworks
    List,
    /// Show one framework
    Show {
        /// Name or id
        framework: String,
    },
    /// Kill all tasks of a framework and forget it
    Teardown {
        /// Name or id
        framework: String,
    },
    /// Say why a framework has what it has
    Why {
        /// Name or id
        framework: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Service {
    /// List services
    List,
    /// Show one service
    Show {
        /// Its name
        service: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Services {
    /// Run it in the foreground
    Run,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Vip {
    /// Every virtual address, and how many tasks connections are sent to
    List,
    /// The tasks behind one, and why no connection is sent to some
    Show {
        /// Its name, or `<framework>/<name>`
        #[arg(value_name = "NAME")]
        vip: String,
    },
}
