//! How big things of the catalog may be.

/// A package's name and an installation's name are part of DNS names (`<discovery>.<name>.mezzo`) and of interface and
/// cgroup names, which have less room: a DNS label of at most this many characters.
pub const NAME_LENGTH_MAX: usize = 24;
/// One file of a package. 256 KiB is 50 times the largest of ours.
pub const FILE_BYTES_MAX: usize = 256 * 1024;
/// Options as JSON: they travel in a gRPC message and are stored with every change.
pub const OPTIONS_BYTES_MAX: usize = 128 * 1024;
/// How deep options may nest.
pub const OPTIONS_DEPTH_MAX: usize = 16;
/// A rendered service.
pub const SERVICE_BYTES_MAX: usize = 512 * 1024;
/// Instances of one pod that a preflight places: more than a pool has agents.
pub const PREFLIGHT_INSTANCES_MAX: u32 = 20_000;
/// Steps of a template: loops within loops end. Our own take some thousands.
pub const TEMPLATE_STEPS_MAX: u64 = 1_000_000;
