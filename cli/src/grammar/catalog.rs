//! `mezzo catalog`.
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

#[derive(Debug, Subcommand)]
pub(crate) enum Catalog {
    /// List packages, all or those about something
    Search {
        /// What to look for
        #[arg(default_value = "")]
        text: String,
    },
    /// Show a package and its options
    Show {
        /// The package
        package: String,
        /// A certain version [default: the newest]
        #[arg(long, default_value = "")]
        version: String,
    },
    /// Install a package
    Install(Install),
    /// List what is installed
    List,
    /// Change options or version of an installation
    Update(Update),
    /// Remove an installation and everything it holds
    Uninstall {
        /// Its name
        name: String,
        /// Say what would be removed, remove nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        waiting: Waiting,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A JSON, YAML or TOML file with options; '-' reads stdin
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) options: Option<PathBuf>,
    /// One option, may be repeated; overrides the file. The value is JSON, or else text
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = crate::quantity::pair)]
    pub(crate) set: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Waiting {
    /// Wait until it is done, showing the steps (the default)
    #[arg(long, overrides_with = "detach")]
    pub(crate) wait: bool,
    /// Return at once
    #[arg(long, overrides_with = "wait")]
    pub(crate) detach: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// The package
    pub(crate) package: String,
    /// The installation's name [default: the package's]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// A certain version [default: the newest]
    #[arg(long, default_value = "")]
    pub(crate) version: String,
    #[command(flatten)]
    pub(crate) options: Options,
    /// Check and show what would be installed, install nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Install although the pool cannot take it as it is: it waits until it can
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The installation's name
    pub(crate) name: String,
    /// A newer version of its package [default: as it is]
    #[arg(long, default_value = "")]
    pub(crate) version: String,
    #[command(flatten)]
    pub(crate) options: Options,
    /// Back to the options and version before the last update
    #[arg(long, conflicts_with_all = ["version", "options", "set"])]
    pub(crate) rollback: bool,
    /// Check and show what would change and what would be launched anew, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}
