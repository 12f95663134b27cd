//! The archives a node took: their marks, and the way into containerd.
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use futures::{Stream, StreamExt as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tracing::info;

use super::Description;
use crate::node_init::command::{CommandError, run};

/// Beside containerd's data, on the same disk: what is lost with one is lost with the other.
pub(crate) const DIR: &str = "/var/lib/containerd/mezzo-images";

/// What became of an archive at this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// SHA-256 in hex.
    pub(crate) digest: String,
    /// Its images, if it was imported.
    pub(crate) images: Vec<String>,
    /// Why not, otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
    /// Images that were imported and are there no more: containerd or the kubelet removed them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) missing: Vec<String>,
}

/// Why an archive was not imported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error("the archive is not described")]
    NoDescription,
    #[error("'{0}' is no SHA-256 digest in hex")]
    NoDigest(String),
    #[error("the transfer broke off: {0}")]
    Broken(String),
    #[error("{wanted} came with digest {found}")]
    Digest { wanted: String, found: String },
    #[error("the disk is full")]
    Full,
    #[error("{operation} {path}")]
    Disk { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("containerd does not take it: {0}")]
    Refused(String),
    #[error("containerd took it, but it holds no {0}")]
    NotInIt(String),
    #[error("ask containerd: {0}")]
    Runtime(String),
}

impl ImportError {
    /// Whether the same archive fails the same way at every node and at any time.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::NotInIt(_) | Self::NoDigest(_))
    }
    fn disk(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| {
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
                return Self::Full;
            }
            Self::Disk { operation, path, source }
        }
    }
}

/// The archives of this node.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
}

impl Store {
    /// Opens the store; what a killed service left half-written is deleted.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        for entry in std::fs::read_dir(dir)?.filter_map(Result::ok) {
            if entry.path().extension().is_some_and(|end| end == "incoming") {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// Every mark, with what of it is missing in containerd by now.
    pub(super) fn marks_of_node() -> Result<Vec<Mark>, ImportError> {
        let mut marks = marks(Path::new(DIR)).map_err(ImportError::disk("read", Path::new(DIR)))?;
        if marks.iter().any(|mark| mark.refused.is_none()) {
            let present = present()?;
            for mark in &mut marks {
                mark.missing = mark.images.iter().filter(|name| !present.contains(*name)).cloned().collect();
            }
        }
        Ok(marks)
    }

    /// Takes an archive in and imports it. Nothing of a transfer that broke off is kept.
    pub(super) async fn import<E: std::error::Error>(
        &self,
        digest: &str,
        description: Description,
        mut body: impl Stream<Item = Result<axum::body::Bytes, E>> + Unpin,
    ) -> Result<Mark, ImportError> {
        if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ImportError::NoDigest(digest.to_owned()));
        }
        let Description { file, images, base } = description;
        let incoming = self.dir.join(format!("{digest}.incoming"));
        let received = receive(&incoming, digest, &mut body).await;
        let (imported, path, names) = match received {
            Ok(()) => {
                let (path, names) = (incoming.clone(), images.clone());
                let import = move || import_file(&path, &names, base.as_deref());
                let ended = tokio::task::spawn_blocking(import).await;
                (ended.unwrap_or_else(|error| Err(ImportError::Runtime(error.to_string()))), incoming, images)
            }
            Err(error) => (Err(error), incoming, images),
        };
        // Imported or not, it is of no more use; the next start deletes what stays.
        let _ = tokio::fs::remove_file(&path).await;
        let mark = match imported {
            Ok(()) => Mark { digest: digest.to_owned(), images: names, refused: None, missing: Vec::new() },
            Err(error) if error.is_final() => Mark {
                digest: digest.to_owned(),
                images: Vec::new(),
                refused: Some(daemon::error::chain(&error)),
                missing: Vec::new(),
            },
            Err(error) => return Err(error),
        };
        self.write(&mark)?;
        info!(digest, file, images = ?mark.images, refused = ?mark.refused, "image archive taken");
        Ok(mark)
    }

    /// Removes the images that only this archive brought, and its mark.
    pub(super) async fn forget(&self, digest: &str) -> Result<(), ImportError> {
        let dir = self.dir.clone();
        let digest = digest.to_owned();
        let forgotten = tokio::task::spawn_blocking(move || {
            let all = marks(&dir).map_err(ImportError::disk("read", &dir))?;
            let (gone, kept): (Vec<Mark>, Vec<Mark>) = all.into_iter().partition(|mark| mark.digest == digest);
            let kept: BTreeSet<&String> = kept.iter().flat_map(|mark| &mark.images).collect();
            for name in gone.iter().flat_map(|mark| &mark.images).filter(|name| !kept.contains(name)) {
                // What containers run on stays until they end; the name goes.
                ctr(&["images", "rm", name])?;
            }
            let path = mark_path(&dir, &digest);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ImportError::disk("delete", &path)(error)),
                _ => Ok(()),
            }
        });
        forgotten.await.map_err(|error| ImportError::Runtime(error.to_string()))?
    }

    fn write(&self, mark: &Mark) -> Result<(), ImportError> {
        let path = mark_path(&self.dir, &mark.digest);
        let temporary = path.with_extension("incoming");
        let text = serde_json::to_vec(mark).map_err(|error| ImportError::Runtime(error.to_string()))?;
        std::fs::write(&temporary, text).map_err(ImportError::disk("write", &temporary))?;
        std::fs::rename(&temporary, &path).map_err(ImportError::disk("write", &path))
    }
}

