//! Reservations and volumes: what operations make of an agent's resources. Pure; `accept`, `titles` and `teardown` say
//! when.
use std::collections::BTreeMap;

use model::{Holding, Milli, Principal, Quantities, Resources, RoleName};

use crate::decision::Rejected;
use crate::limits;

/// The largest amount anybody may speak of: a million million units, far from where sums overflow.
const AMOUNT_MAX: i64 = 1_000_000_000_000_000;

/// In whose name operations are asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claimant<'a> {
    /// The role of the offer; `None` for an operator, who may speak for any.
    pub(crate) role: Option<&'a RoleName>,
    pub(crate) principal: &'a Principal,
}

/// What operations change: the pool they draw from, and the agent's total, of which that is a part.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) pool: &'a mut Resources,
    pub(crate) total: &'a mut Resources,
}

/// Whether every amount is neither negative nor absurd, and every title can be.
pub(crate) fn are_sane(resources: &Resources) -> bool {
    let sane = |quantities: &Quantities| quantities.amounts().all(|amount| (0..=AMOUNT_MAX).contains(&amount.0));
    sane(&resources.unreserved)
        && sane(&resources.revocable)
        && resources.held.iter().all(|(holding, quantities)| {
            sane(quantities) && !quantities.is_empty() && holding.reservation.check().is_ok()
        })
}

impl Ground<'_> {
    /// Takes `from` and puts `to`.
    fn convert(&mut self, from: &Resources, to: &Resources) -> Result<(), Rejected> {
        let new = to.held.keys().filter(|holding| !self.total.held.contains_key(holding)).count();
        let (count, limit) = (self.total.held.len() + new, limits::HOLDINGS_PER_AGENT_MAX);
        if new > 0 && count > limit {
            return Err(Rejected::TooMany { what: "reservations and volumes on one agent", count, limit });
        }
        self.check_size(from, to)?;
        self.pool.take(from).map_err(|missing| Rejected::TooMuch { missing })?;
        self.total.take(from).expect("what is offered is part of the agent's total");
        self.pool.add(to);
        self.total.add(to);
        Ok(())
    }

    /// Whether the agent's total can still be sent: as it is sent, each kind under each title is one entry.
    fn check_size(&self, from: &Resources, to: &Resources) -> Result<(), Rejected> {
        let (before, out, new) = (Size::of(self.total), Size::of(from), Size::of(to));
        // At the most: what is taken from the middle of a range leaves two.
        let is_small = before.entries + new.entries <= limits::HOLDING_ENTRIES_PER_AGENT_MAX
            && before.ranges + out.ranges + new.ranges <= limits::RANGES_PER_AGENT_MAX;
        if is_small {
            return Ok(());
        }
        let mut after = self.total.clone();
        after.take(from).map_err(|missing| Rejected::TooMuch { missing })?;
        after.add(to);
        let after = Size::of(&after);
        // What is too large already may become smaller.
        let (count, limit) = (after.entries, limits::HOLDING_ENTRIES_PER_AGENT_MAX);
        if count > limit && count > before.entries {
            return Err(Rejected::TooMany {
                what: "kinds of resources, each under each title, on one agent",
                count,
                limit,
            });
        }
        let (count, limit) = (after.ranges, limits::RANGES_PER_AGENT_MAX);
        if count > limit && count > before.ranges {
            return Err(Rejected::TooMany { what: "ranges of numbers of one name on one agent", count, limit });
        }
        Ok(())
    }
}

/// How much there is of what is sent.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// Kinds under titles.
    entries: usize,
    /// Ranges of the name that has the most of them, whatever their title.
    ranges: usize,
}

impl Size {
    fn of(resources: &Resources) -> Self {
        let kinds = |quantities: &Quantities| {
            quantities.amounts().filter(|amount| amount.0 != 0).count()
                + usize::from(!quantities.ports.is_empty())
                + quantities.ranges.len()
                + quantities.sets.len()
        };
        let entries = resources.held.values().map(kinds).sum();
        let (mut ports, mut named) = (0, BTreeMap::new());
        for quantities in [&resources.unreserved, &resources.revocable].into_iter().chain(resources.held.values()) {
            ports += quantities.ports.as_slice().len();
            for (name, ranges) in &quantities.ranges {
                *named.entry(name.as_str()).or_insert(0) += ranges.as_slice().len();
            }
        }
        Self { entries, ranges: named.into_values().fold(ports, usize::max) }
    }
}

