//! Real containers, as root: what a task gets, how it ends, and what survives the agent.
mod common;

use common::World;
use model::{Reason, TaskState};
use proto::mesos::v1 as mesos;
use proto::mezzo::v1 as wire;

fn volume(container_path: &str, source: mesos::volume::Source) -> mesos::Volume {
    mesos::Volume {
        container_path: container_path.to_owned(),
        mode: mesos::volume::Mode::Rw.into(),
        source: Some(source),
        ..mesos::Volume::default()
    }
}

fn add(task: &mut mesos::TaskInfo, volume: mesos::Volume) {
    task.container.as_mut().expect("a container").volumes.push(volume);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_runs_logs_and_says_its_exit_code() {
    let mut world = World::start("run").await;
    let script =
        "echo out $FROM_IMAGE $MEZZO_TASK_ID $MEZZO_ADDRESS; echo err >&2; echo file > $MEZZO_SANDBOX/made; exit 7";
    world.launch("p1", &[world.task("t1", script)]).await;
    let end = world.ended("t1").await;
    assert_eq!((end.state, end.message.as_str()), (TaskState::Failed, "exited with 7"));
    assert_eq!(world.states("t1"), [TaskState::Starting, TaskState::Running, TaskState::Failed]);
    assert_eq!(world.log("t1", "stdout").await, "out yes t1 127.0.0.1\n");
    assert_eq!(world.log("t1", "stderr").await, "err\n");

    world.launch("p2", &[world.task("t2", "exit 0")]).await;
    assert_eq!(world.ended("t2").await.state, TaskState::Finished);
    world.wait_until_clean();
    // Logs outlive the container.
    assert_eq!(world.log("t1", "stdout").await, "out yes t1 127.0.0.1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unprivileged_task_is_confined_and_its_secret_is_its_own() {
    let mut world = World::start("confined").await;
    let script = "id -u; cat /secret; stat -c '%a %u %F' /secret; grep -E '^(NoNewPrivs|Seccomp|CapEff):' /proc/self/status | cat; \
                  mount -t tmpfs x /tmp 2>/dev/null && echo MOUNTED; mknod /tmp/m c 1 1 && cat /tmp/m >/dev/null 2>&1 && echo OPENED; \
                  ls /proc/1/exe >/dev/null; echo $$; cat /etc/resolv.conf >/dev/null && echo resolv; \
                  echo 1 > /proc/sys/net/ipv4/ip_forward 2>/dev/null && echo WROTE; true";
    let mut task = world.task("t1", script);
    let secret = mesos::Secret {
        r#type: Some(mesos::secret::Type::Reference.into()),
        reference: Some(mesos::secret::Reference { name: "secret/key".to_owned(), key: None }),
        value: None,
    };
    let source = mesos::volume::Source {
        r#type: Some(mesos::volume::source::Type::Secret.into()),
        secret: Some(secret),
        ..mesos::volume::Source::default()
    };
    add(&mut task, volume("/secret", source));
    world.launch("p1", &[task]).await;
    world.ended("t1").await;
    let log = world.log("t1", "stdout").await;
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines[0], "0", "{log}");
    assert_eq!(lines[1], "very secret400 0 regular file", "{log}");
    assert!(log.contains("NoNewPrivs:\t1") && log.contains("Seccomp:\t2"), "{log}");
    assert!(!log.contains("MOUNTED") && !log.contains("OPENED") && !log.contains("WROTE"), "{log}");
    assert!(log.contains("resolv"), "{log}");
    world.wait_until_clean();
    // The value is nowhere on the disk.
    let found = std::process::Command::new("grep")
        .args(["-rl", "very secret"])
        .arg(world.state_dir())
        .output()
        .expect("grep runs");
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(found.lines().all(|path| path.ends_with("/stdout")), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_gives_grace_and_then_none() {
    let mut world = World::start("kill").await;
    let mut polite = world.task("polite", "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done");
    let grace = |nanoseconds| mesos::KillPolicy { grace_period: Some(mesos::DurationInfo { nanoseconds }) };
    polite.kill_policy = Some(grace(30_000_000_000));
    let mut stubborn = world.task("stubborn", "trap '' TERM; echo ready; while :; do sleep 0.05; done");
    stubborn.kill_policy = Some(grace(200_000_000));
    world.launch("p1", &[polite]).await;
    world.launch("p2", &[stubborn]).await;
    for task in ["polite", "stubborn"] {
        world.running(task).await;
        world.log_until(task, "ready").await;
        world.kill(task).await;
    }
    let (polite, stubborn) = (world.ended("polite").await, world.ended("stubborn").await);
    assert_eq!((polite.state, stubborn.state), (TaskState::Killed, TaskState::Killed));
    assert!(polite.message.contains("exited with 3"), "{}", polite.message);
    assert!(stubborn.message.contains("signal 9"), "{}", stubborn.message);
    assert_eq!(world.log("polite", "stdout").await, "ready\nbye\n");
    assert_eq!(
        world.states("polite"),
        [TaskState::Starting, TaskState::Running, TaskState::Killing, TaskState::Killed]
    );
    world.wait_until_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_outgrows_its_memory_is_told_why() {
    let mut world = World::start("memory").await;
    world.launch("p1", &[world.task("t1", "tail /dev/zero")]).await;
    let end = world.ended("t1").await;
    assert_eq!(
        (end.state, end.reason),
        (TaskState::Failed, Some(Reason::ContainerLimitationMemory)),
        "{}",
        end.message
    );
    world.wait_until_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_a_pod_share_a_volume_and_end_together() {
    let mut world = World::start("pod").await;
    let shared = || {
        volume(
            "/shared",
            mesos::volume::Source {
                r#type: Some(mesos::volume::source::Type::SandboxPath.into()),
                sandbox_path: Some(mesos::volume::source::SandboxPath {
                    r#type: Some(mesos::volume::source::sandbox_path::Type::Parent.into()),
                    path: "common".to_owned(),
                }),
                ..mesos::volume::Source::default()
            },
        )
    };
    let mut writer =
        world.task("writer", "echo hello > /shared/word; while ! test -e /shared/seen; do sleep 0.05; done; exit 4");
    let mut reader = world.task(
        "reader",
        "while ! test -s /shared/word; do sleep 0.05; done; cat /shared/word; echo > /shared/seen; exec sleep 1000",
    );
    add(&mut writer, shared());
    add(&mut reader, shared());
    reader.command.as_mut().expect("a command").user = Some("root".to_owned());
    world.launch("p1", &[writer, reader]).await;
    let (writer, reader) = (world.ended("writer").await, world.ended("reader").await);
    assert_eq!((writer.state, reader.state), (TaskState::Failed, TaskState::Killed));
    assert!(reader.message.contains("its pod ended with task writer"), "{}", reader.message);
    assert_eq!(world.log("reader", "stdout").await, "hello\n");
    world.wait_until_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_agent_changes_nothing_for_its_tasks() {
    let mut world = World::start("reattach").await;
    world
        .launch("p1", &[world.task("stays", "echo $$; while ! test -e $MEZZO_SANDBOX/go; do sleep 0.05; done; exit 5")])
        .await;
    world.launch("p2", &[world.task("ends", "while ! test -e $MEZZO_SANDBOX/go; do sleep 0.05; done; exit 6")]).await;
    world.running("stays").await;
    world.running("ends").await;
    world.kill_agent();
    // One ends while nobody watches.
    let go = |world: &World, task: &str| {
        let pods: Vec<_> = std::fs::read_dir(world.state_dir().join("pods")).expect("there").flatten().collect();
        let sandbox = pods.iter().map(|pod| pod.path().join("sandbox").join(task)).find(|path| path.exists());
        std::fs::write(sandbox.expect("its sandbox").join("go"), "").expect("written");
    };
    go(&world, "ends");
    world.start_agent();
    world.wait("the agent registers again", |book| book.registrations.len() == 2).await;
    let listed = world.book(|book| book.registrations[1].tasks.len());
    assert_eq!(listed, 2);
    assert_eq!(world.ended("ends").await.message, "exited with 6");
    assert_eq!(world.states("stays"), [TaskState::Starting, TaskState::Running]);
    go(&world, "stays");
    assert_eq!(world.ended("stays").await.message, "exited with 5");
    world.wait_until_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_dies_takes_its_pod_and_leaves_no_orphan() {
    let mut world = World::start("orphan").await;
    world.launch("p1", &[world.task("t1", "exec sleep 1000")]).await;
    world.running("t1").await;
    let pod = std::fs::read_dir(world.state_dir().join("pods")).expect("there").flatten().next().expect("one").path();
    let record = executor::files::ExecutorRecord::load(&pod).expect("read").expect("there");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(record.pid), nix::sys::signal::Signal::SIGKILL).expect("killed");
    let end = world.ended("t1").await;
    assert_eq!((end.state, end.reason), (TaskState::Failed, Some(Reason::ExecutorTerminated)), "{}", end.message);
    world.wait_until_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_executes_in_a_container() {
    let mut world = World::start("exec").await;
    world.launch("p1", &[world.task("t1", "export INSIDE=1; exec sleep 1000")]).await;
    world.running("t1").await;
    let metrics = world.http().get("/metrics", 1 << 20).await.expect("metrics");
    let metrics = String::from_utf8(metrics.to_vec()).expect("text");
    assert!(metrics.contains("mezzo_agent_tasks 1\n") && metrics.contains("mezzo_agent_pods_running 1\n"), "{metrics}");
    let start = wire::ExecStart {
        task_id: "t1".to_owned(),
        argv: ["/bin/sh", "-c", "cat; echo $MEZZO_TASK_ID >&2; exit 9"].map(str::to_owned).to_vec(),
        tty: false,
    };
    use wire::exec_input::Kind;
    let input = [Kind::Start(start), Kind::Stdin(b"hello".as_slice().into()), Kind::StdinClosed(true)];
    let input: Vec<_> = input.into_iter().map(|kind| wire::ExecInput { kind: Some(kind) }).collect();
    // The stream stays open: its end would end the command.
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    for message in input {
        sender.send(message).await.expect("room");
    }
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut output = world.operator().exec(stream).await.expect("started").into_inner();
    let (mut stdout, mut stderr, mut code) = (Vec::new(), Vec::new(), None);
    while let Some(message) = output.message().await.expect("read") {
        match message.kind.expect("something") {
            wire::exec_output::Kind::Stdout(bytes) => stdout.extend_from_slice(&bytes),
            wire::exec_output::Kind::Stderr(bytes) => stderr.extend_from_slice(&bytes),
            wire::exec_output::Kind::ExitCode(exit) => code = Some(exit),
            wire::exec_output::Kind::Refusal(refusal) => panic!("{refusal:?}"),
        }
    }
    drop(sender);
    assert_eq!((stdout.as_slice(), stderr.as_slice(), code), (b"hello".as_slice(), b"t1\n".as_slice(), Some(9)));
    world.kill("t1").await;
    world.ended("t1").await;
    world.wait_until_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_sees_the_agents_files_but_cannot_change_them() {
    let mut world = World::start("host").await;
    let mark = world.dir.path().join("mark");
    std::fs::write(&mark, "untouched").expect("written");
    let script = format!(
        "cat {0}; echo changed > {0}; ls {1}/identity 2>/dev/null && echo KEY; pwd; echo x > made; test -e $MEZZO_SANDBOX/made && echo here",
        mark.display(),
        world.state_dir().display()
    );
    let mut task = world.task("t1", &script);
    task.container = None;
    task.mezzo = Some(wire::TaskExtension { host_root: true, ..wire::TaskExtension::default() });
    world.launch("p1", &[task]).await;
    let end = world.ended("t1").await;
    assert_eq!(world.log("t1", "stdout").await, "untouched/mnt/mezzo/sandbox\nhere\n", "{}", end.message);
    assert_eq!(std::fs::read_to_string(&mark).expect("read"), "untouched");
    world.wait_until_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_task_did_to_its_agent_is_undone_however_it_ended() {
    let mut world = World::start("undo").await;
    // A name in the kernel's own directory of the agent's network: nothing of the container, and gone with no process.
    let names = ["mzundo0", "mzundo1"];
    let links = |name: &str| std::path::Path::new("/sys/class/net").join(name).exists();
    for (name, pod) in names.iter().zip(["p1", "p2"]) {
        let script =
            format!("busybox ip link add {name} type bridge && : > /mine && echo made && while :; do sleep 1; done");
        let mut task = world.task(pod, &script);
        task.mezzo = Some(wire::TaskExtension {
            privileged: true,
            // Fresh files, the task's own environment.
            clean_up: [
                "sh",
                "-c",
                "test ! -e /mine && busybox ip link del $1 && echo undone by $MEZZO_TASK_ID",
                "sh",
                name,
            ]
            .map(str::to_owned)
            .to_vec(),
            ..wire::TaskExtension::default()
        });
        world.launch(pod, &[task]).await;
        world.running(pod).await;
        world.log_until(pod, "made").await;
    }
    // One ends as it should; the other's executor is killed while the agent is away too.
    world.kill("p1").await;
    assert_eq!(world.ended("p1").await.state, TaskState::Killed);
    assert_eq!(names.map(links), [false, true]);
    world.kill_agent();
    let record =
        executor::files::ExecutorRecord::load(&world.state_dir().join("pods/1-p2")).expect("read").expect("there");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(record.pid), nix::sys::signal::Signal::SIGKILL).expect("killed");
    world.start_agent();
    assert_eq!(world.ended("p2").await.state, TaskState::Failed);
    assert_eq!(names.map(links), [false, false]);
    assert_eq!(world.log("p2", "stdout").await, "made\nundone by p2\n");
    world.wait_until_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_privileged_task_may_mount_and_has_devices() {
    let mut world = World::start("privileged").await;
    let script = "mount -t tmpfs x /run/inner && echo mounted; ls /dev/null /dev/kmsg | wc -l; ls -d /sys/fs/cgroup/*/ | wc -l | grep -vq '^0$' && echo cgroups; \
                  mount | grep -c ' /data '";
    let mut task = world.task("t1", &format!("cd /run; busybox mkdir inner; {script}"));
    let extension = wire::TaskExtension {
        privileged: true,
        tmpfs: vec![wire::TmpfsMount { container_path: "/run".to_owned(), size_bytes: 1 << 20, mode: 0o755 }],
        volume_options: vec![wire::VolumeOption {
            container_path: "/data".to_owned(),
            propagation: wire::volume_option::Propagation::Rshared.into(),
            persistent: false,
        }],
        ..wire::TaskExtension::default()
    };
    task.mezzo = Some(extension);
    add(
        &mut task,
        volume(
            "/data",
            mesos::volume::Source {
                r#type: Some(mesos::volume::source::Type::SandboxPath.into()),
                sandbox_path: Some(mesos::volume::source::SandboxPath {
                    r#type: Some(mesos::volume::source::sandbox_path::Type::Self_.into()),
                    path: "data".to_owned(),
                }),
                ..mesos::volume::Source::default()
            },
        ),
    );
    world.launch("p1", &[task]).await;
    let end = world.ended("t1").await;
    let log = world.log("t1", "stdout").await;
    assert_eq!(log, "mounted\n2\ncgroups\n1\n", "{} {}", end.message, world.log("t1", "stderr").await);
    world.wait_until_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_cannot_be_prepared_says_why() {
    let mut world = World::start("unprepared").await;
    let mut task = world.task("t1", "true");
    let container =
        task.container.as_mut().and_then(|c| c.mesos.as_mut()).and_then(|m| m.image.as_mut()).expect("an image");
    container.docker = Some(mesos::image::Docker { name: "oci:/nowhere:1".to_owned(), config: None });
    world.launch("p1", &[task]).await;
    let end = world.ended("t1").await;
    assert_eq!((end.state, end.reason), (TaskState::Failed, Some(Reason::ContainerLaunchFailed)));
    assert!(end.message.contains("get the image of task t1: read /nowhere/index.json"), "{}", end.message);
    world.wait_until_clean();
}
