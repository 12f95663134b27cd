//! `mezzo up`, `mezzo down`.
use std::path::PathBuf;

use clap::{Args, ValueHint};

#[derive(Debug, Clone, Args)]
pub(crate) struct PoolPlace {
    /// Where the pool keeps everything
    #[arg(long, default_value = "/var/lib/mezzo", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) place: PoolPlace,
    /// How many agents
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) agents: u8,
    /// Return when every agent is registered; the pool stays up
    #[arg(long)]
    pub(crate) detach: bool,
    /// Processors that each agent offers
    #[arg(long, default_value = "4", value_name = "NUMBER", value_parser = crate::quantity::cpus)]
    pub(crate) cpus: model::Milli,
    /// Memory that each agent offers
    #[arg(long, default_value = "6GiB", value_name = "SIZE", value_parser = crate::quantity::mebibytes)]
    pub(crate) mem: model::Milli,
    /// Disk that each agent offers
    #[arg(long, default_value = "20GiB", value_name = "SIZE", value_parser = crate::quantity::mebibytes)]
    pub(crate) disk: model::Milli,
    /// More of what each agent offers, as `mezzo agent run --resources` takes it: 'gpus:2;disk[path:/data]:5000'
    #[arg(long, value_name = "LIST")]
    pub(crate) resources: Option<String>,
    /// What each agent gives away although it is promised to others, until they need it, as in 'cpus:2;mem:1024'
    #[arg(long, value_name = "LIST")]
    pub(crate) oversubscribe: Option<String>,
    /// Take that back when tasks wait for memory for so much of the time, in percent [default: never]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) preempt_at_pressure: Option<u8>,
    /// The pool's name: its bridge is NAME0, its namespaces NAME-agent-1 and so on
    #[arg(long, default_value = "mezzo", value_name = "NAME", value_parser = pool_name)]
    pub(crate) name: String,
    /// Network of master and agents; a /24 that nothing else on this machine uses
    #[arg(long, default_value = "10.84.0.0/24", value_name = "CIDR", value_parser = crate::local::Subnet::parse)]
    pub(crate) subnet: crate::local::Subnet,
    /// Frameworks that may run privileged tasks beside those of packages that say so, by name; '*' for all
    #[arg(long, value_name = "FRAMEWORK")]
    pub(crate) privileged: Vec<String>,
    /// Folders of packages beside those built in
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) catalog: Vec<PathBuf>,
    /// Be the supervisor of `mezzo up --detach`
    #[arg(long, hide = true)]
    pub(crate) supervise: bool,
}

fn pool_name(text: &str) -> Result<String, String> {
    // An interface's name has 15 characters: "<name>-v100".
    let fits = (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if fits {
        Ok(text.to_owned())
    } else {
        Err("1 to 9 characters of a-z and 0-9 are allowed: interfaces are named after it".to_owned())
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Down {
    #[command(flatten)]
    pub(crate) place: PoolPlace,
    /// Delete its state, images and logs too
    #[arg(long)]
    pub(crate) purge: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Enclose {
    /// The network namespace to enter, by path
    #[arg(long)]
    pub(crate) netns: PathBuf,
    /// Directories whose content is hidden
    #[arg(long)]
    pub(crate) hide: Vec<PathBuf>,
    /// Directories below hidden ones that stay visible
    #[arg(long)]
    pub(crate) keep: Vec<PathBuf>,
    /// The program to become, and its arguments
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<String>,
}
