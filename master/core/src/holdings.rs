//! Reservations and volumes: what operations make of an agent's resources. Pure; `accept` and `teardown` say when.
use model::{Holding, Milli, Principal, Quantities, Resources, RoleName};

use crate::decision::Rejected;
use crate::limits;

/// The largest amount anybody may speak of: a million million units, far from where sums overflow.
const AMOUNT_MAX: i64 = 1_000_000_000_000_000;

/// In whose name operations are asked, and for which role.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claimant<'a> {
    pub(crate) role: &'a RoleName,
    pub(crate) principal: &'a Principal,
}

/// Whether every amount is neither negative nor absurd.
pub(crate) fn are_sane(resources: &Resources) -> bool {
    let sane = |quantities: &Quantities| quantities.scalars().all(|(_, amount)| (0..=AMOUNT_MAX).contains(&amount.0));
    sane(&resources.unreserved) && resources.held.values().all(|quantities| sane(quantities) && !quantities.is_empty())
}

/// Converts, in the pool of an accept and in the agent's total: takes `from` and puts `to`.
fn convert(pool: &mut Resources, total: &mut Resources, from: &Resources, to: &Resources) -> Result<(), Rejected> {
    pool.take(from).map_err(|missing| Rejected::TooMuch { missing })?;
    total.take(from).expect("what is offered is part of the agent's total");
    pool.add(to);
    total.add(to);
    Ok(())
}

fn only_held(wanted: &Resources, volumes: bool) -> Result<(), Rejected> {
    if wanted.held.is_empty() || !wanted.unreserved.is_empty() || !are_sane(wanted) {
        return Err(Rejected::Malformed { what: "the operation must name reserved resources, and only those" });
    }
    match (volumes, wanted.held.keys().all(|holding| holding.volume.is_some() == volumes)) {
        (_, true) => Ok(()),
        (true, false) => Err(Rejected::Malformed { what: "the operation must name volumes, and only those" }),
        (false, false) => Err(Rejected::Malformed { what: "the operation must not name volumes" }),
    }
}

fn claimed(holding: &Holding, claimant: Claimant<'_>) -> Result<(), Rejected> {
    if holding.reservation.role != *claimant.role {
        let (role, offered) = (holding.reservation.role.clone(), claimant.role.clone());
        return Err(Rejected::WrongRole { role, offered });
    }
    if holding.reservation.principal != *claimant.principal {
        return Err(Rejected::WrongPrincipal { principal: claimant.principal.clone() });
    }
    Ok(())
}

/// Unreserved resources become reserved.
pub(crate) fn reserve(
    pool: &mut Resources,
    total: &mut Resources,
    wanted: &Resources,
    claimant: Claimant<'_>,
) -> Result<(), Rejected> {
    only_held(wanted, false)?;
    for holding in wanted.held.keys() {
        claimed(holding, claimant)?;
    }
    if claimant.role.as_str() == "*" {
        return Err(Rejected::Malformed { what: "nothing can be reserved for the role '*'" });
    }
    let count = total.held.len() + wanted.held.keys().filter(|holding| !total.held.contains_key(holding)).count();
    let limit = limits::HOLDINGS_PER_AGENT_MAX;
    if count > limit {
        return Err(Rejected::TooMany { what: "reservations and volumes on one agent", count, limit });
    }
    convert(pool, total, &wanted.sum().into(), wanted)
}

/// Reserved resources become unreserved. Whoever holds the offer may do so: a framework cleans up after its predecessors.
pub(crate) fn unreserve(pool: &mut Resources, total: &mut Resources, wanted: &Resources) -> Result<(), Rejected> {
    only_held(wanted, false)?;
    convert(pool, total, wanted, &wanted.sum().into())
}

/// Reserved disk becomes volumes.
pub(crate) fn create(
    pool: &mut Resources,
    total: &mut Resources,
    wanted: &Resources,
    claimant: Claimant<'_>,
) -> Result<(), Rejected> {
    only_held(wanted, true)?;
    for (holding, quantities) in &wanted.held {
        claimed(holding, claimant)?;
        let volume = holding.volume.as_ref().expect("only volumes, checked above");
        let disk = Quantities { disk: quantities.disk, ..Quantities::default() };
        if *quantities != disk || disk.disk <= Milli(0) {
            return Err(Rejected::Malformed { what: "a volume is made of disk, and of nothing else" });
        }
        let exists = |other: &Holding| {
            other.reservation.role == holding.reservation.role
                && other.volume.as_ref().is_some_and(|v| v.id == volume.id)
        };
        if total.held.keys().any(exists) || wanted.held.keys().filter(|other| exists(other)).count() > 1 {
            return Err(Rejected::VolumeExists { volume: volume.id.clone() });
        }
    }
    let (count, limit) = (total.held.len() + wanted.held.len(), limits::HOLDINGS_PER_AGENT_MAX);
    if count > limit {
        return Err(Rejected::TooMany { what: "reservations and volumes on one agent", count, limit });
    }
    convert(pool, total, &without_volumes(wanted), wanted)
}

