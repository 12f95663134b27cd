//! Sessions inside a running container, as the agent starts them: a command line for the helper that enters it.
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::paths::PodPaths;

/// A command to run inside a running container of a pod.
///
/// The helper's own stdin, stdout and stderr become the command's. If they are a terminal (the slave side of a pty made by the
/// caller), it becomes the command's controlling terminal. The helper exits with the command's exit code, with 128 + n
/// if it died of signal n, and with 125 and words on stderr if it could not be started. The command dies with the helper, whatever ends it.
#[derive(Debug, Clone)]
pub struct ExecCommand {
    program: PathBuf,
    paths: PodPaths,
    container: String,
    argv: Vec<String>,
    env: Vec<(String, String)>,
    cwd: Option<String>,
}

impl ExecCommand {
    /// `program` is a binary with the `container` subcommand: the running one, `/proc/self/exe`, if in doubt.
    /// `container` is the name in `ContainerSpec`.
    pub fn new(program: impl Into<PathBuf>, pod_dir: &Path, container: &str, argv: Vec<String>) -> Self {
        Self {
            program: program.into(),
            paths: PodPaths::new(pod_dir),
            container: container.to_owned(),
            argv,
            env: Vec::new(),
            cwd: None,
        }
    }
    /// Adds to, or overrides, the container's environment.
    #[must_use]
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }
    /// Another working directory than the container's.
    #[must_use]
    pub fn cwd(mut self, cwd: impl Into<String>) -> Self {
        self.cwd = Some(cwd.into());
        self
    }
    /// The command; the caller sets its stdio. `tokio::process::Command::from` takes it too.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(self.args());
        command
    }
    fn args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["container".into(), "exec".into()];
        args.extend(["--state-root".into(), self.paths.state_root().into()]);
        args.extend(["--id".into(), self.container.clone().into()]);
        for (key, value) in &self.env {
            args.extend(["--env".into(), format!("{key}={value}").into()]);
        }
        if let Some(cwd) = &self.cwd {
            args.extend(["--cwd".into(), cwd.into()]);
        }
        args.push("--".into());
        args.extend(self.argv.iter().map(OsString::from));
        args
    }
}
