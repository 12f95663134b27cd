//! The first process of a node's container: writes the configuration of kubelet, containerd and the CNI plugins, imports
//! the images every node needs, then keeps kubelet and containerd running.
//!
//! Either may die and is started again; pods live on, for their shims are children of this process and of none of the
//! two. A kubelet as first process would take every pod with it. Single-threaded and synchronous on purpose: it is
//! whoever the kernel gives orphans to, and waits for every child itself.
mod cgroup;
pub(crate) mod command;
mod images;
mod network;
mod supervisor;
mod sysctl;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kubernetes_core::flags::FlagError;
use kubernetes_core::node::{self, Machine, NodeSettings};
use tracing::{info, warn};

use command::CommandError;
use daemon::error::chain;
use supervisor::{Program, Supervisor};

/// Environment variable with the [`NodeSettings`] as JSON.
pub const SETTINGS: &str = "MEZZO_NODE";
/// Environment variable with the digests of archives that must be here before the kubelet starts, joined by commas.
pub const REQUIRED_IMAGES: &str = "MEZZO_NODE_IMAGES";
/// Environment variable with the port of the image service: the agent sets it for the task's port.
const IMAGES_PORT: &str = "MEZZO_PORT_IMAGES";

const IMAGE_SERVICE: &str = "image-service";
const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";
/// containerd opens its socket within a second; half a minute means that it does not.
const SOCKET_DEADLINE: Duration = Duration::from_secs(30);
/// Directories that pods mount in; a first process that ends leaves none of these mounts behind.
const MOUNTED_DIRS: [&str; 2] = ["/var/lib/kubelet", "/var/lib/containerd"];
/// What pods get to end by themselves when the whole node stops.
const POD_GRACE: Duration = Duration::from_secs(10);
/// What kubelet and containerd get.
const PROGRAM_GRACE: Duration = Duration::from_secs(5);

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The scheduler did not say what the node is.
    #[error("read the node's settings from {SETTINGS}: {reason}")]
    Settings {
        /// What is wrong.
        reason: String,
    },
    /// The version's flags.
    #[error("render the kubelet's flags")]
    Flags(#[from] FlagError),
    /// A configuration file.
    #[error("write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What the machine is.
    #[error("measure the machine by {what}")]
    Measure {
        /// By what.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Signals cannot be taken.
    #[error("take over signals")]
    Signals(#[source] nix::Error),
    /// A program of the node cannot be started.
    #[error("start {program}")]
    Start {
        /// Which.
        program: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A helper failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// containerd runs and does not answer.
    #[error("wait for {CONTAINERD_SOCKET}: not there after {} seconds", SOCKET_DEADLINE.as_secs())]
    NoSocket,
}

/// Runs a node until SIGTERM.
///
/// # Errors
/// If it cannot be started; once it runs, only signals end it.
pub fn run() -> Result<(), NodeError> {
    let mut supervisor = Supervisor::new().map_err(NodeError::Signals)?;
    let settings = settings()?;
    prepare(&settings)?;
    network::prepare(&settings)?;
    sysctl::shield();

    supervisor.start(Program::new(
        "containerd",
        "containerd",
        vec!["--config".into(), "/etc/containerd/config.toml".into()],
    ))?;
    let deadline = Instant::now() + SOCKET_DEADLINE;
    while !socket_answers() {
        if Instant::now() > deadline {
            return Err(NodeError::NoSocket);
        }
        if supervisor.wait(Duration::from_millis(20)).is_stop() {
            supervisor.stop("containerd", PROGRAM_GRACE);
            return Ok(());
        }
    }
    images::import()?;
    if let Ok(port) = std::env::var(IMAGES_PORT) {
        let listen = format!("{}:{port}", settings.address);
        let arguments = vec!["images".to_owned(), "--listen".to_owned(), listen];
        supervisor.start(Program::new(IMAGE_SERVICE, "/usr/local/bin/mezzo-kubernetes", arguments))?;
        if wait_for_images(&mut supervisor).is_stop() {
            supervisor.stop(IMAGE_SERVICE, PROGRAM_GRACE);
            supervisor.stop("containerd", PROGRAM_GRACE);
            return Ok(());
        }
    }
    supervisor.start(Program::new("kubelet", "kubelet", node::kubelet_flags(&settings)?))?;
    info!(node = settings.node, "node started");

    while !supervisor.wait(Duration::from_secs(3600)).is_stop() {}

    info!(node = settings.node, "node stops");
    supervisor.stop("kubelet", PROGRAM_GRACE);
    supervisor.stop(IMAGE_SERVICE, PROGRAM_GRACE);
    supervisor.end_all(cgroup::pod_processes, POD_GRACE);
    supervisor.stop("containerd", PROGRAM_GRACE);
    unmount_pods();
    // What is left in the agent's network its agent has removed when kube-proxy has ended too: `node_cleanup`.
    Ok(())
}

/// Waits until every archive that this node must have was taken, or refused: pods that want its images come at once.
fn wait_for_images(supervisor: &mut Supervisor) -> supervisor::Woken {
    let required = std::env::var(REQUIRED_IMAGES).unwrap_or_default();
    let mut missing: Vec<&str> = required.split(',').filter(|digest| !digest.is_empty()).collect();
    loop {
        missing.retain(|digest| !crate::image_service::has_mark(digest));
        if missing.is_empty() {
            return supervisor::Woken::Idle;
        }
        if supervisor.wait(Duration::from_millis(100)).is_stop() {
            return supervisor::Woken::Stop;
        }
    }
}

pub(crate) fn settings() -> Result<NodeSettings, NodeError> {
    let text = std::env::var(SETTINGS).map_err(|error| NodeError::Settings { reason: error.to_string() })?;
    serde_json::from_str(&text).map_err(|error| NodeError::Settings { reason: error.to_string() })
}

fn prepare(settings: &NodeSettings) -> Result<(), NodeError> {
    for dir in
        ["/etc/containerd", "/etc/cni/net.d", node::DIR, "/var/lib/kubelet", "/var/lib/containerd", "/var/log/pods"]
    {
        fs::create_dir_all(dir).map_err(|source| NodeError::Write { path: dir.into(), source })?;
    }
    let machine = machine()?;
    let pretty = |value: serde_json::Value| format!("{value:#}\n");
    write("/etc/containerd/config.toml", &node::containerd_configuration())?;
    write("/etc/cni/net.d/10-pods.conflist", &pretty(node::cni_configuration(settings)))?;
    write(&format!("{}/kubelet.json", node::DIR), &pretty(node::kubelet_configuration(settings, machine)))?;
    write(&format!("{}/kubelet.conf", node::DIR), &pretty(node::kubelet_kubeconfig(settings)))
}

fn write(path: &str, text: &str) -> Result<(), NodeError> {
    let failed = |source| NodeError::Write { path: path.into(), source };
    fs::write(path, text).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)
}

/// What the kubelet will find, by the same sources as it reads.
fn machine() -> Result<Machine, NodeError> {
    let meminfo =
        fs::read_to_string("/proc/meminfo").map_err(|source| NodeError::Measure { what: "/proc/meminfo", source })?;
    let memory_kib: i64 = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok())
        .ok_or(NodeError::Measure { what: "/proc/meminfo", source: io::Error::from(io::ErrorKind::InvalidData) })?;
    let online = fs::read_to_string("/sys/devices/system/cpu/online")
        .map_err(|source| NodeError::Measure { what: "/sys/devices/system/cpu/online", source })?;
    let stat = nix::sys::statvfs::statvfs("/var/lib/kubelet")
        .map_err(|error| NodeError::Measure { what: "the file system of /var/lib/kubelet", source: error.into() })?;
    let disk = i64::try_from(stat.blocks().saturating_mul(stat.fragment_size())).unwrap_or(i64::MAX);
    Ok(Machine { cpus: count_cpus(&online), memory: memory_kib.saturating_mul(1024), disk })
}

/// How many processors a list like `0-3,6` names.
fn count_cpus(list: &str) -> u32 {
    list.trim()
        .split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(last.parse::<u32>().ok()?.checked_sub(first.parse().ok()?)? + 1)
        })
        .sum::<u32>()
        .max(1)
}

fn socket_answers() -> bool {
    std::os::unix::net::UnixStream::connect(CONTAINERD_SOCKET).is_ok()
}

/// Mounts of pods propagate out of the container and would outlive it.
fn unmount_pods() {
    let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo") else { return };
    let mut points: Vec<&Path> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(Path::new)
        .filter(|point| MOUNTED_DIRS.iter().any(|dir| point.starts_with(dir) && *point != Path::new(dir)))
        .collect();
    points.sort_unstable();
    for point in points.iter().rev() {
        if let Err(error) = nix::mount::umount2(*point, nix::mount::MntFlags::MNT_DETACH) {
            warn!(error = %chain(&error), mount = %point.display(), "mount of a pod not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::count_cpus;

    #[test]
    fn processors_are_counted_from_the_kernels_list() {
        assert_eq!(count_cpus("0-1\n"), 2);
        assert_eq!(count_cpus("0"), 1);
        assert_eq!(count_cpus("0-3,6,8-9\n"), 7);
        assert_eq!(count_cpus("garbage"), 1);
    }
}
