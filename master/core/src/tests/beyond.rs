//! What the simulator does not reach with a small cluster: every row of the task's table, and limits far away. Its table
//! (`tests/sim/src/coverage.rs`) names these tests.
use model::task::TaskState::{Killing, Running, Staging, Starting, Unreachable};

use super::*;
use crate::{HoldingsChange, OperatorRequest, RequestId, StateWrite, limits};

/// A master with an agent and a task on it that is in a state, and the session of that agent.
fn task_in(from: TaskState) -> (World, u64) {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    world.accept(F, offer_id(1), vec![Operation::Launch(pod(1, &[("t", amount(1, 0))]))], 1000);
    if from == Unreachable {
        world.update(1, 1, status("t", Starting, 7));
        world.step(Event::AgentClosed { session: SessionId(1) });
        world.wait(Span::seconds(3600));
        return (world, 2);
    }
    if from != Staging {
        world.update(1, 1, status("t", from, 7));
    }
    (world, 1)
}

#[test]
fn a_task_takes_every_row_of_its_table_and_no_other() {
    for from in [Staging, Starting, Running, Killing, Unreachable] {
        for to in TaskState::ALL {
            // Nobody says of a task that it is unreachable but the master, and unknown is an answer, not a state.
            if matches!(to, Unreachable | TaskState::Unknown) {
                continue;
            }
            let (mut world, session) = task_in(from);
            let before = world.decisions.len();
            if from == Unreachable {
                if to == Staging {
                    continue;
                }
                let task = agent_task(1, "t", 1, amount(1, 0), to);
                world.agent(session, registration("one", Some(1), amount(4, 1024), vec![task]));
            } else {
                world.update(session, 1, status("t", to, 8));
            }
            let became = world.decisions[before..].iter().any(|decision| {
                matches!(decision, Decision::TaskBecame { from: Some(was), to: is, .. } if *was == from && *is == to)
            });
            // A repeated state is news of health, not a step.
            assert_eq!(became, from.may_become(to) && from != to, "{from:?} -> {to:?}");
        }
    }
}

#[test]
fn every_state_that_may_run_becomes_unreachable_with_its_agent_and_gone_with_it() {
    for from in [Staging, Starting, Running, Killing] {
        let (mut world, session) = task_in(from);
        world.step(Event::AgentClosed { session: SessionId(session) });
        world.wait(Span::seconds(3600));
        let ask = OperatorRequest::MarkAgentGone { agent: "one".to_owned() };
        world.step(Event::Asked { request: RequestId(1), ask });
        let rows: Vec<_> = world
            .decisions
            .iter()
            .filter_map(|decision| match decision {
                Decision::TaskBecame { from: Some(from), to, .. } => Some((*from, *to)),
                _ => None,
            })
            .collect();
        assert!(rows.contains(&(from, Unreachable)), "{rows:?}");
        assert!(rows.contains(&(Unreachable, TaskState::GoneByOperator)), "{rows:?}");
    }
}

#[test]
fn an_end_that_its_agent_has_not_said_yet_is_told_when_the_agent_is_lost() {
    let (mut world, session) = task_in(Running);
    // It comes back and knows that the task has ended, but has to be told first that an earlier update was heard.
    world.step(Event::AgentClosed { session: SessionId(session) });
    let task = agent_task(1, "t", 1, amount(1, 0), TaskState::Finished);
    let text = world.agent(session + 1, registration("one", Some(1), amount(4, 1024), vec![task]));
    assert!(!text.contains("update t"), "{text}");
    world.step(Event::AgentClosed { session: SessionId(session + 1) });
    let text = world.wait(Span::seconds(3600));
    assert!(text.contains("update t Finished") && !text.contains("update t Unreachable"), "{text}");
    let ask = OperatorRequest::MarkAgentGone { agent: "one".to_owned() };
    let text = world.step(Event::Asked { request: RequestId(1), ask });
    assert!(text.contains("update t Finished") && !text.contains("GoneByOperator"), "{text}");
}

#[test]
fn a_disk_that_stands_still_refuses_calls() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    let mut last = 0;
    for sequence in 0..=limits::HELD_COMMANDS_MAX as u64 + 2 {
        // What it wants written is not: nobody says so.
        let mut out = Vec::new();
        let writes = vec![StateWrite { key: "k".to_owned(), value: Some(vec![1]) }];
        let event = Event::FrameworkCalled { session: F, sequence, call: None, writes, read_state: false };
        world.master.step(world.now, event, &mut out);
        let batches = out.iter().filter_map(|command| match command {
            Command::Persist { batch, .. } => Some(*batch),
            _ => None,
        });
        last = batches.max().unwrap_or(last);
    }
    // Answers come in the order of the calls, also this one.
    let mut out = Vec::new();
    world.master.step(world.now, Event::Persisted { batch: last }, &mut out);
    let refused = out.into_iter().find_map(|command| match command {
        Command::ReplyCall { result: Err(refusal), .. } => Some(refusal.code),
        _ => None,
    });
    assert_eq!(refused.as_deref(), Some("MST0011"));
}

