//! Every bound of the agent's shell, with its arithmetic.
use std::time::Duration;

/// Events waiting for the core. Full: whoever reports waits; 4096 = 1024 pods with 4 reports each at once.
pub(crate) const INBOX_MAX: usize = 4096;
/// Messages waiting for the master. Full: the link is closed as too slow; registering again says it all anew.
pub(crate) const OUTBOUND_MAX: usize = 4096;
/// A message of the master: a launch of 4 MiB payload, twice over, and more.
pub(crate) const LINK_MESSAGE_BYTES_MAX: usize = 16 << 20;
/// A message to the master: what it takes. A registration with 4,096 tasks is the longest; of each it says what the master
/// keeps, 8 KiB at most.
pub(crate) const SAID_BYTES_MAX: usize = 64 << 20;
/// A manifest or an image configuration.
pub(crate) const MANIFEST_BYTES_MAX: usize = 4 << 20;
/// A secret: certificates and keys, not databases.
pub(crate) const SECRET_BYTES_MAX: usize = 1 << 20;
/// All secrets of one container; the size of its tmpfs.
pub(crate) const SECRETS_TMPFS_BYTES: usize = 8 << 20;
/// What a command on the host's files may write outside its sandbox; it is memory.
pub(crate) const HOST_ROOT_TMPFS_BYTES: usize = 64 << 20;
/// Layers of one image: overlayfs takes its options in one page of 4096 bytes, and a layer's path is about 60.
pub(crate) const LAYERS_MAX: usize = 64;
/// A layer when it is unpacked: some KiB of a compressed one can be any number of bytes.
pub(crate) const LAYER_UNPACKED_BYTES_MAX: u64 = 16 << 30;
/// Files of a layer: a large distribution has 300,000.
pub(crate) const LAYER_ENTRIES_MAX: u32 = 1 << 20;
/// One log file; with its rotations a stream keeps 40 MiB.
pub(crate) const LOG_BYTES_MAX: u64 = 10 << 20;
/// Rotated files kept per stream.
pub(crate) const LOG_FILES_MAX: u32 = 3;
/// Between SIGTERM and SIGKILL, if neither task nor kill says otherwise.
pub(crate) const KILL_GRACE_DEFAULT: Duration = Duration::from_secs(5);
/// How long a spawned executor may take to answer.
pub(crate) const EXECUTOR_START_TIME: Duration = Duration::from_secs(20);
/// How long an executor that was told to exit may take before it is killed.
pub(crate) const EXECUTOR_EXIT_TIME: Duration = Duration::from_secs(5);
/// First pause before something that failed is tried again; doubles up to [`RETRY_MAX`].
pub(crate) const RETRY_MIN: Duration = Duration::from_millis(200);
/// Longest such pause.
pub(crate) const RETRY_MAX: Duration = Duration::from_secs(10);
/// How often a download is tried.
pub(crate) const DOWNLOAD_ATTEMPTS: u32 = 4;
/// Processes of an unprivileged container.
pub(crate) const PIDS_MAX: i64 = 4096;
/// Processes of a privileged one, which may hold containers of its own.
pub(crate) const PRIVILEGED_PIDS_MAX: i64 = 32_768;
/// How often a followed log is looked at: what a person takes for at once.
pub(crate) const FOLLOW_INTERVAL: Duration = Duration::from_millis(100);
/// Bytes of one log chunk or piece of terminal output.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;
/// One artifact.
pub(crate) const ARTIFACT_BYTES_MAX: u64 = 8 << 30;
/// The gateway's table: 10,000 names with 3 backends each are below 2 MiB.
pub(crate) const GATEWAY_TABLE_BYTES_MAX: usize = 8 << 20;
/// The master holds the question for 5 s; more is a dead link.
pub(crate) const GATEWAY_ANSWER: Duration = Duration::from_secs(8);
/// After backends were withdrawn: connections that were just being made are found by then.
pub(crate) const VIP_SECOND_LOOK: Duration = Duration::from_secs(1);
/// How often it is looked whether the rules of virtual addresses are still there.
pub(crate) const VIP_VERIFY: Duration = Duration::from_secs(15);
/// Longest pause before the table is asked for again.
pub(crate) const GATEWAY_RETRY_MAX: Duration = Duration::from_secs(2);
/// What a pod's tasks undo after it is given this long: 64 containers would be slow, one is never.
pub(crate) const CLEAN_UP_TIME: Duration = Duration::from_secs(90);
/// How often that is tried before the pod ends without.
pub(crate) const CLEAN_UP_ATTEMPTS: u32 = 3;
/// How often the agent looks how full its disk is: sandboxes of ended pods are kept accordingly.
pub(crate) const DISK_LOOK: Duration = Duration::from_secs(60);
/// How often it is asked how much may be given away that can be taken back, as in Mesos.
pub(crate) const ESTIMATE_SECONDS: u64 = 15;
/// How often it is asked whether that is needed after all: the kernel's average is over 10 s.
pub(crate) const PRESSURE_LOOK_SECONDS: u64 = 5;
