//! The agent link.
use std::collections::BTreeMap;

use model::link::{AgentRegistration, AgentTask, FrameworkRef, FromAgent, Peer, ToAgent};
use model::task::Pod;
use model::{Principal, Resources, Span, Timestamp};
use prost::Message as _;

use super::{
    FieldError, agent_id, executor_id, framework_id, millis_from_seconds, refusal_from_wire, refusal_to_wire,
    resources, role_name, seconds_from_millis, task, task_id,
};
use crate::mesos::v1 as mesos;
use crate::mezzo::v1 as wire;
use wire::agent_message::Kind as AgentKind;
use wire::master_message::Kind as MasterKind;

/// The link's format version spoken here.
pub const VERSION: u32 = 1;

/// From an agent, to the wire.
pub fn from_agent_to_wire(message: &FromAgent) -> wire::AgentMessage {
    let kind = match message {
        FromAgent::Register(registration) => AgentKind::Register(registration_to_wire(registration)),
        FromAgent::Update { framework_id, status, latest_state } => AgentKind::Update(wire::TaskUpdate {
            framework_id: framework_id.to_string(),
            status: Some(task::status_to_wire(status)),
            latest_state: task::state_to_wire(*latest_state),
        }),
        FromAgent::Pong { number } => AgentKind::Pong(wire::Pong { number: *number }),
        FromAgent::Applied { generation } => AgentKind::Applied(wire::OperationsApplied { generation: *generation }),
        FromAgent::Revocable(quantities) => {
            let resources = Resources { revocable: quantities.clone(), ..Resources::default() };
            AgentKind::Revocable(wire::RevocableResources { resources: resources::to_wire(&resources) })
        }
    };
    wire::AgentMessage { kind: Some(kind) }
}

/// From an agent, from the wire.
///
/// # Errors
/// Names the field that does not fit.
pub fn from_agent_from_wire(message: &wire::AgentMessage) -> Result<FromAgent, FieldError> {
    Ok(match message.kind.as_ref().ok_or_else(|| FieldError::missing("kind"))? {
        AgentKind::Register(register) => {
            FromAgent::Register(Box::new(registration_from_wire(register).map_err(|e| e.within("register"))?))
        }
        AgentKind::Update(update) => {
            let status = update.status.as_ref().ok_or_else(|| FieldError::missing("update.status"))?;
            FromAgent::Update {
                framework_id: framework_id(&update.framework_id, "update.framework_id")?,
                status: task::status_from_wire(status).map_err(|error| error.within("update"))?,
                latest_state: task::state_from_wire(update.latest_state, "update.latest_state")?,
            }
        }
        AgentKind::Pong(pong) => FromAgent::Pong { number: pong.number },
        AgentKind::Applied(applied) => FromAgent::Applied { generation: applied.generation },
        AgentKind::Revocable(revocable) => {
            let resources = resources::from_wire(&revocable.resources).map_err(|error| error.within("revocable"))?;
            if resources != resources.only_revocable() {
                return Err(FieldError::new("revocable.resources", "holds something that is not revocable"));
            }
            FromAgent::Revocable(resources.revocable)
        }
    })
}

fn registration_to_wire(registration: &AgentRegistration) -> wire::RegisterAgent {
    let attributes = registration.attributes.iter().map(|(name, text)| mesos::Attribute {
        name: name.clone(),
        r#type: mesos::value::Type::Text.into(),
        text: Some(mesos::value::Text { value: text.clone() }),
        ..mesos::Attribute::default()
    });
    wire::RegisterAgent {
        version: VERSION,
        software: registration.software.clone(),
        agent_id: registration.agent_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        name: registration.name.clone(),
        address: registration.address.clone(),
        port: registration.port.into(),
        total: resources::to_wire(&registration.total),
        attributes: attributes.collect(),
        region: registration.region.clone(),
        zone: registration.zone.clone(),
        boot_id: registration.boot_id.clone(),
        tasks: registration.tasks.iter().map(agent_task_to_wire).collect(),
        epoch_seen: registration.epoch_seen,
    }
}

