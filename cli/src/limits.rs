//! How much one command reads and how long it waits.
use std::time::Duration;

/// An answer of the master or a framework: 50,000 tasks of 500 bytes.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 20;
/// An options file.
pub(crate) const OPTIONS_BYTES_MAX: u64 = 1 << 20;
/// An image's manifest or index.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// How often a plan is asked how far it is.
pub(crate) const POLL: Duration = Duration::from_millis(400);
/// How long a framework may be away before waiting for it is said aloud.
pub(crate) const QUIET: Duration = Duration::from_secs(3);
/// How long `mezzo up` waits for master and agents.
pub(crate) const UP_TIME: Duration = Duration::from_secs(60);
/// How long processes have after SIGTERM.
pub(crate) const TERM_TIME: Duration = Duration::from_secs(4);
/// How long everything has to be gone after SIGKILL.
pub(crate) const KILL_TIME: Duration = Duration::from_secs(20);
/// The first and the longest pause before a process of `mezzo up` is started again.
pub(crate) const RESTART: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(10));
/// A process that lived so long is trusted again.
pub(crate) const RESTART_FORGET: Duration = Duration::from_secs(30);
/// Standard input sent in one message.
pub(crate) const STDIN_CHUNK: usize = 32 * 1024;
