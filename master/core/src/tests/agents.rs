//! Agents come, go and come back.
use super::*;
use crate::config::RemovalLimit;

fn world() -> World {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    world.accept(F, offer_id(1), vec![Operation::Launch(pod(1, &[("t", amount(1, 0))]))], 1000);
    world.update(1, 1, status("t", TaskState::Running, 7));
    world
}

#[test]
fn an_agent_that_stays_away_is_unreachable_and_may_come_back_with_its_task() {
    let mut world = world();
    assert_eq!(world.step(Event::AgentClosed { session: SessionId(1) }), "");
    assert_eq!(world.wait(Span::seconds(10)), "f100: failure m-S1\nf100: update t Unreachable AgentRemoved\n");
    let task = agent_task(1, "t", 1, amount(1, 0), TaskState::Running);
    let text = world.agent(2, registration("one", Some(1), amount(4, 1024), vec![task]));
    assert_eq!(
        text,
        "f100: update t Running AgentReregistered\n\
         a2: registered m-S1 10.9.0.0/24\n\
         f100: offers m-1-O2 m-S1 r: cpus 3; mem 1024 MiB\n\
         a2: peers []\n"
    );
}

#[test]
fn offers_of_an_agent_that_leaves_are_rescinded() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    assert_eq!(world.step(Event::AgentClosed { session: SessionId(1) }), "f100: rescind m-1-O1\n");
}

#[test]
fn tasks_an_agent_comes_back_without_are_gone_or_never_reached_it() {
    for (running, expected) in [(true, "Gone AgentReregistered"), (false, "Dropped Reconciliation")] {
        let mut world = World::new(Config::default());
        world.framework(F, "f", None, &["r"]);
        world.agent(1, registration("one", None, amount(4, 1024), vec![]));
        world.accept(F, offer_id(1), vec![Operation::Launch(pod(1, &[("t", amount(1, 0))]))], 1000);
        if running {
            world.update(1, 1, status("t", TaskState::Running, 7));
        }
        let text = world.agent(2, registration("one", Some(1), amount(4, 1024), vec![]));
        assert!(text.starts_with(&format!("a1: close\nf100: update t {expected}\na2: registered m-S1")), "{text}");
        let task = agent_task(1, "t", 1, amount(1, 0), TaskState::Running);
        let text = world.agent(3, registration("one", Some(1), amount(4, 1024), vec![task]));
        assert!(text.contains("a3: kill t\n"), "what was declared ended must not run: {text}");
        let text = world.update(3, 1, status("t", TaskState::Killed, 9));
        assert!(text.starts_with("a3: acknowledge t #9\n"), "nobody else acknowledges it: {text}");
        assert!(!text.contains("update"), "ended is ended: {text}");
    }
}

#[test]
fn after_a_failover_the_tasks_are_the_union_of_the_agents() {
    let mut world = world();
    world.agent(2, registration("two", None, amount(4, 1024), vec![]));
    world.restart();
    world.framework(F, "f", Some(1), &["r"]);
    for (session, name, id, task) in [(3, "one", 1, "t"), (4, "two", 2, "u")] {
        let task = agent_task(1, task, id, amount(1, 0), TaskState::Running);
        world.agent(session, registration(name, Some(id), amount(4, 1024), vec![task]));
    }
    assert_eq!(
        world.call(F, Call::Reconcile { tasks: vec![] }),
        "f100: update t Running Reconciliation\nf100: update u Running Reconciliation\nf100: done\n"
    );
}

#[test]
fn an_agent_that_answers_no_ping_is_given_up() {
    let mut world = World::new(Config::default());
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    assert_eq!(world.wait(Span::seconds(5)), "a1: ping 1\n");
    let pong = |number| Event::AgentSaid { session: SessionId(1), message: FromAgent::Pong { number } };
    assert_eq!(world.step(pong(1)), "");
    assert_eq!(world.wait(Span::seconds(20)), "a1: ping 2\na1: ping 3\na1: ping 4\na1: close\n");
}

#[test]
fn who_is_not_who_it_says_is_refused() {
    let (mut stale, mut sane) = (registration("one", None, amount(1, 1), vec![]), amount(1, 1));
    stale.epoch_seen = 2;
    sane.unreserved.cpus = Milli(-1);
    for (said, words) in [
        (registration("two", None, amount(1, 1), vec![]), "the agent calls itself 'two', its certificate says 'one'"),
        (registration("one", Some(7), amount(1, 1), vec![]), "agent id m-S7 was not given to this agent by this pool"),
        (stale, "the agent has obeyed epoch 2, this master's is 1"),
        (registration("one", None, sane, vec![]), "the agent reports a negative or absurd amount"),
    ] {
        let mut world = World::new(Config::default());
        world.step(Event::AgentOpened { session: SessionId(1), name: "one".to_owned() });
        let message = FromAgent::Register(Box::new(said));
        let text = world.step(Event::AgentSaid { session: SessionId(1), message });
        assert_eq!(text, format!("a1: refused: {words}\na1: close\n"));
    }
}

#[test]
fn every_agent_has_its_own_subnet_for_ever_and_hears_of_its_peers() {
    let mut world = World::new(Config::default());
    world.agent(1, registration("one", None, amount(1, 1), vec![]));
    assert_eq!(
        world.agent(2, registration("two", None, amount(1, 1), vec![])),
        "a2: registered m-S2 10.9.1.0/24\na1: peers [m-S2]\na2: peers [m-S1]\n"
    );
    world.restart();
    let text = world.agent(3, registration("two", None, amount(1, 1), vec![]));
    assert_eq!(text, "a3: registered m-S2 10.9.1.0/24\na3: peers [m-S1]\n", "known by its name");
}

#[test]
fn the_newer_view_of_holdings_stands() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    let reserved = || held("r", "framework/f", None, disk(10));
    let mut with_reserved = with_disk(4, 1024, 90);
    with_reserved.add(&reserved());
    world.agent(1, registration("one", None, with_reserved.clone(), vec![]));
    let record = &world.registry.agents[&agent_id(1)];
    assert_eq!((record.holdings_generation, &record.holdings), (1, &reserved()), "a new agent's own view stands");
    let operations = vec![Operation::Unreserve(reserved())];
    world.accept(F, offer_id(1), operations, 1000);
    let text = world.agent(2, registration("one", Some(1), with_reserved, vec![]));
    assert!(text.contains("a2: holdings 2: nothing\n"), "it did not hear of the last change: {text}");
}

#[test]
fn no_more_agents_become_unreachable_at_once_than_the_limit_allows() {
    let patient = Config { ping_interval: Span::seconds(3600), offer_timeout: None, ..Config::default() };
    let limit = RemovalLimit { agents: 1, within: Span::seconds(60) };
    let mut world = World::new(Config { removal_limit: Some(limit), ..patient });
    world.framework(F, "f", None, &["r"]);
    for (number, name) in [(1, "one"), (2, "two"), (3, "three")] {
        world.agent(number, registration(name, None, amount(4, 1024), vec![]));
    }
    for number in [1, 2, 3] {
        world.step(Event::AgentClosed { session: SessionId(number) });
    }
    let text = world.wait(Span::seconds(20));
    assert_eq!(text.matches("failure").count(), 1, "{text}");
    let text = world.wait(Span::seconds(60));
    assert_eq!(text.matches("failure").count(), 1, "the next when the first is a minute ago: {text}");
    world.agent(4, registration("three", Some(3), amount(4, 1024), vec![]));
    let text = world.wait(Span::seconds(300));
    assert!(!text.contains("failure"), "one that is back is not lost: {text}");
}
