//! Windows of maintenance: announced, answered, started, stopped.
use model::call::Unavailability;

use super::*;
use crate::{AgentMode, OperatorRequest};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
fn window() -> Unavailability {
    Unavailability { start: Timestamp(5_000_000), duration: Some(Span::seconds(60)) }
}
fn schedule(agents: &[&str]) -> OperatorRequest {
    OperatorRequest::ScheduleMaintenance { agents: names(agents), window: window() }
}
fn start() -> OperatorRequest {
    OperatorRequest::StartMaintenance { agents: names(&["one"]) }
}
fn stop() -> OperatorRequest {
    OperatorRequest::StopMaintenance { agents: names(&["one"]) }
}
fn cancel() -> OperatorRequest {
    OperatorRequest::CancelMaintenance { agents: names(&["one"]) }
}
fn question() -> OfferId {
    OfferId::new("m-S1-M5000000-60000").expect("valid")
}

#[test]
fn a_window_is_announced_with_inverse_offers_and_in_offers_and_outlives_the_master() {
    let mut world = world_with_a_task();
    world.wait(Span::seconds(1));
    let text = ask(&mut world, schedule(&["one"]));
    assert!(text.contains("f100: rescind m-1-O2\nf100: empty m-S1 by 5000000\n"), "{text}");
    assert!(text.contains("offers m-1-O3"), "the agent is still offered: {text}");
    assert!(!text.contains("kill"), "{text}");
    assert_eq!(ask(&mut world, schedule(&["one"])), "operator: done\n", "the same again says nothing new");
    world.restart();
    assert_eq!(world.registry.agents[&agent_id(1)].maintenance, Some(window()));
    let text = world.framework(F, "f", Some(1), &["r"]);
    assert!(text.contains("empty m-S1 by 5000000"), "{text}");
}

#[test]
fn the_time_of_a_window_does_nothing_by_itself() {
    let mut world = world_with_a_task();
    ask(&mut world, schedule(&["one"]));
    let text = world.wait(Span::seconds(5_000));
    assert!(!text.contains("kill"), "{text}");
}

#[test]
fn answers_are_kept_until_the_question_changes() {
    let mut world = world_with_a_task();
    ask(&mut world, schedule(&["one"]));
    let framework = || FrameworkId::new("m-1").expect("valid");
    let answers = |world: &World| world.master.agents[&agent_id(1)].answers.clone();
    world.call(F, Call::DeclineInverseOffers { offers: vec![question()], filter: None });
    assert_eq!(answers(&world), [(framework(), false)].into());
    world.call(F, Call::AcceptInverseOffers { offers: vec![question()], filter: None });
    assert_eq!(answers(&world), [(framework(), true)].into());
    ask(&mut world, cancel());
    assert!(answers(&world).is_empty());
    let text = world.call(F, Call::AcceptInverseOffers { offers: vec![question()], filter: None });
    assert!(text.contains("does not stand"), "{text}");
    assert!(answers(&world).is_empty());
}

#[test]
fn who_answers_with_a_filter_is_asked_again_when_it_ends() {
    let asked = |text: &str| text.matches("empty m-S1 by 5000000").count();
    let decline = |seconds| Call::DeclineInverseOffers {
        offers: vec![question()],
        filter: Some(model::call::Filter { refuse: Span::seconds(seconds) }),
    };
    let mut world = world_with_a_task();
    ask(&mut world, schedule(&["one"]));
    world.call(F, decline(100));
    assert_eq!(asked(&world.wait(Span::seconds(99))), 0);
    assert_eq!(asked(&world.wait(Span::seconds(2))), 1);
    assert_eq!(asked(&world.wait(Span::seconds(500))), 0, "once, until it answers again");
    // The last answer counts, with its filter or without.
    world.call(F, decline(10));
    world.call(F, Call::AcceptInverseOffers { offers: vec![question()], filter: None });
    assert_eq!(asked(&world.wait(Span::seconds(100))), 0);
    // Whoever revives is asked at once, and not a second time.
    world.call(F, decline(50));
    assert_eq!(asked(&world.call(F, Call::Revive { roles: BTreeSet::new() })), 1);
    assert_eq!(asked(&world.wait(Span::seconds(100))), 0);
    // A new session is told everything, and what the old one wished ends with it.
    world.call(F, decline(50));
    assert_eq!(asked(&world.framework(SessionId(101), "f", Some(1), &["r"])), 1);
    assert_eq!(asked(&world.wait(Span::seconds(100))), 0);
    // What is not asked any more is not asked again.
    world.call(SessionId(101), decline(50));
    ask(&mut world, cancel());
    assert_eq!(asked(&world.wait(Span::seconds(100))), 0);
    assert!(world.master.agents[&agent_id(1)].ask_again.is_empty());
}

#[test]
fn one_unknown_agent_leaves_all_as_they_were() {
    let mut world = world_with_a_task();
    let text = ask(&mut world, schedule(&["one", "two"]));
    assert!(text.contains("there is no agent 'two'"), "{text}");
    assert_eq!(world.registry.agents[&agent_id(1)].maintenance, None);
    let over = Unavailability { start: Timestamp(1), duration: Some(Span(1)) };
    for (agents, window) in [(names(&[]), window()), (names(&["one"]), over)] {
        let text = ask(&mut world, OperatorRequest::ScheduleMaintenance { agents, window });
        assert!(
            text.contains("a maintenance window that is over") || text.contains("maintenance of no agent"),
            "{text}"
        );
    }
}

#[test]
fn started_it_empties_the_agent_and_stopped_it_is_offered_again() {
    let mut world = world_with_a_task();
    for request in [start(), stop(), cancel()] {
        let text = ask(&mut world, request);
        assert_eq!(text, "operator: no: no maintenance of agent 'one' is scheduled\n");
    }
    ask(&mut world, schedule(&["one"]));
    let text = ask(&mut world, stop());
    assert!(text.contains("has not started"), "{text}");
    let text = ask(&mut world, start());
    assert!(text.contains("a1: kill t"), "{text}");
    let text = ask(&mut world, cancel());
    assert!(text.contains("is being maintained or drained"), "{text}");
    world.update(1, 1, status("t", TaskState::Killed, 8));
    world.call(F, acknowledgement("t", 8));
    assert!(matches!(world.registry.agents[&agent_id(1)].mode, AgentMode::Drained { .. }));
    let text = ask(&mut world, stop());
    assert!(text.contains("offers"), "{text}");
    assert_eq!(world.registry.agents[&agent_id(1)].maintenance, None);
    assert_eq!(world.registry.agents[&agent_id(1)].mode, AgentMode::Active);
}
