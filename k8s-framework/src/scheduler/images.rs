//! Image archives that every node has: the list in the framework's state, and the loop that brings nodes to it. Archives
//! lie in the pool's store; they are passed on from there to the image service of each node, as a stream.
//!
//! A node that is launched is told the list of that moment and starts its kubelet when it has all of it.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use daemon::client::HttpClient;
use daemon::error::chain;
use daemon::identity::Identity;
use framework_sdk::RenderedPod;
use framework_sdk::view::InstanceView;
use futures::{StreamExt as _, TryStreamExt as _};
use http::{Method, Request};
use kubernetes_core::images::{self, Archive};
use kubernetes_core::pki::Authority;
use model::{Refusal, TaskState};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::io::{StreamReader, SyncIoBridge};
use tracing::{info, warn};

use super::Shared;
use crate::archive::{self, ScanError};
use crate::image_service::{DESCRIPTION, Description, Mark};
use crate::topology::{IMAGES_PORT, NODE};

/// State entry with the list.
const KEY: &str = "images";
/// Nodes that are sent archives at the same time: each stream is one of the master's disk.
const AT_ONCE: usize = 4;
/// Between two looks at a node that has everything, and at one that is starting or was told something new.
const PERIOD: Duration = Duration::from_secs(10);
const PERIOD_BUSY: Duration = Duration::from_millis(500);
/// After a transfer that failed.
const PERIOD_AFTER_FAILURE: Duration = Duration::from_secs(5);
/// For a question to a node.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// For a transfer with its import: a slow disk takes in 2 MiB a second.
const TRANSFER_TIME: Duration = Duration::from_secs(120);
const TRANSFER_BYTES_PER_SECOND: u64 = 2 * 1024 * 1024;
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How far a node is with an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum Stage {
    /// It is asked, or waits for its turn.
    Waiting,
    /// So many bytes are on their way.
    Sending { bytes: u64 },
    /// Everything is sent, containerd unpacks it.
    Importing,
    /// It has it.
    Loaded,
    /// It went wrong, and is tried again unless the archive itself is at fault.
    Failed { why: String, tried_again: bool },
}

/// What the loop found, by node and digest. Forgotten with the scheduler and found anew.
#[derive(Debug, Default)]
pub(super) struct Progress {
    stages: Mutex<BTreeMap<(String, String), Stage>>,
    wake: Notify,
    /// One change of the list at a time.
    changing: tokio::sync::Mutex<()>,
}

impl Progress {
    fn set(&self, node: &str, digest: &str, stage: Stage) {
        self.stages.lock().expect("nobody panics with the lock").insert((node.to_owned(), digest.to_owned()), stage);
    }
    fn of(&self, node: &str, digest: &str) -> Stage {
        let stages = self.stages.lock().expect("nobody panics with the lock");
        stages.get(&(node.to_owned(), digest.to_owned())).cloned().unwrap_or(Stage::Waiting)
    }
    /// Only what is about living nodes and listed archives stays.
    fn retain(&self, nodes: &BTreeSet<String>, digests: &BTreeSet<&str>) {
        let mut stages = self.stages.lock().expect("nobody panics with the lock");
        stages.retain(|(node, digest), _| nodes.contains(node) && digests.contains(digest.as_str()));
    }
}

