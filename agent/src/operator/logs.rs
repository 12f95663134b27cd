//! Reads a log file of a sandbox, and follows it through rotations until its container has ended.
use std::io::SeekFrom;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::Stream;
use proto::mezzo::v1::LogChunk;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tonic::Status;

use crate::limits;

/// The last `tail` bytes (none or negative: all there is in the newest file), then what comes.
pub(super) fn read(
    path: PathBuf,
    pod_dir: PathBuf,
    task_id: String,
    tail: i64,
    follow: bool,
) -> impl Stream<Item = Result<LogChunk, Status>> + Send {
    let reader =
        Reader { path, pod_dir, task_id, tail: u64::try_from(tail).unwrap_or(0), follow, file: None, ended: false };
    futures::stream::unfold(reader, |mut reader| async move {
        match Box::pin(reader.next()).await {
            Ok(Some(data)) => Some((Ok(LogChunk { data }), reader)),
            Ok(None) => None,
            Err(error) => {
                reader.follow = false;
                reader.ended = true;
                Some((Err(Status::internal(format!("the log cannot be read: {error}"))), reader))
            }
        }
    })
}

struct Reader {
    path: PathBuf,
    pod_dir: PathBuf,
    task_id: String,
    tail: u64,
    follow: bool,
    file: Option<File>,
    /// Nothing more is written: one more look, then it is over.
    ended: bool,
}

impl Reader {
    async fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        loop {
            if self.file.is_none() {
                self.file = self.open().await?;
            }
            if let Some(file) = &mut self.file {
                let mut chunk = vec![0; limits::CHUNK_BYTES];
                let count = file.read(&mut chunk).await?;
                if count > 0 {
                    chunk.truncate(count);
                    return Ok(Some(chunk.into()));
                }
                // At the end of a file that is the log no more: the next one is.
                let is_rotated = match tokio::fs::metadata(&self.path).await {
                    Ok(now) => now.ino() != file.metadata().await?.ino(),
                    Err(_) => false,
                };
                if is_rotated {
                    (self.file, self.tail) = (None, 0);
                    continue;
                }
            }
            if !self.follow || self.ended {
                return Ok(None);
            }
            if has_ended(&self.pod_dir, &self.task_id) {
                self.ended = true;
                continue;
            }
            tokio::time::sleep(limits::FOLLOW_INTERVAL).await;
        }
    }

    async fn open(&self) -> std::io::Result<Option<File>> {
        let mut file = match File::open(&self.path).await {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = file.metadata().await?.len();
        if self.tail > 0 && self.tail < length {
            file.seek(SeekFrom::Start(length - self.tail)).await?;
        }
        Ok(Some(file))
    }
}

/// Whether a container's end is on record, or nobody is left who could write for it.
fn has_ended(pod_dir: &Path, task_id: &str) -> bool {
    let recorded =
        executor::files::load_ended(pod_dir).unwrap_or_default().iter().any(|report| report.task_id == task_id);
    let orphaned = match executor::files::ExecutorRecord::load(pod_dir) {
        Ok(Some(record)) => !record.is_alive(),
        // Not started yet, unless everything of it is gone already.
        Ok(None) | Err(_) => !pod_dir.join("containers").exists(),
    };
    recorded || orphaned
}
