//! Artifacts of the pool: fetched from the master once, verified, copied into the sandboxes of those who name them.
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use daemon::client::HttpClient;
use proto::mesos::v1::command_info::Uri;
use sha2::{Digest as _, Sha256};

use crate::images::{Download, download};
use crate::limits;

/// Why an artifact cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArtifactError {
    #[error("'{0}' is no artifact: only artifact:sha256:<64 hexadecimal digits> is fetched")]
    Scheme(String),
    #[error("'{0}' leaves the sandbox")]
    Name(String),
    #[error("fetch artifact {digest}")]
    Fetch { digest: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("artifact {wanted} has digest {found}")]
    Digest { wanted: String, found: String },
    #[error("{operation} {path}")]
    Disk { operation: &'static str, path: PathBuf, source: io::Error },
}

fn disk(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ArtifactError {
    let path = path.to_owned();
    move |source| ArtifactError::Disk { operation, path, source }
}

/// Artifacts on this machine: `artifacts/<sha256>`.
pub(crate) struct ArtifactStore {
    dir: PathBuf,
    master: HttpClient,
    flights: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl ArtifactStore {
    pub(crate) fn open(dir: &Path, master: HttpClient) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned(), master, flights: Mutex::default() })
    }

    /// Puts what a URI names into a sandbox.
    pub(crate) async fn place(&self, uri: &Uri, sandbox: &Path) -> Result<(), ArtifactError> {
        let hex = uri
            .value
            .strip_prefix("artifact:sha256:")
            .filter(|hex| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
            .ok_or_else(|| ArtifactError::Scheme(uri.value.clone()))?;
        let name = uri.output_file.as_deref().filter(|name| !name.is_empty()).unwrap_or(hex);
        if name.starts_with('/') || name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(ArtifactError::Name(name.to_owned()));
        }
        let stored = self.ensure(hex).await?;
        let target = sandbox.join(name);
        let executable = uri.executable();
        let is_archive = [".tar", ".tar.gz", ".tgz", ".tar.zst"].iter().any(|end| name.ends_with(end));
        let extract = uri.extract() && !executable && is_archive;
        let sandbox = sandbox.to_owned();
        tokio::task::spawn_blocking(move || {
            if extract {
                let file = io::BufReader::new(fs::File::open(&stored).map_err(disk("open", &stored))?);
                let plain = crate::images::decompress(file).map_err(disk("read", &stored))?;
                return tar::Archive::new(plain).unpack(&sandbox).map_err(disk("unpack to", &sandbox));
            }
            let parent = target.parent().unwrap_or(&sandbox);
            fs::create_dir_all(parent).map_err(disk("make directory", parent))?;
            // A copy: the task may write to it.
            fs::copy(&stored, &target).map_err(disk("write", &target))?;
            let mode = if executable { 0o755 } else { 0o644 };
            fs::set_permissions(&target, Permissions::from_mode(mode)).map_err(disk("set mode of", &target))
        })
        .await
        .expect("copying does not panic")
    }

    async fn ensure(&self, hex: &str) -> Result<PathBuf, ArtifactError> {
        let lock = {
            let mut flights = self.flights.lock().expect("no holder panics");
            flights.retain(|_, lock| Arc::strong_count(lock) > 1);
            flights.entry(hex.to_owned()).or_default().clone()
        };
        let _flight = lock.lock().await;
        let target = self.dir.join(hex);
        if target.exists() {
            return Ok(target);
        }
        let temporary = self.dir.join(format!("{hex}.new"));
        let mut pause = limits::RETRY_MIN;
        for attempt in 1.. {
            match self.fetch(hex, &temporary).await {
                Ok(()) => break,
                Err(error @ (ArtifactError::Fetch { .. } | ArtifactError::Digest { .. }))
                    if attempt < limits::DOWNLOAD_ATTEMPTS =>
                {
                    tracing::warn!(error = %daemon::error::chain(&error), attempt, "artifact not fetched, trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(limits::RETRY_MAX);
                }
                Err(error) => {
                    let _ = fs::remove_file(&temporary);
                    return Err(error);
                }
            }
        }
        fs::rename(&temporary, &target).map_err(disk("rename", &temporary))?;
        Ok(target)
    }

    async fn fetch(&self, hex: &str, to: &Path) -> Result<(), ArtifactError> {
        let mut file = tokio::fs::File::create(to).await.map_err(disk("create", to))?;
        let path = format!("/artifacts/sha256/{hex}");
        Box::pin(download(&self.master, &path, limits::ARTIFACT_BYTES_MAX, &mut file)).await.map_err(|error| {
            match error {
                Download::Remote(source) => ArtifactError::Fetch { digest: hex.to_owned(), source },
                Download::Disk(source) => disk("write", to)(source),
            }
        })?;
        let path = to.to_owned();
        let found = tokio::task::spawn_blocking(move || -> io::Result<String> {
            let mut hash = Sha256::new();
            io::copy(&mut fs::File::open(path)?, &mut HashWriter(&mut hash))?;
            Ok(hex::encode(hash.finalize()))
        })
        .await
        .expect("hashing does not panic")
        .map_err(disk("read", to))?;
        if found == hex { Ok(()) } else { Err(ArtifactError::Digest { wanted: hex.to_owned(), found }) }
    }
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
