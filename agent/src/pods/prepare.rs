//! Gets a pod ready to start: images, root filesystems, secrets, volumes, artifacts, configurations; at last `start.json`.
//! Whatever an earlier attempt left is removed first, so it may be repeated.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use agent_core::{LaunchRecord, TaskLaunch};
use proto::convert;
use proto::mesos::v1 as mesos;
use proto::mezzo::v1 as wire;
use proto::mezzo::v1::agents_client::AgentsClient;
use proto::mezzo::v1::volume_option::Propagation;
use tokio_util::sync::CancellationToken;

use super::artifacts::ArtifactError;
use super::{Context, clean_up};
use crate::container::{
    Bind, Bundle, PrivilegeNeeded, SANDBOX, Source, User, Volume, checks_of, environment, invocation, limits_of,
    resolve, tmpfs_of, volumes_of,
};
use crate::images::{Image, ImageError, mount_host_root, mount_image, mount_tmpfs};
use crate::limits;

/// Why a pod cannot be prepared. It is told to the framework in words.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrepareError {
    #[error("it was stopped before it was prepared")]
    Cancelled,
    #[error("task {task}: {problem}")]
    Task { task: String, problem: String },
    #[error("task {task} is malformed")]
    Malformed { task: String, source: convert::FieldError },
    #[error("task {task} may not do this")]
    Privileges { task: String, source: PrivilegeNeeded },
    #[error("get the image of task {task}")]
    Image { task: String, source: ImageError },
    #[error("make the root filesystem of task {task}")]
    Root { task: String, source: ImageError },
    #[error("place artifacts of task {task}")]
    Artifact { task: String, source: ArtifactError },
    #[error("fetch secret {key} of task {task}")]
    Secret { task: String, key: String, source: Box<tonic::Status> },
    #[error("clean up after an earlier attempt: {0}")]
    Clean(String),
    #[error("{operation} {path}")]
    Disk { operation: &'static str, path: PathBuf, source: io::Error },
}

fn disk(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PrepareError {
    let path = path.to_owned();
    move |source| PrepareError::Disk { operation, path, source }
}

fn make(path: &Path) -> Result<(), PrepareError> {
    fs::create_dir_all(path).map_err(disk("make directory", path))
}

/// Prepares everything, or says why not. Cancelling ends it soon; what was made is removed by whoever cancels.
pub(super) async fn prepare(
    context: &Context,
    launch: &LaunchRecord,
    cancel: &CancellationToken,
) -> Result<(), PrepareError> {
    let dir = context.pod_dir(&launch.pod_id);
    make(&dir)?;
    let (path, cgroup) = (dir.clone(), context.pod_cgroup(&launch.pod_id));
    let cleaned =
        tokio::task::spawn_blocking(move || super::clean(&path, &cgroup)).await.expect("cleaning does not panic");
    cleaned.map_err(PrepareError::Clean)?;
    let _ = fs::remove_file(dir.join("start.json"));
    make(&dir.join("shared"))?;
    let mut names = BTreeSet::new();
    let mut containers = Vec::with_capacity(launch.tasks.len());
    for task in &launch.tasks {
        let preparation = Preparation { context, launch, task, dir: &dir };
        let work = Box::pin(preparation.run(&mut names));
        containers.push(tokio::select! {
            spec = work => spec?,
            () = cancel.cancelled() => return Err(PrepareError::Cancelled),
        });
    }
    if cancel.is_cancelled() {
        return Err(PrepareError::Cancelled);
    }
    let start = wire::StartPod { pod_id: launch.pod_id.to_string(), containers };
    let path = dir.join("start.json");
    let bytes = serde_json::to_vec(&start).map_err(|error| disk("write", &path)(error.into()))?;
    fs::write(&path, bytes).map_err(disk("write", &path))
}

/// One container.
struct Preparation<'a> {
    context: &'a Context,
    launch: &'a LaunchRecord,
    task: &'a TaskLaunch,
    dir: &'a Path,
}

