//! Layers in the cache. A layer is known by its key: what the recipe says and the versions of what goes in. The same key is
//! never made twice, and two images with the same layer share one file.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use super::digest::{self, Hashing};
use super::layer::LayerBuilder;
use crate::paths::Cache;

/// Raised when the format of every layer changes.
const FORMAT: &str = "1";

/// What no image points at is deleted after this long: 7 days, so that several checkouts can share a cache.
const KEEP_UNUSED: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) type LayerFile = LayerBuilder<Hashing<GzEncoder<Hashing<BufWriter<File>>>>>;

/// A finished layer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Layer {
    /// Of the compressed file.
    pub(super) digest: String,
    pub(super) bytes: u64,
    /// Of the archive inside.
    pub(super) diff_id: String,
    #[serde(skip)]
    pub(super) path: PathBuf,
}

pub(super) struct LayerStore<'a> {
    cache: &'a Cache,
}

impl<'a> LayerStore<'a> {
    pub(super) fn new(cache: &'a Cache) -> Self {
        Self { cache }
    }

    /// The layer that `inputs` describe; made by `fill` if it is not there. `inputs` must name everything that `fill` reads.
    pub(super) fn get(
        &self,
        name: &str,
        inputs: &[&str],
        fill: impl FnOnce(&mut LayerFile) -> Result<()>,
    ) -> Result<Layer> {
        let mut described = vec![FORMAT, name];
        described.extend(inputs);
        let key = digest::of(described.join("\n--\n").as_bytes());
        let directory = self.cache.directory("layers")?;
        let path = directory.join(format!("{key}.tar.gz"));
        let description = directory.join(format!("{key}.json"));
        if let Some(layer) = read(&path, &description) {
            // Its age decides when it is thrown away.
            let _ = File::open(&description).and_then(|file| file.set_modified(SystemTime::now()));
            return Ok(layer);
        }
        eprintln!("making the layer {name}");
        let scratch = self.cache.scratch()?;
        let layer =
            Self::make(&scratch.path().join("layer"), fill).with_context(|| format!("make the layer {name}"))?;
        let text = serde_json::to_string(&layer).context("describe the layer")?;
        fs::rename(&layer.path, &path).with_context(|| format!("move {}", path.display()))?;
        fs::write(&description, text).with_context(|| format!("write {}", description.display()))?;
        Ok(Layer { path, ..layer })
    }

    fn make(path: &Path, fill: impl FnOnce(&mut LayerFile) -> Result<()>) -> Result<Layer> {
        let context = || format!("write {}", path.display());
        let file = BufWriter::new(File::create(path).with_context(context)?);
        let compressed = GzEncoder::new(Hashing::new(file), Compression::fast());
        let mut builder = LayerBuilder::new(Hashing::new(compressed));
        fill(&mut builder)?;
        let (compressed, diff_id, _) = builder.finish()?.finish();
        let (file, digest, bytes) = compressed.finish().with_context(context)?.finish();
        file.into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .with_context(context)?
            .sync_all()
            .with_context(context)?;
        Ok(Layer { digest, bytes, diff_id, path: path.to_path_buf() })
    }
}

fn read(path: &Path, description: &Path) -> Option<Layer> {
    let text = fs::read_to_string(description).ok()?;
    let mut layer: Layer = serde_json::from_str(&text).ok()?;
    if fs::metadata(path).ok()?.len() != layer.bytes {
        return None;
    }
    layer.path = path.to_path_buf();
    Some(layer)
}

/// Deletes layers and layouts that were not used for a while and that no image points at.
pub(super) fn prune(cache: &Cache) -> Result<()> {
    let in_use = super::layout::in_use(cache)?;
    for name in ["layouts", "layers"] {
        let directory = cache.directory(name)?;
        let entries = fs::read_dir(&directory).with_context(|| format!("list {}", directory.display()))?;
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            // A layer's age is that of its description, which is renewed whenever the layer is used.
            let dated = if name == "layers" {
                let key = entry.file_name().to_string_lossy().split('.').next().map(str::to_owned);
                directory.join(format!("{}.json", key.unwrap_or_default()))
            } else {
                path.clone()
            };
            let age = fs::metadata(&dated)
                .and_then(|metadata| metadata.modified())
                .ok()
                .and_then(|modified| modified.elapsed().ok());
            if in_use.contains(&path) || age.is_some_and(|age| age < KEEP_UNUSED) {
                continue;
            }
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.with_context(|| format!("delete {}", path.display()))?;
        }
    }
    Ok(())
}
