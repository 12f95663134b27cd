//! Scheduler events.
use std::collections::BTreeMap;
use std::sync::Arc;

use model::call::{InverseOffer, NotYetKnown, Offer, SchedulerEvent, Unavailability};
use model::{OperationState, OperationStatus, Span, Timestamp};

use super::{
    FieldError, agent_id, executor_id, framework_id, offer_id, operation_id, resources, role_name, task, task_id,
};
use crate::mesos::v1 as wire;
use crate::mezzo::v1::{InverseOfferExtension, OfferExtension};
use wire::scheduler as sched;
use wire::scheduler::event::Type as EventType;

/// Mesos' heartbeat, which its clients expect.
pub const HEARTBEAT_SECONDS: f64 = 15.0;

/// An event to the wire. `master` goes into SUBSCRIBED.
pub fn to_wire(event: &SchedulerEvent, master: Option<&wire::MasterInfo>) -> sched::Event {
    let mut out = sched::Event::default();
    let kind = match event {
        SchedulerEvent::Subscribed { framework_id } => {
            out.subscribed = Some(sched::event::Subscribed {
                framework_id: wire::FrameworkId { value: framework_id.to_string() },
                heartbeat_interval_seconds: Some(HEARTBEAT_SECONDS),
                master_info: master.cloned(),
            });
            EventType::Subscribed
        }
        SchedulerEvent::Offers(offers) => {
            out.offers =
                Some(sched::event::Offers { offers: offers.iter().map(|offer| offer_to_wire(offer)).collect() });
            EventType::Offers
        }
        SchedulerEvent::Rescind(id) => {
            out.rescind = Some(sched::event::Rescind { offer_id: wire::OfferId { value: id.to_string() } });
            EventType::Rescind
        }
        SchedulerEvent::InverseOffers(offers) => {
            let inverse_offers = offers.iter().map(inverse_offer_to_wire).collect();
            out.inverse_offers = Some(sched::event::InverseOffers { inverse_offers });
            EventType::InverseOffers
        }
        SchedulerEvent::RescindInverseOffer(id) => {
            out.rescind_inverse_offer =
                Some(sched::event::RescindInverseOffer { inverse_offer_id: wire::OfferId { value: id.to_string() } });
            EventType::RescindInverseOffer
        }
        SchedulerEvent::Update(status) => {
            out.update = Some(sched::event::Update { status: task::status_to_wire(status) });
            EventType::Update
        }
        SchedulerEvent::OperationUpdate(status) => {
            let status = operation_status_to_wire(status);
            out.update_operation_status = Some(sched::event::UpdateOperationStatus { status });
            EventType::UpdateOperationStatus
        }
        SchedulerEvent::NotYetKnown(not_yet) => {
            out.not_yet_known = Some(crate::mezzo::v1::NotYetKnown {
                task_ids: not_yet.tasks.iter().map(ToString::to_string).collect(),
                agents_awaited: not_yet.agents_awaited,
                ask_again_ms: not_yet.ask_again.0,
            });
            EventType::Unknown
        }
        SchedulerEvent::Failure { agent_id, executor_id } => {
            out.failure = Some(sched::event::Failure {
                agent_id: Some(wire::AgentId { value: agent_id.to_string() }),
                executor_id: executor_id.as_ref().map(|id| wire::ExecutorId { value: id.to_string() }),
                status: executor_id.as_ref().map(|_| -1),
            });
            EventType::Failure
        }
        SchedulerEvent::Error(message) => {
            out.error = Some(sched::event::Error { message: message.clone() });
            EventType::Error
        }
    };
    out.r#type = Some(kind.into());
    out
}

