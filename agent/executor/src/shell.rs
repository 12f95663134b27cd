//! The shell.
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs `executor --dir <pod dir>`; `args` are what follows the word `executor`.
///
/// Must be called before the process has a second thread.
pub fn main_executor(args: Vec<OsString>) -> ExitCode {
    let _ = args;
    ExitCode::FAILURE
}
