//! Rarer resources with real containers, as root: shared volumes, further disks, what may be taken back, limits above what
//! is taken, and a host that starts anew.
mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::pressure::{waiting_for_memory, write_uncached};
use common::{Setup, World};
use model::resources::Volume;
use model::{
    Disk, Holding, Milli, Principal, Quantities, Reason, Reservation, Resources, RoleName, TaskState, VolumeId,
};
use proto::convert;
use proto::mesos::v1 as mesos;

/// The first process of a container is deaf to what it does not trap.
const UNTIL_TOLD: &str = "trap 'exit 0' TERM; while :; do sleep 0.05; done";

fn amount(cpus: i64, mem: i64) -> Quantities {
    Quantities { cpus: Milli(cpus), mem: Milli::units(mem), ..Quantities::default() }
}

/// A volume of the framework's role, at `/data` in every container.
fn volume(id: &str, disk: Option<Disk>, size: i64, shared: bool) -> Resources {
    let reservation = Reservation::new(
        RoleName::new("r").expect("valid"),
        Principal::new("framework/f"),
        std::collections::BTreeMap::new(),
    );
    let volume = Volume { id: VolumeId::new(id).expect("valid"), container_path: "/data".to_owned(), shared };
    Resources::held_as(
        Holding { volume: Some(volume), ..Holding::plain(reservation) },
        Quantities::of_disk(disk, Milli::units(size)),
    )
}

/// A task that takes so much and a volume besides.
fn task(world: &World, id: &str, script: &str, takes: &[&Resources]) -> mesos::TaskInfo {
    let mut task = world.task(id, script);
    let mut sum = Resources::default();
    takes.iter().for_each(|part| sum.add(part));
    task.resources = convert::resources::to_wire(&sum);
    task
}

