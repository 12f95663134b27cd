//! The volumes of a task: from what the framework wrote to what is mounted where.
use agent_core::VolumeKey;
use mesos::volume::Mode;
use mesos::volume::source::Type;
use model::resources::Resources;
use proto::mesos::v1 as mesos;
use proto::mezzo::v1::TmpfsMount;
use proto::mezzo::v1::volume_option::Propagation;

/// One mount of a container, its source still by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    pub(crate) source: Source,
    /// Absolute in the container.
    pub(crate) target: String,
    pub(crate) read_only: bool,
    pub(crate) propagation: Propagation,
}

/// Where a volume's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Below the task's own sandbox.
    Sandbox(String),
    /// Below the pod's shared directory.
    Shared(String),
    /// A file whose content the master gives.
    Secret(String),
    /// A disk that outlives the task.
    Persistent(VolumeKey),
    /// The host's own; only for the privileged.
    Host(String),
}

/// The volumes of a task. `pod` are the resources of the whole pod: its containers may share a persistent volume.
pub(crate) fn volumes_of(info: &mesos::TaskInfo, own: &Resources, pod: &Resources) -> Result<Vec<Volume>, String> {
    let options = info.mezzo.as_ref().map(|extension| extension.volume_options.as_slice()).unwrap_or_default();
    let mut volumes = Vec::new();
    for volume in info.container.iter().flat_map(|container| &container.volumes) {
        let path = volume.container_path.as_str();
        let option = options.iter().find(|option| option.container_path == path);
        let target = inside(path)?;
        let source = if option.is_some_and(|option| option.persistent) {
            let held = held(pod, path);
            Source::Persistent(
                held.ok_or_else(|| format!("volume {path} is persistent, but the pod has no such disk"))?,
            )
        } else {
            source_of(volume)?
        };
        let read_only = volume.mode() == Mode::Ro || matches!(source, Source::Secret(_));
        let propagation = option.map_or(Propagation::Private, proto::mezzo::v1::VolumeOption::propagation);
        volumes.push(Volume { source, target, read_only, propagation });
    }
    // A disk the task was given and did not mention is where the disk itself says.
    for (holding, quantities) in &own.held {
        let Some(volume) = &holding.volume else { continue };
        let target = inside(&volume.container_path)?;
        if !volumes.iter().any(|known| known.target == target) {
            let Some(key) = VolumeKey::of(holding, quantities) else { continue };
            let source = Source::Persistent(key);
            let read_only = is_read_only(info, &volume.id);
            volumes.push(Volume { source, target, read_only, propagation: Propagation::Private });
        }
    }
    // Outer mounts first, or they would hide the inner ones.
    volumes.sort_by(|a, b| a.target.cmp(&b.target));
    if let Some(pair) = volumes.windows(2).find(|pair| pair[0].target == pair[1].target) {
        return Err(format!("two volumes are mounted at {}", pair[0].target));
    }
    Ok(volumes)
}

/// The memory a task asks for as file systems, each at a place that is one.
///
/// # Errors
/// One is not.
pub(crate) fn tmpfs_of(info: &mesos::TaskInfo) -> Result<Vec<TmpfsMount>, String> {
    let wanted = info.mezzo.as_ref().map(|extension| extension.tmpfs.as_slice()).unwrap_or_default();
    wanted
        .iter()
        .map(|mount| Ok(TmpfsMount { container_path: inside(&mount.container_path)?, ..mount.clone() }))
        .collect()
}

/// Whether a task was given a disk only to read it: no part of the disk's title, so that others may write it.
fn is_read_only(info: &mesos::TaskInfo, id: &model::VolumeId) -> bool {
    let mut disks = info.resources.iter().filter_map(|resource| resource.disk.as_ref());
    disks.any(|disk| {
        let is_it = disk.persistence.as_ref().is_some_and(|persistence| persistence.id == id.as_str());
        is_it && disk.volume.as_ref().is_some_and(|volume| volume.mode() == Mode::Ro)
    })
}

