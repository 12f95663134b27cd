//! The last step inside the container, just before the program takes over: what the runtime library does not do itself.
use std::collections::HashMap;
use std::path::Path;

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError, default};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use oci_spec::runtime::LinuxSeccomp;

/// Wraps the library's own last step.
#[derive(Clone)]
pub(super) struct Workload {
    /// For a command that joins a container: the library drops the container's filter there.
    seccomp: Option<LinuxSeccomp>,
    is_session: bool,
}

impl Workload {
    pub(super) fn init() -> Self {
        Self { seccomp: None, is_session: false }
    }
    pub(super) fn session(seccomp: Option<LinuxSeccomp>) -> Self {
        Self { seccomp, is_session: true }
    }
}

impl Executor for Workload {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        reset_signals();
        if self.is_session {
            // Whoever kills the helper outright must not leave the command behind.
            let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
            take_terminal();
        } else {
            set_propagation(spec)?;
        }
        if let Some(seccomp) = &self.seccomp {
            libcontainer::seccomp::initialize_seccomp(seccomp)
                .map_err(|err| ExecutorError::Other(format!("apply the container's seccomp filter: {err}")))?;
        }
        default::get_executor().exec(spec)
    }
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        default::get_executor().validate(spec)
    }
    fn setup_envs(&self, envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        default::get_executor().setup_envs(envs)
    }
}

/// The library (0.7) accepts the propagation options of mounts and does nothing about them.
fn set_propagation(spec: &Spec) -> Result<(), ExecutorError> {
    for entry in spec.mounts().iter().flatten() {
        for option in entry.options().iter().flatten() {
            let (flags, is_sharing) = match option.as_str() {
                "shared" => (MsFlags::MS_SHARED, true),
                "rshared" => (MsFlags::MS_SHARED | MsFlags::MS_REC, true),
                "slave" => (MsFlags::MS_SLAVE, false),
                "rslave" => (MsFlags::MS_SLAVE | MsFlags::MS_REC, false),
                "private" => (MsFlags::MS_PRIVATE, false),
                "rprivate" => (MsFlags::MS_PRIVATE | MsFlags::MS_REC, false),
                _ => continue,
            };
            let at: &Path = entry.destination();
            match mount(None::<&str>, at, None::<&str>, flags, None::<&str>) {
                Ok(()) => {}
                // Capabilities are dropped by now. Without CAP_SYS_ADMIN the container mounts nothing, and what it was given is
                // private or a slave already.
                Err(Errno::EPERM) if !is_sharing => {}
                Err(errno) => {
                    return Err(ExecutorError::Other(format!("make mount {} {option}: {errno}", at.display())));
                }
            }
        }
    }
    Ok(())
}

/// Rust programs ignore SIGPIPE, and what is ignored or blocked stays so across exec: the program would not die of a
/// closed pipe, and not of what the helper waits for.
#[allow(unsafe_code)]
fn reset_signals() {
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
    // SAFETY: no handler of ours is involved, SIG_DFL is always sound.
    let _ =
        unsafe { nix::sys::signal::signal(nix::sys::signal::Signal::SIGPIPE, nix::sys::signal::SigHandler::SigDfl) };
}

/// A shell without a controlling terminal has no job control and no Ctrl-C. The library has made this process a session
/// leader; if its stdin is no terminal, the call fails and nothing is lost.
#[allow(unsafe_code)]
fn take_terminal() {
    // SAFETY: TIOCSCTTY takes an integer, touches no memory of ours, and descriptor 0 need not be valid.
    unsafe {
        libc::ioctl(0, libc::TIOCSCTTY, 0);
    }
}
