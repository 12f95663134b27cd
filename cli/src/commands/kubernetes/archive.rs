//! The file of a backup: read once, every part compared with what the manifest at its end says.
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::failure::{Failure, Result};

/// Format of the file that is known.
const FORMAT: u32 = 1;
/// A manifest has some 10 KiB, keys have some 30 KiB.
const TEXT_BYTES_MAX: u64 = 4 << 20;

/// What a manifest says, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Manifest {
    pub(super) format: u32,
    pub(crate) id: String,
    pub(super) cluster: String,
    pub(super) created: u64,
    pub(super) options: Value,
    pub(super) revision: i64,
    pub(super) objects: BTreeMap<String, u64>,
    parts: Vec<Part>,
    pub(super) snapshot_sha256: String,
    secrets_sha256: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Part {
    name: String,
    sha256: String,
}

/// A whole backup; the snapshot is in a file of its own.
#[derive(Clone)]
pub(crate) struct Backup {
    pub(crate) manifest: Manifest,
    pub(super) secrets: String,
    /// The manifest as it is in the file.
    pub(super) raw: Value,
}

/// Reads a backup, and writes its snapshot into a file if one is named.
pub(super) fn read(file: &Path, snapshot: Option<&Path>) -> Result<Backup> {
    let reading = |error: std::io::Error| Failure::while_doing(format!("read {}", file.display()), &error);
    let input = std::fs::File::open(file).map_err(reading)?;
    let mut out: Box<dyn Write> = match snapshot {
        Some(path) => Box::new(std::io::BufWriter::new(std::fs::File::create(path).map_err(reading)?)),
        None => Box::new(std::io::sink()),
    };
    let whole = check(std::io::BufReader::with_capacity(1 << 20, input), &mut out);
    let whole = whole.map_err(|why| {
        let next = "use one made by mezzo kubernetes backup";
        Failure::new(format!("{} is no whole backup", file.display()), why, next)
    })?;
    out.flush().map_err(reading)?;
    Ok(whole)
}

