//! Operations with an id, shared volumes, and what operators do to reservations.
use model::OperationId;
use model::task::{Limit, TaskLimits};

use super::*;
use crate::event::{HoldingsChange, OperatorRequest, RequestId};

fn disk(amount: i64) -> Quantities {
    Quantities { disk: Milli::units(amount), ..Quantities::default() }
}
fn world() -> World {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, with_disk(4, 1024, 100), vec![]));
    world
}
fn named(id: &str, operation: Operation) -> Operation {
    Operation::Identified { id: operation_id(id), operation: Box::new(operation) }
}
fn operation_id(id: &str) -> OperationId {
    OperationId::new(id).expect("valid")
}
fn reserve(amount: i64) -> Operation {
    Operation::Reserve(held("r", "framework/f", None, disk(amount)))
}
fn applied(world: &mut World, session: u64, generation: u64) -> String {
    world.step(Event::AgentSaid { session: SessionId(session), message: FromAgent::Applied { generation } })
}
fn acknowledge(world: &mut World, id: &str, number: u128) -> String {
    let uuid = UpdateId((u128::from(world.registry.pool.epoch) << 64) | number);
    world.call(F, Call::AcknowledgeOperation { agent_id: None, operation_id: operation_id(id), uuid })
}
fn reconcile(world: &mut World, operations: &[(&str, Option<u64>)]) -> String {
    let operations = operations.iter().map(|(id, agent)| (operation_id(id), agent.map(agent_id))).collect();
    world.call(F, Call::ReconcileOperations { operations })
}
fn ask(world: &mut World, change: HoldingsChange) -> String {
    let (agent, principal) = ("one".to_owned(), Principal::new("operator/ann"));
    world
        .step(Event::Asked { request: RequestId(1), ask: OperatorRequest::ChangeHoldings { agent, change, principal } })
}

#[test]
fn what_became_of_an_operation_is_told_until_it_is_acknowledged() {
    let mut world = world();
    let text = world.accept(F, offer_id(1), vec![named("o", reserve(10))], 1000);
    assert!(text.starts_with("a1: holdings 1: disk 10 MiB for r\nf100: done\n"), "{text}");
    assert_eq!(reconcile(&mut world, &[]), "f100: operation o Pending\nf100: done\n");
    assert_eq!(applied(&mut world, 1, 1), "f100: operation o Finished #1\n");
    assert_eq!(applied(&mut world, 1, 1), "", "said once");
    for seconds in [10, 20, 40] {
        let text = world.wait(Span::seconds(seconds));
        assert_eq!(text.matches("operation o Finished #1").count(), 1, "again after {seconds} s: {text}");
    }
    acknowledge(&mut world, "o", 2);
    assert_eq!(reconcile(&mut world, &[("o", None)]), "f100: operation o Finished\nf100: done\n", "a wrong receipt");
    assert_eq!(acknowledge(&mut world, "o", 1), "f100: done\n");
    assert!(world.registry.agents[&agent_id(1)].operations.is_empty(), "forgotten on the disk too");
    assert!(!world.wait(Span::seconds(1000)).contains("operation"));
}

#[test]
fn a_failing_operation_is_refused_alone_and_later_ones_run_on_what_is_left() {
    let mut world = world();
    let operations = vec![named("big", reserve(1000)), named("fit", reserve(10)), named("fit", reserve(10))];
    let text = world.accept(F, offer_id(1), operations, 1000);
    assert!(text.contains("a1: holdings 1: disk 10 MiB for r\n"), "{text}");
    assert!(text.contains("f100: operation big Error #1: "), "{text}");
    assert!(text.contains("f100: no: operations[0]: the offers lack disk 900 MiB unreserved"), "{text}");
    assert_eq!(world.registry.agents[&agent_id(1)].operations.len(), 2, "an id means one operation");
    assert_eq!(applied(&mut world, 1, 1), "f100: operation fit Finished #2\n");
}

#[test]
fn an_id_on_a_launch_is_refused_and_one_on_void_offers_is_answered() {
    let mut world = world();
    let launch = named("o", Operation::Launch(pod(1, &[("t", amount(1, 0))])));
    let text = world.accept(F, offer_id(1), vec![launch], 1000);
    assert!(text.contains("no: operations[0]: an operation id goes with one operation that is no launch"), "{text}");
    let text = world.accept(F, offer_id(1), vec![named("o", reserve(10))], 1000);
    assert!(text.starts_with("f100: operation o Dropped: "), "{text}");
}

