//! `mezzo kubernetes`.
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::{Options, Waiting};

#[derive(Debug, Subcommand)]
pub(crate) enum Kubernetes {
    /// List clusters
    List,
    /// Show how a cluster does
    Status {
        /// The cluster
        name: String,
    },
    /// Print a kubeconfig, or merge it into a file
    Kubeconfig {
        /// The cluster
        name: String,
        /// Write it into this file instead of stdout
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        to: Option<PathBuf>,
    },
    /// List the nodes of a cluster
    Nodes {
        /// The cluster
        name: String,
    },
    /// Add or remove nodes
    Scale(Scale),
    /// Put image archives into every node, those that come later too
    Load {
        /// The cluster
        name: String,
        /// Archives (docker or OCI)
        #[arg(required = true, value_hint = ValueHint::FilePath)]
        archives: Vec<PathBuf>,
    },
    /// List the image archives that are loaded
    Images {
        /// The cluster
        name: String,
    },
    /// Take image archives back; containers that run go on
    Unload {
        /// The cluster
        name: String,
        /// Files, images or digests, as `images` lists them
        #[arg(required = true)]
        what: Vec<String>,
    },
    /// Write a backup into a file: everything in the cluster, its keys and options
    Backup {
        /// The cluster
        name: String,
        /// The file; nobody but you can read it
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Fetch this one that the master keeps, as `backups` lists them; make none
        #[arg(long, value_name = "BACKUP")]
        kept: Option<String>,
    },
    /// List the backups that the master keeps, of a cluster that may be gone
    Backups {
        /// The cluster
        name: String,
    },
    /// Make a cluster from a backup
    Restore(Restore),
    /// List certificates, renew them, or change the authorities that sign them
    Certificates(Certificates),
}

#[derive(Debug, Args)]
pub(crate) struct Certificates {
    /// The cluster
    pub(crate) name: String,
    /// What to do; nothing lists them
    pub(crate) verb: Option<CertificateVerb>,
    /// Restart nodes although pods are lost that nothing starts again, or that use emptyDir
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum CertificateVerb {
    /// New certificates for every pod, of the same authorities
    Renew,
    /// New authorities, believed beside the old ones first
    RotateCa,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// The cluster's name [default: that of the backup]
    #[arg(long)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) options: Options,
    /// Check only
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

#[derive(Debug, Args)]
pub(crate) struct Scale {
    /// The cluster
    pub(crate) name: String,
    /// How many nodes it shall have
    #[arg(long, value_name = "N")]
    pub(crate) node_count: u32,
    /// When nodes go: this one first, may be repeated [default: the emptiest]
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Vec<String>,
    /// When nodes go: delete pods that use emptyDir, their data is lost
    #[arg(long)]
    pub(crate) delete_emptydir_data: bool,
    /// When nodes go: delete pods that nothing will start again
    #[arg(long)]
    pub(crate) force: bool,
    /// When nodes go: how long to wait for pods to leave; 0 waits for ever
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = crate::quantity::seconds)]
    pub(crate) drain_timeout: u32,
    /// Check only
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}
