//! The rules of the house that a compiler does not check. This crate reads the workspace; the rules are in `tests/`.

pub mod source;
pub mod workspace;

pub use source::SourceFile;
pub use workspace::{Package, Workspace};
