//! Image archives of a cluster: what an archive holds by its own words, and the list of archives that every node has.
//!
//! Archives are those of `docker save` and OCI layouts, as tar files. Names are written as the container runtime keeps
//! them: with their registry.
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::limits;

/// The file of a docker-archive that names its images.
pub const DOCKER_MANIFEST: &str = "manifest.json";
/// The file of an OCI layout that names its images.
pub const OCI_INDEX: &str = "index.json";

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const IMAGE_NAME: &str = "io.containerd.image.name";

/// One archive that every node has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// SHA-256 of the file, in hex: its name in the pool's store.
    pub digest: String,
    /// What the file was called.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// The images in it.
    pub images: Vec<String>,
    /// Put before the tags of an archive that has nothing but tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// When it was loaded (seconds since the epoch).
    pub loaded: u64,
}

/// What an archive says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The images in it, ascending.
    pub images: Vec<String>,
    /// As in [`Archive::base`].
    pub base: Option<String>,
}

/// Why a file is no archive that can be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoArchive {
    /// Neither of the two files is in it.
    #[error("it has neither {DOCKER_MANIFEST} (docker) nor {OCI_INDEX} (OCI)")]
    NoManifest,
    /// One of them cannot be read.
    #[error("its {0} cannot be read: {1}")]
    Malformed(&'static str, String),
    /// Images without a name cannot be asked for by a pod.
    #[error("its images have no names")]
    NoNames,
}

/// Reads what an archive has of the two files. `file` is what the archive is called.
///
/// # Errors
/// If it is none, or no image in it has a name.
pub fn content(file: &str, docker: Option<&[u8]>, oci: Option<&[u8]>) -> Result<Content, NoArchive> {
    // Newer `docker save` writes both, and the index names the images fully.
    let (mut images, base) = match (oci.map(|text| oci_names(file, text)).transpose()?, docker) {
        (Some((images, base)), None) => (images, base),
        (Some((images, base)), Some(_)) if base.is_none() && !images.is_empty() => (images, None),
        (_, Some(text)) => (docker_names(text)?, None),
        (None, None) => return Err(NoArchive::NoManifest),
    };
    images.sort_unstable();
    images.dedup();
    if images.is_empty() { Err(NoArchive::NoNames) } else { Ok(Content { images, base }) }
}

fn docker_names(text: &[u8]) -> Result<Vec<String>, NoArchive> {
    let malformed = |why: String| NoArchive::Malformed(DOCKER_MANIFEST, why);
    let manifest: Value = serde_json::from_slice(text).map_err(|error| malformed(error.to_string()))?;
    let images = manifest.as_array().ok_or_else(|| malformed("it is no list".to_owned()))?;
    let tags = images.iter().flat_map(|image| image["RepoTags"].as_array().into_iter().flatten());
    Ok(tags.filter_map(Value::as_str).map(full_name).collect())
}

fn oci_names(file: &str, text: &[u8]) -> Result<(Vec<String>, Option<String>), NoArchive> {
    let malformed = |why: String| NoArchive::Malformed(OCI_INDEX, why);
    let index: Value = serde_json::from_slice(text).map_err(|error| malformed(error.to_string()))?;
    let manifests = index["manifests"].as_array().ok_or_else(|| malformed("it has no list of manifests".to_owned()))?;
    let (mut named, mut tags) = (Vec::new(), Vec::new());
    for manifest in manifests {
        let annotation = |key: &str| manifest["annotations"][key].as_str().filter(|text| !text.is_empty());
        match (annotation(IMAGE_NAME), annotation(REF_NAME)) {
            (Some(name), _) => named.push(full_name(name)),
            // A reference with a repository is a name; without one it is a tag.
            (None, Some(name)) if name.contains(['/', ':', '@']) => named.push(name.to_owned()),
            (None, Some(tag)) => tags.push(tag.to_owned()),
            (None, None) => {}
        }
    }
    if !named.is_empty() || tags.is_empty() {
        return Ok((named, None));
    }
    let base = format!("docker.io/library/{}", stem(file));
    Ok((tags.iter().map(|tag| format!("{base}:{tag}")).collect(), Some(base)))
}

/// `app` of `/tmp/App.tar.gz`: a file's name as the name of an image.
fn stem(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file).to_ascii_lowercase();
    let name = [".tar.gz", ".tgz", ".tar", ".oci"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' }).collect();
    let plain = plain.trim_matches(['-', '_', '.']);
    if plain.is_empty() { "image".to_owned() } else { plain.to_owned() }
}

/// A name with registry and tag: `busybox` is `docker.io/library/busybox:latest`.
pub fn full_name(name: &str) -> String {
    let (first, rest) = name.split_once('/').unwrap_or(("", name));
    let has_registry = first.contains(['.', ':']) || first == "localhost";
    let named = match (first, has_registry) {
        (_, true) => name.to_owned(),
        ("", false) => format!("docker.io/library/{rest}"),
        (_, false) => format!("docker.io/{name}"),
    };
    let last = named.rsplit('/').next().unwrap_or(&named);
    if last.contains([':', '@']) { named } else { format!("{named}:latest") }
}

