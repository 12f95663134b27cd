//! Mounts a container's root filesystem, in the agent's mount namespace; the executor's is a copy of it.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use super::{Image, ImageError};
use crate::limits;

/// Stacks an image below a fresh writable layer: `<dir>/rootfs` over `<dir>/upper`.
pub(crate) fn mount_image(image: &Image, dir: &Path) -> Result<PathBuf, ImageError> {
    mount_layers(&image.layers, dir)
}

/// The same of layers alone, the lowest first.
pub(crate) fn mount_layers(layers: &[PathBuf], dir: &Path) -> Result<PathBuf, ImageError> {
    let lower = if layers.is_empty() {
        // overlayfs wants one lower layer.
        let empty = dir.join("empty");
        make(&empty)?;
        vec![empty]
    } else {
        layers.iter().rev().cloned().collect()
    };
    overlay(&lower, dir, dir)
}

/// The host's own files, writable for the container alone: what it changes is memory and never reaches the host.
/// Other mounts of the host are not in it.
pub(crate) fn mount_host_root(dir: &Path) -> Result<PathBuf, ImageError> {
    // The upper layer must not lie in the lower one, so it is a filesystem of its own.
    let memory = dir.join("memory");
    mount_tmpfs(&memory, limits::HOST_ROOT_TMPFS_BYTES, "755")?;
    overlay(&[PathBuf::from("/")], &memory, dir)
}

/// A fresh tmpfs.
pub(crate) fn mount_tmpfs(path: &Path, bytes: usize, mode: &str) -> Result<(), ImageError> {
    make(path)?;
    let options = format!("size={bytes},mode={mode}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options.as_str())).map_err(|errno| ImageError::Mount {
        what: "tmpfs",
        path: path.to_owned(),
        source: errno.into(),
    })
}

fn overlay(lower: &[PathBuf], writable: &Path, dir: &Path) -> Result<PathBuf, ImageError> {
    let (upper, work, root) = (writable.join("upper"), writable.join("work"), dir.join("rootfs"));
    for path in [&upper, &work, &root] {
        make(path)?;
    }
    let lower: Vec<_> = lower.iter().map(|path| path.display().to_string()).collect();
    let options = format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), upper.display(), work.display());
    let failed = |source: io::Error| ImageError::Mount { what: "overlay", path: root.clone(), source };
    if options.len() >= 4096 {
        return Err(failed(io::Error::other("the layers' paths do not fit one page: use a shorter state directory")));
    }
    mount(Some("overlay"), &root, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .map_err(|errno| failed(errno.into()))?;
    Ok(root)
}

fn make(path: &Path) -> Result<(), ImageError> {
    fs::create_dir_all(path).map_err(ImageError::disk("make directory", path))
}
