//! Where bytes of images come from: the master, registries, layouts. Nothing here is believed: the store checks digests.
use std::path::{Path, PathBuf};

use axum::body::Body;
use daemon::client::HttpClient;
use futures::StreamExt as _;
use http::{Request, header};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{ImageError, ImageName};
use crate::limits;

const MANIFEST_TYPES: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// Clients of everything images can come from.
#[derive(Clone)]
pub(crate) struct Registries {
    master: HttpClient,
    registries: oci_client::Client,
}

impl std::fmt::Debug for Registries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registries").finish_non_exhaustive()
    }
}

impl Registries {
    pub(crate) fn new(master: HttpClient) -> Self {
        // As other container tools do: a registry on this very machine may speak without TLS. Digests are checked anyway.
        let loopback = ["localhost", "127.0.0.1"];
        let plain = loopback.iter().flat_map(|host| [(*host).to_owned(), format!("{host}:5000")]).collect();
        let config = ClientConfig { protocol: ClientProtocol::HttpsExcept(plain), ..ClientConfig::default() };
        Self { master, registries: oci_client::Client::new(config) }
    }

    /// The bytes of a manifest or index.
    pub(crate) async fn manifest(&self, name: &ImageName, version: Option<&str>) -> Result<Vec<u8>, ImageError> {
        match name {
            ImageName::Pool { repository, version: own } => {
                let version = version.unwrap_or(own);
                let failed = fetch(version, repository);
                let request = Request::get(format!("/v2/{repository}/manifests/{version}"))
                    .header(header::ACCEPT, MANIFEST_TYPES)
                    .body(Body::empty())
                    .map_err(|error| fetch(version, repository)(Box::new(error)))?;
                let bytes = self.master.send(request, limits::MANIFEST_BYTES_MAX).await;
                Ok(bytes.map_err(|error| failed(Box::new(error)))?.to_vec())
            }
            ImageName::Registry(reference) => {
                let reference = match version {
                    Some(digest) => reference.clone_with_digest(digest.to_owned()),
                    None => (**reference).clone(),
                };
                let types: Vec<&str> = MANIFEST_TYPES.split(", ").collect();
                let got = self.registries.pull_manifest_raw(&reference, &RegistryAuth::Anonymous, &types).await;
                let (bytes, _) = got.map_err(|error| fetch("the manifest", &reference.whole())(Box::new(error)))?;
                Ok(bytes.to_vec())
            }
            ImageName::Layout { path, tag } => {
                let path = match version {
                    Some(digest) => blob_path(path, digest)?,
                    None => {
                        let digest = layout_digest(path, tag.as_deref())?;
                        blob_path(path, &digest)?
                    }
                };
                read_document(&path).map_err(ImageError::disk("read", path))
            }
        }
    }

    /// Copies a blob to a file.
    pub(crate) async fn blob(&self, name: &ImageName, digest: &str, size: u64, to: &Path) -> Result<(), ImageError> {
        let mut file = tokio::fs::File::create(to).await.map_err(ImageError::disk("create", to))?;
        match name {
            ImageName::Pool { repository, .. } => {
                download(&self.master, &format!("/v2/{repository}/blobs/{digest}"), size, &mut file).await.map_err(
                    |error| match error {
                        Download::Remote(source) => fetch(digest, repository)(source),
                        Download::Disk(source) => ImageError::Disk { operation: "write", path: to.to_owned(), source },
                    },
                )?;
            }
            ImageName::Registry(reference) => {
                let descriptor = OciDescriptor {
                    digest: digest.to_owned(),
                    size: i64::try_from(size).unwrap_or(i64::MAX),
                    ..OciDescriptor::default()
                };
                self.registries
                    .pull_blob(reference, &descriptor, &mut file)
                    .await
                    .map_err(|error| fetch(digest, &reference.whole())(Box::new(error)))?;
            }
            ImageName::Layout { path, .. } => {
                let from = blob_path(path, digest)?;
                let source = tokio::fs::File::open(&from).await.map_err(ImageError::disk("open", from))?;
                tokio::io::copy(&mut source.take(size), &mut file).await.map_err(ImageError::disk("write", to))?;
            }
        }
        file.flush().await.map_err(ImageError::disk("write", to))
    }
}