fn registration_from_wire(register: &wire::RegisterAgent) -> Result<AgentRegistration, FieldError> {
    if register.version != VERSION {
        let problem = format!("is {}, this master speaks {VERSION}: upgrade the older of the two", register.version);
        return Err(FieldError::new("version", problem));
    }
    if register.name.is_empty() || register.name.len() > 255 {
        return Err(FieldError::new("name", "must have 1 to 255 bytes"));
    }
    let _: std::net::Ipv4Addr = register
        .address
        .parse()
        .map_err(|_| FieldError::new("address", format!("is no IPv4 address: '{}'", register.address)))?;
    let mut tasks = Vec::with_capacity(register.tasks.len());
    for (i, task) in register.tasks.iter().enumerate() {
        tasks.push(agent_task_from_wire(task).map_err(|error| error.within(&format!("tasks[{i}]")))?);
    }
    let attributes: BTreeMap<String, String> = register
        .attributes
        .iter()
        .filter_map(|attribute| Some((attribute.name.clone(), attribute.text.as_ref()?.value.clone())))
        .collect();
    Ok(AgentRegistration {
        agent_id: (!register.agent_id.is_empty()).then(|| agent_id(&register.agent_id, "agent_id")).transpose()?,
        name: register.name.clone(),
        address: register.address.clone(),
        port: u16::try_from(register.port)
            .map_err(|_| FieldError::new("port", format!("is no port: {}", register.port)))?,
        total: resources::from_wire(&register.total).map_err(|error| error.of_list("total"))?,
        attributes,
        region: register.region.clone(),
        zone: register.zone.clone(),
        boot_id: register.boot_id.clone(),
        software: register.software.clone(),
        epoch_seen: register.epoch_seen,
        tasks,
    })
}

/// A task as its agent knows it, to the wire: with a `TaskInfo` of what the master keeps.
pub fn agent_task_to_wire(task: &AgentTask) -> wire::AgentTask {
    wire::AgentTask {
        framework_id: task.framework.id.to_string(),
        framework_name: task.framework.name.clone(),
        role: task.framework.role.to_string(),
        principal: task.framework.principal.to_string(),
        executor_id: task.executor_id.to_string(),
        task: task::info_from_head(&task.head).encode_to_vec().into(),
        latest: Some(task::status_to_wire(&task.latest)),
        executor_resources: resources::to_wire(&task.executor_resources),
        launched_unix_ms: i64::try_from(task.launched.0).unwrap_or(i64::MAX),
    }
}

/// A task as its agent knows it, from the wire.
///
/// # Errors
/// Names the field that does not fit.
pub fn agent_task_from_wire(task: &wire::AgentTask) -> Result<AgentTask, FieldError> {
    let latest = task.latest.as_ref().ok_or_else(|| FieldError::missing("latest"))?;
    let head = task::head_from_info(&task::info_from_payload(&task.task)?)?;
    Ok(AgentTask {
        framework: framework_ref(&task.framework_id, &task.framework_name, &task.role, &task.principal)?,
        executor_id: executor_id(&task.executor_id, "executor_id")?,
        executor_resources: resources::from_wire(&task.executor_resources)
            .map_err(|error| error.of_list("executor_resources"))?,
        launched: Timestamp(u64::try_from(task.launched_unix_ms).unwrap_or_default()),
        head,
        latest: task::status_from_wire(latest)?,
    })
}

fn framework_ref(id: &str, name: &str, role: &str, principal: &str) -> Result<FrameworkRef, FieldError> {
    Ok(FrameworkRef {
        id: framework_id(id, "framework_id")?,
        name: name.to_owned(),
        role: role_name(role, "role")?,
        principal: Principal::new(principal),
    })
}

/// A launch to the wire.
pub fn launch_to_wire(framework: &FrameworkRef, pod: &Pod, privileged_allowed: bool) -> wire::PodLaunch {
    wire::PodLaunch {
        version: VERSION,
        framework_id: framework.id.to_string(),
        framework_name: framework.name.clone(),
        role: framework.role.to_string(),
        principal: framework.principal.to_string(),
        executor: pod.executor.to_vec().into(),
        tasks: pod.tasks.iter().map(|task| task.payload.to_vec().into()).collect(),
        privileged_allowed,
    }
}

/// A launch from the wire: for whom, what, and whether privileges are granted.
///
/// # Errors
/// Names the field that does not fit.
pub fn launch_from_wire(launch: &wire::PodLaunch) -> Result<(FrameworkRef, Pod, bool), FieldError> {
    if launch.version != VERSION {
        return Err(FieldError::new("version", format!("is {}, this agent speaks {VERSION}", launch.version)));
    }
    let framework = framework_ref(&launch.framework_id, &launch.framework_name, &launch.role, &launch.principal)?;
    let executor = if launch.executor.is_empty() {
        None
    } else {
        let decoded = mesos::ExecutorInfo::decode(launch.executor.clone());
        Some(decoded.map_err(|error| FieldError::new("executor", format!("is no ExecutorInfo: {error}")))?)
    };
    let infos = launch.tasks.iter().map(|bytes| task::info_from_payload(bytes)).collect::<Result<Vec<_>, _>>()?;
    let mut pod = task::pod_from_wire(executor.as_ref(), &infos)?;
    // The framework's own bytes, not ours encoded anew.
    pod.executor = launch.executor.to_vec().into();
    for (task, bytes) in pod.tasks.iter_mut().zip(&launch.tasks) {
        task.payload = bytes.to_vec().into();
    }
    Ok((framework, pod, launch.privileged_allowed))
}

