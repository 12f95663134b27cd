//! `mesos.v1.TaskInfo`, `ExecutorInfo` and `TaskStatus`, and the tasks of [`model`].
use model::task::{Discovery, DiscoveryPort, Limit, Pod, Task, TaskLimits};
use model::{Reason, Resources, Source, Span, TaskHead, TaskState, TaskStatus, Timestamp, UpdateId};
use prost::Message as _;

use super::{FieldError, agent_id, executor_id, millis_from_seconds, resources, seconds_from_millis, task_id};
use crate::mesos::v1 as wire;
use crate::mezzo::v1::{Check, TaskExtension};
use wire::task_status::{Reason as WireReason, Source as WireSource};
use wire::volume::source::Type as SourceType;

/// Only keys below this may be fetched by agents.
pub const SECRET_PREFIX: &str = "secret/";
/// A port's label with the virtual address behind which it is: `<name>:<port>`.
pub const VIP_LABEL: &str = "VIP";

/// What is checked of a task.
///
/// # Errors
/// Names the field that does not fit; paths begin inside the `TaskInfo`.
pub fn head_from_info(info: &wire::TaskInfo) -> Result<TaskHead, FieldError> {
    let checked = info.mezzo.as_ref().is_some_and(|extension| extension.readiness.is_some());
    Ok(TaskHead {
        task_id: task_id(&info.task_id.value, "task_id")?,
        name: info.name.clone(),
        agent_id: agent_id(&info.agent_id.value, "agent_id")?,
        resources: resources::from_wire(&info.resources)?,
        discovery: info.discovery.as_ref().map(|found| discovery_from_wire(found, checked)).transpose()?,
        kill_grace: info.kill_policy.as_ref().and_then(|policy| policy.grace_period.as_ref()).map(span),
        secrets: secrets(info)?,
        privileged: info.mezzo.as_ref().is_some_and(|extension| extension.privileged),
        cleans_up: info.mezzo.as_ref().is_some_and(|extension| !extension.clean_up.is_empty()),
        limits: limits_from_wire(info)?,
    })
}

/// A `TaskInfo` with this head and nothing else: a few hundred bytes of what may have been megabytes.
pub fn info_from_head(head: &TaskHead) -> wire::TaskInfo {
    let is_checked = head.discovery.as_ref().is_some_and(|discovery| discovery.checked);
    let extension = TaskExtension {
        privileged: head.privileged,
        readiness: is_checked.then(Check::default),
        // Which command it is only the agent has to know.
        clean_up: if head.cleans_up { vec![String::new()] } else { Vec::new() },
        ..TaskExtension::default()
    };
    let limit = |limit: Limit| match limit {
        Limit::Infinite => f64::INFINITY,
        Limit::AtMost(amount) => resources::units(amount),
    };
    let limits = [("cpus", head.limits.cpus), ("mem", head.limits.mem)];
    let limits = limits.into_iter().filter_map(|(name, of)| Some((name.to_owned(), limit(of?))));
    wire::TaskInfo {
        name: head.name.clone(),
        task_id: wire::TaskId { value: head.task_id.to_string() },
        agent_id: wire::AgentId { value: head.agent_id.to_string() },
        resources: resources::to_wire(&head.resources),
        container: (!head.secrets.is_empty()).then(|| wire::ContainerInfo {
            r#type: wire::container_info::Type::Mesos.into(),
            volumes: head.secrets.iter().map(|key| secret_volume(key)).collect(),
            ..wire::ContainerInfo::default()
        }),
        discovery: head.discovery.as_ref().map(discovery_to_wire),
        kill_policy: head.kill_grace.map(|grace| wire::KillPolicy {
            grace_period: Some(wire::DurationInfo {
                nanoseconds: i64::try_from(grace.0).unwrap_or(i64::MAX).saturating_mul(1_000_000),
            }),
        }),
        limits: limits.map(|(name, value)| (name, wire::value::Scalar { value })).collect(),
        mezzo: (extension != TaskExtension::default()).then_some(extension),
        ..wire::TaskInfo::default()
    }
}

