//! The last step inside the container, just before the program takes over: what the runtime library does not do itself.
use std::collections::HashMap;

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError, default};
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
        if self.is_session {
            take_terminal();
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

/// A shell without a controlling terminal has no job control and no Ctrl-C. The library has made this process a session
/// leader; if its stdin is no terminal, the call fails and nothing is lost.
#[allow(unsafe_code)]
fn take_terminal() {
    // SAFETY: TIOCSCTTY takes an integer, touches no memory of ours, and descriptor 0 need not be valid.
    unsafe {
        libc::ioctl(0, libc::TIOCSCTTY, 0);
    }
}
