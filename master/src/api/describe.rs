//! Views as operators' messages.
use std::collections::BTreeMap;

use master_core::view::{AgentStateView, AgentView, FrameworkView, RoleView, TaskView};
use model::{Holding, Milli, Quantities, Resources, Timestamp};
use proto::mezzo::v1 as wire;

use super::Context;
use crate::registry::record::millis;
use crate::runner::now;
use crate::view::View;
use crate::vips;

pub(super) fn master(context: &Context) -> wire::MasterDescription {
    let view = context.view.read();
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    wire::MasterDescription {
        id: context.pool.master_id.clone(),
        epoch: context.pool.epoch,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        address: context.advertise.to_string(),
        started_unix_ms: millis(context.started),
        agents: count(view.agents.len()),
        frameworks: count(view.frameworks.len()),
        tasks: count(view.tasks.len()),
        pool: context.pool.name.clone(),
    }
}

pub(super) fn quantities(quantities: &Quantities) -> wire::Quantities {
    // Memory and disk are thousandths of a MiB.
    let bytes = |amount: Milli| i64::try_from(i128::from(amount.0) * 1024 * 1024 / 1000).unwrap_or(i64::MAX);
    wire::Quantities {
        text: quantities.to_string(),
        cpus_milli: quantities.cpus.0,
        mem_bytes: bytes(quantities.mem),
        disk_bytes: bytes(quantities.disk),
        gpus_milli: quantities.gpus.0,
        ports: quantities.ports.to_string(),
    }
}

/// What may be taken back is named and not counted: it is promised to others.
fn sum(resources: &Resources) -> Option<wire::Quantities> {
    let mut firm = quantities(&resources.firm());
    if !resources.revocable.is_empty() {
        firm.text = format!("{} + {} revocable", firm.text, resources.revocable);
    }
    Some(firm)
}

pub(super) fn agent(view: &View, agent: &AgentView) -> wire::AgentDescription {
    let holdings = agent.holdings.held.iter().map(|(holding, held)| {
        let role = &holding.reservation.role;
        match &holding.volume {
            Some(volume) => format!("volume {} for role {role}: {held}", volume.id),
            None => format!("reserved for role {role}: {held}"),
        }
    });
    let drain = agent.mode.drain();
    wire::AgentDescription {
        id: agent.id.to_string(),
        name: agent.name.clone(),
        address: agent.address.clone(),
        port: agent.port.into(),
        state: agent.state.word().to_owned(),
        total: sum(&agent.total),
        allocated: sum(&agent.allocated),
        offered: sum(&agent.offered),
        free: sum(&agent.free),
        pod_subnet: agent.pod_subnet.clone(),
        region: agent.region.clone(),
        zone: agent.zone.clone(),
        attributes: agent.attributes.clone().into_iter().collect(),
        holdings: holdings.collect(),
        registered_unix_ms: millis(agent.registered),
        version: agent.software.clone(),
        mode: agent.mode.word().to_owned(),
        drain_deadline_unix_ms: drain.map_or(0, |drain| millis(drain.deadline)),
        drain_mark_gone: drain.is_some_and(|drain| drain.mark_gone),
        tasks: u32::try_from(agent.tasks).unwrap_or(u32::MAX),
        orphans: orphans(agent),
        maintenance_start_unix_ms: agent.maintenance.map_or(0, |window| millis(window.start)),
        maintenance_duration_ms: agent
            .maintenance
            .and_then(|window| window.duration)
            .map_or(0, |span| i64::try_from(span.0).unwrap_or(i64::MAX)),
        inverse_answers: agent
            .answers
            .iter()
            .map(|(framework_id, accepted)| wire::InverseAnswer {
                framework: view.framework_name(framework_id).to_owned(),
                accepted: *accepted,
            })
            .collect(),
    }
}

/// What lies on an agent that is away, with whose it is.
fn orphans(agent: &AgentView) -> Vec<wire::Orphan> {
    if matches!(agent.state, AgentStateView::Connected | AgentStateView::Gone) {
        return Vec::new();
    }
    let one = |(holding, held): (&Holding, &Quantities), freed: bool| {
        let reservation = &holding.reservation;
        let label = |name: &str| reservation.labels.get(name).cloned().unwrap_or_default();
        let principal = reservation.principal.as_str();
        let framework = principal.strip_prefix("framework/").unwrap_or(principal).to_owned();
        wire::Orphan {
            role: reservation.role.to_string(),
            framework: if label("framework").is_empty() { framework } else { label("framework") },
            unit: label("unit"),
            volume: holding.volume.as_ref().map(|volume| volume.id.to_string()).unwrap_or_default(),
            resources: Some(quantities(held)),
            freed,
        }
    };
    let kept = agent.holdings.held.iter().map(|entry| one(entry, false));
    kept.chain(agent.orphans.held.iter().map(|entry| one(entry, true))).collect()
}

pub(super) fn framework(framework: &FrameworkView) -> wire::FrameworkDescription {
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let seconds = u32::try_from(framework.failover_timeout.0 / 1000).unwrap_or(u32::MAX);
    wire::FrameworkDescription {
        id: framework.id.to_string(),
        name: framework.name.clone(),
        principal: framework.principal.to_string(),
        roles: framework.roles.iter().map(ToString::to_string).collect(),
        state: framework.state.word().to_owned(),
        tasks: count(framework.tasks),
        offers: count(framework.offers),
        api_url: framework.api_url.clone().unwrap_or_default(),
        failover_timeout_seconds: seconds.into(),
    }
}

