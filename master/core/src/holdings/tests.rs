//! What operations make of resources, one by one.
use std::collections::BTreeMap;

use model::{Disk, Reservation, Volume, VolumeId};

use super::*;

const MINE: &str = "framework/f";

fn role(name: &str) -> RoleName {
    RoleName::new(name).expect("valid")
}
fn disk(amount: i64) -> Quantities {
    Quantities { disk: Milli::units(amount), ..Quantities::default() }
}
fn on(name: &str, amount: i64) -> Quantities {
    Quantities::of_disk(Some(name.parse::<Disk>().expect("a disk")), Milli::units(amount))
}
fn reservation(name: &str, principal: &str) -> Reservation {
    Reservation::new(role(name), Principal::new(principal), BTreeMap::new())
}
fn refined(names: &[&str]) -> Reservation {
    Reservation::stack(names.iter().map(|name| reservation(name, MINE))).expect("some")
}
fn volume(id: &str, shared: bool) -> Option<Volume> {
    Some(Volume { id: VolumeId::new(id).expect("valid"), container_path: "data".to_owned(), shared })
}
fn held(name: &str, id: Option<&str>, amount: i64) -> Resources {
    let volume = id.and_then(|id| volume(id, false));
    Resources::held_as(Holding { reservation: reservation(name, MINE), volume }, disk(amount))
}

/// A pool that is all of its agent.
struct World {
    pool: Resources,
    total: Resources,
}

impl World {
    fn new(all: impl Into<Resources>) -> Self {
        let all = all.into();
        Self { pool: all.clone(), total: all }
    }
    fn ground(&mut self) -> Ground<'_> {
        Ground { pool: &mut self.pool, total: &mut self.total }
    }
    fn text(&self) -> String {
        assert_eq!(self.pool, self.total, "what is converted is converted on both sides");
        self.pool.to_string()
    }
}

