//! Files that frameworks keep in the pool: what must outlive every agent, such as backups of their data. A framework has
//! a folder of its own; it outlives the framework, so that what it kept can be read when it is gone.
//!
//! They are no artifacts: only their framework and operators may read them, they have names, and they can be deleted.
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use futures::{Stream, StreamExt as _};
use model::Refusal;
use serde::Serialize;
use tokio::io::AsyncWriteExt as _;

use crate::artifacts::check_name;
use crate::limits;
use crate::refusal;

/// The folders.
#[derive(Debug)]
pub(crate) struct Files {
    root: PathBuf,
}

/// A file of a framework.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Kept {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) changed_unix_ms: u64,
}

/// Files being written end so, and are shown to nobody.
const INCOMING: &str = ".incoming";

impl Files {
    /// Opens the folders; what a killed master left half-written is deleted.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o700))?;
        for folder in std::fs::read_dir(root)?.filter_map(Result::ok) {
            for file in std::fs::read_dir(folder.path())?.filter_map(Result::ok) {
                if file.file_name().to_string_lossy().ends_with(INCOMING) {
                    std::fs::remove_file(file.path())?;
                }
            }
        }
        Ok(Self { root: root.to_owned() })
    }

    fn folder(&self, framework: &str) -> Result<PathBuf, Refusal> {
        check_name("framework", framework)?;
        Ok(self.root.join(framework))
    }

    fn path(&self, framework: &str, name: &str) -> Result<PathBuf, Refusal> {
        check_name("name", name)?;
        if name.ends_with(INCOMING) {
            return Err(refusal::malformed("name", format!("no name ends in '{INCOMING}'")));
        }
        Ok(self.folder(framework)?.join(name))
    }

    /// What a framework keeps, by name.
    pub(crate) async fn list(&self, framework: &str) -> Result<Vec<Kept>, Refusal> {
        let folder = self.folder(framework)?;
        let listed = tokio::task::spawn_blocking(move || list(&folder)).await;
        listed
            .map_err(|error| refusal::failed("list the files", &error))?
            .map_err(|error| refusal::failed("list the files", &error))
    }

    /// A file and its length.
    pub(crate) async fn read(&self, framework: &str, name: &str) -> Result<(tokio::fs::File, u64), Refusal> {
        let path = self.path(framework, name)?;
        let opened = async {
            let file = tokio::fs::File::open(path).await?;
            let length = file.metadata().await?.len();
            Ok::<_, io::Error>((file, length))
        };
        opened.await.map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                return refusal::not_found(
                    format!("'{framework}' keeps no file '{name}'"),
                    format!("see what it keeps with GET /files/{framework}"),
                );
            }
            refusal::failed("open the file", &error)
        })
    }

    /// Takes a file in, in place of an older one of the name. One that breaks off is not kept.
    pub(crate) async fn write<E: std::error::Error>(
        &self,
        framework: &str,
        name: &str,
        mut body: impl Stream<Item = Result<bytes::Bytes, E>> + Unpin,
    ) -> Result<u64, Refusal> {
        let path = self.path(framework, name)?;
        let present = self.list(framework).await?;
        if present.len() >= limits::FRAMEWORK_FILES_MAX && present.iter().all(|kept| kept.name != name) {
            let message = format!("'{framework}' keeps {} files already", present.len());
            return Err(refusal::too_much(message, "delete some first"));
        }
        let room = limits::FRAMEWORK_FILES_BYTES_MAX.saturating_sub(present.iter().map(|kept| kept.bytes).sum());
        let failed = |error: &io::Error| refusal::failed("write the file", error);
        let folder = self.folder(framework)?;
        tokio::fs::create_dir_all(&folder).await.map_err(|error| failed(&error))?;
        let incoming =
            tempfile::Builder::new().suffix(INCOMING).tempfile_in(&folder).map_err(|error| failed(&error))?;
        let copy = incoming.reopen().map_err(|error| failed(&error))?;
        let mut file = tokio::io::BufWriter::with_capacity(1 << 20, tokio::fs::File::from_std(copy));
        let mut length = 0_u64;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| {
                refusal::malformed("body", format!("the upload broke off: {}", daemon::error::chain(&error)))
            })?;
            length += u64::try_from(chunk.len()).expect("a length fits 64 bits");
            if length > room {
                let limit = limits::FRAMEWORK_FILES_BYTES_MAX;
                return Err(refusal::too_much(
                    format!("the files of a framework have at most {limit} bytes together"),
                    "delete some first",
                ));
            }
            file.write_all(&chunk).await.map_err(|error| failed(&error))?;
        }
        file.flush().await.map_err(|error| failed(&error))?;
        file.get_ref().sync_all().await.map_err(|error| failed(&error))?;
        let kept = tokio::task::spawn_blocking(move || {
            incoming.persist(path).map_err(|error| error.error)?;
            std::fs::File::open(folder)?.sync_all()
        });
        kept.await.map_err(|error| refusal::failed("keep the file", &error))?.map_err(|error| failed(&error))?;
        Ok(length)
    }

    /// Deletes a file; it need not exist.
    pub(crate) async fn delete(&self, framework: &str, name: &str) -> Result<(), Refusal> {
        match tokio::fs::remove_file(self.path(framework, name)?).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(refusal::failed("delete the file", &error)),
            _ => Ok(()),
        }
    }
}

fn list(folder: &Path) -> io::Result<Vec<Kept>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // One that is deleted just now is not there.
        let Ok(metadata) = entry.metadata() else { continue };
        if name.ends_with(INCOMING) {
            continue;
        }
        let changed = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        files.push(Kept { name, bytes: metadata.len(), changed_unix_ms: u64::try_from(changed).unwrap_or(u64::MAX) });
    }
    files.sort_unstable();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &'static str) -> impl Stream<Item = Result<bytes::Bytes, io::Error>> + Unpin {
        futures::stream::iter([Ok(bytes::Bytes::from_static(text.as_bytes()))])
    }

    #[tokio::test]
    async fn a_file_is_kept_read_replaced_and_deleted() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let files = Files::open(&dir.path().join("files")).expect("opened");
        assert!(files.list("demo").await.expect("nothing").is_empty());
        files.write("demo", "a.tar", body("one")).await.expect("written");
        files.write("demo", "a.tar", body("three")).await.expect("written");
        let kept = files.list("demo").await.expect("listed");
        assert_eq!((kept.len(), kept[0].name.as_str(), kept[0].bytes), (1, "a.tar", 5));
        let mode = std::fs::metadata(dir.path().join("files/demo/a.tar")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        files.delete("demo", "a.tar").await.expect("deleted");
        files.delete("demo", "a.tar").await.expect("gone already");
        assert_eq!(files.read("demo", "a.tar").await.expect_err("gone").code, "MST0103");
    }

    #[tokio::test]
    async fn names_stay_in_their_folder_and_half_files_are_not_kept() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let files = Files::open(dir.path()).expect("opened");
        for (framework, name) in [("..", "a"), ("demo", "../a"), ("demo", ""), ("demo", "a.incoming"), ("a/b", "c")] {
            assert_eq!(files.write(framework, name, body("x")).await.expect_err(name).code, "MST0101");
        }
        let broken = futures::stream::iter([Ok(bytes::Bytes::from_static(b"x")), Err(io::Error::other("gone"))]);
        files.write("demo", "a", broken).await.expect_err("broke off");
        assert!(files.list("demo").await.expect("listed").is_empty());
        assert_eq!(std::fs::read_dir(dir.path().join("demo")).expect("there").count(), 0);
    }
}
