//! The nouns of mezzo: ids, quantities, the resource algebra, tasks and their states, and what master, agents and
//! frameworks say to each other, as plain values. Knows nothing of wire, disk or clock.
#![warn(missing_docs)]
#![deny(clippy::float_arithmetic)]

pub mod call;
pub mod constraint;
pub mod gateway;
pub mod id;
pub mod link;
pub mod operation;
pub mod refusal;
pub mod resources;
pub mod role;
pub mod task;
pub mod time;

pub use id::{AgentId, ExecutorId, FrameworkId, OfferId, OperationId, Principal, TaskId, UpdateId, VolumeId};
pub use operation::{OperationState, OperationStatus};
pub use refusal::Refusal;
pub use resources::{Disk, Holding, Milli, Quantities, Ranges, Reservation, Resources, Volume};
pub use role::RoleName;
pub use task::{Reason, Source, TaskHead, TaskState, TaskStatus};
pub use time::{Span, Timestamp};