impl Preparation<'_> {
    fn id(&self) -> String {
        self.task.head.task_id.to_string()
    }
    fn wrong(&self, problem: impl Into<String>) -> PrepareError {
        PrepareError::Task { task: self.id(), problem: problem.into() }
    }
    fn privileged_only(&self, privileged: bool, what: &'static str) -> Result<(), PrepareError> {
        if privileged {
            Ok(())
        } else {
            Err(PrepareError::Privileges { task: self.id(), source: PrivilegeNeeded(what) })
        }
    }

    async fn run(&self, names: &mut BTreeSet<String>) -> Result<wire::ContainerSpec, PrepareError> {
        let info = convert::task::info_from_payload(&self.task.payload)
            .map_err(|source| PrepareError::Malformed { task: self.id(), source })?;
        let extension = info.mezzo.clone().unwrap_or_default();
        let privileged = extension.privileged && self.launch.privileged_allowed;
        let container = info.container.clone().unwrap_or_default();
        if !container.network_infos.is_empty() {
            return Err(self.wrong("it asks for a network of its own, this agent offers only its own network"));
        }
        let name = container_name(&info.name, names);
        let place = self.dir.join("containers").join(&name);
        let sandbox = self.dir.join("sandbox").join(&name);
        make(&place)?;
        make(&sandbox)?;

        let image_name =
            container.mesos.as_ref().and_then(|mesos| mesos.image.as_ref()).and_then(|image| image.docker.as_ref());
        let image = match image_name {
            Some(image) if !extension.host_root => {
                let image = Box::pin(self.context.images.ensure(&image.name)).await;
                Some(image.map_err(|source| PrepareError::Image { task: self.id(), source })?)
            }
            Some(_) => return Err(self.wrong("it asks for an image and for the agent's files: choose one")),
            None => None,
        };
        let config = image.as_ref().map(|image| image.configuration.config().clone().unwrap_or_default());
        let mut command = invocation(&info, config.as_ref()).map_err(|problem| self.wrong(problem))?;
        let layers = image.as_ref().map(|image| image.layers.clone());
        let rootfs = self.mount(image, &place).await?;
        let user = resolve(&rootfs, &command.user).map_err(|problem| self.wrong(problem))?;
        own(&sandbox, &user)?;

        for uri in info.command.iter().flat_map(|command| &command.uris) {
            Box::pin(self.context.artifacts.place(uri, &sandbox))
                .await
                .map_err(|source| PrepareError::Artifact { task: self.id(), source })?;
        }

        command.argv[0] = program(&command.argv[0], &sandbox);

        let mut tmpfs = tmpfs_of(&info).map_err(|problem| self.wrong(problem))?;
        let mut binds = vec![bind(&sandbox, SANDBOX)];
        if image_name.is_some() {
            // The agent's network is the container's: so are its names.
            for path in ["/etc/resolv.conf", "/etc/hosts"] {
                if let Ok(real) = fs::canonicalize(path) {
                    binds.push(Bind { read_only: !privileged, recursive: false, ..bind(&real, path) });
                }
            }
        } else {
            let hidden = self.context.state_dir.to_string_lossy().into_owned();
            binds.extend(host_mounts(&hidden));
            // The other tasks' files and the agent's key are nobody's business.
            tmpfs.push(wire::TmpfsMount { container_path: hidden, size_bytes: 65_536, mode: 0o700 });
        }
        let pod = self.launch.resources();
        let wanted = volumes_of(&info, &self.task.head.resources, &pod).map_err(|problem| self.wrong(problem))?;
        binds.extend(self.binds(&wanted, &user, privileged, &place, &sandbox).await?);

        let mut bundle = Bundle {
            argv: command.argv,
            environment: environment(&info, config.as_ref(), &self.environment())
                .map_err(|problem| self.wrong(problem))?,
            working_directory: command.working_directory,
            user,
            hostname: container.hostname.clone().unwrap_or_else(|| self.context.name.clone()),
            privileged,
            limits: limits_of(&info, &self.task.head.resources, privileged),
            binds,
            tmpfs,
            share_pid_namespace: privileged
                && container.linux_info.as_ref().is_some_and(mesos::LinuxInfo::share_pid_namespace),
        };
        let path = place.join("config.json");
        fs::write(&path, bundle.config().to_string()).map_err(disk("write", &path))?;
        let checks = checks_of(&info).map_err(|problem| self.wrong(problem))?;
        let mut spec = self.spec(&info, &extension, name, &place, &sandbox);
        (spec.readiness, spec.health) = (checks.readiness, checks.health);
        if let [first, rest @ ..] = extension.clean_up.as_slice() {
            bundle.argv = [program(first, &sandbox)].into_iter().chain(rest.iter().cloned()).collect();
            // Secrets are in memory and may be gone by then; what others mount is none of its business.
            bundle.binds.retain(|bind| !Path::new(&bind.source).starts_with(place.join("secrets")));
            bundle.binds.iter_mut().for_each(|bind| bind.propagation = Propagation::Private);
            let written = clean_up::write_bundle(&bundle, layers.as_deref(), &place);
            spec.clean_up_bundle = written.map_err(disk("write a bundle below", &place))?.display().to_string();
        }
        Ok(spec)
    }

    async fn mount(&self, image: Option<Image>, place: &Path) -> Result<PathBuf, PrepareError> {
        let place = place.to_owned();
        tokio::task::spawn_blocking(move || match image {
            Some(image) => mount_image(&image, &place),
            None => mount_host_root(&place),
        })
        .await
        .expect("mounting does not panic")
        .map_err(|source| PrepareError::Root { task: self.id(), source })
    }

    fn environment(&self) -> BTreeMap<String, String> {
        let subnet = self.context.pod_subnet.lock().expect("no holder panics").clone();
        [
            ("MEZZO_SANDBOX", SANDBOX.to_owned()),
            ("MEZZO_TASK_ID", self.id()),
            ("MEZZO_ADDRESS", self.context.address.clone()),
            ("MEZZO_POD_SUBNET", subnet),
            ("MEZZO_AGENT_NAME", self.context.name.clone()),
            ("MEZZO_FRAMEWORK_ID", self.launch.framework.id.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Sources by name become paths, made where they are missing.
    async fn binds(
        &self,
        wanted: &[Volume],
        user: &User,
        privileged: bool,
        place: &Path,
        sandbox: &Path,
    ) -> Result<Vec<Bind>, PrepareError> {
        let mut binds = Vec::with_capacity(wanted.len());
        let secrets = place.join("secrets");
        for (i, volume) in wanted.iter().enumerate() {
            let source = match &volume.source {
                Source::Sandbox(path) => fresh(sandbox.join(path), user)?,
                Source::Shared(path) => fresh(self.dir.join("shared").join(path), user)?,
                Source::Persistent(key) => fresh(self.context.places.path_of(key), user)?,
                Source::Host(path) => {
                    self.privileged_only(privileged, "a volume of the host")?;
                    PathBuf::from(path)
                }
                Source::Secret(key) => {
                    if !secrets.exists() {
                        mount_tmpfs(&secrets, limits::SECRETS_TMPFS_BYTES, "711")
                            .map_err(|source| PrepareError::Root { task: self.id(), source })?;
                    }
                    let value = self.secret(key).await?;
                    let path = secrets.join(i.to_string());
                    write_secret(&path, &value, user).map_err(disk("write secret", &path))?;
                    path
                }
            };
            let shared = volume.propagation != Propagation::Private;
            if shared {
                self.privileged_only(privileged, "a volume whose mounts are seen outside")?;
            }
            binds.push(Bind {
                source: source.display().to_string(),
                target: volume.target.clone(),
                read_only: volume.read_only,
                recursive: true,
                propagation: volume.propagation,
            });
        }
        Ok(binds)
    }

    /// The master gives it only for a task it launched here. It is never written but to the tmpfs.
    async fn secret(&self, key: &str) -> Result<bytes::Bytes, PrepareError> {
        let request = wire::FetchSecretRequest {
            framework_id: self.launch.framework.id.to_string(),
            key: key.to_owned(),
            task_id: self.id(),
        };
        let mut client =
            AgentsClient::new(self.context.master.clone()).max_decoding_message_size(limits::SECRET_BYTES_MAX + 1024);
        let mut pause = limits::RETRY_MIN;
        for attempt in 1.. {
            match client.fetch_secret(request.clone()).await {
                Ok(reply) => return Ok(reply.into_inner().value),
                Err(status) if status.code() == tonic::Code::Unavailable && attempt < limits::DOWNLOAD_ATTEMPTS * 2 => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(limits::RETRY_MAX);
                }
                Err(source) => {
                    return Err(PrepareError::Secret {
                        task: self.id(),
                        key: key.to_owned(),
                        source: Box::new(source),
                    });
                }
            }
        }
        unreachable!("the loop returns")
    }

    fn spec(
        &self,
        info: &mesos::TaskInfo,
        extension: &wire::TaskExtension,
        name: String,
        place: &Path,
        sandbox: &Path,
    ) -> wire::ContainerSpec {
        let text = |path: PathBuf| path.display().to_string();
        let grace = self.task.head.kill_grace.map_or(limits::KILL_GRACE_DEFAULT.as_millis(), |span| span.0.into());
        let completion = info.max_completion_time.as_ref().map_or(0, |duration| duration.nanoseconds / 1_000_000);
        wire::ContainerSpec {
            task_id: self.id(),
            bundle: place.display().to_string(),
            cgroup: format!("{}/{name}", self.context.pod_cgroup(&self.launch.pod_id)),
            name,
            stdout_path: text(sandbox.join("stdout")),
            stderr_path: text(sandbox.join("stderr")),
            log_bytes_max: limits::LOG_BYTES_MAX,
            log_files_max: limits::LOG_FILES_MAX,
            restart: extension.restart,
            readiness: None,
            health: None,
            kill_grace_ms: u64::try_from(grace).unwrap_or(u64::MAX),
            completion_ms_max: u64::try_from(completion).unwrap_or(0),
            clean_up_bundle: String::new(),
        }
    }
}

/// A relative program is an artifact, if there is one of that name; otherwise PATH decides.
fn program(name: &str, sandbox: &Path) -> String {
    let is_artifact = !name.starts_with('/') && sandbox.join(name).is_file();
    if is_artifact { format!("{SANDBOX}/{name}") } else { name.to_owned() }
}

fn bind(source: &Path, target: &str) -> Bind {
    Bind {
        source: source.display().to_string(),
        target: target.to_owned(),
        read_only: false,
        recursive: true,
        propagation: Propagation::Private,
    }
}

/// A name for a container and its directories, made of the task's and unique in the pod.
fn container_name(task: &str, taken: &mut BTreeSet<String>) -> String {
    let clean: String = task
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .take(40)
        .collect();
    let clean = clean.trim_matches('-');
    // Names of our own in the run directory.
    let base = if matches!(clean, "" | "state" | "executor") { format!("task-{clean}") } else { clean.to_owned() };
    let base = base.trim_end_matches('-').to_owned();
    let mut name = base.clone();
    for number in 2.. {
        if taken.insert(name.clone()) {
            break;
        }
        name = format!("{base}-{number}");
    }
    name
}

fn own(path: &Path, user: &User) -> Result<(), PrepareError> {
    chown(path, Some(user.uid), Some(user.gid)).map_err(disk("give away", path))
}

/// A directory of a volume; the user's if it was not there, else as it is.
fn fresh(path: PathBuf, user: &User) -> Result<PathBuf, PrepareError> {
    let is_new = match fs::read_dir(&path) {
        Ok(entries) => entries.flatten().all(|entry| entry.file_name() == "lost+found"),
        Err(_) => true,
    };
    make(&path)?;
    if is_new {
        own(&path, user)?;
    }
    Ok(path)
}

fn write_secret(path: &Path, value: &[u8], user: &User) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
    file.write_all(value)?;
    file.set_permissions(fs::Permissions::from_mode(0o400))?;
    chown(path, Some(user.uid), Some(user.gid))
}

