//! `mesos.v1.Resource` lists and [`model::Resources`].
use std::collections::BTreeMap;

use model::resources::{InvalidStack, STACK_MAX};
use model::{Disk, Holding, Milli, Principal, Quantities, Ranges, Reservation, Resources, RoleName, Volume, VolumeId};

use super::{FieldError, role_name};
use crate::mesos::v1 as wire;
use wire::resource::disk_info::source::Type as SourceType;
use wire::resource::reservation_info::Type as ReservationType;
use wire::value::Type;

/// More would be no resource but an attack: 2^40 units (a million TiB of memory).
const UNITS_MAX: f64 = 1_099_511_627_776.0;
/// Things in one set, ranges in one resource: each is looked at whenever somebody takes one.
const ITEMS_MAX: usize = 4096;
/// The longest name of a resource or of a thing.
const NAME_MAX: usize = 255;
/// Resources in one list: 512 titles of eight kinds each, as many as an agent may have.
const RESOURCES_MAX: usize = 4096;
/// Kinds of them beside the usual: each is looked at with every change of any.
const KINDS_MAX: usize = 256;
/// [`UNITS_MAX`] in thousandths: what all resources of one name may be together.
const MILLI_MAX: i64 = 1000 << 40;

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
    let firm = out.len();
    push(&mut out, &resources.revocable, None);
    for resource in &mut out[firm..] {
        resource.revocable = Some(wire::resource::RevocableInfo {});
    }
    out
}

fn push(out: &mut Vec<wire::Resource>, quantities: &Quantities, holding: Option<&Holding>) {
    let titled = |mut resource: wire::Resource| {
        if let Some(holding) = holding {
            let mut layers: Vec<_> = holding.reservation.layers().map(reservation_to_wire).collect();
            // Innermost first here, outermost first there.
            layers.reverse();
            resource.reservations = layers;
            if let Some(volume) = &holding.volume {
                let source = resource.disk.take().and_then(|disk| disk.source);
                let disk = volume_to_wire(volume, &holding.reservation.principal);
                resource.disk = Some(wire::resource::DiskInfo { source, ..disk });
                resource.shared = volume.shared.then_some(wire::resource::SharedInfo {});
            }
        }
        resource
    };
    for (name, amount) in quantities.scalars().filter(|(_, amount)| amount.0 != 0) {
        out.push(titled(scalar(name, amount)));
    }
    for (disk, amount) in &quantities.disks {
        let source = Some(disk_to_wire(disk));
        let disk = Some(wire::resource::DiskInfo { source, ..wire::resource::DiskInfo::default() });
        out.push(titled(wire::Resource { disk, ..scalar("disk", *amount) }));
    }
    let ports = (!quantities.ports.is_empty()).then_some(("ports", &quantities.ports));
    for (name, ranges) in ports.into_iter().chain(quantities.ranges.iter().map(|(name, own)| (name.as_str(), own))) {
        let range = ranges.as_slice().iter().map(|&(begin, end)| wire::value::Range { begin, end }).collect();
        out.push(titled(wire::Resource {
            name: name.to_owned(),
            r#type: Type::Ranges.into(),
            ranges: Some(wire::value::Ranges { range }),
            ..wire::Resource::default()
        }));
    }
    for (name, things) in &quantities.sets {
        out.push(titled(wire::Resource {
            name: name.clone(),
            r#type: Type::Set.into(),
            set: Some(wire::value::Set { item: things.iter().cloned().collect() }),
            ..wire::Resource::default()
        }));
    }
}

fn scalar(name: &str, amount: Milli) -> wire::Resource {
    wire::Resource {
        name: name.to_owned(),
        r#type: Type::Scalar.into(),
        scalar: Some(wire::value::Scalar { value: units(amount) }),
        ..wire::Resource::default()
    }
}

/// Thousandths as Mesos sends them.
#[allow(clippy::cast_precision_loss)] // thousandths below 2^53
pub fn units(amount: Milli) -> f64 {
    amount.0 as f64 / 1000.0
}