fn source_of(volume: &mesos::Volume) -> Result<Source, String> {
    let path = &volume.container_path;
    let Some(source) = &volume.source else {
        // The older form: a path on the host, or in the sandbox.
        return match &volume.host_path {
            Some(host) if host.starts_with('/') => Ok(Source::Host(host.clone())),
            Some(relative) => Ok(Source::Sandbox(below(relative)?)),
            None => Err(format!("volume {path} has no source")),
        };
    };
    let missing = || format!("the source of volume {path} is incomplete");
    match source.r#type() {
        Type::SandboxPath => {
            let inner = source.sandbox_path.as_ref().ok_or_else(missing)?;
            let relative = below(&inner.path)?;
            let is_shared = inner.r#type() == mesos::volume::source::sandbox_path::Type::Parent;
            Ok(if is_shared { Source::Shared(relative) } else { Source::Sandbox(relative) })
        }
        Type::Secret => {
            let reference = source.secret.as_ref().and_then(|secret| secret.reference.as_ref()).ok_or_else(missing)?;
            Ok(Source::Secret(reference.name.clone()))
        }
        Type::HostPath => {
            let host = source.host_path.as_ref().ok_or_else(missing)?;
            if host.path.starts_with('/') {
                Ok(Source::Host(host.path.clone()))
            } else {
                Ok(Source::Sandbox(below(&host.path)?))
            }
        }
        Type::Unknown | Type::DockerVolume | Type::CsiVolume => {
            Err(format!("volume {path} has a source that this agent does not support"))
        }
    }
}

/// A path in the container: absolute, or relative to the sandbox.
fn inside(path: &str) -> Result<String, String> {
    let bad = path.is_empty() || path.contains('\0') || path.split('/').any(|part| matches!(part, "." | ".."));
    let clean: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if bad || clean.is_empty() {
        return Err(format!("'{path}' is no place for a volume"));
    }
    let clean = clean.join("/");
    Ok(if path.starts_with('/') { format!("/{clean}") } else { format!("{}/{clean}", super::SANDBOX) })
}

/// A path below a directory of ours.
fn below(path: &str) -> Result<String, String> {
    if path.starts_with('/') || path.contains('\0') || path.split('/').any(|part| part == "..") {
        return Err(format!("'{path}' leaves the sandbox"));
    }
    Ok(path.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/"))
}

fn held(resources: &Resources, container_path: &str) -> Option<VolumeKey> {
    resources.held.iter().find_map(|(holding, quantities)| {
        let volume = holding.volume.as_ref()?;
        (volume.container_path == container_path).then(|| VolumeKey::of(holding, quantities))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(container_path: &str, path: &str) -> mesos::Volume {
        mesos::Volume {
            container_path: container_path.to_owned(),
            mode: Mode::Rw.into(),
            source: Some(mesos::volume::Source {
                r#type: Some(Type::SandboxPath.into()),
                sandbox_path: Some(mesos::volume::source::SandboxPath {
                    r#type: Some(mesos::volume::source::sandbox_path::Type::Parent.into()),
                    path: path.to_owned(),
                }),
                ..mesos::volume::Source::default()
            }),
            ..mesos::Volume::default()
        }
    }
    fn task(volumes: Vec<mesos::Volume>) -> mesos::TaskInfo {
        mesos::TaskInfo {
            container: Some(mesos::ContainerInfo { volumes, ..mesos::ContainerInfo::default() }),
            ..mesos::TaskInfo::default()
        }
    }

    #[test]
    fn outer_volumes_come_first_and_relative_ones_lie_in_the_sandbox() {
        let info = task(vec![shared("/data/inner", "i"), shared("/data", "d"), shared("cache", "./c/")]);
        let nothing = Resources::default();
        let found = volumes_of(&info, &nothing, &nothing).expect("valid");
        let found: Vec<_> = found.iter().map(|volume| (volume.target.as_str(), &volume.source)).collect();
        let source = |path: &str| Source::Shared(path.to_owned());
        let (d, i, c) = (source("d"), source("i"), source("c"));
        assert_eq!(found, [("/data", &d), ("/data/inner", &i), ("/mnt/mezzo/sandbox/cache", &c)]);
    }

    #[test]
    fn volumes_that_leave_their_place_are_refused() {
        let nothing = Resources::default();
        for (container_path, path) in [("/a/../b", "x"), ("", "x"), ("/a", "../x"), ("/a", "/x"), ("/", "x")] {
            assert!(
                volumes_of(&task(vec![shared(container_path, path)]), &nothing, &nothing).is_err(),
                "{container_path} {path}"
            );
        }
        let twice = task(vec![shared("/a", "x"), shared("/a/", "y")]);
        assert!(volumes_of(&twice, &nothing, &nothing).is_err());
    }
}
