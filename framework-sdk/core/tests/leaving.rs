//! Agents that leave, told as what was launched, killed and asked of the framework, in order.
use framework_core::limits::LEAVE_BEFORE;
use framework_core::plan::Status;
use framework_core::spec::{
    DecommissionSpec, PlacementRule, PodSpec, Propagation, ServiceSpec, TaskSpec, VolumeSource, VolumeSpec,
};
use framework_core::testing::{World, role};
use model::{Milli, Span};

fn pod(name: &str, count: u32) -> PodSpec {
    let task = TaskSpec {
        name: "server".to_owned(),
        argv: vec!["/bin/serve".to_owned()],
        cpus: Milli(100),
        mem: Milli::units(64),
        ..TaskSpec::default()
    };
    let placement = vec![PlacementRule::UniquePerAgent];
    PodSpec { name: name.to_owned(), count, tasks: vec![task], placement, ..PodSpec::default() }
}

fn with_data(mut pod: PodSpec) -> PodSpec {
    pod.tasks[0].volumes.push(VolumeSpec {
        container_path: "/data".to_owned(),
        source: VolumeSource::Persistent { name: "data".to_owned(), size_mib: 100 },
        propagation: Propagation::Private,
        read_only: false,
    });
    pod
}

fn drained(mut pod: PodSpec) -> PodSpec {
    pod.decommission =
        Some(DecommissionSpec { before_kill: Some("drain".to_owned()), after_kill: Some("forget".to_owned()) });
    pod
}

fn world(pods: Vec<PodSpec>, agents: &[&str]) -> World {
    let mut world = World::new(ServiceSpec::new("demo", role("demo"), pods));
    for agent in agents {
        world.add_agent(agent, 4000, 4096);
    }
    deploy(&mut world);
    world.history.clear();
    world
}

fn is_deployed(world: &World) -> bool {
    ["deploy", "recovery", "decommission"].iter().all(|plan| world.plan(plan).is_complete())
}

fn deploy(world: &mut World) {
    world.run_until("the service is deployed", 400, is_deployed);
}

const LONG: Span = Span::seconds(600);

#[test]
fn a_drained_agent_is_left_in_reverse_order_with_the_framework_asked_first() {
    let mut world = world(vec![pod("api", 1), drained(pod("node", 2))], &["a1", "a2", "a3"]);
    assert_eq!(world.running(), ["api-0.server@a1", "node-0.server@a1", "node-1.server@a2"]);
    world.held_hooks.insert("drain".to_owned());
    world.drain("a1", LONG);
    world.run(50);
    assert!(world.history.is_empty(), "the framework drains first: {:?}", world.history);
    world.held_hooks.clear();
    world
        .run_until("the agent is empty", 400, |world| is_deployed(world) && !world.running().join(" ").contains("@a1"));
    let lines: Vec<&str> = world.history.iter().map(String::as_str).collect();
    assert_eq!(lines[..3], ["drain node-0", "kill node-0.server", "forget node-0"]);
    assert!(lines.contains(&"launch node-0.server@a3"), "{lines:?}");
    let place = |wanted: &str| lines.iter().position(|line| *line == wanted);
    assert!(place("kill node-0.server") < place("kill api-0.server"), "what others depend on moves last: {lines:?}");
}

#[test]
fn instances_of_one_pod_move_one_at_a_time() {
    let mut world = world(vec![pod("web", 2)], &["a1", "a2", "a3", "a4"]);
    assert_eq!(world.running(), ["web-0.server@a1", "web-1.server@a2"]);
    world.drain("a1", LONG);
    world.drain("a2", LONG);
    deploy(&mut world);
    world.run_until("both have moved", 400, |world| {
        let running = world.running().join(" ");
        is_deployed(world) && !running.contains("@a1") && !running.contains("@a2")
    });
    let kills: Vec<usize> = (0..world.history.len()).filter(|i| world.history[*i].starts_with("kill")).collect();
    assert_eq!(kills, [0, 2], "the second is killed when the first runs again: {:?}", world.history);
}