fn only_held(wanted: &Resources, volumes: bool) -> Result<(), Rejected> {
    if wanted.held.is_empty() || *wanted != wanted.holdings() || !are_sane(wanted) {
        return Err(Rejected::Malformed { what: "the operation must name reserved resources, and only those" });
    }
    match (volumes, wanted.held.keys().all(|holding| holding.volume.is_some() == volumes)) {
        (_, true) => Ok(()),
        (true, false) => Err(Rejected::Malformed { what: "the operation must name volumes, and only those" }),
        (false, false) => Err(Rejected::Malformed { what: "the operation must not name volumes" }),
    }
}

/// The one volume, and its size.
fn one_volume(wanted: &Resources) -> Result<(&Holding, &Quantities), Rejected> {
    only_held(wanted, true)?;
    let (holding, quantities) = wanted.held.iter().next().expect("at least one, checked above");
    if wanted.held.len() > 1 {
        return Err(Rejected::Malformed { what: "the operation must name one volume" });
    }
    if holding.is_shared() {
        return Err(Rejected::Malformed { what: "a shared volume cannot be resized" });
    }
    match quantities.as_one_disk() {
        Some((Some(disk), _)) if disk.is_exclusive() => {
            Err(Rejected::Malformed { what: "a volume on a mount is as large as the mount" })
        }
        Some(_) => Ok((holding, quantities)),
        None => Err(Rejected::Malformed { what: "a volume is made of one disk, and of nothing else" }),
    }
}

/// Whether a new reservation may be made by the claimant.
fn may_reserve(holding: &Holding, claimant: Claimant<'_>) -> Result<(), Rejected> {
    let reservation = &holding.reservation;
    if reservation.is_static {
        return Err(Rejected::StaticReservation { role: reservation.role.clone() });
    }
    if let Some(role) = claimant.role.filter(|role| **role != reservation.role) {
        return Err(Rejected::WrongRole { role: reservation.role.clone(), offered: role.clone() });
    }
    if reservation.principal != *claimant.principal {
        return Err(Rejected::WrongPrincipal { principal: claimant.principal.clone() });
    }
    Ok(())
}

/// Whether the claimant may make a volume under a reservation: one of its own, or one that an operator or the agent's
/// configuration made for its role or a role above.
fn may_create(holding: &Holding, claimant: Claimant<'_>) -> Result<(), Rejected> {
    let Some(role) = claimant.role else { return Ok(()) };
    let reservation = &holding.reservation;
    if !role.is_within(&reservation.role) {
        return Err(Rejected::WrongRole { role: reservation.role.clone(), offered: role.clone() });
    }
    let is_for_all = reservation.is_static || reservation.principal.is_operator();
    if !is_for_all && reservation.principal != *claimant.principal {
        return Err(Rejected::WrongPrincipal { principal: claimant.principal.clone() });
    }
    Ok(())
}

/// Resources become reserved: unreserved ones, or those reserved for a role above.
pub(crate) fn reserve(ground: &mut Ground<'_>, wanted: &Resources, claimant: Claimant<'_>) -> Result<(), Rejected> {
    if wanted.held.keys().any(|holding| holding.reservation.role.as_str() == "*") {
        return Err(Rejected::Malformed { what: "nothing can be reserved for the role '*'" });
    }
    only_held(wanted, false)?;
    for holding in wanted.held.keys() {
        may_reserve(holding, claimant)?;
    }
    ground.convert(&wanted.undone(), wanted)
}

/// What is reserved one way becomes reserved another way, however many steps that takes, without being free in between.
pub(crate) fn re_reserve(
    ground: &mut Ground<'_>,
    source: &Resources,
    wanted: &Resources,
    claimant: Claimant<'_>,
) -> Result<(), Rejected> {
    only_held(source, false)?;
    only_held(wanted, false)?;
    if source.held.len() > 1 || wanted.held.len() > 1 || source.sum() != wanted.sum() {
        return Err(Rejected::Malformed {
            what: "an update of a reservation leads from one to one other of the same size",
        });
    }
    let (from, to) = (source.held.keys().next(), wanted.held.keys().next());
    let (from, to) = (from.expect("checked above"), to.expect("checked above"));
    if from.origin() != to.origin() {
        return Err(Rejected::StaticReservation { role: from.reservation.outermost().role.clone() });
    }
    if !to.is_configured() {
        may_reserve(to, claimant)?;
    }
    ground.convert(source, wanted)
}

