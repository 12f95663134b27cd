//! `container create`: makes and starts one container and leaves; its init becomes the executor's child.
use std::fs;
use std::path::{Path, PathBuf};

use libcontainer::container::Container;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::sys::signal::Signal;

use super::workload::Workload;
use super::{Args, HelperError, adapt};
use crate::cgroup;
use crate::files::write_atomic;

/// Name of the file with the init's pid, in the directory given by `--work`.
pub(crate) const PID: &str = "pid";
/// Name of the file with the reason of a failure, likewise.
pub(crate) const ERROR: &str = "error";

struct Create {
    bundle: PathBuf,
    state_root: PathBuf,
    work: PathBuf,
    cgroup: String,
    id: String,
}

pub(super) fn run(args: Args) -> Result<(), HelperError> {
    let mut create = Create {
        bundle: PathBuf::new(),
        state_root: PathBuf::new(),
        work: PathBuf::new(),
        cgroup: String::new(),
        id: String::new(),
    };
    args.parse(|name, value| {
        match name {
            "--bundle" => create.bundle = value.into(),
            "--state-root" => create.state_root = value.into(),
            "--work" => create.work = value.into(),
            "--cgroup" => create.cgroup = value.to_string_lossy().into_owned(),
            "--id" => create.id = value.to_string_lossy().into_owned(),
            _ => return false,
        }
        true
    })?;
    // A dead executor must not gain containers. It is single-threaded, so its thread is the process.
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    let done = create.run();
    if let Err(err) = &done {
        // stderr is the container's log; the executor reads the reason from a file.
        let _ = fs::write(create.work.join(ERROR), crate::chain(err));
    }
    done
}

impl Create {
    fn run(&self) -> Result<(), HelperError> {
        make_dir(&self.state_root)?;
        make_dir(&self.work)?;
        let stale = self.state_root.join(&self.id);
        if stale.exists() {
            fs::remove_dir_all(&stale).map_err(|source| HelperError::File {
                operation: "remove",
                path: stale,
                source,
            })?;
        }
        adapt::write_adapted_bundle(&self.bundle, &self.work, &self.cgroup)?;
        cgroup::join_unmanaged(&self.cgroup)
            .map_err(|source| HelperError::Cgroup { id: self.id.clone(), source: Box::new(source) })?;

        let failed =
            |operation| move |source| HelperError::Runtime { operation, id: self.id.clone(), source: Box::new(source) };
        // The helper's stdin, stdout and stderr are already the container's.
        let mut container = ContainerBuilder::new(self.id.clone(), SyscallType::Linux)
            .with_executor(Workload::init())
            .with_root_path(&self.state_root)
            .and_then(ContainerBuilder::validate_id)
            .and_then(|builder| builder.as_init(&self.work).with_systemd(false).with_detach(true).build())
            .map_err(failed("create"))?;
        self.start(&mut container).inspect_err(|_| {
            let _ = container.clone().delete(true);
        })
    }

    fn start(&self, container: &mut Container) -> Result<(), HelperError> {
        let pid = container.pid().map_or(0, |pid| pid.as_raw());
        let path = self.work.join(PID);
        write_atomic(&path, pid.to_string().as_bytes()).map_err(|err| HelperError::File {
            operation: "write",
            path: path.clone(),
            source: std::io::Error::other(err),
        })?;
        container.start().map_err(|source| HelperError::Runtime {
            operation: "start",
            id: self.id.clone(),
            source: Box::new(source),
        })
    }
}

fn make_dir(path: &Path) -> Result<(), HelperError> {
    fs::create_dir_all(path).map_err(|source| HelperError::File {
        operation: "make directory",
        path: path.to_owned(),
        source,
    })
}
