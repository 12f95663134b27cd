//! An OCI layout made on the spot: busybox and links to it.
use std::fs;
use std::io::Write as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

fn sha(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Makes the layout and returns its name as an image.
pub fn busybox_layout(dir: &Path) -> String {
    let binary = fs::read("/bin/busybox").expect("busybox-static is installed");
    let mut tar = tar::Builder::new(Vec::new());
    // Every real archive says whose its files are.
    let header = || {
        let mut header = tar::Header::new_gnu();
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header
    };
    let directory = |tar: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32| {
        let mut header = header();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(mode);
        header.set_size(0);
        tar.append_data(&mut header, path, std::io::empty()).expect("added");
    };
    for (path, mode) in [("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777)] {
        directory(&mut tar, path, mode);
    }
    let file = |tar: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, bytes: &[u8]| {
        let mut header = header();
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, path, bytes).expect("added");
    };
    file(&mut tar, "bin/busybox", 0o755, &binary);
    file(&mut tar, "etc/passwd", 0o644, b"root:x:0:0::/:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n");
    file(&mut tar, "etc/group", 0o644, b"root:x:0:\nweb:x:1000:\n");
    for applet in [
        "sh", "sleep", "cat", "echo", "id", "ls", "stat", "dd", "head", "tail", "grep", "mount", "mknod", "true",
        "kill", "test", "wc",
    ] {
        let mut header = header();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox").expect("added");
    }
    let layer = tar.into_inner().expect("built");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&layer).expect("compressed");
    let packed = gzip.finish().expect("compressed");

    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("made");
    let keep = |bytes: &[u8]| {
        fs::write(blobs.join(sha(bytes)), bytes).expect("written");
        (format!("sha256:{}", sha(bytes)), bytes.len())
    };
    let (layer_digest, layer_size) = keep(&packed);
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "config": { "Env": ["FROM_IMAGE=yes"], "Cmd": ["/bin/true"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", sha(&layer))] },
    });
    let (config_digest, config_size) = keep(config.to_string().as_bytes());
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config_size },
        "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer_digest, "size": layer_size }],
    });
    let (digest, size) = keep(manifest.to_string().as_bytes());
    let index = serde_json::json!({
        "schemaVersion": 2,
        "manifests": [{ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size,
                        "annotations": { "org.opencontainers.image.ref.name": "busybox:1" } }],
    });
    fs::write(dir.join("index.json"), index.to_string()).expect("written");
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("written");
    format!("oci:{}:1", dir.display())
}
