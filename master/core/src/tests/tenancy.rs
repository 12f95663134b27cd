//! Quotas: limits, guarantees, and how operators set them.
use super::*;
use crate::{OperatorRequest, Quota, RequestId, Withheld};

type Amounts<'a> = &'a [(&'a str, i64)];

pub(crate) fn quota(guarantees: Amounts<'_>, limits: Amounts<'_>) -> Quota {
    let of = |amounts: Amounts<'_>| amounts.iter().map(|(name, n)| ((*name).to_owned(), Milli::units(*n))).collect();
    Quota { guarantees: of(guarantees), limits: of(limits) }
}
fn set(world: &mut World, quotas: &[(&str, Quota)], force: bool) -> String {
    let quotas = quotas.iter().map(|(name, quota)| (role(name), quota.clone())).collect();
    world.step(Event::Asked { request: RequestId(1), ask: OperatorRequest::SetQuotas { quotas, force } })
}
fn limit(world: &mut World, name: &str, cpus: i64) {
    assert_eq!(set(world, &[(name, quota(&[], &[("cpus", cpus)]))], false), "operator: done\n");
}

#[test]
fn the_limit_of_a_role_above_holds_for_all_below_together() {
    let mut world = World::new(Config::default());
    limit(&mut world, "team", 5);
    world.framework(F, "f", None, &["team/web"]);
    world.framework(G, "g", None, &["team/batch"]);
    let text = world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    assert!(text.contains("f200: offers m-1-O1 m-S1 team/batch: cpus 4; mem 1024 MiB"), "{text}");
    let text = world.agent(2, registration("two", None, amount(4, 1024), vec![]));
    assert!(text.contains("f100: offers m-1-O2 m-S2 team/web: cpus 1; mem 1024 MiB"), "{text}");
    let text = world.agent(3, registration("three", None, amount(4, 1024), vec![]));
    assert!(!text.contains("offers"), "nobody can use memory without a processor: {text}");
    let withheld = |decision: &Decision| match decision {
        Decision::Withheld { framework_id, reason: Withheld::OverLimit(ceiling), .. } => {
            Some(format!("{framework_id}: {ceiling}"))
        }
        _ => None,
    };
    let words: Vec<String> = world.decisions.iter().filter_map(withheld).collect();
    assert!(words.contains(&"m-2: role team has a limit of 5 cpus and uses 5".to_owned()), "{words:?}");
    // What one gives back the other may have.
    let text = world.decline(G, offer_id(1), 1000);
    assert!(text.contains("f100: offers m-1-O3 m-S1 team/web: cpus 4"), "{text}");
}

#[test]
fn what_a_limit_held_back_is_offered_when_it_has_room_again() {
    let mut world = World::new(Config::default());
    limit(&mut world, "r", 4);
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    let text = world.agent(2, registration("two", None, amount(4, 1024), vec![]));
    assert!(!text.contains("offers"), "the limit is reached: {text}");
    // It does not want the first agent for an hour; nothing of the second one has changed.
    let text = world.decline(F, offer_id(1), 3600);
    assert!(text.contains("f100: offers m-1-O2 m-S2 r: cpus 4"), "{text}");
    // Other frameworks' offers are no room in this role, and many answers make one look.
    let cpus = |n| Quantities { cpus: Milli::units(n), ..Quantities::default() };
    let text = world.accept(F, offer_id(2), vec![Operation::Launch(pod(2, &[("t", cpus(4).into())]))], 0);
    assert!(text.contains("a2: launch t") && !text.contains("offers"), "{text}");
    // What runs there is not counted once its agent is given up.
    world.agent(3, registration("three", None, amount(4, 1024), vec![]));
    world.step(Event::AgentClosed { session: SessionId(2) });
    let text = world.wait(Span::seconds(1200));
    assert!(text.contains("offers") && text.contains("m-S3 r: cpus 4"), "{text}");
}

#[test]
fn what_is_reserved_counts_whether_it_is_used_or_not() {
    let mut world = World::new(Config::default());
    limit(&mut world, "r", 4);
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(8, 1024), vec![]));
    let cpus = |n| Quantities { cpus: Milli::units(n), ..Quantities::default() };
    let reserve = |n| Operation::Reserve(held("r", "framework/f", None, cpus(n)));
    let text = world.accept(F, offer_id(1), vec![reserve(3)], 0);
    assert!(text.contains("m-1-O2 m-S1 r: cpus 1; mem 1024 MiB + cpus 3 for r"), "{text}");
    // The reserved ones cost nothing more, one unreserved is left.
    let mut both = Resources::from(cpus(1));
    both.add(&held("r", "framework/f", None, cpus(3)));
    let text = world.accept(F, offer_id(2), vec![Operation::Launch(pod(1, &[("t", both)]))], 0);
    assert!(text.contains("a1: launch t"), "{text}");
    assert_eq!(world.wait(Span::seconds(1)).lines().filter(|line| line.contains("offers")).count(), 0);
}

