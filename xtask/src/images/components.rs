//! The programs of Kubernetes, compiled from Debian's source package, which is the whole upstream tree. This takes minutes, so
//! the result is kept in `<cache>/kubernetes-bin/<version>/`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::apt;
use crate::paths::Cache;
use crate::tool::Tool;

/// The version that every image and every package of the catalog is made for.
pub(super) const VERSION: &str = "1.20.2";

const PROGRAMS: [&str; 6] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"];

/// The compiled programs.
pub(super) struct Components {
    directory: PathBuf,
}

impl Components {
    /// Takes them from the cache, or compiles them.
    pub(super) fn get(cache: &Cache) -> Result<Self> {
        let directory = cache.path("kubernetes-bin").join(VERSION);
        if !PROGRAMS.iter().all(|program| directory.join(program).is_file()) {
            eprintln!("compiling Kubernetes {VERSION} from Debian's source, once for this cache: 5 to 15 minutes");
            compile(cache, &directory).with_context(|| format!("compile Kubernetes {VERSION}"))?;
        }
        Ok(Self { directory })
    }

    pub(super) fn into_directory(self) -> PathBuf {
        self.directory
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Changes when any of the programs does.
    pub(super) fn key(&self, names: &[&str]) -> Result<String> {
        let mut key = VERSION.to_owned();
        for name in names {
            let path = self.program(name);
            let metadata = fs::metadata(&path).with_context(|| format!("look at {}", path.display()))?;
            key.push_str(&format!(" {name} {} {}.{}", metadata.len(), metadata.mtime(), metadata.mtime_nsec()));
        }
        Ok(key)
    }
}

fn compile(cache: &Cache, destination: &Path) -> Result<()> {
    let scratch = cache.scratch()?;
    let work = scratch.path();
    let description = apt::SourcePackages::open(work)?.download("kubernetes", work)?;
    let version = upstream(&description)?;
    if version != VERSION {
        bail!("the archive has version {version}, the images are made for {VERSION}");
    }
    let tree = work.join("kubernetes");
    Tool::new("dpkg-source").args(["--no-check", "--extract"]).arg(&description).arg(&tree).run()?;

    // Without it every program calls itself v0.0.0-master.
    let version_file = work.join("version");
    let mut parts = VERSION.split('.');
    fs::write(
        &version_file,
        format!(
            "KUBE_GIT_COMMIT='debian'\nKUBE_GIT_TREE_STATE='clean'\nKUBE_GIT_VERSION='v{VERSION}'\n\
             KUBE_GIT_MAJOR='{}'\nKUBE_GIT_MINOR='{}'\n",
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default()
        ),
    )
    .with_context(|| format!("write {}", version_file.display()))?;
    let wanted = PROGRAMS.map(|program| format!("cmd/{program}")).join(" ");
    Tool::new("make")
        .args(["all", &format!("WHAT={wanted}")])
        .directory(&tree)
        .env("KUBE_GIT_VERSION_FILE", &version_file)
        .env("GOLDFLAGS", "-s -w")
        .env("GOFLAGS", "-mod=vendor")
        .env("GO111MODULE", "off")
        .env("GOCACHE", cache.directory("gocache")?)
        .run()?;

    let built = work.join("built");
    fs::create_dir(&built).with_context(|| format!("create {}", built.display()))?;
    for program in PROGRAMS {
        let from = tree.join("_output/bin").join(program);
        fs::rename(&from, built.join(program)).with_context(|| format!("move {}", from.display()))?;
    }
    // An incomplete set of an earlier attempt.
    if destination.exists() {
        fs::remove_dir_all(destination).with_context(|| format!("delete {}", destination.display()))?;
    }
    cache.directory("kubernetes-bin")?;
    fs::rename(&built, destination).with_context(|| format!("move {}", destination.display()))?;
    // The compiler's own cache is of no use once the programs are there.
    fs::remove_dir_all(cache.path("gocache")).context("delete the compiler's cache")
}

/// `1.20.2` from `kubernetes_1.20.5+really1.20.2-1.1+deb12u1.dsc`.
fn upstream(description: &Path) -> Result<String> {
    let name = description.file_name().unwrap_or_default().to_string_lossy();
    let version = name
        .split_once('_')
        .and_then(|(_, version)| version.split('-').next())
        .map(|version| version.rsplit("really").next().unwrap_or(version));
    version.map(str::to_owned).with_context(|| format!("read the version in {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_debian_says_it_really_is() {
        for (name, version) in
            [("kubernetes_1.20.5+really1.20.2-1.1+deb12u1.dsc", "1.20.2"), ("kubernetes_1.32.3+ds-1.dsc", "1.32.3+ds")]
        {
            assert_eq!(upstream(Path::new(name)).expect("a version"), version);
        }
    }
}