pub(super) fn role(view: &View, role: &RoleView) -> wire::RoleDescription {
    let mut consumed = Quantities::default();
    for (name, amount) in &role.consumed {
        consumed.set_scalar(name, Milli(*amount));
    }
    wire::RoleDescription {
        name: role.name.to_string(),
        weight: f64::from(u32::try_from(role.weight_milli).unwrap_or(u32::MAX)) / 1000.0,
        frameworks: u32::try_from(role.frameworks).unwrap_or(u32::MAX),
        share_ppm: u32::try_from(role.share_ppm).unwrap_or(u32::MAX),
        allocated: Some(quantities(&consumed)),
        guarantees: Some(amounts(role.quota.guarantees.iter().map(|(name, amount)| (name, amount.0)))),
        limits: Some(amounts(role.quota.limits.iter().map(|(name, amount)| (name, amount.0)))),
        limits_in_force: limits_in_force(view, role),
        counted: Some(amounts(role.counted.iter().map(|(name, amount)| (name, *amount)))),
    }
}

fn amounts<'a>(amounts: impl Iterator<Item = (&'a String, i64)>) -> wire::Amounts {
    let units = |amount| proto::convert::resources::units(Milli(amount));
    wire::Amounts { scalars: amounts.map(|(name, amount)| (name.clone(), units(amount))).collect() }
}

/// The tightest limit on each scalar, from the role up.
fn limits_in_force(view: &View, role: &RoleView) -> Vec<wire::LimitInForce> {
    let mut tightest: BTreeMap<&String, (i64, i64, &RoleView)> = BTreeMap::new();
    for name in std::iter::successors(Some(role.name.clone()), model::RoleName::parent) {
        let Some(above) = view.roles.get(&name) else { continue };
        for (scalar, limit) in &above.quota.limits {
            let left = limit.0 - above.counted.get(scalar).copied().unwrap_or(0);
            let entry = tightest.entry(scalar).or_insert((left, limit.0, above));
            if left < entry.0 {
                *entry = (left, limit.0, above);
            }
        }
    }
    let units = |amount| proto::convert::resources::units(Milli(amount));
    let in_force = tightest.into_iter().map(|(name, (left, limit, above))| wire::LimitInForce {
        name: name.clone(),
        limit: units(limit),
        role: above.name.to_string(),
        left: units(left.max(0)),
    });
    in_force.collect()
}

pub(super) fn vips(view: &View) -> Vec<wire::VipDescription> {
    let now = now();
    let mut out = Vec::new();
    for vip in vips::all(view) {
        let described = wire::VipDescription {
            name: vip.name.to_owned(),
            framework_id: vip.framework.id.to_string(),
            framework: vip.framework.name.clone(),
            address: vip.address.to_string(),
            port: 0,
            backends: Vec::new(),
        };
        if vip.ports.is_empty() {
            out.push(described.clone());
        }
        for (port, behind) in &vip.ports {
            let backends = behind.iter().map(|behind| wire::VipBackend {
                task: behind.task.head.task_id.to_string(),
                agent: behind.agent.map(|agent| agent.name.clone()).unwrap_or_default(),
                address: behind.agent.map(|agent| agent.address.clone()).unwrap_or_default(),
                port: behind.port.into(),
                out: behind.out(now).unwrap_or_default(),
            });
            let backends = backends.collect();
            out.push(wire::VipDescription { port: u32::from(*port), backends, ..described.clone() });
        }
    }
    out
}

pub(super) fn task(view: &View, task: &TaskView) -> wire::TaskDescription {
    let agent = view.agents.get(&task.agent_id);
    let at = |time: Option<Timestamp>| time.map_or(0, millis);
    let state = proto::mesos::v1::TaskState::try_from(proto::convert::task::state_to_wire(task.status.state));
    wire::TaskDescription {
        id: task.head.task_id.to_string(),
        name: task.head.name.clone(),
        framework_id: task.framework_id.to_string(),
        framework: view.framework_name(&task.framework_id).to_owned(),
        agent_id: task.agent_id.to_string(),
        agent: agent.map(|agent| agent.name.clone()).unwrap_or_default(),
        state: state.map(|state| state.as_str_name().to_owned()).unwrap_or_default(),
        reason: task.status.reason.map(|reason| reason.in_words().to_owned()).unwrap_or_default(),
        message: task.status.message.clone(),
        resources: sum(&task.head.resources),
        launched_unix_ms: millis(task.launched),
        running_unix_ms: at(task.running),
        ended_unix_ms: at(task.ended),
        healthy: task.status.healthy,
        ready: task.status.ready,
        executor_id: task.executor_id.to_string(),
        agent_address: agent.map(|agent| agent.address.clone()).unwrap_or_default(),
        agent_port: agent.map(|agent| u32::from(agent.port)).unwrap_or_default(),
        pod_id: task.executor_id.to_string(),
    }
}
