//! Docker archives: one file with one image, the form in which a node's own container runtime takes images in.

use anyhow::{Context, Result};
use serde_json::json;

use super::digest;
use super::layer::LayerBuilder;
use super::layout;

/// An archive of one image called `name` with one layer, which `fill` writes.
pub(super) fn docker_archive(
    name: &str,
    command: &[&str],
    fill: impl FnOnce(&mut LayerBuilder<Vec<u8>>) -> Result<()>,
) -> Result<Vec<u8>> {
    let mut layer = LayerBuilder::new(Vec::new());
    fill(&mut layer)?;
    let layer = layer.finish()?;
    let configuration = serde_json::to_vec(&layout::configuration(&[digest::of(&layer)], command))
        .context("write the configuration")?;
    let configuration_name = format!("{}.json", digest::of(&configuration));
    let manifest = serde_json::to_vec(&json!([{
        "Config": configuration_name,
        "RepoTags": [name],
        "Layers": ["layer.tar"],
    }]))
    .context("write the manifest")?;
    let mut archive = LayerBuilder::new(Vec::new());
    archive.file("layer.tar", 0o644, &layer)?;
    archive.file(&configuration_name, 0o644, &configuration)?;
    archive.file("manifest.json", 0o644, &manifest)?;
    archive.finish()
}
