//! What can be typed: nouns, then verbs. Words only; what they do is in `commands/` and `local/`.
mod agent;
mod catalog;
pub(crate) mod event;
mod framework;
mod kubernetes;
pub(crate) mod maintenance;
mod master;
mod plan;
mod pool;
pub(crate) mod reservation;
pub(crate) mod role;
mod store;
mod task;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

pub(crate) use agent::{Agent, AgentRun, Drain};
pub(crate) use catalog::{Catalog, Install, Options, Update, Waiting};
pub(crate) use framework::{Framework, Service, Services, Vip};
pub(crate) use kubernetes::{CertificateVerb, Certificates, Kubernetes, Restore, Scale};
pub(crate) use master::{Master, MasterInit, MasterRun};
pub(crate) use plan::Plan;
pub(crate) use pool::{Down, Enclose, Up};
pub(crate) use store::{Artifact, Image};
pub(crate) use task::Task;

/// Offers resources of many machines to frameworks, and installs frameworks from a catalog.
#[derive(Debug, Parser)]
#[command(name = "mezzo", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) noun: Noun,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The master, as IP:PORT [default: 127.0.0.1:5050]
    #[arg(long, global = true, env = "MEZZO_MASTER", value_name = "ADDRESS", help_heading = "Global options")]
    pub(crate) master: Option<String>,
    /// Directory with ca.pem, cert.pem and key.pem [default: ~/.mezzo/identity]
    #[arg(long, global = true, env = "MEZZO_IDENTITY", value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Global options")]
    pub(crate) identity: Option<PathBuf>,
    /// How data is printed to stdout
    #[arg(long, global = true, value_enum, default_value_t = Format::Table, help_heading = "Global options")]
    pub(crate) output: Format,
    /// Do not ask before something is destroyed
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people
    Table,
    /// The complete data, for programs
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Noun {
    /// Bring up a pool on this machine: a master and some agents, each in its own namespaces
    Up(Up),
    /// Stop the pool of this machine and leave nothing of it behind
    Down(Down),
    /// The master: make a pool, run it, look at it
    #[command(subcommand)]
    Master(Master),
    /// Agents: run one, list them, check a machine
    #[command(subcommand)]
    Agent(Agent),
    /// Windows in which agents are not to be counted on
    #[command(subcommand)]
    Maintenance(maintenance::Maintenance),
    /// What is reserved on agents
    #[command(subcommand)]
    Reservation(reservation::Reservation),
    /// Volumes that operators make of what is reserved
    #[command(subcommand)]
    Volume(reservation::Volume),
    /// What changes in the pool
    #[command(subcommand)]
    Event(event::Event),
    /// Packages: search, install, update, uninstall
    #[command(subcommand)]
    Catalog(Catalog),
    /// Frameworks that take offers
    #[command(subcommand)]
    Framework(Framework),
    /// Services kept running, package schedulers among them
    #[command(subcommand)]
    Service(Service),
    /// Roles between which resources are divided
    #[command(subcommand)]
    Role(role::Role),
    /// Tasks: list, logs, exec, why
    #[command(subcommand)]
    Task(Task),
    /// Plans of a framework: what is done, what it waits for
    #[command(subcommand)]
    Plan(Plan),
    /// Virtual addresses of frameworks, and the tasks behind them
    #[command(subcommand)]
    Vip(Vip),
    /// Kubernetes clusters
    #[command(subcommand)]
    Kubernetes(Kubernetes),
    /// Container images in the pool's own store
    #[command(subcommand)]
    Image(Image),
    /// Files in the pool's own store
    #[command(subcommand)]
    Artifact(Artifact),
    /// Print a completion script: bash, zsh, fish, elvish or powershell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Man {
        /// The directory
        directory: PathBuf,
    },
    /// The services framework (started by the master)
    #[command(subcommand, hide = true)]
    Services(Services),
    /// The parent of a pod's containers (started by an agent)
    #[command(hide = true, disable_help_flag = true)]
    Executor {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The OCI runtime helper (started by an executor)
    #[command(hide = true, disable_help_flag = true)]
    Container {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Enters an agent's namespaces, then becomes the agent (started by `mezzo up`)
    #[command(hide = true)]
    Enclose(Enclose),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_grammar_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_is_documented_can_be_typed() {
        for line in [
            "mezzo up",
            "mezzo up --agents 3 --detach --cpus 2.5 --mem 6GiB --disk 20GiB --dir /tmp/x",
            "mezzo up --resources gpus:2;disk[path:/data]:5000 --oversubscribe cpus:2 --preempt-at-pressure 20",
            "mezzo down --purge --yes",
            "mezzo master show --output json",
            "mezzo master token --valid 10m",
            "mezzo agent run --cpus 4 --mem 6GiB --ports 10250,20000-29999 --attribute rack=1",
            "mezzo agent run --resources cpus(db):2;disk[path:/data]:5000 --oversubscribe cpus:2 --preempt-at-pressure 20",
            "mezzo reservation list",
            "mezzo reservation add a1 db cpus:2;mem:1024 --refine team --label purpose=x",
            "mezzo reservation remove a1 db cpus:1 --principal operator/ann",
            "mezzo reservation move a1 db --to web",
            "mezzo volume create a1 db v1 5GiB --disk mount:/mnt/a --shared",
            "mezzo volume grow a1 db v1 1GiB",
            "mezzo volume destroy a1 db v1 --yes",
            "mezzo catalog install hello-world --name web --set count=2 --dry-run",
            "mezzo catalog install kubernetes --name demo --options o.json --detach",
            "mezzo task logs -f web-0",
            "mezzo task exec web-0 -- sh -c true",
            "mezzo plan show demo deploy --timing",
            "mezzo plan pause demo",
            "mezzo kubernetes scale demo --node-count 3",
            "mezzo kubernetes load demo a.tar b.tar",
            "mezzo image push ./layout pool/busybox:1",
            "mezzo completions bash",
            "mezzo role quota set team/web --limit cpus=4,mem=6GiB --guarantee cpus=2 --force",
            "mezzo role quota clear team/web",
            "mezzo role weight set team 2.5",
            "mezzo agent why node-1",
            "mezzo master run --region eu --offer-timeout 30s --fair-share-exclude gpus --no-gpu-guard",
            "mezzo enclose --netns /run/netns/x --hide /a --keep /a/b -- mezzo agent run",
            "mezzo executor --whatever 1",
        ] {
            if let Err(error) = Arguments::try_parse_from(line.split(' ')) {
                panic!("{line}: {error}");
            }
        }
        for line in [
            "mezzo",
            "mezzo task exec web-0",
            "mezzo up --mem 6",
            "mezzo role quota set r",
            "mezzo up --name Mezzo",
            "mezzo catalog install",
        ] {
            assert!(Arguments::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