#[test]
fn a_limit_on_disk_counts_every_disk_and_nothing_that_is_revocable() {
    let path = || model::Disk::Path("/data".to_owned());
    let mount = || model::Disk::Mount("/ssd".to_owned());
    let mut world = World::new(Config::default());
    assert_eq!(set(&mut world, &[("r", quota(&[], &[("disk", 100), ("cpus", 4)]))], false), "operator: done\n");
    world.framework(F, "f", None, &["r"]);
    let mut total = with_disk(4, 1024, 50);
    total.unreserved.disks = [(path(), Milli::units(80)), (mount(), Milli::units(60))].into();
    total.revocable = Quantities { cpus: Milli::units(8), ..Quantities::default() };
    world.agent(1, registration("one", None, total, vec![]));
    let offered = |world: &World| world.master.offers.iter().next().expect("lent").offer.resources.clone();
    let lent = offered(&world);
    assert_eq!(lent.unreserved.disk, Milli::units(50));
    assert_eq!(lent.unreserved.disks, [(path(), Milli::units(50))].into(), "the mount does not fit whole");
    // Ninety are reserved on further disks, and ten are left of all of them together.
    let reserved = Quantities { disks: [(path(), Milli::units(50))].into(), ..Quantities::default() };
    world.accept(F, offer_id(1), vec![Operation::Reserve(held("r", "framework/f", None, reserved))], 0);
    let counted = world.master.allocator.shares.counted(&role("r")).expect("a role").get("disk");
    assert_eq!(counted, Milli::units(100).0, "what is reserved and what is lent again");
    let words = set(&mut world, &[("r", quota(&[], &[("disk", 40)]))], false);
    assert!(words.contains("disk") && words.contains("50"), "{words}");
}

#[test]
fn a_limit_is_checked_again_when_an_offer_is_used() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    let cpus = |n| Quantities { cpus: Milli::units(n), ..Quantities::default() };
    world.agent(1, registration("one", None, amount(8, 1024), vec![]));
    let reserved = held("r", "framework/f", None, cpus(4));
    let launch = |id, n| Operation::Launch(pod(1, &[(id, cpus(n).into())]));
    let offer = world.accept(F, offer_id(1), vec![Operation::Reserve(reserved.clone()), launch("a", 4)], 0);
    // Eight are used or reserved; then the operator insists on five. The offer of what is reserved stays.
    assert_eq!(set(&mut world, &[("r", quota(&[], &[("cpus", 5)]))], true), "operator: done\n");
    let offer = offer.lines().find(|line| line.contains("offers")).map(str::to_owned).unwrap_or_default();
    assert!(offer.contains("cpus 4 for r"), "{offer}");
    let id = offer.split(' ').nth(2).and_then(|id| OfferId::new(id).ok()).expect("an offer");
    // Freed and used unreserved, it would be more than the limit again.
    let text = world.accept(F, id, vec![Operation::Unreserve(reserved), launch("b", 4)], 0);
    assert!(
        text.contains("no: operations[1]: role r has a limit of 5 cpus and uses 4: the operation would exceed it"),
        "{text}"
    );
    assert!(text.contains("update b Error TaskInvalid"), "{text}");
    assert_eq!(world.master.ledger.count_of(&framework_id(1)), 1);
}

