//! `cargo xtask demo`: from a clean checkout to a cluster of two nodes that kubectl talks to, on this machine. Whatever goes wrong
//! before the end, or Ctrl-C, takes the pool down again; at the end it is left running.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::images::{self, Image};
use crate::interrupt;
use crate::paths::{Cache, Workspace};
use crate::setup;
use crate::tool::Tool;

const CLUSTER: &str = "demo";
const NODES: usize = 2;

/// Programs that packages run on agents, uploaded as artifacts under these names.
const ARTIFACTS: [&str; 2] = ["mezzo-kubernetes", "mezzo-hello"];

/// The installation has waited for the nodes already; this is for kubectl to see the same.
const NODES_READY_WITHIN: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave the pool as it is when something fails, to look at it
    #[arg(long)]
    keep: bool,
    /// How many agents the local pool has
    #[arg(long, default_value_t = 3)]
    agents: u32,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let started = Instant::now();
    setup::run()?;
    let workspace = Workspace::find()?;
    let cache = Cache::open()?;
    workspace.build(&["mezzo", "k8s-framework", "framework-sdk"])?;
    let images = images::build(&workspace, &cache, &[])?;
    let mezzo = Mezzo { program: workspace.program("mezzo") };
    if mezzo.pool_is_running()? {
        bail!("a local pool is running already\ntake it down first: {} down", mezzo.program.display());
    }
    let kubeconfig = match install(&mezzo, &workspace, &cache, &images, options) {
        Ok(kubeconfig) => kubeconfig,
        Err(error) => {
            if options.keep && !interrupt::requested() {
                eprintln!("the pool is left as it is; take it down with: {} down", mezzo.program.display());
            } else {
                eprintln!("taking the pool down");
                if let Err(error) = mezzo.command(&["down"]).uninterrupted().run() {
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
    mezzo.command(&["up", "--detach", "--agents", &options.agents.to_string()]).run()?;
    for image in images {
        mezzo.command(&["image", "push"]).arg(&image.layout).arg(image.reference()).run()?;
    }
    let scratch = cache.scratch()?;
    for name in ARTIFACTS {
        // Debug information is most of the file, and every agent downloads it.
        let stripped = scratch.path().join(name);
        Tool::new("strip").args(["--strip-debug", "-o"]).arg(&stripped).arg(workspace.program(name)).quiet().run()?;
        mezzo.command(&["artifact", "push", name]).arg(&stripped).run()?;
    }
    mezzo
        .command(&["catalog", "install", "kubernetes", "--name", CLUSTER])
        .arg("--set")
        .arg(format!("node_count={NODES}"))
        .run()?;
    let text = mezzo.command(&["kubernetes", "kubeconfig", CLUSTER]).output()?;
    let kubeconfig = workspace.target.join(format!("{CLUSTER}.kubeconfig"));
    write_private(&kubeconfig, &text)?;
    wait_for_nodes(&kubeconfig)?;
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

fn wait_for_nodes(kubeconfig: &Path) -> Result<()> {
    let deadline = Instant::now() + NODES_READY_WITHIN;
    loop {
        let seen = Tool::new("kubectl")
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(["get", "nodes", "--output", "json", "--request-timeout", "5s"])
            .quiet()
            .output();
        let ready = match &seen {
            Ok(text) => ready_nodes(text)?,
            Err(_) => 0,
        };
        if ready >= NODES {
            return Ok(());
        }
        if interrupt::requested() {
            bail!("interrupted");
        }
        if Instant::now() >= deadline {
            seen.context("ask the cluster for its nodes")?;
            bail!("kubectl sees {ready} of {NODES} nodes Ready after {} s", NODES_READY_WITHIN.as_secs());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn ready_nodes(text: &str) -> Result<usize> {
    let list: serde_json::Value = serde_json::from_str(text).context("read kubectl's answer")?;
    let is_ready = |node: &&serde_json::Value| {
        node["status"]["conditions"].as_array().is_some_and(|conditions| {
            conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        })
    };
    Ok(list["items"].as_array().map_or(0, |nodes| nodes.iter().filter(is_ready).count()))
}

fn tell_what_is_next(workspace: &Workspace, kubeconfig: &Path, took: Duration) {
    let programs = workspace.target.join("debug");
    eprintln!(
        "\nThe cluster {CLUSTER} has {NODES} Ready nodes, {} s after the start. It keeps running. Next:\n\n  \
         export PATH={}:$PATH KUBECONFIG={}\n  \
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

struct Mezzo {
    program: PathBuf,
}

impl Mezzo {
    fn command(&self, arguments: &[&str]) -> Tool {
        Tool::new(&self.program).args(arguments)
    }

    /// Whether there is a pool that `mezzo down` would take down: it may be somebody's work.
    fn pool_is_running(&self) -> Result<bool> {
        Ok(self.command(&["master", "show"]).silent().status()?.success())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nodes_whose_ready_condition_is_true_count() {
        let text = r#"{"items": [
            {"status": {"conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}]}},
            {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}},
            {"status": {}}
        ]}"#;
        assert_eq!(ready_nodes(text).expect("a list"), 1);
    }
}