fn mark_path(dir: &Path, digest: &str) -> PathBuf {
    dir.join(format!("{digest}.json"))
}

/// Whether this node has taken or refused an archive.
pub(crate) fn has_mark(digest: &str) -> bool {
    mark_path(Path::new(DIR), digest).exists()
}

fn marks(dir: &Path) -> io::Result<Vec<Mark>> {
    let mut marks = Vec::new();
    for entry in std::fs::read_dir(dir)?.filter_map(Result::ok) {
        let path = entry.path();
        if path.extension().is_none_or(|end| end != "json") {
            continue;
        }
        // One that cannot be read is none: the archive is sent once more.
        if let Ok(mark) = serde_json::from_slice(&std::fs::read(&path)?) {
            marks.push(mark);
        }
    }
    Ok(marks)
}

async fn receive<E: std::error::Error>(
    path: &Path,
    digest: &str,
    body: &mut (impl Stream<Item = Result<axum::body::Bytes, E>> + Unpin),
) -> Result<(), ImportError> {
    let file = tokio::fs::File::create(path).await.map_err(ImportError::disk("create", path))?;
    let mut file = tokio::io::BufWriter::with_capacity(1 << 20, file);
    let mut hash = Sha256::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| ImportError::Broken(daemon::error::chain(&error)))?;
        hash.update(&chunk);
        file.write_all(&chunk).await.map_err(ImportError::disk("write", path))?;
    }
    file.flush().await.map_err(ImportError::disk("write", path))?;
    let found = hex::encode(hash.finalize());
    if found == digest { Ok(()) } else { Err(ImportError::Digest { wanted: digest.to_owned(), found }) }
}

fn import_file(path: &Path, images: &[String], base: Option<&str>) -> Result<(), ImportError> {
    let path = path.to_string_lossy();
    let mut arguments = vec!["images", "import"];
    if let Some(base) = base {
        arguments.extend(["--base-name", base]);
    }
    arguments.push(&path);
    ctr(&arguments)?;
    let present = present()?;
    match images.iter().find(|name| !present.contains(*name)) {
        None => Ok(()),
        Some(name) => Err(ImportError::NotInIt(name.clone())),
    }
}

/// Names of the images that pods can use.
fn present() -> Result<BTreeSet<String>, ImportError> {
    Ok(ctr(&["images", "ls", "-q"])?.lines().map(|line| line.trim().to_owned()).collect())
}

fn ctr(arguments: &[&str]) -> Result<String, ImportError> {
    let all: Vec<&str> = ["--namespace", "k8s.io"].into_iter().chain(arguments.iter().copied()).collect();
    run("ctr", &all).map_err(|error| match error {
        CommandError::Failed { stderr, .. } => judge(&stderr),
        error @ CommandError::Run { .. } => ImportError::Runtime(daemon::error::chain(&error)),
    })
}

/// What containerd's words mean: a full disk and an absent daemon pass, a bad archive does not.
fn judge(words: &str) -> ImportError {
    let words = words.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says nothing").trim();
    let words = words.strip_prefix("ctr: ").unwrap_or(words);
    let passes = ["connection refused", "no such file or directory: unavailable", "unavailable", "deadline exceeded"];
    if words.contains("no space left on device") || words.contains("disk quota exceeded") {
        ImportError::Full
    } else if passes.iter().any(|pass| words.contains(pass)) {
        ImportError::Runtime(words.to_owned())
    } else {
        ImportError::Refused(words.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_runtime_are_told_apart() {
        assert!(matches!(judge("ctr: write /x: no space left on device: unknown\n"), ImportError::Full));
        assert!(matches!(judge("dial unix: connect: connection refused"), ImportError::Runtime(_)));
        let bad = judge("time=x level=info\nctr: unrecognized image format\n");
        assert!(bad.is_final());
        assert_eq!(bad.to_string(), "containerd does not take it: unrecognized image format");
    }

    fn described() -> Description {
        Description { file: "a.tar".to_owned(), images: Vec::new(), base: None }
    }

    #[tokio::test]
    async fn a_transfer_of_another_digest_leaves_nothing() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = Store::open(dir.path()).expect("opened");
        let body = || futures::stream::iter([Ok::<_, io::Error>(axum::body::Bytes::from_static(b"not it"))]);
        let error = store.import(&"0".repeat(64), described(), body()).await.expect_err("refused");
        assert!(matches!(error, ImportError::Digest { .. }) && !error.is_final(), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).expect("there").count(), 0);
        let error = store.import("../x", described(), body()).await.expect_err("refused");
        assert!(matches!(error, ImportError::NoDigest(_)), "{error}");
    }

    #[test]
    fn marks_are_read_back_and_half_written_files_go() {
        let dir = tempfile::tempdir().expect("temporary directory");
        std::fs::write(dir.path().join("x.incoming"), "half").expect("written");
        let store = Store::open(dir.path()).expect("opened");
        let mark = Mark { digest: "ab".repeat(32), images: vec!["a:1".to_owned()], refused: None, missing: Vec::new() };
        store.write(&mark).expect("written");
        std::fs::write(dir.path().join("bad.json"), "{").expect("written");
        assert_eq!(marks(dir.path()).expect("read"), [mark]);
        assert!(!dir.path().join("x.incoming").exists());
    }
}