#[test]
fn reservations_are_checked_too_and_refused_whole() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["team/r"]);
    world.agent(1, registration("one", None, amount(8, 1024), vec![]));
    limit(&mut world, "team", 8);
    world.framework(G, "g", None, &["team/s"]);
    let cpus = |n| Quantities { cpus: Milli::units(n), ..Quantities::default() };
    world.agent(2, registration("two", None, amount(8, 1024), vec![]));
    let reserve = |n| Operation::Reserve(held("team/r", "framework/f", None, cpus(n)));
    world.accept(F, offer_id(1), vec![reserve(5)], 1000);
    // The others have nothing: what is left is three.
    let used = world.master.allocator.shares.counted(&role("team")).map(|counted| counted.get("cpus"));
    assert_eq!(used, Some(8000));
}

#[test]
fn a_new_limit_takes_just_enough_offers_back() {
    let mut world = World::new(Config { offer_timeout: None, ..Config::default() });
    world.framework(F, "f", None, &["r"]);
    for n in 1..=3 {
        world.agent(n, registration(&format!("a{n}"), None, amount(4, 1024), vec![]));
    }
    let text = set(&mut world, &[("r", quota(&[], &[("cpus", 9)]))], false);
    assert_eq!(text, "f100: rescind m-1-O3\noperator: done\nf100: offers m-1-O4 m-S3 r: cpus 1; mem 1024 MiB\n");
}

#[test]
fn what_is_guaranteed_is_kept_for_whoever_comes() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    world.agent(2, registration("two", None, amount(4, 1024), vec![]));
    // The newer offer is taken back, and five of eight are kept.
    let text = set(&mut world, &[("vip", quota(&[("cpus", 5)], &[]))], false);
    assert!(text.starts_with("f100: rescind m-1-O2\nf100: rescind m-1-O1\noperator: done\n"), "{text}");
    assert!(text.ends_with("r: cpus 3; mem 1024 MiB\n"), "{text}");
    let text = world.framework(G, "g", None, &["vip/x"]);
    assert!(text.contains("vip/x: cpus 4; mem 1024 MiB"), "{text}");
    assert!(text.contains("vip/x: cpus 1"), "what is guaranteed may come in pieces: {text}");
    // It is met now: the rest is for everybody.
    let text = world.agent(3, registration("three", None, amount(4, 1024), vec![]));
    assert!(text.contains("cpus 4; mem 1024 MiB"), "{text}");
}

#[test]
fn whose_guarantee_is_not_met_comes_first() {
    let mut world = World::new(Config { offer_timeout: None, ..Config::default() });
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    world.agent(2, registration("two", None, amount(4, 1024), vec![]));
    set(&mut world, &[("s", quota(&[("cpus", 8)], &[]))], false);
    world.framework(F, "f", None, &["s"]);
    world.framework(G, "g", None, &["r"]);
    assert_eq!(world.call(F, Call::Suppress { roles: BTreeSet::new() }), "f100: done\n");
    for offer in [1, 2] {
        assert!(!world.decline(F, offer_id(offer), 0).contains("f200"), "kept, although nobody takes it now");
    }
    let text = world.call(F, Call::Revive { roles: BTreeSet::new() });
    assert!(text.contains("f100: offers") && !text.contains("f200"), "{text}");
}

#[test]
fn a_quota_that_cannot_be_is_refused_in_words_and_nothing_changes() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    world.accept(F, offer_id(1), vec![Operation::Launch(pod(1, &[("t", amount(2, 512))]))], 100);
    limit(&mut world, "team", 3);
    for (quotas, words) in [
        (vec![("r", quota(&[], &[("cpus", 1)]))], "role r has a limit of 1 cpus and uses 2: more than the new limit"),
        (vec![("s", quota(&[("cpus", 5)], &[]))], "guarantees of 5 cpus are more than the pool's 4 cpus"),
        (
            vec![("s", quota(&[("cpus", 3)], &[])), ("t/x", quota(&[("cpus", 2)], &[]))],
            "guarantees of 5 cpus are more than the pool's 4 cpus",
        ),
        (
            vec![("team/x", quota(&[("cpus", 4)], &[]))],
            "the quota of role team/x guarantees 4 cpus, above the limit of role team",
        ),
        (
            vec![("s", quota(&[("cpus", 4)], &[("cpus", 3)]))],
            "the quota of role s guarantees 4 cpus, above its limit of 3",
        ),
        (vec![("s", quota(&[], &[("ports", 3)]))], "the quota of role s names 'ports', which is no scalar"),
        (vec![("s", quota(&[], &[("cpus", -1)]))], "the quota of role s has -1 cpus, which is negative or absurd"),
        (vec![("s", quota(&[], &[])), ("s", quota(&[], &[]))], "the quota of role s is given twice"),
    ] {
        assert_eq!(set(&mut world, &quotas, false), format!("operator: no: {words}\n"));
        assert_eq!(world.registry.quotas.len(), 1, "all or nothing");
    }
    assert_eq!(set(&mut world, &[("r", quota(&[], &[("cpus", 1)]))], true), "operator: done\n");
    assert_eq!(set(&mut world, &[("s", quota(&[("cpus", 5)], &[]))], true), "operator: done\n");
    assert_eq!(world.registry.quotas.len(), 3);
    // What was insisted on is in nobody's way who does not make it worse.
    let words = "operator: no: guarantees of 6 cpus are more than the pool's 4 cpus\n";
    assert_eq!(set(&mut world, &[("z", quota(&[("cpus", 1)], &[]))], false), words);
    assert_eq!(set(&mut world, &[("team", quota(&[], &[("cpus", 2)]))], false), "operator: done\n");
    assert_eq!(set(&mut world, &[("r", Quota::default()), ("s", Quota::default())], false), "operator: done\n");
    assert_eq!(world.registry.quotas.len(), 1);
}