/// The list.
pub(super) fn list(shared: &Shared) -> Vec<Archive> {
    shared.handle.state().get(KEY).and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

async fn store(shared: &Shared, list: &[Archive]) -> Result<(), Refusal> {
    let failed = |why: String| Refusal::new("K8S0008", format!("the list of images is not stored: {why}"), "try again");
    let bytes = serde_json::to_vec(list).map_err(|error| failed(error.to_string()))?;
    shared.handle.state().put(KEY, bytes).await.map_err(|error| failed(chain(&error)))
}

/// Puts a whole list in place: that of a backup.
///
/// # Errors
/// If it is not stored.
pub(super) async fn replace(shared: &Shared, list: &[Archive]) -> Result<(), Refusal> {
    let _changing = shared.images.changing.lock().await;
    store(shared, list).await
}

/// Tells a node that is about to be launched what it must have before its kubelet starts.
pub(super) fn require(shared: &Shared, pod: &mut RenderedPod) {
    let digests: Vec<String> = list(shared).into_iter().map(|archive| archive.digest).collect();
    if let Some(node) = pod.tasks.get_mut(NODE).filter(|_| !digests.is_empty()) {
        node.env.insert(crate::node_init::REQUIRED_IMAGES.to_owned(), digests.join(","));
    }
}

/// Adds an archive of the pool's store to the list. Nodes take it in the background.
///
/// # Errors
/// If it is none, or cannot be read.
pub(super) async fn load(shared: &Shared, digest: &str, file: &str) -> Result<Value, Refusal> {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest).to_owned();
    if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Err(refused(format!("'{digest}' is no digest"), r#"send {"digest": "sha256:<hex>", "name": FILE}"#));
    }
    let (bytes, found) = look(shared, &hex, file).await?;
    let archive = Archive {
        digest: hex,
        file: file.to_owned(),
        bytes,
        images: found.images,
        base: found.base,
        loaded: super::now_seconds(),
    };
    let _changing = shared.images.changing.lock().await;
    let mut list = list(shared);
    images::add(&mut list, archive.clone())
        .map_err(|words| refused(words, "take some back with: mezzo kubernetes unload"))?;
    store(shared, &list).await?;
    info!(digest = archive.digest, file, images = ?archive.images, "image archive to be loaded into every node");
    for node in nodes(shared) {
        // What was refused is tried anew, because somebody asks for it.
        shared.images.set(&node.name.to_string(), &archive.digest, Stage::Waiting);
    }
    shared.images.wake.notify_one();
    let names: Vec<String> = nodes(shared).iter().map(|node| node.name.to_string()).collect();
    Ok(json!({ "digest": format!("sha256:{}", archive.digest), "images": archive.images, "nodes": names }))
}

/// Length and content of an archive in the pool's store.
async fn look(shared: &Shared, hex: &str, file: &str) -> Result<(u64, images::Content), Refusal> {
    let (bytes, body) = fetch(shared, hex).await.map_err(|why| refused(why, "load the archive again"))?;
    let stream = body.into_data_stream().map_err(std::io::Error::other);
    let reader = SyncIoBridge::new(StreamReader::new(stream));
    let name = file.to_owned();
    let scanned = tokio::task::spawn_blocking(move || archive::scan(&name, reader)).await;
    let scanned = scanned.map_err(|error| refused(format!("{file} is not read: {error}"), "try again"))?;
    let found = scanned.map_err(|error: ScanError| {
        let next = "make one with: docker save IMAGE -o FILE, or: skopeo copy SOURCE docker-archive:FILE:IMAGE";
        refused(format!("{file} is no archive of images: {error}"), next)
    })?;
    Ok((bytes, found))
}

/// An artifact of the pool's store: length and bytes.
async fn fetch(shared: &Shared, hex: &str) -> Result<(u64, Body), String> {
    let path = format!("/artifacts/sha256/{hex}");
    let request = Request::get(&path).body(Body::empty()).map_err(|error| error.to_string())?;
    let asked = tokio::time::timeout(ANSWER_TIME, shared.pool.request(request)).await;
    let response = asked.map_err(|_| "the master does not answer".to_owned())?.map_err(|error| chain(&error))?;
    match response.status().as_u16() {
        200 => {
            let header = response.headers().get(http::header::CONTENT_LENGTH);
            let length = header.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or_default();
            Ok((length, Body::new(response.into_body())))
        }
        404 => Err(format!("the pool has no artifact sha256:{hex} any more")),
        status => Err(format!("the master answers {status} for artifact sha256:{hex}")),
    }
}

/// Takes archives off the list; nodes forget their images in the background.
///
/// # Errors
/// If nothing of the list is meant.
pub(super) async fn unload(shared: &Shared, what: &str) -> Result<Value, Refusal> {
    let _changing = shared.images.changing.lock().await;
    let mut list = list(shared);
    let gone = images::remove(&mut list, what);
    if gone.is_empty() {
        let next = "see what is loaded with: mezzo kubernetes images";
        return Err(refused(format!("nothing that is loaded is called '{what}'"), next));
    }
    store(shared, &list).await?;
    shared.images.wake.notify_one();
    Ok(json!({ "unloaded": gone }))
}

/// The list, and how far every node is with each archive of it.
pub(super) fn show(shared: &Shared) -> Value {
    let nodes: Vec<String> = nodes(shared).iter().map(|node| node.name.to_string()).collect();
    let archives: Vec<Value> = list(shared)
        .into_iter()
        .map(|archive| {
            let stages: Vec<Value> = nodes
                .iter()
                .map(|node| {
                    let mut value = serde_json::to_value(shared.images.of(node, &archive.digest)).unwrap_or_default();
                    value["node"] = json!(node);
                    value
                })
                .collect();
            let mut value = serde_json::to_value(&archive).unwrap_or_default();
            value["nodes"] = json!(stages);
            value
        })
        .collect();
    json!({ "archives": archives })
}

/// What a node has yet to take, in words; nothing if it has everything.
pub(super) fn missing(shared: &Shared, node: &str) -> Option<String> {
    let (mut waiting, mut words) = (0_usize, String::new());
    for archive in list(shared) {
        let stage = match shared.images.of(node, &archive.digest) {
            // One that is refused everywhere is shown where images are; a node lives without it.
            Stage::Loaded | Stage::Failed { tried_again: false, .. } => continue,
            Stage::Waiting => format!("{} is to be sent", archive.file),
            Stage::Sending { bytes } => {
                format!("{} is being sent ({}%)", archive.file, bytes.saturating_mul(100) / archive.bytes.max(1))
            }
            Stage::Importing => format!("{} is being imported", archive.file),
            Stage::Failed { why, .. } => format!("{}: {why}", archive.file),
        };
        waiting += 1;
        if waiting == 1 {
            words = stage;
        }
    }
    match waiting {
        0 => None,
        1 => Some(format!("an image archive is missing: {words}")),
        more => Some(format!("{more} image archives are missing: {words}")),
    }
}

/// Nodes that run or are about to.
fn nodes(shared: &Shared) -> Vec<InstanceView> {
    let view = shared.handle.view();
    let runs = |node: &&InstanceView| {
        let task = node.tasks.get(NODE);
        node.placement.is_some() && !node.is_leaving && task.is_some_and(|task| task.state == TaskState::Running)
    };
    view.of_pod(NODE).filter(runs).cloned().collect()
}

/// Brings nodes to the list as long as the scheduler runs.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut due: BTreeMap<String, (String, Instant)> = BTreeMap::new();
    loop {
        let list = Arc::new(list(&shared));
        let nodes = nodes(&shared);
        let names: BTreeSet<String> = nodes.iter().map(|node| node.name.to_string()).collect();
        shared.images.retain(&names, &list.iter().map(|archive| archive.digest.as_str()).collect());
        due.retain(|name, _| names.contains(name));
        let now = Instant::now();
        // A node launched anew has another task, and nothing is known of it.
        let task = |node: &InstanceView| node.tasks.get(NODE).map(|task| task.task_id.to_string()).unwrap_or_default();
        let is_due = |node: &InstanceView| {
            due.get(&node.name.to_string()).is_none_or(|(known, at)| *known != task(node) || *at <= now)
        };
        let mut turn = nodes;
        turn.retain(is_due);
        let looks: Vec<_> = turn
            .into_iter()
            .map(|node| {
                let (shared, list, task) = (shared.clone(), list.clone(), task(&node));
                async move { (node.name.to_string(), task, sync(&shared, &node, &list).await) }
            })
            .collect();
        let looked: Vec<(String, String, Duration)> =
            futures::stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
        due.extend(looked.into_iter().map(|(name, task, wait)| (name, (task, Instant::now() + wait))));
        tokio::select! {
            () = shared.images.wake.notified() => due.clear(),
            () = tokio::time::sleep(PERIOD_BUSY) => {}
        }
    }
}

