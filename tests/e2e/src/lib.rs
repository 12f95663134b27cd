//! Real processes: a pool of its own for every test, brought up and taken down with the same commands that users type. What is
//! asked of a pool is asked through the `mezzo` program and kubectl, nothing else.
//!
//! These tests need root, and run one at a time: a pool uses the machine's network and cgroups.

pub mod kubectl;
pub mod machine;
pub mod pool;
pub mod program;
pub mod tasks;
pub mod wait;

pub use kubectl::Kubectl;
pub use machine::Machine;
pub use pool::Pool;
pub use program::{Output, Program};
pub use tasks::Task;
pub use wait::{eventually, until};
