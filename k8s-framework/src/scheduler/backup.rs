//! Backups: an etcd snapshot with the keys and options a cluster needs to be the same again, written as it is read, so that
//! neither this process nor its disk ever holds one. Those that time or a change asks for are kept by the master, beside
//! the framework's state, which holds the same keys: no agent's loss costs them, and they outlive the cluster.
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use daemon::error::chain;
use etcd_client::SnapshotStreaming;
use framework_sdk::view::ServiceView;
use futures::Stream;
use http::{Method, Request};
use kubernetes_core::backup::{self, MANIFEST, Manifest, Part, SCHEDULED, SECRETS, Stored};
use model::Refusal;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::etcd::{self, Counted};
use super::{Shared, images};
use crate::topology::{APISERVER, ETCD};

/// Bytes of one part: what is held in memory, twice.
const PART_BYTES: usize = 4 * 1024 * 1024;
/// How often it is looked whether one is due.
const PERIOD: Duration = Duration::from_secs(30);
/// For the master to take one: 32 MiB a second, and a pause.
const KEEP_TIME: Duration = Duration::from_secs(600);
/// How long a change waits for the backup before it.
const SNAPSHOT_TIME: Duration = Duration::from_secs(60);
/// One made so shortly ago does for the next change, too (seconds).
const FRESH: u64 = 30;
const LIST_BYTES_MAX: usize = 1024 * 1024;

type Chunk = std::io::Result<Bytes>;

/// A backup on its way. When the stream has ended without an error, it is whole.
pub(super) struct Making {
    pub(super) id: String,
    pub(super) created: u64,
    chunks: mpsc::Receiver<Chunk>,
}

impl Making {
    pub(super) fn into_stream(self) -> impl Stream<Item = Chunk> + Send + 'static {
        futures::stream::unfold(self.chunks, |mut chunks| async move { Some((chunks.recv().await?, chunks)) })
    }
}

/// Begins a backup. What can be known to fail fails here.
///
/// # Errors
/// If etcd does not answer.
pub(super) async fn make(shared: &Shared, reason: &str) -> Result<Making, Refusal> {
    let failed = |why: String| {
        Refusal::new(
            "K8S0010",
            format!("there is no backup of '{}': {why}", shared.name),
            "try again when etcd answers",
        )
    };
    let secrets = shared.secrets().await?;
    let secrets = serde_json::to_vec(&*secrets).map_err(|error| failed(error.to_string()))?;
    let mut client = etcd::connect(shared, &shared.handle.view()).await.map_err(failed)?;
    let status = etcd::within(client.status()).await.map_err(failed)?;
    let counted = etcd::count(&mut client, None).await.map_err(failed)?;
    let mut snapshot = etcd::within(client.snapshot()).await.map_err(failed)?;
    let first = etcd::within(snapshot.message()).await.map_err(failed)?;
    let first = first.ok_or_else(|| failed("etcd sends an empty snapshot".to_owned()))?;
    let manifest = begun(shared, reason, status.version(), counted);
    let (id, created) = (manifest.id.clone(), manifest.created);
    let (sender, chunks) = mpsc::channel(4);
    let first = first.blob().to_vec();
    tokio::spawn(async move {
        // The client must live as long as its stream.
        let _client = client;
        let mut writer = Writer { sender, manifest, whole: Sha256::new(), checked: Sha256::new(), tail: Vec::new() };
        if let Err(why) = writer.write(&secrets, &first, snapshot).await {
            warn!(why, "backup broke off");
            // Whoever reads sees that it is not whole.
            let _ = writer.sender.send(Err(std::io::Error::other(why))).await;
        }
    });
    Ok(Making { id, created, chunks })
}

fn begun(shared: &Shared, reason: &str, etcd_version: &str, counted: Counted) -> Manifest {
    let created = super::now_seconds();
    let mut options = (*shared.options()).clone();
    options.node_count = shared.nodes().set.count;
    Manifest {
        format: backup::FORMAT,
        id: format!("{}-{created}", shared.name),
        cluster: shared.name.clone(),
        created,
        reason: reason.to_owned(),
        made_by: env!("CARGO_PKG_VERSION").to_owned(),
        etcd_version: etcd_version.to_owned(),
        options,
        revision: counted.revision,
        objects: counted.objects,
        images: images::list(shared),
        parts: Vec::new(),
        snapshot_bytes: 0,
        snapshot_sha256: String::new(),
        secrets_sha256: String::new(),
    }
}