/// Volumes become reserved disk; the agent deletes their data.
pub(crate) fn destroy(pool: &mut Resources, total: &mut Resources, wanted: &Resources) -> Result<(), Rejected> {
    only_held(wanted, true)?;
    convert(pool, total, wanted, &without_volumes(wanted))
}

fn without_volumes(volumes: &Resources) -> Resources {
    let mut disk = Resources::default();
    for (holding, quantities) in &volumes.held {
        let plain = Holding { reservation: holding.reservation.clone(), volume: None };
        disk.add(&Resources::held_as(plain, quantities.clone()));
    }
    disk
}

/// What an agent reported, retitled as the master decided. `None` if it has not got that much any more.
pub(crate) fn retitled(reported: &Resources, holdings: &Resources) -> Option<Resources> {
    let mut unreserved = reported.sum();
    for quantities in holdings.held.values() {
        unreserved.take(quantities).ok()?;
    }
    Some(Resources { unreserved, held: holdings.held.clone() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{Reservation, Volume, VolumeId};

    use super::*;

    fn disk(amount: i64) -> Quantities {
        Quantities { disk: Milli::units(amount), ..Quantities::default() }
    }
    fn held(role: &str, volume: Option<&str>, amount: i64) -> Resources {
        let holding = Holding {
            reservation: Reservation {
                role: RoleName::new(role).expect("valid"),
                principal: Principal::new("framework/f"),
                labels: BTreeMap::new(),
            },
            volume: volume
                .map(|id| Volume { id: VolumeId::new(id).expect("valid"), container_path: "data".to_owned() }),
        };
        Resources::held_as(holding, disk(amount))
    }

    #[test]
    fn disk_is_reserved_made_a_volume_destroyed_and_unreserved() {
        let (role, principal) = (RoleName::new("r").expect("valid"), Principal::new("framework/f"));
        let claimant = Claimant { role: &role, principal: &principal };
        let mut pool: Resources = disk(10).into();
        let mut total: Resources = disk(12).into();
        reserve(&mut pool, &mut total, &held("r", None, 4), claimant).expect("enough");
        assert_eq!(total.to_string(), "disk 8 MiB + disk 4 MiB for r");
        create(&mut pool, &mut total, &held("r", Some("v"), 3), claimant).expect("reserved");
        assert_eq!(pool.to_string(), "disk 6 MiB + disk 1 MiB for r + disk 3 MiB for r as volume v");
        assert!(matches!(
            create(&mut pool, &mut total, &held("r", Some("v"), 1), claimant),
            Err(Rejected::VolumeExists { .. })
        ));
        assert!(matches!(unreserve(&mut pool, &mut total, &held("r", None, 2)), Err(Rejected::TooMuch { .. })));
        destroy(&mut pool, &mut total, &held("r", Some("v"), 3)).expect("there");
        unreserve(&mut pool, &mut total, &held("r", None, 4)).expect("there");
        assert_eq!((pool, total), (disk(10).into(), disk(12).into()));
    }

    #[test]
    fn what_is_not_ones_own_is_refused() {
        let (role, principal) = (RoleName::new("r").expect("valid"), Principal::new("framework/g"));
        let claimant = Claimant { role: &role, principal: &principal };
        let (mut pool, mut total): (Resources, Resources) = (disk(10).into(), disk(10).into());
        let mut reserve = |wanted| reserve(&mut pool, &mut total, &wanted, claimant);
        assert!(matches!(reserve(held("s", None, 1)), Err(Rejected::WrongRole { .. })));
        assert!(matches!(reserve(held("r", None, 1)), Err(Rejected::WrongPrincipal { .. })));
        assert!(matches!(reserve(disk(1).into()), Err(Rejected::Malformed { .. })));
        assert!(matches!(reserve(held("r", Some("v"), 1)), Err(Rejected::Malformed { .. })));
        assert!(matches!(reserve(held("r", None, -1)), Err(Rejected::Malformed { .. })));
    }
}
