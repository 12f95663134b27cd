//! Scheduler calls.
use std::collections::BTreeSet;

use model::call::{Call, Filter, FrameworkInfo, Operation};
use model::task::Pod;
use model::{FrameworkId, Principal, Quantities, RoleName, Span};
use prost::Message as _;

use super::{
    FieldError, agent_id, constraint, framework_id, millis_from_seconds, offer_id, operation_id, resources, role_name,
    seconds_from_millis, task, task_id,
};
use crate::mesos::v1 as wire;
use wire::framework_info::capability::Type as Capability;
use wire::offer::operation::Type as OperationType;
use wire::scheduler as sched;
use wire::scheduler::call::Type as CallType;

/// The longest address of a framework's API.
const URL_BYTES_MAX: usize = 2048;
/// A year: longer filters mean the same (Mesos cuts there too).
const REFUSE_SECONDS_MAX: f64 = 31_536_000.0;

/// A call from the wire. `principal` is proven by the certificate.
///
/// # Errors
/// Names the field that does not fit, or says that the type is not supported.
pub fn from_wire(call: &sched::Call, principal: &Principal) -> Result<Call, FieldError> {
    let number = call.r#type.ok_or_else(|| FieldError::missing("type"))?;
    let kind = CallType::try_from(number).map_err(|_| FieldError::unknown("type", number))?;
    match kind {
        CallType::Subscribe => {
            let subscribe = call.subscribe.as_ref().ok_or_else(|| FieldError::missing("subscribe"))?;
            let info = info_from_wire(&subscribe.framework_info, principal)
                .map_err(|error| error.within("subscribe.framework_info"))?;
            if let Some(outer) = &call.framework_id
                && info.id.as_ref().map(FrameworkId::as_str) != Some(outer.value.as_str())
            {
                return Err(FieldError::new("framework_id", "differs from subscribe.framework_info.id"));
            }
            Ok(Call::Subscribe {
                info,
                suppressed: roles(&subscribe.suppressed_roles, "subscribe.suppressed_roles")?,
                constraints: constraint::from_wire(subscribe.offer_constraints.as_ref())
                    .map_err(|error| error.within("subscribe.offer_constraints"))?,
            })
        }
        CallType::UpdateFramework => {
            let update = call.update_framework.as_ref().ok_or_else(|| FieldError::missing("update_framework"))?;
            Ok(Call::UpdateFramework {
                info: info_from_wire(&update.framework_info, principal)
                    .map_err(|error| error.within("update_framework.framework_info"))?,
                suppressed: roles(&update.suppressed_roles, "update_framework.suppressed_roles")?,
                constraints: constraint::from_wire(update.offer_constraints.as_ref())
                    .map_err(|error| error.within("update_framework.offer_constraints"))?,
            })
        }
        CallType::Teardown => Ok(Call::Teardown),
        CallType::Accept => {
            let accept = call.accept.as_ref().ok_or_else(|| FieldError::missing("accept"))?;
            let mut operations = Vec::new();
            for (i, operation) in accept.operations.iter().enumerate() {
                operation_from_wire(operation, &mut operations)
                    .map_err(|error| error.within(&format!("accept.operations[{i}]")))?;
            }
            let offers = offers(&accept.offer_ids, "accept.offer_ids")?;
            Ok(Call::Accept { offers, operations, filter: filter(accept.filters.as_ref()) })
        }
        CallType::Decline => {
            let decline = call.decline.as_ref().ok_or_else(|| FieldError::missing("decline"))?;
            let offers = offers(&decline.offer_ids, "decline.offer_ids")?;
            Ok(Call::Decline { offers, filter: filter(decline.filters.as_ref()) })
        }
        CallType::Revive => {
            let names = call.revive.as_ref().map(|revive| revive.roles.as_slice()).unwrap_or_default();
            Ok(Call::Revive { roles: roles(names, "revive.roles")? })
        }
        CallType::Suppress => {
            let names = call.suppress.as_ref().map(|suppress| suppress.roles.as_slice()).unwrap_or_default();
            Ok(Call::Suppress { roles: roles(names, "suppress.roles")? })
        }
        CallType::Kill => {
            let kill = call.kill.as_ref().ok_or_else(|| FieldError::missing("kill"))?;
            let grace = kill.kill_policy.as_ref().and_then(|policy| policy.grace_period.as_ref());
            Ok(Call::Kill {
                task_id: task_id(&kill.task_id.value, "kill.task_id")?,
                agent_id: kill.agent_id.as_ref().map(|id| agent_id(&id.value, "kill.agent_id")).transpose()?,
                grace: grace.map(|grace| Span(u64::try_from(grace.nanoseconds / 1_000_000).unwrap_or(0))),
            })
        }
        CallType::Acknowledge => {
            let acknowledge = call.acknowledge.as_ref().ok_or_else(|| FieldError::missing("acknowledge"))?;
            Ok(Call::Acknowledge {
                agent_id: agent_id(&acknowledge.agent_id.value, "acknowledge.agent_id")?,
                task_id: task_id(&acknowledge.task_id.value, "acknowledge.task_id")?,
                uuid: task::update_id(&acknowledge.uuid, "acknowledge.uuid")?,
            })
        }
        CallType::Reconcile => {
            let reconcile = call.reconcile.as_ref().ok_or_else(|| FieldError::missing("reconcile"))?;
            let mut tasks = Vec::with_capacity(reconcile.tasks.len());
            for (i, task) in reconcile.tasks.iter().enumerate() {
                let agent = task.agent_id.as_ref();
                tasks.push((
                    task_id(&task.task_id.value, &format!("reconcile.tasks[{i}].task_id"))?,
                    agent.map(|id| agent_id(&id.value, &format!("reconcile.tasks[{i}].agent_id"))).transpose()?,
                ));
            }
            Ok(Call::Reconcile { tasks })
        }
        CallType::AcceptInverseOffers => {
            let accept = call.accept_inverse_offers.as_ref();
            let accept = accept.ok_or_else(|| FieldError::missing("accept_inverse_offers"))?;
            let field = "accept_inverse_offers.inverse_offer_ids";
            let offers = self::offers(&accept.inverse_offer_ids, field)?;
            Ok(Call::AcceptInverseOffers { offers, filter: inverse_filter(accept.filters.as_ref()) })
        }
        CallType::DeclineInverseOffers => {
            let decline = call.decline_inverse_offers.as_ref();
            let decline = decline.ok_or_else(|| FieldError::missing("decline_inverse_offers"))?;
            let field = "decline_inverse_offers.inverse_offer_ids";
            let offers = self::offers(&decline.inverse_offer_ids, field)?;
            Ok(Call::DeclineInverseOffers { offers, filter: inverse_filter(decline.filters.as_ref()) })
        }
        CallType::AcknowledgeOperationStatus => {
            let acknowledge = call.acknowledge_operation_status.as_ref();
            let acknowledge = acknowledge.ok_or_else(|| FieldError::missing("acknowledge_operation_status"))?;
            let path = |field: &str| format!("acknowledge_operation_status.{field}");
            let agent = acknowledge.agent_id.as_ref();
            Ok(Call::AcknowledgeOperation {
                agent_id: agent.map(|id| agent_id(&id.value, &path("agent_id"))).transpose()?,
                operation_id: operation_id(&acknowledge.operation_id.value, &path("operation_id"))?,
                uuid: task::update_id(&acknowledge.uuid, &path("uuid"))?,
            })
        }
        CallType::ReconcileOperations => {
            let reconcile = call.reconcile_operations.as_ref();
            let reconcile = reconcile.ok_or_else(|| FieldError::missing("reconcile_operations"))?;
            let mut operations = Vec::with_capacity(reconcile.operations.len());
            for (i, operation) in reconcile.operations.iter().enumerate() {
                let path = |field: &str| format!("reconcile_operations.operations[{i}].{field}");
                let agent = operation.agent_id.as_ref();
                operations.push((
                    operation_id(&operation.operation_id.value, &path("operation_id"))?,
                    agent.map(|id| agent_id(&id.value, &path("agent_id"))).transpose()?,
                ));
            }
            Ok(Call::ReconcileOperations { operations })
        }
        CallType::Unknown | CallType::Shutdown | CallType::Message | CallType::Request => {
            Err(FieldError::new("type", format!("is a call that this master does not support: {}", kind.as_str_name())))
        }
    }
}

