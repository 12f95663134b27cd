//! Every bound of the agent's core, with its arithmetic.
use model::Span;

/// Pods not yet ended. A pod costs one executor (8 MiB at most): 1024 of them are 8 GiB, more than any agent has to spare.
pub const PODS_MAX: usize = 1024;
/// Containers of one pod; the executor keeps two log pipes for each.
pub const TASKS_PER_POD_MAX: usize = 64;
/// Ended pods whose sandbox is kept for its logs. With 2 x 4 files of 10 MiB each this is 5 GiB at the very worst.
pub const SANDBOXES_MAX: usize = 64;
/// An ended pod's sandbox is kept no longer than this.
pub const SANDBOX_AGE_MAX: Span = Span::seconds(24 * 3600);
/// A disk with less than this left, in thousandths, keeps no sandbox of an ended pod.
pub const DISK_HEADROOM_PERMILLE: u16 = 100;
/// Updates of one task that wait: the head in flight, one of each later state, and the coalesced tail.
pub const STREAM_MAX: usize = 8;
/// First repetition of an unacknowledged update.
pub const UPDATE_RETRY_MIN: Span = Span::seconds(10);
/// The delay doubles up to this.
pub const UPDATE_RETRY_MAX: Span = Span::seconds(600);
/// First pause before the master is dialled again.
pub const CONNECT_BACKOFF_MIN: Span = Span::millis(250);
/// The pause doubles up to this; a master that comes back has every agent again well within a minute.
pub const CONNECT_BACKOFF_MAX: Span = Span::seconds(8);
/// How long the master may take to answer a registration.
pub const REGISTRATION_TIMEOUT: Span = Span::seconds(15);
/// Used until the master has said otherwise.
pub const PING_TIMEOUT_DEFAULT: Span = Span::seconds(60);
/// Bytes of a status message kept; longer ones are cut at a character boundary.
pub const MESSAGE_BYTES_MAX: usize = 2048;
/// Bytes of one pod's payloads together.
pub const POD_PAYLOAD_BYTES_MAX: usize = 4 << 20;
/// Characters of the executor's id that a pod's id repeats: `<state dir>/pods/<pod id>/executor.sock` must stay below the
/// 108 bytes of a Unix socket's address.
pub const POD_ID_NAME_MAX: usize = 32;
