//! Agents that operators deactivate, empty and give up.
use super::*;
use crate::{AgentMode, OperatorRequest};

fn drain(seconds: u64, mark_gone: bool) -> OperatorRequest {
    OperatorRequest::DrainAgent { agent: "one".to_owned(), max_grace: Span::seconds(seconds), mark_gone }
}
fn mode(world: &World) -> AgentMode {
    world.registry.agents[&agent_id(1)].mode
}

#[test]
fn a_deactivated_agent_lends_nothing_until_it_is_reactivated_and_a_new_master_knows_it() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    let text = ask(&mut world, OperatorRequest::DeactivateAgent { agent: "one".to_owned() });
    assert_eq!(text, "f100: rescind m-1-O1\noperator: done\n");
    assert_eq!(ask(&mut world, OperatorRequest::DeactivateAgent { agent: "m-S1".to_owned() }), "operator: done\n");
    world.restart();
    world.framework(F, "f", Some(1), &["r"]);
    let text = world.agent(2, registration("one", Some(1), amount(4, 1024), vec![]));
    assert!(!text.contains("offers"), "{text}");
    let text = ask(&mut world, OperatorRequest::ReactivateAgent { agent: "one".to_owned() });
    assert_eq!(text, "operator: done\nf100: offers m-2-O1 m-S1 r: cpus 4; mem 1024 MiB\n");
}

#[test]
fn a_drain_is_first_the_frameworks_and_after_the_deadline_the_masters() {
    let mut world = world_with_a_task();
    let text = ask(&mut world, drain(60, false));
    assert!(text.contains("f100: empty m-S1 by 1060000\n"), "{text}");
    assert!(!text.contains("a1: kill"), "{text}");
    let text = world.wait(Span::seconds(61));
    assert_eq!(text.matches("a1: kill t\n").count(), 1, "{text}");
    let text = world.update(1, 1, status("t", TaskState::Killed, 8));
    assert_eq!(text, "f100: update t Killed AgentDraining #8\n");
    assert!(matches!(mode(&world), AgentMode::Draining(_)), "its end is not acknowledged yet");
    world.call(F, acknowledgement("t", 8));
    assert!(matches!(mode(&world), AgentMode::Drained { .. }));
    assert!(!world.wait(Span::seconds(20)).contains("offers"), "nothing of it is offered");
}

#[test]
fn a_drain_survives_the_master_and_whoever_subscribes_hears_of_it() {
    let mut world = world_with_a_task();
    ask(&mut world, drain(30, false));
    world.restart();
    let text = world.framework(F, "f", Some(1), &["r"]);
    assert!(text.contains("f100: empty m-S1 by 1030000\n"), "{text}");
    world.wait(Span::seconds(31));
    let running = agent_task(1, "t", 1, amount(1, 0), TaskState::Running);
    let text = world.agent(2, registration("one", Some(1), amount(4, 1024), vec![running]));
    assert!(text.contains("a2: kill t\n"), "the deadline passed while nobody could kill: {text}");
}

#[test]
fn a_drain_is_called_off() {
    let mut world = world_with_a_task();
    ask(&mut world, drain(30, true));
    let text = ask(&mut world, OperatorRequest::ReactivateAgent { agent: "one".to_owned() });
    assert_eq!(text, "f100: keep m-S1-I1000000\noperator: done\n");
    let text = world.wait(Span::seconds(40));
    assert!(text.contains("offers") && !text.contains("kill"), "{text}");
}

#[test]
fn a_drained_agent_goes_for_good_if_that_was_wanted_and_is_told_so() {
    let mut world = world_with_a_task();
    assert!(ask(&mut world, OperatorRequest::MarkAgentGone { agent: "one".to_owned() }).contains("is connected"));
    ask(&mut world, drain(0, true));
    world.update(1, 1, status("t", TaskState::Killed, 8));
    let text = world.call(F, acknowledgement("t", 8));
    assert!(text.contains("a1: refused: agent m-S1 was declared gone\na1: close\nf100: failure m-S1\n"), "{text}");
    let text = world.agent(2, registration("one", Some(1), amount(4, 1024), vec![]));
    assert_eq!(text, "a2: refused: agent m-S1 was declared gone\na2: close\n");
    let text = world.agent(3, registration("one", None, amount(4, 1024), vec![]));
    assert!(text.contains("a3: registered m-S2"), "the machine may come back as another agent: {text}");
}

#[test]
fn what_an_ended_framework_holds_on_an_agent_that_is_away_is_an_orphan_until_it_returns() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    let mut total = with_disk(4, 1024, 90);
    total.add(&held("r", "framework/f", None, disk(10)));
    world.agent(1, registration("one", None, total.clone(), vec![]));
    world.step(Event::AgentClosed { session: SessionId(1) });
    world.wait(Span::seconds(10));
    ask(&mut world, OperatorRequest::Teardown { framework: "f".to_owned() });
    let record = world.registry.agents[&agent_id(1)].clone();
    assert_eq!((record.holdings.is_empty(), record.orphans), (true, held("r", "framework/f", None, disk(10))));
    let text = world.agent(2, registration("one", Some(1), total, vec![]));
    assert!(text.contains("a2: holdings 2: nothing\n"), "{text}");
    assert!(world.registry.agents[&agent_id(1)].orphans.is_empty());
}

#[test]
fn refusals_of_what_operators_ask_of_agents() {
    let mut world = world_with_a_task();
    for (request, words) in [
        (OperatorRequest::DeactivateAgent { agent: "two".to_owned() }, "there is no agent 'two'"),
        (drain(8 * 24 * 3600, false), "a drain of 691200 s is longer than the limit of 604800 s"),
    ] {
        assert_eq!(ask(&mut world, request), format!("operator: no: {words}\n"));
    }
    world.step(Event::AgentClosed { session: SessionId(1) });
    ask(&mut world, OperatorRequest::MarkAgentGone { agent: "one".to_owned() });
    let text = ask(&mut world, OperatorRequest::ReactivateAgent { agent: "m-S1".to_owned() });
    assert_eq!(text, "operator: no: agent m-S1 was declared gone\n");
}
