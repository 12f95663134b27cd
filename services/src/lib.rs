//! The framework that keeps services running and runs jobs. Package schedulers are its services.
//!
//! It is a framework like any other, written against the public SDK, and runs as a child process of the leading master.
pub mod definition;
pub mod limits;

pub use definition::ServiceDefinition;
