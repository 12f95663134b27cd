//! Agents that were given up: their subnets are leased again, and some day they are forgotten.
use super::*;
use crate::config::Config;
use crate::limits;

const DAY: Span = Span::seconds(24 * 3600);

fn give_up(world: &mut World, name: &str) -> String {
    ask(world, crate::OperatorRequest::MarkAgentGone { agent: name.to_owned() })
}

/// An agent of this name comes for the first time, and is given up.
fn comes_and_goes(world: &mut World, number: u64) -> String {
    let name = format!("a{number}");
    let text = world.agent(number, registration(&name, None, amount(1, 1), vec![]));
    world.step(Event::AgentClosed { session: SessionId(number) });
    assert!(give_up(world, &name).starts_with("operator: done\n"));
    text
}

fn subnet(text: &str) -> &str {
    text.lines().find(|line| line.contains("registered")).and_then(|line| line.split(' ').nth(3)).expect(text)
}

#[test]
fn the_range_of_pods_bounds_the_agents_that_are_and_not_those_that_ever_were() {
    let mut world = World::new(patient());
    world.registry.pool.pod_range = "10.9.0.0/22".to_owned();
    world.restart();
    world.agent(1, registration("stays", None, amount(1, 1), vec![]));
    // 20 a day for a year would be more; a thousand are four hundred times as many as there are subnets.
    let mut leased = Vec::new();
    for number in 2..1_002 {
        leased.push(subnet(&comes_and_goes(&mut world, number)).to_owned());
        if number == 500 {
            world.restart();
            world.agent(10_000, registration("stays", Some(1), amount(1, 1), vec![]));
        }
    }
    let expected = ["10.9.1.0/24", "10.9.2.0/24", "10.9.3.0/24"];
    for (i, subnet) in leased.iter().enumerate() {
        assert_eq!(subnet, expected[i % 3], "never the one that is in use, and the longest free first: {i}");
    }
    // But as many as there are subnets at once.
    for number in 2_001..2_004 {
        world.agent(number, registration(&format!("b{number}"), None, amount(1, 1), vec![]));
    }
    let text = world.agent(2_005, registration("one too many", None, amount(1, 1), vec![]));
    assert!(text.contains("has no subnet left"), "{text}");
}

#[test]
fn agents_that_are_gone_are_forgotten_by_age_and_refused_for_ever() {
    let mut world = World::new(patient());
    for number in 1..4 {
        comes_and_goes(&mut world, number);
    }
    world.wait(Span(13 * DAY.0));
    assert_eq!(world.registry.agents.len(), 3, "they can be listed");
    world.wait(Span(2 * DAY.0));
    let known: Vec<_> = world.registry.agents.keys().map(AgentId::as_str).collect();
    assert_eq!(known, ["m-S3"], "the newest stays, or its number would be given again");
    assert_eq!(world.master.agents.len(), 1);
    world.framework(F, "f", None, &["r"]);
    let asked = Call::Reconcile { tasks: vec![(task_id("t"), Some(agent_id(1))), (task_id("t"), Some(agent_id(9)))] };
    assert_eq!(
        world.call(F, asked),
        "f100: update t GoneByOperator Reconciliation\nf100: update t Unknown Reconciliation\nf100: done\n",
        "who waits for what was there hears that it is gone"
    );
    let refused = "was declared gone";
    for restarted in [false, true] {
        if restarted {
            world.restart();
        }
        let session = 20 + u64::from(restarted) * 10;
        for number in 1..4 {
            let said = registration(&format!("a{number}"), Some(number), amount(1, 1), vec![]);
            let text = world.agent(session + number, said);
            assert!(text.contains(refused), "an id of ours that is not known was given up: {text}");
        }
        let text = world.agent(session + 5, registration("a1", Some(99), amount(1, 1), vec![]));
        assert!(text.contains("was not given to this agent"), "one that was never given is not ours: {text}");
    }
    let text = world.agent(50, registration("a1", None, amount(1, 1), vec![]));
    assert!(text.contains("registered m-S4"), "it joins anew, under a new id: {text}");
}

#[test]
fn only_so_many_agents_that_are_gone_are_kept() {
    let mut world = World::new(Config { registry_count_max: 2, ..patient() });
    for number in 1..7 {
        comes_and_goes(&mut world, number);
        world.wait(Span::seconds(60));
    }
    world.wait(limits::COLLECTION_INTERVAL);
    let known: Vec<_> = world.registry.agents.keys().map(AgentId::as_str).collect();
    assert_eq!(known, ["m-S4", "m-S5", "m-S6"], "the oldest went first, and the newest does not count");
    let forgotten = world.decisions.iter().filter(|decision| matches!(decision, Decision::AgentForgotten { .. }));
    assert_eq!(forgotten.count(), 3);
}

#[test]
fn who_is_unreachable_for_weeks_is_given_up_unless_data_is_there() {
    let mut world = World::new(patient());
    world.framework(F, "f", None, &["r"]);
    let mut with_data = with_disk(4, 1024, 90);
    with_data.add(&held("r", "framework/f", Some("v"), disk(10)));
    world.agent(1, registration("empty", None, amount(4, 1024), vec![]));
    world.agent(2, registration("full", None, with_data, vec![]));
    let offer =
        world.master.offers.iter().find(|lent| lent.offer.agent_id == agent_id(1)).expect("lent").offer.id.clone();
    world.accept(F, offer, vec![Operation::Launch(pod(1, &[("t", amount(1, 0))]))], 0);
    for session in [1, 2] {
        world.step(Event::AgentClosed { session: SessionId(session) });
    }
    let text = world.wait(Span(13 * DAY.0));
    assert!(text.contains("update t Unreachable"), "{text}");
    let text = world.wait(Span(2 * DAY.0));
    assert!(text.contains("update t GoneByOperator"), "{text}");
    let record = |world: &World, number| world.registry.agents[&agent_id(number)].clone();
    assert!(record(&world, 1).gone && !record(&world, 2).gone, "nobody but an operator gives data up");
    let text = world.agent(5, registration("full", Some(2), with_disk(4, 1024, 90), vec![]));
    assert!(text.contains("registered m-S2"), "{text}");
}
