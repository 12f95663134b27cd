//! The services framework's process: the master's child, started again with growing pauses, and never outliving it.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::limits::SERVICES_BACKOFF;
use crate::pki::Layout;

/// The name under which the framework subscribes.
pub(crate) const NAME: &str = "services";

/// Keeps the child running until told to stop.
pub(crate) async fn supervise(program: PathBuf, layout: Layout, master: SocketAddr, stop: CancellationToken) {
    let (first, longest) = SERVICES_BACKOFF;
    let mut pause = first;
    while !stop.is_cancelled() {
        let begun = Instant::now();
        match spawn(&program, &layout, master) {
            Ok(mut child) => {
                info!(pid = child.id(), "services process started");
                tokio::select! {
                    ended = child.wait() => match ended {
                        Ok(status) => warn!(%status, "services process ended"),
                        Err(error) => warn!(%error, "services process not waited for"),
                    },
                    () = stop.cancelled() => {
                        end(&mut child).await;
                        return;
                    }
                }
            }
            Err(error) => warn!(%error, program = %program.display(), "services process not started"),
        }
        // What ran for a while was well: its end is no reason to wait long.
        if begun.elapsed() > longest {
            pause = first;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(longest),
            () = stop.cancelled() => return,
        }
    }
}

fn spawn(program: &Path, layout: &Layout, master: SocketAddr) -> std::io::Result<Child> {
    let sandbox = layout.services().join("sandbox");
    std::fs::create_dir_all(&sandbox)?;
    let mut command = Command::new(program);
    command
        .args(["services", "run"])
        .env("MEZZO_MASTER", master.to_string())
        .env("MEZZO_IDENTITY", layout.services_identity())
        .env("MEZZO_FRAMEWORK_NAME", NAME)
        .env("MEZZO_ADDRESS", master.ip().to_string())
        .env("MEZZO_SANDBOX", &sandbox)
        .env_remove("MEZZO_OPTIONS")
        .env_remove("MEZZO_PORT_API")
        .current_dir(&sandbox)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    die_with_parent(&mut command);
    command.spawn()
}

/// A master that is killed cannot end its child, and two services frameworks would fight over one name: the kernel ends
/// the child when the thread that started it ends, which is a worker of the runtime and lives as long as the process.
#[allow(unsafe_code)]
fn die_with_parent(command: &mut Command) {
    let parent = nix::unistd::getpid();
    // SAFETY: between fork and exec only two system calls are made, which are async-signal-safe; nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            // The parent may have died before the call above.
            if nix::unistd::getppid() == parent { Ok(()) } else { Err(std::io::ErrorKind::NotConnected.into()) }
        });
    }
}

/// Asks it to end; then makes it.
async fn end(child: &mut Child) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
    }
    if tokio::time::timeout(std::time::Duration::from_secs(3), child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}
