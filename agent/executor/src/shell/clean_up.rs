//! What tasks undo after their pod: each declared bundle is run once, one after the other, by a process of its own. The
//! pod's executor is dead then, however it ended, and so is everything it started.
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info};

use super::StartError;
use super::host::{self, Program};
use super::pod::{self, Entry, Shared};
use crate::core::Exit;
use crate::files;
use crate::limits::CLEAN_UP_MS_MAX;
use crate::paths::PodPaths;
use crate::shorten;

/// Why something is left.
#[derive(Debug, thiserror::Error)]
pub(super) enum CleanUpError {
    #[error("container {name} has not cleaned up: it {exit}")]
    Ended { name: String, exit: Exit },
    #[error("container {name} has not cleaned up within {CLEAN_UP_MS_MAX} ms")]
    Late { name: String },
    #[error("container {name} cannot clean up: {why}")]
    NotStarted { name: String, why: String },
    #[error("take what children leave")]
    Signals(#[source] io::Error),
}

/// Runs every bundle, also when one fails; the first failure is returned.
pub(super) fn run(dir: &Path) -> Result<(), StartError> {
    let prepare = |what| move |source| StartError::Prepare { what, source };
    // Whoever asked for it asks again in its next life, and two must not be at it. Its cgroup is killed first then, but
    // this process may not be in there yet.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
        .map_err(|errno| prepare("die with whoever asked")(errno.into()))?;
    host::detach().map_err(prepare("leave the agent's session and mount namespace"))?;
    host::forget_other_pods(dir).map_err(StartError::Mounts)?;
    let program = Program::pin().map_err(prepare("open the running program"))?;
    let specs = files::load_pod(dir).map_err(StartError::Record)?.unwrap_or_default().containers;
    let runtime = super::event_loop().map_err(prepare("start the event loop"))?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let (inbox, mut nobody) = mpsc::channel(1);
        nobody.close();
        let shared = Shared { paths: PodPaths::new(dir), program, reaper: Default::default(), inbox };
        let mut children = signal(SignalKind::child()).map_err(CleanUpError::Signals)?;
        let mut first = Ok(());
        for mut spec in specs.into_iter().filter(|spec| !spec.clean_up_bundle.is_empty()) {
            spec.bundle = std::mem::take(&mut spec.clean_up_bundle);
            let name = spec.name.clone();
            let mut work = std::pin::pin!(one(&shared, Entry::new(spec)));
            let done = loop {
                tokio::select! {
                    _ = children.recv() => shared.reaper.reap(),
                    done = &mut work => break done,
                }
            };
            match done {
                Ok(()) => info!(container = name, "cleaned up after the pod"),
                Err(error) => {
                    error!(%error, "not cleaned up after the pod");
                    first = first.and(Err(error));
                }
            }
        }
        first.map_err(StartError::CleanUp)
    })
}

async fn one(shared: &Shared, mut entry: Entry) -> Result<(), CleanUpError> {
    let name = entry.spec.name.clone();
    let failed = |why: String| CleanUpError::NotStarted { name: name.clone(), why: shorten(&why) };
    let streams = entry.open_streams().map_err(|error| failed(format!("make pipes for its output: {error}")))?;
    let spec = entry.spec.clone();
    let mut child = match pod::create(shared, &spec, streams).await {
        Ok(child) => child,
        Err(error) => return Err(failed(error)),
    };
    let exit = child.exit_within(Duration::from_millis(CLEAN_UP_MS_MAX)).await;
    pod::delete(shared, &spec).await;
    entry.drain().await;
    match exit {
        Some(Exit::Code(0)) => Ok(()),
        Some(exit) => Err(CleanUpError::Ended { name, exit }),
        None => Err(CleanUpError::Late { name }),
    }
}