/// Writes the file, entry by entry.
struct Writer {
    sender: mpsc::Sender<Chunk>,
    manifest: Manifest,
    whole: Sha256,
    /// Of all but the last 32 bytes, which etcd says must be this.
    checked: Sha256,
    tail: Vec<u8>,
}

/// What etcd appends to a snapshot.
const ETCD_HASH_BYTES: usize = 32;

impl Writer {
    async fn write(&mut self, secrets: &[u8], first: &[u8], mut snapshot: SnapshotStreaming) -> Result<(), String> {
        self.manifest.secrets_sha256 = hex::encode(Sha256::digest(secrets));
        self.entry(SECRETS, secrets).await?;
        let mut part = Vec::with_capacity(PART_BYTES);
        self.take(first, &mut part).await?;
        while let Some(message) = etcd::within(snapshot.message()).await? {
            self.take(message.blob(), &mut part).await?;
        }
        if !part.is_empty() {
            self.part(&part).await?;
        }
        if self.tail.len() < ETCD_HASH_BYTES || self.checked.clone().finalize().as_slice() != self.tail.as_slice() {
            return Err("the snapshot that etcd sent is not whole".to_owned());
        }
        self.manifest.snapshot_sha256 = hex::encode(self.whole.clone().finalize());
        let manifest = serde_json::to_vec_pretty(&self.manifest).map_err(|error| error.to_string())?;
        self.entry(MANIFEST, &manifest).await?;
        self.send(vec![0; 1024].into()).await
    }

    async fn take(&mut self, blob: &[u8], part: &mut Vec<u8>) -> Result<(), String> {
        self.whole.update(blob);
        self.manifest.snapshot_bytes += blob.len() as u64;
        self.tail.extend_from_slice(blob);
        let certain = self.tail.len().saturating_sub(ETCD_HASH_BYTES);
        self.checked.update(&self.tail[..certain]);
        self.tail.drain(..certain);
        let mut blob = blob;
        while part.len() + blob.len() >= PART_BYTES {
            let (now, later) = blob.split_at(PART_BYTES - part.len());
            part.extend_from_slice(now);
            self.part(part).await?;
            part.clear();
            blob = later;
        }
        part.extend_from_slice(blob);
        Ok(())
    }

    async fn part(&mut self, part: &[u8]) -> Result<(), String> {
        let name = backup::part_name(self.manifest.parts.len());
        self.entry(&name, part).await?;
        let sha256 = hex::encode(Sha256::digest(part));
        self.manifest.parts.push(Part { name, bytes: part.len() as u64, sha256 });
        Ok(())
    }

    async fn entry(&self, name: &str, content: &[u8]) -> Result<(), String> {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).map_err(|error| error.to_string())?;
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.manifest.created);
        header.set_cksum();
        let padding = content.len().next_multiple_of(512) - content.len();
        let mut bytes = Vec::with_capacity(512 + content.len() + padding);
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len() + padding, 0);
        self.send(bytes.into()).await
    }

    async fn send(&self, bytes: Bytes) -> Result<(), String> {
        self.sender.send(Ok(bytes)).await.map_err(|_| "nobody reads it any more".to_owned())
    }
}

/// What the master keeps of this cluster, oldest first.
///
/// # Errors
/// If the master does not answer.
pub(super) async fn stored(shared: &Shared) -> Result<Vec<Stored>, Refusal> {
    #[derive(Deserialize)]
    struct Kept {
        name: String,
        bytes: u64,
    }
    let failed = |why: String| refused(format!("the backups of '{}' are not listed: {why}", shared.name));
    let bytes = shared.pool.get(&format!("/files/{}", shared.name), LIST_BYTES_MAX).await;
    let bytes = bytes.map_err(|error| failed(chain(&error)))?;
    let kept: Vec<Kept> = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
    let mut stored: Vec<Stored> = kept.iter().filter_map(|kept| backup::stored(&kept.name, kept.bytes)).collect();
    stored.sort_unstable();
    Ok(stored)
}

