//! Packages: what can be installed, which options it takes, and what an installation becomes.
//!
//! A package is a folder: `package.toml` (what it is), `options.schema.json` (JSON Schema of its options, with defaults,
//! and `"immutable": true` on what cannot change later, `{"once": value}` on what stays when it has that value) and a
//! template of the service that the services framework then runs. Everything here but reading a folder is pure: the same package, name and options give the same bytes.
mod embedded;
pub mod limits;
pub mod name;
pub mod options;
pub mod package;
pub mod preflight;
pub mod render;
pub mod store;
pub mod version;

pub use options::OptionError;
pub use package::{Package, PackageError};
pub use render::{RenderError, Rendered};
pub use store::{Catalog, CatalogError, Summary};
pub use version::Version;