fn secret_volume(key: &str) -> wire::Volume {
    let secret = wire::Secret {
        r#type: Some(wire::secret::Type::Reference.into()),
        reference: Some(wire::secret::Reference { name: key.to_owned(), key: None }),
        value: None,
    };
    wire::Volume {
        source: Some(wire::volume::Source {
            r#type: Some(SourceType::Secret.into()),
            secret: Some(secret),
            ..wire::volume::Source::default()
        }),
        ..wire::Volume::default()
    }
}

fn discovery_to_wire(discovery: &Discovery) -> wire::DiscoveryInfo {
    use wire::discovery_info::Visibility;
    let visibility = |is_external: bool| if is_external { Visibility::External } else { Visibility::Cluster };
    let ports = discovery.ports.iter().map(|port| wire::Port {
        number: port.number.into(),
        name: Some(port.name.clone()),
        visibility: Some(visibility(port.external).into()),
        labels: port.vip.as_ref().map(|vip| wire::Labels {
            labels: vec![wire::Label { key: VIP_LABEL.to_owned(), value: Some(vip.to_string()) }],
        }),
        ..wire::Port::default()
    });
    wire::DiscoveryInfo {
        visibility: visibility(false).into(),
        name: Some(discovery.name.clone()),
        ports: Some(wire::Ports { ports: ports.collect() }),
        ..wire::DiscoveryInfo::default()
    }
}

fn limits_from_wire(info: &wire::TaskInfo) -> Result<TaskLimits, FieldError> {
    let mut limits = TaskLimits::default();
    for (name, scalar) in &info.limits {
        let path = format!("limits.{name}");
        let slot = match name.as_str() {
            "cpus" => &mut limits.cpus,
            "mem" => &mut limits.mem,
            _ => {
                return Err(FieldError::new(
                    path,
                    "is not cpus and not mem: nothing else may exceed what a task takes",
                ));
            }
        };
        *slot = Some(match scalar.value {
            f64::INFINITY => Limit::Infinite,
            value => Limit::AtMost(resources::milli(value, &path)?),
        });
    }
    Ok(limits)
}

/// A task as a framework sends it. The payload is encoded anew.
///
/// # Errors
/// As [`head_from_info`].
pub fn task_from_info(info: &wire::TaskInfo) -> Result<Task, FieldError> {
    Ok(Task { head: head_from_info(info)?, payload: info.encode_to_vec().into() })
}

/// A task from its payload.
///
/// # Errors
/// As [`head_from_info`], or the payload is no `TaskInfo`.
pub fn task_from_payload(payload: &[u8]) -> Result<Task, FieldError> {
    let info = info_from_payload(payload)?;
    Ok(Task { head: head_from_info(&info)?, payload: payload.into() })
}

/// The framework's own `TaskInfo`.
///
/// # Errors
/// The payload is no `TaskInfo`.
pub fn info_from_payload(payload: &[u8]) -> Result<wire::TaskInfo, FieldError> {
    wire::TaskInfo::decode(payload).map_err(|error| FieldError::new("task", format!("is no TaskInfo: {error}")))
}

/// A pod of one task (LAUNCH), or of a group (LAUNCH_GROUP) if `executor` is given.
///
/// # Errors
/// Names the field that does not fit.
pub fn pod_from_wire(executor: Option<&wire::ExecutorInfo>, tasks: &[wire::TaskInfo]) -> Result<Pod, FieldError> {
    let tasks = tasks
        .iter()
        .enumerate()
        .map(|(i, info)| task_from_info(info).map_err(|error| error.within(&format!("tasks[{i}]"))))
        .collect::<Result<Vec<_>, _>>()?;
    let Some(first) = tasks.first() else { return Err(FieldError::new("tasks", "is empty")) };
    match executor {
        None => Ok(Pod {
            executor_id: executor_id(first.head.task_id.as_str(), "task_id")?,
            executor: [].into(),
            executor_resources: Resources::default(),
            tasks,
        }),
        Some(info) => Ok(Pod {
            executor_id: executor_id(&info.executor_id.value, "executor.executor_id")?,
            executor: info.encode_to_vec().into(),
            executor_resources: resources::from_wire(&info.resources).map_err(|error| error.within("executor"))?,
            tasks,
        }),
    }
}

