//! Examples of the algebra, and its laws over some thousands of drawn values.
use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::id::{Principal, VolumeId};

fn ports(ranges: &[(u64, u64)]) -> Ranges {
    ranges.iter().copied().collect()
}
fn some(cpus: i64, mem: i64, p: &[(u64, u64)]) -> Quantities {
    Quantities { cpus: Milli(cpus), mem: Milli::units(mem), ports: ports(p), ..Quantities::default() }
}
fn role(name: &str) -> RoleName {
    RoleName::new(name).expect("valid")
}
fn reservation(name: &str) -> Reservation {
    Reservation::new(role(name), Principal::new("framework/web"), BTreeMap::new())
}
fn volume(id: &str, shared: bool) -> Option<Volume> {
    Some(Volume { id: VolumeId::new(id).expect("valid"), container_path: "data".to_owned(), shared })
}

#[test]
fn ranges_merge_and_split() {
    assert_eq!(ports(&[(5, 7), (1, 2), (3, 4)]).as_slice(), &[(1, 7)]);
    assert_eq!(ports(&[(1, 10)]).difference(&ports(&[(1, 1), (4, 5), (10, 12)])).as_slice(), &[(2, 3), (6, 9)]);
    assert_eq!(ports(&[(1, 3), (7, 9)]).intersection(&ports(&[(3, 7)])).as_slice(), &[(3, 3), (7, 7)]);
    assert!(ports(&[(1, 10)]).contains(&ports(&[(2, 3), (9, 10)])));
    assert!(!ports(&[(1, 2), (4, 5)]).contains(&ports(&[(2, 4)])));
}

#[test]
fn what_is_added_can_be_taken_and_nothing_else() {
    let mut have = some(1500, 512, &[(20000, 20009)]);
    let want = some(500, 256, &[(20003, 20003)]);
    have.take(&want).expect("enough");
    assert_eq!(have, some(1000, 256, &[(20000, 20002), (20004, 20009)]));
    let missing = have.take(&some(2000, 0, &[(20003, 20003)])).expect_err("too much");
    assert_eq!(missing.to_string(), "cpus 1; ports 20003");
    have.add(&want);
    assert_eq!(have, some(1500, 512, &[(20000, 20009)]));
}

#[test]
fn reserved_resources_are_no_substitute_for_unreserved_ones() {
    let holding = Holding::plain(reservation("web"));
    let mut have = Resources::held_as(holding.clone(), some(1000, 0, &[]));
    assert_eq!(have.take(&some(1, 0, &[]).into()), Err("cpus 0.001 unreserved".to_owned()));
    have.take(&Resources::held_as(holding, some(1000, 0, &[]))).expect("held under the same title");
    assert!(have.is_empty() && have.held.is_empty());
}

#[test]
fn revocable_resources_are_no_substitute_for_firm_ones_nor_the_other_way_round() {
    let revocable = Resources { revocable: some(1000, 0, &[]), ..Resources::default() };
    let firm = Resources::from(some(1000, 0, &[]));
    assert_eq!(revocable.missing(&firm).as_deref(), Some("cpus 1 unreserved"));
    assert_eq!(firm.missing(&revocable).as_deref(), Some("cpus 1 revocable"));
    assert_eq!((revocable.sum(), revocable.firm()), (some(1000, 0, &[]), Quantities::default()));
}

#[test]
fn amounts_print_without_needless_zeros() {
    assert_eq!(
        [Milli(1500), Milli(1), Milli(-250), Milli(2000)].map(|m| m.to_string()),
        ["1.5", "0.001", "-0.25", "2"]
    );
}

