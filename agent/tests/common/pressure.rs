//! A shortage of memory, for tests of what is done about one: how short it is on this machine, and a file that makes it so.
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// For how much of the last ten seconds some task of this machine waited for memory, in percent.
pub fn waiting_for_memory() -> io::Result<f64> {
    let text = std::fs::read_to_string("/proc/pressure/memory")?;
    let value = text.split("avg10=").nth(1).and_then(|rest| rest.split(' ').next());
    value.and_then(|value| value.parse().ok()).ok_or_else(|| io::Error::other(format!("no number is in: {text}")))
}

/// A file of so many MiB that is on the disk and was never in memory: whoever reads it pays for that himself. To write it from
/// a container with little memory could end that container.
pub fn write_uncached(path: &Path, mib: usize) -> io::Result<()> {
    const MIB: usize = 1 << 20;
    const BLOCK: usize = 4096;
    // Past the cache: what was written through it and is dropped afterwards is sometimes still there.
    let direct = nix::fcntl::OFlag::O_DIRECT.bits();
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).custom_flags(direct).open(path)?;
    let store = vec![0u8; MIB + BLOCK];
    let aligned = store.as_ptr().align_offset(BLOCK);
    for _ in 0..mib {
        file.write_all(&store[aligned..aligned + MIB])?;
    }
    file.sync_all()
}
