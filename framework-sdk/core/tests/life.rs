//! The life of a service, told as what was launched and killed, in order.
use framework_core::plan::Status;
use framework_core::spec::{
    CheckKind, CheckSpec, DecommissionSpec, Goal, InstanceName, PhaseSpec, PlacementRule, PlanSpec, PodSpec, PortKind,
    PortSpec, Propagation, ServiceSpec, Strategy, TaskSpec, VolumeSource, VolumeSpec,
};
use framework_core::testing::{World, role};
use framework_core::{Command, Event, LaunchOutcome, Owner, Scheduler};
use model::call::NotYetKnown;
use model::{Milli, Reason, Refusal, TaskState, TaskStatus};

fn task(name: &str, cpus: i64) -> TaskSpec {
    TaskSpec {
        name: name.to_owned(),
        argv: vec!["/bin/serve".to_owned()],
        cpus: Milli(cpus),
        mem: Milli::units(64),
        ports: vec![PortSpec { name: name.to_owned(), kind: PortKind::Any }],
        readiness: Some(CheckSpec::new(CheckKind::http(name, "/"))),
        ..TaskSpec::default()
    }
}

fn pod(name: &str, count: u32, cpus: i64) -> PodSpec {
    PodSpec {
        name: name.to_owned(),
        count,
        tasks: vec![task("server", cpus)],
        decommission: Some(DecommissionSpec {
            before_kill: Some("drain".to_owned()),
            after_kill: Some("forget".to_owned()),
        }),
        ..PodSpec::default()
    }
}

