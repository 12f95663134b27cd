//! What must hold in the end, when nothing breaks any more.
use std::collections::BTreeSet;

use master_core::view::{AgentStateView, AgentView};
use model::{FrameworkId, TaskId, TaskState};

use crate::world::World;

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// Everybody is there, everybody has what it wants, and all agree on what runs.
pub(crate) fn is_settled(world: &World) -> Result<(), String> {
    everybody_is_there(world)?;
    all_agree(world)?;
    for host in &world.frameworks {
        ensure(host.live() >= host.goal, || {
            let free: Vec<_> = world.master.agents.values().map(|view| view.free.to_string()).collect();
            format!("{} has {} of {} tasks; free: {free:?}; {host:?}", host.name, host.live(), host.goal)
        })?;
    }
    for host in &world.services {
        let plans = host.core.as_ref().map(framework_core::Scheduler::plan_views).unwrap_or_default();
        ensure(!plans.is_empty(), || format!("{} has no plan", host.name))?;
        if let Some(plan) = plans.iter().find(|plan| !plan.is_complete()) {
            return Err(format!("{}: plan {} is not complete: {plan:?}", host.name, plan.name));
        }
    }
    for view in world.master.agents.values() {
        ensure(view.operations == 0 || view.state == AgentStateView::Gone, || {
            format!("{} operations on {} are not acknowledged", view.operations, view.id)
        })?;
    }
    allocated_is_used(world)
}

/// What the master counts as used on an agent is what its pods take, executors included.
fn allocated_is_used(world: &World) -> Result<(), String> {
    nothing_is_kept_in_vain(world)?;
    for core in world.agents.iter().filter_map(|host| host.core.as_ref()) {
        let (mut used, mut executors) = (model::Resources::default(), BTreeSet::new());
        for task in core.tasks().filter(|task| !task.latest.state.is_terminal()) {
            used.add(&task.head.resources);
            if executors.insert((task.framework.id.clone(), task.executor_id.clone())) {
                used.add(&task.executor_resources);
            }
        }
        let view = core.agent_id().and_then(|id| world.master.agents.get(id));
        let allocated = view.map(|view| view.allocated.clone()).unwrap_or_default();
        ensure(allocated == used, || format!("{:?} uses {used}, {allocated} is allocated", core.agent_id()))?;
        ensure(core.updates_waiting() == 0, || format!("updates of {:?} wait to be acknowledged", core.agent_id()))?;
    }
    Ok(())
}

/// What is reserved for a service, one of its pods keeps there.
fn nothing_is_kept_in_vain(world: &World) -> Result<(), String> {
    for host in &world.services {
        let units = host.core.as_ref().map(|core| core.snapshot().units).unwrap_or_default();
        let keeps = |unit: &String, agent_id: &model::AgentId| {
            units.iter().any(|(key, record)| key.to_string() == *unit && record.reserved_on.as_ref() == Some(agent_id))
        };
        for view in world.master.agents.values() {
            for holding in view.total.held.keys() {
                let labels = &holding.reservation.labels;
                let unit = labels.get("unit").filter(|_| labels.get("framework") == Some(&host.name));
                ensure(unit.is_none_or(|unit| keeps(unit, &view.id)), || {
                    format!("{} keeps {} for {unit:?} of {}, which does not need it", view.name, view.total, host.name)
                })?;
            }
        }
    }
    Ok(())
}

/// Nothing runs, and everything is free again.
pub(crate) fn is_empty(world: &World) -> Result<(), String> {
    everybody_is_there(world)?;
    all_agree(world)?;
    for host in &world.services {
        let plans = host.core.as_ref().map(framework_core::Scheduler::plan_views);
        ensure(host.is_gone, || format!("{} is not uninstalled: {plans:?}", host.name))?;
    }
    ensure(world.master.tasks.is_empty(), || format!("{} tasks are left", world.master.tasks.len()))?;
    for view in world.master.agents.values() {
        ensure(view.allocated.is_empty(), || format!("{} has {} allocated", view.name, view.allocated))?;
        ensure(view.total.held.is_empty(), || format!("{} has titles left: {}", view.name, view.total))?;
    }
    for host in &world.agents {
        ensure(host.volumes.is_empty(), || format!("{} has volumes left: {:?}", host.name, host.volumes))?;
        ensure(host.executors.is_empty(), || format!("{} has executors left", host.name))?;
    }
    Ok(())
}

fn everybody_is_there(world: &World) -> Result<(), String> {
    for host in &world.agents {
        let registered = host.core.as_ref().is_some_and(agent_core::Agent::is_registered);
        ensure(registered, || format!("{} is not registered", host.name))?;
        let there = |view: &&AgentView| view.name == host.name && view.state != AgentStateView::Gone;
        let view = world.master.agents.values().find(there);
        let connected = view.is_some_and(|view| view.state == AgentStateView::Connected);
        ensure(connected, || format!("{} is not connected", host.name))?;
    }
    for host in &world.frameworks {
        ensure(host.subscribed, || format!("{} is not subscribed", host.name))?;
    }
    for host in &world.services {
        ensure(host.core.is_some() || host.is_gone, || format!("{} is not subscribed", host.name))?;
    }
    Ok(())
}

/// Master, agents, schedulers and processes tell the same story.
fn all_agree(world: &World) -> Result<(), String> {
    let processes: BTreeSet<(FrameworkId, TaskId)> = world.processes().collect();
    let of_agents: BTreeSet<(FrameworkId, TaskId)> = world
        .agents
        .iter()
        .filter_map(|host| host.core.as_ref())
        .flat_map(|core| core.tasks().map(|task| (task.framework.id.clone(), task.head.task_id.clone())))
        .collect();
    let of_master: BTreeSet<(FrameworkId, TaskId)> = world.master.tasks.keys().cloned().collect();
    let of_schedulers: BTreeSet<(FrameworkId, TaskId)> = world
        .frameworks
        .iter()
        .flat_map(|host| {
            let live = host.tasks.iter().filter(|(_, task)| !task.has_ended());
            live.filter_map(|(id, _)| Some((host.id.clone()?, id.clone())))
        })
        .chain(world.services.iter().flat_map(|host| host.live()))
        .collect();
    for (who, theirs) in [("agents", &of_agents), ("master", &of_master), ("schedulers", &of_schedulers)] {
        if let Some(key) = processes.difference(theirs).next() {
            return Err(format!("{key:?} runs, {who} do not know: {}", story(world, key)));
        }
        if let Some(key) = theirs.difference(&processes).next() {
            return Err(format!("{key:?} does not run, {who} believe so: {}", story(world, key)));
        }
    }
    for view in world.master.tasks.values() {
        let state = view.status.state;
        ensure(state == TaskState::Running || state == TaskState::Killing, || {
            format!("task {} is {state:?}", view.head.task_id)
        })?;
    }
    Ok(())
}

/// What each has to say of a task.
fn story(world: &World, key: &(FrameworkId, TaskId)) -> String {
    let master = world.master.tasks.get(key).map(|view| &view.status);
    let of_agent = |host: &crate::agent_host::AgentHost| {
        let task = host.core.as_ref()?.tasks().find(|task| task.framework.id == key.0 && task.head.task_id == key.1)?;
        Some((host.name.clone(), task.latest.state))
    };
    let agent = world.agents.iter().find_map(of_agent);
    let scheduler = world.frameworks.iter().find(|host| host.id.as_ref() == Some(&key.0));
    let mine = scheduler.map(|host| (host.name.clone(), host.subscribed, host.goal, host.tasks.get(&key.1).cloned()));
    format!("master {master:?}, agent {agent:?}, scheduler {mine:?}")
}
