//! Checkpoints on disk: `meta/agent.json`, and per pod `meta/pods/<pod id>.launch.json` and `.progress.json`. Each file
//! is written beside, synced and renamed, then its directory is synced, before the core hears of it.
//!
//! A file is one line with the SHA-256 of what follows, then JSON. JSON alone is the form without a sum that agents wrote
//! before, and is read. A file that is not what was written stops the agent: what it would do instead of what its tasks
//! and holdings need is worse than an agent that is away.
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use agent_core::{AgentRecord, Checkpoint, LaunchRecord, PodId, ProgressRecord, Write, checkpoint::VERSION};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

/// Why the checkpoints cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A file or directory cannot be read.
    #[error("read checkpoint {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("write checkpoint {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("understand checkpoint {path}")]
    Parse {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A file is not what was written: the disk has damaged it, or somebody has changed it.
    #[error(
        "checkpoint {path} is damaged ({how}): put it back from a backup of this disk, or, if there is none, remove the \
         agent's state directory and join it as a new agent"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        how: &'static str,
    },
    /// A newer mezzo wrote it.
    #[error("checkpoint {path} has format {found}, this mezzo knows up to {VERSION}: start the newer mezzo")]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

/// The checkpoints of one agent.
#[derive(Debug)]
pub(crate) struct Store {
    meta: PathBuf,
    pods: PathBuf,
}

/// What a file begins with; the sum of what follows the line comes behind it.
const HEAD: &str = "mezzo checkpoint sha256 ";
const LAUNCH: &str = ".launch.json";
const PROGRESS: &str = ".progress.json";

impl Store {
    /// Opens (and makes) the directory.
    pub(crate) fn open(meta: &Path) -> Result<Self, CheckpointError> {
        let pods = meta.join("pods");
        fs::create_dir_all(&pods).map_err(|source| CheckpointError::Write { path: pods.clone(), source })?;
        Ok(Self { meta: meta.to_owned(), pods })
    }

    /// Everything that was checkpointed.
    pub(crate) fn load(&self) -> Result<Checkpoint, CheckpointError> {
        let path = self.meta.join("agent.json");
        let agent: AgentRecord = read(&path)?.unwrap_or_default();
        known(&path, agent.version)?;
        let mut pods = BTreeMap::new();
        let failed = |source| CheckpointError::Read { path: self.pods.clone(), source };
        for entry in fs::read_dir(&self.pods).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(LAUNCH))
            else {
                continue;
            };
            let Some(launch) = read::<LaunchRecord>(&path)? else { continue };
            known(&path, launch.version)?;
            let path = self.pods.join(format!("{name}{PROGRESS}"));
            let progress: Option<ProgressRecord> = read(&path)?;
            if let Some(progress) = &progress {
                known(&path, progress.version)?;
            }
            pods.insert(launch.pod_id.clone(), (launch, progress));
        }
        Ok(Checkpoint { agent, pods })
    }

    /// Makes batches durable, in order. A pod's progress that a later write of the same call replaces is not written.
    pub(crate) fn write(&self, writes: &[Write]) -> Result<(), CheckpointError> {
        let mut newest: BTreeMap<&PodId, usize> = BTreeMap::new();
        let mut newest_agent = None;
        for (i, write) in writes.iter().enumerate() {
            match write {
                Write::Agent(_) => newest_agent = Some(i),
                Write::Progress(record) => {
                    newest.insert(&record.pod_id, i);
                }
                Write::Launch(_) | Write::Forget(_) => {}
            }
        }
        let mut touched = BTreeSet::new();
        for (i, write) in writes.iter().enumerate() {
            match write {
                Write::Agent(record) if newest_agent == Some(i) => {
                    replace(&self.meta.join("agent.json"), record)?;
                    touched.insert(&self.meta);
                }
                Write::Launch(record) => {
                    replace(&self.pods.join(format!("{}{LAUNCH}", record.pod_id)), record)?;
                    touched.insert(&self.pods);
                }
                Write::Progress(record) if newest.get(&record.pod_id) == Some(&i) => {
                    replace(&self.pods.join(format!("{}{PROGRESS}", record.pod_id)), record)?;
                    touched.insert(&self.pods);
                }
                Write::Forget(pod_id) => {
                    // The launch goes first: progress alone means nothing and is overwritten or ignored.
                    remove(&self.pods.join(format!("{pod_id}{LAUNCH}")))?;
                    remove(&self.pods.join(format!("{pod_id}{PROGRESS}")))?;
                    touched.insert(&self.pods);
                }
                Write::Agent(_) | Write::Progress(_) => {}
            }
        }
        for dir in touched {
            File::open(dir)
                .and_then(|dir| dir.sync_all())
                .map_err(|source| CheckpointError::Write { path: dir.clone(), source })?;
        }
        Ok(())
    }
}

