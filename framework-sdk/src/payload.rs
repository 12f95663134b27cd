//! From a placed pod and what the renderer added to the messages an agent reads: `TaskInfo`, `ExecutorInfo`.
use std::collections::BTreeMap;

use framework_core::PodLaunch;
use framework_core::spec::{
    CheckKind, CheckSpec, PortKind, PortRef, Propagation, RestartPolicy, Root, TaskSpec, VolumeSource, VolumeSpec,
};
use framework_core::view::Placement;
use model::task::Pod;
use model::{FrameworkId, Resources, TaskId};
use proto::convert::task::VIP_LABEL;
use proto::convert::{self, FieldError};
use proto::mesos::v1 as mesos;
use proto::mezzo::v1 as mezzo;

use crate::framework::{RenderedPod, RenderedTask};
use crate::records::{Entry, files_prefix};

/// The pod, and the entries its files become.
pub(crate) fn pod(
    launch: &PodLaunch,
    rendered: &RenderedPod,
    framework: &FrameworkId,
) -> Result<(Pod, Vec<Entry>), FieldError> {
    let mut entries = Vec::new();
    let mut infos = Vec::new();
    for (name, task_id, resources) in &launch.tasks {
        let spec = launch.spec.task(name).expect("a launch names tasks of its pod");
        let nothing = RenderedTask::default();
        let added = rendered.tasks.get(name).unwrap_or(&nothing);
        infos.push(task(launch, spec, task_id, resources, added, &mut entries));
    }
    let executor = mesos::ExecutorInfo {
        executor_id: mesos::ExecutorId { value: launch.executor_id.to_string() },
        r#type: Some(mesos::executor_info::Type::Default.into()),
        framework_id: Some(mesos::FrameworkId { value: framework.to_string() }),
        name: Some(launch.unit.to_string()),
        resources: convert::resources::to_wire(&launch.executor_resources),
        ..mesos::ExecutorInfo::default()
    };
    Ok((convert::task::pod_from_wire(Some(&executor), &infos)?, entries))
}

fn task(
    launch: &PodLaunch,
    spec: &TaskSpec,
    task_id: &TaskId,
    resources: &Resources,
    added: &RenderedTask,
    entries: &mut Vec<Entry>,
) -> mesos::TaskInfo {
    let mut volumes = spec.volumes.clone();
    volumes.extend(added.volumes.iter().cloned());
    for file in &added.files {
        let key = format!("{}{}", files_prefix(&launch.executor_id), entries.len());
        entries.push((key.clone(), Some(file.content.clone())));
        volumes.push(VolumeSpec {
            container_path: file.container_path.clone(),
            source: VolumeSource::Secret(key),
            propagation: Propagation::Private,
            read_only: true,
        });
    }
    mesos::TaskInfo {
        name: format!("{}-{}", launch.unit.instance, spec.name),
        task_id: mesos::TaskId { value: task_id.to_string() },
        agent_id: mesos::AgentId { value: launch.placement.agent_id.to_string() },
        resources: convert::resources::to_wire(resources),
        command: Some(command(spec, added)),
        container: Some(mesos::ContainerInfo {
            r#type: mesos::container_info::Type::Mesos.into(),
            hostname: added.hostname.clone(),
            volumes: volumes.iter().filter_map(volume).collect(),
            mesos: Some(mesos::container_info::MesosInfo { image: image(&spec.root) }),
            ..mesos::ContainerInfo::default()
        }),
        discovery: discovery(launch, spec),
        kill_policy: spec.kill_grace.map(|grace| mesos::KillPolicy {
            grace_period: Some(mesos::DurationInfo {
                nanoseconds: i64::try_from(grace.0).unwrap_or(i64::MAX).saturating_mul(1_000_000),
            }),
        }),
        mezzo: Some(extension(spec, &volumes, &launch.placement)),
        ..mesos::TaskInfo::default()
    }
}

fn image(root: &Root) -> Option<mesos::Image> {
    match root {
        Root::Host => None,
        Root::Image(name) => Some(mesos::Image {
            r#type: mesos::image::Type::Docker.into(),
            docker: Some(mesos::image::Docker { name: name.clone(), config: None }),
            cached: None,
        }),
    }
}

