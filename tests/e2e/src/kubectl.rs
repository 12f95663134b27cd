//! An unmodified kubectl, with the kubeconfig of one cluster.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::program::Program;
use crate::wait::until;

/// kubectl for one cluster.
#[derive(Debug)]
pub struct Kubectl {
    kubeconfig: PathBuf,
}

impl Kubectl {
    pub(crate) fn new(kubeconfig: &Path) -> Self {
        Self { kubeconfig: kubeconfig.to_path_buf() }
    }

    /// The same cluster, asked with a token alone.
    ///
    /// # Errors
    /// If the kubeconfig cannot be read, or the other not be written.
    pub fn with_token(&self, kubeconfig: &Path, token: &str) -> Result<Self> {
        let text = self.run(&["config", "view", "--raw", "--output", "json"])?;
        let mut document: Value = serde_json::from_str(&text).context("read the kubeconfig")?;
        for user in document["users"].as_array_mut().into_iter().flatten() {
            user["user"] = serde_json::json!({ "token": token });
        }
        std::fs::write(kubeconfig, document.to_string()).with_context(|| format!("write {}", kubeconfig.display()))?;
        Ok(Self::new(kubeconfig))
    }

    /// A command of kubectl.
    pub fn command(&self, arguments: &[&str]) -> Program {
        Program::new("kubectl").env("KUBECONFIG", &self.kubeconfig).args(arguments).within(Duration::from_secs(180))
    }

    /// What it prints.
    ///
    /// # Errors
    /// If it fails.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        self.command(arguments).run()
    }

    /// Objects as JSON.
    ///
    /// # Errors
    /// If it fails or prints something else.
    pub fn get(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.command(&["get", "--output", "json"]).args(arguments).run()?;
        serde_json::from_str(&text).context("read what kubectl printed")
    }

    /// Applies a manifest.
    ///
    /// # Errors
    /// If the cluster refuses it.
    pub fn apply(&self, scratch: &Path, manifest: &str) -> Result<()> {
        let path = scratch.join("manifest.yaml");
        std::fs::write(&path, manifest).with_context(|| format!("write {}", path.display()))?;
        self.command(&["apply", "--filename"]).args([&path]).run().map(drop)
    }

    /// One `kubectl get nodes` as its user would type it, with time for a second try.
    ///
    /// # Errors
    /// If nothing answers in that time.
    pub fn answers_within(&self, within: Duration) -> Result<()> {
        let begun = Instant::now();
        until("an answer of kubectl", within, || {
            Ok(self.command(&["get", "nodes", "--request-timeout=5s"]).within(within).output()?.status.success())
        })?;
        eprintln!("kubectl answered {:.1} s later", begun.elapsed().as_secs_f64());
        Ok(())
    }

    /// The names of the nodes that are Ready.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub fn ready_nodes(&self) -> Result<Vec<String>> {
        let list = self.get(&["nodes"])?;
        let mut names: Vec<String> =
            items(&list).iter().filter(|node| has_condition(node, "Ready")).map(name).collect();
        names.sort();
        Ok(names)
    }
}

/// The objects of a list.
pub fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map_or(&[], Vec::as_slice)
}

/// An object's name.
pub fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// Whether a condition of this kind is true.
pub fn has_condition(object: &Value, kind: &str) -> bool {
    object["status"]["conditions"].as_array().is_some_and(|conditions| {
        conditions.iter().any(|condition| condition["type"] == kind && condition["status"] == "True")
    })
}
