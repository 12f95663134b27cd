//! The `mezzo` program of this workspace as the operator of one local pool, and what every pool needs before a cluster can be
//! installed on it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::images::{self, Image};
use crate::interrupt;
use crate::paths::{Cache, Workspace};
use crate::tool::Tool;

/// Programs that packages run on agents, uploaded as artifacts under these names.
const ARTIFACTS: [&str; 2] = ["mezzo-kubernetes", "mezzo-hello"];

/// An installation has waited for the nodes already; a pool that was down brings them back meanwhile.
const NODES_READY_WITHIN: Duration = Duration::from_secs(180);

pub(crate) struct Mezzo {
    pub(crate) program: PathBuf,
    environment: Vec<(&'static str, PathBuf)>,
}

impl Mezzo {
    /// As the operator whom `mezzo` takes by itself, of the pool at `master`.
    pub(crate) fn at(workspace: &Workspace, master: &str) -> Self {
        Self { program: workspace.program("mezzo"), environment: vec![("MEZZO_MASTER", master.into())] }
    }

    /// As the operator whose identity is in a directory.
    pub(crate) fn with_identity(mut self, directory: &Path) -> Self {
        self.environment.push(("MEZZO_IDENTITY", directory.to_owned()));
        self
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Tool {
        self.environment
            .iter()
            .fold(Tool::new(&self.program), |tool, (key, value)| tool.env(key, value))
            .args(arguments)
    }

    /// Everything that packages refer to.
    pub(crate) fn upload(&self, workspace: &Workspace, cache: &Cache, images: &[Image]) -> Result<()> {
        for image in images {
            self.command(&["image", "push"]).arg(&image.layout).arg(image.reference()).run()?;
        }
        let scratch = cache.scratch()?;
        for name in ARTIFACTS {
            // Debug information is most of the file, and every agent downloads it.
            let stripped = scratch.path().join(name);
            Tool::new("strip")
                .args(["--strip-debug", "-o"])
                .arg(&stripped)
                .arg(workspace.program(name))
                .quiet()
                .run()?;
            self.command(&["artifact", "push", name]).arg(&stripped).run()?;
        }
        Ok(())
    }
}

/// Builds our programs and the images.
pub(crate) fn build(workspace: &Workspace, cache: &Cache) -> Result<Vec<Image>> {
    workspace.build()?;
    images::build(workspace, cache, &[])
}

/// Waits until kubectl sees so many Ready nodes.
pub(crate) fn wait_for_nodes(kubeconfig: &Path, nodes: usize) -> Result<()> {
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
        if ready >= nodes {
            return Ok(());
        }
        if interrupt::requested() {
            bail!("interrupted");
        }
        if Instant::now() >= deadline {
            seen.context("ask the cluster for its nodes")?;
            bail!("kubectl sees {ready} of {nodes} nodes Ready after {} s", NODES_READY_WITHIN.as_secs());
        }
        std::thread::sleep(Duration::from_millis(200));
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
