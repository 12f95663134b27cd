//! `mezzo image`, `mezzo artifact`.
use std::path::PathBuf;

use clap::{Subcommand, ValueHint};

#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    /// Upload an OCI image
    Push {
        /// An OCI layout (directory) or archive (tar)
        #[arg(value_hint = ValueHint::AnyPath)]
        source: PathBuf,
        /// pool/NAME:TAG
        reference: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Artifact {
    /// Upload a file under a name that packages refer to
    Push {
        /// The name
        name: String,
        /// The file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}
