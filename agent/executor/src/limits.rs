//! Every bound of an executor, with its arithmetic. Nothing here grows with the age of a pod.

/// Longest frame on the link: a `StartPod` of [`CONTAINERS_MAX`] containers with long paths stays far below 1 MiB.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Containers of one pod.
pub const CONTAINERS_MAX: usize = 64;
/// Unseen reports kept before superseded ones are dropped: 64 containers with 4 reports each. The last `Ended` of every
/// container is never dropped, so the true bound is this plus [`CONTAINERS_MAX`] times the kinds of report.
pub const REPORTS_MAX: usize = 256;
/// Frames waiting to be written to the agent. Full: the agent is too slow, its connection is closed and it reconnects.
pub const OUTBOUND_FRAMES_MAX: usize = 2 * REPORTS_MAX + CONTAINERS_MAX * 4;
/// Frames of the agent, results of checks and helpers waiting for the core.
pub const INBOX_MAX: usize = 256;
/// Exit statuses of processes nobody knows (yet): an init may be reaped before the helper that made it.
pub const UNCLAIMED_MAX: usize = 1024;
/// Longest text taken from a check, a helper's error or a peer.
pub const MESSAGE_BYTES_MAX: usize = 512;
/// Answer of an HTTP check that is read at most.
pub const HTTP_BODY_BYTES_MAX: usize = 4096;
/// A certificate or key file of a check.
pub const PEM_BYTES_MAX: u64 = 256 * 1024;
/// Buffer of each log stream. A pipe holds 64 KiB; 8 KiB keeps 64 containers below 1 MiB in all.
pub const LOG_BUFFER_BYTES: usize = 8 * 1024;
/// Log file size if the agent gives none.
pub const LOG_BYTES_DEFAULT: u64 = 10 * 1024 * 1024;
/// Rotated log files if the agent gives none.
pub const LOG_FILES_DEFAULT: u32 = 3;
/// Rotated log files at most.
pub const LOG_FILES_MAX: u32 = 64;
/// First wait before a container is started again, if not given.
pub const BACKOFF_MS_MIN: u64 = 500;
/// Longest such wait, if not given.
pub const BACKOFF_MS_MAX: u64 = 30_000;
/// Time between two checks, if not given.
pub const CHECK_INTERVAL_MS: u64 = 2_000;
/// Time a check may take, if not given.
pub const CHECK_TIMEOUT_MS: u64 = 5_000;
/// Failures in a row until a verdict, if not given.
pub const CHECK_FAILURES: u32 = 3;
/// An executor that is never told what to run ends itself.
pub const IDLE_MS_MAX: u64 = 300_000;
/// What is left in a pipe after the last process is dead is read for at most this long.
pub const LOG_DRAIN_MS_MAX: u64 = 2_000;
/// A helper (create or delete) that takes longer is killed: the disk or the kernel hangs.
pub const HELPER_MS_MAX: u64 = 120_000;
/// How long the members of a cgroup have to die of SIGKILL before giving up.
pub const CGROUP_KILL_MS_MAX: u64 = 20_000;
/// What a task undoes after its pod is undone in this time; rules, links and mounts take milliseconds each.
pub const CLEAN_UP_MS_MAX: u64 = 60_000;
