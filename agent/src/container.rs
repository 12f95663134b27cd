//! From a task as its framework describes it to a container as the OCI runtime wants it. Nothing here touches the
//! machine but `user` (which reads the image's passwd file): the rest are functions that tests read as tables.
mod bundle;
mod check;
mod command;
mod limits;
mod mounts;
mod seccomp;
pub(crate) mod user;

pub(crate) use bundle::{Bind, Bundle, PrivilegeNeeded};
pub(crate) use check::checks_of;
pub(crate) use command::{environment, invocation};
pub(crate) use limits::limits_of;
pub(crate) use mounts::{Source, Volume, tmpfs_of, volumes_of};
pub(crate) use user::{User, resolve};

/// Where a container sees its sandbox.
pub(crate) const SANDBOX: &str = "/mnt/mezzo/sandbox";
