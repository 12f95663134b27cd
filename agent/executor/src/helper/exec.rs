//! `container exec`: runs a command inside a running container, waits for it and passes its exit code on.
use std::fs;
use std::path::{Path, PathBuf};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::oci_spec::runtime::LinuxSeccomp;
use libcontainer::syscall::syscall::SyscallType;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::workload::Workload;
use super::{Args, HelperError};
use crate::cgroup;

/// Returns the command's exit code, or 128 + the signal that ended it.
pub(super) fn run(args: Args) -> Result<u8, HelperError> {
    let (mut state_root, mut id, mut env, mut cwd) = (PathBuf::new(), String::new(), Vec::new(), None);
    let argv = args.parse(|name, value| {
        let text = value.to_string_lossy().into_owned();
        match name {
            "--state-root" => state_root = value.into(),
            "--id" => id = text,
            "--env" => env.push(text),
            "--cwd" => cwd = Some(text),
            _ => return false,
        }
        true
    })?;
    if argv.is_empty() {
        return Err(HelperError::Usage("no command".to_owned()));
    }
    let argv: Vec<String> = argv.into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect();

    let config = read_config(&state_root, &id)?;
    let cgroup = config["linux"]["cgroupsPath"].as_str().unwrap_or_default();
    cgroup::join_unmanaged(cgroup)
        .map_err(|source| HelperError::Cgroup { id: id.clone(), source: Box::new(source) })?;
    let seccomp: Option<LinuxSeccomp> = serde_json::from_value(config["linux"]["seccomp"].clone())
        .map_err(|source| HelperError::Parse { path: state_root.join(&id), source })?;
    let process = process(&config, argv, env, cwd);

    let process_path = state_root.join(&id).join(format!("session-{}.json", std::process::id()));
    fs::write(&process_path, process.to_string()).map_err(|source| HelperError::File {
        operation: "write",
        path: process_path.clone(),
        source,
    })?;
    // From here on, whoever asks this helper to go must not leave the command behind. The command itself unblocks them.
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&awaited()), None)
        .map_err(|source| HelperError::Wait { id: id.clone(), source })?;
    let started = ContainerBuilder::new(id.clone(), SyscallType::Linux)
        .with_executor(Workload::session(seccomp))
        .with_root_path(&state_root)
        .and_then(ContainerBuilder::validate_id)
        .and_then(|builder| builder.as_tenant().with_process(Some(&process_path)).with_detach(true).build());
    let _ = fs::remove_file(&process_path);
    let pid = started.map_err(|source| HelperError::Runtime {
        operation: "run a command in",
        id: id.clone(),
        source: Box::new(source),
    })?;
    wait(Pid::from_raw(pid.as_raw())).map_err(|source| HelperError::Wait { id, source })
}

fn read_config(state_root: &Path, id: &str) -> Result<Value, HelperError> {
    // `<pod>/run/.state` and `<pod>/run/<container>` are neighbours.
    let path = state_root.with_file_name(id).join("config.json");
    let text = fs::read(&path).map_err(|source| HelperError::File { operation: "read", path: path.clone(), source })?;
    serde_json::from_slice(&text).map_err(|source| HelperError::Parse { path, source })
}

/// The container's own process (user, capabilities, limits, no_new_privs) with another command.
fn process(config: &Value, argv: Vec<String>, env: Vec<String>, cwd: Option<String>) -> Value {
    let mut process = config["process"].clone();
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut all: Vec<String> = process["env"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .filter(|entry| !env.iter().any(|other| name(other) == name(entry)))
        .map(str::to_owned)
        .collect();
    all.extend(env);
    process["env"] = json!(all);
    process["args"] = json!(argv);
    process["terminal"] = json!(false);
    if let Some(cwd) = cwd {
        process["cwd"] = json!(cwd);
    }
    if let Some(process) = process.as_object_mut() {
        process.remove("oomScoreAdj");
    }
    process
}

/// Ask this helper to go.
const ENDS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

fn awaited() -> SigSet {
    ENDS.into_iter().chain([Signal::SIGCHLD]).collect()
}

/// Waits for the command; a signal that asks this helper to go kills it.
fn wait(pid: Pid) -> Result<u8, Errno> {
    loop {
        let code = match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => Some(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(128 + signal as i32),
            Ok(_) | Err(Errno::EINTR) => None,
            Err(errno) => return Err(errno),
        };
        if let Some(code) = code {
            return Ok(u8::try_from(code).unwrap_or(super::FAILED));
        }
        if ENDS.contains(&awaited().wait()?) {
            // ESRCH: it just ended by itself; the loop sees it.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}
