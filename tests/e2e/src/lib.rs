//! Real processes: a pool of its own for every test, brought up and taken down with the same commands that users type. What is
//! asked of a pool is asked through the `mezzo` program and kubectl, nothing else.
//!
//! These tests need root, and run one at a time: a pool uses the machine's network and cgroups.

pub mod cluster;
pub mod host;
pub mod kubectl;
pub mod machine;
pub mod memory;
pub mod peer_image;
pub mod pool;
pub mod program;
pub mod scheduler;
pub mod seed;
pub mod tasks;
pub mod wait;
pub mod workload;
pub mod writer;

pub use cluster::Cluster;
pub use host::Hosts;
pub use kubectl::Kubectl;
pub use machine::Machine;
pub use pool::Pool;
pub use program::{Output, Program, Running};
pub use scheduler::Scheduler;
pub use seed::Seed;
pub use tasks::Task;
pub use wait::{eventually, until};
pub use writer::Writer;