fn fetch(what: &str, name: &str) -> impl FnOnce(Box<dyn std::error::Error + Send + Sync>) -> ImageError {
    let (what, name) = (what.to_owned(), name.to_owned());
    move |source| ImageError::Fetch { what, name, source }
}

/// Why a download failed: theirs or ours.
#[derive(Debug)]
pub(crate) enum Download {
    Remote(Box<dyn std::error::Error + Send + Sync>),
    Disk(std::io::Error),
}

/// Streams a path of the master's into a file; not more than `size` bytes.
pub(crate) async fn download(
    master: &HttpClient,
    path: &str,
    size: u64,
    file: &mut tokio::fs::File,
) -> Result<(), Download> {
    let request = Request::get(path).body(Body::empty()).map_err(|error| Download::Remote(Box::new(error)))?;
    let response = master.request(request).await.map_err(|error| Download::Remote(Box::new(error)))?;
    if !response.status().is_success() {
        return Err(Download::Remote(format!("the master answers {} for {path}", response.status()).into()));
    }
    let mut stream = Body::new(response.into_body()).into_data_stream();
    let mut left = size;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| Download::Remote(Box::new(error)))?;
        left = left
            .checked_sub(chunk.len() as u64)
            .ok_or_else(|| Download::Remote(format!("{path} is longer than {size} bytes").into()))?;
        file.write_all(&chunk).await.map_err(Download::Disk)?;
    }
    file.flush().await.map_err(Download::Disk)
}

pub(crate) fn hex_of(digest: &str) -> Result<&str, ImageError> {
    digest
        .strip_prefix("sha256:")
        .filter(|hex| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
        .ok_or_else(|| ImageError::Algorithm(digest.to_owned()))
}

fn blob_path(layout: &Path, digest: &str) -> Result<PathBuf, ImageError> {
    Ok(layout.join("blobs/sha256").join(hex_of(digest)?))
}

/// A document of a layout: a file may say that it has any number of bytes.
fn read_document(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limits::MANIFEST_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limits::MANIFEST_BYTES_MAX {
        return Err(std::io::Error::other(format!("it has more than {} bytes", limits::MANIFEST_BYTES_MAX)));
    }
    Ok(bytes)
}

/// The manifest of a layout: the one with the tag, or the only one.
fn layout_digest(layout: &Path, tag: Option<&str>) -> Result<String, ImageError> {
    let path = layout.join("index.json");
    let bytes = read_document(&path).map_err(ImageError::disk("read", &path))?;
    let index: oci_spec::image::ImageIndex = serde_json::from_slice(&bytes).map_err(|error| ImageError::Document {
        what: "the index",
        name: layout.display().to_string(),
        problem: format!("is malformed: {error}"),
    })?;
    let tagged = |wanted: &str| {
        index.manifests().iter().find(|descriptor| {
            let name =
                descriptor.annotations().as_ref().and_then(|notes| notes.get("org.opencontainers.image.ref.name"));
            name.is_some_and(|name| name == wanted || name.rsplit(':').next() == Some(wanted))
        })
    };
    let found = match tag {
        Some(tag) => tagged(tag),
        None if index.manifests().len() == 1 => index.manifests().first(),
        None => tagged("latest"),
    };
    found.map(|descriptor| descriptor.digest().to_string()).ok_or_else(|| ImageError::Document {
        what: "the index",
        name: layout.display().to_string(),
        problem: match tag {
            Some(tag) => format!("has no image '{tag}'"),
            None => "has several images: say which one with ':<tag>'".to_owned(),
        },
    })
}
