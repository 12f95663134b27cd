//! The hidden `container` subcommand: create, exec, delete. A process of its own, with one thread, because the runtime library
//! clones without exec, changes directory and limits on itself. It logs nothing: its stdout and stderr are the container's.
mod adapt;
mod create;
mod delete;
mod exec;
mod workload;

pub(crate) use create::{ERROR, PID};

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit code of a helper that could not do what it was asked (as of other container tools).
pub(crate) const FAILED: u8 = 125;

/// Why a helper failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HelperError {
    #[error("usage: container create|exec|delete ... ({0})")]
    Usage(String),
    #[error("{operation} {}", path.display())]
    File { operation: &'static str, path: PathBuf, source: std::io::Error },
    #[error("understand {}", path.display())]
    Parse { path: PathBuf, source: serde_json::Error },
    #[error("{} is no container configuration: {why}", path.display())]
    Configuration { path: PathBuf, why: &'static str },
    #[error("{operation} container {id}")]
    Runtime { operation: &'static str, id: String, source: Box<libcontainer::error::LibcontainerError> },
    #[error("prepare cgroups of container {id}")]
    Cgroup { id: String, source: Box<crate::CgroupError> },
    #[error("wait for the command in container {id}")]
    Wait { id: String, source: nix::errno::Errno },
}

/// Runs `container create|exec|delete ...`; `args` are what follows the word `container`.
///
/// Must be called before the process has a second thread.
pub fn main_container(args: Vec<OsString>) -> ExitCode {
    let mut args = Args { rest: args.into_iter() };
    let operation = args.rest.next().unwrap_or_default();
    let done = match operation.to_str() {
        Some("create") => create::run(args).map(|()| ExitCode::SUCCESS),
        Some("exec") => exec::run(args).map(ExitCode::from),
        Some("delete") => delete::run(args).map(|()| ExitCode::SUCCESS),
        Some(_) | None => Err(HelperError::Usage(format!("not {}", operation.display()))),
    };
    done.unwrap_or_else(|err| {
        eprintln!("{}", crate::chain(&err));
        ExitCode::from(FAILED)
    })
}

/// `--name value` pairs, then what follows `--`.
struct Args {
    rest: std::vec::IntoIter<OsString>,
}

impl Args {
    /// Hands every option to `take` (false: unknown) and returns what follows `--`.
    fn parse(self, mut take: impl FnMut(&str, OsString) -> bool) -> Result<Vec<OsString>, HelperError> {
        let mut rest = self.rest;
        while let Some(name) = rest.next() {
            if name == "--" {
                return Ok(rest.collect());
            }
            let value = rest.next().ok_or_else(|| HelperError::Usage(format!("{} without a value", name.display())))?;
            if !take(&name.to_string_lossy(), value) {
                return Err(HelperError::Usage(format!("unknown {}", name.display())));
            }
        }
        Ok(Vec::new())
    }
}