fn disk_to_wire(disk: &Disk) -> wire::resource::disk_info::Source {
    use wire::resource::disk_info::{Source, source};
    match disk {
        Disk::Path(root) => Source {
            r#type: SourceType::Path.into(),
            path: Some(source::Path { root: Some(root.clone()) }),
            mount: None,
        },
        Disk::Mount(root) => Source {
            r#type: SourceType::Mount.into(),
            path: None,
            mount: Some(source::Mount { root: Some(root.clone()) }),
        },
    }
}

fn disk_from_wire(source: &wire::resource::disk_info::Source, path: &str) -> Result<Disk, FieldError> {
    let root = |root: Option<&String>| root.cloned().ok_or_else(|| FieldError::missing(format!("{path}.root")));
    let text = match SourceType::try_from(source.r#type) {
        Ok(SourceType::Path) => format!("path:{}", root(source.path.as_ref().and_then(|path| path.root.as_ref()))?),
        Ok(SourceType::Mount) => format!("mount:{}", root(source.mount.as_ref().and_then(|it| it.root.as_ref()))?),
        Ok(SourceType::Block | SourceType::Raw | SourceType::Unknown) => {
            return Err(FieldError::new(
                path,
                "is a kind of disk that agents do not have: PATH and MOUNT are supported",
            ));
        }
        Err(_) => return Err(FieldError::unknown(format!("{path}.type"), source.r#type)),
    };
    text.parse().map_err(|error: model::resources::InvalidDisk| FieldError::new(path, error.to_string()))
}

fn reservation_to_wire(reservation: &Reservation) -> wire::resource::ReservationInfo {
    let labels = (!reservation.labels.is_empty()).then(|| labels_to_wire(&reservation.labels));
    let kind = if reservation.is_static { ReservationType::Static } else { ReservationType::Dynamic };
    let principal = reservation.principal.as_str();
    wire::resource::ReservationInfo {
        principal: (!principal.is_empty()).then(|| principal.to_owned()),
        labels,
        role: Some(reservation.role.to_string()),
        r#type: Some(kind.into()),
    }
}

fn volume_to_wire(volume: &Volume, principal: &Principal) -> wire::resource::DiskInfo {
    let principal = principal.as_str();
    wire::resource::DiskInfo {
        persistence: Some(wire::resource::disk_info::Persistence {
            id: volume.id.to_string(),
            principal: (!principal.is_empty()).then(|| principal.to_owned()),
        }),
        volume: Some(wire::Volume {
            container_path: volume.container_path.clone(),
            mode: wire::volume::Mode::Rw.into(),
            ..wire::Volume::default()
        }),
        source: None,
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

/// From the wire. Several resources of one name and title add up; numbers and things must not repeat.
///
/// # Errors
/// Names the resource and field that does not fit.
pub fn from_wire(list: &[wire::Resource]) -> Result<Resources, FieldError> {
    if list.len() > RESOURCES_MAX {
        return Err(FieldError::new("resources", format!("has {} entries, more than {RESOURCES_MAX}", list.len())));
    }
    let (mut out, mut sum) = (Resources::default(), Quantities::default());
    for (i, resource) in list.iter().enumerate() {
        let path = |field: &str| format!("resources[{i}].{field}");
        let part = one(resource, &path)?;
        let own = part.sum();
        let repeated = own.common(&sum);
        if let Some(ranges) = [&repeated.ports].into_iter().chain(repeated.ranges.values()).find(|own| !own.is_empty())
        {
            return Err(FieldError::new(path("ranges"), format!("repeats the {} {ranges}", resource.name)));
        }
        if !repeated.sets.is_empty() {
            return Err(FieldError::new(path("set"), "repeats a thing"));
        }
        let twice = |(holding, _): (&Holding, &Quantities)| holding.volume.is_some() && out.held.contains_key(holding);
        if part.held.iter().any(twice) {
            return Err(FieldError::new(path("disk.persistence"), "repeats a volume"));
        }
        if repeated.disks.keys().any(Disk::is_exclusive) {
            return Err(FieldError::new(path("disk.source"), "repeats a mount"));
        }
        sum.add(&own);
        bounded(&sum, &own, &path)?;
        out.add(&part);
    }
    Ok(out)
}

/// Whether all resources up to one, whose quantities are `own`, can be counted together.
fn bounded(sum: &Quantities, own: &Quantities, path: &dyn Fn(&str) -> String) -> Result<(), FieldError> {
    let amounts = own.scalars().map(|(name, _)| sum.scalar(name));
    let disks = own.disks.keys().filter_map(|disk| sum.disks.get(disk).copied());
    if amounts.chain(disks).any(|amount| amount.0 > MILLI_MAX) {
        return Err(FieldError::new(path("scalar.value"), "is absurd, together with those of its name before it"));
    }
    let mut ranges = [&sum.ports].into_iter().chain(own.ranges.keys().filter_map(|name| sum.ranges.get(name)));
    if ranges.any(|ranges| ranges.as_slice().len() > ITEMS_MAX) {
        return Err(FieldError::new(path("ranges"), format!("makes more than {ITEMS_MAX} ranges of its name")));
    }
    if own.sets.keys().filter_map(|name| sum.sets.get(name)).any(|things| things.len() > ITEMS_MAX) {
        return Err(FieldError::new(path("set"), format!("makes more than {ITEMS_MAX} things of its name")));
    }
    if sum.custom.len() + sum.disks.len() + sum.ranges.len() + sum.sets.len() > KINDS_MAX {
        return Err(FieldError::new(path("name"), format!("is one name or disk too many: {KINDS_MAX} are allowed")));
    }
    Ok(())
}

/// A name that a resource may have.
pub(super) fn check_name(name: &str, path: impl FnOnce() -> String) -> Result<(), FieldError> {
    if name.is_empty() || name.len() > NAME_MAX || name.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(FieldError::new(path(), format!("must have 1 to {NAME_MAX} bytes without white space")));
    }
    Ok(())
}

fn one(resource: &wire::Resource, path: &dyn Fn(&str) -> String) -> Result<Resources, FieldError> {
    let quantities = quantities(resource, path)?;
    let holding = holding(resource, path)?;
    if resource.revocable.is_some() {
        if holding.is_some() {
            return Err(FieldError::new(
                path("revocable"),
                "is reserved too: what may be taken back cannot be reserved",
            ));
        }
        return Ok(Resources { revocable: quantities, ..Resources::default() });
    }
    if holding.as_ref().is_some_and(|holding| holding.volume.is_some()) && resource.name != "disk" {
        return Err(FieldError::new(path("disk"), "makes a volume of something that is not disk"));
    }
    if resource.shared.is_some() && !holding.as_ref().is_some_and(Holding::is_shared) {
        return Err(FieldError::new(path("shared"), "is no volume: only volumes are shared"));
    }
    Ok(Resources::under(holding, quantities))
}

fn quantities(resource: &wire::Resource, path: &dyn Fn(&str) -> String) -> Result<Quantities, FieldError> {
    let mut out = Quantities::default();
    let name = resource.name.as_str();
    let is_fixed = matches!(name, "cpus" | "mem" | "disk" | "gpus" | "ports");
    check_name(name, || path("name"))?;
    match Type::try_from(resource.r#type) {
        Ok(Type::Scalar) if name != "ports" => {
            let value = resource.scalar.as_ref().ok_or_else(|| FieldError::missing(path("scalar")))?.value;
            let amount = milli(value, &path("scalar.value"))?;
            match resource.disk.as_ref().and_then(|disk| disk.source.as_ref()) {
                None => out.set_scalar(name, amount),
                Some(_) if name != "disk" => {
                    return Err(FieldError::new(path("disk.source"), "is the source of something that is not disk"));
                }
                Some(source) => {
                    out = Quantities::of_disk(Some(disk_from_wire(source, &path("disk.source"))?), amount);
                }
            }
        }
        Ok(Type::Ranges) if name == "ports" || !is_fixed => {
            let ranges = resource.ranges.as_ref().ok_or_else(|| FieldError::missing(path("ranges")))?;
            if ranges.range.len() > ITEMS_MAX {
                return Err(FieldError::new(path("ranges"), format!("has more than {ITEMS_MAX} ranges")));
            }
            let largest = if name == "ports" { 65535 } else { u64::from(u32::MAX) };
            for range in &ranges.range {
                if range.begin > range.end || range.end > largest {
                    let problem = format!("is no range of {name}: {}-{}", range.begin, range.end);
                    return Err(FieldError::new(path("ranges"), problem));
                }
            }
            let ranges = ranges.range.iter().map(|range| (range.begin, range.end)).collect::<Ranges>();
            if name == "ports" {
                out.ports = ranges;
            } else if !ranges.is_empty() {
                out.ranges.insert(name.to_owned(), ranges);
            }
        }
        Ok(Type::Set) if !is_fixed => {
            let set = resource.set.as_ref().ok_or_else(|| FieldError::missing(path("set")))?;
            let is_name = |item: &String| !item.is_empty() && item.len() <= NAME_MAX;
            if set.item.len() > ITEMS_MAX || !set.item.iter().all(is_name) {
                let problem =
                    format!("has more than {ITEMS_MAX} things, or one without a name of 1 to {NAME_MAX} bytes");
                return Err(FieldError::new(path("set"), problem));
            }
            let things: std::collections::BTreeSet<String> = set.item.iter().cloned().collect();
            if things.len() < set.item.len() {
                return Err(FieldError::new(path("set"), "repeats a thing"));
            }
            if !things.is_empty() {
                out.sets.insert(name.to_owned(), things);
            }
        }
        Ok(Type::Text) => return Err(FieldError::new(path("type"), "is TEXT, which is for attributes only")),
        Ok(Type::Scalar | Type::Ranges | Type::Set) => {
            let problem = format!("is not what '{name}' is: ports are ranges; cpus, mem, disk and gpus are scalars");
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
    let infos = match (stack.as_slice(), old_role) {
        ([], None) => {
            if resource.disk.as_ref().is_some_and(|disk| disk.persistence.is_some()) {
                return Err(FieldError::new(path("disk"), "makes a volume of disk that is not reserved"));
            }
            return Ok(None);
        }
        // The form from before reservations were refined: a role, and how it was reserved if it was at run time.
        ([], Some(role)) => {
            let mut info = resource.reservation.clone().unwrap_or_default();
            info.role = Some(role.to_owned());
            let kind = if resource.reservation.is_some() { ReservationType::Dynamic } else { ReservationType::Static };
            info.r#type = Some(kind.into());
            vec![info]
        }
        ([_, ..], Some(_)) => return Err(FieldError::new(path("role"), "must not be set together with reservations")),
        // Before they are stacked: what is nested deeply cannot even be dropped.
        (stack, None) if stack.len() > STACK_MAX => {
            let problem = format!("do not fit: {}", InvalidStack::TooDeep);
            return Err(FieldError::new(path("reservations"), problem));
        }
        (stack, None) => stack.to_vec(),
    };
    let mut layers = Vec::with_capacity(infos.len());
    for (i, info) in infos.into_iter().enumerate() {
        layers.push(reservation_from_wire(info, &path(&format!("reservations[{i}]")))?);
    }
    let reservation = Reservation::stack(layers).expect("at least one layer");
    reservation.check().map_err(|error| FieldError::new(path("reservations"), format!("do not fit: {error}")))?;
    let volume = resource.disk.as_ref().and_then(|disk| disk.persistence.as_ref().map(|p| (p, disk.volume.as_ref())));
    let volume = match volume {
        None => None,
        Some((persistence, volume)) => {
            let at = path("disk.persistence.id");
            let id = VolumeId::new(&persistence.id).map_err(|error| FieldError::new(at, error.to_string()))?;
            let volume = volume.ok_or_else(|| FieldError::missing(path("disk.volume")))?;
            Some(Volume { id, container_path: volume.container_path.clone(), shared: resource.shared.is_some() })
        }
    };
    Ok(Some(Holding { reservation, volume }))
}

fn reservation_from_wire(info: wire::resource::ReservationInfo, path: &str) -> Result<Reservation, FieldError> {
    let role = info.role.ok_or_else(|| FieldError::missing(format!("{path}.role")))?;
    let is_static = info.r#type == Some(ReservationType::Static.into());
    Ok(Reservation {
        is_static,
        ..Reservation::new(
            role_name(&role, &format!("{path}.role"))?,
            Principal::new(info.principal.unwrap_or_default()),
            info.labels.as_ref().map(labels_from_wire).unwrap_or_default(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved(role: &str) -> Reservation {
        let labels = BTreeMap::from([("resource_id".to_owned(), "r1".to_owned())]);
        Reservation::new(RoleName::new(role).expect("valid"), Principal::new("framework/db"), labels)
    }

    #[test]
    fn resources_survive_the_wire() {
        let disk = |text: &str, amount| Quantities::of_disk(text.parse().ok(), Milli::units(amount));
        let volume = |id: &str, shared| {
            Some(Volume { id: VolumeId::new(id).expect("valid"), container_path: "data".to_owned(), shared })
        };
        let mut free = Quantities {
            cpus: Milli(1500),
            mem: Milli::units(2048),
            ports: [(20000, 20001)].into_iter().collect(),
            ranges: BTreeMap::from([("vlans".to_owned(), [(1, 5)].into_iter().collect())]),
            sets: BTreeMap::from([("keys".to_owned(), ["a".to_owned(), "b".to_owned()].into())]),
            ..Quantities::default()
        };
        free.add(&disk("path:/data", 10));
        free.add(&disk("mount:/mnt/a", 20));
        let mut resources = Resources::from(free);
        resources.revocable = Quantities { cpus: Milli(250), ..Quantities::default() };
        let fixed = Reservation::by_configuration(RoleName::new("db").expect("valid"));
        let refined = Reservation::stack([fixed.clone(), reserved("db/main")]).expect("some");
        for (reservation, volume, amount) in [
            (reserved("db"), volume("v1", false), disk("", 100)),
            (reserved("db"), volume("v2", true), disk("mount:/mnt/b", 100)),
            (reserved("db"), None, disk("path:/data", 7)),
            (fixed, None, disk("", 5)),
            (refined.clone(), None, disk("", 5)),
            (refined, volume("v3", false), disk("path:/data", 5)),
        ] {
            resources.add(&Resources::held_as(Holding { reservation, volume }, amount));
        }
        assert_eq!(from_wire(&to_wire(&resources)), Ok(resources));
    }

    #[test]
    fn a_bad_amount_is_refused_with_its_path() {
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            let error = from_wire(&[scalar("mem", Milli(1)), with_value("cpus", value)]).expect_err("no amount");
            assert_eq!(error.path, "resources[1].scalar.value", "{value}");
        }
    }

    fn with_value(name: &str, value: f64) -> wire::Resource {
        wire::Resource { scalar: Some(wire::value::Scalar { value }), ..scalar(name, Milli(1)) }
    }

    #[test]
    fn lists_that_cost_more_than_they_say_are_refused() {
        let told = |list: &[wire::Resource]| from_wire(list).map_err(|error| error.path);
        // Together more than fits a number.
        let most = scalar("cpus", Milli(MILLI_MAX));
        assert_eq!(told(&[most.clone(), most]), Err("resources[1].scalar.value".to_owned()));
        let many = |count: usize| (0..count).map(|i| scalar(&format!("r{i}"), Milli(1))).collect::<Vec<_>>();
        assert_eq!(told(&many(KINDS_MAX + 1)), Err(format!("resources[{KINDS_MAX}].name")));
        assert_eq!(told(&vec![scalar("cpus", Milli(1)); RESOURCES_MAX + 1]), Err("resources".to_owned()));
        let numbers = |from: u64| wire::Resource {
            r#type: Type::Ranges.into(),
            scalar: None,
            ranges: Some(wire::value::Ranges {
                range: (0..ITEMS_MAX as u64 / 2 + 1)
                    .map(|i| wire::value::Range { begin: from + 3 * i, end: from + 3 * i })
                    .collect(),
            }),
            ..scalar("vlans", Milli(1))
        };
        assert_eq!(told(&[numbers(0), numbers(1_000_000)]), Err("resources[1].ranges".to_owned()));
        // A stack so deep that dropping it would end the process.
        let layer = || wire::resource::ReservationInfo { role: Some("a".to_owned()), ..Default::default() };
        let deep = wire::Resource { reservations: vec![layer(); 200_000], ..scalar("cpus", Milli(1)) };
        assert_eq!(told(&[deep]), Err("resources[0].reservations".to_owned()));
    }

    #[test]
    fn a_number_or_thing_given_twice_is_refused() {
        let ports = wire::Resource {
            name: "ports".to_owned(),
            r#type: Type::Ranges.into(),
            ranges: Some(wire::value::Ranges { range: vec![wire::value::Range { begin: 1, end: 2 }] }),
            ..wire::Resource::default()
        };
        let path = |list: &[wire::Resource]| from_wire(list).map_err(|error| error.path);
        assert_eq!(path(&[ports.clone(), ports]), Err("resources[1].ranges".to_owned()));
        let keys = |item: &[&str]| wire::Resource {
            name: "keys".to_owned(),
            r#type: Type::Set.into(),
            set: Some(wire::value::Set { item: item.iter().map(|text| (*text).to_owned()).collect() }),
            ..wire::Resource::default()
        };
        assert_eq!(path(&[keys(&["a", "a"])]), Err("resources[0].set".to_owned()));
        assert_eq!(path(&[keys(&["a"]), keys(&["b", "a"])]), Err("resources[1].set".to_owned()));
        assert!(path(&[keys(&["a"]), keys(&["b"])]).is_ok());
    }

    #[test]
    fn titles_that_cannot_be_are_refused() {
        let layers = |names: &[&str]| wire::Resource {
            reservations: names.iter().map(|name| reservation_to_wire(&reserved(name))).collect(),
            ..scalar("cpus", Milli(1))
        };
        let problem = |resource| from_wire(&[resource]).map_err(|error| error.to_string());
        assert!(problem(layers(&["a", "a/b"])).is_ok());
        for (bad, words) in [
            (layers(&["a", "b"]), "refines only one for a role above"),
            (layers(&["*"]), "'*'"),
            (wire::Resource { role: Some("a".to_owned()), ..layers(&["a"]) }, "together"),
            (
                wire::Resource { revocable: Some(wire::resource::RevocableInfo {}), ..layers(&["a"]) },
                "cannot be reserved",
            ),
            (wire::Resource { shared: Some(wire::resource::SharedInfo {}), ..layers(&["a"]) }, "only volumes"),
        ] {
            let told = problem(bad).expect_err(words);
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn the_form_from_before_refinement_is_understood() {
        let fixed = wire::Resource { role: Some("db".to_owned()), ..scalar("cpus", Milli(1000)) };
        let read = from_wire(std::slice::from_ref(&fixed)).expect("valid");
        assert!(read.held.keys().all(|holding| holding.is_configured()), "a role alone is a static reservation");
        let info = reservation_to_wire(&reserved("db"));
        let info = wire::resource::ReservationInfo { role: None, r#type: None, ..info };
        let read = from_wire(&[wire::Resource { reservation: Some(info), ..fixed }]).expect("valid");
        assert_eq!(read.held.keys().next().map(|holding| holding.reservation.clone()), Some(reserved("db")));
    }
}