#[test]
fn quotas_outlive_the_master_and_bind_those_who_come_back() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(8, 2048), vec![]));
    world.accept(F, offer_id(1), vec![Operation::Launch(pod(1, &[("t", amount(4, 512))]))], 0);
    limit(&mut world, "r", 5);
    world.restart();
    let text = world.framework(G, "f", Some(1), &["r"]);
    assert_eq!(text, "f200: subscribed as m-1\nf200: done\n");
    let task = agent_task(1, "t", 1, amount(4, 512), TaskState::Running);
    // Allocation begins with the first agent that is back: nobody waits for others.
    let text = world.agent(2, registration("one", Some(1), amount(8, 2048), vec![task]));
    assert!(text.contains("r: cpus 1; mem 1536 MiB"), "{text}");
}

#[test]
fn an_agent_that_comes_back_with_more_than_a_limit_allows_is_tolerated() {
    let mut world = World::new(Config { offer_timeout: None, ..Config::default() });
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    world.accept(F, offer_id(1), vec![Operation::Launch(pod(1, &[("t", amount(4, 512))]))], 0);
    limit(&mut world, "r", 4);
    world.restart();
    world.agent(1, registration("two", None, amount(4, 1024), vec![]));
    let text = world.framework(G, "f", Some(1), &["r"]);
    assert!(text.contains("r: cpus 4; mem 1024 MiB"), "nothing of it is known yet: {text}");
    let task = agent_task(1, "t", 1, amount(4, 512), TaskState::Running);
    let text = world.agent(2, registration("one", Some(1), amount(4, 1024), vec![task]));
    assert!(text.contains("f200: rescind"), "its task was there before the offer: {text}");
    assert_eq!(world.master.ledger.count_of(&framework_id(1)), 1, "and lives on");
}

#[test]
fn who_lets_offers_expire_waits_longer_each_time_until_it_uses_one() {
    let mut world = World::new(Config {
        offer_timeout: Some(Span::seconds(10)),
        ping_interval: Span::seconds(1_000_000),
        ..Config::default()
    });
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    world.agent(2, registration("two", None, amount(4, 1024), vec![]));
    // From one offer to the next: ten seconds lent, then five of a filter, then a growing pause.
    let mut last = world.now;
    let mut pauses = Vec::new();
    for _ in 0..4 {
        while !world.wait(Span::millis(500)).contains("offers") {
            assert!(world.now.0 - last.0 < 200_000, "it is offered again at all");
        }
        pauses.push((world.now.0 - last.0) / 1000);
        last = world.now;
    }
    assert_eq!(pauses, [15, 15, 20, 30], "both of one time count once");
    let held_off =
        |decision: &Decision| matches!(decision, Decision::Withheld { reason: Withheld::Hoarding { .. }, .. });
    assert!(world.decisions.iter().any(held_off));
    let expired = |world: &World| world.master.frameworks[&framework_id(1)].hoarding.expired;
    let offers = world.master.offers.of_framework(&framework_id(1));
    assert_eq!((offers.len(), expired(&world)), (2, 4));
    world.decline(F, offers[0].clone(), 3600);
    assert_eq!(expired(&world), 4, "it still sits on another one");
    world.decline(F, offers[1].clone(), 3600);
    assert_eq!(expired(&world), 0);
}