fn span(duration: &wire::DurationInfo) -> Span {
    Span(u64::try_from(duration.nanoseconds / 1_000_000).unwrap_or(0))
}

fn discovery_from_wire(info: &wire::DiscoveryInfo, checked: bool) -> Result<Discovery, FieldError> {
    let visible = wire::discovery_info::Visibility::try_from(info.visibility)
        .map_err(|_| FieldError::unknown("discovery.visibility", info.visibility))?;
    let external = visible == wire::discovery_info::Visibility::External;
    let mut ports = Vec::new();
    for (i, port) in info.ports.iter().flat_map(|ports| &ports.ports).enumerate() {
        let number = u16::try_from(port.number).map_err(|_| {
            FieldError::new(format!("discovery.ports[{i}].number"), format!("is no port: {}", port.number))
        })?;
        let own = port.visibility.map(|number| number == i32::from(wire::discovery_info::Visibility::External));
        let labels = port.labels.iter().flat_map(|labels| &labels.labels);
        let vip = labels.filter(|label| label.key == VIP_LABEL).map(|label| label.value.as_deref().unwrap_or_default());
        let vip = vip.map(str::parse).next().transpose().map_err(|error: model::task::InvalidVip| {
            FieldError::new(format!("discovery.ports[{i}].labels"), format!("has a {VIP_LABEL} that is wrong: {error}"))
        })?;
        ports.push(DiscoveryPort {
            number,
            name: port.name.clone().unwrap_or_default(),
            external: own.unwrap_or(external),
            vip,
        });
    }
    Ok(Discovery { name: info.name.clone().unwrap_or_default(), ports, checked })
}

fn secrets(info: &wire::TaskInfo) -> Result<Vec<String>, FieldError> {
    let mut out = Vec::new();
    for (i, volume) in info.container.iter().flat_map(|container| &container.volumes).enumerate() {
        let Some(source) = &volume.source else { continue };
        if source.r#type != Some(SourceType::Secret.into()) {
            continue;
        }
        let path = format!("container.volumes[{i}].source.secret");
        let secret = source.secret.as_ref().ok_or_else(|| FieldError::missing(&path))?;
        out.push(secret_key(secret, &path)?);
    }
    let variables = info.command.iter().filter_map(|command| command.environment.as_ref());
    for (i, variable) in variables.flat_map(|environment| &environment.variables).enumerate() {
        if let Some(secret) = &variable.secret {
            out.push(secret_key(secret, &format!("command.environment.variables[{i}].secret"))?);
        }
    }
    out.sort_unstable();
    out.dedup();
    Ok(out)
}

fn secret_key(secret: &wire::Secret, path: &str) -> Result<String, FieldError> {
    let reference = secret.reference.as_ref().ok_or_else(|| {
        FieldError::new(format!("{path}.reference"), "is missing: secrets travel by reference, never by value")
    })?;
    if !reference.name.starts_with(SECRET_PREFIX) {
        return Err(FieldError::new(format!("{path}.reference.name"), format!("must begin with '{SECRET_PREFIX}'")));
    }
    Ok(reference.name.clone())
}

