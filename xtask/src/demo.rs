//! `cargo xtask demo`: from a clean checkout to a cluster of two nodes that kubectl talks to, on this machine; with `--ha`, to one
//! whose control plane survives the loss of any host. Whatever goes wrong before the end, or Ctrl-C, takes the pool down again;
//! at the end it is left running.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::images::Image;
use crate::interrupt;
use crate::mezzo::{self, Mezzo};
use crate::paths::{Cache, Workspace};
use crate::setup;

const CLUSTER: &str = "demo";

/// Where the pool that `mezzo up` makes by itself is reached. Loopback leads there too, unless another pool has it.
const MASTER: &str = "10.84.0.1:5050";
const NODES: usize = 2;

/// What `mezzo up` writes down first of a pool of its own choice.
const POOL: &str = "/var/lib/mezzo/pool.json";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave the pool as it is when something fails, to look at it
    #[arg(long)]
    keep: bool,
    /// How many agents the local pool has: 3, or 4 with --ha
    #[arg(long)]
    agents: Option<u32>,
    /// Three of every component of the control plane, on three agents; the fourth takes over from any of them
    #[arg(long)]
    ha: bool,
}

impl Options {
    fn agents(&self) -> u32 {
        self.agents.unwrap_or(if self.ha { 4 } else { 3 })
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let started = Instant::now();
    setup::run()?;
    let workspace = Workspace::find()?;
    let cache = Cache::open()?;
    let images = mezzo::build(&workspace, &cache)?;
    let mezzo = Mezzo::at(&workspace, MASTER);
    if pool_is_running(&mezzo)? {
        bail!("a local pool is running already\ntake it down first: {} down", mezzo.program.display());
    }
    let is_new = !Path::new(POOL).exists();
    let kubeconfig = match install(&mezzo, &workspace, &cache, &images, options) {
        Ok(kubeconfig) => kubeconfig,
        Err(error) => {
            if options.keep && !interrupt::requested() {
                eprintln!("the pool is left as it is; take it down with: {} down", mezzo.program.display());
            } else {
                eprintln!("taking the pool down");
                // What an earlier run left on disk may be somebody's work; what this one made is of no use half-way.
                let words: &[&str] = if is_new { &["down", "--purge", "--yes"] } else { &["down"] };
                if let Err(error) = mezzo.command(words).uninterrupted().run() {
                    eprintln!("warning: {error:#}");
                }
            }
            return Err(error);
        }
    };
    tell_what_is_next(&workspace, &kubeconfig, started.elapsed());
    Ok(())
}

fn install(
    mezzo: &Mezzo,
    workspace: &Workspace,
    cache: &Cache,
    images: &[Image],
    options: &Options,
) -> Result<PathBuf> {
    mezzo.command(&["up", "--detach", "--agents", &options.agents().to_string()]).run()?;
    mezzo.upload(workspace, cache, images)?;
    if is_installed(mezzo)? {
        eprintln!("the cluster {CLUSTER} was installed earlier: it is brought back as it was");
        mezzo.command(&["plan", "show", CLUSTER, "deploy", "--follow"]).run()?;
    } else {
        mezzo
            .command(&["catalog", "install", "kubernetes", "--name", CLUSTER])
            .arg("--set")
            .arg(format!("node_count={NODES}"))
            .arg("--set")
            .arg(format!("high_availability={}", options.ha))
            .run()?;
    }
    let text = mezzo.command(&["kubernetes", "kubeconfig", CLUSTER]).output()?;
    let kubeconfig = workspace.target.join(format!("{CLUSTER}.kubeconfig"));
    write_private(&kubeconfig, &text)?;
    mezzo::wait_for_nodes(&kubeconfig, NODES)?;
    Ok(kubeconfig)
}

/// It holds the key of an administrator.
fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let context = || format!("write {}", path.display());
    // A file of an earlier run may be readable by others; a new one is not.
    if path.exists() {
        fs::remove_file(path).with_context(context)?;
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(context)?;
    file.write_all(text.as_bytes()).with_context(context)
}

fn tell_what_is_next(workspace: &Workspace, kubeconfig: &Path, took: Duration) {
    let programs = workspace.target.join("debug");
    eprintln!(
        "\nThe cluster {CLUSTER} has {NODES} Ready nodes, {} s after the start. It keeps running. Next:\n\n  \
         export PATH={}:$PATH KUBECONFIG={} MEZZO_MASTER={MASTER}\n  \
         kubectl get nodes --output wide\n  \
         kubectl create deployment web --image busybox:1 --replicas 6 -- httpd -f -p 8080\n  \
         mezzo plan show {CLUSTER} deploy\n  \
         mezzo task list\n  \
         mezzo kubernetes scale {CLUSTER} --node-count 3\n  \
         mezzo down\n",
        took.as_secs(),
        programs.display(),
        kubeconfig.display(),
    );
}

/// Whether an earlier demonstration, whose pool was taken down since, installed the cluster.
fn is_installed(mezzo: &Mezzo) -> Result<bool> {
    let text = mezzo.command(&["catalog", "list", "--output", "json"]).quiet().output()?;
    let list: serde_json::Value = serde_json::from_str(&text).context("read the list of what is installed")?;
    let installed = list.as_array();
    Ok(installed.is_some_and(|all| all.iter().any(|installation| installation["name"] == CLUSTER)))
}

/// Whether there is a pool that `mezzo down` would take down: it may be somebody's work.
fn pool_is_running(mezzo: &Mezzo) -> Result<bool> {
    Ok(mezzo.command(&["master", "show"]).silent().status()?.success())
}
