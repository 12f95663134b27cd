//! Reservations and volumes, as operators change and see them.
use master_core::view::AgentView;
use master_core::{HoldingsChange, OperatorRequest};
use model::{Holding, Milli, Principal, Quantities, Refusal, Resources};
use proto::convert::resources::{from_wire, milli};
use proto::mesos::v1 as mesos;
use proto::mezzo::v1 as wire;
use wire::change_holdings_request::Kind;

use super::describe;

/// What an operator asks, as the core takes it. What it reserves without saying who reserves, it reserves itself.
pub(super) fn change(request: wire::ChangeHoldingsRequest, asker: &Principal) -> Result<OperatorRequest, Refusal> {
    let kind = request.kind();
    let wire::ChangeHoldingsRequest { agent, kind: number, resources, source, addition, subtract } = request;
    let read = |list: &[mesos::Resource], field: &str| -> Result<Resources, Refusal> {
        from_wire(list).map_err(|error| Refusal::from(error.of_list(field)))
    };
    let held = read(&resources, "resources")?;
    let change = match kind {
        Kind::Reserve => {
            let source = read(&source, "source")?;
            HoldingsChange::Reserve {
                wanted: signed(held, asker),
                source: Some(source).filter(|source| !source.is_empty()),
            }
        }
        Kind::Unreserve => HoldingsChange::Unreserve(held),
        Kind::Create => HoldingsChange::Create(held),
        Kind::Destroy => HoldingsChange::Destroy(held),
        Kind::Grow => HoldingsChange::Grow { volume: held, addition: read(&addition, "addition")? },
        Kind::Shrink => {
            let subtract: Milli = milli(subtract, "subtract")?;
            HoldingsChange::Shrink { volume: held, subtract }
        }
        Kind::Unknown => return Err(proto::convert::FieldError::unknown("kind", number).into()),
    };
    Ok(OperatorRequest::ChangeHoldings { agent, change, principal: asker.clone() })
}

fn signed(wanted: Resources, asker: &Principal) -> Resources {
    let sign = |(mut holding, quantities): (Holding, Quantities)| {
        if !holding.reservation.is_static && holding.reservation.principal.as_str().is_empty() {
            holding.reservation.principal = asker.clone();
        }
        (holding, quantities)
    };
    // What is not reserved is left for the core to refuse: nothing that was asked for is dropped here.
    Resources { held: wanted.held.into_iter().map(sign).collect(), ..wanted }
}

/// Everything reserved on an agent.
pub(super) fn list(agent: &AgentView) -> impl Iterator<Item = wire::HoldingDescription> + '_ {
    agent.holdings.held.iter().map(|(holding, quantities)| {
        let reservation = &holding.reservation;
        let volume = holding.volume.as_ref();
        let part = Resources::held_as(holding.clone(), quantities.clone());
        wire::HoldingDescription {
            agent: agent.name.clone(),
            resources: proto::convert::resources::to_wire(&part),
            quantities: Some(describe::quantities(quantities)),
            role: reservation.role.to_string(),
            principal: reservation.principal.to_string(),
            labels: reservation.labels.clone().into_iter().collect(),
            refines: reservation.layers().skip(1).map(|layer| layer.role.to_string()).collect(),
            fixed: holding.is_configured(),
            volume: volume.map(|volume| volume.id.to_string()).unwrap_or_default(),
            container_path: volume.map(|volume| volume.container_path.clone()).unwrap_or_default(),
            shared: holding.is_shared(),
            disk: quantities.disks.keys().next().map(ToString::to_string).unwrap_or_default(),
            in_use: agent.allocated.held.contains_key(holding),
        }
    })
}
