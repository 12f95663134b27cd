//! Tasks: one container of a pod each.
use std::collections::BTreeMap;

use model::{Milli, Quantities, Ranges, Span};
use serde::{Deserialize, Serialize};

use super::CheckSpec;

/// One container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskSpec {
    /// Unique in its pod; lower-case letters, digits and `-`.
    pub name: String,
    /// What it is for.
    pub goal: Goal,
    /// The files it sees.
    pub root: Root,
    /// Program and arguments. Empty: what the image says.
    pub argv: Vec<String>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// User (name or number) in the image. `None`: what the image says.
    pub user: Option<String>,
    /// Directory it starts in. `None`: what the image says, or its sandbox.
    pub working_directory: Option<String>,
    /// Cpus.
    pub cpus: Milli,
    /// MiB of memory.
    pub mem: Milli,
    /// MiB of scratch disk (persistent volumes come on top).
    pub disk: Milli,
    /// Gpus.
    pub gpus: Milli,
    /// Ports; names are unique in the pod. It finds them in `MEZZO_PORT_<NAME>`.
    pub ports: Vec<PortSpec>,
    /// Volumes.
    pub volumes: Vec<VolumeSpec>,
    /// Fetched into its sandbox before it starts.
    pub artifacts: Vec<ArtifactSpec>,
    /// Devices, all capabilities, writable cgroups. The operator must have listed the framework.
    pub privileged: bool,
    /// Gates "ready" and so the steps of plans; never kills.
    pub readiness: Option<CheckSpec>,
    /// Kills the container when it fails too often.
    pub health: Option<CheckSpec>,
    /// What an exit means for the pod.
    pub restart: RestartPolicy,
    /// Between SIGTERM and SIGKILL. `None`: the agent's default.
    pub kill_grace: Option<Span>,
    /// How others find it. `None`: by the pod's name, inside only.
    pub discovery: Option<DiscoverySpec>,
    /// Program and arguments that undo what it did to its agent outside of its container. Its agent runs it after the pod,
    /// however that ended, in fresh files of the task's image, and only then says that the pod's tasks have ended.
    pub clean_up: Vec<String>,
}

/// What a task is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// It runs until it is stopped; an end by itself is a failure.
    #[default]
    Running,
    /// It ends with 0; again when its specification changes.
    Finish,
    /// It ends with 0, once in the life of its instance.
    Once,
}

/// The files a task sees as `/`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Root {
    /// An OCI image, e.g. `pool/busybox:1`.
    Image(String),
    /// The agent's own files.
    #[default]
    Host,
}

/// A port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// Unique in its pod.
    pub name: String,
    /// Which number.
    pub kind: PortKind,
}

/// How a port's number comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortKind {
    /// Any number the offer has; kept over restarts on the same agent where possible.
    Any,
    /// Any number, but the same for all instances of the pod: the first that is placed chooses.
    Shared,
    /// This number; the agent must offer it.
    Fixed(u16),
    /// All numbers from the first to the second, as [`PortKind::Fixed`].
    Range(u16, u16),
}

/// A directory or file in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// Absolute path in the container (`Secret`: of the file).
    pub container_path: String,
    /// What is behind it.
    pub source: VolumeSource,
    /// Whether mounts made inside are seen outside, and the other way round.
    #[serde(default)]
    pub propagation: Propagation,
    /// Whether it cannot be written.
    #[serde(default)]
    pub read_only: bool,
}

/// What is behind a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeSource {
    /// A directory of the task's sandbox; gone with it.
    Sandbox(String),
    /// A directory of the pod's sandbox, shared by its tasks; gone with it.
    Pod(String),
    /// A disk that outlives the task; the instance is bound to its agent until it is replaced.
    Persistent {
        /// Unique in the pod.
        name: String,
        /// How big.
        size_mib: u32,
    },
    /// A state entry whose key begins with `secret/`, as a file on a tmpfs.
    Secret(String),
    /// Memory.
    Tmpfs {
        /// How big.
        size_mib: u32,
        /// Mode of the directory; 0: 1777.
        mode: u32,
    },
    /// A path of the agent.
    Host(String),
}

/// Mount propagation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Propagation {
    /// None.
    #[default]
    Private,
    /// Mounts made outside are seen inside.
    Rslave,
    /// Both ways.
    Rshared,
}

/// A file fetched into the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ArtifactSpec {
    /// `artifact:sha256:<hex>`.
    pub uri: String,
    /// Its name in the sandbox. `None`: the last part of the uri.
    pub output_file: Option<String>,
    /// Whether it is made executable.
    pub executable: bool,
    /// Whether it is an archive to be unpacked.
    pub extract: bool,
}

/// What an exit of a container means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartPolicy {
    /// The pod ends with it.
    #[default]
    GroupDies,
    /// The executor starts it again after a backoff.
    InPlace {
        /// First backoff; zero: the agent's default.
        backoff_min: Span,
        /// Longest backoff; zero: the agent's default.
        backoff_max: Span,
    },
}

/// How others find a task.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DiscoverySpec {
    /// `<name>.<framework>.mezzo`.
    pub name: String,
    /// Names of the ports that the gateway passes TLS through to.
    pub external: Vec<String>,
    /// The virtual address behind which the external port is, together with those of other tasks of the framework that
    /// name the same one. There must be one external port then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vip: Option<VipSpec>,
}

/// A port of a virtual address. Every agent leads connections to it to one of the tasks that run and are ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipSpec {
    /// Unique in the framework; a virtual address may have several ports.
    pub name: String,
    /// The port on the virtual address.
    pub port: u16,
}

impl TaskSpec {
    /// What it takes of unreserved kind, without its persistent volumes and without ports.
    pub fn scalars(&self) -> Quantities {
        Quantities { cpus: self.cpus, mem: self.mem, disk: self.disk, gpus: self.gpus, ..Quantities::default() }
    }
    /// What it takes: scalars, disk of its persistent volumes, ports with given numbers.
    pub fn quantities(&self) -> Quantities {
        let mut sum = self.scalars();
        for volume in &self.volumes {
            if let VolumeSource::Persistent { size_mib, .. } = volume.source {
                sum.disk.0 += Milli::units(i64::from(size_mib)).0;
            }
        }
        sum.ports = self.ports.iter().filter_map(|port| port.kind.fixed()).collect::<Ranges>();
        sum
    }
}

impl PortKind {
    /// The numbers, if they are given.
    pub fn fixed(self) -> Option<(u64, u64)> {
        match self {
            PortKind::Any | PortKind::Shared => None,
            PortKind::Fixed(number) => Some((number.into(), number.into())),
            PortKind::Range(begin, end) => Some((begin.into(), end.into())),
        }
    }
}