fn command(spec: &TaskSpec, added: &RenderedTask) -> mesos::CommandInfo {
    let argv = added.argv.as_ref().unwrap_or(&spec.argv);
    let mut env: BTreeMap<&String, &String> = spec.env.iter().collect();
    env.extend(&added.env);
    mesos::CommandInfo {
        uris: spec
            .artifacts
            .iter()
            .chain(&added.artifacts)
            .map(|artifact| mesos::command_info::Uri {
                value: artifact.uri.clone(),
                executable: Some(artifact.executable),
                extract: Some(artifact.extract),
                cache: Some(true),
                output_file: artifact.output_file.clone(),
            })
            .collect(),
        environment: Some(mesos::Environment {
            variables: env
                .into_iter()
                .map(|(name, value)| mesos::environment::Variable {
                    name: name.clone(),
                    value: Some(value.clone()),
                    ..mesos::environment::Variable::default()
                })
                .collect(),
        }),
        value: argv.first().cloned(),
        user: spec.user.clone(),
        shell: Some(false),
        arguments: argv.clone(),
    }
}

/// `None` for memory: that travels in the extension.
fn volume(spec: &VolumeSpec) -> Option<mesos::Volume> {
    use mesos::volume::source::{HostPath, SandboxPath, Type, sandbox_path};
    let empty = mesos::volume::Source::default();
    let sandbox = |kind: sandbox_path::Type, path: &str| mesos::volume::Source {
        r#type: Some(Type::SandboxPath.into()),
        sandbox_path: Some(SandboxPath { r#type: Some(kind.into()), path: path.to_owned() }),
        ..mesos::volume::Source::default()
    };
    let source = match &spec.source {
        VolumeSource::Tmpfs { .. } => return None,
        VolumeSource::Sandbox(path) => Some(sandbox(sandbox_path::Type::Self_, path)),
        VolumeSource::Pod(path) => Some(sandbox(sandbox_path::Type::Parent, path)),
        // Its disk is among the task's resources; the extension says that it is meant.
        VolumeSource::Persistent { .. } => None,
        VolumeSource::Secret(key) => Some(mesos::volume::Source {
            r#type: Some(Type::Secret.into()),
            secret: Some(mesos::Secret {
                r#type: Some(mesos::secret::Type::Reference.into()),
                reference: Some(mesos::secret::Reference { name: key.clone(), key: None }),
                value: None,
            }),
            ..empty
        }),
        VolumeSource::Host(path) => Some(mesos::volume::Source {
            r#type: Some(Type::HostPath.into()),
            host_path: Some(HostPath { path: path.clone() }),
            ..empty
        }),
    };
    let mode = if spec.read_only { mesos::volume::Mode::Ro } else { mesos::volume::Mode::Rw };
    Some(mesos::Volume {
        container_path: spec.container_path.clone(),
        mode: mode.into(),
        source,
        ..mesos::Volume::default()
    })
}

/// Every single port, so that agents tell the task and the gateway finds it; held ranges stay among the resources.
fn discovery(launch: &PodLaunch, spec: &TaskSpec) -> Option<mesos::DiscoveryInfo> {
    use mesos::discovery_info::Visibility;
    let chosen = spec.discovery.as_ref();
    if spec.ports.is_empty() && chosen.is_none() {
        return None;
    }
    let name = chosen.map_or_else(|| launch.unit.instance.pod.clone(), |discovery| discovery.name.clone());
    let ports = spec.ports.iter().filter(|port| !matches!(port.kind, PortKind::Range(..))).filter_map(|port| {
        let is_external = chosen.is_some_and(|discovery| discovery.external.contains(&port.name));
        let visibility = if is_external { Visibility::External } else { Visibility::Cluster };
        Some(mesos::Port {
            number: launch.placement.port(&port.name)?.into(),
            name: Some(port.name.clone()),
            protocol: Some("tcp".to_owned()),
            visibility: Some(visibility.into()),
            labels: chosen.filter(|_| is_external).and_then(|discovery| discovery.vip.as_ref()).map(|vip| {
                let value = Some(format!("{}:{}", vip.name, vip.port));
                mesos::Labels { labels: vec![mesos::Label { key: VIP_LABEL.to_owned(), value }] }
            }),
        })
    });
    Some(mesos::DiscoveryInfo {
        visibility: Visibility::Cluster.into(),
        name: Some(name),
        ports: Some(mesos::Ports { ports: ports.collect() }),
        ..mesos::DiscoveryInfo::default()
    })
}

fn extension(spec: &TaskSpec, volumes: &[VolumeSpec], placement: &Placement) -> mezzo::TaskExtension {
    use mezzo::restart::Policy;
    use mezzo::volume_option::Propagation as Wire;
    let restart = match spec.restart {
        RestartPolicy::GroupDies => {
            mezzo::Restart { policy: Policy::GroupDies.into(), backoff_ms_min: 0, backoff_ms_max: 0 }
        }
        RestartPolicy::InPlace { backoff_min, backoff_max } => mezzo::Restart {
            policy: Policy::InPlace.into(),
            backoff_ms_min: ms(backoff_min),
            backoff_ms_max: ms(backoff_max),
        },
    };
    let options = volumes.iter().filter(|v| !matches!(v.source, VolumeSource::Tmpfs { .. })).filter_map(|v| {
        let persistent = matches!(v.source, VolumeSource::Persistent { .. });
        let propagation = match v.propagation {
            Propagation::Private => Wire::Private,
            Propagation::Rslave => Wire::Rslave,
            Propagation::Rshared => Wire::Rshared,
        };
        (persistent || v.propagation != Propagation::Private).then(|| mezzo::VolumeOption {
            container_path: v.container_path.clone(),
            propagation: propagation.into(),
            persistent,
        })
    });
    let tmpfs = volumes.iter().filter_map(|v| match v.source {
        VolumeSource::Tmpfs { size_mib, mode } => Some(mezzo::TmpfsMount {
            container_path: v.container_path.clone(),
            size_bytes: u64::from(size_mib) * 1024 * 1024,
            mode: if mode == 0 { 0o1777 } else { mode },
        }),
        VolumeSource::Sandbox(_)
        | VolumeSource::Pod(_)
        | VolumeSource::Persistent { .. }
        | VolumeSource::Secret(_)
        | VolumeSource::Host(_) => None,
    });
    mezzo::TaskExtension {
        privileged: spec.privileged,
        restart: Some(restart),
        volume_options: options.collect(),
        readiness: spec.readiness.as_ref().map(|spec| check(spec, placement)),
        health: spec.health.as_ref().map(|spec| check(spec, placement)),
        host_root: spec.root == Root::Host,
        tmpfs: tmpfs.collect(),
        working_directory: spec.working_directory.clone().unwrap_or_default(),
        clean_up: spec.clean_up.clone(),
    }
}

fn check(spec: &CheckSpec, placement: &Placement) -> mezzo::Check {
    use mezzo::check::Kind;
    let number = |port: &PortRef| match port {
        PortRef::Number(number) => u32::from(*number),
        PortRef::Name(name) => placement.port(name).unwrap_or_default().into(),
    };
    let kind = match &spec.kind {
        CheckKind::Command(argv) => Kind::Command(mezzo::CommandCheck { argv: argv.clone() }),
        CheckKind::Tcp(port) => Kind::Tcp(mezzo::TcpCheck { port: number(port) }),
        CheckKind::Http { scheme, host, port, path, ca_file, cert_file, key_file } => Kind::Http(mezzo::HttpCheck {
            scheme: scheme.clone(),
            host: host.clone(),
            port: number(port),
            path: path.clone(),
            ca_file: ca_file.clone(),
            cert_file: cert_file.clone(),
            key_file: key_file.clone(),
        }),
    };
    mezzo::Check {
        kind: Some(kind),
        delay_ms: ms(spec.delay),
        interval_ms: ms(spec.interval),
        timeout_ms: ms(spec.timeout),
        consecutive_failures: spec.consecutive_failures,
        grace_ms: ms(spec.grace),
    }
}

fn ms(span: model::Span) -> u32 {
    u32::try_from(span.0).unwrap_or(u32::MAX)
}
