//! How much memory and time one input takes. What a stranger sends must not cost more than what it is worth.
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The whole process is measured: one input at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What an input may take besides its own share: tables of a regular expression, of a decompressor, of a template.
const MEMORY_BYTES_MAX: usize = 128 << 20;
/// And for each of its bytes: a number of one byte becomes a value of a tree.
const MEMORY_PER_BYTE_MAX: usize = 128;
/// On a machine that does other things too. What takes seconds for some KiB takes a master away from its pool.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Runs `work` on an input of so many bytes.
///
/// # Panics
/// It takes too much memory, or too long.
pub fn bounded(length: usize, work: impl FnOnce()) {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let begun = Instant::now();
    work();
    let took = begun.elapsed();
    let taken = MEMORY.peak_usage().saturating_sub(before);
    let allowed = MEMORY_BYTES_MAX + length.saturating_mul(MEMORY_PER_BYTE_MAX);
    assert!(taken <= allowed, "an input of {length} bytes took {taken} bytes of memory, allowed are {allowed}");
    assert!(took <= TIME_MAX, "an input of {length} bytes took {took:?}, allowed are {TIME_MAX:?}");
}