macro_rules! pairs {
    ($to:ident, $from:ident, $model:ident, $wire:path { $($name:ident = $wire_name:ident),* $(,)? }) => {
        fn $to(value: $model) -> $wire {
            match value { $($model::$name => <$wire>::$wire_name),* }
        }
        #[allow(clippy::wildcard_enum_match_arm)] // the wire knows values that the model has no use for
        fn $from(value: $wire) -> Option<$model> {
            match value { $(<$wire>::$wire_name => Some($model::$name),)* #[allow(unreachable_patterns)] _ => None }
        }
    };
}
pairs!(state_out, state_in, TaskState, wire::TaskState {
    Staging = TaskStaging, Starting = TaskStarting, Running = TaskRunning, Killing = TaskKilling, Finished = TaskFinished,
    Failed = TaskFailed, Killed = TaskKilled, Error = TaskError, Lost = TaskLost, Dropped = TaskDropped,
    Unreachable = TaskUnreachable, Gone = TaskGone, GoneByOperator = TaskGoneByOperator, Unknown = TaskUnknown,
});
pairs!(source_out, source_in, Source, WireSource { Master = Master, Agent = Agent, Executor = Executor });
pairs!(reason_out, reason_in, Reason, WireReason {
    ExecutorTerminated = ExecutorTerminated, FrameworkRemoved = FrameworkRemoved, InvalidOffers = InvalidOffers,
    MasterDisconnected = MasterDisconnected, ContainerLimitationMemory = ContainerLimitationMemory,
    Reconciliation = Reconciliation, AgentDisconnected = AgentDisconnected, AgentRemoved = AgentRemoved,
    AgentRestarted = AgentRestarted, AgentUnknown = AgentUnknown, TaskInvalid = TaskInvalid,
    TaskUnauthorized = TaskUnauthorized, TaskUnknown = TaskUnknown,
    ContainerPreempted = ContainerPreempted, ContainerLimitation = ContainerLimitation,
    ContainerLimitationDisk = ContainerLimitationDisk, ContainerLaunchFailed = ContainerLaunchFailed,
    ExecutorRegistrationTimeout = ExecutorRegistrationTimeout,
    ExecutorReregistrationTimeout = ExecutorReregistrationTimeout, TaskGroupInvalid = TaskGroupInvalid,
    TaskGroupUnauthorized = TaskGroupUnauthorized, TaskCheckStatusUpdated = TaskCheckStatusUpdated,
    TaskHealthCheckStatusUpdated = TaskHealthCheckStatusUpdated, TaskKilledDuringLaunch = TaskKilledDuringLaunch,
    AgentRemovedByOperator = AgentRemovedByOperator, AgentReregistered = AgentReregistered,
    MaxCompletionTimeReached = MaxCompletionTimeReached, AgentDraining = AgentDraining,
    ContainerRestarted = ContainerRestarted,
});

/// A state's wire number.
pub fn state_to_wire(state: TaskState) -> i32 {
    state_out(state).into()
}

/// A state from its wire number.
///
/// # Errors
/// Nobody knows the number.
pub fn state_from_wire(number: i32, path: &str) -> Result<TaskState, FieldError> {
    wire::TaskState::try_from(number).ok().and_then(state_in).ok_or_else(|| FieldError::unknown(path, number))
}

/// A status to the wire. Readiness travels as a command check's exit code: 0 is ready.
pub fn status_to_wire(status: &TaskStatus) -> wire::TaskStatus {
    wire::TaskStatus {
        task_id: wire::TaskId { value: status.task_id.to_string() },
        state: state_to_wire(status.state),
        message: (!status.message.is_empty()).then(|| status.message.clone()),
        agent_id: status.agent_id.as_ref().map(|id| wire::AgentId { value: id.to_string() }),
        timestamp: Some(seconds_from_millis(status.timestamp.0)),
        executor_id: status.executor_id.as_ref().map(|id| wire::ExecutorId { value: id.to_string() }),
        healthy: status.healthy,
        source: Some(source_out(status.source).into()),
        reason: status.reason.map(|reason| reason_out(reason).into()),
        uuid: status.uuid.map(|uuid| uuid.0.to_be_bytes().to_vec().into()),
        check_status: status.ready.map(|ready| wire::CheckStatusInfo {
            r#type: Some(wire::check_info::Type::Command.into()),
            command: Some(wire::check_status_info::Command { exit_code: Some(i32::from(!ready)) }),
            ..wire::CheckStatusInfo::default()
        }),
        ..wire::TaskStatus::default()
    }
}

/// A status from the wire. Unknown reasons become none: they explain, nothing depends on them.
///
/// # Errors
/// Names the field that does not fit.
pub fn status_from_wire(status: &wire::TaskStatus) -> Result<TaskStatus, FieldError> {
    let source = status.source.unwrap_or_default();
    Ok(TaskStatus {
        task_id: task_id(&status.task_id.value, "status.task_id")?,
        state: state_from_wire(status.state, "status.state")?,
        reason: status.reason.and_then(|number| WireReason::try_from(number).ok()).and_then(reason_in),
        source: WireSource::try_from(source)
            .ok()
            .and_then(source_in)
            .ok_or_else(|| FieldError::unknown("status.source", source))?,
        message: status.message.clone().unwrap_or_default(),
        agent_id: status.agent_id.as_ref().map(|id| agent_id(&id.value, "status.agent_id")).transpose()?,
        executor_id: status.executor_id.as_ref().map(|id| executor_id(&id.value, "status.executor_id")).transpose()?,
        uuid: status.uuid.as_ref().map(|bytes| update_id(bytes, "status.uuid")).transpose()?,
        healthy: status.healthy,
        ready: status.check_status.as_ref().and_then(|check| check.command.as_ref()?.exit_code).map(|code| code == 0),
        timestamp: Timestamp(status.timestamp.and_then(millis_from_seconds).unwrap_or(0)),
    })
}

/// An update's id: 16 bytes.
///
/// # Errors
/// It has another length.
pub fn update_id(bytes: &[u8], path: &str) -> Result<UpdateId, FieldError> {
    let array: [u8; 16] =
        bytes.try_into().map_err(|_| FieldError::new(path, format!("must have 16 bytes, it has {}", bytes.len())))?;
    Ok(UpdateId(u128::from_be_bytes(array)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{AgentId, TaskId};

    #[test]
    fn a_status_survives_the_wire() {
        for state in TaskState::ALL {
            let status = TaskStatus {
                task_id: TaskId::new("t").expect("valid"),
                state,
                reason: Some(Reason::ContainerLimitationMemory),
                source: Source::Executor,
                message: "why".to_owned(),
                agent_id: Some(AgentId::new("a").expect("valid")),
                executor_id: None,
                uuid: Some(UpdateId(7)),
                healthy: Some(false),
                ready: Some(true),
                timestamp: Timestamp(1_700_000_000_123),
            };
            assert_eq!(status_from_wire(&status_to_wire(&status)), Ok(status));
        }
    }

    #[test]
    fn a_head_survives_the_wire_without_the_payload() {
        let small = TaskHead {
            task_id: TaskId::new("t").expect("valid"),
            name: "t".to_owned(),
            agent_id: AgentId::new("a").expect("valid"),
            resources: Resources::default(),
            discovery: None,
            kill_grace: None,
            secrets: Vec::new(),
            privileged: false,
            cleans_up: false,
            limits: TaskLimits::default(),
        };
        let port = |external, vip| DiscoveryPort { number: 443, name: "https".to_owned(), external, vip };
        let ports = vec![port(true, model::task::Vip::new("api", 443)), port(false, None)];
        let large = TaskHead {
            resources: model::Quantities { cpus: model::Milli(1), mem: model::Milli(1234), ..Default::default() }
                .into(),
            discovery: Some(Discovery { name: "api".to_owned(), ports, checked: true }),
            kill_grace: Some(Span(1500)),
            secrets: vec!["secret/a".to_owned(), "secret/b".to_owned()],
            privileged: true,
            cleans_up: true,
            limits: TaskLimits { cpus: Some(Limit::Infinite), mem: Some(Limit::AtMost(model::Milli(1234))) },
            ..small.clone()
        };
        for head in [small, large] {
            let info = info_from_head(&head);
            assert_eq!(head_from_info(&info), Ok(head));
        }
    }

    #[test]
    fn a_secret_given_by_value_is_refused() {
        let secret = wire::Secret { value: Some(wire::secret::Value::default()), ..wire::Secret::default() };
        let volume = wire::Volume {
            source: Some(wire::volume::Source {
                r#type: Some(SourceType::Secret.into()),
                secret: Some(secret),
                ..wire::volume::Source::default()
            }),
            ..wire::Volume::default()
        };
        let info = wire::TaskInfo {
            task_id: wire::TaskId { value: "t".to_owned() },
            agent_id: wire::AgentId { value: "a".to_owned() },
            container: Some(wire::ContainerInfo { volumes: vec![volume], ..wire::ContainerInfo::default() }),
            ..wire::TaskInfo::default()
        };
        let error = head_from_info(&info).expect_err("refused");
        assert_eq!(error.path, "container.volumes[0].source.secret.reference");
    }
}
