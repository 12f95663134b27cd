//! Images that a node must have before its first pod: archives in the node's image (pause, busybox), and those that were
//! loaded into the cluster.
use std::fs;
use std::path::PathBuf;

use tracing::info;

use super::command::{CommandError, run};

/// Where archives lie.
const DIR: &str = "/images";

/// Imports every archive that is not there yet. Its mark lies beside containerd's data, so that a container started
/// again does not import again.
///
/// # Errors
/// If containerd refuses one.
pub(super) fn import() -> Result<(), CommandError> {
    let mut archives: Vec<PathBuf> = fs::read_dir(DIR)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    archives.retain(|path| path.extension().is_some_and(|extension| extension == "tar"));
    archives.sort();
    for archive in archives {
        let mark = PathBuf::from(format!("/var/lib/containerd/.imported-{}", file_name(&archive)));
        if mark.exists() {
            continue;
        }
        let path = archive.to_string_lossy();
        run("ctr", &["--namespace", "k8s.io", "images", "import", &path])?;
        // Without the mark it is imported once more, which changes nothing.
        let _ = fs::write(&mark, "");
        info!(archive = %path, "images imported");
    }
    Ok(())
}

fn file_name(path: &std::path::Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
