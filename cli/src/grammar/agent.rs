//! `mezzo agent`.
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

#[derive(Debug, Subcommand)]
pub(crate) enum Agent {
    /// Run an agent in the foreground
    Run(Box<AgentRun>),
    /// List agents
    List {
        /// List reservations and volumes on agents that are away instead
        #[arg(long)]
        orphans: bool,
    },
    /// Show one agent
    Show {
        /// Name or id
        agent: String,
    },
    /// Offer nothing of an agent any more; what runs there runs on
    Deactivate {
        /// Name or id
        agent: String,
    },
    /// Offer an agent again; calls an unfinished drain off
    Reactivate {
        /// Name or id
        agent: String,
    },
    /// Empty an agent: its frameworks move what they run there, and what is left at the end is killed
    Drain(Drain),
    /// Declare an agent gone for good: its tasks, reservations and volumes are given up
    Gone {
        /// Name or id
        agent: String,
    },
    /// Say why what an agent has free is not offered
    Why {
        /// Name or id
        agent: String,
    },
    /// Check whether this machine can run an agent
    Preflight {
        /// Ask a running agent instead of this machine
        #[arg(long, value_name = "AGENT")]
        agent: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// Name or id
    pub(crate) agent: String,
    /// How long the frameworks may take before the master kills what is left, e.g. 90s, 10m, 2h
    #[arg(long, default_value = "10m", value_parser = crate::quantity::seconds, value_name = "TIME")]
    pub(crate) max_grace: u32,
    /// Declare it gone once it is empty
    #[arg(long)]
    pub(crate) mark_gone: bool,
    /// Wait until it is empty
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AgentRun {
    /// Where the agent keeps everything
    #[arg(long, default_value = "/var/lib/mezzo/agent", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Its name, unique in the pool [default: the host name]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The address at which other agents and the master reach it [default: that of the route to the master]
    #[arg(long, value_name = "IP")]
    pub(crate) address: Option<std::net::Ipv4Addr>,
    /// Its port
    #[arg(long, default_value_t = 5051)]
    pub(crate) port: u16,
    /// A token of `mezzo master token`; needed once
    #[arg(long, env = "MEZZO_JOIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(crate) join_token: Option<String>,
    /// SHA-256 of the pool's CA, printed with the token
    #[arg(long, env = "MEZZO_CA_SHA256", value_name = "HEX")]
    pub(crate) ca_sha256: Option<String>,
    /// Processors it offers [default: all]
    #[arg(long, value_name = "NUMBER", value_parser = crate::quantity::cpus)]
    pub(crate) cpus: Option<model::Milli>,
    /// Memory it offers [default: all but 1 GiB]
    #[arg(long, value_name = "SIZE", value_parser = crate::quantity::mebibytes)]
    pub(crate) mem: Option<model::Milli>,
    /// Disk it offers [default: all that is free but 5 GiB]
    #[arg(long, value_name = "SIZE", value_parser = crate::quantity::mebibytes)]
    pub(crate) disk: Option<model::Milli>,
    /// Ports it offers, as in 20000-29999,31000
    #[arg(long, value_name = "RANGES", value_parser = crate::quantity::ports)]
    pub(crate) ports: Option<model::Ranges>,
    /// More of what it offers, as in 'fpga:2;cpus(db):2;disk[path:/data]:5000;disk[mount:/mnt/a]:9000;vlans:[1-9];keys:{a,b}': a
    /// role in parentheses reserves, brackets name a further disk (memory and disk in MiB)
    #[arg(long, value_name = "LIST")]
    pub(crate) resources: Option<String>,
    /// What it gives away although it is promised to others, until they need it, as in 'cpus:2;mem:1024'
    #[arg(long, default_value = "", value_name = "LIST")]
    pub(crate) oversubscribe: String,
    /// Take that back when tasks wait for memory for so much of the time, in percent [default: never]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) preempt_at_pressure: Option<u8>,
    /// An attribute for placement, may be repeated
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = crate::quantity::pair)]
    pub(crate) attributes: Vec<(String, String)>,
    /// Its region
    #[arg(long, default_value = "")]
    pub(crate) region: String,
    /// Its zone
    #[arg(long, default_value = "")]
    pub(crate) zone: String,
}