/// Adds an archive to the list; one of the same content takes the other's place.
///
/// # Errors
/// If there are too many.
pub fn add(list: &mut Vec<Archive>, archive: Archive) -> Result<(), String> {
    if let Some(present) = list.iter_mut().find(|present| present.digest == archive.digest) {
        *present = archive;
        return Ok(());
    }
    if list.len() >= limits::ARCHIVES_MAX {
        return Err(format!("{} archives are loaded, which is as many as there can be", list.len()));
    }
    list.push(archive);
    Ok(())
}

/// Takes out the archives that `what` names: a digest (or its beginning), a file, or an image.
pub fn remove(list: &mut Vec<Archive>, what: &str) -> Vec<Archive> {
    let hex = what.strip_prefix("sha256:").unwrap_or(what);
    let is_digest = hex.len() >= 12 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    let image = full_name(what);
    let is_meant = |archive: &Archive| {
        (is_digest && archive.digest.starts_with(hex)) || archive.file == what || archive.images.contains(&image)
    };
    let (gone, kept) = std::mem::take(list).into_iter().partition(is_meant);
    *list = kept;
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(digest: &str, file: &str, image: &str) -> Archive {
        Archive {
            digest: digest.repeat(64 / digest.len()),
            file: file.to_owned(),
            bytes: 1,
            images: vec![image.to_owned()],
            base: None,
            loaded: 0,
        }
    }

    #[test]
    fn a_docker_archive_names_its_images_and_short_names_become_full() {
        let text = br#"[{"Config":"x.json","RepoTags":["app:1","ghcr.io/a/b:2"],"Layers":[]}]"#;
        let found = content("app.tar", Some(text), None).expect("an archive");
        assert_eq!(found.images, ["docker.io/library/app:1", "ghcr.io/a/b:2"]);
        assert_eq!(found.base, None);
    }

    #[test]
    fn an_oci_layout_with_nothing_but_a_tag_is_called_as_its_file() {
        let text =
            br#"{"manifests":[{"digest":"sha256:0","annotations":{"org.opencontainers.image.ref.name":"1.0"}}]}"#;
        let found = content("/tmp/My App.tar.gz", None, Some(text)).expect("an archive");
        assert_eq!(found.images, ["docker.io/library/my-app:1.0"]);
        assert_eq!(found.base.as_deref(), Some("docker.io/library/my-app"));
        let text =
            br#"{"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"docker.io/library/app:1"}},{}]}"#;
        let found = content("x.tar", None, Some(text)).expect("an archive");
        assert_eq!((found.images, found.base), (vec!["docker.io/library/app:1".to_owned()], None));
    }

    #[test]
    fn both_files_mean_a_newer_docker_and_the_index_counts() {
        let index = br#"{"manifests":[{"annotations":{"io.containerd.image.name":"docker.io/library/app:1"}}]}"#;
        let docker = br#"[{"RepoTags":["app:1"]}]"#;
        let found = content("x.tar", Some(docker), Some(index)).expect("an archive");
        assert_eq!(found.images, ["docker.io/library/app:1"]);
        let tags_only = br#"{"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"1"}}]}"#;
        assert_eq!(content("x.tar", Some(docker), Some(tags_only)).expect("one").base, None);
    }

    #[test]
    fn what_is_no_archive_is_said_in_words() {
        assert_eq!(content("x", None, None), Err(NoArchive::NoManifest));
        assert_eq!(content("x", Some(br#"[{"RepoTags":null}]"#), None), Err(NoArchive::NoNames));
        let error = content("x", Some(b"{"), None).expect_err("no JSON");
        assert!(error.to_string().starts_with("its manifest.json cannot be read"), "{error}");
    }

    #[test]
    fn names_are_those_of_the_runtime() {
        for (name, full) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("me/app:2", "docker.io/me/app:2"),
            ("localhost/app", "localhost/app:latest"),
            ("host:5000/app@sha256:0", "host:5000/app@sha256:0"),
        ] {
            assert_eq!(full_name(name), full);
        }
    }

    #[test]
    fn an_archive_is_in_the_list_once_and_goes_by_any_of_its_names() {
        let mut list = Vec::new();
        add(&mut list, archive("a1", "a.tar", "docker.io/library/a:1")).expect("room");
        add(&mut list, archive("a1", "again.tar", "docker.io/library/a:1")).expect("room");
        add(&mut list, archive("b2", "b.tar", "docker.io/library/b:1")).expect("room");
        assert_eq!((list.len(), list[0].file.as_str()), (2, "again.tar"));
        assert!(remove(&mut list, "c").is_empty());
        assert_eq!(remove(&mut list, "a:1").len(), 1);
        assert_eq!(remove(&mut list, &format!("sha256:{}", "b2".repeat(8))).len(), 1);
        assert!(list.is_empty());
    }
}
