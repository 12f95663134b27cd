//! Images: pulled, verified, unpacked once, stacked by overlayfs. The store is content-addressed, so nothing in it ever
//! changes: `images/blobs/sha256/<digest>` (manifests and configurations), `images/layers/<diff id>` (unpacked).
mod reference;
mod rootfs;
mod source;
mod store;
pub(crate) mod unpack;

use std::io;
use std::path::PathBuf;

pub(crate) use reference::ImageName;
pub(crate) use rootfs::{mount_host_root, mount_image, mount_layers, mount_tmpfs};
pub(crate) use source::{Download, Registries, download};
pub(crate) use store::{Image, ImageStore};
pub(crate) use unpack::decompress;

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    /// The name.
    #[error("'{name}' is no image name: {problem}")]
    Name {
        /// As given.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The other side, or the way there.
    #[error("fetch {what} of image {name}")]
    Fetch {
        /// A digest or tag.
        what: String,
        /// Which image.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What came is not what was asked for.
    #[error("{what} has digest {found}, not {wanted}")]
    Digest {
        /// What.
        what: &'static str,
        /// As wanted.
        wanted: String,
        /// As found.
        found: String,
    },
    /// A digest this store does not know how to check.
    #[error("digest '{0}' is not sha256:<64 hexadecimal digits>")]
    Algorithm(String),
    /// No image for this machine, or a document that is none.
    #[error("{what} of image {name} {problem}")]
    Document {
        /// Manifest, index, configuration.
        what: &'static str,
        /// Which image.
        name: String,
        /// To be read after it.
        problem: String,
    },
    /// A layer is malformed.
    #[error("layer {layer} {problem}")]
    Layer {
        /// Its diff id.
        layer: String,
        /// To be read after it.
        problem: String,
    },
    /// The disk.
    #[error("{operation} {path}")]
    Disk {
        /// What was done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A mount.
    #[error("mount {what} on {path}")]
    Mount {
        /// What.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ImageError {
    pub(crate) fn disk(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| ImageError::Disk { operation, path, source }
    }
    /// Whether trying again may help.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, ImageError::Fetch { .. } | ImageError::Digest { .. })
    }
}
