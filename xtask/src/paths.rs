//! Where things are: the workspace and its target directory, and the cache that outlives both.
//!
//! The cache is `$MEZZO_CACHE`, else `$XDG_CACHE_HOME/mezzo`, else `/var/cache/mezzo`. It only saves time: everything in
//! it can be deleted at any moment and is made again.

use std::cell::Cell;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::tool::Tool;

pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    /// Whether its programs are as they should be.
    is_built: Cell<bool>,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        let text = Tool::cargo().args(["metadata", "--no-deps", "--format-version", "1"]).quiet().output()?;
        let metadata: serde_json::Value = serde_json::from_str(&text).context("read cargo metadata")?;
        let field = |name: &str| {
            metadata[name].as_str().map(PathBuf::from).ok_or_else(|| anyhow!("cargo metadata has no {name}"))
        };
        Ok(Self { root: field("workspace_root")?, target: field("target_directory")?, is_built: Cell::new(false) })
    }

    /// A program of ours, as `cargo build` leaves it.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(name)
    }

    /// Builds the programs of all packages, once. Never those of some: cargo chooses the features of a library by the packages
    /// it builds together, and would compile most libraries anew for every other choice.
    pub(crate) fn build(&self) -> Result<()> {
        if !self.is_built.get() {
            Tool::cargo().args(["build", "--workspace", "--bins"]).directory(&self.root).run()?;
            self.take_as_built();
        }
        Ok(())
    }

    /// The programs are taken as they are.
    pub(crate) fn take_as_built(&self) {
        self.is_built.set(true);
    }
}

pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    pub(crate) fn open() -> Result<Self> {
        let root = match (env::var_os("MEZZO_CACHE"), env::var_os("XDG_CACHE_HOME")) {
            (Some(path), _) => PathBuf::from(path),
            (None, Some(path)) => Path::new(&path).join("mezzo"),
            (None, None) => PathBuf::from("/var/cache/mezzo"),
        };
        fs::create_dir_all(&root).with_context(|| format!("create the cache directory {}", root.display()))?;
        let root = fs::canonicalize(&root).with_context(|| format!("find the cache directory {}", root.display()))?;
        Ok(Self { root })
    }

    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// A directory of the cache, made if it is missing.
    pub(crate) fn directory(&self, relative: impl AsRef<Path>) -> Result<PathBuf> {
        let path = self.path(relative);
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(path)
    }

    /// A scratch directory on the cache's own file system, so that a finished result is moved by a rename.
    pub(crate) fn scratch(&self) -> Result<tempfile::TempDir> {
        let parent = self.directory("tmp")?;
        tempfile::Builder::new()
            .prefix("work-")
            .tempdir_in(&parent)
            .with_context(|| format!("create a scratch directory in {}", parent.display()))
    }

    /// Waits until no other `xtask` changes the cache; unlocked when the value is dropped.
    pub(crate) fn lock(&self) -> Result<File> {
        let path = self.path("lock");
        let file = File::create(&path).with_context(|| format!("open the lock {}", path.display()))?;
        if file.try_lock().is_err() {
            eprintln!("waiting for another xtask that uses {}", self.root.display());
            file.lock().with_context(|| format!("lock {}", path.display()))?;
        }
        Ok(file)
    }
}
