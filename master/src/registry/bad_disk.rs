//! A registry on a disk that is full, or whose file was damaged: it is refused, or what was committed is there.
use std::panic;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::*;

const COUNT: usize = 40;

fn entry(number: usize) -> Write {
    Write::Put {
        table: Table::State,
        key: format!("f\0{number}").into(),
        value: vec![u8::try_from(number % 251).unwrap_or(0); 900],
    }
}

/// A registry with some content, as its file.
async fn file(path: &Path) -> Vec<Entry> {
    let registry = RedbRegistry::open(path).expect("opened");
    for number in 0..COUNT {
        registry.commit(vec![entry(number)]).await.expect("committed");
    }
    registry.scan(Table::State, b"").expect("read")
}

/// What a master that starts would know: `None` if it does not start.
fn known(path: &Path) -> Option<Vec<Entry>> {
    RedbRegistry::open(path).and_then(|registry| registry.scan(Table::State, b"")).ok()
}

#[tokio::test]
async fn a_truncated_file_is_refused_or_what_is_read_is_true() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("registry.redb");
    let content = file(&path).await;
    let bytes = std::fs::read(&path).expect("read");
    assert_eq!(known(&path).as_ref(), Some(&content));
    for part in 1..24 {
        std::fs::write(&path, &bytes[..bytes.len() * part / 24]).expect("truncated");
        let read = known(&path);
        assert!(read.is_none() || read.as_ref() == Some(&content), "{part} of 24 parts are left");
    }
    std::fs::write(&path, b"").expect("truncated");
    let error = RedbRegistry::open(&path).err().expect("refused");
    assert!(matches!(error, RegistryError::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn a_damaged_file_is_refused_or_what_is_read_is_true() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("registry.redb");
    let content = file(&path).await;
    let bytes = std::fs::read(&path).expect("read");
    let mut refused = 0;
    let pages = bytes.len() / 4096;
    for page in 0..pages {
        for offset in [3, 97, 1033] {
            let mut damaged = bytes.clone();
            damaged[page * 4096 + offset] ^= 0x5a;
            std::fs::write(&path, &damaged).expect("damaged");
            let read = panic::catch_unwind(|| known(&path)).expect("no panic reaches the master");
            match read {
                Some(read) => assert_eq!(read, content, "byte {offset} of page {page} of {pages}"),
                None => refused += 1,
            }
        }
    }
    assert!(refused > 0, "some of the file matters");
}

#[tokio::test]
async fn a_full_disk_refuses_the_write_and_keeps_what_was_committed() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let small = dir.path().join("small");
    std::fs::create_dir(&small).expect("made");
    mount(Some("small"), &small, Some("tmpfs"), MsFlags::empty(), Some("size=4m")).expect("mounted, as root");
    let path = small.join("registry.redb");
    let registry = RedbRegistry::open(&path).expect("opened");
    let mut committed = Vec::new();
    let refused = loop {
        let number = committed.len();
        match registry.commit(vec![entry(number)]).await {
            Ok(()) => committed.push(number),
            Err(error) => break error,
        }
        assert!(number < 10_000, "the disk has an end");
    };
    assert!(matches!(refused, RegistryError::Write(_)), "{refused}");
    // Nothing is accepted after that, until the file is opened anew.
    assert!(matches!(registry.commit(vec![entry(0)]).await, Err(RegistryError::Closed)));
    drop(registry);
    let larger = mount(None::<&str>, &small, None::<&str>, MsFlags::MS_REMOUNT, Some("size=64m"));
    larger.expect("made room");
    let found = known(&path).expect("opened again");
    for number in committed {
        let Write::Put { key, value, .. } = entry(number) else { unreachable!("entries are puts") };
        assert!(found.contains(&(key, value)), "entry {number} was committed");
    }
    umount2(&small, MntFlags::MNT_DETACH).expect("unmounted");
}
