//! What people ask of a scheduler and do not get: the code, the words, and that it goes on as if nobody had asked.
use framework_core::spec::{DecommissionSpec, InstanceName, PodSpec, ServiceSpec, TaskSpec};
use framework_core::testing::{World, role};
use model::{Milli, Refusal};

fn service(count: u32) -> ServiceSpec {
    let task = TaskSpec {
        name: "server".to_owned(),
        argv: vec!["/bin/serve".to_owned()],
        cpus: Milli(100),
        mem: Milli::units(64),
        ..TaskSpec::default()
    };
    let pod = PodSpec {
        name: "web".to_owned(),
        count,
        tasks: vec![task],
        decommission: Some(DecommissionSpec::default()),
        ..PodSpec::default()
    };
    ServiceSpec::new("demo", role("demo"), vec![pod])
}

fn world() -> World {
    let mut world = World::new(service(2)).agent("a1", 4000, 4096);
    world.run_until("the first target is complete", 200, |world| world.plan("deploy").is_complete());
    world
}

type Asked = fn(&mut World) -> Result<(), Refusal>;

#[test]
fn what_is_refused_says_why_and_changes_nothing() {
    let cases: &[(&str, &str, Asked)] = &[
        ("SDK0001", "is not the framework's name 'demo'", |world| {
            world.set_target(ServiceSpec { name: "other".to_owned(), ..service(2) })
        }),
        ("SDK0001", "is not the framework's role 'demo'", |world| {
            world.set_target(ServiceSpec { role: role("other"), ..service(2) })
        }),
        ("SDK0001", "", |world| {
            let mut spec = service(2);
            spec.pods[0].tasks[0].cpus = Milli(-1);
            world.set_target(spec)
        }),
        ("SDK0001", "", |world| {
            let mut spec = service(2);
            spec.pods[0].tasks[0].name = "No name!".to_owned();
            world.set_target(spec)
        }),
        ("SDK0004", "the plan 'recovery' begins by itself", |world| {
            world.ask(|core, now, out| core.restart_plan(now, "recovery", out))
        }),
        ("SDK0005", "there is no instance 'web-7' to restart", |world| {
            world.ask(|core, now, out| core.restart_pod(now, &InstanceName::new("web", 7), true, out))
        }),
        ("SDK0006", "there is no plan 'none'", |world| world.ask(|core, now, out| core.pause(now, "none", true, out))),
        ("SDK0006", "there is no plan 'none'", |world| world.ask(|core, now, out| core.pause(now, "none", false, out))),
        ("SDK0006", "there is no plan 'none'", |world| world.ask(|core, now, out| core.restart_plan(now, "none", out))),
        ("SDK0006", "there is no plan 'uninstall'", |world| {
            world.ask(|core, now, out| core.restart_plan(now, "uninstall", out))
        }),
    ];
    for (code, words, asked) in cases {
        let mut world = world();
        let before = (format!("{:?}", world.scheduler.snapshot()), world.running());
        let refusal = asked(&mut world).expect_err(code);
        assert_eq!(refusal.code, *code, "{refusal}");
        assert!(refusal.message.contains(words) && !refusal.next_step.is_empty(), "{code}: {refusal}");
        assert_eq!((format!("{:?}", world.scheduler.snapshot()), world.running()), before, "{code}: {refusal}");
    }
}

#[test]
fn what_is_being_uninstalled_takes_no_target() {
    let mut world = world();
    world.ask(|core, now, out| core.uninstall(now, out));
    let before = format!("{:?}", world.scheduler.snapshot());
    let refusal = world.set_target(service(3)).expect_err("it goes");
    assert_eq!((refusal.code.as_str(), refusal.message.as_str()), ("SDK0003", "the service is being uninstalled"));
    assert_eq!(format!("{:?}", world.scheduler.snapshot()), before);
}