#[test]
fn data_stays_and_the_plan_says_why() {
    let mut world = world(vec![with_data(pod("db", 1))], &["a1", "a2"]);
    world.drain("a1", LONG);
    world.run(100);
    assert_eq!(world.running(), ["db-0.server@a1"]);
    let step = world.plan("recovery").phases[0].steps[0].clone();
    assert_eq!(step.status, Status::Waiting);
    assert!(step.why.contains("its data keeps it there"), "{}", step.why);
}

#[test]
fn after_the_deadline_nobody_waits_for_the_framework() {
    let mut world = world(vec![drained(pod("node", 1))], &["a1", "a2"]);
    world.held_hooks.insert("drain".to_owned());
    world.drain("a1", Span::seconds(3));
    world.run(25);
    assert!(world.history.is_empty(), "{:?}", world.history);
    world.run_until("it has moved", 100, |world| world.running() == ["node-0.server@a2"]);
}

#[test]
fn a_restarted_scheduler_goes_on_with_a_drain() {
    let mut world = world(vec![drained(pod("node", 1))], &["a1", "a2"]);
    world.drain("a1", LONG);
    for _ in 0..200 {
        world.tick();
        world.restart_scheduler();
        world.announce_drains();
    }
    deploy(&mut world);
    assert_eq!(world.running(), ["node-0.server@a2"]);
    let drains = world.history.iter().filter(|line| line.starts_with("kill")).count();
    assert_eq!(drains, 1, "{:?}", world.history);
}

#[test]
fn an_instance_that_is_taken_away_from_a_lost_agent_is_not_drained() {
    let mut spec = ServiceSpec::new("demo", role("demo"), vec![drained(pod("node", 2))]);
    let mut world = World::new(spec.clone()).agent("a1", 4000, 4096).agent("a2", 4000, 4096);
    deploy(&mut world);
    world.history.clear();
    world.set_unreachable("a2", true);
    world.held_hooks.insert("drain".to_owned());
    spec.pods[0].count = 1;
    world.set_target(spec).expect("allowed");
    deploy(&mut world);
    assert_eq!(world.history, ["kill node-1.server", "forget node-1"]);
    world.set_unreachable("a2", false);
    world.run_until("the old task is killed by its framework", 100, |world| world.running() == ["node-0.server@a1"]);
}

#[test]
fn uninstall_ends_although_an_agent_with_data_is_away() {
    let mut world = world(vec![with_data(pod("db", 2))], &["a1", "a2"]);
    world.set_unreachable("a2", true);
    world.ask(|scheduler, now, out| scheduler.uninstall(now, out));
    world.run_until("the service is removed", 600, |world| world.stored.meta.uninstalled);
    let released: Vec<&String> = world.history.iter().filter(|line| line.starts_with("release")).collect();
    assert_eq!(released, ["release db-0@a1"]);
}

#[test]
fn an_agent_is_left_an_hour_before_its_maintenance_and_not_earlier() {
    let mut world = world(vec![pod("web", 1), with_data(pod("db", 1))], &["a1", "a2"]);
    assert_eq!(world.running(), ["db-0.server@a1", "web-0.server@a1"]);
    world.announce("a2", Span(LEAVE_BEFORE.0 + 30_000));
    world.announce("a1", Span(LEAVE_BEFORE.0 + 30_000));
    assert_eq!(world.answers, ["will leave a2-M", "will leave a2-M", "cannot leave a1-M"], "data does not move");
    world.run(10);
    assert!(world.history.is_empty(), "it is not due yet: {:?}", world.history);
    world.add_agent("a3", 4000, 4096);
    world.run_until("it has moved", 1000, |world| world.running() == ["db-0.server@a1", "web-0.server@a3"]);
    world.run(50);
    assert_eq!(world.running(), ["db-0.server@a1", "web-0.server@a3"], "nothing goes back");
}