#[test]
fn a_mount_is_taken_whole_or_not_at_all_and_a_path_is_divided() {
    let on = |disk: &str, amount| Quantities::of_disk(disk.parse().ok(), Milli::units(amount));
    let mut mount = on("mount:/mnt/a", 100);
    assert_eq!(mount.take(&on("mount:/mnt/a", 40)).expect_err("divided").to_string(), "disk 40 MiB on mount:/mnt/a");
    mount.take(&on("mount:/mnt/a", 100)).expect("whole");
    assert!(mount.is_empty());
    let mut path = on("path:/data", 100);
    path.take(&on("path:/data", 40)).expect("divided");
    assert_eq!(path, on("path:/data", 60));
    assert!(path.take(&on("path:/other", 1)).is_err(), "another disk is no substitute");
    assert!(path.take(&on("nonsense", 1)).is_err(), "nor is the agent's own");
}

#[test]
fn numbers_and_things_of_the_operator_are_given_away_one_by_one() {
    let vlans = |ranges| BTreeMap::from([("vlans".to_owned(), ports(ranges))]);
    let keys = |names: &[&str]| {
        let set: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        BTreeMap::from([("keys".to_owned(), set)])
    };
    let mut have = Quantities { ranges: vlans(&[(1, 9)]), sets: keys(&["a", "b"]), ..Quantities::default() };
    have.take(&Quantities { ranges: vlans(&[(3, 4)]), sets: keys(&["a"]), ..Quantities::default() }).expect("there");
    assert_eq!(have.to_string(), "vlans 1-2,5-9; keys {b}");
    let missing = have.take(&Quantities { sets: keys(&["a", "b"]), ..Quantities::default() }).expect_err("a is not");
    assert_eq!(missing.to_string(), "keys {a}");
}

#[test]
fn reservations_refine_one_another_downwards_only() {
    let stack = |names: &[&str]| Reservation::stack(names.iter().map(|name| reservation(name))).expect("some");
    assert_eq!(stack(&["a", "a/b", "a/b/c"]).check(), Ok(()));
    assert_eq!(stack(&["a", "a"]).check(), Err(InvalidStack::NotBelow));
    assert_eq!(stack(&["a/b", "a"]).check(), Err(InvalidStack::NotBelow));
    assert_eq!(stack(&["a", "b"]).check(), Err(InvalidStack::NotBelow));
    assert_eq!(stack(&["*"]).check(), Err(InvalidStack::ForAnybody));
    let fixed = Reservation::by_configuration(role("a"));
    assert_eq!(Reservation::stack([fixed.clone(), reservation("a/b")]).expect("some").check(), Ok(()));
    let inside = Reservation { role: role("a/b"), ..fixed };
    assert_eq!(Reservation::stack([reservation("a"), inside]).expect("some").check(), Err(InvalidStack::StaticInside));
    let deep: Vec<String> = (1..=STACK_MAX + 1).map(|depth| vec!["a"; depth].join("/")).collect();
    let deep: Vec<&str> = deep.iter().map(String::as_str).collect();
    assert_eq!(stack(&deep).check(), Err(InvalidStack::TooDeep));
    assert_eq!(stack(&deep[1..]).check(), Ok(()));
}

#[test]
fn a_role_may_use_what_is_reserved_above_it_and_not_beside_it() {
    let mut all = Resources::default();
    for name in ["a", "a/b", "a/c", "ab"] {
        all.add(&Resources::held_as(Holding::plain(reservation(name)), some(1000, 0, &[])));
    }
    let usable = all.usable_by(&role("a/b"));
    let roles: Vec<&str> = usable.held.keys().map(|holding| holding.reservation.role.as_str()).collect();
    assert_eq!(roles, ["a", "a/b"]);
}

