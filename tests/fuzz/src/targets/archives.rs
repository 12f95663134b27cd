//! Archives that are read and not unpacked: of images, and of a cluster's backup; and the image archives that agents unpack.
use std::fs;

use crate::check;

/// One tar file.
pub fn target(data: &[u8]) {
    match k8s_framework::fuzzing::archive("app.tar", data) {
        Ok(content) => assert!(!content.images.is_empty()),
        Err(words) => check::said(&words),
    }
    match mezzo_cli::fuzzing::backup(data) {
        Ok((_, snapshot)) => assert!(snapshot.len() <= data.len(), "{} of {}", snapshot.len(), data.len()),
        Err(words) => check::said(&words),
    }
    let dir = tempfile::tempdir().expect("temporary directory");
    let (file, target) = (dir.path().join("file"), dir.path().join("layout"));
    fs::write(&file, data).expect("written");
    if let Err(words) = agent::fuzzing::archive(&file, &target) {
        check::said(&words);
    }
    let found = fs::read_dir(dir.path()).expect("listed").count();
    assert_eq!(found, 2, "something left the archive's directory");
}
