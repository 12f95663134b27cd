//! Disks beside the one on which an agent keeps everything else.
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A disk that an operator gave to an agent. Volumes on it are files below its path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Disk {
    /// A directory that is divided among many.
    Path(String),
    /// A whole file system: one volume or none.
    Mount(String),
}

/// Why a text names no disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' names no disk: it must be path:<directory> or mount:<directory>, the directory absolute and plain")]
pub struct InvalidDisk(pub String);

impl Disk {
    /// The directory.
    pub fn root(&self) -> &str {
        match self {
            Disk::Path(root) | Disk::Mount(root) => root,
        }
    }
    /// Whether it is given away whole or not at all.
    pub fn is_exclusive(&self) -> bool {
        match self {
            Disk::Path(_) => false,
            Disk::Mount(_) => true,
        }
    }
    /// Whether the directory is one that an agent can be given: absolute, without `..` and what mount options divide by.
    fn checked(self) -> Option<Self> {
        let root = self.root();
        let plain = |part: &str| !matches!(part, "" | "." | "..");
        let is_good = root.len() > 1
            && root.len() <= 4096
            && root.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain))
            && !root
                .contains(|c: char| matches!(c, ':' | ',' | '\\' | ';' | ']') || c.is_whitespace() || c.is_control());
        is_good.then_some(self)
    }
}
impl FromStr for Disk {
    type Err = InvalidDisk;
    fn from_str(text: &str) -> Result<Self, InvalidDisk> {
        let disk = match text.split_once(':') {
            Some(("path", root)) => Some(Disk::Path(root.to_owned())),
            Some(("mount", root)) => Some(Disk::Mount(root.to_owned())),
            Some(_) | None => None,
        };
        disk.and_then(Disk::checked).ok_or_else(|| InvalidDisk(text.to_owned()))
    }
}
impl TryFrom<String> for Disk {
    type Error = InvalidDisk;
    fn try_from(text: String) -> Result<Self, InvalidDisk> {
        text.parse()
    }
}
impl From<Disk> for String {
    fn from(disk: Disk) -> String {
        disk.to_string()
    }
}
impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Disk::Path(root) => write!(f, "path:{root}"),
            Disk::Mount(root) => write!(f, "mount:{root}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_a_kind_and_a_plain_directory() {
        for good in ["path:/data", "mount:/mnt/ssd-1"] {
            assert_eq!(good.parse::<Disk>().map(|disk| disk.to_string()).as_deref(), Ok(good));
        }
        for bad in ["/data", "path:data", "path:/", "path:/a/../b", "path:/a//b", "mount:", "raw:/dev/sdb", "path:/a b"]
        {
            assert!(bad.parse::<Disk>().is_err(), "{bad}");
        }
    }
}
