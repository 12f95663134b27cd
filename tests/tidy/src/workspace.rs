//! The workspace as cargo sees it: which packages there are, where, and which of them depend on which.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::source::SourceFile;

/// All packages of the workspace.
#[derive(Debug)]
pub struct Workspace {
    /// The directory with the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// In the order in which the workspace lists them.
    pub packages: Vec<Package>,
}

/// One package.
#[derive(Debug)]
pub struct Package {
    /// As others depend on it.
    pub name: String,
    /// Relative to the workspace.
    pub folder: String,
    /// What it needs to run, our own and others'.
    pub dependencies: BTreeSet<String>,
}

impl Workspace {
    /// The workspace that this test was built from.
    pub fn open() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .context("find the workspace above tests/tidy")?
            .to_path_buf();
        let manifest = manifest(&root.join("Cargo.toml"))?;
        let members = manifest["workspace"]["members"].as_array().context("find the members of the workspace")?;
        let packages = members
            .iter()
            .filter_map(toml::Value::as_str)
            .map(|folder| Package::read(&root, folder))
            .collect::<Result<_>>()?;
        Ok(Self { root, packages })
    }

    /// The package called `name`.
    pub fn package(&self, name: &str) -> &Package {
        self.packages
            .iter()
            .find(|package| package.name == name)
            .unwrap_or_else(|| panic!("the workspace has no package {name}"))
    }

    /// The names of all packages.
    pub fn names(&self) -> BTreeSet<&str> {
        self.packages.iter().map(|package| package.name.as_str()).collect()
    }

    /// The Rust files of one package, its tests included, those of packages below its folder excluded.
    pub fn sources(&self, package: &Package) -> Result<Vec<SourceFile>> {
        let mut files = Vec::new();
        for folder in ["src", "tests", "benches", "examples"] {
            let directory = self.root.join(&package.folder).join(folder);
            // `tests` of a package in the root's `tests` folder is its own.
            if directory.is_dir() {
                SourceFile::collect(&self.root, &directory, &mut files)?;
            }
        }
        let build = self.root.join(&package.folder).join("build.rs");
        if build.is_file() {
            files.push(SourceFile::read(&self.root, &build)?);
        }
        Ok(files)
    }

    /// The Rust files of all packages.
    pub fn all_sources(&self) -> Result<Vec<SourceFile>> {
        let mut files = Vec::new();
        for package in &self.packages {
            files.append(&mut self.sources(package)?);
        }
        Ok(files)
    }

    /// Every file that is kept in the repository and is text, with its path.
    pub fn kept_files(&self) -> Result<Vec<(String, String)>> {
        let mut files = Vec::new();
        collect_kept(&self.root, &self.root, &mut files)?;
        Ok(files)
    }
}

impl Package {
    fn read(root: &Path, folder: &str) -> Result<Self> {
        let manifest = manifest(&root.join(folder).join("Cargo.toml"))?;
        let name = manifest["package"]["name"].as_str().context("find the package's name")?.to_owned();
        let dependencies = manifest
            .get("dependencies")
            .and_then(toml::Value::as_table)
            .map(|table| table.keys().cloned().collect())
            .unwrap_or_default();
        Ok(Self { name, folder: folder.to_owned(), dependencies })
    }
}

fn manifest(path: &Path) -> Result<toml::Value> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let table: toml::Table = toml::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
    Ok(toml::Value::Table(table))
}

fn collect_kept(root: &Path, directory: &Path, files: &mut Vec<(String, String)>) -> Result<()> {
    let mut entries: Vec<PathBuf> = fs::read_dir(directory)
        .with_context(|| format!("list {}", directory.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    entries.sort();
    for path in entries {
        let relative = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        if matches!(relative.as_str(), ".git" | "target" | "Cargo.lock") {
            continue;
        }
        if path.is_dir() {
            collect_kept(root, &path, files)?;
        } else if let Ok(text) = fs::read_to_string(&path) {
            files.push((relative, text));
        }
    }
    Ok(())
}