fn as_framework<T>(name: &str, act: impl FnOnce(Claimant<'_>) -> T) -> T {
    act(Claimant { role: Some(&role(name)), principal: &Principal::new(MINE) })
}
fn as_operator<T>(act: impl FnOnce(Claimant<'_>) -> T) -> T {
    act(Claimant { role: None, principal: &Principal::new("operator/ann") })
}

#[test]
fn disk_is_reserved_made_a_volume_destroyed_and_unreserved() {
    let mut world = World::new(disk(12));
    as_framework("r", |me| reserve(&mut world.ground(), &held("r", None, 4), me)).expect("enough");
    assert_eq!(world.text(), "disk 8 MiB + disk 4 MiB for r");
    as_framework("r", |me| create(&mut world.ground(), &held("r", Some("v"), 3), me)).expect("reserved");
    assert_eq!(world.text(), "disk 8 MiB + disk 1 MiB for r + disk 3 MiB for r as volume v");
    let again = as_framework("r", |me| create(&mut world.ground(), &held("r", Some("v"), 1), me));
    assert!(matches!(again, Err(Rejected::VolumeExists { .. })));
    assert!(matches!(unreserve(&mut world.ground(), &held("r", None, 2)), Err(Rejected::TooMuch { .. })));
    destroy(&mut world.ground(), &held("r", Some("v"), 3), &Resources::default()).expect("there");
    unreserve(&mut world.ground(), &held("r", None, 4)).expect("there");
    assert_eq!(world.total, disk(12).into());
}

#[test]
fn what_is_not_ones_own_is_refused() {
    let mut world = World::new(disk(10));
    let principal = Principal::new("framework/g");
    let other = Claimant { role: Some(&role("r")), principal: &principal };
    let mut reserve = |wanted| reserve(&mut world.ground(), &wanted, other);
    assert!(matches!(reserve(held("s", None, 1)), Err(Rejected::WrongRole { .. })));
    assert!(matches!(reserve(held("r", None, 1)), Err(Rejected::WrongPrincipal { .. })));
    assert!(matches!(reserve(disk(1).into()), Err(Rejected::Malformed { .. })));
    assert!(matches!(reserve(held("r", Some("v"), 1)), Err(Rejected::Malformed { .. })));
    assert!(matches!(reserve(held("r", None, -1)), Err(Rejected::Malformed { .. })));
}

#[test]
fn reservations_are_refined_downwards_and_undone_one_by_one() {
    let mut world = World::new(disk(10));
    let one = |names: &[&str], amount| Resources::held_as(Holding::plain(refined(names)), disk(amount));
    as_framework("a", |me| reserve(&mut world.ground(), &one(&["a"], 6), me)).expect("enough");
    as_framework("a/b", |me| reserve(&mut world.ground(), &one(&["a", "a/b"], 4), me)).expect("refined");
    assert_eq!(world.text(), "disk 4 MiB + disk 2 MiB for a + disk 4 MiB for a/b");
    let sideways = as_framework("c", |me| reserve(&mut world.ground(), &one(&["a", "c"], 1), me));
    assert!(matches!(sideways, Err(Rejected::Malformed { .. })));
    let more = as_framework("a/b", |me| reserve(&mut world.ground(), &one(&["a", "a/b"], 3), me));
    assert!(matches!(more, Err(Rejected::TooMuch { .. })), "refined is what was reserved above, not what is free");
    unreserve(&mut world.ground(), &one(&["a", "a/b"], 4)).expect("there");
    assert_eq!(world.text(), "disk 4 MiB + disk 6 MiB for a");
}

#[test]
fn static_reservations_are_refined_and_made_into_volumes_and_stay() {
    let fixed = Reservation::by_configuration(role("a"));
    let mut world = World::new(Resources::held_as(Holding::plain(fixed.clone()), disk(10)));
    let plain = |amount| Resources::held_as(Holding::plain(fixed.clone()), disk(amount));
    assert!(matches!(unreserve(&mut world.ground(), &plain(1)), Err(Rejected::StaticReservation { .. })));
    let again = as_operator(|me| reserve(&mut world.ground(), &plain(1), me));
    assert!(matches!(again, Err(Rejected::StaticReservation { .. })));
    let upon = Reservation::stack([fixed.clone(), reservation("a/b", MINE)]).expect("some");
    let upon = Resources::held_as(Holding::plain(upon), disk(4));
    as_framework("a/b", |me| reserve(&mut world.ground(), &upon, me)).expect("refined");
    let on_it = Resources::held_as(Holding { reservation: fixed.clone(), volume: volume("v", false) }, disk(3));
    as_framework("a/b", |me| create(&mut world.ground(), &on_it, me)).expect("reserved for all of the role");
    assert_eq!(world.text(), "disk 3 MiB for a + disk 3 MiB for a as volume v + disk 4 MiB for a/b");
    assert_eq!(world.total.as_configured(), plain(10));
    let other = as_framework("b", |me| create(&mut world.ground(), &on_it, me));
    assert!(matches!(other, Err(Rejected::WrongRole { .. })));
}

#[test]
fn an_operator_reserves_for_any_role_and_its_frameworks_make_volumes_of_it() {
    let mut world = World::new(disk(10));
    let by = |principal: &str| Resources::held_as(Holding::plain(reservation("a", principal)), disk(4));
    let foreign = as_operator(|me| reserve(&mut world.ground(), &by(MINE), me));
    assert!(matches!(foreign, Err(Rejected::WrongPrincipal { .. })));
    as_operator(|me| reserve(&mut world.ground(), &by("operator/ann"), me)).expect("any role");
    let holding = Holding { reservation: reservation("a", "operator/ann"), volume: volume("v", false) };
    let made = Resources::held_as(holding, disk(4));
    as_framework("a/b", |me| create(&mut world.ground(), &made, me)).expect("reserved by an operator");
    assert_eq!(world.text(), "disk 6 MiB + disk 4 MiB for a as volume v");
}

#[test]
fn an_operator_moves_a_reservation_without_freeing_it() {
    let mut world = World::new(disk(10));
    let by = |name: &str, amount| Resources::held_as(Holding::plain(reservation(name, "operator/ann")), disk(amount));
    as_operator(|me| reserve(&mut world.ground(), &by("a", 6), me)).expect("enough");
    as_operator(|me| re_reserve(&mut world.ground(), &by("a", 4), &by("b", 4), me)).expect("there");
    assert_eq!(world.text(), "disk 4 MiB + disk 2 MiB for a + disk 4 MiB for b");
    let uneven = as_operator(|me| re_reserve(&mut world.ground(), &by("a", 2), &by("b", 1), me));
    assert!(matches!(uneven, Err(Rejected::Malformed { .. })));
    let absent = as_operator(|me| re_reserve(&mut world.ground(), &by("a", 3), &by("b", 3), me));
    assert!(matches!(absent, Err(Rejected::TooMuch { .. })));
    let fixed = Reservation::by_configuration(role("c"));
    world = World::new(Resources::held_as(Holding::plain(fixed.clone()), disk(5)));
    let from = Resources::held_as(Holding::plain(fixed), disk(2));
    let moved = as_operator(|me| re_reserve(&mut world.ground(), &from, &by("b", 2), me));
    assert!(matches!(moved, Err(Rejected::StaticReservation { .. })), "the configuration's stay the configuration's");
}

#[test]
fn volumes_grow_and_shrink_on_their_own_disk() {
    let mut all = Resources::from(disk(10));
    all.add(&on("path:/data", 10).into());
    all.add(&on("mount:/mnt/a", 10).into());
    let mut world = World::new(all);
    let plain = |quantities| Resources::held_as(Holding::plain(reservation("r", MINE)), quantities);
    let made = |id, quantities| {
        Resources::held_as(Holding { reservation: reservation("r", MINE), volume: volume(id, false) }, quantities)
    };
    let mut wanted = plain(disk(8));
    wanted.add(&plain(on("path:/data", 8)));
    wanted.add(&plain(on("mount:/mnt/a", 10)));
    as_framework("r", |me| reserve(&mut world.ground(), &wanted, me)).expect("enough");
    for volume in [made("v", on("path:/data", 3)), made("m", on("mount:/mnt/a", 10))] {
        as_framework("r", |me| create(&mut world.ground(), &volume, me)).expect("reserved");
    }
    let half = as_framework("r", |me| create(&mut world.ground(), &made("n", on("mount:/mnt/a", 5)), me));
    assert!(matches!(half, Err(Rejected::TooMuch { .. })), "a mount is never divided");
    let small = made("v", on("path:/data", 3));
    assert!(grow(&mut world.ground(), &small, &plain(disk(1))).is_err(), "another disk");
    grow(&mut world.ground(), &small, &plain(on("path:/data", 2))).expect("reserved on the same disk");
    assert!(grow(&mut world.ground(), &small, &plain(on("path:/data", 2))).is_err(), "it is larger by now");
    let large = made("v", on("path:/data", 5));
    assert!(shrink(&mut world.ground(), &large, Milli::units(5)).is_err(), "to nothing");
    shrink(&mut world.ground(), &large, Milli::units(1)).expect("by something");
    assert!(world.total.contains(&made("v", on("path:/data", 4))));
    assert!(world.total.contains(&plain(on("path:/data", 4))), "what it lost is reserved as before");
    let mount = made("m", on("mount:/mnt/a", 10));
    assert!(shrink(&mut world.ground(), &mount, Milli::units(1)).is_err(), "as large as the mount");
    assert_eq!(world.pool, world.total);
}

#[test]
fn a_shared_volume_is_neither_resized_nor_destroyed_under_its_tasks() {
    let mut world = World::new(disk(10));
    as_framework("r", |me| reserve(&mut world.ground(), &held("r", None, 8), me)).expect("enough");
    let holding = Holding { reservation: reservation("r", MINE), volume: volume("v", true) };
    let shared = Resources::held_as(holding, disk(3));
    as_framework("r", |me| create(&mut world.ground(), &shared, me)).expect("reserved");
    assert!(grow(&mut world.ground(), &shared, &held("r", None, 1)).is_err());
    assert!(matches!(destroy(&mut world.ground(), &shared, &shared), Err(Rejected::VolumeInUse { .. })));
    destroy(&mut world.ground(), &shared, &Resources::default()).expect("nobody has it");
    assert_eq!(world.text(), "disk 2 MiB + disk 8 MiB for r");
}

#[test]
fn as_much_is_held_as_can_be_sent() {
    let kinds = 16;
    let part = |amount: i64| Quantities {
        custom: (0..kinds).map(|n| (format!("kind-{n}"), Milli(amount))).collect(),
        ..Quantities::default()
    };
    let mut world = World::new(part(1000));
    let whole = limits::HOLDING_ENTRIES_PER_AGENT_MAX / kinds;
    let reserve = |world: &mut World, n: usize| {
        let labels = BTreeMap::from([("n".to_owned(), n.to_string())]);
        let holding = Holding::plain(Reservation::new(role("web"), Principal::new(MINE), labels));
        let wanted = Resources::held_as(holding, part(1));
        (as_framework("web", |claimant| super::reserve(&mut world.ground(), &wanted, claimant)), wanted)
    };
    let mut last = Resources::default();
    for n in 0..whole {
        let (result, wanted) = reserve(&mut world, n);
        assert_eq!(result, Ok(()), "{n}");
        last = wanted;
    }
    let (before, refused) = (world.text(), reserve(&mut world, whole).0.expect_err("too many"));
    let (count, limit) = ((whole + 1) * kinds, limits::HOLDING_ENTRIES_PER_AGENT_MAX);
    assert!(matches!(refused, Rejected::TooMany { count: c, limit: l, .. } if (c, l) == (count, limit)), "{refused}");
    assert_eq!(world.text(), before, "what is refused changes nothing");
    // More of what is held already makes it no longer, and what is given back makes room.
    assert_eq!(reserve(&mut world, 0).0, Ok(()));
    assert_eq!(unreserve(&mut world.ground(), &last), Ok(()));
    assert_eq!(reserve(&mut world, whole).0, Ok(()));
}

#[test]
fn numbers_do_not_fall_into_more_parts_than_can_be_sent() {
    let ports =
        |ranges: &mut dyn Iterator<Item = (u64, u64)>| Quantities { ports: ranges.collect(), ..Quantities::default() };
    let mut world = World::new(ports(&mut std::iter::once((1, 20_000))));
    let odd = |from: u64, count: u64| {
        let holding = Holding::plain(reservation("web", MINE));
        Resources::held_as(holding, ports(&mut (0..count).map(|n| from + 2 * n).map(|n| (n, n))))
    };
    let reserve = |world: &mut World, wanted: &Resources| {
        as_framework("web", |claimant| super::reserve(&mut world.ground(), wanted, claimant))
    };
    // So many parts are reserved, and as many are left between them.
    assert_eq!(reserve(&mut world, &odd(1, 2000)), Ok(()));
    let before = world.text();
    let refused = reserve(&mut world, &odd(4001, 100)).expect_err("too many");
    assert!(refused.to_string().contains("ranges of numbers of one name"), "{refused}");
    assert_eq!(world.text(), before, "what is refused changes nothing");
    assert_eq!(unreserve(&mut world.ground(), &odd(1, 1000)), Ok(()));
    assert_eq!(reserve(&mut world, &odd(4001, 100)), Ok(()));
}
