//! `container delete`: kills what is left of a container, removes its cgroups and the runtime's state of it.
use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;

use super::{Args, HelperError};
use crate::cgroup;

/// The runtime library would kill only direct members of the cgroup and fails on sub-cgroups, so this does not ask it:
/// a container without processes and cgroups is its state directory, and mounts die with the mount namespace.
pub(super) fn run(args: Args) -> Result<(), HelperError> {
    let (mut state_root, mut cgroup, mut id) = (PathBuf::new(), String::new(), String::new());
    args.parse(|name, value| {
        match name {
            "--state-root" => state_root = value.into(),
            "--cgroup" => cgroup = value.to_string_lossy().into_owned(),
            "--id" => id = value.to_string_lossy().into_owned(),
            _ => return false,
        }
        true
    })?;
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    cgroup::kill_pod_cgroups(&cgroup)
        .map_err(|source| HelperError::Cgroup { id: id.clone(), source: Box::new(source) })?;
    if id.is_empty() || id.contains('/') || id == ".." {
        return Err(HelperError::Usage(format!("no container can be called {id:?}")));
    }
    let path = state_root.join(&id);
    match fs::remove_dir_all(&path) {
        Ok(()) => Ok(()),
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(HelperError::File { operation: "remove", path, source }),
    }
}
