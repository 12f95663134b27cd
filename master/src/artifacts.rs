//! The store of artifacts and image blobs: content-addressed files. A file exists under its digest only when its bytes
//! were verified and are durable. Names and tags are records of the registry.
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use model::Refusal;
use proto::mezzo::v1::DigestRecord;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use crate::files::Files;
use crate::limits;
use crate::refusal;
use crate::registry::record::{self, pair_key};
use crate::registry::{FORMAT, Registry, Table};
use crate::server::MasterError;

/// A SHA-256 digest in lower-case hex: safe as a file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digest(String);

impl Digest {
    /// Takes `<hex>` or `sha256:<hex>`.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let fits = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if fits {
            Ok(Self(digits.to_owned()))
        } else {
            Err(refusal::malformed("digest", format!("'{text}' is not sha256:<64 lower-case hex digits>")))
        }
    }
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(hex::encode(Sha256::digest(bytes)))
    }
    pub(crate) fn hex(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

/// The store.
pub(crate) struct Artifacts {
    blobs: PathBuf,
    incoming: PathBuf,
    registry: Arc<dyn Registry>,
    files: Files,
}

impl Artifacts {
    /// Opens the store; what a killed master left half-written is deleted.
    pub(crate) fn open(root: &Path, registry: Arc<dyn Registry>) -> Result<Self, MasterError> {
        let (blobs, incoming) = (root.join("sha256"), root.join("incoming"));
        let prepared = (|| {
            std::fs::create_dir_all(&blobs)?;
            if incoming.exists() {
                std::fs::remove_dir_all(&incoming)?;
            }
            std::fs::create_dir_all(&incoming)
        })();
        prepared.map_err(|source| MasterError::StateDir { path: root.to_owned(), source })?;
        let kept = root.join("files");
        let files = Files::open(&kept).map_err(|source| MasterError::StateDir { path: kept, source })?;
        Ok(Self { blobs, incoming, registry, files })
    }

    /// Files of frameworks, which lie beside artifacts.
    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.blobs.join(digest.hex())
    }

    pub(crate) async fn has(&self, digest: &Digest) -> bool {
        tokio::fs::try_exists(self.path(digest)).await.unwrap_or(false)
    }

    /// A blob and its length.
    pub(crate) async fn open_blob(&self, digest: &Digest) -> Result<(tokio::fs::File, u64), Refusal> {
        let opened = async {
            let file = tokio::fs::File::open(self.path(digest)).await?;
            let length = file.metadata().await?.len();
            Ok::<_, io::Error>((file, length))
        };
        match opened.await {
            Ok(found) => Ok(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(refusal::not_found(format!("the pool has no artifact {digest}"), "upload it first"))
            }
            Err(error) => Err(refusal::failed("open the artifact", &error)),
        }
    }

    /// Takes a stream in. Nothing is kept unless it has the digest.
    pub(crate) async fn put<E: std::error::Error>(
        &self,
        digest: &Digest,
        mut body: impl Stream<Item = Result<bytes::Bytes, E>> + Unpin,
    ) -> Result<u64, Refusal> {
        let failed = |error: &io::Error| refusal::failed("write the artifact", error);
        let incoming = tempfile::NamedTempFile::new_in(&self.incoming).map_err(|error| failed(&error))?;
        let copy = incoming.reopen().map_err(|error| failed(&error))?;
        let mut file = tokio::io::BufWriter::with_capacity(1 << 20, tokio::fs::File::from_std(copy));
        let mut hash = Sha256::new();
        let mut length = 0_u64;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| {
                refusal::malformed("body", format!("the upload broke off: {}", daemon::error::chain(&error)))
            })?;
            length += u64::try_from(chunk.len()).expect("a length fits 64 bits");
            if length > limits::ARTIFACT_BYTES_MAX {
                let limit = limits::ARTIFACT_BYTES_MAX;
                return Err(refusal::too_much(format!("an artifact has at most {limit} bytes"), "split it"));
            }
            hash.update(&chunk);
            file.write_all(&chunk).await.map_err(|error| failed(&error))?;
        }
        file.flush().await.map_err(|error| failed(&error))?;
        let found = hex::encode(hash.finalize());
        if found != digest.hex() {
            return Err(refusal::wrong_digest(format!(
                "the {length} bytes sent have the digest sha256:{found}, not {digest}"
            )));
        }
        file.get_ref().sync_all().await.map_err(|error| failed(&error))?;
        let (target, dir) = (self.path(digest), self.blobs.clone());
        let kept = tokio::task::spawn_blocking(move || {
            incoming.persist(target).map_err(|error| error.error)?;
            std::fs::File::open(dir)?.sync_all()
        });
        kept.await.map_err(|error| refusal::failed("keep the artifact", &error))?.map_err(|error| failed(&error))?;
        Ok(length)
    }

    /// Deletes a blob that no name or tag needs. What runs of it goes on; what is to be launched again would miss it.
    pub(crate) async fn delete(&self, digest: &Digest) -> Result<(), Refusal> {
        if self.needed().await?.contains(digest.hex()) {
            let message = format!("artifact {digest} has a name, or is part of an image");
            return Err(refusal::in_use(message, "point the name or tag at another artifact first"));
        }
        match tokio::fs::remove_file(self.path(digest)).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(refusal::not_found(format!("the pool has no artifact {digest}"), ""))
            }
            Err(error) => Err(refusal::failed("delete the artifact", &error)),
            Ok(()) => Ok(()),
        }
    }

    /// The bytes of what may be a manifest. An index may name anything, an artifact of any size too.
    async fn manifest(&self, hex: &str) -> Option<Vec<u8>> {
        let path = self.blobs.join(hex);
        let length = usize::try_from(tokio::fs::metadata(&path).await.ok()?.len()).ok()?;
        if length > limits::MANIFEST_BYTES_MAX {
            return None;
        }
        tokio::fs::read(&path).await.ok()
    }

    /// Digests that names and tags lead to, through indexes and manifests.
    async fn needed(&self) -> Result<BTreeSet<String>, Refusal> {
        let failed = |error| refusal::failed("read the names", &error);
        let mut needed = BTreeSet::new();
        let mut manifests = Vec::new();
        for table in [Table::ArtifactNames, Table::ImageTags] {
            for (key, bytes) in self.registry.scan(table, &[]).map_err(failed)? {
                let found: DigestRecord = record::read(table, &key, &bytes).map_err(failed)?;
                let hex = Digest::parse(&found.digest)?.0;
                if table == Table::ImageTags {
                    manifests.push(hex.clone());
                }
                needed.insert(hex);
            }
        }
        while let Some(hex) = manifests.pop() {
            // One that is missing or no JSON leads nowhere.
            let Some(bytes) = self.manifest(&hex).await else { continue };
            let Ok(manifest) = serde_json::from_slice::<serde_json::Value>(&bytes) else { continue };
            let parts = |key: &str| manifest[key].as_array().cloned().unwrap_or_default();
            let digest = |part: &serde_json::Value| Digest::parse(part["digest"].as_str()?).ok().map(|digest| digest.0);
            let inner: Vec<String> = parts("manifests").iter().filter_map(digest).collect();
            needed.extend(parts("layers").iter().chain([&manifest["config"]]).filter_map(digest));
            for hex in inner {
                if needed.insert(hex.clone()) {
                    manifests.push(hex);
                }
            }
        }
        Ok(needed)
    }

    /// What a named artifact is now.
    pub(crate) fn named(&self, name: &str) -> Result<Option<Digest>, Refusal> {
        self.lookup(Table::ArtifactNames, name.as_bytes())
    }

    /// Lets a name mean an artifact.
    pub(crate) async fn set_name(&self, name: &str, digest: &Digest) -> Result<(), Refusal> {
        check_name("name", name)?;
        self.point(Table::ArtifactNames, name.as_bytes().to_vec(), digest).await
    }

    /// What a tag is now.
    pub(crate) fn tagged(&self, repository: &str, tag: &str) -> Result<Option<Digest>, Refusal> {
        self.lookup(Table::ImageTags, &pair_key(repository, tag))
    }

    /// Lets a tag mean a manifest.
    pub(crate) async fn set_tag(&self, repository: &str, tag: &str, digest: &Digest) -> Result<(), Refusal> {
        check_tag(repository, tag)?;
        self.point(Table::ImageTags, pair_key(repository, tag), digest).await
    }

    fn lookup(&self, table: Table, key: &[u8]) -> Result<Option<Digest>, Refusal> {
        let failed = |error| refusal::failed("read the name", &error);
        let Some(bytes) = self.registry.get(table, key).map_err(failed)? else { return Ok(None) };
        let found: DigestRecord = record::read(table, key, &bytes).map_err(failed)?;
        Digest::parse(&found.digest).map(Some)
    }

    async fn point(&self, table: Table, key: Vec<u8>, digest: &Digest) -> Result<(), Refusal> {
        if !self.has(digest).await {
            return Err(refusal::not_found(format!("the pool has no artifact {digest}"), "upload it first"));
        }
        let value = DigestRecord { version: FORMAT, digest: digest.to_string() };
        let written = self.registry.commit(vec![record::put(table, key, &value)]).await;
        written.map_err(|error| refusal::failed("write the name", &error))
    }
}

/// Whether a tag can be.
pub(crate) fn check_tag(repository: &str, tag: &str) -> Result<(), Refusal> {
    repository.split('/').try_for_each(|part| check_name("repository", part))?;
    check_name("tag", tag)
}

/// Names go into URLs and keys: the characters of image tags.
pub(crate) fn check_name(field: &str, text: &str) -> Result<(), Refusal> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !text.is_empty() && text.len() <= limits::NAME_BYTES_MAX && text.bytes().all(allowed) && !text.starts_with('.') {
        return Ok(());
    }
    Err(refusal::malformed(field, format!("'{text}' is not made of letters, digits, '-', '_' and '.'")))
}
