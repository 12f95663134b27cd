//! One package: its files, read and checked once.
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::limits::FILE_BYTES_MAX;
use crate::version::Version;

/// A package, ready to render.
#[derive(Debug, Clone)]
pub struct Package {
    /// What `package.toml` says.
    pub about: About,
    /// Its version, from `package.toml`.
    pub version: Version,
    /// The schema of its options.
    pub schema: Value,
    /// Every template of the folder by file name.
    pub(crate) templates: BTreeMap<String, String>,
}

/// `package.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One line.
    pub summary: String,
    /// A few paragraphs.
    #[serde(default)]
    pub description: String,
    /// Whether its framework asks for privileged tasks: installing it then needs the operator's word.
    #[serde(default)]
    pub privileged: bool,
    /// File name of the template of its service.
    pub service: String,
    /// File name of the template that says what its pods need; empty: nothing is known, and nothing is checked.
    #[serde(default)]
    pub preflight: String,
    /// Names of artifacts (`mezzo artifact push NAME FILE`) it cannot do without.
    #[serde(default)]
    pub artifacts: Vec<String>,
    /// Images (`pool/<name>:<tag>`) it uses, for those who carry them to a pool without a registry.
    #[serde(default)]
    pub images: Vec<String>,
    /// Shown after an installation; `{name}` stands for its name.
    #[serde(default)]
    pub next_steps: Vec<String>,
}

/// Why a folder is no package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A file is not there.
    #[error("package {package} has no file {file}")]
    Missing {
        /// Which package.
        package: String,
        /// Which file.
        file: String,
    },
    /// A file is beyond [`FILE_BYTES_MAX`].
    #[error("file {file} of package {package} is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge {
        /// Which package.
        package: String,
        /// Which file.
        file: String,
    },
    /// `package.toml` is not what it must be.
    #[error("read package.toml of package {package}")]
    About {
        /// Which package.
        package: String,
        /// What is wrong.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// `options.schema.json` is no JSON.
    #[error("read options.schema.json of package {package}")]
    SchemaText {
        /// Which package.
        package: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// `options.schema.json` is no JSON Schema, or a default does not obey it.
    #[error("options.schema.json of package {package}: {reason}")]
    Schema {
        /// Which package.
        package: String,
        /// What is wrong.
        reason: String,
    },
    /// A name or version is not allowed.
    #[error("package {package}: {reason}")]
    Name {
        /// Which package.
        package: String,
        /// What is wrong.
        reason: String,
    },
    /// A template does not parse.
    #[error("read template {file} of package {package}")]
    Template {
        /// Which package.
        package: String,
        /// Which file.
        file: String,
        /// What is wrong.
        #[source]
        source: Box<minijinja::Error>,
    },
}

impl Package {
    /// Reads a package from its files.
    ///
    /// # Errors
    /// [`PackageError`] naming the file at fault.
    pub fn from_files<'a>(
        folder: &str,
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, PackageError> {
        let package = || folder.to_owned();
        let mut files: BTreeMap<&str, &str> = files.into_iter().collect();
        if let Some((file, _)) = files.iter().find(|(_, text)| text.len() > FILE_BYTES_MAX) {
            return Err(PackageError::TooLarge { package: package(), file: (*file).to_owned() });
        }
        let mut take = |file: &str| {
            files
                .remove(file)
                .ok_or_else(|| PackageError::Missing { package: folder.to_owned(), file: file.to_owned() })
        };
        let about: About = toml::from_str(take("package.toml")?)
            .map_err(|source| PackageError::About { package: package(), source: Box::new(source) })?;
        let schema: Value = serde_json::from_str(take("options.schema.json")?)
            .map_err(|source| PackageError::SchemaText { package: package(), source })?;
        crate::name::check(&about.name)
            .map_err(|refusal| PackageError::Name { package: package(), reason: refusal.message })?;
        let version = Version::new(&about.version).ok_or_else(|| PackageError::Name {
            package: package(),
            reason: format!("'{}' cannot be a version", about.version),
        })?;
        crate::options::check_schema(&schema).map_err(|reason| PackageError::Schema { package: package(), reason })?;
        let templates: BTreeMap<String, String> = files
            .into_iter()
            .filter(|(file, _)| file.ends_with(".j2"))
            .map(|(file, text)| (file.to_owned(), text.to_owned()))
            .collect();
        if !templates.contains_key(&about.service) {
            return Err(PackageError::Missing { package: package(), file: about.service.clone() });
        }
        if !about.preflight.is_empty() && !templates.contains_key(&about.preflight) {
            return Err(PackageError::Missing { package: package(), file: about.preflight.clone() });
        }
        for (file, text) in &templates {
            minijinja::Environment::new().template_from_str(text).map_err(|source| PackageError::Template {
                package: package(),
                file: file.clone(),
                source: Box::new(source),
            })?;
        }
        Ok(Self { about, version, schema, templates })
    }
    /// The name.
    pub fn name(&self) -> &str {
        &self.about.name
    }
}