/// Other filesystems of the host, read-only: the overlay of its root does not show them.
fn host_mounts(state_dir: &str) -> Vec<Bind> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut binds: Vec<Bind> = Vec::new();
    for line in table.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let (Some(target), Some(kind)) = (before.split(' ').nth(4), after.split(' ').next()) else { continue };
        let real = [
            "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "overlay", "squashfs", "erofs", "virtiofs", "9p",
            "nfs", "nfs4",
        ];
        let own = ["/proc", "/sys", "/dev", "/run", "/tmp", "/mnt/mezzo", "/etc/mezzo", state_dir];
        let below =
            |prefix: &str| target == prefix || target.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
        // Names with blanks are written in octal: nobody runs programs from there.
        if target == "/" || !real.contains(&kind) || own.iter().any(|prefix| below(prefix)) || target.contains('\\') {
            continue;
        }
        binds.retain(|bind| bind.target != target);
        binds.push(Bind { read_only: true, recursive: false, ..bind(Path::new(target), target) });
    }
    binds.sort_by(|a, b| a.target.cmp(&b.target));
    binds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_names_are_clean_and_unique() {
        let mut taken = BTreeSet::new();
        let names =
            ["Web_0 server", "web-0-server", "", "state", "executor"].map(|name| container_name(name, &mut taken));
        assert_eq!(names, ["web-0-server", "web-0-server-2", "task", "task-state", "task-executor"]);
    }
}