/// The heartbeat, which has no meaning but "alive".
pub fn heartbeat() -> sched::Event {
    sched::Event { r#type: Some(EventType::Heartbeat.into()), ..sched::Event::default() }
}

fn offer_to_wire(offer: &Offer) -> wire::Offer {
    let attributes = offer.attributes.iter().map(|(name, text)| wire::Attribute {
        name: name.clone(),
        r#type: wire::value::Type::Text.into(),
        text: Some(wire::value::Text { value: text.clone() }),
        ..wire::Attribute::default()
    });
    let domain = (!offer.region.is_empty() || !offer.zone.is_empty()).then(|| wire::DomainInfo {
        fault_domain: Some(wire::domain_info::FaultDomain {
            region: wire::domain_info::fault_domain::RegionInfo { name: offer.region.clone() },
            zone: wire::domain_info::fault_domain::ZoneInfo { name: offer.zone.clone() },
        }),
    });
    wire::Offer {
        id: wire::OfferId { value: offer.id.to_string() },
        framework_id: wire::FrameworkId { value: offer.framework_id.to_string() },
        agent_id: wire::AgentId { value: offer.agent_id.to_string() },
        hostname: offer.agent_name.clone(),
        resources: resources::to_wire_allocated(&offer.resources, Some(&offer.role)),
        attributes: attributes.collect(),
        allocation_info: Some(wire::resource::AllocationInfo { role: Some(offer.role.to_string()) }),
        domain,
        unavailability: offer.unavailability.map(unavailability_to_wire),
        mezzo: Some(OfferExtension { address: offer.address.clone(), pod_subnet: offer.pod_subnet.clone() }),
        ..wire::Offer::default()
    }
}

/// An event from the wire; `None` for heartbeats and for kinds that clients must ignore.
///
/// # Errors
/// Names the field that does not fit.
pub fn from_wire(event: &sched::Event) -> Result<Option<SchedulerEvent>, FieldError> {
    let Some(kind) = event.r#type.and_then(|number| EventType::try_from(number).ok()) else { return Ok(None) };
    let missing = |name: &str| FieldError::missing(name);
    Ok(Some(match kind {
        EventType::Subscribed => {
            let subscribed = event.subscribed.as_ref().ok_or_else(|| missing("subscribed"))?;
            let framework_id = framework_id(&subscribed.framework_id.value, "subscribed.framework_id")?;
            SchedulerEvent::Subscribed { framework_id }
        }
        EventType::Offers => {
            let offers = event.offers.as_ref().ok_or_else(|| missing("offers"))?;
            let read = |(i, offer)| {
                offer_from_wire(offer)
                    .map(Arc::new)
                    .map_err(|error: FieldError| error.within(&format!("offers.offers[{i}]")))
            };
            SchedulerEvent::Offers(offers.offers.iter().enumerate().map(read).collect::<Result<_, _>>()?)
        }
        EventType::Rescind => {
            let rescind = event.rescind.as_ref().ok_or_else(|| missing("rescind"))?;
            SchedulerEvent::Rescind(offer_id(&rescind.offer_id.value, "rescind.offer_id")?)
        }
        EventType::Update => {
            let update = event.update.as_ref().ok_or_else(|| missing("update"))?;
            SchedulerEvent::Update(task::status_from_wire(&update.status).map_err(|error| error.within("update"))?)
        }
        EventType::Failure => {
            let failure = event.failure.as_ref().ok_or_else(|| missing("failure"))?;
            let agent = failure.agent_id.as_ref().ok_or_else(|| missing("failure.agent_id"))?;
            let executor = failure.executor_id.as_ref();
            SchedulerEvent::Failure {
                agent_id: agent_id(&agent.value, "failure.agent_id")?,
                executor_id: executor.map(|id| executor_id(&id.value, "failure.executor_id")).transpose()?,
            }
        }
        EventType::Error => {
            let error = event.error.as_ref().ok_or_else(|| missing("error"))?;
            SchedulerEvent::Error(error.message.clone())
        }
        EventType::InverseOffers => {
            let offers = event.inverse_offers.as_ref().ok_or_else(|| missing("inverse_offers"))?;
            let read = |(i, offer)| {
                inverse_offer_from_wire(offer)
                    .map_err(|error: FieldError| error.within(&format!("inverse_offers.inverse_offers[{i}]")))
            };
            SchedulerEvent::InverseOffers(offers.inverse_offers.iter().enumerate().map(read).collect::<Result<_, _>>()?)
        }
        EventType::RescindInverseOffer => {
            let rescind = event.rescind_inverse_offer.as_ref().ok_or_else(|| missing("rescind_inverse_offer"))?;
            let id = &rescind.inverse_offer_id.value;
            SchedulerEvent::RescindInverseOffer(offer_id(id, "rescind_inverse_offer.inverse_offer_id")?)
        }
        EventType::UpdateOperationStatus => {
            let update = event.update_operation_status.as_ref().ok_or_else(|| missing("update_operation_status"))?;
            let status = operation_status_from_wire(&update.status);
            SchedulerEvent::OperationUpdate(status.map_err(|error| error.within("update_operation_status.status"))?)
        }
        EventType::Unknown => {
            let Some(not_yet) = &event.not_yet_known else { return Ok(None) };
            let read = |(i, id): (usize, &String)| task_id(id, &format!("not_yet_known.task_ids[{i}]"));
            SchedulerEvent::NotYetKnown(NotYetKnown {
                tasks: not_yet.task_ids.iter().enumerate().map(read).collect::<Result<_, _>>()?,
                agents_awaited: not_yet.agents_awaited,
                ask_again: Span(not_yet.ask_again_ms),
            })
        }
        EventType::Heartbeat | EventType::Message => return Ok(None),
    }))
}

/// Both directions of the states.
const OPERATION_STATES: [(OperationState, wire::OperationState); 9] = [
    (OperationState::Pending, wire::OperationState::OperationPending),
    (OperationState::Finished, wire::OperationState::OperationFinished),
    (OperationState::Failed, wire::OperationState::OperationFailed),
    (OperationState::Error, wire::OperationState::OperationError),
    (OperationState::Dropped, wire::OperationState::OperationDropped),
    (OperationState::Unreachable, wire::OperationState::OperationUnreachable),
    (OperationState::GoneByOperator, wire::OperationState::OperationGoneByOperator),
    (OperationState::Recovering, wire::OperationState::OperationRecovering),
    (OperationState::Unknown, wire::OperationState::OperationUnknown),
];

/// An operation's state's wire number.
pub fn operation_state_to_wire(state: OperationState) -> i32 {
    let pair = OPERATION_STATES.iter().find(|(own, _)| *own == state);
    pair.expect("every state is in the table").1.into()
}

/// An operation's state from its wire number.
///
/// # Errors
/// Nobody here knows the number.
pub fn operation_state_from_wire(number: i32, path: &str) -> Result<OperationState, FieldError> {
    let pair = OPERATION_STATES.iter().find(|(_, other)| i32::from(*other) == number);
    pair.map(|(own, _)| *own).ok_or_else(|| FieldError::unknown(path, number))
}

fn operation_status_to_wire(status: &OperationStatus) -> wire::OperationStatus {
    wire::OperationStatus {
        operation_id: Some(wire::OperationId { value: status.operation_id.to_string() }),
        state: operation_state_to_wire(status.state),
        message: (!status.message.is_empty()).then(|| status.message.clone()),
        converted_resources: Vec::new(),
        uuid: status.uuid.map(|uuid| wire::Uuid { value: uuid.0.to_be_bytes().to_vec().into() }),
        agent_id: status.agent_id.as_ref().map(|id| wire::AgentId { value: id.to_string() }),
    }
}

fn operation_status_from_wire(status: &wire::OperationStatus) -> Result<OperationStatus, FieldError> {
    let id = status.operation_id.as_ref().ok_or_else(|| FieldError::missing("operation_id"))?;
    Ok(OperationStatus {
        operation_id: operation_id(&id.value, "operation_id")?,
        state: operation_state_from_wire(status.state, "state")?,
        message: status.message.clone().unwrap_or_default(),
        agent_id: status.agent_id.as_ref().map(|id| agent_id(&id.value, "agent_id")).transpose()?,
        uuid: status.uuid.as_ref().map(|uuid| task::update_id(&uuid.value, "uuid")).transpose()?,
    })
}

fn inverse_offer_to_wire(offer: &InverseOffer) -> wire::InverseOffer {
    wire::InverseOffer {
        id: wire::OfferId { value: offer.id.to_string() },
        framework_id: wire::FrameworkId { value: offer.framework_id.to_string() },
        agent_id: Some(wire::AgentId { value: offer.agent_id.to_string() }),
        unavailability: unavailability_to_wire(offer.unavailability),
        resources: Vec::new(),
        mezzo: Some(InverseOfferExtension { is_drain: offer.is_drain }),
    }
}

/// When an agent is not to be counted on.
pub fn unavailability_to_wire(unavailability: Unavailability) -> wire::Unavailability {
    let nanoseconds = |millis: u64| i64::try_from(millis).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    wire::Unavailability {
        start: wire::TimeInfo { nanoseconds: nanoseconds(unavailability.start.0) },
        duration: unavailability.duration.map(|span| wire::DurationInfo { nanoseconds: nanoseconds(span.0) }),
    }
}

/// Likewise, from the wire; what is before 1970 or negative counts as zero.
pub fn unavailability_from_wire(unavailability: &wire::Unavailability) -> Unavailability {
    let millis = |nanoseconds: i64| u64::try_from(nanoseconds / 1_000_000).unwrap_or_default();
    Unavailability {
        start: Timestamp(millis(unavailability.start.nanoseconds)),
        duration: unavailability.duration.as_ref().map(|span| Span(millis(span.nanoseconds))),
    }
}

fn inverse_offer_from_wire(offer: &wire::InverseOffer) -> Result<InverseOffer, FieldError> {
    let agent = offer.agent_id.as_ref().ok_or_else(|| FieldError::missing("agent_id"))?;
    Ok(InverseOffer {
        id: offer_id(&offer.id.value, "id")?,
        framework_id: framework_id(&offer.framework_id.value, "framework_id")?,
        agent_id: agent_id(&agent.value, "agent_id")?,
        unavailability: unavailability_from_wire(&offer.unavailability),
        is_drain: offer.mezzo.is_some_and(|extension| extension.is_drain),
    })
}

fn offer_from_wire(offer: &wire::Offer) -> Result<Offer, FieldError> {
    let role = offer.allocation_info.as_ref().and_then(|info| info.role.as_deref()).unwrap_or("*");
    let domain = offer.domain.as_ref().and_then(|domain| domain.fault_domain.as_ref());
    let extension = offer.mezzo.clone().unwrap_or_default();
    let attributes: BTreeMap<String, String> = offer
        .attributes
        .iter()
        .filter_map(|attribute| Some((attribute.name.clone(), attribute.text.as_ref()?.value.clone())))
        .collect();
    Ok(Offer {
        id: offer_id(&offer.id.value, "id")?,
        framework_id: framework_id(&offer.framework_id.value, "framework_id")?,
        role: role_name(role, "allocation_info.role")?,
        agent_id: agent_id(&offer.agent_id.value, "agent_id")?,
        agent_name: offer.hostname.clone(),
        address: extension.address,
        resources: resources::from_wire(&offer.resources)?,
        attributes,
        region: domain.map(|domain| domain.region.name.clone()).unwrap_or_default(),
        zone: domain.map(|domain| domain.zone.name.clone()).unwrap_or_default(),
        pod_subnet: extension.pod_subnet,
        unavailability: offer.unavailability.as_ref().map(unavailability_from_wire),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_yet_survives_the_wire() {
        for tasks in [vec![], vec![model::TaskId::new("t").expect("valid")]] {
            let not_yet = NotYetKnown { tasks, agents_awaited: 3, ask_again: Span::seconds(9) };
            let event = SchedulerEvent::NotYetKnown(not_yet);
            assert_eq!(from_wire(&to_wire(&event, None)), Ok(Some(event)));
        }
        assert_eq!(from_wire(&sched::Event { r#type: Some(0), ..sched::Event::default() }), Ok(None));
    }

    #[test]
    fn what_became_of_an_operation_survives_the_wire() {
        for (i, state) in OperationState::ALL.into_iter().enumerate() {
            let event = SchedulerEvent::OperationUpdate(OperationStatus {
                operation_id: model::OperationId::new("o").expect("valid"),
                state,
                message: if i == 0 { String::new() } else { "why".to_owned() },
                agent_id: (i % 2 == 0).then(|| model::AgentId::new("a").expect("valid")),
                uuid: (i % 3 == 0).then_some(model::UpdateId(9)),
            });
            assert_eq!(from_wire(&to_wire(&event, None)), Ok(Some(event)));
        }
    }
}