/// Makes a backup that the master keeps, and deletes those that are old.
///
/// # Errors
/// If it is not made, or not kept.
pub(super) async fn keep(shared: &Shared, reason: &str) -> Result<Stored, Refusal> {
    let _one = shared.backing_up.lock().await;
    let making = make(shared, reason).await?;
    let name = backup::file_name(making.created, reason);
    let path = format!("/files/{}/{name}", shared.name);
    let failed = |why: String| refused(format!("the backup {name} is not kept: {why}"));
    let request = Request::builder()
        .method(Method::PUT)
        .uri(&path)
        .body(Body::from_stream(making.into_stream()))
        .map_err(|error| failed(error.to_string()))?;
    let sent = tokio::time::timeout(KEEP_TIME, shared.pool.send(request, LIST_BYTES_MAX)).await;
    sent.map_err(|_| failed(format!("the master has not taken it in {} s", KEEP_TIME.as_secs())))?
        .map_err(|error| failed(chain(&error)))?;
    let all = stored(shared).await?;
    for old in backup::old(&all, shared.options().backup.retention as usize) {
        if let Err(error) = shared.pool.delete(&format!("/files/{}/{old}", shared.name)).await {
            warn!(error = %chain(&error), file = old, "old backup not deleted");
        }
    }
    let kept = all.into_iter().find(|one| one.name == name);
    let kept = kept.ok_or_else(|| failed("the master does not have it".to_owned()))?;
    info!(file = kept.name, bytes = kept.bytes, "backup kept by the master");
    Ok(kept)
}

/// Called before a change that could cost data: a member of etcd that comes or goes, an update. Without a running etcd there
/// is nothing to save, and one made a moment ago does.
///
/// # Errors
/// If there is something to save and it is not saved: the caller should not go on.
pub(super) async fn snapshot_before(shared: &Shared, view: &ServiceView, what: &str) -> Result<(), Refusal> {
    if !view.of_pod(ETCD).any(|member| member.is_ready) {
        return Ok(());
    }
    let newest = stored(shared).await?.into_iter().map(|one| one.created).max();
    if newest.is_some_and(|newest| super::now_seconds().saturating_sub(newest) < FRESH) {
        return Ok(());
    }
    keep(shared, &format!("before-{what}")).await.map(drop)
}

/// The same for a change that must not wait for it: it may be what heals the cluster.
pub(super) async fn try_snapshot_before(shared: &Shared, view: &ServiceView, what: &str) {
    // Before there was a kube-apiserver nothing was written.
    if !view.of_pod(APISERVER).any(|instance| instance.placement.is_some()) {
        return;
    }
    let made = tokio::time::timeout(SNAPSHOT_TIME, snapshot_before(shared, view, what)).await;
    let made = made.unwrap_or_else(|_| Err(refused(format!("no backup in {} s", SNAPSHOT_TIME.as_secs()))));
    if let Err(refusal) = made {
        warn!(code = refusal.code, why = refusal.message, what, "no backup before a change");
    }
}

/// Makes those that time asks for, as long as the scheduler runs.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        let interval = u64::from(shared.options().backup.interval) * 60;
        let is_complete = shared.handle.plans().iter().any(|plan| {
            plan.name == framework_sdk::spec::DEPLOY && plan.status == framework_sdk::plan::Status::Complete
        });
        if interval == 0 || !is_complete {
            continue;
        }
        let made = async {
            if backup::is_due(&stored(&shared).await?, interval, super::now_seconds()) {
                keep(&shared, SCHEDULED).await?;
            }
            Ok::<_, Refusal>(())
        };
        if let Err(refusal) = made.await {
            warn!(code = refusal.code, why = refusal.message, "scheduled backup not made, tried again");
        }
    }
}

fn refused(message: String) -> Refusal {
    Refusal::new("K8S0010", message, "try again; the scheduler's log may say more")
}
