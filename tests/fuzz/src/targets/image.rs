//! Documents of images and their names: from registries, layouts, operators.
use crate::{check, parts};

/// A manifest, index or configuration, and a name.
pub fn target(data: &[u8]) {
    let [document, name] = parts::of(data);
    for read in agent::fuzzing::image_documents(document) {
        match read {
            Ok(count) => assert!(count <= document.len()),
            Err(words) => assert!(!words.is_empty()),
        }
    }
    match master::fuzzing::manifest(document) {
        Ok(digests) => assert!(digests.iter().all(|digest| digest.len() == 64)),
        Err(words) => check::said(&words),
    }
    if let Ok(name) = std::str::from_utf8(name) {
        match agent::fuzzing::image_name(name) {
            Ok(read) => {
                let leads_out = read.split(['/', '"']).any(|part| part == "..");
                assert!(!read.starts_with("Pool") || !leads_out, "{name} is {read}");
            }
            Err(words) => check::said(&words),
        }
        // A header of the node's image service has a name too.
        if let Some((file, again)) = k8s_framework::fuzzing::description(name.as_bytes()) {
            let read = k8s_framework::fuzzing::description(again.as_bytes()).expect("its own header");
            assert_eq!(read.0, file);
        }
    }
}
