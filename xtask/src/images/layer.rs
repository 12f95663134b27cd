//! A layer being written: a tar archive whose bytes depend on its contents alone. Every entry has the same time, owners
//! are numbers, and entries come in the order in which the recipe adds them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tar::{EntryType, Header};

/// 2020-01-01 00:00:00 UTC, in every entry of every layer.
pub(super) const MODIFIED: u64 = 1_577_836_800;

pub(super) struct LayerBuilder<W: Write> {
    tar: tar::Builder<W>,
    directories: BTreeSet<PathBuf>,
}

impl<W: Write> LayerBuilder<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { tar: tar::Builder::new(writer), directories: BTreeSet::new() }
    }

    /// A directory, and those above it that the layer does not have yet.
    pub(super) fn directory(&mut self, path: &str, mode: u32) -> Result<()> {
        let path = PathBuf::from(path);
        self.parents(&path)?;
        if self.directories.insert(path.clone()) {
            let mut header = Self::header(EntryType::Directory, mode, 0);
            self.append(&mut header, &path, std::io::empty())?;
        }
        Ok(())
    }

    pub(super) fn file(&mut self, path: &str, mode: u32, contents: &[u8]) -> Result<()> {
        let path = Path::new(path);
        self.parents(path)?;
        let mut header = Self::header(EntryType::Regular, mode, contents.len() as u64);
        self.append(&mut header, path, contents)
    }

    /// A file of this machine.
    pub(super) fn copy(&mut self, path: &str, mode: u32, source: &Path) -> Result<()> {
        let context = || format!("read {}", source.display());
        let file = File::open(source).with_context(context)?;
        let size = file.metadata().with_context(context)?.len();
        let path = Path::new(path);
        self.parents(path)?;
        let mut header = Self::header(EntryType::Regular, mode, size);
        self.append(&mut header, path, file)
    }

    pub(super) fn symlink(&mut self, path: &str, target: &str) -> Result<()> {
        let path = Path::new(path);
        self.parents(path)?;
        let mut header = Self::header(EntryType::Symlink, 0o777, 0);
        self.tar.append_link(&mut header, path, target).with_context(|| format!("add {}", path.display()))
    }

    /// All of another archive, except what `keep` refuses; the path is given without a leading `./`.
    pub(super) fn import(&mut self, archive: &Path, keep: impl Fn(&Path) -> bool) -> Result<()> {
        let context = || format!("read {}", archive.display());
        let file = File::open(archive).with_context(context)?;
        let mut reader = tar::Archive::new(std::io::BufReader::new(file));
        for entry in reader.entries().with_context(context)? {
            let mut entry = entry.with_context(context)?;
            let path = entry.path().with_context(context)?.into_owned();
            let path = path.strip_prefix(".").unwrap_or(&path).to_path_buf();
            if path.as_os_str().is_empty() || !keep(&path) {
                continue;
            }
            let kind = entry.header().entry_type();
            let link = entry.link_name().with_context(context)?.map(std::borrow::Cow::into_owned);
            let size = if kind.is_file() { entry.size() } else { 0 };
            let mut header = Self::header(kind, entry.header().mode().with_context(context)?, size);
            header.set_uid(entry.header().uid().with_context(context)?);
            header.set_gid(entry.header().gid().with_context(context)?);
            if kind.is_dir() {
                self.directories.insert(path.clone());
            }
            match link {
                Some(target) => {
                    // A hard link names its target as a path of the archive.
                    let target = if kind.is_hard_link() {
                        target.strip_prefix(".").unwrap_or(&target).to_path_buf()
                    } else {
                        target
                    };
                    self.tar
                        .append_link(&mut header, &path, &target)
                        .with_context(|| format!("add {}", path.display()))?;
                }
                None => self.append(&mut header, &path, &mut entry)?,
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<W> {
        self.tar.into_inner().context("finish the archive")
    }

    fn parents(&mut self, path: &Path) -> Result<()> {
        let mut above: Vec<PathBuf> = path
            .ancestors()
            .skip(1)
            .filter(|ancestor| !ancestor.as_os_str().is_empty())
            .map(Path::to_path_buf)
            .collect();
        above.reverse();
        for directory in above {
            if self.directories.insert(directory.clone()) {
                let mut header = Self::header(EntryType::Directory, 0o755, 0);
                self.append(&mut header, &directory, std::io::empty())?;
            }
        }
        Ok(())
    }

    fn header(kind: EntryType, mode: u32, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_mtime(MODIFIED);
        header.set_uid(0);
        header.set_gid(0);
        header
    }

    fn append(&mut self, header: &mut Header, path: &Path, contents: impl Read) -> Result<()> {
        self.tar.append_data(header, path, contents).with_context(|| format!("add {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let mut layer = LayerBuilder::new(Vec::new());
        layer.file("etc/passwd", 0o644, b"root:x:0:0::/:/bin/sh\n").expect("add a file");
        layer.symlink("bin/sh", "busybox").expect("add a link");
        layer.directory("tmp", 0o1777).expect("add a directory");
        layer.finish().expect("finish")
    }

    #[test]
    fn equal_contents_give_equal_bytes() {
        assert_eq!(archive(), archive());
    }

    #[test]
    fn directories_above_an_entry_are_added_once() {
        let bytes = archive();
        let mut reader = tar::Archive::new(&bytes[..]);
        let entries: Vec<(String, u32, u64)> = reader
            .entries()
            .expect("entries")
            .map(|entry| {
                let entry = entry.expect("an entry");
                let header = entry.header();
                (
                    entry.path().expect("a path").display().to_string(),
                    header.mode().expect("a mode"),
                    header.mtime().expect("a time"),
                )
            })
            .collect();
        let expected = [("etc", 0o755), ("etc/passwd", 0o644), ("bin", 0o755), ("bin/sh", 0o777), ("tmp", 0o1777)];
        let expected: Vec<_> = expected.iter().map(|(path, mode)| ((*path).to_owned(), *mode, MODIFIED)).collect();
        assert_eq!(entries, expected);
    }

    #[test]
    fn an_imported_archive_keeps_its_owners_and_loses_its_times_and_what_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("in.tar");
        let mut source = tar::Builder::new(File::create(&path).expect("create"));
        let mut header = Header::new_gnu();
        header.set_size(2);
        header.set_mode(0o4755);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(99);
        source.append_data(&mut header.clone(), "./bin/su", &b"su"[..]).expect("add");
        source.append_data(&mut header, "./dev/null", &b"no"[..]).expect("add");
        source.finish().expect("finish");

        let mut layer = LayerBuilder::new(Vec::new());
        layer.import(&path, |path| !path.starts_with("dev")).expect("import");
        let bytes = layer.finish().expect("finish");
        let mut reader = tar::Archive::new(&bytes[..]);
        let entries: Vec<_> = reader
            .entries()
            .expect("entries")
            .map(|entry| {
                let entry = entry.expect("an entry");
                let header = entry.header();
                (
                    entry.path().expect("a path").display().to_string(),
                    header.mode().expect("a mode"),
                    header.uid().expect("a user"),
                    header.gid().expect("a group"),
                    header.mtime().expect("a time"),
                )
            })
            .collect();
        assert_eq!(entries, [("bin/su".to_owned(), 0o4755, 7, 8, MODIFIED)]);
    }
}
