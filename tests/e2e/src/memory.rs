//! How much memory a process holds for itself: what is resident and belongs to no file.

use std::fs;

use anyhow::{Context, Result};
use nix::unistd::Pid;

const KIB_PER_MIB: u64 = 1024;

/// Resident anonymous memory, in MiB, rounded up.
///
/// # Errors
/// If the process is gone.
pub fn anonymous_mib(pid: Pid) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:")?.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("find the memory in {path}"))?;
    Ok(kib.div_ceil(KIB_PER_MIB))
}