/// From the master, to the wire.
pub fn to_agent_to_wire(message: &ToAgent, epoch: u64) -> wire::MasterMessage {
    let kind = match message {
        ToAgent::Registered { agent_id, pod_subnet, pod_range, ping_timeout } => {
            MasterKind::Registered(wire::AgentRegistered {
                agent_id: agent_id.to_string(),
                pod_subnet: pod_subnet.clone(),
                pool_pod_range: pod_range.clone(),
                ping_timeout_seconds: seconds_from_millis(ping_timeout.0),
            })
        }
        ToAgent::Refused(refusal) => MasterKind::Refused(refusal_to_wire(refusal)),
        ToAgent::Launch { framework, pod, privileged_allowed } => {
            MasterKind::Launch(launch_to_wire(framework, pod, *privileged_allowed))
        }
        ToAgent::Kill { framework_id, task_id, grace } => MasterKind::Kill(wire::KillTask {
            framework_id: framework_id.to_string(),
            task_id: task_id.to_string(),
            grace_ms: grace.map(|span| span.0),
        }),
        ToAgent::Acknowledge { framework_id, task_id, uuid } => MasterKind::Acknowledge(wire::AcknowledgeUpdate {
            framework_id: framework_id.to_string(),
            task_id: task_id.to_string(),
            uuid: uuid.0.to_be_bytes().to_vec().into(),
        }),
        ToAgent::SetHoldings { generation, holdings } => {
            MasterKind::Holdings(wire::SetHoldings { generation: *generation, holdings: resources::to_wire(holdings) })
        }
        ToAgent::Peers(peers) => {
            let peers = peers.iter().map(|peer| wire::Peer {
                agent_id: peer.agent_id.to_string(),
                address: peer.address.clone(),
                pod_subnet: peer.pod_subnet.clone(),
            });
            MasterKind::Peers(wire::Peers { peers: peers.collect() })
        }
        ToAgent::Ping { number } => MasterKind::Ping(wire::Ping { number: *number }),
        ToAgent::ShutdownFramework { framework_id } => {
            MasterKind::ShutdownFramework(wire::ShutdownFramework { framework_id: framework_id.to_string() })
        }
    };
    wire::MasterMessage { epoch, kind: Some(kind) }
}

/// From the master, from the wire: the epoch, and what it says.
///
/// # Errors
/// Names the field that does not fit.
pub fn to_agent_from_wire(message: &wire::MasterMessage) -> Result<(u64, ToAgent), FieldError> {
    let said = match message.kind.as_ref().ok_or_else(|| FieldError::missing("kind"))? {
        MasterKind::Registered(registered) => ToAgent::Registered {
            agent_id: agent_id(&registered.agent_id, "registered.agent_id")?,
            pod_subnet: registered.pod_subnet.clone(),
            pod_range: registered.pool_pod_range.clone(),
            ping_timeout: Span(millis_from_seconds(registered.ping_timeout_seconds).unwrap_or(0)),
        },
        MasterKind::Refused(refusal) => ToAgent::Refused(refusal_from_wire(refusal.clone())),
        MasterKind::Launch(launch) => {
            let (framework, pod, privileged_allowed) =
                launch_from_wire(launch).map_err(|error| error.within("launch"))?;
            ToAgent::Launch { framework, pod, privileged_allowed }
        }
        MasterKind::Kill(kill) => ToAgent::Kill {
            framework_id: framework_id(&kill.framework_id, "kill.framework_id")?,
            task_id: task_id(&kill.task_id, "kill.task_id")?,
            grace: kill.grace_ms.map(Span),
        },
        MasterKind::Acknowledge(acknowledge) => ToAgent::Acknowledge {
            framework_id: framework_id(&acknowledge.framework_id, "acknowledge.framework_id")?,
            task_id: task_id(&acknowledge.task_id, "acknowledge.task_id")?,
            uuid: task::update_id(&acknowledge.uuid, "acknowledge.uuid")?,
        },
        MasterKind::Holdings(holdings) => ToAgent::SetHoldings {
            generation: holdings.generation,
            holdings: resources::from_wire(&holdings.holdings).map_err(|error| error.of_list("holdings"))?,
        },
        MasterKind::Peers(peers) => {
            let mut list = Vec::with_capacity(peers.peers.len());
            for (i, peer) in peers.peers.iter().enumerate() {
                list.push(Peer {
                    agent_id: agent_id(&peer.agent_id, &format!("peers[{i}].agent_id"))?,
                    address: peer.address.clone(),
                    pod_subnet: peer.pod_subnet.clone(),
                });
            }
            ToAgent::Peers(list)
        }
        MasterKind::Ping(ping) => ToAgent::Ping { number: ping.number },
        MasterKind::ShutdownFramework(shutdown) => ToAgent::ShutdownFramework {
            framework_id: framework_id(&shutdown.framework_id, "shutdown_framework.framework_id")?,
        },
    };
    Ok((message.epoch, said))
}
