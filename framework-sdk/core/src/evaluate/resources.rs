//! Amounts: what each task takes, under which title, and which reservations come first.
use std::collections::BTreeMap;

use model::call::Operation;
use model::{Holding, Milli, Quantities, Reservation, Resources};

use super::ports::Ports;
use super::verdict::amount_of;
use super::volumes::PodVolume;
use super::{AgentOffer, Fit, Need, Reason};
use crate::view::Placement;

fn lacks(missing: &Quantities, have: &Quantities) -> Reason {
    match missing.scalars().find(|(_, amount)| amount.0 > 0) {
        Some((name, _)) => Reason::Lacks { resource: name.to_owned(), free: amount_of(name, have.scalar(name)) },
        None => Reason::Port(missing.ports.to_string()),
    }
}

pub(super) fn divide(
    need: &Need,
    offer: &AgentOffer,
    title: Option<&Reservation>,
    volumes: Vec<PodVolume>,
    ports: Ports,
) -> Result<Fit, Reason> {
    let offered = &offer.resources;
    let executor = Quantities { cpus: need.spec.executor_cpus, mem: need.spec.executor_mem, ..Quantities::default() };
    let mut wanted = executor.clone();
    let mut by_task = BTreeMap::new();
    for task in need.tasks() {
        let mut quantities = task.scalars();
        quantities.ports = ports.by_task.get(&task.name).cloned().unwrap_or_default();
        wanted.add(&quantities);
        by_task.insert(task.name.clone(), quantities);
    }
    let mut left = offered.clone();
    let mut before = Vec::new();
    let plain = title.map(|reservation| Holding { reservation: reservation.clone(), volume: None });
    if let Some(holding) = &plain {
        let new_disk: i64 = volumes.iter().filter(|v| v.is_new).map(|v| v.quantities.disk.0).sum();
        let mut to_hold = wanted.clone();
        to_hold.disk = Milli(to_hold.disk.0 + new_disk);
        let held = left.held.get(holding).cloned().unwrap_or_default();
        let reserve = held.missing(&to_hold);
        if !reserve.is_empty() {
            left.unreserved.take(&reserve).map_err(|missing| lacks(&missing, &offered.unreserved))?;
            let reserved = Resources::held_as(holding.clone(), reserve);
            left.add(&reserved);
            before.push(Operation::Reserve(reserved));
        }
        for volume in volumes.iter().filter(|volume| volume.is_new) {
            let made = Resources::held_as(volume.holding.clone(), volume.quantities.clone());
            left.take(&Resources::held_as(holding.clone(), volume.quantities.clone())).expect("reserved just above");
            left.add(&made);
            before.push(Operation::Create(made));
        }
    }
    let titled = |quantities: Quantities| match &plain {
        Some(holding) => Resources::held_as(holding.clone(), quantities),
        None => Resources::from(quantities),
    };
    let mut tasks: BTreeMap<String, Resources> =
        by_task.into_iter().map(|(name, quantities)| (name, titled(quantities))).collect();
    for volume in volumes {
        tasks.entry(volume.task).or_default().add(&Resources::held_as(volume.holding, volume.quantities));
    }
    let executor = titled(executor);
    if plain.is_none() {
        let missing = left.unreserved.missing(&wanted);
        if !missing.is_empty() {
            return Err(lacks(&missing, &offered.unreserved));
        }
    }
    for resources in tasks.values().chain([&executor]) {
        left.take(resources).expect("checked or reserved above");
    }
    Ok(Fit {
        placement: Placement { ports: ports.by_name, ..offer.agent.clone() },
        before,
        tasks,
        executor,
        left,
        is_reserved: plain.is_some(),
    })
}