#[test]
fn a_new_master_knows_operations_and_tells_of_them_when_the_framework_is_back() {
    let mut world = world();
    world.accept(F, offer_id(1), vec![named("done", reserve(10)), named("big", reserve(1000))], 1000);
    world.restart();
    let text = world.framework(F, "f", Some(1), &["r"]);
    assert!(text.contains("f100: operation big Error #2: "), "{text}");
    let asked = reconcile(&mut world, &[("done", None), ("new", Some(1)), ("new", Some(9)), ("new", None)]);
    assert_eq!(
        asked,
        "f100: operation done Recovering\n\
         f100: operation new Recovering\n\
         f100: operation new Unknown\n\
         f100: operation new Unknown\n\
         f100: done\n"
    );
    let mut total: Resources = with_disk(4, 1024, 90);
    total.add(&held("r", "framework/f", None, disk(10)));
    let text = world.agent(1, registration("one", Some(1), total, vec![]));
    assert!(text.contains("a1: holdings 1: "), "it is asked how far it is: {text}");
    assert_eq!(applied(&mut world, 1, 1), "f100: operation done Finished #1\n");
}

#[test]
fn operations_share_the_fate_of_their_agent() {
    let mut world = world();
    world.accept(F, offer_id(1), vec![named("o", reserve(10))], 1000);
    world.step(Event::AgentClosed { session: SessionId(1) });
    let text = world.wait(Span::seconds(1000));
    assert!(text.contains("f100: operation o Unreachable\n"), "{text}");
    assert_eq!(reconcile(&mut world, &[("p", Some(1))]), "f100: operation p Unreachable\nf100: done\n");
    let ask = OperatorRequest::MarkAgentGone { agent: "one".to_owned() };
    let text = world.step(Event::Asked { request: RequestId(1), ask });
    assert!(text.contains("f100: operation o GoneByOperator #1: an operator"), "{text}");
    assert_eq!(reconcile(&mut world, &[("p", Some(1))]), "f100: operation p GoneByOperator\nf100: done\n");
    acknowledge(&mut world, "o", 1);
    assert_eq!(reconcile(&mut world, &[]), "f100: done\n");
}

#[test]
fn an_agent_that_lost_everything_fails_what_was_pending() {
    let mut world = world();
    world.accept(F, offer_id(1), vec![named("o", reserve(10))], 1000);
    let text = world.agent(2, registration("one", None, with_disk(4, 1024, 100), vec![]));
    assert!(text.contains("f100: operation o Failed #1: the agent came back without"), "{text}");
}

#[test]
fn several_tasks_have_a_shared_volume_and_it_is_not_destroyed_under_them() {
    let mut world = World::new(Config::default());
    let principal = Principal::new("framework/f");
    world.step(Event::FrameworkOpened { session: F, principal });
    let mut capable = info("f", None, &["r"]);
    capable.capabilities = BTreeSet::from([model::call::Capability::SharedResources]);
    world.call(F, Call::Subscribe { info: capable, suppressed: BTreeSet::new(), constraints: Default::default() });
    world.agent(1, registration("one", None, with_disk(4, 1024, 100), vec![]));
    let holding = held("r", "framework/f", Some("v"), disk(10));
    let shared: Resources = {
        let (mut holding, quantities) = holding.held.into_iter().next().expect("one");
        holding.volume.as_mut().expect("a volume").shared = true;
        Resources::held_as(holding, quantities)
    };
    let uses = |cpus| {
        let mut uses = amount(cpus, 0);
        uses.add(&shared);
        uses
    };
    let text = world.accept(
        F,
        offer_id(1),
        vec![
            reserve(10),
            Operation::Create(shared.clone()),
            Operation::Launch(pod(1, &[("t", uses(1))])),
            Operation::Launch(Pod {
                executor_id: ExecutorId::new("second").expect("valid"),
                ..pod(1, &[("u", uses(1))])
            }),
            Operation::Destroy(shared.clone()),
        ],
        0,
    );
    assert!(text.contains("a1: launch t\na1: launch u\n"), "{text}");
    assert!(text.contains("no: operations[4]: volume v is used by something that runs"), "{text}");
    assert!(text.contains("disk 10 MiB for r as shared volume v"), "offered to the next: {text}");
    world.update(1, 1, status("t", TaskState::Finished, 7));
    let text = ask(&mut world, HoldingsChange::Destroy(shared.clone()));
    assert!(text.contains("no: volume v is used"), "one is left: {text}");
    world.update(1, 1, status("u", TaskState::Finished, 8));
    let text = ask(&mut world, HoldingsChange::Destroy(shared));
    assert!(text.contains("operator: done"), "{text}");
}

