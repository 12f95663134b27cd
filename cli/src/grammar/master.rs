//! `mezzo master`.
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

#[derive(Debug, Subcommand)]
pub(crate) enum Master {
    /// Make a pool: its CA, its registry and the first operator's identity
    Init(MasterInit),
    /// Run the master in the foreground
    Run(MasterRun),
    /// Show the master
    Show,
    /// Make a token with which one agent may join
    Token {
        /// How long it may be used
        #[arg(long, default_value = "1h", value_name = "TIME", value_parser = crate::quantity::seconds)]
        valid: u32,
    },
    /// Make an identity for an operator or a framework
    Identity {
        /// operator/NAME or framework/NAME
        principal: String,
        /// Where it is written
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        to: PathBuf,
        /// How long it is valid
        #[arg(long, default_value = "365d", value_name = "TIME", value_parser = crate::quantity::seconds)]
        valid: u32,
    },
}

#[derive(Debug, Args)]
pub(crate) struct MasterInit {
    /// Where the master keeps everything
    #[arg(long, default_value = "/var/lib/mezzo/master", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// The pool's name
    #[arg(long, default_value = "mezzo")]
    pub(crate) pool: String,
    /// Agents' pod subnets are cut from this network
    #[arg(long, value_name = "CIDR")]
    pub(crate) pod_range: Option<String>,
    /// Frameworks' virtual addresses are taken from this network [default: 198.18.0.0/16]
    #[arg(long, value_name = "CIDR")]
    pub(crate) vip_range: Option<String>,
    /// Where the first operator's identity is written [default: ~/.mezzo/identity]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) operator_identity: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct MasterRun {
    /// Where `mezzo master init` made the pool
    #[arg(long, default_value = "/var/lib/mezzo/master", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Where to listen, may be repeated [default: 0.0.0.0:5050]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<SocketAddr>,
    /// Where agents, frameworks and operators reach this master [default: the first address it listens on]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) advertise: Option<SocketAddr>,
    /// Frameworks that may run privileged tasks beside those of packages that say so, by name; '*' for all
    #[arg(long, value_name = "FRAMEWORK")]
    pub(crate) privileged: Vec<String>,
    /// Folders of packages beside those built in
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) catalog: Vec<PathBuf>,
    /// Its region: agents of others are offered only to frameworks that are aware of regions [default: all are near]
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// An offer unanswered for this long is taken back; 0 never [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = crate::quantity::seconds)]
    pub(crate) offer_timeout: Option<u32>,
    /// A resource that does not count in shares, may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) fair_share_exclude: Vec<String>,
    /// Offer at least this, as in cpus=0.1,mem=64MiB; may be repeated, one of them is enough [default: cpus=0.01 or mem=32MiB]
    #[arg(long, value_name = "NAME=AMOUNT,...", value_parser = crate::quantity::scalars)]
    pub(crate) min_allocatable: Vec<model::Quantities>,
    /// Offer agents with gpus to frameworks that use none, too
    #[arg(long)]
    pub(crate) no_gpu_guard: bool,
    /// How many agents may become unreachable within a time, e.g. 5/10m [default: any number]
    #[arg(long, value_parser = crate::quantity::rate, value_name = "COUNT/TIME")]
    pub(crate) agent_removal_limit: Option<(u32, u32)>,
    /// Forget agents that are gone after this long, and give up those that are unreachable for so long and hold no data [default: 336h]
    #[arg(long, value_name = "TIME", value_parser = crate::quantity::seconds)]
    pub(crate) registry_max_agent_age: Option<u32>,
    /// Keep at most so many agents that are gone [default: 4096]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(..=102_400))]
    pub(crate) registry_max_agent_count: Option<u32>,
}
