//! Updates: what rolls is held first and let go after, and a target that cannot be completed goes back by itself.
use framework_core::Event;
use framework_core::limits::UNDO_ENDS;
use framework_core::plan::Status;
use framework_core::spec::{
    CheckKind, CheckSpec, DecommissionSpec, PodSpec, PortKind, PortSpec, Propagation, RollSpec, ServiceSpec, TaskSpec,
    VolumeSource, VolumeSpec,
};
use framework_core::testing::{World, role};
use model::{Milli, Reason, Source, Span, TaskState, TaskStatus, Timestamp};

/// Two instances of `web`, and a `db` before them; `settings` is what it is made of, and `flag` what `web` is told.
fn service(settings: &str, flag: &str) -> ServiceSpec {
    let task = |flag: &str| TaskSpec {
        name: "server".to_owned(),
        argv: vec!["/bin/serve".to_owned(), flag.to_owned()],
        cpus: Milli(100),
        mem: Milli::units(64),
        ports: vec![PortSpec { name: "http".to_owned(), kind: PortKind::Any }],
        readiness: Some(CheckSpec::new(CheckKind::http("http", "/"))),
        ..TaskSpec::default()
    };
    let pod = |name: &str, count: u32, flag: &str| PodSpec {
        name: name.to_owned(),
        count,
        tasks: vec![task(flag)],
        decommission: Some(DecommissionSpec::default()),
        settle: Some(Span::seconds(20)),
        ..PodSpec::default()
    };
    let mut spec = ServiceSpec::new("demo", role("demo"), vec![pod("db", 1, "none"), pod("web", 2, flag)]);
    spec.settings = Some(settings.to_owned());
    spec
}

fn careful(mut spec: ServiceSpec) -> ServiceSpec {
    spec.pod_mut("web").expect("present").roll =
        Some(RollSpec { before_stop: Some("drain".to_owned()), after_ready: Some("uncordon".to_owned()) });
    spec
}

fn is_complete(world: &World) -> bool {
    ["deploy", "recovery", "decommission"].iter().all(|plan| world.plan(plan).is_complete())
}

fn deployed(spec: ServiceSpec) -> World {
    let mut world = World::new(spec).agent("a1", 4000, 4096);
    world.run_until("the first target is complete", 200, is_complete);
    world.history.clear();
    world
}

fn settings(world: &World) -> &str {
    world.scheduler.target().and_then(|target| target.settings.as_deref()).expect("it has settings")
}

fn is_undone(world: &World) -> bool {
    world.scheduler.undone().is_some()
}

#[test]
fn what_ends_again_and_again_goes_back_and_the_others_never_stop() {
    let mut world = deployed(service("A", "good"));
    let other = world.living("web-1.server");
    let before = world.living("db-0.server");
    world.set_target(service("B", "bad")).expect("valid");
    world.failing.insert("web-0.server".to_owned());
    world.run(20);
    let note = world.plan("deploy").note;
    assert!(note.contains("if web-0 is not ready within 20 s") && note.contains("--rollback"), "{note}");
    world.run_until("the update is undone", 400, is_undone);
    world.failing.clear();
    world.run_until("the service is whole", 200, is_complete);
    assert_eq!(settings(&world), "A");
    assert_eq!((world.living("web-1.server"), world.living("db-0.server")), (other, before));
    assert_eq!(world.history.iter().filter(|line| line.starts_with("kill")).count(), 1, "{:?}", world.history);
    let note = world.plan("deploy").note;
    assert!(note.contains("the last update was undone") && note.contains("web-0"), "{note}");
    assert!(note.contains("mezzo task logs web-0.server.") && note.contains("mezzo catalog update demo"), "{note}");
}

#[test]
fn what_is_started_in_place_again_and_again_goes_back_within_its_first_seconds() {
    let mut world = deployed(service("A", "good"));
    world.unready.insert("web-0.server".to_owned());
    world.set_target(service("B", "bad")).expect("valid");
    world.run(20);
    for count in 1..=UNDO_ENDS {
        assert!(!is_undone(&world));
        let status = TaskStatus {
            task_id: world.living("web-0.server").expect("it runs"),
            state: TaskState::Running,
            reason: Some(Reason::ContainerRestarted),
            source: Source::Executor,
            message: format!("exit code 1; restart {count} after 200 ms"),
            agent_id: None,
            executor_id: None,
            uuid: None,
            healthy: None,
            ready: None,
            timestamp: Timestamp(0),
        };
        world.ask(|core, now, out| core.step(now, Event::Update(status), out));
    }
    let words = world.scheduler.undone().expect("undone").words();
    assert_eq!(
        words,
        "as it should be now, web-0 ended 5 times in a row; last: server: exit code 1; restart 5 after 200 ms"
    );
    world.unready.clear();
    world.run_until("the service is whole", 200, is_complete);
}

#[test]
fn what_is_never_ready_goes_back_after_its_time_and_so_does_what_has_no_place() {
    for (flag, cpus) in [("slow", 100), ("good", 9000)] {
        let mut world = deployed(service("A", "good"));
        let mut update = service("B", flag);
        update.pod_mut("web").expect("present").tasks[0].cpus = Milli(cpus);
        world.unready.insert("web-0.server".to_owned());
        world.set_target(update).expect("valid");
        world.run(150);
        assert!(!is_undone(&world), "{flag}: too early");
        world.run_until("the update is undone", 100, is_undone);
        world.unready.clear();
        world.run_until("the service is whole", 200, is_complete);
        assert!(world.scheduler.undone().expect("kept").words().contains("was not ready after 20 s"));
    }
}

