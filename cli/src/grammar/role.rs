//! `mezzo role`.
use clap::{Args, Subcommand};
use model::Milli;

#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// List roles
    List,
    /// Show one role
    Show {
        /// Its name
        role: String,
    },
    /// Say why a role has what it has
    Why {
        /// Its name
        role: String,
    },
    /// What roles are guaranteed, and what they may not exceed
    #[command(subcommand)]
    Quota(RoleQuota),
    /// How large a share roles get beside others
    #[command(subcommand)]
    Weight(RoleWeight),
}

#[derive(Debug, Subcommand)]
pub(crate) enum RoleQuota {
    /// Set guarantees, limits or both; what is not named stays
    Set(SetQuota),
    /// Remove guarantees and limits
    Clear {
        /// The role
        role: String,
    },
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("amounts").required(true).multiple(true).args(["limit", "guarantee"]))]
pub(crate) struct SetQuota {
    /// The role; what is below it counts as its own
    pub(crate) role: String,
    /// It never gets more, as in cpus=4,mem=6GiB
    #[arg(long, value_name = "NAME=AMOUNT", value_delimiter = ',', value_parser = crate::quantity::scalar)]
    pub(crate) limit: Vec<(String, Milli)>,
    /// So much is kept free for it, as in cpus=2
    #[arg(long, value_name = "NAME=AMOUNT", value_delimiter = ',', value_parser = crate::quantity::scalar)]
    pub(crate) guarantee: Vec<(String, Milli)>,
    /// Set it although more is used, or promised than the pool has
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RoleWeight {
    /// Set the weight: with 2, a role gets twice what one with 1 gets
    Set {
        /// The role
        role: String,
        /// From 0.001 to 1000
        #[arg(value_parser = crate::quantity::cpus)]
        weight: Milli,
    },
}
