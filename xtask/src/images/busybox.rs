//! `busybox:1`: a shell and a web server in one static file; also the lower half of other images.

use std::io::Write;
use std::path::Path;

use anyhow::Result;

use super::Kitchen;
use super::layer::LayerBuilder;
use super::layout::Description;
use super::store::Layer;
use crate::apt;
use crate::tool::Tool;

const PROGRAM: &str = "/bin/busybox";

const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &[u8] = b"root:x:0:\nnogroup:x:65534:\n";

pub(super) fn image(kitchen: &Kitchen<'_>) -> Result<Description> {
    Ok(Description { tag: "1".to_owned(), layers: vec![layer(kitchen)?], command: vec!["/bin/sh"] })
}

pub(super) fn layer(kitchen: &Kitchen<'_>) -> Result<Layer> {
    let version = apt::installed(&["busybox-static"])?;
    kitchen.layers.get("busybox", &[&version, "1"], fill)
}

/// The shell with a link for every applet, users, and the directories that programs expect.
pub(super) fn fill<W: Write>(layer: &mut LayerBuilder<W>) -> Result<()> {
    for directory in ["bin", "dev", "etc", "proc", "root", "run", "sbin", "sys", "usr/bin", "usr/sbin", "var"] {
        layer.directory(directory, 0o755)?;
    }
    for directory in ["tmp", "var/tmp"] {
        layer.directory(directory, 0o1777)?;
    }
    layer.file("etc/passwd", 0o644, PASSWD)?;
    layer.file("etc/group", 0o644, GROUP)?;
    layer.file("etc/nsswitch.conf", 0o644, b"hosts: files dns\n")?;
    layer.copy("bin/busybox", 0o755, Path::new(PROGRAM))?;
    let applets = Tool::new(PROGRAM).arg("--list-full").quiet().output()?;
    let mut applets: Vec<&str> = applets.lines().filter(|path| *path != "bin/busybox").collect();
    applets.sort_unstable();
    for path in applets {
        layer.symlink(path, PROGRAM)?;
    }
    Ok(())
}
