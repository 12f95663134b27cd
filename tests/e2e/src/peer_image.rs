//! The image of the pods that tests run: `e2e-peer` with the libraries it needs and a shell beside it, as a docker archive, which
//! is what `mezzo kubernetes load` takes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::program::Program;

/// What manifests call it.
pub const IMAGE: &str = "e2e-peer:1";

/// The same with all that a container runtime adds.
const FULL_NAME: &str = "docker.io/library/e2e-peer:1";

/// A shell in one static file, of Debian's package `busybox-static`.
const SHELL: &str = "/bin/busybox";

/// Writes the archive of `program` to `archive`.
///
/// # Errors
/// If something of it cannot be read, or the archive not be written.
pub fn write(program: &Path, archive: &Path) -> Result<()> {
    let mut layer = Archive::new();
    let libraries = Program::new("ldd").args([program]).run()?;
    for library in libraries.lines().filter_map(library).collect::<BTreeSet<_>>() {
        layer.file(library.trim_start_matches('/'), 0o755, &read(Path::new(library))?)?;
    }
    layer.file("bin/e2e-peer", 0o755, &read(program)?)?;
    layer.file(SHELL.trim_start_matches('/'), 0o755, &read(Path::new(SHELL))?)?;
    for applet in ["sh", "cat", "touch", "sleep"] {
        layer.link(&format!("bin/{applet}"), SHELL)?;
    }
    layer.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n")?;
    layer.file("etc/nsswitch.conf", 0o644, b"hosts: files dns\n")?;
    let layer = layer.finish()?;
    let configuration = serde_json::to_vec(&json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/bin/e2e-peer"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))]},
    }))
    .context("print the configuration")?;
    let configuration_name = format!("{}.json", digest(&configuration));
    let manifest = json!([{"Config": configuration_name, "RepoTags": [FULL_NAME], "Layers": ["layer.tar"]}]);
    let mut whole = Archive::new();
    whole.file("layer.tar", 0o644, &layer)?;
    whole.file(&configuration_name, 0o644, &configuration)?;
    whole.file("manifest.json", 0o644, manifest.to_string().as_bytes())?;
    fs::write(archive, whole.finish()?).with_context(|| format!("write {}", archive.display()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// From a line of `ldd`: `libc.so.6 => /lib/libc.so.6 (0x…)` or, for the loader, `/lib64/ld.so (0x…)`.
fn library(line: &str) -> Option<&str> {
    let path = line.split_once("=> ").map_or(line, |(_, path)| path);
    path.split_whitespace().next().filter(|path| path.starts_with('/'))
}

struct Archive {
    builder: tar::Builder<Vec<u8>>,
}

impl Archive {
    fn new() -> Self {
        Self { builder: tar::Builder::new(Vec::new()) }
    }

    fn file(&mut self, path: &str, mode: u32, contents: &[u8]) -> Result<()> {
        let mut header = header(mode);
        header.set_size(u64::try_from(contents.len()).context("measure a file")?);
        self.builder.append_data(&mut header, path, contents).with_context(|| format!("pack {path}"))
    }

    fn link(&mut self, path: &str, target: &str) -> Result<()> {
        let mut header = header(0o777);
        header.set_entry_type(tar::EntryType::Symlink);
        self.builder.append_link(&mut header, path, target).with_context(|| format!("pack {path}"))
    }

    fn finish(self) -> Result<Vec<u8>> {
        self.builder.into_inner().context("finish an archive")
    }
}

fn header(mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}