/// Reserved resources lose their innermost reservation. Whoever holds the offer may do so: a framework cleans up after
/// its predecessors.
pub(crate) fn unreserve(ground: &mut Ground<'_>, wanted: &Resources) -> Result<(), Rejected> {
    only_held(wanted, false)?;
    if let Some(fixed) = wanted.held.keys().find(|holding| holding.is_configured()) {
        return Err(Rejected::StaticReservation { role: fixed.reservation.role.clone() });
    }
    ground.convert(wanted, &wanted.undone())
}

/// Reserved disk becomes volumes.
pub(crate) fn create(ground: &mut Ground<'_>, wanted: &Resources, claimant: Claimant<'_>) -> Result<(), Rejected> {
    only_held(wanted, true)?;
    for (holding, quantities) in &wanted.held {
        may_create(holding, claimant)?;
        let volume = holding.volume.as_ref().expect("only volumes, checked above");
        if quantities.as_one_disk().is_none() {
            return Err(Rejected::Malformed { what: "a volume is made of one disk, and of nothing else" });
        }
        let exists = |other: &Holding| {
            other.reservation.role == holding.reservation.role
                && other.volume.as_ref().is_some_and(|v| v.id == volume.id)
        };
        if ground.total.held.keys().any(exists) || wanted.held.keys().filter(|other| exists(other)).count() > 1 {
            return Err(Rejected::VolumeExists { volume: volume.id.clone() });
        }
    }
    ground.convert(&wanted.undone(), wanted)
}

/// Volumes become reserved disk; the agent deletes their data. `used` says what something that runs has.
pub(crate) fn destroy(ground: &mut Ground<'_>, wanted: &Resources, used: &Resources) -> Result<(), Rejected> {
    only_held(wanted, true)?;
    if let Some(volume) =
        wanted.held.keys().filter(|holding| used.held.contains_key(holding)).find_map(|holding| holding.volume.as_ref())
    {
        return Err(Rejected::VolumeInUse { volume: volume.id.clone() });
    }
    ground.convert(wanted, &wanted.undone())
}

/// A volume becomes larger by disk under its own reservation, on its own disk.
pub(crate) fn grow(ground: &mut Ground<'_>, volume: &Resources, addition: &Resources) -> Result<(), Rejected> {
    let (holding, size) = one_volume(volume)?;
    only_held(addition, false)?;
    let plain = Holding::plain(holding.reservation.clone());
    let more = addition.held.get(&plain).filter(|_| addition.held.len() == 1);
    let on = |quantities: &Quantities| quantities.as_one_disk().map(|(disk, _)| disk.cloned());
    let Some(more) = more.filter(|more| on(more).is_some() && on(more) == on(size)) else {
        return Err(Rejected::Malformed { what: "a volume grows by disk under its own reservation, on its own disk" });
    };
    let mut larger = size.clone();
    larger.add(more);
    let mut from = volume.clone();
    from.add(addition);
    ground.convert(&from, &Resources::held_as(holding.clone(), larger))
}

/// A volume becomes smaller; what it loses is reserved as before.
pub(crate) fn shrink(ground: &mut Ground<'_>, volume: &Resources, subtract: Milli) -> Result<(), Rejected> {
    let (holding, size) = one_volume(volume)?;
    let (disk, amount) = size.as_one_disk().expect("checked by one_volume()");
    if subtract <= Milli(0) || subtract >= amount {
        return Err(Rejected::Malformed { what: "a volume shrinks by something, and to something" });
    }
    let smaller = Quantities::of_disk(disk.cloned(), Milli(amount.0 - subtract.0));
    let mut to = Resources::held_as(holding.clone(), smaller);
    let freed = Quantities::of_disk(disk.cloned(), subtract);
    to.add(&Resources::held_as(Holding::plain(holding.reservation.clone()), freed));
    ground.convert(volume, &to)
}

/// What an agent reported, retitled as the master decided. `None` if it has not got that much any more.
pub(crate) fn retitled(reported: &Resources, holdings: &Resources) -> Option<Resources> {
    reported.as_configured().titled(holdings).ok()
}

#[cfg(test)]
mod tests;
