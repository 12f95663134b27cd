//! `mezzo image push`: an OCI layout or archive into the pool's own registry. Blobs first, then the manifest.
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::artifact;
use crate::client::Pool;
use crate::failure::{Failure, Result};
use crate::grammar::{Format, Global};
use crate::{limits, output};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// What is read of an index, manifest or descriptor.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Debug, Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

pub(crate) async fn push(global: &Global, source: &Path, reference: &str) -> Result<()> {
    let pool = Pool::connect(global)?;
    let (repository, tag) = parse_reference(reference)?;
    let unpacked;
    let layout: &Path = if source.is_dir() {
        source
    } else {
        unpacked = unpack(source.to_owned()).await?;
        unpacked.path()
    };
    let descriptor = find_manifest(layout)?;
    let text = read(&blob(layout, &descriptor.digest)?)?;
    let manifest: Manifest = parse(&text, "the image's manifest")?;
    for part in manifest.layers.iter().chain([&manifest.config]) {
        let path = blob(layout, &part.digest)?;
        artifact::send(&pool, &path, part.digest.trim_start_matches("sha256:")).await?;
    }
    let media_type = if descriptor.media_type.is_empty() { MANIFEST } else { &descriptor.media_type };
    let path = format!("/v2/{repository}/manifests/{tag}");
    let stored = pool.http().put(&path, media_type, text).await;
    stored.map_err(|error| Failure::http(&format!("store the manifest of {reference}"), &error))?;
    output::note(&format!(
        "image pool/{repository}:{tag} is {} in {} layers",
        descriptor.digest,
        manifest.layers.len()
    ));
    if global.output == Format::Json {
        return output::json(
            &serde_json::json!({ "reference": format!("pool/{repository}:{tag}"), "digest": descriptor.digest }),
        );
    }
    output::out(&format!("{}\n", descriptor.digest))
}

/// `pool/<repository>:<tag>`.
fn parse_reference(reference: &str) -> Result<(&str, &str)> {
    let wanted = || {
        Failure::usage(format!("'{reference}' is no image of the pool"), "write pool/NAME:TAG, such as pool/busybox:1")
    };
    let (repository, tag) =
        reference.strip_prefix("pool/").and_then(|rest| rest.rsplit_once(':')).ok_or_else(wanted)?;
    let plain = |text: &str, also: &[u8]| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || also.contains(&b))
    };
    let tag_fits = !tag.is_empty() && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if plain(repository, b"-_./") && !repository.contains("..") && !repository.starts_with('/') && tag_fits {
        Ok((repository, tag))
    } else {
        Err(wanted())
    }
}

async fn unpack(archive: PathBuf) -> Result<tempfile::TempDir> {
    let what = format!("unpack {}", archive.display());
    let done = tokio::task::spawn_blocking(move || {
        let scratch = tempfile::Builder::new().prefix("mezzo-image-").tempdir()?;
        // The archive library refuses paths that leave the directory.
        tar::Archive::new(std::fs::File::open(&archive)?).unpack(scratch.path())?;
        Ok::<_, std::io::Error>(scratch)
    });
    let done = done.await.map_err(|error| Failure::while_doing(&what, &error))?;
    done.map_err(|error| {
        Failure::while_doing(&what, &error).next("an OCI layout or an uncompressed OCI archive is needed")
    })
}

fn find_manifest(layout: &Path) -> Result<Descriptor> {
    let mut index: Index = parse(&read(&layout.join("index.json"))?, "index.json")?;
    // An index may point to an index, one per platform; never deeper in practice.
    for _ in 0..3 {
        let chosen = choose(&index.manifests).ok_or_else(|| {
            Failure::new(format!("{} holds no image for this machine", layout.display()), "", "choose another image")
        })?;
        let is_manifest =
            chosen.media_type.is_empty() || chosen.media_type == MANIFEST || chosen.media_type == DOCKER_MANIFEST;
        if is_manifest {
            return Ok(chosen.clone());
        }
        index = parse(&read(&blob(layout, &chosen.digest)?)?, "the image's index")?;
    }
    Err(Failure::new(format!("{} nests indexes too deeply", layout.display()), "", ""))
}

fn choose(manifests: &[Descriptor]) -> Option<&Descriptor> {
    let ours = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let fits = |platform: &Platform| platform.os == "linux" && platform.architecture == ours;
    manifests
        .iter()
        .find(|one| one.platform.as_ref().is_some_and(fits))
        .or_else(|| manifests.iter().find(|one| one.platform.is_none()))
}

fn blob(layout: &Path, digest: &str) -> Result<PathBuf> {
    let hex =
        digest.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
    let hex = hex.ok_or_else(|| Failure::new(format!("'{digest}' is no sha256 digest"), "", "the image is damaged"))?;
    Ok(layout.join("blobs").join("sha256").join(hex))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |error: std::io::Error| {
        Failure::while_doing(format!("read {}", path.display()), &error).next("an OCI layout or archive is needed")
    };
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > limits::MANIFEST_BYTES_MAX {
        return Err(Failure::new(format!("{} is larger than any manifest", path.display()), "", ""));
    }
    std::fs::read(path).map_err(failed)
}

fn parse<T: serde::de::DeserializeOwned>(text: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(text).map_err(|error| Failure::while_doing(format!("read {what}"), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_images_of_the_pool_can_be_pushed() {
        assert_eq!(parse_reference("pool/busybox:1").expect("fits"), ("busybox", "1"));
        assert_eq!(parse_reference("pool/a/b-c:v1.2_x").expect("fits"), ("a/b-c", "v1.2_x"));
        for wrong in ["busybox:1", "pool/busybox", "pool/:1", "pool/a:", "pool/../a:1", "pool/A:1", "pool//a:1"] {
            assert!(parse_reference(wrong).is_err(), "{wrong}");
        }
    }
}