#[test]
fn titles_are_carved_out_of_the_configuration_and_back() {
    let fixed = Reservation::by_configuration(role("a"));
    let mut configured = Resources::from(some(4000, 0, &[]));
    configured.add(&Resources::held_as(Holding::plain(fixed.clone()), some(2000, 0, &[])));
    let refined = Reservation::stack([fixed, reservation("a/b")]).expect("some");
    let mut holdings = Resources::held_as(Holding::plain(refined), some(500, 0, &[]));
    holdings.add(&Resources::held_as(Holding::plain(reservation("c")), some(1000, 0, &[])));
    let total = configured.titled(&holdings).expect("enough");
    assert_eq!(total.to_string(), "cpus 3 + cpus 1.5 for a + cpus 0.5 for a/b + cpus 1 for c");
    assert_eq!(total.as_configured(), configured);
    assert_eq!(configured.titled(&total.holdings()), Ok(total));
    let too_much = Resources::held_as(Holding::plain(reservation("c")), some(5000, 0, &[]));
    assert_eq!(configured.titled(&too_much), Err("cpus 1 unreserved".to_owned()));
}

#[test]
fn a_shared_volume_stays_for_the_next_one() {
    let shared = Holding { volume: volume("v", true), ..Holding::plain(reservation("a")) };
    let whole = Resources::held_as(shared, Quantities::of_disk(None, Milli::units(5)));
    let own = Holding { volume: volume("w", false), ..Holding::plain(reservation("a")) };
    let own = Resources::held_as(own, Quantities::of_disk(None, Milli::units(5)));
    let mut pool = whole.clone();
    pool.add(&own);
    let before = pool.clone();
    pool.give(&whole).expect("there");
    pool.give(&whole).expect("still there");
    assert_eq!(pool, before);
    pool.give(&own).expect("there");
    assert_eq!(pool.give(&own), Err("the whole volume w".to_owned()));
}

/// Draws values: the same ones every time.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        // An xorshift: no more randomness is needed to hit small cases often.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
    fn amount(&mut self) -> Milli {
        Milli(i64::try_from(self.below(5) * self.below(700)).expect("small"))
    }
    fn ranges(&mut self) -> Ranges {
        (0..self.below(4)).map(|_| (self.below(30), self.below(6))).map(|(begin, more)| (begin, begin + more)).collect()
    }
    fn quantities(&mut self) -> Quantities {
        let mut out = Quantities {
            cpus: self.amount(),
            mem: self.amount(),
            disk: self.amount(),
            gpus: self.amount(),
            ports: self.ranges(),
            ..Quantities::default()
        };
        out.set_scalar("tokens", self.amount());
        let mut more = Quantities::default();
        for disk in ["path:/a", "path:/b"] {
            more.disks.insert(disk.parse().expect("a disk"), self.amount());
        }
        if self.below(2) == 0 {
            more.disks.insert("mount:/m".parse().expect("a disk"), Milli::units(7));
        }
        more.ranges.insert("vlans".to_owned(), self.ranges());
        let things = (0..self.below(4)).map(|_| self.below(5).to_string()).collect();
        more.sets.insert("keys".to_owned(), things);
        // Adding drops what is nothing.
        out.add(&more);
        out
    }
    fn resources(&mut self) -> Resources {
        let mut out = Resources::from(self.quantities());
        let titles = [
            Holding::plain(reservation("a")),
            Holding::plain(Reservation::by_configuration(role("a"))),
            Holding::plain(Reservation::stack([reservation("a"), reservation("a/b")]).expect("some")),
        ];
        for title in titles {
            out.add(&Resources::held_as(title, self.quantities()));
        }
        if self.below(2) == 0 {
            let holding = Holding { volume: volume("v", self.below(2) == 0), ..Holding::plain(reservation("a")) };
            out.add(&Resources::held_as(holding, Quantities::of_disk(None, Milli::units(3))));
        }
        out.revocable = self.quantities();
        out
    }
}

fn each(law: impl Fn(&mut Draw)) {
    let mut draw = Draw(0x9E37_79B9_7F4A_7C15);
    for _ in 0..2_000 {
        law(&mut draw);
    }
}

fn members(ranges: &Ranges) -> BTreeSet<u64> {
    ranges.iter().collect()
}

