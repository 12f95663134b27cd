//! The store: what is there is verified and complete. Everything is made beside and renamed into place; two pods that
//! want the same image or layer wait for one pull.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use oci_spec::image::{ImageConfiguration, ImageIndex, ImageManifest};
use sha2::{Digest as _, Sha256};
use tracing::{info, warn};

use super::source::{Registries, hex_of};
use super::{ImageError, ImageName, unpack};
use crate::limits;

/// An image on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) configuration: ImageConfiguration,
    /// Unpacked layers, the lowest first.
    pub(crate) layers: Vec<PathBuf>,
}

/// All images on this machine.
#[derive(Debug)]
pub(crate) struct ImageStore {
    root: PathBuf,
    registries: Registries,
    /// One lock per thing being fetched: the second who wants it waits and finds it.
    flights: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl ImageStore {
    /// Opens the store and removes what an interrupted pull left.
    pub(crate) fn open(root: &Path, registries: Registries) -> Result<Self, ImageError> {
        let temporary = root.join("tmp");
        if temporary.exists() {
            fs::remove_dir_all(&temporary).map_err(ImageError::disk("remove", &temporary))?;
        }
        for dir in [temporary, root.join("blobs/sha256"), root.join("layers"), root.join("archives")] {
            fs::create_dir_all(&dir).map_err(ImageError::disk("make directory", &dir))?;
        }
        Ok(Self { root: root.to_owned(), registries, flights: Mutex::default() })
    }

    /// The image of a name, fetched if it is not there.
    pub(crate) async fn ensure(&self, name: &str) -> Result<Image, ImageError> {
        let lock = self.flight(name);
        let _flight = lock.lock().await;
        let mut pause = limits::RETRY_MIN;
        let mut attempt = 1;
        loop {
            match Box::pin(self.fetch(name)).await {
                Err(error) if error.is_transient() && attempt < limits::DOWNLOAD_ATTEMPTS => {
                    warn!(error = %daemon::error::chain(&error), image = name, attempt, "image not fetched, trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(limits::RETRY_MAX);
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    fn flight(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut flights = self.flights.lock().expect("no holder panics");
        flights.retain(|_, lock| Arc::strong_count(lock) > 1);
        flights.entry(key.to_owned()).or_default().clone()
    }

    async fn fetch(&self, text: &str) -> Result<Image, ImageError> {
        let mut name = ImageName::parse(text)?;
        if let ImageName::Layout { path, tag } = &name
            && path.is_file()
        {
            name = ImageName::Layout { path: self.open_archive(path).await?, tag: tag.clone() };
        }
        let manifest = self.manifest(&name, text).await?;
        let config_digest = manifest.config().digest().to_string();
        let bytes = self.document(&name, &config_digest, manifest.config().size()).await?;
        let configuration: ImageConfiguration = parse("the configuration", text, &bytes)?;
        let diff_ids = configuration.rootfs().diff_ids().clone();
        if diff_ids.len() != manifest.layers().len() || diff_ids.len() > limits::LAYERS_MAX {
            return Err(ImageError::Document {
                what: "the manifest",
                name: text.to_owned(),
                problem: format!(
                    "has {} layers, its configuration {}, the limit is {}",
                    manifest.layers().len(),
                    diff_ids.len(),
                    limits::LAYERS_MAX
                ),
            });
        }
        let mut layers = Vec::with_capacity(diff_ids.len());
        for (descriptor, diff_id) in manifest.layers().iter().zip(&diff_ids) {
            layers.push(self.layer(&name, descriptor.digest().as_ref(), descriptor.size(), diff_id).await?);
        }
        Ok(Image { configuration, layers })
    }

    /// The manifest for this machine: through an index if there is one.
    async fn manifest(&self, name: &ImageName, text: &str) -> Result<ImageManifest, ImageError> {
        let digest = match name {
            ImageName::Pool { version, .. } if version.starts_with("sha256:") => Some(version.clone()),
            ImageName::Registry(reference) => reference.digest().map(str::to_owned),
            ImageName::Pool { .. } | ImageName::Layout { .. } => None,
        };
        let mut bytes = match digest {
            Some(digest) => self.manifest_by_digest(name, &digest).await?,
            None => self.registries.manifest(name, None).await?,
        };
        // An index may name an index, but not for ever.
        for _ in 0..3 {
            let value: serde_json::Value = parse("the manifest", text, &bytes)?;
            if value.get("manifests").is_none() {
                return parse("the manifest", text, &bytes);
            }
            let index: ImageIndex = parse("the index", text, &bytes)?;
            let wanted = index.manifests().iter().find(|descriptor| match descriptor.platform() {
                Some(platform) => {
                    platform.os().to_string() == "linux" && platform.architecture().to_string() == architecture()
                }
                None => true,
            });
            let Some(descriptor) = wanted else {
                let problem = format!("has no image for linux/{}", architecture());
                return Err(ImageError::Document { what: "the index", name: text.to_owned(), problem });
            };
            bytes = self.manifest_by_digest(name, descriptor.digest().as_ref()).await?;
        }
        Err(ImageError::Document {
            what: "the index",
            name: text.to_owned(),
            problem: "is nested too deeply".to_owned(),
        })
    }

    async fn manifest_by_digest(&self, name: &ImageName, digest: &str) -> Result<Vec<u8>, ImageError> {
        let path = self.blob_path(digest)?;
        if let Ok(bytes) = fs::read(&path) {
            return Ok(bytes);
        }
        let bytes = self.registries.manifest(name, Some(digest)).await?;
        let found = format!("sha256:{}", hex::encode(Sha256::digest(&bytes)));
        if found != digest {
            return Err(ImageError::Digest { what: "the manifest", wanted: digest.to_owned(), found });
        }
        self.keep(&path, &bytes)?;
        Ok(bytes)
    }

    /// A small blob, kept.
    async fn document(&self, name: &ImageName, digest: &str, size: u64) -> Result<Vec<u8>, ImageError> {
        let path = self.blob_path(digest)?;
        if let Ok(bytes) = fs::read(&path) {
            return Ok(bytes);
        }
        if size > limits::MANIFEST_BYTES_MAX as u64 {
            let problem = format!("of {size} bytes is too large");
            return Err(ImageError::Document { what: "the configuration", name: digest.to_owned(), problem });
        }
        let temporary = self.temporary();
        let got = self.registries.blob(name, digest, size, &temporary).await;
        let bytes = got.and_then(|()| fs::read(&temporary).map_err(ImageError::disk("read", &temporary)));
        let _ = fs::remove_file(&temporary);
        let bytes = bytes?;
        let found = format!("sha256:{}", hex::encode(Sha256::digest(&bytes)));
        if found != digest {
            return Err(ImageError::Digest { what: "the configuration", wanted: digest.to_owned(), found });
        }
        self.keep(&path, &bytes)?;
        Ok(bytes)
    }

    /// An unpacked layer.
    async fn layer(&self, name: &ImageName, digest: &str, size: u64, diff_id: &str) -> Result<PathBuf, ImageError> {
        // Half of the digest is 128 bits: short enough for overlayfs options, long enough never to collide.
        let target = self.root.join("layers").join(&hex_of(diff_id)?[..32]);
        hex_of(digest)?;
        let lock = self.flight(diff_id);
        let _flight = lock.lock().await;
        if target.exists() {
            return Ok(target);
        }
        info!(layer = digest, size, "layer is fetched");
        let (packed, unpacked) = (self.temporary(), self.temporary());
        let got = self.registries.blob(name, digest, size, &packed).await;
        let result = match got {
            Ok(()) => {
                let work = (packed.clone(), unpacked.clone(), digest.to_owned(), diff_id.to_owned());
                tokio::task::spawn_blocking(move || unpack::layer(&work.0, &work.1, &work.2, &work.3))
                    .await
                    .expect("unpacking does not panic")
            }
            Err(error) => Err(error),
        };
        let _ = fs::remove_file(&packed);
        let result =
            result.and_then(|()| fs::rename(&unpacked, &target).map_err(ImageError::disk("rename", &unpacked)));
        if result.is_err() {
            let _ = fs::remove_dir_all(&unpacked);
        }
        result.map(|()| target)
    }

    /// An archive's content as a layout, unpacked once per state of the file.
    async fn open_archive(&self, path: &Path) -> Result<PathBuf, ImageError> {
        use std::os::unix::fs::MetadataExt as _;
        let meta = fs::metadata(path).map_err(ImageError::disk("read", path))?;
        let key = format!("{}:{}:{}:{}:{}", path.display(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec());
        let target = self.root.join("archives").join(&hex::encode(Sha256::digest(key))[..32]);
        if target.exists() {
            return Ok(target);
        }
        let temporary = self.temporary();
        let work = (path.to_owned(), temporary.clone());
        let done = tokio::task::spawn_blocking(move || unpack::archive(&work.0, &work.1))
            .await
            .expect("unpacking does not panic");
        let done = done.and_then(|()| fs::rename(&temporary, &target).map_err(ImageError::disk("rename", &temporary)));
        if done.is_err() {
            let _ = fs::remove_dir_all(&temporary);
        }
        done.map(|()| target)
    }

    fn keep(&self, path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
        let temporary = self.temporary();
        fs::write(&temporary, bytes).map_err(ImageError::disk("write", &temporary))?;
        fs::rename(&temporary, path).map_err(ImageError::disk("rename", &temporary))
    }
    fn blob_path(&self, digest: &str) -> Result<PathBuf, ImageError> {
        Ok(self.root.join("blobs/sha256").join(hex_of(digest)?))
    }
    fn temporary(&self) -> PathBuf {
        self.root.join("tmp").join(uuid::Uuid::new_v4().simple().to_string())
    }
}

fn parse<T: serde::de::DeserializeOwned>(what: &'static str, name: &str, bytes: &[u8]) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|error| ImageError::Document {
        what,
        name: name.to_owned(),
        problem: format!("is malformed: {error}"),
    })
}

/// This machine's architecture in the words of images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
