//! Running a program to its end, within a time, with all it said.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::wait::eventually;

/// A program about to run.
#[derive(Debug)]
pub struct Program {
    command: Command,
    input: Option<File>,
    within: Duration,
}

/// What it left.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Program {
    /// A program that must end within 60 seconds, unless told otherwise.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self { command: Command::new(program), input: None, within: Duration::from_secs(60) }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, arguments: I) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Runs it in a directory.
    #[must_use]
    pub fn directory(mut self, path: &Path) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Gives it a file to read.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn input(mut self, path: &Path) -> Result<Self> {
        self.input = Some(File::open(path).with_context(|| format!("open {}", path.display()))?);
        Ok(self)
    }

    /// How long it may take.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Runs it; how it ended is for the caller to judge.
    ///
    /// # Errors
    /// If it cannot be started or takes too long; then it is killed.
    pub fn output(mut self) -> Result<Output> {
        let line = self.line();
        eprintln!("+ {line}");
        let mut child = self
            .command
            .stdin(self.input.take().map_or_else(Stdio::null, Stdio::from))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("run `{line}`"))?;
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        let ended = eventually(&format!("`{line}`"), self.within, || Ok(child.try_wait()?));
        let status = match ended {
            Ok(status) => status,
            Err(error) => {
                // It may have ended just now.
                let _ = child.kill();
                child.wait().with_context(|| format!("wait for `{line}`"))?;
                let said = stderr.join();
                return Err(error.context(format!("it said: {said}")));
            }
        };
        let output = Output { status, stdout: stdout.join(), stderr: stderr.join() };
        if !output.stderr.is_empty() {
            eprintln!("{}", output.stderr.trim_end());
        }
        Ok(output)
    }

    /// Runs it and gives what it wrote to standard output.
    ///
    /// # Errors
    /// If it fails, too.
    pub fn run(self) -> Result<String> {
        let line = self.line();
        let output = self.output()?;
        if !output.status.success() {
            bail!("`{line}` failed: {}\n{}{}", output.status, output.stdout, output.stderr);
        }
        Ok(output.stdout)
    }

    /// Starts it and leaves it running.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(mut self) -> Result<Running> {
        let line = self.line();
        eprintln!("+ {line} &");
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("run `{line}`"))?;
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        Ok(Running { child, stdout, stderr })
    }

    fn line(&self) -> String {
        std::iter::once(self.command.get_program())
            .chain(self.command.get_args())
            .map(|word| word.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// A program that runs until the value is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Collected,
    stderr: Collected,
}

impl Running {
    /// What it wrote to standard output so far.
    pub fn said(&self) -> String {
        self.stdout.so_far()
    }

    /// Whether it has not ended.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn is_alive(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().context("look at a program")?.is_none())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let complaints = self.stderr.so_far();
        if !complaints.is_empty() {
            eprintln!("{}", complaints.trim_end());
        }
    }
}

/// Reads in the background, so that a full pipe stops nobody. A grandchild that keeps the pipe open is not waited for longer than
/// the child that was asked for: the thread is detached with what it has if the pipe never ends.
fn collect<R: Read + Send + 'static>(pipe: Option<R>) -> Collected {
    let text = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let into = text.clone();
    let thread = std::thread::spawn(move || {
        let Some(mut pipe) = pipe else { return };
        let mut buffer = [0; 8192];
        while let Ok(read) = pipe.read(&mut buffer) {
            if read == 0 {
                break;
            }
            if let Ok(mut text) = into.lock() {
                text.extend_from_slice(&buffer[..read]);
            }
        }
    });
    Collected { text, thread }
}

#[derive(Debug)]
struct Collected {
    text: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
    thread: std::thread::JoinHandle<()>,
}

impl Collected {
    fn join(self) -> String {
        // What the child wrote is in the pipe when it has ended; a daemon it left behind may hold the pipe for ever.
        let _ = crate::wait::until("the end of the output", Duration::from_secs(2), || Ok(self.thread.is_finished()));
        self.so_far()
    }

    fn so_far(&self) -> String {
        let text = self.text.lock().map(|text| text.clone()).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }
}
