//! The rules for the agent.
use model::AgentId;

use super::{Need, Reason};
use crate::spec::{InstanceName, PlacementRule};
use crate::view::Placement;

/// An instance that has its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Which.
    pub instance: InstanceName,
    /// Where.
    pub placement: Placement,
}

fn attribute<'a>(agent: &'a Placement, name: &str) -> &'a str {
    match name {
        "region" => &agent.region,
        "zone" => &agent.zone,
        other => agent.attributes.get(other).map_or("", String::as_str),
    }
}

pub(super) fn check(need: &Need, agent: &Placement, neighbours: &[Neighbour]) -> Result<(), Reason> {
    let here = |id: &AgentId| *id == agent.agent_id;
    if let Some((bound, because)) = &need.bound_to
        && !here(bound)
    {
        return Err(Reason::Bound { because: because.clone() });
    }
    let own = &need.unit.instance;
    let others = || neighbours.iter().filter(|n| n.instance != *own);
    for rule in &need.spec.placement {
        match rule {
            PlacementRule::UniquePerAgent => {
                if others().any(|n| n.instance.pod == own.pod && here(&n.placement.agent_id)) {
                    return Err(Reason::Unique(own.pod.clone()));
                }
            }
            PlacementRule::NotWith(pod) => {
                if others().any(|n| n.instance.pod == *pod && here(&n.placement.agent_id)) {
                    return Err(Reason::With(pod.clone()));
                }
            }
            PlacementRule::MaxPerAttribute { attribute: name, max } => {
                let value = attribute(agent, name);
                let count =
                    others().filter(|n| n.instance.pod == own.pod && attribute(&n.placement, name) == value).count();
                if count >= *max as usize {
                    return Err(Reason::Max { attribute: name.clone(), value: value.to_owned(), max: *max });
                }
            }
            PlacementRule::AttributeIs { attribute: name, value } => {
                if attribute(agent, name) != value {
                    return Err(Reason::Attribute { attribute: name.clone(), wanted: value.clone() });
                }
            }
            PlacementRule::AgentNameIs(names) => {
                if !names.contains(&agent.agent_name) {
                    return Err(Reason::Name);
                }
            }
            PlacementRule::AgentNameIsNot(names) => {
                if names.contains(&agent.agent_name) {
                    return Err(Reason::Name);
                }
            }
        }
    }
    Ok(())
}
