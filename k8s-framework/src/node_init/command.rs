//! Short helpers of the system (ip, iptables, ctr): run to their end, with their words in the error.
use std::io::{self, Write};
use std::process::{Command, Stdio};

/// Why a helper did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("run {program}")]
    Run {
        /// Which.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended otherwise than with 0.
    #[error("{command}: {status}: {stderr}")]
    Failed {
        /// The whole command.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said.
        stderr: String,
    },
}

/// Runs a helper and returns its output.
///
/// # Errors
/// If it cannot be started or fails.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String, CommandError> {
    run_with_input(program, arguments, "")
}

/// Runs a helper that reads `input`.
///
/// # Errors
/// If it cannot be started or fails.
pub(crate) fn run_with_input(program: &str, arguments: &[&str], input: &str) -> Result<String, CommandError> {
    let failed = |source| CommandError::Run { program: program.to_owned(), source };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that ends without reading everything says why by its status.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(CommandError::Failed {
        command: format!("{program} {}", arguments.join(" ")),
        status: output.status,
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// Whether a helper ends with 0; what it says does not matter.
pub(crate) fn succeeds(program: &str, arguments: &[&str]) -> bool {
    run(program, arguments).is_ok()
}
