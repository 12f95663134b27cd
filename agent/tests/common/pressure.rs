//! A shortage of memory, for tests of what is done about one: how short it is on this machine, and a file that makes it so.
use std::io::{self, Write as _};
use std::path::Path;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// For how much of the last ten seconds some task of this machine waited for memory, in percent.
pub fn waiting_for_memory() -> io::Result<f64> {
    let text = std::fs::read_to_string("/proc/pressure/memory")?;
    let value = text.split("avg10=").nth(1).and_then(|rest| rest.split(' ').next());
    value.and_then(|value| value.parse().ok()).ok_or_else(|| io::Error::other(format!("no number is in: {text}")))
}

/// A file of so many MiB that is on the disk and not in memory: who reads it pays for that. To write it from a container with
/// little memory could end that container.
pub fn write_uncached(path: &Path, mib: usize) -> io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    for _ in 0..mib {
        file.write_all(&[0; 1 << 20])?;
    }
    file.sync_all()?;
    Ok(posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
}
