//! `mesos.v1.Resource` lists and [`model::Resources`].
use std::collections::BTreeMap;

use model::{Holding, Milli, Principal, Quantities, Ranges, Reservation, Resources, RoleName, Volume, VolumeId};

use super::{FieldError, role_name};
use crate::mesos::v1 as wire;
use wire::resource::reservation_info::Type as ReservationType;
use wire::value::Type;

/// More would be no resource but an attack: 2^40 units (a million TiB of memory).
const UNITS_MAX: f64 = 1_099_511_627_776.0;

/// To the wire; `role` becomes the allocation role of every resource (offers carry it, totals do not).
pub fn to_wire_allocated(resources: &Resources, role: Option<&RoleName>) -> Vec<wire::Resource> {
    let mut out = to_wire(resources);
    if let Some(role) = role {
        for resource in &mut out {
            resource.allocation_info = Some(wire::resource::AllocationInfo { role: Some(role.to_string()) });
        }
    }
    out
}

/// To the wire.
pub fn to_wire(resources: &Resources) -> Vec<wire::Resource> {
    let mut out = Vec::new();
    push(&mut out, &resources.unreserved, None);
    for (holding, quantities) in &resources.held {
        push(&mut out, quantities, Some(holding));
    }
    out
}

fn push(out: &mut Vec<wire::Resource>, quantities: &Quantities, holding: Option<&Holding>) {
    let titled = |mut resource: wire::Resource| {
        if let Some(holding) = holding {
            resource.reservations.push(reservation_to_wire(&holding.reservation));
            if let Some(volume) = &holding.volume {
                resource.disk = Some(volume_to_wire(volume, &holding.reservation.principal));
            }
        }
        resource
    };
    for (name, amount) in quantities.scalars().filter(|(_, amount)| amount.0 != 0) {
        out.push(titled(wire::Resource {
            name: name.to_owned(),
            r#type: Type::Scalar.into(),
            scalar: Some(wire::value::Scalar { value: units(amount) }),
            ..wire::Resource::default()
        }));
    }
    if !quantities.ports.is_empty() {
        let range = quantities.ports.as_slice().iter().map(|&(begin, end)| wire::value::Range { begin, end }).collect();
        out.push(titled(wire::Resource {
            name: "ports".to_owned(),
            r#type: Type::Ranges.into(),
            ranges: Some(wire::value::Ranges { range }),
            ..wire::Resource::default()
        }));
    }
}

#[allow(clippy::cast_precision_loss)] // thousandths below 2^53
fn units(amount: Milli) -> f64 {
    amount.0 as f64 / 1000.0
}

fn reservation_to_wire(reservation: &Reservation) -> wire::resource::ReservationInfo {
    let labels = (!reservation.labels.is_empty()).then(|| labels_to_wire(&reservation.labels));
    wire::resource::ReservationInfo {
        principal: Some(reservation.principal.to_string()),
        labels,
        role: Some(reservation.role.to_string()),
        r#type: Some(ReservationType::Dynamic.into()),
    }
}

fn volume_to_wire(volume: &Volume, principal: &Principal) -> wire::resource::DiskInfo {
    wire::resource::DiskInfo {
        persistence: Some(wire::resource::disk_info::Persistence {
            id: volume.id.to_string(),
            principal: Some(principal.to_string()),
        }),
        volume: Some(wire::Volume {
            container_path: volume.container_path.clone(),
            mode: wire::volume::Mode::Rw.into(),
            ..wire::Volume::default()
        }),
    }
}

/// Labels to the wire.
pub fn labels_to_wire(labels: &BTreeMap<String, String>) -> wire::Labels {
    wire::Labels {
        labels: labels
            .iter()
            .map(|(key, value)| wire::Label { key: key.clone(), value: Some(value.clone()) })
            .collect(),
    }
}

/// Labels from the wire; the last of a repeated key wins.
pub fn labels_from_wire(labels: &wire::Labels) -> BTreeMap<String, String> {
    labels.labels.iter().map(|label| (label.key.clone(), label.value.clone().unwrap_or_default())).collect()
}

/// From the wire. Several resources of one name and title add up; ports must not overlap.
///
/// # Errors
/// Names the resource and field that does not fit.
pub fn from_wire(list: &[wire::Resource]) -> Result<Resources, FieldError> {
    let mut out = Resources::default();
    for (i, resource) in list.iter().enumerate() {
        let path = |field: &str| format!("resources[{i}].{field}");
        let quantities = quantities(resource, &path)?;
        let part = match holding(resource, &path)? {
            None => Resources::from(quantities),
            Some(holding) => {
                if holding.volume.is_some() && resource.name != "disk" {
                    return Err(FieldError::new(path("disk"), "makes a volume of something that is not disk"));
                }
                Resources::held_as(holding, quantities)
            }
        };
        let overlap = out.sum().ports.intersection(&part.sum().ports);
        if !overlap.is_empty() {
            return Err(FieldError::new(path("ranges"), format!("repeats the ports {overlap}")));
        }
        out.add(&part);
    }
    Ok(out)
}

