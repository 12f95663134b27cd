//! Tar files.
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use crate::parts;

fn add(builder: &mut Builder<Vec<u8>>, kind: EntryType, path: &str, link: &str, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    // Written raw: the builder itself refuses what leaves.
    let old = header.as_old_mut();
    old.name[..path.len()].copy_from_slice(path.as_bytes());
    old.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    builder.append(&header, content).expect("appended");
}

fn finish(builder: Builder<Vec<u8>>) -> Vec<u8> {
    builder.into_inner().expect("ended")
}

/// Layers of an image, behind a number that says how they are packed.
pub fn layers() -> Vec<Vec<u8>> {
    let mut plain = Builder::new(Vec::new());
    add(&mut plain, EntryType::Directory, "etc/", "", b"");
    add(&mut plain, EntryType::Regular, "etc/hello", "", b"hi");
    add(&mut plain, EntryType::Regular, "etc/.wh.gone", "", b"");
    add(&mut plain, EntryType::Regular, "var/.wh..wh..opq", "", b"");
    add(&mut plain, EntryType::Link, "etc/other", "etc/hello", b"");
    add(&mut plain, EntryType::Symlink, "bin", "usr/bin", b"");
    add(&mut plain, EntryType::Fifo, "pipe", "", b"");
    add(&mut plain, EntryType::Char, "dev/null", "", b"");
    let plain = finish(plain);
    // Everything that has led out of a directory somewhere.
    let mut ways_out = Builder::new(Vec::new());
    add(&mut ways_out, EntryType::Symlink, "link", "../outside", b"");
    add(&mut ways_out, EntryType::Regular, "link/inside/.wh..wh..opq", "", b"");
    let first = finish(ways_out);
    let mut ways_out = Builder::new(Vec::new());
    add(&mut ways_out, EntryType::Symlink, "link", "../outside", b"");
    add(&mut ways_out, EntryType::Regular, "link/new", "", b"x");
    let second = finish(ways_out);
    let mut ways_out = Builder::new(Vec::new());
    add(&mut ways_out, EntryType::Link, "mine", "../outside/file", b"");
    add(&mut ways_out, EntryType::Regular, "mine", "", b"yours");
    let third = finish(ways_out);
    let mut ways_out = Builder::new(Vec::new());
    add(&mut ways_out, EntryType::Symlink, "a", "..", b"");
    add(&mut ways_out, EntryType::Symlink, "b", "a/outside", b"");
    add(&mut ways_out, EntryType::Regular, "b/.wh.file", "", b"");
    add(&mut ways_out, EntryType::Char, "b/device", "", b"");
    add(&mut ways_out, EntryType::Directory, "b/directory", "", b"");
    let fourth = finish(ways_out);
    let mut long = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o644);
    header.set_cksum();
    let name = "long/".repeat(40) + "name";
    long.append_data(&mut header, name, &b"abc"[..]).expect("appended");
    long.append_pax_extensions([("path", &b"p"[..]), ("size", &b"3"[..])]).expect("appended");
    add(&mut long, EntryType::Regular, "q", "", b"abc");
    let long = finish(long);
    let of = |kind: u8, tar: &[u8]| parts::join(&[&[kind][..], tar]);
    vec![
        of(0, &plain),
        of(1, &plain),
        of(2, &plain),
        of(0, &first),
        of(0, &second),
        of(0, &third),
        of(0, &fourth),
        of(0, &long),
    ]
}

/// Archives of images and backups.
pub fn archives() -> Vec<Vec<u8>> {
    let sha256 = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
    let manifest = json!({
        "format": 1, "id": "demo-7", "cluster": "demo", "created": 7, "options": {"node_count": 2},
        "revision": 9, "objects": {"pods": 1}, "snapshot_sha256": sha256(b"onetwo"), "secrets_sha256": sha256(b"keys"),
        "parts": [{"name": "etcd/00000", "bytes": 3, "sha256": sha256(b"one")},
                  {"name": "etcd/00001", "bytes": 3, "sha256": sha256(b"two")}],
    });
    let of = |files: &[(&str, &[u8])]| {
        let mut builder = Builder::new(Vec::new());
        for (path, content) in files {
            add(&mut builder, EntryType::Regular, path, "", content);
        }
        finish(builder)
    };
    let index = br#"{"schemaVersion":2,"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"1.0"}}]}"#;
    vec![
        of(&[
            ("secrets.json", b"keys"),
            ("etcd/00000", b"one"),
            ("etcd/00001", b"two"),
            ("manifest.json", manifest.to_string().as_bytes()),
        ]),
        of(&[("layer.tar", &[7; 600]), ("./manifest.json", br#"[{"RepoTags":["app:1"]}]"#)]),
        of(&[("index.json", index), ("blobs/sha256/00", b"x")]),
    ]
}
