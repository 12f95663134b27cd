//! How much one services framework takes on.

/// As long as the catalog lets an installation's name be.
pub const NAME_LENGTH_MAX: usize = 24;
/// Instances of one service.
pub const INSTANCES_MAX: u32 = 1_000;
/// Services altogether. Each is one record of state and one plan phase.
pub const SERVICES_MAX: usize = 500;
/// A definition as JSON: the catalog renders at most this much.
pub const DEFINITION_BYTES_MAX: usize = 512 * 1024;
/// What a service says of its health.
pub const HEALTH_BYTES_MAX: usize = 256 * 1024;