fn quantities(resource: &wire::Resource, path: &dyn Fn(&str) -> String) -> Result<Quantities, FieldError> {
    let mut out = Quantities::default();
    match Type::try_from(resource.r#type) {
        Ok(Type::Scalar) => {
            let value = resource.scalar.as_ref().ok_or_else(|| FieldError::missing(path("scalar")))?.value;
            out.set_scalar(&resource.name, milli(value, &path("scalar.value"))?);
        }
        Ok(Type::Ranges) if resource.name == "ports" => {
            let ranges = resource.ranges.as_ref().ok_or_else(|| FieldError::missing(path("ranges")))?;
            for range in &ranges.range {
                if range.begin > range.end || range.end > 65535 {
                    let problem = format!("is no range of ports: {}-{}", range.begin, range.end);
                    return Err(FieldError::new(path("ranges"), problem));
                }
            }
            out.ports = ranges.range.iter().map(|range| (range.begin, range.end)).collect::<Ranges>();
        }
        Ok(Type::Ranges | Type::Set | Type::Text) => {
            let problem = format!("is not supported for '{}': ranges are ports, the rest are scalars", resource.name);
            return Err(FieldError::new(path("type"), problem));
        }
        Err(_) => return Err(FieldError::unknown(path("type"), resource.r#type)),
    }
    Ok(out)
}

/// Units as Mesos sends them, to thousandths.
///
/// # Errors
/// Zero, negative, non-finite and absurd amounts are refused.
#[allow(clippy::cast_possible_truncation)] // bounded just before
pub fn milli(value: f64, path: &str) -> Result<Milli, FieldError> {
    if !value.is_finite() || value > UNITS_MAX {
        return Err(FieldError::new(path, format!("is no amount: {value}")));
    }
    let amount = (value * 1000.0).round() as i64;
    if amount <= 0 {
        return Err(FieldError::new(path, format!("must be at least 0.001, it is {value}")));
    }
    Ok(Milli(amount))
}

fn holding(resource: &wire::Resource, path: &dyn Fn(&str) -> String) -> Result<Option<Holding>, FieldError> {
    let stack = &resource.reservations;
    let old_role = resource.role.as_deref().filter(|role| *role != "*");
    let info = match (stack.as_slice(), old_role) {
        ([], None) => {
            if resource.disk.as_ref().is_some_and(|disk| disk.persistence.is_some()) {
                return Err(FieldError::new(path("disk"), "makes a volume of disk that is not reserved"));
            }
            return Ok(None);
        }
        ([], Some(role)) => {
            let mut info = resource.reservation.clone().unwrap_or_default();
            info.role = Some(role.to_owned());
            info
        }
        ([one], None) => one.clone(),
        ([_], Some(_)) => return Err(FieldError::new(path("role"), "must not be set together with reservations")),
        _ => return Err(FieldError::new(path("reservations"), "has more than one entry: refinement is not supported")),
    };
    let role = info.role.ok_or_else(|| FieldError::missing(path("reservations[0].role")))?;
    if role == "*" {
        return Err(FieldError::new(path("reservations[0].role"), "must not be '*'"));
    }
    let reservation = Reservation {
        role: role_name(&role, &path("reservations[0].role"))?,
        principal: Principal::new(info.principal.unwrap_or_default()),
        labels: info.labels.as_ref().map(labels_from_wire).unwrap_or_default(),
    };
    let volume = resource.disk.as_ref().and_then(|disk| disk.persistence.as_ref().map(|p| (p, disk.volume.as_ref())));
    let volume = match volume {
        None => None,
        Some((persistence, volume)) => {
            let at = path("disk.persistence.id");
            let id = VolumeId::new(&persistence.id).map_err(|error| FieldError::new(at, error.to_string()))?;
            let volume = volume.ok_or_else(|| FieldError::missing(path("disk.volume")))?;
            Some(Volume { id, container_path: volume.container_path.clone() })
        }
    };
    Ok(Some(Holding { reservation, volume }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(name: &str, value: f64) -> wire::Resource {
        wire::Resource {
            name: name.to_owned(),
            r#type: Type::Scalar.into(),
            scalar: Some(wire::value::Scalar { value }),
            ..wire::Resource::default()
        }
    }

    #[test]
    fn resources_survive_the_wire() {
        let reservation = Reservation {
            role: RoleName::new("db").expect("valid"),
            principal: Principal::new("framework/db"),
            labels: BTreeMap::from([("resource_id".to_owned(), "r1".to_owned())]),
        };
        let volume = Some(Volume { id: VolumeId::new("v1").expect("valid"), container_path: "data".to_owned() });
        let mut resources = Resources::from(Quantities {
            cpus: Milli(1500),
            mem: Milli::units(2048),
            ports: [(20000, 20001)].into_iter().collect(),
            ..Quantities::default()
        });
        let disk = Quantities { disk: Milli::units(100), ..Quantities::default() };
        resources.add(&Resources::held_as(Holding { reservation: reservation.clone(), volume }, disk.clone()));
        resources.add(&Resources::held_as(Holding { reservation, volume: None }, disk));
        assert_eq!(from_wire(&to_wire(&resources)), Ok(resources));
    }

    #[test]
    fn a_bad_amount_is_refused_with_its_path() {
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            let error = from_wire(&[scalar("mem", 1.0), scalar("cpus", value)]).expect_err("no amount");
            assert_eq!(error.path, "resources[1].scalar.value", "{value}");
        }
    }

    #[test]
    fn a_port_given_twice_is_refused() {
        let ports = wire::Resource {
            name: "ports".to_owned(),
            r#type: Type::Ranges.into(),
            ranges: Some(wire::value::Ranges { range: vec![wire::value::Range { begin: 1, end: 2 }] }),
            ..wire::Resource::default()
        };
        assert_eq!(from_wire(&[ports.clone(), ports]).map_err(|e| e.path), Err("resources[1].ranges".to_owned()));
    }
}
