//! Where things are in a pod's directory: names that executor, helper and agent must agree on.
use std::path::{Path, PathBuf};

/// A pod's directory.
#[derive(Debug, Clone)]
pub(crate) struct PodPaths {
    dir: PathBuf,
}

impl PodPaths {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
    /// The OCI runtime's own state, a directory per container. No container's name has a dot.
    pub(crate) fn state_root(&self) -> PathBuf {
        self.dir.join("run").join(".state")
    }
    /// What helper and executor leave each other about one container: adapted bundle, pid, error.
    pub(crate) fn container(&self, name: &str) -> PathBuf {
        self.dir.join("run").join(name)
    }
}
