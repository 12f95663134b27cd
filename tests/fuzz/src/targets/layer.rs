//! Layers of images: tar files of strangers, unpacked by root. Nothing of one may be found outside of its directory.
use std::fs;
use std::io::Write as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::{check, parts};

/// How it is packed, and the tar file.
pub fn target(data: &[u8]) {
    let [kind, plain] = parts::of(data);
    let dir = tempfile::tempdir().expect("temporary directory");
    let packed = match kind.first().copied().unwrap_or_default() % 3 {
        0 => plain.to_vec(),
        1 => gzip(plain),
        _ => zstd::encode_all(plain, 1).expect("compressed"),
    };
    let (blob, target, outside) = (dir.path().join("blob"), dir.path().join("layer"), dir.path().join("outside"));
    fs::write(&blob, &packed).expect("written");
    fs::create_dir_all(outside.join("inside")).expect("made");
    fs::write(outside.join("file"), "mine").expect("written");
    std::os::unix::fs::symlink(&outside, dir.path().join("way-out")).expect("linked");
    let result = agent::fuzzing::layer(&blob, &target, &digest(&packed), &digest(plain));
    if let Err(words) = result {
        check::said(&words);
    }
    untouched(dir.path(), &outside);
}

fn untouched(dir: &Path, outside: &Path) {
    let mut found: Vec<String> = fs::read_dir(dir)
        .expect("listed")
        .map(|it| it.expect("read").file_name().to_string_lossy().into_owned())
        .collect();
    found.sort_unstable();
    assert_eq!(found, ["blob", "layer", "outside", "way-out"], "something left the layer");
    assert_eq!(fs::read_dir(outside).expect("listed").count(), 2, "something was made outside");
    assert_eq!(fs::read_dir(outside.join("inside")).expect("listed").count(), 0, "something was made outside");
    assert_eq!(fs::read(outside.join("file")).expect("still there"), b"mine");
    for path in [outside.to_owned(), outside.join("inside")] {
        assert!(!is_opaque(&path), "{} was made opaque", path.display());
    }
}

/// Whether overlayfs would hide what is below a directory.
fn is_opaque(path: &Path) -> bool {
    xattr::get(path, "trusted.overlay.opaque").ok().flatten().is_some()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("compressed")
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
