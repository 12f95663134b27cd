//! `mezzo reservation` and `mezzo volume`.
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Reservation {
    /// List what is reserved, and the volumes made of it
    List {
        /// Of one agent, by name or id [default: of all]
        #[arg(default_value = "")]
        agent: String,
    },
    /// Reserve some of an agent for a role
    Add(Add),
    /// Take a reservation away
    Remove(Remove),
    /// Reserve for another role what is reserved for one, without it being free in between
    Move(Move),
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The agent, by name or id
    pub(crate) agent: String,
    /// For whom
    pub(crate) role: String,
    /// What, as in 'cpus:2;mem:1024;disk[path:/data]:5000' (memory and disk in MiB)
    pub(crate) resources: String,
    /// Out of what is reserved for this role, which is above
    #[arg(long, value_name = "ROLE")]
    pub(crate) refine: Option<String>,
    /// A mark on the reservation, may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = crate::quantity::pair)]
    pub(crate) labels: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The agent, by name or id
    pub(crate) agent: String,
    /// For whom it is reserved
    pub(crate) role: String,
    /// How much of it [default: all]
    pub(crate) resources: Option<String>,
    /// Who reserved it, if several did
    #[arg(long, value_name = "PRINCIPAL")]
    pub(crate) principal: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Move {
    #[command(flatten)]
    pub(crate) from: Remove,
    /// For whom it is to be reserved
    #[arg(long, value_name = "ROLE")]
    pub(crate) to: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Volume {
    /// Make a volume of what is reserved for a role
    Create(Create),
    /// Destroy a volume and its data
    Destroy(Which),
    /// Make a volume larger
    Grow(Resize),
    /// Make a volume smaller
    Shrink(Resize),
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The agent, by name or id
    pub(crate) agent: String,
    /// For whom it is
    pub(crate) role: String,
    /// Its id
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    #[command(flatten)]
    pub(crate) which: Which,
    /// How large, e.g. 5GiB
    #[arg(value_parser = crate::quantity::mebibytes, value_name = "SIZE")]
    pub(crate) size: model::Milli,
    /// Where containers see it
    #[arg(long, default_value = "data", value_name = "PATH")]
    pub(crate) path: String,
    /// On which disk of the agent: path:<directory> or mount:<directory> [default: the agent's own]
    #[arg(long, value_name = "DISK")]
    pub(crate) disk: Option<model::Disk>,
    /// Several tasks may have it at once
    #[arg(long)]
    pub(crate) shared: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Resize {
    #[command(flatten)]
    pub(crate) which: Which,
    /// By how much, e.g. 5GiB
    #[arg(value_parser = crate::quantity::mebibytes, value_name = "SIZE")]
    pub(crate) size: model::Milli,
}
