//! Updates, acknowledgements, kills, reconciliation.
use super::*;

fn world() -> World {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    world.accept(F, offer_id(1), vec![Operation::Launch(pod(1, &[("t", amount(1, 0))]))], 1000);
    world
}
fn acknowledge(world: &mut World, uuid: u128) -> String {
    let call = Call::Acknowledge { agent_id: agent_id(1), task_id: task_id("t"), uuid: UpdateId(uuid) };
    world.call(F, call)
}
fn kill(id: &str) -> Call {
    Call::Kill { task_id: task_id(id), agent_id: None, grace: None }
}

#[test]
fn updates_flow_until_the_end_is_acknowledged() {
    let mut world = world();
    assert_eq!(world.update(1, 1, status("t", TaskState::Running, 7)), "f100: update t Running #7\n");
    assert_eq!(
        world.update(1, 1, status("t", TaskState::Running, 7)),
        "f100: update t Running #7\n",
        "the agent repeats"
    );
    assert_eq!(acknowledge(&mut world, 7), "a1: acknowledge t #7\nf100: done\n");
    assert_eq!(acknowledge(&mut world, 7), "f100: done\n");
    assert_eq!(
        world.update(1, 1, status("t", TaskState::Running, 7)),
        "a1: acknowledge t #7\n",
        "the framework does not see it again"
    );
    assert_eq!(
        world.update(1, 1, status("t", TaskState::Finished, 8)),
        "f100: update t Finished #8\nf100: offers m-1-O2 m-S1 r: cpus 4; mem 1024 MiB\n"
    );
    assert_eq!(acknowledge(&mut world, 8), "a1: acknowledge t #8\nf100: done\n");
    assert_eq!(world.update(1, 1, status("t", TaskState::Finished, 8)), "a1: acknowledge t #8\n");
    let text = world.call(F, Call::Reconcile { tasks: vec![(task_id("t"), None)] });
    assert_eq!(text, "f100: update t Finished Reconciliation\nf100: done\n");
}

#[test]
fn resources_are_free_when_the_agent_says_it_ended_though_news_is_late() {
    let mut world = world();
    let (framework_id, status) = (framework_id(1), status("t", TaskState::Running, 7));
    let message = FromAgent::Update { framework_id, status, latest_state: TaskState::Failed };
    assert_eq!(
        world.step(Event::AgentSaid { session: SessionId(1), message }),
        "f100: update t Running #7\nf100: offers m-1-O2 m-S1 r: cpus 4; mem 1024 MiB\n"
    );
}

#[test]
fn a_kill_is_passed_on_and_said_again_when_the_agent_is_back() {
    let mut world = world();
    assert_eq!(world.call(F, kill("t")), "a1: kill t\nf100: done\n");
    assert_eq!(world.step(Event::AgentClosed { session: SessionId(1) }), "");
    let task = agent_task(1, "t", 1, amount(1, 0), TaskState::Running);
    let text = world.agent(2, registration("one", Some(1), amount(4, 1024), vec![task]));
    assert!(text.starts_with("a2: registered m-S1 10.9.0.0/24\na2: kill t\n"), "{text}");
    assert_eq!(world.call(F, kill("x")), "f100: update x Unknown Reconciliation\nf100: done\n");
}

#[test]
fn reconciliation_answers_what_can_be_known() {
    let mut world = world();
    let ask = |id: &str, agent: Option<u64>| Call::Reconcile { tasks: vec![(task_id(id), agent.map(agent_id))] };
    for (call, expected) in [
        (ask("t", None), "f100: update t Staging Reconciliation\nf100: done\n"),
        (ask("x", None), "f100: update x Unknown Reconciliation\nf100: done\n"),
        (ask("x", Some(1)), "f100: update x Gone Reconciliation\nf100: done\n"),
        (ask("x", Some(9)), "f100: update x Unknown Reconciliation\nf100: done\n"),
        (Call::Reconcile { tasks: vec![] }, "f100: update t Staging Reconciliation\nf100: done\n"),
    ] {
        assert_eq!(world.call(F, call.clone()), expected, "{call:?}");
    }
    world.restart();
    world.framework(F, "f", Some(1), &["r"]);
    for (call, expected) in [
        (ask("t", None), "f100: not yet: t; 1 agents, 60 s\nf100: done\n"),
        (ask("t", Some(1)), "f100: not yet: t; 1 agents, 60 s\nf100: done\n"),
        (Call::Reconcile { tasks: vec![] }, "f100: not yet: all; 1 agents, 60 s\nf100: done\n"),
        (kill("t"), "f100: not yet: t; 1 agents, 60 s\nf100: done\n"),
        (
            Call::Reconcile { tasks: vec![(task_id("t"), None), (task_id("u"), Some(agent_id(9)))] },
            "f100: update u Unknown Reconciliation\nf100: not yet: t; 1 agents, 60 s\nf100: done\n",
        ),
        (ask("t", Some(9)), "f100: update t Unknown Reconciliation\nf100: done\n"),
    ] {
        assert_eq!(world.call(F, call.clone()), expected, "after a failover: {call:?}");
    }
    world.wait(Span::seconds(55));
    assert_eq!(world.call(F, ask("t", Some(1))), "f100: not yet: t; 1 agents, 5 s\nf100: done\n");
    world.wait(Span::seconds(5));
    assert_eq!(world.call(F, Call::Reconcile { tasks: vec![] }), "f100: done\n", "now all is known");
    assert_eq!(world.call(F, ask("t", Some(1))), "f100: update t Unreachable Reconciliation\nf100: done\n");
    let ask_gone = crate::OperatorRequest::MarkAgentGone { agent: "one".to_owned() };
    assert_eq!(
        world.step(Event::Asked { request: crate::RequestId(1), ask: ask_gone }),
        "f100: failure m-S1\noperator: done\n"
    );
    assert_eq!(world.call(F, ask("t", Some(1))), "f100: update t GoneByOperator Reconciliation\nf100: done\n");
}
