//! Names of images: `pool/<repository>[:tag|@digest]` is the pool's own master, `oci:<path>[:tag]` a layout or archive on
//! this machine, anything else a registry's.
use std::path::PathBuf;

use super::ImageError;

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageName {
    /// The pool's master.
    Pool {
        repository: String,
        /// A tag or a digest.
        version: String,
    },
    /// An OCI layout directory or archive.
    Layout { path: PathBuf, tag: Option<String> },
    /// A registry.
    Registry(Box<oci_client::Reference>),
}

impl ImageName {
    pub(crate) fn parse(name: &str) -> Result<Self, ImageError> {
        let bad = |problem: &str| ImageError::Name { name: name.to_owned(), problem: problem.to_owned() };
        if let Some(rest) = name.strip_prefix("oci:") {
            // A colon in the last component begins a tag.
            let (path, tag) = match rest.rsplit_once(':') {
                Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
                _ => (rest, None),
            };
            if !path.starts_with('/') {
                return Err(bad("the path of an OCI layout must be absolute"));
            }
            return Ok(ImageName::Layout { path: path.into(), tag });
        }
        if let Some(rest) = name.strip_prefix("pool/") {
            let (repository, version) = match rest.split_once('@') {
                Some((repository, digest)) => (repository.split(':').next().unwrap_or_default(), digest),
                None => rest.rsplit_once(':').unwrap_or((rest, "latest")),
            };
            let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | '/');
            if repository.is_empty()
                || !repository.chars().all(good)
                || repository.split('/').any(|part| matches!(part, "" | "." | ".."))
            {
                return Err(bad("a repository is made of a-z, 0-9, '.', '_', '-' and '/'"));
            }
            let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
            if version.is_empty() || !version.chars().all(good) {
                return Err(bad("a tag is made of letters, digits, '.', '_' and '-'"));
            }
            return Ok(ImageName::Pool { repository: repository.to_owned(), version: version.to_owned() });
        }
        let reference: oci_client::Reference =
            name.parse().map_err(|error: oci_client::ParseError| bad(&error.to_string()))?;
        Ok(ImageName::Registry(Box::new(reference)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_kinds_of_names_are_told_apart() {
        let pool = |repository: &str, version: &str| ImageName::Pool {
            repository: repository.into(),
            version: version.into(),
        };
        let layout = |path: &str, tag: Option<&str>| ImageName::Layout { path: path.into(), tag: tag.map(Into::into) };
        for (name, expected) in [
            ("pool/node:1.20.2", pool("node", "1.20.2")),
            ("pool/a/b", pool("a/b", "latest")),
            ("pool/node@sha256:ab", pool("node", "sha256:ab")),
            ("oci:/srv/images/x", layout("/srv/images/x", None)),
            ("oci:/srv/x.tar:v1", layout("/srv/x.tar", Some("v1"))),
        ] {
            assert_eq!(ImageName::parse(name).expect(name), expected);
        }
        assert!(matches!(ImageName::parse("registry.example/a:1"), Ok(ImageName::Registry(_))));
        for bad in ["", "pool/", "pool/../x", "pool/A", "oci:relative", "pool/a:b c"] {
            assert!(ImageName::parse(bad).is_err(), "{bad}");
        }
    }
}
