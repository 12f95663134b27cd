//! Debian's package archive as this machine reaches it: the sources are taken from the machine's own configuration, in whichever
//! form it has, so that no address of an archive is written here. The machine's configuration is never changed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::tool::Tool;

/// The release of Debian whose packages the images are made from.
pub(crate) const RELEASE: &str = "bookworm";

/// Brings the package lists up to date.
pub(crate) fn update() -> Result<()> {
    Tool::new("apt-get").args(["update", "--quiet"]).env("DEBIAN_FRONTEND", "noninteractive").run()
}

/// One archive of Debian itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    address: String,
    release: String,
    component: String,
}

/// The archives of Debian that the machine is configured with; other vendors' are left out.
pub(crate) fn debian_sources() -> Result<BTreeSet<Source>> {
    let mut sources = read_sources()?;
    if sources.is_empty() {
        update()?;
        sources = read_sources()?;
    }
    if sources.is_empty() {
        bail!("no archive of Debian is configured for apt on this machine");
    }
    Ok(sources)
}

fn read_sources() -> Result<BTreeSet<Source>> {
    let text = Tool::new("apt-get")
        .args(["indextargets", "--format"])
        .arg("$(CREATED_BY)|$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)")
        .quiet()
        .output()?;
    Ok(text
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split('|').collect();
            let ["Packages", "Debian", address, release, component] = fields[..] else {
                return None;
            };
            Some(Source { address: address.to_owned(), release: release.to_owned(), component: component.to_owned() })
        })
        .collect())
}

/// What apt would install now, for a cache key: one `package version` per line.
pub(crate) fn candidates(packages: &[&str]) -> Result<String> {
    debian_sources()?;
    let text = Tool::new("apt-cache").arg("policy").args(packages).quiet().output()?;
    let mut versions = String::new();
    let mut package = "";
    for line in text.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|_| !line.starts_with(' ')) {
            package = name;
        } else if let Some(version) = line.trim().strip_prefix("Candidate: ") {
            if version == "(none)" {
                bail!("Debian's package {package} is not in the configured archives");
            }
            let _ = writeln!(versions, "{package} {version}");
        }
    }
    Ok(versions)
}

/// The versions of installed packages, for a cache key: one `package version` per line.
pub(crate) fn installed(packages: &[&str]) -> Result<String> {
    Tool::new("dpkg-query").args(["--show", "--showformat=${Package} ${Version}\\n"]).args(packages).quiet().output()
}

/// Writes the archives in apt's one-line form.
pub(crate) fn write_sources(sources: &BTreeSet<Source>, kind: &str, path: &Path) -> Result<()> {
    let mut text = String::new();
    for Source { address, release, component } in sources {
        let _ = writeln!(text, "{kind} {address} {release} {component}");
    }
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// Asks the archive for source packages, with lists of its own, beside the machine's configuration.
pub(crate) struct SourcePackages {
    options: Vec<String>,
}

impl SourcePackages {
    pub(crate) fn open(scratch: &Path) -> Result<Self> {
        let list = scratch.join("deb-src.list");
        write_sources(&debian_sources()?, "deb-src", &list)?;
        let directory = |name: &str| -> Result<PathBuf> {
            let path = scratch.join(name);
            fs::create_dir_all(path.join("partial")).with_context(|| format!("create {}", path.display()))?;
            Ok(path)
        };
        let options = vec![
            format!("Dir::Etc::SourceList={}", list.display()),
            format!("Dir::Etc::SourceParts={}", directory("no-parts")?.display()),
            format!("Dir::State::Lists={}", directory("lists")?.display()),
            format!("Dir::Cache::Archives={}", directory("archives")?.display()),
            // Without these, apt would write the machine's own binary caches from our lists.
            "Dir::Cache::pkgcache=".to_owned(),
            "Dir::Cache::srcpkgcache=".to_owned(),
            // Otherwise the downloader drops to a user who cannot write here, and says so.
            "APT::Sandbox::User=root".to_owned(),
        ];
        let opened = Self { options };
        opened.apt("apt-get").args(["update", "--quiet"]).run()?;
        Ok(opened)
    }

    /// Downloads the newest source package into `directory` and gives the path of its `.dsc`.
    pub(crate) fn download(&self, package: &str, directory: &Path) -> Result<PathBuf> {
        self.apt("apt-get").args(["source", "--download-only", "--quiet", package]).directory(directory).run()?;
        fs::read_dir(directory)
            .with_context(|| format!("list {}", directory.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "dsc"))
            .with_context(|| format!("find the description of source package {package}"))
    }

    fn apt(&self, program: &str) -> Tool {
        let mut tool = Tool::new(program);
        for option in &self.options {
            tool = tool.args(["--option", option]);
        }
        tool
    }
}
