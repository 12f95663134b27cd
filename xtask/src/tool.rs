//! Running other programs: every call says what it runs, fails with the command line in its message, and stops early when the
//! user interrupts.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::interrupt;

/// How often a running program is looked at; it bounds how late an interrupt reaches it.
const POLL: Duration = Duration::from_millis(20);

pub(crate) struct Tool {
    command: Command,
    quiet: bool,
    silent: bool,
    uninterrupted: bool,
}

impl Tool {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self { command: Command::new(program), quiet: false, silent: false, uninterrupted: false }
    }

    /// The cargo that runs us, or the one in the path.
    pub(crate) fn cargo() -> Self {
        Self::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub(crate) fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, arguments: I) -> Self {
        self.command.args(arguments);
        self
    }

    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    pub(crate) fn directory(mut self, path: &Path) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Do not print the command line before it runs.
    pub(crate) fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Neither announce it nor show what it says.
    pub(crate) fn silent(mut self) -> Self {
        self.quiet = true;
        self.silent = true;
        self
    }

    /// For clean-up: its own process group, so that Ctrl-C in the terminal does not reach it, and no early stop.
    pub(crate) fn uninterrupted(mut self) -> Self {
        use std::os::unix::process::CommandExt;
        self.command.process_group(0);
        self.uninterrupted = true;
        self
    }

    /// Standard output goes to our standard error, which is where progress belongs.
    pub(crate) fn run(self) -> Result<()> {
        let line = self.line();
        let status = self.status()?;
        if !status.success() {
            bail!("`{line}` failed: {status}");
        }
        Ok(())
    }

    /// Runs it and leaves the judgement of its exit status to the caller.
    pub(crate) fn status(mut self) -> Result<ExitStatus> {
        self.announce();
        let line = self.line();
        self.command.stdin(Stdio::null());
        if self.silent {
            self.command.stdout(Stdio::null()).stderr(Stdio::null());
        } else {
            self.command.stdout(Stdio::from(std::io::stderr()));
        }
        let mut child = self.spawn(&line)?;
        self.wait(&mut child, &line)
    }

    /// What it wrote to standard output.
    pub(crate) fn output(mut self) -> Result<String> {
        self.announce();
        let line = self.line();
        self.command.stdin(Stdio::null());
        let output = self.command.stderr(Stdio::inherit()).output().with_context(|| format!("run `{line}`"))?;
        if !output.status.success() {
            bail!("`{line}` failed: {}", output.status);
        }
        String::from_utf8(output.stdout).with_context(|| format!("read the output of `{line}`"))
    }

    fn spawn(&mut self, line: &str) -> Result<Child> {
        self.command.spawn().with_context(|| format!("run `{line}`"))
    }

    fn wait(&self, child: &mut Child, line: &str) -> Result<ExitStatus> {
        let mut told = false;
        loop {
            if let Some(status) = child.try_wait().with_context(|| format!("wait for `{line}`"))? {
                if interrupt::requested() && !self.uninterrupted {
                    bail!("`{line}` was interrupted");
                }
                return Ok(status);
            }
            if interrupt::requested() && !self.uninterrupted && !told {
                told = true;
                if let Ok(pid) = i32::try_from(child.id()) {
                    // It may be gone already; then there is nothing to tell.
                    let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
                }
            }
            std::thread::sleep(POLL);
        }
    }

    fn announce(&self) {
        if !self.quiet {
            eprintln!("+ {}", self.line());
        }
    }

    fn line(&self) -> String {
        let mut line = self.command.get_program().to_string_lossy().into_owned();
        for argument in self.command.get_args() {
            line.push(' ');
            line.push_str(&argument.to_string_lossy());
        }
        line
    }
}

/// Where `program` is in the path, or in the directories that hold system programs.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}