pub(crate) fn check(input: impl Read, out: &mut dyn Write) -> std::result::Result<Backup, String> {
    let words = |error: std::io::Error| error.to_string();
    let (mut manifest, mut secrets, mut parts) = (None, None, Vec::new());
    let mut whole = Sha256::new();
    let mut tar = tar::Archive::new(input);
    for entry in tar.entries().map_err(words)? {
        let mut entry = entry.map_err(words)?;
        let name = entry.path().map_err(words)?.to_string_lossy().into_owned();
        // A few bytes can say that a file is any number of zeros.
        if !entry.header().entry_type().is_file() {
            return Err(format!("its {name} is no plain file"));
        }
        let size = entry.size();
        let text = |entry: &mut dyn Read| {
            let mut text = String::new();
            entry.take(TEXT_BYTES_MAX).read_to_string(&mut text).map_err(words)?;
            Ok::<_, String>(text)
        };
        match name.as_str() {
            "manifest.json" => manifest = Some(text(&mut entry)?),
            "secrets.json" => secrets = Some(text(&mut entry)?),
            _ if name.starts_with("etcd/") => {
                let mut hash = Sha256::new();
                let mut buffer = vec![0; 1 << 16];
                let mut length = 0;
                loop {
                    let read = entry.read(&mut buffer).map_err(words)?;
                    if read == 0 {
                        break;
                    }
                    hash.update(&buffer[..read]);
                    whole.update(&buffer[..read]);
                    out.write_all(&buffer[..read]).map_err(words)?;
                    length += read as u64;
                }
                if length != size {
                    return Err(format!("its {name} is cut off"));
                }
                parts.push((name, hex::encode(hash.finalize())));
            }
            _ => {}
        }
    }
    let manifest = manifest.ok_or("it has no manifest.json")?;
    let secrets = secrets.ok_or("it has no secrets.json")?;
    let raw: Value = serde_json::from_str(&manifest).map_err(|error| format!("its manifest.json: {error}"))?;
    if raw["format"].as_u64().is_some_and(|format| format > u64::from(FORMAT)) {
        return Err(format!("it has format {}, this version of mezzo knows {FORMAT}", raw["format"]));
    }
    let manifest: Manifest =
        serde_json::from_value(raw.clone()).map_err(|error| format!("its manifest.json: {error}"))?;
    let wanted: Vec<(String, String)> =
        manifest.parts.iter().map(|part| (part.name.clone(), part.sha256.clone())).collect();
    if manifest.format == 0 || wanted != parts || hex::encode(whole.finalize()) != manifest.snapshot_sha256 {
        return Err("its etcd snapshot is damaged".to_owned());
    }
    if hex::encode(Sha256::digest(secrets.as_bytes())) != manifest.secrets_sha256 {
        return Err("its secrets.json is damaged".to_owned());
    }
    Ok(Backup { manifest, secrets, raw })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append_data(&mut header, path, *content).expect("appended");
        }
        builder.into_inner().expect("ended")
    }

    fn manifest(format: u32) -> Vec<u8> {
        let sha256 = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
        let manifest = json!({
            "format": format, "id": "demo-7", "cluster": "demo", "created": 7, "options": {"node_count": 2},
            "revision": 9, "objects": {"pods": 1}, "snapshot_sha256": sha256(b"onetwo"),
            "secrets_sha256": sha256(b"keys"),
            "parts": [{"name": "etcd/00000", "bytes": 3, "sha256": sha256(b"one")},
                      {"name": "etcd/00001", "bytes": 3, "sha256": sha256(b"two")}],
        });
        manifest.to_string().into_bytes()
    }

    fn checked(files: &[(&str, &[u8])]) -> std::result::Result<(Backup, Vec<u8>), String> {
        let mut out = Vec::new();
        check(tar_of(files).as_slice(), &mut out).map(|backup| (backup, out))
    }

    #[test]
    fn a_whole_backup_is_read_and_its_snapshot_is_one_file() {
        let (backup, snapshot) = checked(&[
            ("secrets.json", b"keys"),
            ("etcd/00000", b"one"),
            ("etcd/00001", b"two"),
            ("manifest.json", &manifest(1)),
        ])
        .unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((snapshot.as_slice(), backup.manifest.id.as_str()), (b"onetwo".as_slice(), "demo-7"));
    }

    #[test]
    fn a_file_of_nothing_but_holes_is_refused() {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::GNUSparse);
        header.set_path("etcd/00000").expect("a short path");
        header.set_size(0);
        let gnu = header.as_gnu_mut().expect("it is one");
        gnu.set_real_size(1 << 60);
        gnu.sparse[0].set_offset(1 << 60);
        gnu.sparse[0].set_length(0);
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header, &b""[..]).expect("appended");
        let bytes = builder.into_inner().expect("ended");
        let why = check(bytes.as_slice(), &mut std::io::sink()).err().expect("refused");
        assert_eq!(why, "its etcd/00000 is no plain file");
    }

    #[test]
    fn damaged_incomplete_and_newer_ones_are_refused() {
        let why = |files: &[(&str, &[u8])]| checked(files).err().expect("refused");
        let (keys, one, two) = (
            ("secrets.json", b"keys".as_slice()),
            ("etcd/00000", b"one".as_slice()),
            ("etcd/00001", b"two".as_slice()),
        );
        assert_eq!(why(&[keys, one, two]), "it has no manifest.json");
        assert_eq!(why(&[keys, one, ("manifest.json", &manifest(1))]), "its etcd snapshot is damaged");
        assert_eq!(
            why(&[keys, one, ("etcd/00001", b"twO"), ("manifest.json", &manifest(1))]),
            "its etcd snapshot is damaged"
        );
        assert_eq!(
            why(&[("secrets.json", b"kays"), one, two, ("manifest.json", &manifest(1))]),
            "its secrets.json is damaged"
        );
        assert!(why(&[keys, one, two, ("manifest.json", &manifest(2))]).contains("format 2"));
    }
}