#[test]
fn what_a_framework_cannot_live_with_it_is_not_offered() {
    use model::call::Capability;
    let config = Config { region: Some("eu".to_owned()), ..Config::default() };
    let gpus = || Quantities { cpus: Milli::units(4), gpus: Milli::units(1), ..Quantities::default() };
    for (capabilities, expected) in [
        (vec![], vec!["OtherRegion { region: \"us\" }", "HasGpus"]),
        (vec![Capability::RegionAware], vec!["HasGpus"]),
        (vec![Capability::RegionAware, Capability::GpuResources], vec![]),
    ] {
        let mut world = World::new(config.clone());
        let mut said = info("f", None, &["r"]);
        said.capabilities.extend(capabilities);
        world.step(Event::FrameworkOpened { session: F, principal: Principal::new("framework/f") });
        world.call(F, Call::Subscribe { info: said, suppressed: BTreeSet::new(), constraints: Default::default() });
        let mut far = registration("far", None, amount(4, 1024), vec![]);
        far.region = "us".to_owned();
        world.agent(1, far);
        world.agent(2, registration("gpus", None, gpus().into(), vec![]));
        let text = world.agent(3, registration("plain", None, amount(4, 1024), vec![]));
        assert!(text.contains("f100: offers"), "an agent without a region is anywhere: {text}");
        let reasons = world.decisions.iter().filter_map(|decision| match decision {
            Decision::Withheld { reason, .. } => Some(format!("{reason:?}")),
            _ => None,
        });
        let mut reasons: Vec<String> = reasons.collect();
        reasons.dedup();
        assert_eq!(reasons, expected);
    }
}

#[test]
fn a_framework_may_change_what_it_wants_without_a_new_session() {
    use model::constraint::{Constraint, OfferConstraints, Predicate, Selector};
    let mut world = World::new(Config { offer_timeout: None, ..Config::default() });
    world.framework(F, "f", None, &["r", "s"]);
    for name in ["one", "two"] {
        let n = if name == "one" { 1 } else { 2 };
        world.agent(n, registration(name, None, amount(4, 1024), vec![]));
    }
    let only = |name: &str| {
        let constraint = Constraint { selector: Selector::Hostname, predicate: Predicate::Equals(name.to_owned()) };
        OfferConstraints([(role("s"), vec![vec![constraint]])].into())
    };
    let update = |info, constraints| Call::UpdateFramework { info, suppressed: BTreeSet::new(), constraints };
    // It leaves r: what was offered there is void, and offered in s, but of one agent only.
    let text = world.call(F, update(info("f", Some(1), &["s"]), only("two")));
    let rescinded = text.lines().filter(|line| line.contains("rescind")).count();
    assert!((1..=2).contains(&rescinded) && text.contains("f100: done"), "{text}");
    let agents: Vec<_> =
        world.master.offers.iter().map(|lent| (lent.offer.agent_id.clone(), &lent.offer.role)).collect();
    assert_eq!(agents, [(agent_id(2), &role("s"))]);
    assert_eq!(world.registry.frameworks[&framework_id(1)].info.roles, BTreeSet::from([role("s")]));
    for (info, constraints, words) in [
        (info("g", Some(1), &["s"]), only("two"), "framework m-1 is called 'f', a framework cannot be renamed"),
        (info("f", Some(2), &["s"]), only("two"), "there is no framework 'm-2'"),
        (info("f", None, &[]), only("two"), "a framework needs 1 to 64 roles, this one has 0"),
        (
            info("f", None, &["r"]),
            only("two"),
            "the offer constraints for role s are about a role in which the framework does not subscribe",
        ),
        (
            info("f", None, &["s"]),
            OfferConstraints([(role("s"), vec![vec![]])].into()),
            "the offer constraints for role s have an empty group",
        ),
    ] {
        assert_eq!(world.call(F, update(info, constraints)), format!("f100: no: {words}\n"));
    }
    // Its own filter: nothing below eight processors.
    let mut picky = info("f", Some(1), &["s"]);
    let eight = Quantities { cpus: Milli::units(8), ..Quantities::default() };
    picky.offer_filters.insert(role("s"), vec![eight]);
    world.call(F, update(picky, OfferConstraints::default()));
    let text = world.agent(3, registration("three", None, amount(4, 1024), vec![]));
    assert!(!text.contains("offers"), "{text}");
    let text = world.agent(4, registration("four", None, amount(8, 1024), vec![]));
    assert!(text.contains("m-S4 s: cpus 8"), "{text}");
}

