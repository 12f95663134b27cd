//! Bounds of the shell, with their arithmetic.
use std::time::Duration;

/// Requests of handles that wait for the scheduler; more wait in their callers.
pub(crate) const REQUESTS_MAX: usize = 64;
/// Calls not yet read by the master. One update is one call of some 100 bytes: full means that the master stands still,
/// and the session is begun anew.
pub(crate) const CALLS_MAX: usize = 8_192;
/// What hooks have to say and the scheduler has not read: two for each of 16 launches and 1,000 probes.
pub(crate) const NEWS_MAX: usize = 4_096;
/// Writes of one call: what the master takes.
pub(crate) const WRITES_PER_CALL_MAX: usize = 200;
/// First wait before another session.
pub(crate) const RECONNECT_MIN: Duration = Duration::from_millis(200);
/// Longest wait before another session.
pub(crate) const RECONNECT_MAX: Duration = Duration::from_secs(5);
/// For SUBSCRIBED and the state.
pub(crate) const SUBSCRIBE_TIME: Duration = Duration::from_secs(20);
/// For one rendering.
pub(crate) const RENDER_TIME: Duration = Duration::from_secs(60);
/// For one probe.
pub(crate) const PROBE_TIME: Duration = Duration::from_secs(30);
/// For one try of an action: a drain takes its time.
pub(crate) const ACTION_TIME: Duration = Duration::from_secs(600);
/// Before a framework whose target cannot be made is asked again.
pub(crate) const TARGET_RETRY: Duration = Duration::from_secs(5);
/// Before a write that a lost connection left in doubt is tried again.
pub(crate) const WRITE_RETRY: Duration = Duration::from_millis(200);
/// For one answer to a question for a virtual address.
pub(crate) const VIP_ANSWER: Duration = Duration::from_secs(5);
/// How long a master that is away is asked for a virtual address; below what a rendering may take.
pub(crate) const VIP_TIME: Duration = Duration::from_secs(30);
/// Body of a request to the HTTP API.
pub(crate) const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
