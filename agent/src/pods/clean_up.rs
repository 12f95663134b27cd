//! What a task undoes after its pod. Whatever a pod did to its agent outside of its containers (packet filter rules,
//! links, settings) outlives it when its executor is killed, so the task says how that is undone, and the agent has it
//! done after every pod, however it ended, before it says so.
//!
//! It is run in fresh files of the task's image: what the task made of its own files must not keep it from working, and
//! an agent that was restarted does not see them any more.
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use agent_core::PodId;
use proto::mezzo::v1::StartPod;
use tracing::{info, warn};

use super::{Context, cgroup, load_start};
use crate::container::Bundle;
use crate::images::{ImageError, mount_host_root, mount_layers};
use crate::limits;

/// In a bundle: the layers of the image, the lowest first, or nothing for the agent's own files.
const LAYERS: &str = "layers.json";
const CONFIG: &str = "config.json";

/// Why something is left.
#[derive(Debug, thiserror::Error)]
enum CleanUpError {
    #[error("mount the files for it")]
    Mount(#[from] ImageError),
    #[error("read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("run {program}")]
    Run { program: PathBuf, source: io::Error },
    #[error("{0}; its log has the reason")]
    Ended(std::process::ExitStatus),
    #[error("it took longer than {} s", limits::CLEAN_UP_TIME.as_secs())]
    Late,
}

/// Writes the bundle below a container's place; returns where.
pub(super) fn write_bundle(bundle: &Bundle, layers: Option<&[PathBuf]>, place: &Path) -> io::Result<PathBuf> {
    let dir = place.join("clean-up");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join(LAYERS), serde_json::to_vec(&layers)?)?;
    fs::write(dir.join(CONFIG), bundle.config().to_string())?;
    Ok(dir)
}

/// Undoes what a pod's tasks did. What fails is tried again a few times, then logged and given up: a pod must end.
pub(super) async fn clean_up(context: &Arc<Context>, pod_id: &PodId, dir: &Path) {
    let Some(bundles) = bundles_of(dir) else { return };
    let mut pause = limits::RETRY_MIN;
    for attempt in 1..=limits::CLEAN_UP_ATTEMPTS {
        super::until_done(pod_id, dir, &context.pod_cgroup(pod_id), super::kill).await;
        match Box::pin(run(context, pod_id, dir, &bundles)).await {
            Ok(()) => return info!(%pod_id, "cleaned up after the pod"),
            Err(error) => {
                warn!(error = %daemon::error::chain(&error), %pod_id, attempt, "not cleaned up after the pod")
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::RETRY_MAX);
    }
}

/// Nothing, if nothing of the pod ever ran, or it is undone already: then its containers' files are gone.
fn bundles_of(dir: &Path) -> Option<Vec<PathBuf>> {
    ::executor::files::load_pod(dir).ok()??;
    let StartPod { containers, .. } = load_start(dir)?;
    let bundles: Vec<PathBuf> = containers
        .into_iter()
        .map(|spec| spec.clean_up_bundle)
        .filter(|path| !path.is_empty())
        .map(Into::into)
        .collect();
    (!bundles.is_empty() && bundles.iter().all(|bundle| bundle.join(CONFIG).is_file())).then_some(bundles)
}

async fn run(context: &Context, pod_id: &PodId, dir: &Path, bundles: &[PathBuf]) -> Result<(), CleanUpError> {
    for bundle in bundles {
        let bundle = bundle.clone();
        tokio::task::spawn_blocking(move || mount(&bundle)).await.expect("mounting does not panic")?;
    }
    let failed = |source| CleanUpError::Run { program: context.program.clone(), source };
    let log = File::options().create(true).append(true).open(dir.join("executor.log")).map_err(failed)?;
    let mut child = tokio::process::Command::new(&context.program)
        .args(["executor", "--clean-up"])
        .arg(dir)
        .current_dir("/")
        .env_clear()
        .env("PATH", super::PATH)
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(failed)?)
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    if let Some(pid) = child.id()
        && let Err(error) = cgroup::place(pid, &format!("{}/executor", context.pod_cgroup(pod_id)))
    {
        warn!(%error, %pod_id, "clean-up has no cgroup of its own everywhere");
    }
    match tokio::time::timeout(limits::CLEAN_UP_TIME, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(CleanUpError::Ended(status)),
        Ok(Err(source)) => Err(failed(source)),
        Err(_) => Err(CleanUpError::Late),
    }
}

/// As often as it is tried: what an earlier attempt mounted serves again.
fn mount(bundle: &Path) -> Result<(), CleanUpError> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let root = bundle.join("rootfs").display().to_string();
    if table.lines().any(|line| line.split(' ').nth(4) == Some(root.as_str())) {
        return Ok(());
    }
    let path = bundle.join(LAYERS);
    let layers: Option<Vec<PathBuf>> = fs::read(&path)
        .and_then(|bytes| Ok(serde_json::from_slice(&bytes)?))
        .map_err(|source| CleanUpError::Read { path, source })?;
    match layers {
        Some(layers) => mount_layers(&layers, bundle)?,
        None => mount_host_root(bundle)?,
    };
    Ok(())
}
