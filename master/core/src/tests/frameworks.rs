//! Frameworks come, go, fail over and end.
use super::*;
use crate::StateWrite;

#[test]
fn who_may_not_subscribe_is_told_why() {
    for (principal, said, words) in [
        ("framework/g", info("f", None, &["r"]), "framework/g may not act as framework 'f'"),
        ("framework/f", info("f", None, &[]), "a framework needs 1 to 64 roles, this one has 0"),
        ("framework/f", info("f", Some(7), &["r"]), "there is no framework 'm-7'"),
    ] {
        let mut world = World::new(Config::default());
        world.step(Event::FrameworkOpened { session: F, principal: Principal::new(principal) });
        let text =
            world.call(F, Call::Subscribe { info: said, suppressed: BTreeSet::new(), constraints: Default::default() });
        assert_eq!(text, format!("f100: no: {words}\nf100: error {words}\nf100: close\n"));
        assert_eq!(world.call(F, Call::Teardown), "f100: no: the session has not subscribed\n");
    }
}

#[test]
fn a_second_session_takes_over_and_the_first_is_closed() {
    for id in [Some(1), None] {
        let mut world = World::new(Config::default());
        world.framework(F, "f", None, &["r"]);
        world.agent(1, registration("one", None, amount(4, 1024), vec![]));
        assert_eq!(
            world.framework(G, "f", id, &["r"]),
            "f100: error the framework failed over to another session\n\
             f100: close\n\
             f200: subscribed as m-1\n\
             f200: done\n\
             f200: offers m-1-O2 m-S1 r: cpus 4; mem 1024 MiB\n"
        );
        assert_eq!(world.call(F, Call::Teardown), "f100: no: the session has not subscribed\n");
        assert_eq!(world.step(Event::FrameworkClosed { session: F }), "", "its end means nothing any more");
    }
}

#[test]
fn what_an_earlier_session_may_have_missed_is_said_again() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    world.accept(F, offer_id(1), vec![Operation::Launch(pod(1, &[("t", amount(4, 1024))]))], 5);
    world.step(Event::FrameworkClosed { session: F });
    assert_eq!(world.update(1, 1, status("t", TaskState::Running, 7)), "");
    let text = world.framework(G, "f", Some(1), &["r"]);
    assert_eq!(text, "f200: subscribed as m-1\nf200: update t Running #7\nf200: done\n");
}

#[test]
fn a_framework_that_stays_away_is_torn_down_also_after_a_failover() {
    for restart in [false, true] {
        let mut world = World::new(Config::default());
        world.framework(F, "f", None, &["r"]);
        world.step(Event::FrameworkClosed { session: F });
        if restart {
            world.restart();
            world.step(Event::Tick);
        }
        world.wait(Span::seconds(99));
        assert!(!world.registry.frameworks[&framework_id(1)].torn_down);
        world.wait(Span::seconds(1));
        assert!(world.registry.frameworks[&framework_id(1)].torn_down);
        let text = world.framework(G, "f", Some(1), &["r"]);
        assert!(text.starts_with("f200: no: framework m-1 was torn down, its id is never used again\n"), "{text}");
    }
}

#[test]
fn a_teardown_kills_and_frees_everything() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, with_disk(4, 1024, 100), vec![]));
    let volume = held("r", "framework/f", Some("v"), disk(10));
    let mut uses = amount(1, 0);
    uses.add(&volume);
    let operations = vec![
        Operation::Reserve(held("r", "framework/f", None, disk(30))),
        Operation::Create(volume),
        Operation::Launch(pod(1, &[("t", uses)])),
    ];
    world.accept(F, offer_id(1), operations, 1000);
    let writes = vec![StateWrite { key: "secret/a".to_owned(), value: Some(vec![1]) }];
    world.step(Event::FrameworkCalled { session: F, sequence: 2, call: None, writes, read_state: false });
    assert_eq!(world.registry.state_sizes[&framework_id(1)].len(), 1);
    world.framework(G, "g", None, &["s"]);
    let text = world.call(F, Call::Teardown);
    assert_eq!(
        text,
        "a1: kill t\n\
         a1: holdings 2: disk 10 MiB for r as volume v\n\
         f100: done\n\
         f100: close\n\
         f200: offers m-1-O3 m-S1 s: cpus 3; mem 1024 MiB; disk 90 MiB\n",
        "the volume in use goes when its task has ended"
    );
    assert!(world.registry.state_sizes.is_empty());
    world.decline(G, offer_id(3), 1000);
    assert_eq!(
        world.update(1, 1, status("t", TaskState::Killed, 9)),
        "a1: acknowledge t #9\n\
         a1: holdings 3: nothing\n\
         a1: shut down m-1\n\
         f200: offers m-1-O4 m-S1 s: cpus 4; mem 1024 MiB; disk 100 MiB\n"
    );
}

#[test]
fn tasks_of_an_ended_framework_are_shut_down_whenever_their_agent_comes() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    world.call(F, Call::Teardown);
    world.restart();
    let task = || agent_task(1, "t", 1, amount(1, 0), TaskState::Running);
    let text = world.agent(2, registration("one", Some(1), amount(4, 1024), vec![task()]));
    assert_eq!(text, "a2: registered m-S1 10.9.0.0/24\na2: kill t\na2: peers []\n");
    let text = world.framework(G, "g", None, &["s"]);
    assert!(text.contains("cpus 3; "), "what the task uses is not free yet: {text}");
}

#[test]
fn state_is_written_with_the_call_and_bounded() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    let write = |key: &str, size: usize| StateWrite { key: key.to_owned(), value: Some(vec![0; size]) };
    let mut send =
        |writes| world.step(Event::FrameworkCalled { session: F, sequence: 2, call: None, writes, read_state: true });
    assert_eq!(send(vec![write("a", 10)]), "f100: done\nf100: state of m-1\n");
    assert!(send(vec![write("", 1)]).starts_with("f100: no: state entry '' must have a key of 1 to 512 bytes\n"));
    assert!(
        send(vec![write("b", 1024 * 1024 + 1)]).starts_with("f100: no: state entry 'b' has a value of more than 1 MiB")
    );
    for i in 0..63 {
        send(vec![write(&format!("k{i}"), 1024 * 1024)]);
    }
    assert!(
        send(vec![write("last", 1024 * 1024)]).starts_with("f100: no: the framework's state would be 67108874 bytes")
    );
    let delete = StateWrite { key: "a".to_owned(), value: None };
    assert_eq!(send(vec![delete, write("last", 1024 * 1024)]), "f100: done\nf100: state of m-1\n");
}
