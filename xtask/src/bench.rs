//! `cargo xtask bench`: how long it takes until a cluster's nodes are Ready, on a pool of its own: with nothing on the agents yet,
//! then with images present, as often as asked. A script that does the same by other means may run beside it, so that both
//! are measured on the same machine in the same minute.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::images;
use crate::interrupt;
use crate::mezzo::{self, Mezzo};
use crate::paths::{Cache, Workspace};
use crate::setup;
use crate::tool::Tool;

const POOL: &str = "bench";
const SUBNET: &str = "10.86.0.0/24";
const MASTER: &str = "10.86.0.1:5050";
const CLUSTER: &str = "bench";
const NODES: usize = 2;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often a cluster is installed with images present
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// A script that starts the same components by other means: it gets the programs' directory as KUBE_BIN and the number of
    /// nodes as its argument, and prints a line that ends in `nodes Ready <seconds> s`
    #[arg(long, value_name = "SCRIPT")]
    beside: Option<PathBuf>,
    /// Clusters with three of every component of the control plane, on a pool of four agents
    #[arg(long)]
    ha: bool,
    /// Only the allocator: one cycle over 10,000 agents for 1,000 frameworks, without a pool
    #[arg(long, conflicts_with_all = ["runs", "beside", "ha"])]
    allocator: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if options.allocator {
        return allocator();
    }
    setup::run()?;
    let workspace = Workspace::find()?;
    let cache = Cache::open()?;
    let images = mezzo::build(&workspace, &cache)?;
    let scratch = cache.scratch()?;
    let directory = scratch.path().join("pool");
    let mezzo = Mezzo::at(&workspace, MASTER).with_identity(&scratch.path().join("identity"));
    let place = directory.display().to_string();
    let agents = if options.ha { "4" } else { "3" };
    mezzo
        .command(&["up", "--detach", "--dir", &place, "--name", POOL, "--subnet", SUBNET, "--agents", agents])
        .run()?;
    let measured = mezzo
        .upload(&workspace, &cache, &images)
        .and_then(|()| measure(&mezzo, &scratch.path().join("kubeconfig"), options));
    let down = mezzo.command(&["down", "--dir", &place, "--purge", "--yes"]).uninterrupted().run();
    let mut times = measured?;
    down?;
    if let Some(script) = &options.beside {
        times.beside = Some(beside(script, &cache)?);
    }
    times.print();
    Ok(())
}

/// Each in the order in which it was measured.
struct Times {
    first: Duration,
    again: Vec<Duration>,
    grown: Vec<Duration>,
    beside: Option<Duration>,
}

fn measure(mezzo: &Mezzo, kubeconfig: &Path, options: &Options) -> Result<Times> {
    let mut times = Times { first: Duration::ZERO, again: Vec::new(), grown: Vec::new(), beside: None };
    for run in 0..=options.runs {
        let begun = Instant::now();
        mezzo
            .command(&["catalog", "install", "kubernetes", "--name", CLUSTER])
            .args(["--set".to_owned(), format!("node_count={NODES}")])
            .args(["--set".to_owned(), format!("high_availability={}", options.ha)])
            .run()?;
        fs::write(kubeconfig, mezzo.command(&["kubernetes", "kubeconfig", CLUSTER]).quiet().output()?)
            .with_context(|| format!("write {}", kubeconfig.display()))?;
        mezzo::wait_for_nodes(kubeconfig, NODES)?;
        if run == 0 {
            times.first = begun.elapsed();
        } else {
            times.again.push(begun.elapsed());
        }
        let begun = Instant::now();
        mezzo.command(&["kubernetes", "scale", CLUSTER, "--node-count", &(NODES + 1).to_string()]).run()?;
        mezzo::wait_for_nodes(kubeconfig, NODES + 1)?;
        times.grown.push(begun.elapsed());
        mezzo.command(&["catalog", "uninstall", CLUSTER, "--yes"]).run()?;
        if interrupt::requested() {
            bail!("interrupted");
        }
    }
    Ok(times)
}

/// The master's core measures itself; it is built as it is released.
fn allocator() -> Result<()> {
    let workspace = Workspace::find()?;
    let bench = ["bench", "--package", "master-core", "--bench", "allocation"];
    Tool::cargo().args(bench).directory(&workspace.root).run()
}

fn beside(script: &Path, cache: &Cache) -> Result<Duration> {
    let said = Tool::new("bash")
        .arg(script)
        .arg(NODES.to_string())
        .env("KUBE_BIN", images::programs(cache)?)
        .output()
        .with_context(|| format!("run {}", script.display()))?;
    seconds_until_ready(&said).with_context(|| format!("find the seconds in what {} printed: {said}", script.display()))
}

fn seconds_until_ready(said: &str) -> Option<Duration> {
    let (_, rest) = said.rsplit_once("nodes Ready ")?;
    rest.split_whitespace().next()?.parse().ok().map(Duration::from_secs_f64)
}

impl Times {
    fn print(&self) {
        let seconds = |times: &[Duration]| {
            times.iter().map(|time| format!("{:.1}", time.as_secs_f64())).collect::<Vec<_>>().join(", ")
        };
        eprintln!("\nSeconds until kubectl sees the nodes Ready:");
        eprintln!("  {NODES} nodes, nothing on the agents  {}", seconds(&[self.first]));
        eprintln!("  {NODES} nodes, images present         {}", seconds(&self.again));
        eprintln!("  one node more                  {}", seconds(&self.grown));
        if let Some(beside) = self.beside {
            eprintln!("  {NODES} nodes, by the script          {}", seconds(&[beside]));
            if let Some(best) = self.again.iter().min() {
                eprintln!("  best of ours to the script's   {:.2}", best.as_secs_f64() / beside.as_secs_f64());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_s_last_figure_counts() {
        let said = "control plane ready 3.1 s; 2 of 2 nodes Ready 14.6 s\n";
        assert_eq!(seconds_until_ready(said), Some(Duration::from_millis(14_600)));
        assert_eq!(seconds_until_ready("2 of 2 are ready"), None);
    }
}