/// One look at a node; says when the next is due.
async fn sync(shared: &Shared, node: &InstanceView, list: &[Archive]) -> Duration {
    let name = node.name.to_string();
    let (client, marks) = match ask(shared, node).await {
        Ok(answer) => answer,
        Err(why) => {
            tracing::debug!(node = name, why, "image service does not answer");
            for archive in list {
                if shared.images.of(&name, &archive.digest) != Stage::Loaded {
                    shared.images.set(&name, &archive.digest, Stage::Waiting);
                }
            }
            return PERIOD_BUSY;
        }
    };
    let mut wait = PERIOD;
    for mark in marks.iter().filter(|mark| !list.iter().any(|archive| archive.digest == mark.digest)) {
        let path = format!("/v1/images/{}", mark.digest);
        match tokio::time::timeout(ANSWER_TIME, client.delete(&path)).await {
            Ok(Ok(_)) => info!(node = name, digest = mark.digest, "images taken out of the node"),
            Ok(Err(error)) => warn!(node = name, error = %chain(&error), "images not taken out of the node"),
            Err(_) => wait = PERIOD_BUSY,
        }
    }
    for archive in list {
        let mark = marks.iter().find(|mark| mark.digest == archive.digest);
        let was_asked_again = shared.images.of(&name, &archive.digest) == Stage::Waiting;
        match mark {
            Some(Mark { refused: None, missing, .. }) if missing.is_empty() => {
                shared.images.set(&name, &archive.digest, Stage::Loaded);
                continue;
            }
            Some(Mark { refused: Some(why), .. }) if !was_asked_again => {
                shared.images.set(&name, &archive.digest, Stage::Failed { why: why.clone(), tried_again: false });
                continue;
            }
            Some(_) | None => {}
        }
        let stage = match send(shared, &client, &name, archive).await {
            Ok(()) => Stage::Loaded,
            Err((why, is_final)) => {
                warn!(node = name, file = archive.file, why, "image archive not loaded");
                wait = PERIOD_AFTER_FAILURE;
                Stage::Failed { why, tried_again: !is_final }
            }
        };
        shared.images.set(&name, &archive.digest, stage);
    }
    wait
}