fn known(path: &Path, found: u32) -> Result<(), CheckpointError> {
    if found > VERSION { Err(CheckpointError::Newer { path: path.to_owned(), found }) } else { Ok(()) }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, CheckpointError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(CheckpointError::Read { path: path.to_owned(), source }),
    };
    let json = unsealed(&bytes).map_err(|how| CheckpointError::Damaged { path: path.to_owned(), how })?;
    serde_json::from_slice(json).map(Some).map_err(|source| CheckpointError::Parse { path: path.to_owned(), source })
}

/// The line that a file begins with.
fn head_of(json: &[u8]) -> String {
    format!("{HEAD}{}\n", hex::encode(Sha256::digest(json)))
}

/// What stands behind the sum, if it is right.
fn unsealed(bytes: &[u8]) -> Result<&[u8], &'static str> {
    if bytes.first() == Some(&b'{') {
        return Ok(bytes);
    }
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return Err("it ends before its first line does");
    };
    let (head, json) = bytes.split_at(end + 1);
    if head == head_of(json).as_bytes() { Ok(json) } else { Err("its checksum is not that of its contents") }
}

fn replace<T: Serialize>(path: &Path, value: &T) -> Result<(), CheckpointError> {
    let json = serde_json::to_vec(value).map_err(|source| CheckpointError::Parse { path: path.to_owned(), source })?;
    let write = || -> io::Result<()> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let beside = path.with_file_name(name);
        let mut file = File::create(&beside)?;
        file.write_all(&[head_of(&json).as_bytes(), &json].concat())?;
        file.sync_data()?;
        fs::rename(&beside, path)
    };
    write().map_err(|source| CheckpointError::Write { path: path.to_owned(), source })
}

fn remove(path: &Path) -> Result<(), CheckpointError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(CheckpointError::Write { path: path.to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod bad_disk;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_newer_format_is_refused() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = Store::open(dir.path()).expect("opened");
        assert_eq!(store.load().expect("empty"), Checkpoint::default());
        let record = AgentRecord { version: VERSION, epoch_seen: 7, next_pod: 3, ..AgentRecord::default() };
        store.write(&[Write::Agent(AgentRecord::default()), Write::Agent(record.clone())]).expect("written");
        assert_eq!(Store::open(dir.path()).expect("opened").load().expect("read").agent, record);
        store.write(&[Write::Agent(AgentRecord { version: VERSION + 1, ..record })]).expect("written");
        assert!(matches!(store.load(), Err(CheckpointError::Newer { found, .. }) if found == VERSION + 1));
    }

    #[test]
    fn a_file_without_a_sum_is_read_and_the_next_one_has_one() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = Store::open(dir.path()).expect("opened");
        let record = AgentRecord { version: VERSION, epoch_seen: 7, next_pod: 3, ..AgentRecord::default() };
        let path = dir.path().join("agent.json");
        fs::write(&path, serde_json::to_vec(&record).expect("json")).expect("written");
        assert_eq!(store.load().expect("read").agent, record);
        store.write(&[Write::Agent(record.clone())]).expect("written");
        assert!(fs::read_to_string(&path).expect("read").starts_with(HEAD));
        assert_eq!(store.load().expect("read").agent, record);
    }
}
