//! Files of a pod's directory that outlive its executor: who the executor is, what it runs, how its containers ended.
//! The agent reads them after a restart, or when it finds the executor dead. Written to a temporary name, synced, renamed.
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use proto::mezzo::v1::{ContainerReport, StartPod};
use serde::{Deserialize, Serialize};

/// Who the executor is.
pub const EXECUTOR: &str = "executor.json";
/// What it was told to run.
pub const POD: &str = "pod.json";
const EXIT_SUFFIX: &str = ".exit.json";

/// Why a file of the pod is not there or not readable.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be written.
    #[error("write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not what it should be.
    #[error("understand {path}")]
    Parse {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// The process behind a pod's socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutorRecord {
    /// Its process id, in the agent's pid namespace.
    pub pid: i32,
    /// Field 22 of `/proc/<pid>/stat`: tells it from a later process with the same id.
    pub starttime: u64,
    /// Of the executor link.
    pub version: u32,
}

impl ExecutorRecord {
    /// This process.
    pub fn of_self() -> io::Result<Self> {
        let pid = std::process::id().cast_signed();
        let starttime = starttime(pid).ok_or_else(|| io::Error::other("no start time in /proc/self/stat"))?;
        Ok(Self { pid, starttime, version: crate::link::VERSION })
    }
    /// Reads a pod's; nothing if there is none (yet).
    pub fn load(pod_dir: &Path) -> Result<Option<Self>, FileError> {
        read_json(&pod_dir.join(EXECUTOR))
    }
    /// Whether that very process lives.
    pub fn is_alive(&self) -> bool {
        starttime(self.pid) == Some(self.starttime)
    }
    pub(crate) fn save(&self, pod_dir: &Path) -> Result<(), FileError> {
        write_json(&pod_dir.join(EXECUTOR), self)
    }
}

/// What a pod's executor was told to run; nothing if it was not told (yet).
pub fn load_pod(pod_dir: &Path) -> Result<Option<StartPod>, FileError> {
    read_json(&pod_dir.join(POD))
}

pub(crate) fn save_pod(pod_dir: &Path, pod: &StartPod) -> Result<(), FileError> {
    write_json(&pod_dir.join(POD), pod)
}

/// How the containers of a pod ended, as far as its executor lived to see it. Each report's kind is `Ended`.
pub fn load_ended(pod_dir: &Path) -> Result<Vec<ContainerReport>, FileError> {
    let entries = fs::read_dir(pod_dir).map_err(|source| FileError::Read { path: pod_dir.to_owned(), source })?;
    let mut ended = Vec::new();
    for entry in entries {
        let path = entry.map_err(|source| FileError::Read { path: pod_dir.to_owned(), source })?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(EXIT_SUFFIX)) {
            ended.extend(read_json(&path)?);
        }
    }
    ended.sort_by_key(|report: &ContainerReport| report.number);
    Ok(ended)
}

pub(crate) fn save_ended(pod_dir: &Path, container: &str, report: &ContainerReport) -> Result<(), FileError> {
    write_json(&pod_dir.join(format!("{container}{EXIT_SUFFIX}")), report)
}

/// Start time of a process that is alive (a zombie is not).
pub(crate) fn starttime(pid: i32) -> Option<u64> {
    let mut stat = String::new();
    File::open(format!("/proc/{pid}/stat")).ok()?.read_to_string(&mut stat).ok()?;
    // The second field is a name in parentheses that may itself hold spaces and parentheses.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let write = || -> io::Result<()> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let temporary = path.with_file_name(name);
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    write().map_err(|source| FileError::Write { path: path.to_owned(), source })
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), FileError> {
    let bytes = serde_json::to_vec(value).map_err(|source| FileError::Parse { path: path.to_owned(), source })?;
    write_atomic(path, &bytes)
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Option<T>, FileError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FileError::Read { path: path.to_owned(), source }),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|source| FileError::Parse { path: path.to_owned(), source })
}