#[test]
fn law_ranges_are_sets_of_numbers() {
    each(|draw| {
        let (a, b) = (draw.ranges(), draw.ranges());
        let (x, y) = (members(&a), members(&b));
        assert_eq!(members(&a.union(&b)), x.union(&y).copied().collect());
        assert_eq!(members(&a.intersection(&b)), x.intersection(&y).copied().collect());
        assert_eq!(members(&a.difference(&b)), x.difference(&y).copied().collect());
        assert_eq!(a.contains(&b), y.is_subset(&x));
        assert_eq!(a.count(), u64::try_from(x.len()).expect("small"));
        assert_eq!(a.difference(&b).union(&a.intersection(&b)), a, "one value has one form");
        assert_eq!(Ranges::from(Vec::<(u64, u64)>::from(a.clone())), a);
    });
}

#[test]
fn law_what_is_taken_and_given_back_leaves_no_trace() {
    each(|draw| {
        let (a, b) = (draw.resources(), draw.resources());
        let part = a.common(&b);
        let mut left = a.clone();
        if left.take(&part).is_ok() {
            assert!(a.contains(&part));
            left.add(&part);
            assert_eq!(left, a);
        } else {
            assert_eq!(left, a, "a failed take takes nothing");
        }
        let mut rest = a.clone();
        rest.take(&a).expect("everything contains itself");
        assert!(rest.is_empty(), "{rest}");
    });
}

#[test]
fn law_containing_is_an_order_and_adding_respects_it() {
    each(|draw| {
        let (a, b, c) = (draw.quantities(), draw.quantities(), draw.quantities());
        assert!(a.contains(&a) && a.contains(&Quantities::default()));
        if a.contains(&b) && b.contains(&a) {
            assert_eq!(a, b);
        }
        let (ab, bc) = (a.common(&b), b.common(&c));
        assert!(a.contains(&ab), "{a} has not {ab}");
        if ab.contains(&bc) {
            assert!(a.contains(&bc), "transitive");
        }
        let (mut one, mut other) = (a.clone(), b.clone());
        one.add(&b);
        other.add(&a);
        assert_eq!(one, other, "adding commutes");
        other.add(&c);
        let mut right = b.clone();
        right.add(&c);
        let mut left = a.clone();
        left.add(&right);
        assert_eq!(left, other, "adding associates");
        assert_eq!(a.missing(&b).is_empty(), a.contains(&b));
    });
}

#[test]
fn law_nothing_is_ever_below_nothing() {
    each(|draw| {
        let (mut a, b) = (draw.resources(), draw.resources());
        a.take_what_is_there(&b);
        let _ = a.take(&draw.resources());
        let all = [&a.unreserved, &a.revocable].into_iter().chain(a.held.values());
        for quantities in all {
            assert!(quantities.amounts().all(|amount| amount >= Milli(0)), "{quantities}");
        }
        assert!(a.held.values().all(|quantities| !quantities.is_empty()), "no title of nothing");
    });
}

#[test]
fn law_titles_change_hands_and_amounts_stay() {
    each(|draw| {
        let a = draw.resources();
        assert_eq!(a.undone().sum().cpus, a.sum().cpus);
        let configured = a.as_configured();
        assert_eq!(configured.as_configured(), configured);
        assert_eq!(configured.sum().all_disk(), a.sum().all_disk());
        let usable = a.usable_by(&role("a"));
        assert!(usable.held.keys().all(|holding| holding.reservation.role == role("a")));
        assert!(a.contains(&usable));
    });
}

#[test]
fn law_a_thousandth_is_exact() {
    let tenth = Quantities { cpus: Milli(100), ..Quantities::default() };
    let mut sum = Quantities::default();
    for _ in 0..10_000 {
        sum.add(&tenth);
    }
    assert_eq!(sum.cpus, Milli::units(1000));
    for _ in 0..10_000 {
        sum.take(&tenth).expect("as much as was added");
    }
    assert!(sum.is_empty());
}