#[test]
fn an_agent_that_constraints_exclude_is_withheld() {
    use model::constraint::{Constraint, OfferConstraints, Predicate, Selector};
    let mut world = World::new(Config::default());
    let rack = Constraint { selector: Selector::Attribute("rack".to_owned()), predicate: Predicate::Exists };
    let constraints = OfferConstraints([(role("r"), vec![vec![rack]])].into());
    world.step(Event::FrameworkOpened { session: F, principal: Principal::new("framework/f") });
    world.call(F, Call::Subscribe { info: info("f", None, &["r"]), suppressed: BTreeSet::new(), constraints });
    world.agent(1, registration("none", None, amount(4, 1024), vec![]));
    let constrained =
        |decision: &Decision| matches!(decision, Decision::Withheld { reason: Withheld::Constrained, .. });
    assert!(world.decisions.iter().any(constrained));
    let mut racked = registration("racked", None, amount(4, 1024), vec![]);
    racked.attributes.insert("rack".to_owned(), "1".to_owned());
    let text = world.agent(2, racked);
    assert!(text.contains("m-S2 r: cpus 4"), "{text}");
}

#[test]
fn who_has_too_many_offers_gets_none() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    let offer = world.master.offers.get(&offer_id(1)).cloned().expect("offered");
    let limit = crate::limits::OFFERS_PER_FRAMEWORK_MAX;
    for n in 2..=limit {
        let id = offer_id(u64::try_from(n).expect("small"));
        world.master.offers.lend(model::call::Offer { id, ..offer.clone() }.into(), None);
    }
    let round = world.master.find_turn(&agent_id(1), &amount(4, 1024));
    assert!(round.turn.is_none() && round.held_back);
    assert_eq!(round.reasons, [(framework_id(1), role("r"), Withheld::TooManyOffers { limit })]);
}

#[test]
fn every_call_gets_a_result_and_a_foreign_role_is_refused() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    let x = || BTreeSet::from([role("x")]);
    let words = "f100: no: the framework has not subscribed in role x\n";
    assert_eq!(world.call(F, Call::Revive { roles: x() }), words);
    assert_eq!(world.call(F, Call::Suppress { roles: x() }), words);
    let gone = offer_id(99);
    let filter = Filter::default();
    let calls = [
        Call::Accept { offers: vec![gone.clone()], operations: vec![], filter },
        Call::Accept { offers: vec![], operations: vec![], filter },
        Call::Decline { offers: vec![gone.clone()], filter },
        Call::Kill { task_id: task_id("t"), agent_id: None, grace: None },
        Call::Acknowledge { agent_id: agent_id(9), task_id: task_id("t"), uuid: UpdateId(1) },
        Call::Reconcile { tasks: vec![(task_id("t"), None)] },
        Call::AcceptInverseOffers { offers: vec![gone.clone()], filter: None },
        Call::DeclineInverseOffers { offers: vec![gone], filter: None },
        Call::UpdateFramework { info: info("f", None, &["r"]), suppressed: x(), constraints: Default::default() },
    ];
    for call in calls {
        let words = format!("{call:?}");
        let text = world.call(F, call);
        let results = text.lines().filter(|line| *line == "f100: done" || line.starts_with("f100: no: ")).count();
        assert_eq!(results, 1, "{words}: {text}");
    }
}

#[test]
fn suppressed_roles_of_a_new_session_replace_those_of_the_last() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r", "s"]);
    world.call(F, Call::Suppress { roles: BTreeSet::from([role("r")]) });
    world.step(Event::FrameworkOpened { session: G, principal: Principal::new("framework/f") });
    let suppressed = BTreeSet::from([role("s")]);
    world.call(
        G,
        Call::Subscribe { info: info("f", Some(1), &["r", "s"]), suppressed, constraints: Default::default() },
    );
    let text = world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    assert!(text.contains("m-S1 r: "), "{text}");
}
