//! The executor's process: prepares itself while it has one thread, then runs the pod on one thread.
mod check;
mod clean_up;
pub(crate) mod convert;
mod host;
pub(crate) mod http;
mod logs;
mod peer;
mod pod;
mod process;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tracing::{error, info};

use crate::chain;
use crate::cleanup::CleanupError;
use crate::files::{ExecutorRecord, FileError};
use crate::link;

/// Why the executor could not begin.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("usage: executor --dir|--clean-up <pod directory>")]
    Usage,
    #[error("open pod directory {path}")]
    Dir { path: PathBuf, source: std::io::Error },
    #[error("another executor, {pid}, runs pod {path}")]
    Taken { path: PathBuf, pid: i32 },
    #[error("{what}")]
    Prepare { what: &'static str, source: std::io::Error },
    #[error("leave the mounts of other pods")]
    Mounts(#[source] CleanupError),
    #[error("read or say who runs what in the pod")]
    Record(#[source] FileError),
    #[error("clean up after the pod")]
    CleanUp(#[from] clean_up::CleanUpError),
}

/// Runs `executor --dir <pod dir>`, or `executor --clean-up <pod dir>` when everything of the pod is dead; `args` are what
/// follows the word `executor`.
///
/// Must be called before the process has a second thread. Returns when the agent says so, when every container has ended after
/// SIGTERM, or when nobody said what to run for a while. stderr is its log.
pub fn main_executor(args: Vec<OsString>) -> ExitCode {
    init_log();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartError::Usage) => {
            eprintln!("{}", StartError::Usage);
            ExitCode::from(2)
        }
        Err(err) => {
            error!(error = %chain(&err), "executor not started");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Vec<OsString>) -> Result<(), StartError> {
    let [flag, dir] = <[OsString; 2]>::try_from(args).map_err(|_| StartError::Usage)?;
    if flag != "--dir" && flag != "--clean-up" {
        return Err(StartError::Usage);
    }
    let given = PathBuf::from(dir);
    let dir = given.canonicalize().map_err(|source| StartError::Dir { path: given, source })?;
    if let Ok(Some(other)) = ExecutorRecord::load(&dir)
        && other.is_alive()
    {
        return Err(StartError::Taken { path: dir, pid: other.pid });
    }
    if flag == "--clean-up" {
        return clean_up::run(&dir);
    }
    let prepare = |what| move |source| StartError::Prepare { what, source };
    host::detach().map_err(prepare("leave the agent's session and mount namespace"))?;
    host::forget_other_pods(&dir).map_err(StartError::Mounts)?;
    let program = host::Program::pin().map_err(prepare("open the running program"))?;
    let runtime = event_loop().map_err(prepare("start the event loop"))?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        // Listen first: who reads the record may connect at once.
        let listener = listen(&dir).map_err(prepare("listen on the pod's socket"))?;
        let record = ExecutorRecord::of_self().map_err(prepare("read the start time of this process"))?;
        record.save(&dir).map_err(StartError::Record)?;
        info!(pod = %dir.display(), pid = record.pid, "executor ready");
        pod::run(&dir, program, listener).await.map_err(prepare("wait for signals"))
    })?;
    let _ = std::fs::remove_file(dir.join(link::SOCKET));
    Ok(())
}

fn event_loop() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        // For looking up host names of checks, nothing else.
        .max_blocking_threads(1)
        .thread_keep_alive(std::time::Duration::from_secs(1))
        .enable_io()
        .enable_time()
        .build()
}

fn listen(dir: &Path) -> std::io::Result<tokio::net::UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join(link::SOCKET);
    if let Err(err) = std::fs::remove_file(&path)
        && err.kind() != std::io::ErrorKind::NotFound
    {
        return Err(err);
    }
    // Nobody may connect between bind and chmod.
    let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let open = std::fs::File::open(dir)?;
    let listener = tokio::net::UnixListener::bind(link::short_address(&open));
    nix::sys::stat::umask(before);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    listener
}

fn init_log() {
    use tracing_subscriber::EnvFilter;
    let filter = std::env::var("MEZZO_LOG")
        .or_else(|_| std::env::var("RUST_LOG"))
        .ok()
        .and_then(|text| EnvFilter::try_new(text).ok())
        .unwrap_or_else(|| EnvFilter::new("info"));
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).try_init();
}
