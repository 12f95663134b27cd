//! The executor: one process per pod that outlives the agent and is the parent of the pod's containers; and the helper,
//! a short-lived, single-threaded process that talks to the OCI runtime library.
//!
//! What should happen to a container is decided in [`core`], without clock or IO; `shell` does it. The agent reaches a
//! running executor through [`link`], reads what a dead one left through [`files`], removes it with [`cleanup_pod`], and
//! enters containers with [`ExecCommand`].
//!
//! Both entry points must be called before the process has a second thread: the executor leaves its session and
//! its mount namespace, the helper clones itself into new namespaces.

pub mod core;
#[doc(hidden)]
pub mod fuzzing;
mod shell;

pub mod link;

pub mod files;
mod paths;

mod cgroup;
mod cleanup;
mod exec;
mod helper;
pub mod limits;

pub use cgroup::{CgroupError, kill_pod_cgroups};
pub use cleanup::{CleanupError, cleanup_pod, kill_pod};
pub use exec::ExecCommand;
pub use helper::main_container;
pub use shell::main_executor;

/// A readable chain of an error and its sources.
pub(crate) fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries repeat the source in their own text.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Cuts a foreign text to what a report may carry.
pub(crate) fn shorten(text: &str) -> String {
    let text = text.trim();
    let mut end = text.len().min(limits::MESSAGE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