/// A client of a node's image service, and what it has.
async fn ask(shared: &Shared, node: &InstanceView) -> Result<(HttpClient, Vec<Mark>), String> {
    let placement = node.placement.as_ref().ok_or("it has no place")?;
    let port = placement.port(IMAGES_PORT).ok_or("it was launched by an older version")?;
    let secrets = shared.secrets().await.map_err(|refusal| refusal.message)?;
    let own = secrets.client("framework");
    let identity = Identity {
        ca_pem: secrets.trust(Authority::Cluster),
        cert_pem: own.certificate.clone(),
        key_pem: own.key.clone(),
    };
    let client = HttpClient::new(&format!("{}:{port}", placement.address), &node.name.to_string(), &identity)
        .map_err(|error| chain(&error))?;
    let asked = tokio::time::timeout(ANSWER_TIME, client.get("/v1/images", ANSWER_BYTES_MAX)).await;
    let answer = asked.map_err(|_| "no answer".to_owned())?.map_err(|error| chain(&error))?;
    let marks = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
    Ok((client, marks))
}

/// Passes an archive on. An error comes with whether it would come again.
async fn send(shared: &Shared, client: &HttpClient, node: &str, archive: &Archive) -> Result<(), (String, bool)> {
    let passes = |why: String| (why, false);
    let (length, body) = fetch(shared, &archive.digest).await.map_err(passes)?;
    let (progress, name, digest) = (shared.images.clone(), node.to_owned(), archive.digest.clone());
    progress.set(node, &archive.digest, Stage::Sending { bytes: 0 });
    let mut sent = 0;
    let stream = body.into_data_stream().inspect_ok(move |chunk| {
        sent += chunk.len() as u64;
        let stage = if sent < length { Stage::Sending { bytes: sent } } else { Stage::Importing };
        progress.set(&name, &digest, stage);
    });
    let description =
        Description { file: archive.file.clone(), images: archive.images.clone(), base: archive.base.clone() };
    let request = Request::builder()
        .method(Method::PUT)
        .uri(format!("/v1/images/{}", archive.digest))
        .header(DESCRIPTION, description.to_header().map_err(|error| passes(error.to_string()))?)
        .header(http::header::CONTENT_LENGTH, length)
        .body(Body::from_stream(stream))
        .map_err(|error| passes(error.to_string()))?;
    let limit = TRANSFER_TIME + Duration::from_secs(length / TRANSFER_BYTES_PER_SECOND);
    let answered = tokio::time::timeout(limit, client.send(request, ANSWER_BYTES_MAX)).await;
    let answered = answered.map_err(|_| passes(format!("not taken in {} s", limit.as_secs())))?;
    let answer = answered.map_err(|error| {
        let words = chain(&error);
        passes(if let daemon::client::HttpError::Status { text, .. } = error { text } else { words })
    })?;
    let mark: Mark = serde_json::from_slice(&answer).map_err(|error| passes(error.to_string()))?;
    mark.refused.map_or(Ok(()), |why| Err((why, true)))
}

fn refused(message: String, next_step: &str) -> Refusal {
    Refusal::new("K8S0009", message, next_step)
}
