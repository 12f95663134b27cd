//! Logs: to stderr, filtered by `MEZZO_LOG` (or `RUST_LOG`), as text or, with `MEZZO_LOG_FORMAT=json`, as JSON.
use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts logging. A second call does nothing, so that tests may start several daemons in one process.
pub fn init(program: &str) {
    // libcgroups warns of every hierarchy a machine lacks, on every call.
    let directives = std::env::var("MEZZO_LOG")
        .or_else(|_| std::env::var("RUST_LOG"))
        .unwrap_or_else(|_| "info,libcgroups=error,libcontainer=warn".to_owned());
    let filter = EnvFilter::try_new(&directives).unwrap_or_else(|_| EnvFilter::new("info"));
    let json = std::env::var("MEZZO_LOG_FORMAT").is_ok_and(|format| format == "json");
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = if json { builder.json().try_init() } else { builder.try_init() };
    if started.is_ok() {
        tracing::debug!(program, "logging");
    }
}
