//! Who is offered what.
use super::*;

#[test]
fn a_whole_agent_is_offered_and_what_one_declines_the_next_gets_at_once() {
    let mut world = World::new(Config::default());
    assert_eq!(world.framework(F, "f", None, &["r"]), "f100: subscribed as m-1\nf100: done\n");
    assert_eq!(
        world.agent(1, registration("one", None, amount(4, 1024), vec![])),
        "a1: registered m-S1 10.9.0.0/24\nf100: offers m-1-O1 m-S1 r: cpus 4; mem 1024 MiB\na1: peers []\n"
    );
    assert_eq!(world.framework(G, "g", None, &["s"]), "f200: subscribed as m-2\nf200: done\n");
    assert_eq!(world.decline(F, offer_id(1), 5), "f100: done\nf200: offers m-1-O2 m-S1 s: cpus 4; mem 1024 MiB\n");
    assert_eq!(world.decline(G, offer_id(2), 60), "f200: done\n", "the first has a filter still");
    assert_eq!(world.wait(Span::millis(4999)), "");
    let text = world.wait(Span::millis(1));
    assert_eq!(text, "a1: ping 1\nf100: offers m-1-O3 m-S1 r: cpus 4; mem 1024 MiB\n");
}

#[test]
fn the_poorest_role_comes_first_and_weight_counts() {
    // (weight of s, who gets the third agent): r holds one, s holds one; equal shares go by grants, then by name.
    for (weight_milli, expected) in [(1000, "r"), (2000, "s"), (500, "r")] {
        let mut world = World::new(Config { offer_timeout: None, ..Config::default() });
        world.framework(F, "f", None, &["r"]);
        world.framework(G, "g", None, &["s"]);
        let ask = crate::OperatorRequest::SetWeight { role: role("s"), weight_milli };
        assert_eq!(world.step(Event::Asked { request: crate::RequestId(1), ask }), "operator: done\n");
        for (session, name) in [(1, "one"), (2, "two")] {
            world.agent(session, registration(name, None, amount(4, 1024), vec![]));
        }
        let text = world.agent(3, registration("three", None, amount(4, 1024), vec![]));
        assert!(text.contains(&format!("m-S3 {expected}: ")), "weight {weight_milli}: {text}");
    }
}

#[test]
fn suppressed_gets_nothing_and_revive_clears_filters() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    assert_eq!(world.call(F, Call::Suppress { roles: BTreeSet::new() }), "f100: done\n");
    let text = world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    assert_eq!(text, "a1: registered m-S1 10.9.0.0/24\na1: peers []\n");
    let text = world.call(F, Call::Revive { roles: BTreeSet::new() });
    assert_eq!(text, "f100: done\nf100: offers m-1-O1 m-S1 r: cpus 4; mem 1024 MiB\n");
    assert_eq!(world.decline(F, offer_id(1), 1_000_000), "f100: done\n");
    let text = world.call(F, Call::Revive { roles: BTreeSet::from([role("r")]) });
    assert_eq!(text, "f100: done\nf100: offers m-1-O2 m-S1 r: cpus 4; mem 1024 MiB\n");
}

#[test]
fn an_unanswered_offer_expires() {
    let mut world = World::new(Config { offer_timeout: Some(Span::seconds(2)), ..Config::default() });
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    assert_eq!(world.wait(Span::seconds(2)), "f100: rescind m-1-O1\n");
    let text = world.accept(F, offer_id(1), vec![Operation::Launch(pod(1, &[("t", amount(1, 1))]))], 5);
    assert_eq!(
        text,
        "f100: update t Dropped InvalidOffers\n\
         f100: no: offers[0]: offer m-1-O1 is not outstanding to this framework\n"
    );
}

#[test]
fn too_little_is_withheld_with_the_reason() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(0, 31), vec![]));
    let expected = Decision::Withheld {
        framework_id: framework_id(1),
        role: role("r"),
        agent_id: agent_id(1),
        reason: crate::Withheld::BelowMinimum { free: amount(0, 31) },
    };
    assert!(world.decisions.contains(&expected));
}
