//! How tasks live and end, with real containers, as root: limits of time, checks, terminals.
mod common;

use common::World;
use model::{Reason, TaskState, TaskStatus};
use proto::mesos::v1 as mesos;
use proto::mezzo::v1 as wire;

/// The first process of a container is deaf to what it does not trap.
const UNTIL_TOLD: &str = "trap 'exit 0' TERM; while :; do sleep 0.05; done";

fn shell(value: &str) -> mesos::CommandInfo {
    mesos::CommandInfo { value: Some(value.to_owned()), ..mesos::CommandInfo::default() }
}

/// Waits for an update of a task.
async fn told(world: &mut World, task: &str, what: &str, is_it: impl Fn(&TaskStatus) -> bool) -> TaskStatus {
    let find = |book: &common::Book| book.updates.iter().find(|it| it.task_id.as_str() == task && is_it(it)).cloned();
    world.wait(&format!("task {task}: {what}"), |book| find(book).is_some()).await;
    world.book(find).expect("just seen")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_runs_too_long_fails_for_that_however_politely_it_ends() {
    let mut world = World::start("overtime").await;
    let limit = |mut task: mesos::TaskInfo, seconds: i64| {
        task.max_completion_time = Some(mesos::DurationInfo { nanoseconds: seconds * 1_000_000_000 });
        task
    };
    // On a busy machine a shell may take seconds to its first word: what must come in time has plenty of it.
    let polite = "trap 'echo bye; exit 0' TERM; while :; do sleep 0.02; done";
    world.launch("p1", &[limit(world.task("polite", polite), 5)]).await;
    world.launch("p2", &[limit(world.task("quick", "exit 0"), 60)]).await;
    let end = world.ended("polite").await;
    assert_eq!((end.state, end.reason), (TaskState::Failed, Some(Reason::MaxCompletionTimeReached)), "{}", end.message);
    assert!(end.message.contains("completion limit of 5000 ms"), "{}", end.message);
    assert_eq!(world.log("polite", "stdout").await, "bye\n");
    assert_eq!(world.ended("quick").await.state, TaskState::Finished);
    world.wait_until_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_check_only_tells_and_a_health_check_ends() {
    let mut world = World::start("checks").await;
    let mut task = world.task("t1", UNTIL_TOLD);
    let often = Some(0.05);
    task.check = Some(mesos::CheckInfo {
        r#type: Some(mesos::check_info::Type::Command.into()),
        command: Some(mesos::check_info::Command { command: shell("test -e /tmp/ready") }),
        delay_seconds: Some(0.0),
        interval_seconds: often,
        ..mesos::CheckInfo::default()
    });
    task.health_check = Some(mesos::HealthCheck {
        r#type: Some(mesos::health_check::Type::Command.into()),
        command: Some(shell("test ! -e /tmp/ill || { echo it is ill; exit 1; }")),
        delay_seconds: Some(0.0),
        interval_seconds: often,
        consecutive_failures: Some(2),
        ..mesos::HealthCheck::default()
    });
    world.launch("p1", &[task]).await;
    told(&mut world, "t1", "not ready", |status| status.ready == Some(false)).await;
    let well = told(&mut world, "t1", "healthy", |status| status.healthy == Some(true)).await;
    assert_eq!((well.state, well.reason), (TaskState::Running, Some(Reason::TaskHealthCheckStatusUpdated)));
    // A check that fails for as long as it likes ends nothing.
    execute(&world, "t1", "echo > /tmp/ready").await;
    let ready = told(&mut world, "t1", "ready", |status| status.ready == Some(true)).await;
    assert_eq!((ready.state, ready.reason), (TaskState::Running, Some(Reason::TaskCheckStatusUpdated)));
    execute(&world, "t1", "echo > /tmp/ill").await;
    let end = world.ended("t1").await;
    assert_eq!((end.state, end.reason), (TaskState::Failed, Some(Reason::TaskHealthCheckStatusUpdated)));
    assert!(end.message.contains("health check failed") && end.message.contains("it is ill"), "{}", end.message);
    world.wait_until_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_over_the_network_look_at_the_port_and_at_the_answer() {
    let mut world = World::start("network").await;
    let port = u32::from(common::free_port());
    let script = format!("echo fine > /tmp/page; busybox httpd -f -p 127.0.0.1:{port} -h /tmp & {UNTIL_TOLD}");
    let mut task = world.task("web", &script);
    task.check = Some(mesos::CheckInfo {
        r#type: Some(mesos::check_info::Type::Http.into()),
        http: Some(mesos::check_info::Http { port, path: Some("/page".to_owned()) }),
        delay_seconds: Some(0.0),
        interval_seconds: Some(0.05),
        ..mesos::CheckInfo::default()
    });
    task.health_check = Some(mesos::HealthCheck {
        r#type: Some(mesos::health_check::Type::Tcp.into()),
        tcp: Some(mesos::health_check::TcpCheckInfo { port }),
        delay_seconds: Some(0.0),
        interval_seconds: Some(0.05),
        grace_period_seconds: Some(60.0),
        ..mesos::HealthCheck::default()
    });
    world.launch("p1", &[task]).await;
    let ready = told(&mut world, "web", "ready", |status| status.ready == Some(true)).await;
    assert!(ready.message.contains("200") || ready.message.contains("accepts"), "{}", ready.message);
    told(&mut world, "web", "healthy", |status| status.healthy == Some(true)).await;
    execute(&world, "web", "busybox rm /tmp/page").await;
    let last = |book: &common::Book| book.updates.iter().rev().find(|it| it.task_id.as_str() == "web").cloned();
    world.wait("the page is missed", |book| last(book).is_some_and(|it| it.ready == Some(false))).await;
    let missed = world.book(last).expect("just seen");
    assert_eq!((missed.state, missed.healthy), (TaskState::Running, Some(true)), "{}", missed.message);
    assert!(missed.message.contains("404"), "{}", missed.message);
    world.kill("web").await;
    assert_eq!(world.ended("web").await.state, TaskState::Killed);
    world.wait_until_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_cannot_be_is_refused_in_words() {
    let mut world = World::start("nocheck").await;
    let mut task = world.task("t1", "exec sleep 1000");
    task.health_check = Some(mesos::HealthCheck {
        r#type: Some(mesos::health_check::Type::Tcp.into()),
        tcp: Some(mesos::health_check::TcpCheckInfo { port: 70_000 }),
        ..mesos::HealthCheck::default()
    });
    world.launch("p1", &[task]).await;
    let end = world.ended("t1").await;
    assert_eq!((end.state, end.reason), (TaskState::Failed, Some(Reason::ContainerLaunchFailed)));
    assert!(end.message.contains("its check names port 70000, which is none"), "{}", end.message);
    world.wait_until_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_at_a_terminal_of_a_container_controls_it() {
    let mut world = World::start("terminal").await;
    world.launch("p1", &[world.task("t1", UNTIL_TOLD)]).await;
    world.running("t1").await;
    let script = "test -t 0 && test -t 1 && echo terminal; trap 'echo interrupted; exit 8' INT; echo ready; \
                  while :; do sleep 0.05; done";
    let (said, code) = session(&world, "t1", script, true, Some(("ready", b"\x03"))).await;
    assert!(said.contains("terminal\r\n") && said.contains("interrupted"), "{said:?}");
    assert_eq!(code, Some(8));
    assert_eq!(world.states("t1"), [TaskState::Starting, TaskState::Running], "the task itself goes on");
    world.kill("t1").await;
    world.ended("t1").await;
    world.wait_until_clean();
}

/// Has a shell do something in a container.
async fn execute(world: &World, task: &str, script: &str) {
    let (said, code) = session(world, task, script, false, None).await;
    assert_eq!(code, Some(0), "{said}");
}

/// A session of a shell in a container: what it said and its exit code. When it says a word, it is answered.
async fn session(
    world: &World,
    task: &str,
    script: &str,
    tty: bool,
    answer: Option<(&str, &[u8])>,
) -> (String, Option<i32>) {
    use wire::exec_input::Kind;
    use wire::exec_output::Kind as Said;
    let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    let input = |kind| wire::ExecInput { kind: Some(kind) };
    // The stream stays open: its end would end the command.
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    let start = wire::ExecStart { task_id: task.to_owned(), argv, tty };
    sender.send(input(Kind::Start(start))).await.expect("room");
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut output = world.operator().exec(stream).await.expect("started").into_inner();
    let (mut said, mut code, mut answer) = (String::new(), None, answer);
    while let Some(message) = output.message().await.expect("read") {
        match message.kind.expect("something") {
            Said::Stdout(bytes) | Said::Stderr(bytes) => said.push_str(&String::from_utf8_lossy(&bytes)),
            Said::ExitCode(exit) => code = Some(exit),
            Said::Refusal(refusal) => panic!("{refusal:?}"),
        }
        if answer.is_some_and(|(word, _)| said.contains(word))
            && let Some((_, bytes)) = answer.take()
        {
            sender.send(input(Kind::Stdin(bytes.to_vec().into()))).await.expect("it listens");
        }
    }
    (said, code)
}