/// The same task, which may only read its volumes.
fn reading(mut task: mesos::TaskInfo) -> mesos::TaskInfo {
    for disk in task.resources.iter_mut().filter_map(|resource| resource.disk.as_mut()) {
        disk.volume.as_mut().expect("a volume").mode = mesos::volume::Mode::Ro.into();
    }
    task
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_volume_is_written_by_one_task_and_only_read_by_another() {
    let mut world = World::start("shared").await;
    let shared = volume("v", None, 64, true);
    world.hold(1, shared.clone()).await;
    let some = Resources::from(amount(200, 64));
    let write = "echo hello > /data/word; while ! test -e /data/over; do sleep 0.05; done";
    let read = "while ! test -s /data/word; do sleep 0.05; done; cat /data/word; \
                echo x > /data/mine || echo REFUSED; busybox rm /data/word || echo KEPT; ";
    let both = [&some, &shared];
    world.launch("p1", &[task(&world, "writer", write, &both)]).await;
    world.launch("p2", &[reading(task(&world, "reader", &format!("{read}{UNTIL_TOLD}"), &both))]).await;
    for name in ["writer", "reader"] {
        world.running(name).await;
    }
    let said = world.log_until("reader", "KEPT").await;
    assert_eq!(said, "hello\nREFUSED\nKEPT\n", "both at once, and one of them cannot write");
    world.launch("p3", &[task(&world, "third", "echo > /data/over", &both)]).await;
    assert_eq!(world.ended("third").await.state, TaskState::Finished);
    assert_eq!(world.ended("writer").await.state, TaskState::Finished, "it sees what another wrote");
    world.kill("reader").await;
    world.ended("reader").await;
    // What was written outlives all of them, and an agent that dies.
    world.kill_agent();
    world.start_agent();
    world.wait("the agent registers again", |book| book.registrations.len() == 2).await;
    world.launch("p4", &[task(&world, "later", "cat /data/word", &both)]).await;
    world.ended("later").await;
    assert_eq!(world.log("later", "stdout").await, "hello\n");
    world.wait_until_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_volume_are_on_the_disk_that_it_was_made_of() {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    let mut places = None;
    let mut world = World::start_with("disks", |dir| {
        let (path, whole) = (dir.join("path"), dir.join("whole"));
        for place in [&path, &whole] {
            std::fs::create_dir(place).expect("made");
        }
        mount(Some("whole"), &whole, Some("tmpfs"), MsFlags::empty(), Some("size=16m")).expect("mounted");
        let resources =
            format!("cpus:4;mem:2048;disk:100;disk[path:{}]:200;disk[mount:{}]:16", path.display(), whole.display());
        places = Some((path, whole));
        Setup { resources, ..Setup::default() }
    })
    .await;
    let (path, whole) = places.expect("made above");
    let disk = |place: &Path, make: fn(String) -> Disk| make(place.display().to_string());
    let (on_path, on_whole) = (disk(&path, Disk::Path), disk(&whole, Disk::Mount));
    let offered = world.book(|book| book.registrations[0].total.unreserved.disks.clone());
    assert_eq!(offered, [(on_path.clone(), Milli::units(200)), (on_whole.clone(), Milli::units(16))].into());
    let a = volume("a", Some(on_path), 50, false);
    let b = volume("b", Some(on_whole), 16, false);
    let mut both = a.clone();
    both.add(&b);
    world.hold(1, both).await;
    let some = Resources::from(amount(200, 64));
    for (name, its) in [("a", &a), ("b", &b)] {
        world.launch(name, &[task(&world, name, &format!("echo {name} > /data/word"), &[&some, its])]).await;
        assert_eq!(world.ended(name).await.state, TaskState::Finished);
    }
    let read = |place: std::path::PathBuf| std::fs::read_to_string(place).expect("written there");
    assert_eq!(read(path.join("mezzo").join(&world.name).join("r/a/word")), "a\n");
    assert_eq!(read(whole.join("word")), "b\n");
    // Given back, both are empty for whoever comes next; the mount itself stays.
    world.hold(2, Resources::default()).await;
    eventually("the volumes are gone", || {
        !path.join("mezzo").join(&world.name).join("r/a").exists() && !whole.join("word").exists()
    });
    assert!(whole.is_dir());
    world.wait_until_clean();
    umount2(&whole, MntFlags::MNT_DETACH).expect("unmounted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_may_use_more_than_it_takes_up_to_its_limit_and_no_further() {
    let mut world = World::start("burst").await;
    let eat = |mib: u32| format!("dd if=/dev/zero of=/dev/null bs={mib}M count=1 2>/dev/null");
    let some = Resources::from(amount(500, 64));
    let with_limits = |mut task: mesos::TaskInfo, limits: &[(&str, f64)]| {
        let limits = limits.iter().map(|(name, value)| ((*name).to_owned(), mesos::value::Scalar { value: *value }));
        task.limits = limits.collect();
        task
    };
    // Above what it takes and below its limit; then above that.
    let bursting =
        format!("{} && echo FITS; while ! test -e $MEZZO_SANDBOX/go; do sleep 0.05; done; exec {}", eat(90), eat(200));
    let bursting = with_limits(task(&world, "bursting", &bursting, &[&some]), &[("cpus", 1.0), ("mem", 128.0)]);
    let free = format!("{} && echo FITS; {UNTIL_TOLD}", eat(400));
    let free = task(&world, "free", &free, &[&some]);
    let free = with_limits(free, &[("cpus", f64::INFINITY), ("mem", f64::INFINITY)]);
    world.launch("p1", &[bursting]).await;
    world.launch("p2", &[free]).await;
    for name in ["bursting", "free"] {
        world.running(name).await;
        assert_eq!(world.log_until(name, "FITS").await, "FITS\n");
    }
    let of = |controller, file| world.cgroup(controller, "0-p1", "bursting", file);
    assert_eq!(of("cpu", "cpu.shares"), "512", "what it takes");
    assert_eq!((of("cpu", "cpu.cfs_quota_us").as_str(), of("cpu", "cpu.cfs_period_us").as_str()), ("100000", "100000"));
    assert_eq!(of("memory", "memory.soft_limit_in_bytes"), (64 << 20).to_string());
    assert_eq!(of("memory", "memory.limit_in_bytes"), (128 << 20).to_string());
    let of = |controller, file| world.cgroup(controller, "1-p2", "free", file);
    assert_eq!(of("cpu", "cpu.shares"), "512");
    assert_eq!(of("cpu", "cpu.cfs_quota_us"), "-1");
    assert!(of("memory", "memory.limit_in_bytes").parse::<u64>().expect("a number") > 1 << 50);
    assert_eq!(of("memory", "memory.soft_limit_in_bytes"), (64 << 20).to_string());
    std::fs::write(world.state_dir().join("pods/0-p1/sandbox/bursting/go"), "").expect("written");
    let end = world.ended("bursting").await;
    assert_eq!((end.state, end.reason), (TaskState::Failed, Some(Reason::ContainerLimitationMemory)));
    assert!(end.message.contains("memory limit"), "{}", end.message);
    world.kill("free").await;
    assert_eq!(world.ended("free").await.state, TaskState::Killed);
    world.wait_until_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_taken_back_is_taken_when_memory_is_short_and_nothing_else() {
    let mut world = World::start_with("revocable", |_| Setup {
        revocable: "cpus:2".to_owned(),
        pressure: "3".to_owned(),
        ..Setup::default()
    })
    .await;
    // With its registration or after it.
    let lent = |book: &common::Book| book.revocable.cpus.max(book.registrations[0].total.revocable.cpus);
    world.wait("the agent says what may be taken back", |book| lent(book) == Milli::units(2)).await;
    eventually("nobody else on this machine waits for memory", || {
        waiting_for_memory().expect("the kernel says it") < 1.0
    });
    let loan = Resources { revocable: amount(1000, 0), ..Resources::default() };
    let memory = Resources::from(amount(0, 32));
    let firm = Resources::from(amount(500, 32));
    let forever = UNTIL_TOLD;
    world.launch("p1", &[task(&world, "firm", forever, &[&firm])]).await;
    world.launch("p2", &[task(&world, "old", forever, &[&loan, &memory])]).await;
    world.running("old").await;
    world.launch("p3", &[task(&world, "young", forever, &[&loan, &memory])]).await;
    for name in ["firm", "young"] {
        world.running(name).await;
    }
    assert_eq!(world.cgroup("cpu", "1-p2", "old", "cpu.shares"), "10", "beside others it counts nearly nothing");
    assert_eq!(world.cgroup("cpu", "0-p1", "firm", "cpu.shares"), "512");
    // A file that does not fit into its memory, read again and again: whoever does that waits for memory.
    let greedy = "while ! test -e $MEZZO_SANDBOX/go; do sleep 0.05; done; trap 'exit 0' TERM; for n in 1 2; do while :; do cat $MEZZO_SANDBOX/big >/dev/null; done & done; wait";
    world.launch("p4", &[task(&world, "greedy", greedy, &[&Resources::from(amount(1000, 16))])]).await;
    world.running("greedy").await;
    let sandbox = world.state_dir().join("pods/3-p4/sandbox/greedy");
    write_uncached(&sandbox.join("big"), 96).expect("written");
    std::fs::write(sandbox.join("go"), "").expect("written");
    let end = world.ended("young").await;
    assert_eq!((end.state, end.reason), (TaskState::Gone, Some(Reason::ContainerPreempted)), "{}", end.message);
    assert!(end.message.contains("preempted: tasks waited for memory"), "{}", end.message);
    // Still short: the next one, and then nobody is left to take from.
    let end = world.ended("old").await;
    assert_eq!((end.state, end.reason), (TaskState::Gone, Some(Reason::ContainerPreempted)), "{}", end.message);
    for name in ["firm", "greedy"] {
        assert_eq!(world.states(name), [TaskState::Starting, TaskState::Running], "{name}");
        world.kill(name).await;
        assert_eq!(world.ended(name).await.state, TaskState::Killed);
    }
    world.wait_until_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_starts_anew_has_lost_its_tasks_and_kept_its_volumes() {
    let mut world = World::start_with("reboot", |dir| {
        let boot_id = dir.join("boot-id");
        std::fs::write(&boot_id, "00000000-0000-4000-8000-000000000001\n").expect("written");
        Setup { boot_id: Some(boot_id), ..Setup::default() }
    })
    .await;
    let own = volume("v", None, 64, false);
    world.hold(1, own.clone()).await;
    let some = Resources::from(amount(200, 64));
    world.launch("p1", &[task(&world, "t1", "echo kept > /data/word; echo up; exec sleep 1000", &[&some, &own])]).await;
    world.running("t1").await;
    assert_eq!(world.log_until("t1", "up").await, "up\n");
    world.power_cut();
    let boot_id = world.setup.boot_id.clone().expect("set above");
    std::fs::write(boot_id, "00000000-0000-4000-8000-000000000002\n").expect("written");
    world.start_agent();
    world.wait("the agent registers again", |book| book.registrations.len() == 2).await;
    let end = world.ended("t1").await;
    assert_eq!((end.state, end.reason), (TaskState::Gone, Some(Reason::AgentRestarted)), "{}", end.message);
    assert!(world.book(|book| book.registrations[1].total.contains(&own)), "the volume is still held");
    world.launch("p2", &[task(&world, "t2", "cat /data/word", &[&some, &own])]).await;
    assert_eq!(world.ended("t2").await.state, TaskState::Finished);
    assert_eq!(world.log("t2", "stdout").await, "kept\n");
    world.wait_until_clean();
}
