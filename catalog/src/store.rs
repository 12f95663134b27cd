//! Every package of a pool, by name and version; where they are read from.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::Refusal;
use serde_json::Value;

use crate::options::OptionError;
use crate::package::{Package, PackageError};
use crate::render::{RenderError, Rendered};
use crate::version::Version;

/// The packages that can be installed.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    packages: BTreeMap<String, BTreeMap<Version, Package>>,
}

/// One line of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The package.
    pub name: String,
    /// Newest first.
    pub versions: Vec<String>,
    /// One line of the newest.
    pub summary: String,
}

/// Why packages could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A folder or file could not be read.
    #[error("read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A package is wrong.
    #[error(transparent)]
    Package(#[from] PackageError),
}

impl Catalog {
    /// The packages of this release.
    ///
    /// # Errors
    /// If one is wrong, which a test of this crate excludes.
    pub fn embedded() -> Result<Self, CatalogError> {
        let mut catalog = Self::default();
        for (folder, files) in crate::embedded::FILES {
            catalog.add(Package::from_files(folder, files.iter().copied())?);
        }
        Ok(catalog)
    }

    /// The packages of a folder: `<name>/<version>/`, or the folder is itself a package.
    ///
    /// # Errors
    /// If something cannot be read or a package is wrong.
    pub fn load_dir(folder: &Path) -> Result<Self, CatalogError> {
        let mut catalog = Self::default();
        if folder.join("package.toml").is_file() {
            catalog.add(load_package(folder)?);
            return Ok(catalog);
        }
        for name in folders(folder)? {
            for version in folders(&name)? {
                if version.join("package.toml").is_file() {
                    catalog.add(load_package(&version)?);
                }
            }
        }
        Ok(catalog)
    }

    /// Takes a package in; one of the same name and version is replaced.
    pub fn add(&mut self, package: Package) {
        self.packages.entry(package.about.name.clone()).or_default().insert(package.version.clone(), package);
    }

    /// Takes in all of `other`; it wins where both have a version.
    pub fn merge(&mut self, other: Catalog) {
        for package in other.packages.into_values().flat_map(BTreeMap::into_values) {
            self.add(package);
        }
    }

    /// Packages whose name, summary or description holds `text`; all if it is empty.
    pub fn search(&self, text: &str) -> Vec<Summary> {
        let text = text.to_lowercase();
        let mut found = Vec::new();
        for (name, versions) in &self.packages {
            let Some(newest) = versions.values().next_back() else { continue };
            let about = &newest.about;
            if [&about.name, &about.summary, &about.description]
                .iter()
                .any(|field| field.to_lowercase().contains(&text))
            {
                found.push(Summary { name: name.clone(), versions: texts(versions), summary: about.summary.clone() });
            }
        }
        found
    }

    /// Every version of a package, newest first; empty if it is unknown.
    pub fn versions(&self, name: &str) -> Vec<String> {
        self.packages.get(name).map(texts).unwrap_or_default()
    }

    /// One package; the newest version if `version` is empty.
    ///
    /// # Errors
    /// A [`Refusal`] that names what is there.
    pub fn show(&self, name: &str, version: &str) -> Result<&Package, Refusal> {
        let Some(versions) = self.packages.get(name) else {
            let near = crate::options::nearest(name, self.packages.keys().map(String::as_str));
            let hint = near.map(|near| format!(" (did you mean '{near}'?)")).unwrap_or_default();
            return Err(Refusal::new(
                "CAT0002",
                format!("there is no package '{name}'{hint}"),
                "list packages with: mezzo catalog search",
            )
            .at("package"));
        };
        let found = if version.is_empty() {
            versions.values().next_back()
        } else {
            versions.values().find(|p| p.about.version == version)
        };
        found.ok_or_else(|| {
            Refusal::new(
                "CAT0003",
                format!("package '{name}' has no version '{version}'"),
                format!("its versions are: {}", texts(versions).join(", ")),
            )
            .at("version")
        })
    }

    /// Renders an installation: see [`crate::render::render`].
    ///
    /// # Errors
    /// [`RenderError`], with every option at fault.
    pub fn render(
        &self,
        package: &str,
        version: &str,
        name: &str,
        options: &Value,
        artifact_digests: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Rendered, RenderError> {
        let package = self.show(package, version).map_err(RenderError::Refused)?;
        crate::render::render(package, name, options, artifact_digests)
    }

    /// Whether an installation of `package` at `version` may change its options from `old` to `new` (both complete).
    ///
    /// # Errors
    /// One [`OptionError`] per immutable option that differs.
    pub fn check_update(package: &Package, old: &Value, new: &Value) -> Result<(), Vec<OptionError>> {
        let errors = crate::options::immutable_changes(&package.schema, old, new);
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

fn texts(versions: &BTreeMap<Version, Package>) -> Vec<String> {
    versions.keys().rev().map(|version| version.as_str().to_owned()).collect()
}

fn read_error(path: &Path) -> impl FnOnce(std::io::Error) -> CatalogError + '_ {
    move |source| CatalogError::Read { path: path.to_owned(), source }
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>, CatalogError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read_error(folder))? {
        let path = entry.map_err(read_error(folder))?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn load_package(folder: &Path) -> Result<Package, CatalogError> {
    let mut files: Vec<(String, String)> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read_error(folder))? {
        let path = entry.map_err(read_error(folder))?.path();
        let wanted = path.extension().is_some_and(|end| end == "toml" || end == "json" || end == "j2");
        if let Some(name) = path.file_name().and_then(|name| name.to_str())
            && wanted
        {
            files.push((name.to_owned(), std::fs::read_to_string(&path).map_err(read_error(&path))?));
        }
    }
    let files = files.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    Ok(Package::from_files(&folder.display().to_string(), files)?)
}
