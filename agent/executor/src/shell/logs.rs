//! A container's output: read from its pipes, appended to files that are rotated by size.
use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tracing::warn;

use crate::limits::{LOG_BUFFER_BYTES, LOG_BYTES_DEFAULT, LOG_FILES_DEFAULT, LOG_FILES_MAX};

/// A log file with its older parts `<path>.1` (the newest) to `<path>.N`.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    file: Option<File>,
    length: u64,
    bytes_max: u64,
    files_max: u32,
}

impl RotatingFile {
    /// Zeros mean the defaults. Opened at the first output.
    pub(super) fn new(path: &str, bytes_max: u64, files_max: u32) -> Self {
        let bytes_max = if bytes_max == 0 { LOG_BYTES_DEFAULT } else { bytes_max };
        let files_max = if files_max == 0 { LOG_FILES_DEFAULT } else { files_max.min(LOG_FILES_MAX) };
        Self { path: PathBuf::from(path), file: None, length: 0, bytes_max, files_max }
    }

    /// Appends, and rotates before the file would be too long.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = self.bytes_max.saturating_sub(self.length);
            let fits = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            if fits == 0 || (fits < bytes.len() && self.length > 0) {
                self.rotate()?;
                continue;
            }
            self.open()?.write_all(&bytes[..fits])?;
            self.length += fits as u64;
            bytes = &bytes[fits..];
        }
        Ok(())
    }

    fn open(&mut self) -> io::Result<&mut File> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => {
                let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
                self.length = file.metadata()?.len();
                Ok(none.insert(file))
            }
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        for older in (1..self.files_max).rev() {
            rename_if_there(&numbered(&self.path, older), &numbered(&self.path, older + 1))?;
        }
        rename_if_there(&self.path, &numbered(&self.path, 1))?;
        self.length = 0;
        self.open().map(|_| ())
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Copies a pipe to a file until every writer is gone. If the file fails, output is dropped: a full disk must not stop a container.
pub(super) async fn pump(pipe: OwnedFd, file: Rc<RefCell<RotatingFile>>) {
    let mut pipe = match pipe::Receiver::from_owned_fd(pipe) {
        Ok(pipe) => pipe,
        Err(error) => {
            warn!(%error, "container output not readable");
            return;
        }
    };
    let mut buffer = vec![0; LOG_BUFFER_BYTES];
    let mut is_failing = false;
    loop {
        let length = match pipe.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => length,
        };
        let written = file.borrow_mut().write(&buffer[..length]);
        if let Err(error) = &written
            && !is_failing
        {
            warn!(%error, path = %file.borrow().path.display(), "container output dropped");
        }
        is_failing = written.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotates_by_size_and_drops_the_oldest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let mut log = RotatingFile::new(path.to_str().unwrap(), 10, 2);
        for line in ["11111111\n", "22222222\n", "33333333\n", "44444444\n"] {
            log.write(line.as_bytes()).unwrap();
        }
        let mut files: Vec<(String, String)> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|p| (p.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&p).unwrap()))
            .collect();
        files.sort();
        let expected = [("out", "44444444\n"), ("out.1", "33333333\n"), ("out.2", "22222222\n")];
        assert_eq!(files, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }

    #[test]
    fn a_long_write_is_spread_and_an_old_file_continued() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        fs::write(&path, "abc").unwrap();
        let mut log = RotatingFile::new(path.to_str().unwrap(), 4, 9);
        log.write(b"d").unwrap();
        log.write(b"efghijk").unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!([read("out.2"), read("out.1"), read("out")], ["abcd", "efgh", "ijk"]);
    }
}