#[test]
fn an_operator_takes_back_just_as_many_offers_as_needed_and_no_task() {
    let mut world = world();
    world.accept(F, offer_id(1), vec![Operation::Launch(pod(1, &[("t", amount(3, 0))]))], 1000);
    let text = world.framework(G, "g", None, &["r"]);
    assert!(text.contains("f200: offers m-1-O2 m-S1 r: cpus 1; "), "{text}");
    let cpus = |cpus| Quantities { cpus: Milli::units(cpus), ..Quantities::default() };
    let by = |quantities| held("s", "operator/ann", None, quantities);
    let busy = ask(&mut world, HoldingsChange::Reserve { wanted: by(cpus(2)), source: None });
    assert!(busy.contains("operator: no: of what is asked for, tasks on agent m-S1 use cpus 1 unreserved"), "{busy}");
    assert!(!busy.contains("rescind"), "a refusal takes nothing back: {busy}");
    let text = ask(&mut world, HoldingsChange::Reserve { wanted: by(cpus(9)), source: None });
    assert!(text.contains("operator: no: agent m-S1 lacks"), "{text}");
    let text = ask(&mut world, HoldingsChange::Reserve { wanted: by(cpus(1)), source: None });
    assert!(text.contains("rescind") && text.contains("operator: done"), "{text}");
    let moved = HoldingsChange::Reserve { wanted: held("u", "operator/ann", None, cpus(1)), source: Some(by(cpus(1))) };
    let text = ask(&mut world, moved);
    assert!(!text.contains("rescind"), "nobody was lent what is moved: {text}");
    assert!(text.contains("cpus 1 for u"), "{text}");
}

#[test]
fn what_may_be_taken_back_is_offered_to_those_who_can_take_it() {
    let mut world = World::new(Config::default());
    world.framework(G, "g", None, &["s"]);
    let principal = Principal::new("framework/f");
    world.step(Event::FrameworkOpened { session: F, principal });
    let mut capable = info("f", None, &["r"]);
    capable.capabilities = BTreeSet::from([model::call::Capability::RevocableResources]);
    world.call(F, Call::Subscribe { info: capable, suppressed: BTreeSet::new(), constraints: Default::default() });
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    let quantities = Quantities { cpus: Milli::units(2), mem: Milli::units(64), ..Quantities::default() };
    let said = FromAgent::Revocable(quantities.clone());
    let text = world.step(Event::AgentSaid { session: SessionId(1), message: said.clone() });
    assert!(text.contains("f100: offers m-1-O2 m-S1 r: cpus 2; mem 64 MiB revocable"), "{text}");
    assert!(!text.contains("f200"), "{text}");
    let revocable = Resources { revocable: quantities, ..Resources::default() };
    let mut mixed = revocable.clone();
    mixed.unreserved.cpus = Milli(1);
    let alone = Pod { executor_id: ExecutorId::new("alone").expect("valid"), ..pod(1, &[("m", mixed)]) };
    let launches = vec![Operation::Launch(alone), Operation::Launch(pod(1, &[("t", revocable)]))];
    let text = world.accept(F, offer_id(2), launches, 1000);
    assert!(text.contains("task m takes cpus that may be taken back, and cpus that may not"), "{text}");
    assert!(text.contains("a1: launch t"), "{text}");
    let none = FromAgent::Revocable(Quantities::default());
    world.step(Event::AgentSaid { session: SessionId(1), message: none });
    world.step(Event::AgentSaid { session: SessionId(1), message: said });
}

#[test]
fn a_limit_may_exceed_what_a_task_takes_and_never_undercut_it() {
    let mut world = world();
    let limited = |cpus| {
        let mut pod = pod(1, &[("t", amount(2, 64))]);
        pod.tasks[0].head.limits = TaskLimits { cpus: Some(cpus), mem: Some(Limit::Infinite) };
        vec![Operation::Launch(pod)]
    };
    let text = world.accept(F, offer_id(1), limited(Limit::AtMost(Milli(1999))), 0);
    assert!(text.contains("task t limits its cpus to less than it takes"), "{text}");
    let mut world = self::world();
    let text = world.accept(F, offer_id(1), limited(Limit::AtMost(Milli::units(3))), 0);
    assert!(text.contains("a1: launch t"), "{text}");
}
