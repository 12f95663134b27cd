//! Bounds of what the shell keeps and takes, with their arithmetic.
use std::time::Duration;

/// Events that wait for the core. 4096 = 1000 agents x 4 updates in flight; a full inbox holds streams back, nobody else.
pub(crate) const INBOX: usize = 4096;
/// Events stepped before their commands are carried out: one batch for the disk.
pub(crate) const EVENTS_PER_DRAIN: usize = 256;
/// Messages on their way to one scheduler. Full: the session is closed as a slow reader.
pub(crate) const FRAMEWORK_QUEUE: usize = 4096;
/// Messages on their way to one agent: 4096 tasks may be launched or killed at once.
pub(crate) const AGENT_QUEUE: usize = 8192;
/// One message of a scheduler: an accept of 256 operations with payloads of 64 KiB, or 16 state values of 1 MiB.
pub(crate) const FRAMEWORK_MESSAGE_BYTES: usize = 16 << 20;
/// One message of an agent: a registration with 4096 tasks, each with 8 KiB of what the master keeps and a status of 3 KiB.
pub(crate) const AGENT_MESSAGE_BYTES: usize = 64 << 20;
/// One message of an operator: options and names only.
pub(crate) const OPERATOR_MESSAGE_BYTES: usize = 4 << 20;
/// Ended tasks that can still be listed.
pub(crate) const HISTORY: usize = 1000;
/// Reasons for withholding kept for explanations.
pub(crate) const EXPLANATIONS: usize = 4096;
/// Refusals of one principal kept for explanations.
pub(crate) const REFUSALS_PER_PRINCIPAL: usize = 5;
/// Allocation is asked for with every change; more often than this it would only repeat itself.
pub(crate) const ALLOCATION_PAUSE: Duration = Duration::from_millis(20);
/// Filters end by themselves: without a change allocation still happens this often.
pub(crate) const ALLOCATION_PERIOD: Duration = Duration::from_secs(1);
/// Changes kept for readers of the event stream, of all of them together: a slower one gets everything anew.
pub(crate) const DELTAS: usize = 8192;
/// Readers of the event stream.
pub(crate) const WATCHERS_MAX: usize = 256;
/// Events on their way to one of them.
pub(crate) const WATCHER_QUEUE: usize = 64;
/// Mesos' heartbeat on scheduler sessions.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);
/// Transactions of waiting writers that are committed together.
pub(crate) const WRITES_PER_COMMIT: usize = 512;
/// redb's page cache: the registry of a large pool has some MiB.
pub(crate) const REGISTRY_CACHE_BYTES: usize = 8 << 20;
/// An artifact or image layer.
pub(crate) const ARTIFACT_BYTES_MAX: u64 = 16 << 30;
/// Files that a framework keeps: a year of weekly backups, and as many that were made before changes.
pub(crate) const FRAMEWORK_FILES_MAX: usize = 128;
/// What they have together: 32 backups of a store of 1 GiB.
pub(crate) const FRAMEWORK_FILES_BYTES_MAX: u64 = 32 << 30;
/// An image manifest or index (the distribution specification's own bound).
pub(crate) const MANIFEST_BYTES_MAX: usize = 4 << 20;
/// A name, tag or repository.
pub(crate) const NAME_BYTES_MAX: usize = 255;
/// Join tokens that are neither used nor expired.
pub(crate) const TOKENS_MAX: usize = 1024;
/// How long a join token may be valid.
pub(crate) const TOKEN_VALID_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long a join token is valid if nobody says.
pub(crate) const TOKEN_VALID: Duration = Duration::from_secs(3600);
/// Longest and usual validity of a certificate: they are renewed by joining or installing anew.
pub(crate) const IDENTITY_VALID: Duration = Duration::from_secs(5 * 365 * 24 * 3600);
/// Names and addresses on one certificate.
pub(crate) const CERTIFICATE_NAMES_MAX: usize = 64;
/// Installations of packages.
pub(crate) const INSTALLATIONS_MAX: usize = 256;
/// How often the reconciler looks again when nothing told it to.
pub(crate) const RECONCILE_PERIOD: Duration = Duration::from_secs(2);
/// How long a scheduler may take to come up with new options: its image is there, an agent that is away is waited for.
pub(crate) const UPDATE_START_TIME: Duration = Duration::from_secs(300);
/// How long a scheduler may refuse the target of an update: some reasons pass.
pub(crate) const UPDATE_REFUSED_TIME: Duration = Duration::from_secs(30);
/// An answer of a framework's API that the master itself reads.
pub(crate) const FRAMEWORK_ANSWER_BYTES_MAX: usize = 4 << 20;
/// How long the master waits for one answer of a framework's API.
pub(crate) const FRAMEWORK_ANSWER_TIME: Duration = Duration::from_secs(10);
/// First and longest pause before the services process is started again.
pub(crate) const SERVICES_BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// How long a question for the gateway's table is held open. An agent whose network was cut asks anew so soon after; 1,000
/// agents ask 200 times a second, and are answered without a body.
pub(crate) const GATEWAY_POLL: Duration = Duration::from_secs(5);
/// Between two makings of the gateway's table.
pub(crate) const GATEWAY_PAUSE: Duration = Duration::from_millis(100);
/// After a start of the master: so long what was known of an agent that is not back stands. Agents that live try again
/// at least every 10 s.
pub(crate) const UNHEARD: Duration = Duration::from_secs(15);