fn info_from_wire(info: &wire::FrameworkInfo, principal: &Principal) -> Result<FrameworkInfo, FieldError> {
    if info.name.is_empty() || info.name.len() > 255 {
        return Err(FieldError::new("name", "must have 1 to 255 bytes"));
    }
    if info.webui_url.as_ref().is_some_and(|url| url.len() > URL_BYTES_MAX) {
        return Err(FieldError::new("webui_url", format!("has more than {URL_BYTES_MAX} bytes")));
    }
    if let Some(claimed) = &info.principal
        && claimed != principal.as_str()
    {
        return Err(FieldError::new("principal", format!("is not the certificate's, {principal}")));
    }
    let multi = info.capabilities.iter().any(|c| c.r#type == Some(Capability::MultiRole.into()));
    let roles = if multi {
        roles(&info.roles, "roles")?
    } else if info.roles.is_empty() {
        BTreeSet::from([role_name(info.role.as_deref().unwrap_or("*"), "role")?])
    } else {
        return Err(FieldError::new("roles", "needs the capability MULTI_ROLE"));
    };
    let timeout = info.failover_timeout.unwrap_or(0.0);
    let failover_timeout = millis_from_seconds(timeout)
        .ok_or_else(|| FieldError::new("failover_timeout", format!("is no duration: {timeout}")))?;
    Ok(FrameworkInfo {
        id: info.id.as_ref().map(|id| framework_id(&id.value, "id")).transpose()?,
        name: info.name.clone(),
        roles,
        failover_timeout: Span(failover_timeout),
        api_url: info.webui_url.clone(),
        principal: principal.clone(),
        capabilities: info.capabilities.iter().filter_map(capability_from_wire).collect(),
        offer_filters: info
            .offer_filters
            .iter()
            .map(|(role, filters)| {
                let path = format!("offer_filters[{role}]");
                Ok((role_name(role, &path)?, min_allocatable(filters).map_err(|error| error.within(&path))?))
            })
            .collect::<Result<_, FieldError>>()?,
    })
}

/// What every framework of mezzo has anyway, and what nobody here knows, says nothing.
fn capability_from_wire(capability: &wire::framework_info::Capability) -> Option<model::call::Capability> {
    match Capability::try_from(capability.r#type?).ok()? {
        Capability::RevocableResources => Some(model::call::Capability::RevocableResources),
        Capability::GpuResources => Some(model::call::Capability::GpuResources),
        Capability::SharedResources => Some(model::call::Capability::SharedResources),
        Capability::RegionAware => Some(model::call::Capability::RegionAware),
        Capability::Unknown
        | Capability::TaskKillingState
        | Capability::PartitionAware
        | Capability::MultiRole
        | Capability::ReservationRefinement => None,
    }
}

fn capability_to_wire(capability: model::call::Capability) -> Capability {
    match capability {
        model::call::Capability::RevocableResources => Capability::RevocableResources,
        model::call::Capability::GpuResources => Capability::GpuResources,
        model::call::Capability::SharedResources => Capability::SharedResources,
        model::call::Capability::RegionAware => Capability::RegionAware,
    }
}

fn min_allocatable(filters: &wire::OfferFilters) -> Result<Vec<Quantities>, FieldError> {
    let sets = filters.min_allocatable_resources.iter().flat_map(|sets| &sets.quantities);
    sets.map(|set| {
        let mut quantities = Quantities::default();
        for (name, scalar) in &set.quantities {
            let path = format!("min_allocatable_resources.quantities[{name}]");
            resources::check_name(name, || path.clone())?;
            if name == "ports" {
                return Err(FieldError::new(path, "is no scalar"));
            }
            quantities.set_scalar(name, resources::milli(scalar.value, &path)?);
        }
        Ok(quantities)
    })
    .collect()
}

fn roles(names: &[String], path: &str) -> Result<BTreeSet<RoleName>, FieldError> {
    names.iter().enumerate().map(|(i, name)| role_name(name, &format!("{path}[{i}]"))).collect()
}

fn offers(ids: &[wire::OfferId], path: &str) -> Result<Vec<model::OfferId>, FieldError> {
    ids.iter().enumerate().map(|(i, id)| offer_id(&id.value, &format!("{path}[{i}]"))).collect()
}

fn filter(filters: Option<&wire::Filters>) -> Filter {
    // Missing, negative and unreadable mean the default, as in Mesos.
    let seconds = filters.and_then(|filters| filters.refuse_seconds).filter(|s| s.is_finite() && *s >= 0.0);
    match seconds.and_then(|seconds| millis_from_seconds(seconds.min(REFUSE_SECONDS_MAX))) {
        Some(millis) => Filter { refuse: Span(millis) },
        None => Filter::default(),
    }
}

/// Who sends no filter is not asked again by itself; who sends one without a length means the default.
fn inverse_filter(filters: Option<&wire::Filters>) -> Option<Filter> {
    filters.map(|filters| filter(Some(filters)))
}

fn operation_from_wire(operation: &wire::offer::Operation, out: &mut Vec<Operation>) -> Result<(), FieldError> {
    let first = out.len();
    one_operation_from_wire(operation, out)?;
    let Some(id) = &operation.id else { return Ok(()) };
    let id = operation_id(&id.value, "id")?;
    let done = out.drain(first..).next();
    match done {
        Some(Operation::Launch(_)) | None => {
            Err(FieldError::new("id", "is given to a launch: what becomes of tasks is told by their own updates"))
        }
        Some(done) => {
            out.push(Operation::Identified { id, operation: Box::new(done) });
            Ok(())
        }
    }
}

fn one_operation_from_wire(operation: &wire::offer::Operation, out: &mut Vec<Operation>) -> Result<(), FieldError> {
    let number = operation.r#type.ok_or_else(|| FieldError::missing("type"))?;
    let kind = OperationType::try_from(number).map_err(|_| FieldError::unknown("type", number))?;
    match kind {
        OperationType::Launch => {
            let launch = operation.launch.as_ref().ok_or_else(|| FieldError::missing("launch"))?;
            for (i, info) in launch.task_infos.iter().enumerate() {
                let pod = task::pod_from_wire(None, std::slice::from_ref(info))
                    .map_err(|error| error.within(&format!("launch.task_infos[{i}]")))?;
                out.push(Operation::Launch(pod));
            }
        }
        OperationType::LaunchGroup => {
            let group = operation.launch_group.as_ref().ok_or_else(|| FieldError::missing("launch_group"))?;
            let pod = task::pod_from_wire(Some(&group.executor), &group.task_group.tasks)
                .map_err(|error| error.within("launch_group"))?;
            out.push(Operation::Launch(pod));
        }
        OperationType::Reserve => {
            let reserve = operation.reserve.as_ref().ok_or_else(|| FieldError::missing("reserve"))?;
            if !reserve.source.is_empty() {
                let problem = "is for operators: a framework unreserves and reserves anew";
                return Err(FieldError::new("reserve.source", problem));
            }
            out.push(Operation::Reserve(part(&reserve.resources, "reserve")?));
        }
        OperationType::Unreserve => {
            let unreserve = operation.unreserve.as_ref().ok_or_else(|| FieldError::missing("unreserve"))?;
            out.push(Operation::Unreserve(part(&unreserve.resources, "unreserve")?));
        }
        OperationType::Create => {
            let create = operation.create.as_ref().ok_or_else(|| FieldError::missing("create"))?;
            out.push(Operation::Create(part(&create.volumes, "create")?));
        }
        OperationType::Destroy => {
            let destroy = operation.destroy.as_ref().ok_or_else(|| FieldError::missing("destroy"))?;
            out.push(Operation::Destroy(part(&destroy.volumes, "destroy")?));
        }
        OperationType::GrowVolume => {
            let grow = operation.grow_volume.as_ref().ok_or_else(|| FieldError::missing("grow_volume"))?;
            out.push(Operation::Grow {
                volume: part(std::slice::from_ref(&grow.volume), "grow_volume.volume")?,
                addition: part(std::slice::from_ref(&grow.addition), "grow_volume.addition")?,
            });
        }
        OperationType::ShrinkVolume => {
            let shrink = operation.shrink_volume.as_ref().ok_or_else(|| FieldError::missing("shrink_volume"))?;
            out.push(Operation::Shrink {
                volume: part(std::slice::from_ref(&shrink.volume), "shrink_volume.volume")?,
                subtract: resources::milli(shrink.subtract.value, "shrink_volume.subtract.value")?,
            });
        }
        OperationType::Unknown => return Err(FieldError::unknown("type", number)),
    }
    Ok(())
}

fn part(list: &[wire::Resource], path: &str) -> Result<model::Resources, FieldError> {
    resources::from_wire(list).map_err(|error| error.within(path))
}

/// A call to the wire.
///
/// # Errors
/// A payload is no `TaskInfo` or `ExecutorInfo`.
pub fn to_wire(call: &Call, framework_id: Option<&FrameworkId>) -> Result<sched::Call, FieldError> {
    let mut out = sched::Call {
        framework_id: framework_id.map(|id| wire::FrameworkId { value: id.to_string() }),
        ..sched::Call::default()
    };
    let names = |roles: &BTreeSet<RoleName>| roles.iter().map(ToString::to_string).collect::<Vec<_>>();
    let kind = match call {
        Call::Subscribe { info, suppressed, constraints } => {
            out.framework_id = info.id.as_ref().map(|id| wire::FrameworkId { value: id.to_string() });
            out.subscribe = Some(sched::call::Subscribe {
                framework_info: info_to_wire(info),
                suppressed_roles: names(suppressed),
                offer_constraints: constraint::to_wire(constraints),
            });
            CallType::Subscribe
        }
        Call::UpdateFramework { info, suppressed, constraints } => {
            out.update_framework = Some(sched::call::UpdateFramework {
                framework_info: info_to_wire(info),
                suppressed_roles: names(suppressed),
                offer_constraints: constraint::to_wire(constraints),
            });
            CallType::UpdateFramework
        }
        Call::Teardown => CallType::Teardown,
        Call::Accept { offers, operations, filter } => {
            out.accept = Some(sched::call::Accept {
                offer_ids: offers.iter().map(offer_to_wire).collect(),
                operations: operations.iter().map(operation_to_wire).collect::<Result<_, _>>()?,
                filters: Some(filter_to_wire(*filter)),
            });
            CallType::Accept
        }
        Call::Decline { offers, filter } => {
            out.decline = Some(sched::call::Decline {
                offer_ids: offers.iter().map(offer_to_wire).collect(),
                filters: Some(filter_to_wire(*filter)),
            });
            CallType::Decline
        }
        Call::Revive { roles } => {
            out.revive = Some(sched::call::Revive { roles: names(roles) });
            CallType::Revive
        }
        Call::Suppress { roles } => {
            out.suppress = Some(sched::call::Suppress { roles: names(roles) });
            CallType::Suppress
        }
        Call::Kill { task_id, agent_id, grace } => {
            let grace = grace.map(|span| wire::DurationInfo {
                nanoseconds: i64::try_from(span.0).unwrap_or(i64::MAX).saturating_mul(1_000_000),
            });
            out.kill = Some(sched::call::Kill {
                task_id: wire::TaskId { value: task_id.to_string() },
                agent_id: agent_id.as_ref().map(|id| wire::AgentId { value: id.to_string() }),
                kill_policy: grace.map(|grace| wire::KillPolicy { grace_period: Some(grace) }),
            });
            CallType::Kill
        }
        Call::Acknowledge { agent_id, task_id, uuid } => {
            out.acknowledge = Some(sched::call::Acknowledge {
                agent_id: wire::AgentId { value: agent_id.to_string() },
                task_id: wire::TaskId { value: task_id.to_string() },
                uuid: uuid.0.to_be_bytes().to_vec().into(),
            });
            CallType::Acknowledge
        }
        Call::AcknowledgeOperation { agent_id, operation_id, uuid } => {
            out.acknowledge_operation_status = Some(sched::call::AcknowledgeOperationStatus {
                agent_id: agent_id.as_ref().map(|id| wire::AgentId { value: id.to_string() }),
                operation_id: wire::OperationId { value: operation_id.to_string() },
                uuid: uuid.0.to_be_bytes().to_vec().into(),
            });
            CallType::AcknowledgeOperationStatus
        }
        Call::ReconcileOperations { operations } => {
            let operations =
                operations.iter().map(|(operation_id, agent_id)| sched::call::reconcile_operations::Operation {
                    operation_id: wire::OperationId { value: operation_id.to_string() },
                    agent_id: agent_id.as_ref().map(|id| wire::AgentId { value: id.to_string() }),
                });
            out.reconcile_operations = Some(sched::call::ReconcileOperations { operations: operations.collect() });
            CallType::ReconcileOperations
        }
        Call::Reconcile { tasks } => {
            let tasks = tasks.iter().map(|(task_id, agent_id)| sched::call::reconcile::Task {
                task_id: wire::TaskId { value: task_id.to_string() },
                agent_id: agent_id.as_ref().map(|id| wire::AgentId { value: id.to_string() }),
            });
            out.reconcile = Some(sched::call::Reconcile { tasks: tasks.collect() });
            CallType::Reconcile
        }
        Call::AcceptInverseOffers { offers, filter } => {
            let inverse_offer_ids = offers.iter().map(offer_to_wire).collect();
            let filters = filter.map(filter_to_wire);
            out.accept_inverse_offers = Some(sched::call::AcceptInverseOffers { inverse_offer_ids, filters });
            CallType::AcceptInverseOffers
        }
        Call::DeclineInverseOffers { offers, filter } => {
            let inverse_offer_ids = offers.iter().map(offer_to_wire).collect();
            let filters = filter.map(filter_to_wire);
            out.decline_inverse_offers = Some(sched::call::DeclineInverseOffers { inverse_offer_ids, filters });
            CallType::DeclineInverseOffers
        }
    };
    out.r#type = Some(kind.into());
    Ok(out)
}

fn info_to_wire(info: &FrameworkInfo) -> wire::FrameworkInfo {
    let capabilities = [Capability::MultiRole, Capability::PartitionAware, Capability::ReservationRefinement];
    wire::FrameworkInfo {
        user: "root".to_owned(),
        name: info.name.clone(),
        id: info.id.as_ref().map(|id| wire::FrameworkId { value: id.to_string() }),
        failover_timeout: Some(seconds_from_millis(info.failover_timeout.0)),
        checkpoint: Some(true),
        principal: Some(info.principal.to_string()),
        webui_url: info.api_url.clone(),
        capabilities: capabilities
            .into_iter()
            .chain(info.capabilities.iter().copied().map(capability_to_wire))
            .map(|kind| wire::framework_info::Capability { r#type: Some(kind.into()) })
            .collect(),
        roles: info.roles.iter().map(ToString::to_string).collect(),
        offer_filters: info
            .offer_filters
            .iter()
            .map(|(role, sets)| (role.to_string(), filters_to_wire(sets)))
            .collect(),
        ..wire::FrameworkInfo::default()
    }
}

fn filters_to_wire(sets: &[Quantities]) -> wire::OfferFilters {
    use wire::offer_filters::{MinAllocatableResources, ResourceQuantities};
    let set = |set: &Quantities| ResourceQuantities {
        quantities: set
            .scalars()
            .filter(|(_, amount)| amount.0 != 0)
            .map(|(name, amount)| (name.to_owned(), wire::value::Scalar { value: resources::units(amount) }))
            .collect(),
    };
    let quantities = sets.iter().map(set).collect();
    wire::OfferFilters { min_allocatable_resources: Some(MinAllocatableResources { quantities }) }
}

fn offer_to_wire(id: &model::OfferId) -> wire::OfferId {
    wire::OfferId { value: id.to_string() }
}

fn filter_to_wire(filter: Filter) -> wire::Filters {
    wire::Filters { refuse_seconds: Some(seconds_from_millis(filter.refuse.0)) }
}

fn operation_to_wire(operation: &Operation) -> Result<wire::offer::Operation, FieldError> {
    let mut out = wire::offer::Operation::default();
    let kind = match operation {
        Operation::Launch(pod) if pod.executor.is_empty() => {
            out.launch = Some(wire::offer::operation::Launch { task_infos: infos(pod)? });
            OperationType::Launch
        }
        Operation::Launch(pod) => {
            let executor = wire::ExecutorInfo::decode(&*pod.executor)
                .map_err(|error| FieldError::new("executor", format!("is no ExecutorInfo: {error}")))?;
            let task_group = wire::TaskGroupInfo { tasks: infos(pod)? };
            out.launch_group = Some(wire::offer::operation::LaunchGroup { executor, task_group });
            OperationType::LaunchGroup
        }
        Operation::Reserve(part) => {
            out.reserve =
                Some(wire::offer::operation::Reserve { resources: resources::to_wire(part), source: Vec::new() });
            OperationType::Reserve
        }
        Operation::Unreserve(part) => {
            out.unreserve = Some(wire::offer::operation::Unreserve { resources: resources::to_wire(part) });
            OperationType::Unreserve
        }
        Operation::Create(part) => {
            out.create = Some(wire::offer::operation::Create { volumes: resources::to_wire(part) });
            OperationType::Create
        }
        Operation::Destroy(part) => {
            out.destroy = Some(wire::offer::operation::Destroy { volumes: resources::to_wire(part) });
            OperationType::Destroy
        }
        Operation::Grow { volume, addition } => {
            out.grow_volume = Some(wire::offer::operation::GrowVolume {
                volume: only_one(volume, "grow_volume.volume")?,
                addition: only_one(addition, "grow_volume.addition")?,
            });
            OperationType::GrowVolume
        }
        Operation::Shrink { volume, subtract } => {
            out.shrink_volume = Some(wire::offer::operation::ShrinkVolume {
                volume: only_one(volume, "shrink_volume.volume")?,
                subtract: wire::value::Scalar { value: resources::units(*subtract) },
            });
            OperationType::ShrinkVolume
        }
        Operation::Identified { id, operation } => {
            let id = Some(wire::OperationId { value: id.to_string() });
            return Ok(wire::offer::Operation { id, ..operation_to_wire(operation)? });
        }
    };
    out.r#type = Some(kind.into());
    Ok(out)
}

fn only_one(part: &model::Resources, path: &str) -> Result<wire::Resource, FieldError> {
    let mut list = resources::to_wire(part);
    match (list.pop(), list.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_) | None, _) => Err(FieldError::new(path, "must be one resource")),
    }
}

fn infos(pod: &Pod) -> Result<Vec<wire::TaskInfo>, FieldError> {
    pod.tasks.iter().map(|task| task::info_from_payload(&task.payload)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_survive_the_wire() {
        let principal = Principal::new("framework/web");
        let role = RoleName::new("web").expect("valid");
        let id = model::TaskId::new("t").expect("valid");
        let agent = model::AgentId::new("a").expect("valid");
        let info = FrameworkInfo {
            id: Some(FrameworkId::new("f").expect("valid")),
            name: "web".to_owned(),
            roles: BTreeSet::from([role.clone()]),
            failover_timeout: Span::seconds(60),
            api_url: None,
            principal: principal.clone(),
            capabilities: [model::call::Capability::GpuResources, model::call::Capability::RegionAware].into(),
            offer_filters: [
                (role.clone(), vec![Quantities { cpus: model::Milli(100), ..Quantities::default() }]),
                (RoleName::new("other").expect("valid"), vec![]),
            ]
            .into(),
        };
        let constraints = constraint::example(&role);
        let suppressed = BTreeSet::from([role.clone()]);
        let operation = model::OperationId::new("o").expect("valid");
        let reservation = model::Reservation::new(role.clone(), principal.clone(), Default::default());
        let disk = |volume, amount| {
            let quantities = model::Quantities::of_disk(None, model::Milli::units(amount));
            model::Resources::held_as(model::Holding { reservation: reservation.clone(), volume }, quantities)
        };
        let volume = Some(model::Volume::new(model::VolumeId::new("v").expect("valid"), "data"));
        let operations = vec![
            Operation::Grow { volume: disk(volume.clone(), 5), addition: disk(None, 3) },
            Operation::Identified {
                id: operation.clone(),
                operation: Box::new(Operation::Shrink { volume: disk(volume, 8), subtract: model::Milli::units(2) }),
            },
        ];
        for call in [
            Call::Subscribe { info: info.clone(), suppressed: suppressed.clone(), constraints: constraints.clone() },
            Call::UpdateFramework { info, suppressed, constraints },
            Call::Teardown,
            Call::Accept { offers: vec![], operations: vec![], filter: Filter { refuse: Span(0) } },
            Call::Revive { roles: BTreeSet::from([role]) },
            Call::Suppress { roles: BTreeSet::new() },
            Call::Kill { task_id: id.clone(), agent_id: None, grace: Some(Span(1500)) },
            Call::Acknowledge { agent_id: agent.clone(), task_id: id.clone(), uuid: model::UpdateId(9) },
            Call::AcknowledgeOperation {
                agent_id: Some(agent.clone()),
                operation_id: operation.clone(),
                uuid: model::UpdateId(7),
            },
            Call::ReconcileOperations { operations: vec![(operation, Some(agent.clone()))] },
            Call::Accept { offers: vec![], operations, filter: Filter::default() },
            Call::AcceptInverseOffers { offers: vec![], filter: None },
            Call::DeclineInverseOffers { offers: vec![], filter: Some(Filter { refuse: Span(1500) }) },
            Call::Reconcile { tasks: vec![(id, Some(agent))] },
        ] {
            let wire = to_wire(&call, None).expect("fits");
            assert_eq!(from_wire(&wire, &principal), Ok(call));
        }
    }

    #[test]
    fn a_call_without_its_member_is_refused_with_the_member_s_name() {
        let call = sched::Call { r#type: Some(CallType::Kill.into()), ..sched::Call::default() };
        assert_eq!(from_wire(&call, &Principal::new("framework/x")), Err(FieldError::missing("kill")));
    }
}
