//! What can be typed: nouns, then verbs. Words only; what they do is in `commands/` and `local/`.
pub(crate) mod event;
pub(crate) mod maintenance;
pub(crate) mod reservation;
pub(crate) mod role;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

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

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// List tasks
    List {
        /// Only those of a framework, by name or id
        #[arg(long, default_value = "")]
        framework: String,
        /// Those that ended, too
        #[arg(long)]
        all: bool,
    },
    /// Show one task
    Show {
        /// Id, or the name if it is unique
        task: String,
    },
    /// Print what a task wrote
    Logs {
        /// Id, or the name if it is unique
        task: String,
        /// Go on as it writes
        #[arg(long, short)]
        follow: bool,
        /// stderr instead of stdout
        #[arg(long)]
        stderr: bool,
        /// Only about so many bytes of the end
        #[arg(long, value_name = "BYTES")]
        tail: Option<i64>,
    },
    /// Run a program in a task's container
    Exec {
        /// With a terminal [default: if stdin is one]
        #[arg(long, short)]
        tty: bool,
        /// Id, or the name if it is unique
        task: String,
        /// The program and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Say why a task is in its state
    Why {
        /// Id, or the name if it is unique
        task: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Plan {
    /// Show the plans of a framework, or one of them
    Show {
        /// The framework
        framework: String,
        /// The plan
        plan: Option<String>,
        /// When each step began, launched and was complete
        #[arg(long)]
        timing: bool,
        /// Go on until the plan is complete
        #[arg(long, requires = "plan")]
        follow: bool,
    },
    /// Start nothing new
    Pause {
        /// The framework
        framework: String,
        /// The plan
        #[arg(default_value = "deploy")]
        plan: String,
    },
    /// Go on
    Resume {
        /// The framework
        framework: String,
        /// The plan
        #[arg(default_value = "deploy")]
        plan: String,
    },
    /// Begin anew
    Restart {
        /// The framework
        framework: String,
        /// The plan
        #[arg(default_value = "deploy")]
        plan: String,
    },
}

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

#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    /// Upload an OCI image
    Push {
        /// An OCI layout (directory) or archive (tar)
        #[arg(value_hint = ValueHint::AnyPath)]
        source: PathBuf,
        /// pool/NAME:TAG
        reference: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Artifact {
    /// Upload a file under a name that packages refer to
    Push {
        /// The name
        name: String,
        /// The file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Services {
    /// Run it in the foreground
    Run,
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