#[test]
fn the_pods_range_has_an_end() {
    let mut world = World::new(Config::default());
    world.registry.pool.pod_range = "10.9.0.0/24".to_owned();
    world.restart();
    let text = world.agent(1, registration("one", None, amount(1, 1), vec![]));
    assert!(text.contains("registered"), "{text}");
    let text = world.agent(2, registration("two", None, amount(1, 1), vec![]));
    assert!(text.contains("10.9.0.0/24 has no subnet left"), "{text}");
}

#[test]
fn a_framework_keeps_its_name() {
    let mut world = World::new(Config::default());
    let mut subscribe = |session, name: &str, id| {
        world.step(Event::FrameworkOpened { session, principal: Principal::new("operator/x") });
        let info = info(name, id, &["r"]);
        world.call(session, Call::Subscribe { info, suppressed: BTreeSet::new(), constraints: Default::default() })
    };
    assert!(subscribe(F, "f", None).starts_with("f100: subscribed"));
    let text = subscribe(G, "g", Some(1));
    assert!(text.contains("a framework cannot be renamed"), "{text}");
}

#[test]
fn a_pod_has_only_so_many_tasks() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    let names: Vec<String> = (0..=limits::TASKS_PER_POD_MAX).map(|n| format!("t{n}")).collect();
    let tasks: Vec<(&str, Resources)> = names.iter().map(|name| (name.as_str(), amount(0, 1))).collect();
    let text = world.accept(F, offer_id(1), vec![Operation::Launch(pod(1, &tasks))], 0);
    assert!(text.contains("65 tasks in one pod are more than the limit of 64"), "{text}");
}

#[test]
fn what_the_master_keeps_of_a_task_has_a_limit() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    let mut large = pod(1, &[("t", amount(0, 1))]);
    large.tasks[0].head.name = "x".repeat(limits::TASK_HEAD_BYTES_MAX + 1);
    let text = world.accept(F, offer_id(1), vec![Operation::Launch(large)], 0);
    assert!(text.contains("8193 bytes of name, discovery, secrets and titles of one task are more than"), "{text}");
}

#[test]
fn the_range_of_virtual_addresses_has_an_end() {
    let mut world = World::new(Config::default());
    world.registry.pool.vip_range = "198.18.0.0/30".to_owned();
    world.restart();
    world.framework(F, "f", None, &["r"]);
    let mut lease = |name: String| {
        let principal = Principal::new("framework/f");
        let ask = OperatorRequest::LeaseVip { framework: "f".to_owned(), name, principal };
        world.step(Event::Asked { request: RequestId(1), ask })
    };
    let said: Vec<String> = (0..5).map(|number| lease(format!("v{number}"))).collect();
    assert_eq!(said[0], "operator: done\n");
    assert!(said[4].contains("198.18.0.0/30 has no address left"), "{said:?}");
}

#[test]
fn an_operation_s_id_is_used_once_and_what_the_agent_reserves_stays_so() {
    let refused = |operations| {
        let mut world = World::new(Config::default());
        world.framework(F, "f", None, &["r"]);
        world.agent(1, registration("one", None, with_disk(4, 1024, 100), vec![]));
        world.accept(F, offer_id(1), operations, 0);
        let codes = world.decisions.iter().filter_map(|decision| match decision {
            Decision::Rejected { reason, .. } => Some(reason.code()),
            _ => None,
        });
        codes.collect::<Vec<_>>()
    };
    let mut reservation = Reservation::new(role("r"), Principal::new("framework/f"), BTreeMap::new());
    let reserve = |reservation: &Reservation| {
        let held = Holding { reservation: reservation.clone(), volume: None };
        Operation::Reserve(Resources::held_as(held, disk(1)))
    };
    let named = |operation| {
        let id = model::OperationId::new("o").expect("valid");
        Operation::Identified { id, operation: Box::new(operation) }
    };
    let usual = reserve(&reservation);
    assert_eq!(refused(vec![named(usual.clone()), named(usual)]), ["MST0056"]);
    reservation.is_static = true;
    assert_eq!(refused(vec![reserve(&reservation)]), ["MST0051"]);
}

#[test]
fn nothing_is_reserved_on_an_agent_that_is_away() {
    let mut world = World::new(Config::default());
    world.agent(1, registration("one", None, with_disk(4, 1024, 100), vec![]));
    world.step(Event::AgentClosed { session: SessionId(1) });
    let change = HoldingsChange::Reserve { wanted: held("s", "operator/ann", None, disk(1)), source: None };
    let (agent, principal) = ("one".to_owned(), Principal::new("operator/ann"));
    let ask = OperatorRequest::ChangeHoldings { agent, change, principal };
    let text = world.step(Event::Asked { request: RequestId(1), ask });
    assert!(text.contains("operator: no: agent m-S1 is not connected"), "{text}");
}