fn service(pods: Vec<PodSpec>) -> ServiceSpec {
    ServiceSpec::new("demo", role("demo"), pods)
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

fn is_deployed(world: &World) -> bool {
    world.plan("deploy").is_complete()
        && world.plan("recovery").is_complete()
        && world.plan("decommission").is_complete()
}

fn deploy(world: &mut World) {
    world.run_until("the service is deployed", 400, is_deployed);
}

#[test]
fn phases_come_in_order_and_wait_for_readiness_and_for_the_probe() {
    let mut world = World::new(service(vec![pod("db", 1, 500), pod("web", 2, 500)])).agent("a1", 4000, 4096);
    world.unready.insert("db-0.server".to_owned());
    world.run(30);
    assert_eq!(world.history, ["launch db-0.server@a1"]);
    let step = world.plan("deploy").phases[0].steps[0].clone();
    assert_eq!((step.status, step.why.as_str()), (Status::Started, "server on a1 is not ready yet"));
    assert_eq!(world.plan("deploy").phases[1].steps[0].why, "waits for db");

    world.unready.clear();
    world.held_hooks.insert("db-0".to_owned());
    world.run(30);
    assert_eq!(world.plan("deploy").phases[0].steps[0].why, "the probe is held");
    assert_eq!(world.history.len(), 1);

    world.held_hooks.clear();
    deploy(&mut world);
    assert_eq!(world.history, ["launch db-0.server@a1", "launch web-0.server@a1", "launch web-1.server@a1"]);
}

#[test]
fn replicas_spread_over_agents() {
    let mut world = World::new(service(vec![pod("web", 3, 100)]))
        .agent("a1", 4000, 4096)
        .agent("a2", 4000, 4096)
        .agent("a3", 4000, 4096);
    deploy(&mut world);
    assert_eq!(world.running(), ["web-0.server@a1", "web-1.server@a2", "web-2.server@a3"]);
}

#[test]
fn a_step_says_in_words_what_it_lacks_and_goes_on_when_an_agent_joins() {
    let mut node = pod("node", 3, 2000);
    node.placement = vec![PlacementRule::UniquePerAgent];
    let mut world = World::new(service(vec![node]))
        .agent("agent-1", 4000, 4096)
        .agent("agent-2", 4000, 4096)
        .agent("agent-3", 1400, 4096);
    world.run(20);
    let why = world.plan("deploy").phases[0].steps[2].why.clone();
    assert_eq!(
        why,
        "node-2 needs 2 cpus and 64 MiB; 3 agents: 2 already run a node (unique per agent), agent-3 has 1.4 cpus free"
    );
    world.add_agent("agent-4", 4000, 4096);
    deploy(&mut world);
    assert_eq!(world.running().last().map(String::as_str), Some("node-2.server@agent-4"));
}

#[test]
fn what_ends_by_itself_is_launched_again_after_a_backoff() {
    let mut world = World::new(service(vec![pod("web", 1, 100)])).agent("a1", 4000, 4096);
    deploy(&mut world);
    world.end_task("web-0.server", TaskState::Failed);
    assert!(world.plan("deploy").is_complete(), "a failure is recovery's, not the deploy plan's");
    let step = world.plan("recovery").phases[0].steps[0].clone();
    assert_eq!((step.status, step.why.as_str()), (Status::Delayed, "server ended: Failed; try 2 in 1 s"));
    world.run(9);
    assert_eq!(world.history.len(), 1);
    deploy(&mut world);
    assert_eq!(world.history, ["launch web-0.server@a1", "launch web-0.server@a1"]);
}

#[test]
fn the_backoff_doubles_while_it_fails() {
    let mut world = World::new(service(vec![pod("web", 1, 100)])).agent("a1", 4000, 4096);
    world.failing.insert("web-0.server".to_owned());
    world.run(190);
    // Waits of 1, 2, 4, 8 seconds, and the fifth launch thereafter.
    assert_eq!(world.history.len(), 5, "{:?}", world.history);
    world.failing.clear();
    deploy(&mut world);
}

#[test]
fn an_instance_with_data_returns_to_it_and_leaves_it_only_when_replaced() {
    let mut world = World::new(service(vec![with_data(pod("db", 1, 500))])).agent("a1", 4000, 4096);
    deploy(&mut world);
    world.add_agent("a2", 4000, 4096);
    world.end_task("db-0.server", TaskState::Failed);
    world.run(2);
    deploy(&mut world);
    assert_eq!(world.running(), ["db-0.server@a1"]);
    let name = InstanceName::new("db", 0);
    world.ask(|scheduler, now, out| scheduler.restart_pod(now, &name, true, out)).expect("it exists");
    deploy(&mut world);
    world.run_until("the old reservation is given back", 100, |world| {
        world.history.iter().any(|line| line.starts_with("release"))
    });
    assert_eq!(world.history[2..], ["kill db-0.server", "release db-0@a1", "launch db-0.server@a2"].map(str::to_owned));
}

#[test]
fn what_a_launch_reserved_that_came_to_nothing_is_looked_for_and_given_back() {
    let mut world = World::new(service(vec![with_data(pod("db", 1, 500))])).agent("a1", 4000, 4096);
    world.run_until("the first launch", 10, |world| world.living("db-0.server").is_some());
    // Nobody has heard of it on the agent when the agent is lost, and it is not there when the agent is back.
    world.set_unreachable("a1", true);
    world.end_task("db-0.server", TaskState::Gone);
    world.add_agent("a2", 4000, 4096);
    deploy(&mut world);
    assert_eq!(world.running(), ["db-0.server@a2"]);
    world.set_unreachable("a1", false);
    world.run_until("what it reserved is given back, though nothing else needs offers", 100, |world| {
        world.history.iter().any(|line| line == "release db-0@a1")
    });
    assert_eq!(world.running(), ["db-0.server@a2"]);
}

#[test]
fn only_what_changed_rolls_one_after_the_other() {
    let mut spec = service(vec![pod("db", 1, 100), pod("web", 3, 100)]);
    let mut world = World::new(spec.clone()).agent("a1", 4000, 4096);
    deploy(&mut world);
    world.history.clear();
    spec.pod_mut("web").expect("it is there").configuration.insert("version".to_owned(), "2".to_owned());
    world.set_target(spec).expect("allowed");
    assert!(!is_deployed(&world));
    deploy(&mut world);
    let expected: Vec<String> =
        (0..3).flat_map(|i| [format!("kill web-{i}.server"), format!("launch web-{i}.server@a1")]).collect();
    assert_eq!(world.history, expected);
}

#[test]
fn scaling_adds_and_takes_away_and_touches_nothing_else() {
    let mut spec = service(vec![pod("node", 2, 100)]);
    let mut world = World::new(spec.clone()).agent("a1", 4000, 4096);
    deploy(&mut world);
    let before = world.living("node-0.server");
    world.history.clear();
    spec.pods[0].count = 4;
    world.set_target(spec.clone()).expect("allowed");
    deploy(&mut world);
    assert_eq!(world.history, ["launch node-2.server@a1", "launch node-3.server@a1"]);

    world.history.clear();
    spec.pods[0].count = 2;
    spec.pods[0].without.insert(1);
    world.set_target(spec).expect("allowed");
    deploy(&mut world);
    let taken =
        ["drain node-3", "kill node-3.server", "forget node-3", "drain node-1", "kill node-1.server", "forget node-1"];
    assert_eq!(world.history, taken);
    assert_eq!(world.running(), ["node-0.server@a1", "node-2.server@a1"]);
    assert_eq!(world.living("node-0.server"), before);
}

#[test]
fn an_instance_is_not_killed_before_its_drain_is_done() {
    let mut spec = service(vec![pod("node", 1, 100)]);
    let mut world = World::new(spec.clone()).agent("a1", 4000, 4096);
    deploy(&mut world);
    world.held_hooks.insert("drain".to_owned());
    spec.pods[0].count = 0;
    world.set_target(spec).expect("allowed");
    world.run(50);
    world.restart_scheduler();
    world.run(50);
    let plan = world.plan("decommission");
    assert_eq!(
        plan.phases[0].steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>(),
        ["drain", "kill", "forget", "release"]
    );
    assert_eq!(
        (plan.phases[0].steps[0].status, plan.phases[0].steps[0].why.as_str()),
        (Status::Starting, "the action is held")
    );
    assert_eq!(world.running(), ["node-0.server@a1"]);
    world.held_hooks.clear();
    deploy(&mut world);
    assert!(world.running().is_empty());
}

#[test]
fn a_pod_that_may_not_leave_and_a_volume_that_would_shrink_are_refused() {
    let mut keeper = with_data(pod("db", 2, 100));
    keeper.decommission = None;
    let mut world = World::new(service(vec![keeper.clone()])).agent("a1", 4000, 4096);
    deploy(&mut world);
    let mut fewer = keeper.clone();
    fewer.count = 1;
    let refusal = world.set_target(service(vec![fewer])).expect_err("it may not leave");
    assert_eq!(refusal.message, "pods: db-1 would go, and instances of 'db' are never taken away");
    keeper.tasks[0].volumes[0].source = VolumeSource::Persistent { name: "data".to_owned(), size_mib: 50 };
    let refusal = world.set_target(service(vec![keeper])).expect_err("it holds data");
    assert_eq!(refusal.message, "pods.db.server.volumes: the volume 'data' of 100 MiB holds data and cannot change");
    assert!(is_deployed(&world));
}

#[test]
fn tasks_that_finish_run_once_per_specification() {
    let mut job = pod("addons", 1, 100);
    job.tasks = vec![TaskSpec { goal: Goal::Finish, readiness: None, ..task("apply", 100) }];
    let mut spec = service(vec![job]);
    let mut world = World::new(spec.clone()).agent("a1", 4000, 4096);
    world.finishing.insert("apply".to_owned());
    deploy(&mut world);
    world.restart_scheduler();
    world.run(50);
    assert_eq!(world.history, ["launch addons-0.apply@a1"]);
    spec.pods[0].configuration.insert("version".to_owned(), "2".to_owned());
    world.set_target(spec).expect("allowed");
    deploy(&mut world);
    assert_eq!(world.history.len(), 2);
}

#[test]
fn a_pods_tasks_may_be_divided_among_phases_and_stay_on_one_agent() {
    let mut node = pod("node", 1, 100);
    node.tasks = vec![TaskSpec { goal: Goal::Finish, readiness: None, ..task("format", 100) }, task("serve", 100)];
    let mut spec = service(vec![node]);
    let phase = |name: &str, tasks: &[&str]| PhaseSpec {
        name: name.to_owned(),
        strategy: Strategy::Serial,
        work: framework_core::spec::PhaseWork::Pod {
            pod: "node".to_owned(),
            tasks: tasks.iter().map(|t| (*t).to_owned()).collect(),
        },
    };
    spec.plans = vec![PlanSpec {
        name: "deploy".to_owned(),
        strategy: Strategy::Serial,
        phases: vec![
            phase("prepare", &["format"]),
            PhaseSpec::actions("check", &["inspect"]),
            phase("serve", &["serve"]),
        ],
    }];
    let mut world = World::new(spec).agent("a1", 4000, 4096).agent("a2", 4000, 4096);
    world.finishing.insert("format".to_owned());
    deploy(&mut world);
    assert_eq!(world.history, ["launch node-0.format@a1", "inspect", "launch node-0.serve@a1"]);
}

#[test]
fn a_paused_plan_begins_nothing() {
    let mut world = World::new(service(vec![pod("web", 1, 100)])).agent("a1", 4000, 4096);
    world.ask(|scheduler, now, out| scheduler.pause(now, "deploy", true, out)).expect("there is such a plan");
    world.run(30);
    assert_eq!(world.plan("deploy").status, Status::Waiting);
    assert!(world.history.is_empty());
    world.ask(|scheduler, now, out| scheduler.pause(now, "deploy", false, out)).expect("there is such a plan");
    deploy(&mut world);
}

#[test]
fn an_unreachable_instance_is_replaced_after_its_time_and_killed_when_it_returns() {
    let mut web = pod("web", 1, 100);
    web.replace_unreachable_after = Some(model::Span::seconds(5));
    let mut world = World::new(service(vec![web])).agent("a1", 4000, 4096);
    deploy(&mut world);
    world.add_agent("a2", 4000, 4096);
    world.set_unreachable("a1", true);
    world.run(40);
    assert_eq!(world.running(), ["web-0.server@a1"]);
    world.run(20);
    deploy(&mut world);
    assert_eq!(world.running(), ["web-0.server@a1", "web-0.server@a2"]);
    world.set_unreachable("a1", false);
    world.run_until("the one that returned is gone", 50, |world| world.running() == ["web-0.server@a2"]);
}

#[test]
fn uninstall_leaves_nothing() {
    let mut spec = service(vec![with_data(pod("db", 2, 500)), pod("web", 2, 100)]);
    spec.uninstall_after_kill = vec!["sweep".to_owned()];
    let mut world = World::new(spec).agent("a1", 4000, 4096).agent("a2", 4000, 4096);
    deploy(&mut world);
    world.ask(|scheduler, now, out| scheduler.uninstall(now, out));
    world.run_until("all is removed", 300, |world| world.plan("uninstall").is_complete());
    world.run(5);
    assert!(world.is_all_free(), "{world:?}");
    assert!(world.history.contains(&"sweep".to_owned()));
    world.restart_scheduler();
    world.run(50);
    assert!(world.plan("uninstall").is_complete(), "the mark survives");
    assert!(world.running().is_empty());
}

/// Restarts the scheduler after each single tick of a life with deploy, scaling, failure and uninstall.
#[test]
fn a_scheduler_killed_at_any_moment_goes_on_where_it_was() {
    for moment in 0..60 {
        let mut spec = service(vec![with_data(pod("db", 1, 500)), pod("web", 3, 100)]);
        let mut world = World::new(spec.clone()).agent("a1", 4000, 4096).agent("a2", 4000, 4096);
        let mut tick = 0;
        let mut go = |world: &mut World, ticks: usize| {
            for _ in 0..ticks {
                world.tick();
                tick += 1;
                if tick == moment {
                    world.restart_scheduler();
                }
            }
        };
        go(&mut world, 20);
        spec.pods[1].count = 2;
        spec.pods[1].configuration.insert("version".to_owned(), "2".to_owned());
        world.set_target(spec).expect("allowed");
        go(&mut world, 40);
        deploy(&mut world);
        let count = |what: &str| world.history.iter().filter(|line| line.starts_with(what)).count();
        assert_eq!(count("launch db-0"), 1, "moment {moment}: {:?}", world.history);
        assert_eq!(count("kill web-2"), 1, "moment {moment}: {:?}", world.history);
        assert_eq!(count("launch web-0"), 2, "moment {moment}: {:?}", world.history);
        assert_eq!(world.running().len(), 3, "moment {moment}");
    }
}

#[test]
fn what_is_given_up_is_asked_for_although_something_else_is_waited_for() {
    let mut spec = service(vec![with_data(pod("db", 2, 500))]);
    spec.uninstall_after_kill = vec!["farewell".to_owned()];
    let mut world = World::new(spec).agent("a1", 4000, 4096).agent("a2", 4000, 4096);
    deploy(&mut world);
    // From now on offers are waited for: a1 is to give back what db-0 kept there.
    world.set_unreachable("a1", true);
    world
        .ask(|core, now, out| core.restart_pod(now, &InstanceName::new("db", 0), true, out))
        .expect("there is such a pod");
    deploy(&mut world);
    world.held_hooks.insert("farewell".to_owned());
    world.ask(|core, now, out| core.uninstall(now, out));
    // What a2 keeps is offered, and declined: it is not given up before the farewell.
    world.run(30);
    world.held_hooks.clear();
    world.run_until("what a2 held is given back", 100, |world| {
        world.history.iter().any(|line| line.starts_with("release ") && line.contains("@a2"))
    });
}

#[test]
fn a_launch_that_overtakes_another_and_a_wish_beside_it_are_not_forgotten() {
    let mut node = pod("node", 2, 500);
    node.placement = vec![PlacementRule::UniquePerAgent];
    let mut world = World::new(service(vec![node])).agent("a1", 4000, 4096).agent("a2", 4000, 4096);
    world.held_launches = Some(Vec::new());
    world.run(5);
    let count = world.held_launches.as_ref().map(Vec::len);
    assert_eq!(count, Some(2), "both are being rendered");
    world.ask(|core, now, out| core.uninstall(now, out));
    world.render_held();
    assert_eq!((world.stored.meta.launches, world.stored.meta.uninstalling), (2, true));
}

#[test]
fn a_launch_that_takes_its_time_does_not_turn_away_what_was_asked_for_meanwhile() {
    let mut world = World::new(service(vec![pod("web", 1, 500)])).agent("a1", 4000, 4096);
    world.held_launches = Some(Vec::new());
    world.run(5);
    assert_eq!(world.held_launches.as_ref().map(Vec::len), Some(1));
    world.set_target(service(vec![pod("db", 1, 500), pod("web", 1, 500)])).expect("it is valid");
    world.run(5);
    world.render_held();
    deploy(&mut world);
    assert_eq!(world.running(), ["db-0.server@a1", "web-0.server@a1"]);
}

#[test]
fn what_a_lost_pod_still_uses_when_it_returns_is_given_back_when_it_has_ended() {
    let mut world =
        World::new(service(vec![with_data(pod("db", 1, 500))])).agent("a1", 4000, 4096).agent("a2", 4000, 4096);
    deploy(&mut world);
    world.set_unreachable("a1", true);
    world
        .ask(|core, now, out| core.restart_pod(now, &InstanceName::new("db", 0), true, out))
        .expect("there is such a pod");
    deploy(&mut world);
    assert_eq!(world.running(), ["db-0.server@a1", "db-0.server@a2"]);
    // Back again it does not die at once, and what is offered of its agent does not show what it holds.
    world.lingering.insert("db-0.server".to_owned());
    world.set_unreachable("a1", false);
    world.run(30);
    world.lingering.clear();
    world.run_until("what it held is given back", 100, |world| {
        world.history.iter().any(|line| line.starts_with("release ") && line.contains("@a1"))
    });
}

#[test]
fn a_launch_whose_tasks_were_dropped_is_not_over_before_its_own_result() {
    let mut world = World::new(service(vec![pod("web", 1, 500)])).agent("a1", 4000, 4096);
    world.held_launches = Some(Vec::new());
    world.run(5);
    let launch = world.held_launches.take().and_then(|mut held| held.pop()).expect("it is being rendered");
    world.set_target(service(vec![pod("web", 1, 600)])).expect("it is valid");
    let launched = &launch.pods[0];
    let dropped = TaskStatus {
        task_id: launched.tasks[0].1.clone(),
        state: TaskState::Dropped,
        reason: Some(Reason::InvalidOffers),
        source: model::task::Source::Master,
        message: "the offer is not outstanding".to_owned(),
        agent_id: Some(launched.placement.agent_id.clone()),
        executor_id: Some(launched.executor_id.clone()),
        uuid: None,
        healthy: None,
        ready: None,
        timestamp: model::Timestamp::default(),
    };
    world.ask(|core, now, out| core.step(now, Event::Update(dropped), out));
    let refused = Refusal::new("MST0012", "the offer is not outstanding", "wait for a new offer");
    let failed = [(launched.unit.clone(), refused)].into();
    let outcome = LaunchOutcome { launch: launch.launch, failed, is_uncertain: false };
    world.ask(|core, now, out| core.step(now, Event::Launched(outcome), out));
    world.add_agent("a2", 4000, 4096);
    deploy(&mut world);
    assert_eq!(world.running(), ["web-0.server@a2"]);
}

/// Otherwise kill and answer would go to and fro for as long as the agent is away.
#[test]
fn a_task_that_nobody_knows_is_killed_when_it_can_be() {
    let mut world = World::new(service(vec![pod("web", 1, 500)])).agent("a1", 4000, 4096);
    deploy(&mut world);
    for (state, is_killed) in [
        (TaskState::Running, true),
        (TaskState::Unreachable, false),
        (TaskState::Unknown, false),
        (TaskState::Gone, false),
    ] {
        let status = TaskStatus {
            task_id: model::TaskId::new("web-7.server.1").expect("valid"),
            state,
            reason: Some(Reason::Reconciliation),
            source: model::task::Source::Master,
            message: String::new(),
            agent_id: None,
            executor_id: None,
            uuid: None,
            healthy: None,
            ready: None,
            timestamp: model::Timestamp::default(),
        };
        let mut commands = Vec::new();
        world.ask(|core, now, out| {
            core.step(now, Event::Update(status), out);
            commands.clone_from(out);
        });
        assert_eq!(commands.iter().any(|command| matches!(command, Command::Kill { .. })), is_killed, "{state:?}");
    }
}

#[test]
fn gpus_are_declared_when_something_asks_for_them_and_not_before() {
    let declared = |world: &World| world.history.iter().filter(|line| *line == "declare gpus").count();
    let mut world = World::new(service(vec![pod("plain", 1, 500)])).agent("rack", 4_000, 4_096);
    world.add_agent("fast", 4_000, 4_096);
    world.add_gpus("fast", 2);
    deploy(&mut world);
    assert_eq!(declared(&world), 0);
    let mut learning = pod("learning", 1, 500);
    learning.tasks[0].gpus = Milli::units(1);
    world.set_target(service(vec![pod("plain", 1, 500), learning.clone()])).expect("a good target");
    deploy(&mut world);
    assert_eq!(declared(&world), 1);
    // A new scheduler knows from what is stored.
    world.restart_scheduler();
    world.end_task("learning-0.server", TaskState::Failed);
    deploy(&mut world);
    assert_eq!(declared(&world), 2);
    // A gpu is not divided.
    learning.tasks[0].gpus = Milli(500);
    let refusal = world.set_target(service(vec![pod("plain", 1, 500), learning])).expect_err("refused");
    assert_eq!(refusal.field, "pods[1].tasks[0].gpus");
}

#[test]
fn what_a_new_master_does_not_know_yet_is_asked_for_again_and_nothing_is_concluded() {
    let mut world = World::new(service(vec![pod("web", 2, 500)])).agent("a", 4000, 4096).agent("b", 4000, 4096);
    deploy(&mut world);
    let snapshot = world.ask(|scheduler, _, _| scheduler.snapshot());
    let owner =
        Owner { framework: "demo".to_owned(), principal: model::Principal::new("framework/demo"), role: role("demo") };
    let mut scheduler = Scheduler::restore(owner, snapshot);
    let mut now = model::Timestamp(5_000_000);
    let step = |scheduler: &mut Scheduler, now, event| {
        let mut out = Vec::new();
        scheduler.step(now, event, &mut out);
        out
    };
    let asked = |out: &[Command]| {
        let asked = out.iter().filter_map(|command| {
            let Command::Reconcile(tasks) = command else { return None };
            Some(tasks.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>())
        });
        asked.collect::<Vec<_>>()
    };
    let concludes = |out: &[Command]| {
        out.iter().any(|command| matches!(command, Command::Launch(_) | Command::Kill { .. } | Command::Persist(_)))
    };
    let mut questions = asked(&step(&mut scheduler, now, Event::Subscribed));
    questions.sort();
    let tasks = questions.last().cloned().expect("its tasks are asked for");
    assert_eq!((questions.len(), tasks.len()), (2, 2), "all that there are, and those that it knows");
    let (mut named, mut all) = (0, 0);
    // The agents take a minute to return. Each time the master says so.
    for _ in 0..60 {
        now = now + model::Span::seconds(1);
        let out = step(&mut scheduler, now, Event::Tick);
        assert!(!concludes(&out), "{out:?}");
        for question in asked(&out) {
            named += usize::from(question == tasks);
            all += usize::from(question.is_empty());
            let ask_again = model::Span::seconds(20);
            let not_yet = NotYetKnown { tasks: question, agents_awaited: 2, ask_again };
            assert!(!concludes(&step(&mut scheduler, now, Event::NotYetKnown(not_yet))));
        }
        if all == 0 {
            let not_yet = NotYetKnown { tasks: vec![], agents_awaited: 2, ask_again: model::Span::seconds(20) };
            step(&mut scheduler, now, Event::NotYetKnown(not_yet));
            all = 1;
        }
    }
    assert!((4..=8).contains(&named), "with pauses that grow: {named}");
    assert!((3..=4).contains(&all), "and all of them when the master said: {all}");
}