#[test]
fn what_was_undone_is_not_taken_again_until_something_else_was_given() {
    let mut world = deployed(service("A", "good"));
    world.set_target(service("B", "bad")).expect("valid");
    world.failing.insert("web-0.server".to_owned());
    world.run_until("the update is undone", 400, is_undone);
    world.failing.clear();
    world.restart_scheduler();
    world.ask(|core, now, out| core.given(now, "B", out));
    assert_eq!(world.scheduler.settings_in_effect("B"), "A");
    let refusal = world.set_target(service("B", "bad")).expect_err("it was undone");
    assert_eq!(refusal.code, "SDK0013");
    world.set_target(service("A", "good")).expect("what counts");
    world.run_until("the service is whole", 200, is_complete);

    world.ask(|core, now, out| core.given(now, "A", out));
    world.restart_scheduler();
    assert!(is_undone(&world), "people may still read it");
    world.ask(|core, now, out| core.given(now, "B", out));
    assert_eq!(world.scheduler.settings_in_effect("B"), "B");
    world.set_target(service("B", "bad")).expect("it is tried again");
    assert!(!is_undone(&world));
    world.run_until("this time it works", 400, is_complete);
    assert_eq!(settings(&world), "B");
    assert_eq!(world.plan("deploy").note, "");
}

#[test]
fn only_updates_are_undone() {
    // Without settings, nobody could tell the framework.
    let mut world = deployed(ServiceSpec { settings: None, ..service("", "good") });
    world.failing.insert("web-0.server".to_owned());
    world.set_target(ServiceSpec { settings: None, ..service("", "bad") }).expect("valid");
    world.run(600);
    assert!(!is_undone(&world));

    // One more instance is no update.
    let mut world = deployed(service("A", "good"));
    world.failing.insert("web-2.server".to_owned());
    let mut more = service("A", "good");
    more.pod_mut("web").expect("present").count = 3;
    world.set_target(more).expect("valid");
    world.run(600);
    assert!(!is_undone(&world));

    // Nor is a first target.
    let mut world = World::new(service("A", "bad")).agent("a1", 4000, 4096);
    world.failing.insert("web-0.server".to_owned());
    world.run(600);
    assert!(!is_undone(&world));

    // An agent that is lost is not the update's fault.
    let mut world = deployed(service("A", "good"));
    world.unready.insert("web-0.server".to_owned());
    world.set_target(service("B", "slow")).expect("valid");
    world.run(30);
    world.set_unreachable("a1", true);
    world.run(600);
    assert!(!is_undone(&world));
}

#[test]
fn what_cannot_go_back_says_so() {
    let mut first = service("A", "good");
    first.pod_mut("db").expect("present").decommission = None;
    let mut world = deployed(first.clone());
    let mut update = service("B", "bad");
    let db = update.pod_mut("db").expect("present");
    (db.count, db.decommission) = (2, None);
    db.tasks[0].volumes.push(VolumeSpec {
        container_path: "/data".to_owned(),
        source: VolumeSource::Persistent { name: "data".to_owned(), size_mib: 10 },
        propagation: Propagation::Private,
        read_only: false,
    });
    world.set_target(update).expect("valid");
    world.unready.insert("web-0.server".to_owned());
    world.run(900);
    assert!(!is_undone(&world));
    let note = world.plan("deploy").note;
    assert!(note.starts_with("web-0 does not come up, and the update cannot be undone by itself"), "{note}");
}

#[test]
fn a_roll_holds_one_instance_at_a_time_and_lets_it_go_when_it_is_ready() {
    let mut world = deployed(careful(service("A", "good")));
    world.held_hooks.insert("drain web-0".to_owned());
    world.set_target(careful(service("B", "better"))).expect("valid");
    world.run(50);
    assert!(world.history.is_empty(), "{:?}", world.history);
    let steps = &world.plan("deploy").phases[1].steps;
    assert_eq!((steps[0].status, steps[0].why.as_str()), (Status::Starting, "the action is held"));
    assert_eq!(steps[1].why, "waits for another instance to be replaced");
    world.restart_scheduler();
    world.held_hooks.clear();
    world.run_until("the update is complete", 400, is_complete);
    let expected = [
        "drain web-0",
        "kill web-0.server",
        "launch web-0.server@a1",
        "uncordon web-0",
        "drain web-1",
        "kill web-1.server",
        "launch web-1.server@a1",
        "uncordon web-1",
    ];
    assert_eq!(world.history, expected);
}

#[test]
fn what_was_held_and_goes_on_as_it_was_is_let_go() {
    let mut world = deployed(careful(service("A", "good")));
    world.held_hooks.insert("drain web-0".to_owned());
    world.set_target(careful(service("B", "better"))).expect("valid");
    world.run(20);
    world.set_target(careful(service("A", "good"))).expect("valid");
    world.run_until("the service is whole", 100, is_complete);
    assert_eq!(world.history, ["uncordon web-0"]);
}

#[test]
fn who_does_not_do_its_work_is_replaced_first() {
    let mut world = deployed(service("A", "good"));
    world.unready.insert("web-1.server".to_owned());
    world.end_task("web-1.server", TaskState::Failed);
    world.run(30);
    world.history.clear();
    world.set_target(service("B", "better")).expect("valid");
    world.run(30);
    assert_eq!(world.history, ["kill web-1.server", "launch web-1.server@a1"]);
    world.unready.clear();
    world.run_until("the update is complete", 200, is_complete);
    assert_eq!(world.history[2..], ["kill web-0.server", "launch web-0.server@a1"]);
}
