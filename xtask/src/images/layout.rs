//! Images as OCI image layouts: a directory with `oci-layout`, `index.json` and `blobs/sha256`. Layers are hard links into the
//! cache. A layout is complete when it appears, and `<cache>/images/<name>/<tag>` always points at a complete one.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::digest;
use super::store::Layer;
use crate::paths::Cache;

/// The time of every layer, as an image says it.
const CREATED: &str = "2020-01-01T00:00:00Z";

/// What an image is, before it is written.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) tag: String,
    pub(super) layers: Vec<Layer>,
    pub(super) command: Vec<&'static str>,
}

/// The image's configuration; docker-archives have the same.
pub(super) fn configuration(layers: &[String], command: &[&str]) -> Value {
    json!({
        "created": CREATED,
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": command,
            "WorkingDir": "/",
        },
        "rootfs": {
            "type": "layers",
            "diff_ids": layers.iter().map(|id| format!("sha256:{id}")).collect::<Vec<_>>(),
        },
    })
}

/// The machine's architecture in the words of images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Writes the layout, points the image's name at it, and gives the path under that name.
pub(super) fn write(cache: &Cache, name: &str, image: &Description) -> Result<PathBuf> {
    let diff_ids: Vec<String> = image.layers.iter().map(|layer| layer.diff_id.clone()).collect();
    let configuration =
        serde_json::to_vec(&configuration(&diff_ids, &image.command)).context("write the configuration")?;
    let descriptor = |media_type: &str, digest: &str, bytes: u64| json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes });
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor(
            "application/vnd.oci.image.config.v1+json",
            &digest::of(&configuration),
            configuration.len() as u64,
        ),
        "layers": image.layers.iter().map(|layer| descriptor(
            "application/vnd.oci.image.layer.v1.tar+gzip",
            &layer.digest,
            layer.bytes,
        )).collect::<Vec<_>>(),
    }))
    .context("write the manifest")?;
    let mut entry =
        descriptor("application/vnd.oci.image.manifest.v1+json", &digest::of(&manifest), manifest.len() as u64);
    entry["platform"] = json!({ "architecture": architecture(), "os": "linux" });
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": image.tag });
    let index = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    }))
    .context("write the index")?;

    let layout = cache.directory("layouts")?.join(digest::of(&index));
    if !layout.join("index.json").exists() {
        let scratch = cache.scratch()?;
        let draft = scratch.path().join("layout");
        let blobs = draft.join("blobs/sha256");
        fs::create_dir_all(&blobs).with_context(|| format!("create {}", blobs.display()))?;
        for layer in &image.layers {
            place(&layer.path, &blobs.join(&layer.digest))?;
        }
        for (path, bytes) in [
            (blobs.join(digest::of(&configuration)), configuration.as_slice()),
            (blobs.join(digest::of(&manifest)), manifest.as_slice()),
            (draft.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#),
            (draft.join("index.json"), index.as_slice()),
        ] {
            fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
        }
        fs::rename(&draft, &layout).with_context(|| format!("move {}", layout.display()))?;
    }
    point(cache, name, &image.tag, &layout)
}

/// A layer may be part of two layouts; a file system without hard links gets a copy.
fn place(from: &Path, to: &Path) -> Result<()> {
    if to.exists() || fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to).map(drop).with_context(|| format!("copy {} to {}", from.display(), to.display()))
}

fn point(cache: &Cache, name: &str, tag: &str, layout: &Path) -> Result<PathBuf> {
    let link = cache.directory(Path::new("images").join(name))?.join(tag);
    let target = Path::new("../../layouts").join(layout.file_name().unwrap_or_default());
    if fs::read_link(&link).is_ok_and(|current| current == target) {
        return Ok(link);
    }
    let scratch = cache.scratch()?;
    let fresh = scratch.path().join("link");
    symlink(&target, &fresh).with_context(|| format!("create {}", fresh.display()))?;
    fs::rename(&fresh, &link).with_context(|| format!("create {}", link.display()))?;
    Ok(link)
}

/// The layouts that an image's name points at.
pub(super) fn in_use(cache: &Cache) -> Result<BTreeSet<PathBuf>> {
    let mut layouts = BTreeSet::new();
    let images = cache.directory("images")?;
    for name in fs::read_dir(&images).with_context(|| format!("list {}", images.display()))? {
        let Ok(tags) = fs::read_dir(name.context("list images")?.path()) else {
            continue;
        };
        for tag in tags.filter_map(Result::ok) {
            if let Ok(layout) = fs::canonicalize(tag.path()) {
                layouts.insert(layout);
            }
        }
    }
    Ok(layouts)
}
