//! From an empty pool to a running task, and through a restart of the master, over the real wire.

// A test names the answer that it expects; every other one is a failure.
#![expect(clippy::wildcard_enum_match_arm)]

mod common;

use common::{Agent, Framework, Pool, accept, running, task, within};
use proto::mesos::v1 as mesos;
use proto::mesos::v1::scheduler;
use proto::mezzo::v1 as wire;
use proto::mezzo::v1::agents_client::AgentsClient;

fn secret_of(framework_id: &str, task_id: &str) -> wire::FetchSecretRequest {
    wire::FetchSecretRequest {
        framework_id: framework_id.to_owned(),
        key: "secret/password".to_owned(),
        task_id: task_id.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_lives_through_a_restart_of_the_master() {
    let mut pool = Pool::start().await;

    let mut agent = Agent::connect(&pool, "one", pool.join("one").await).await;
    agent.register("", Vec::new()).await;
    let registered = agent.registered().await;
    assert!(registered.pod_subnet.ends_with("/24"), "{registered:?}");
    assert_eq!(registered.pool_pod_range, "10.100.0.0/14");
    let first_epoch = agent.epoch;

    let identity = pool.identity("framework/web").await;
    let mut framework = Framework::connect(&pool, "web", &identity).await;
    framework.subscribe("", None).await;
    let secret = wire::StateWrite { key: "secret/password".to_owned(), value: Some("hunter2".into()) };
    let plan = wire::StateWrite { key: "plan".to_owned(), value: Some("intent".into()) };
    // First the offer: whoever waits for a result passes over it.
    let offer = framework.offer("one").await;
    let written = framework.call(None, vec![secret.clone()]).await;
    framework.result(written).await.expect("written");

    // Intent and accept travel together; the task reaches the agent with the framework's own bytes.
    let wanted = task("web.1", &registered.agent_id, "secret/password", 20_000);
    let accepted = framework.call(Some(accept(&framework.id, &offer, vec![wanted.clone()])), vec![plan.clone()]).await;
    framework.result(accepted).await.expect("accepted");
    let launch = match agent.next().await {
        wire::master_message::Kind::Launch(launch) => launch,
        other => panic!("no launch: {other:?}"),
    };
    assert_eq!(launch.framework_id, framework.id);
    assert_eq!(launch.tasks, [prost::Message::encode_to_vec(&wanted)]);
    assert!(!launch.privileged_allowed || !launch.principal.is_empty());

    // Its secret, for its agent alone.
    let mut own = AgentsClient::new(pool.channel(&agent.identity));
    let got = own.fetch_secret(secret_of(&framework.id, "web.1")).await.expect("its own secret").into_inner();
    assert_eq!(got.value, "hunter2");
    let mut other = AgentsClient::new(pool.channel(&pool.join("two").await));
    let refused = other.fetch_secret(secret_of(&framework.id, "web.1")).await.expect_err("another agent");
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    let mut stolen = AgentsClient::new(pool.channel(&identity));
    stolen.fetch_secret(secret_of(&framework.id, "web.1")).await.expect_err("not even an agent");
    own.fetch_secret(secret_of(&framework.id, "web.2")).await.expect_err("no such task");
    let plain = wire::FetchSecretRequest { key: "plan".to_owned(), ..secret_of(&framework.id, "web.1") };
    own.fetch_secret(plain).await.expect_err("a key the task does not refer to");

    // The update arrives, is acknowledged, and the receipt reaches the agent.
    let executor_id = pool.operator().list_tasks(wire::ListTasksRequest::default()).await.expect("listed").into_inner();
    let executor_id = executor_id.tasks[0].executor_id.clone();
    let status = running("web.1", &registered.agent_id, &executor_id, 7);
    agent.update(&framework.id, status.clone()).await;
    let update = framework.event(scheduler::event::Type::Update).await.update.expect("an update").status;
    assert_eq!(update.state(), mesos::TaskState::TaskRunning);
    let acknowledge = scheduler::Call {
        framework_id: Some(mesos::FrameworkId { value: framework.id.clone() }),
        r#type: Some(scheduler::call::Type::Acknowledge.into()),
        acknowledge: Some(scheduler::call::Acknowledge {
            agent_id: update.agent_id.clone().expect("an agent"),
            task_id: update.task_id.clone(),
            uuid: update.uuid.clone().expect("an id"),
        }),
        ..scheduler::Call::default()
    };
    framework.call(Some(acknowledge), Vec::new()).await;
    match agent.next().await {
        wire::master_message::Kind::Acknowledge(receipt) => assert_eq!(receipt.uuid, vec![7; 16]),
        other => panic!("no receipt: {other:?}"),
    }
    let listed = pool.operator().list_tasks(wire::ListTasksRequest::default()).await.expect("listed").into_inner();
    let shown = &listed.tasks[0];
    assert_eq!((shown.id.as_str(), shown.state.as_str()), ("web.1", "TASK_RUNNING"));
    assert!(shown.launched_unix_ms > 0 && shown.running_unix_ms >= shown.launched_unix_ms, "{shown:?}");

    // The master comes back: a new epoch, the same agent, the same task, the framework's state.
    pool.restart().await;
    agent.ended().await;
    let mut agent = Agent::connect(&pool, "one", agent.identity).await;
    let kept = wire::AgentTask {
        framework_id: framework.id.clone(),
        framework_name: "web".to_owned(),
        role: "web".to_owned(),
        principal: "framework/web".to_owned(),
        executor_id,
        task: prost::Message::encode_to_vec(&wanted).into(),
        latest: Some(status),
        executor_resources: Vec::new(),
        launched_unix_ms: shown.launched_unix_ms,
    };
    agent.register(&registered.agent_id, vec![kept]).await;
    let again = agent.registered().await;
    assert_eq!((&again.agent_id, &again.pod_subnet), (&registered.agent_id, &registered.pod_subnet));
    assert!(agent.epoch > first_epoch, "{} > {first_epoch}", agent.epoch);

    let id = framework.id.clone();
    let mut framework = Framework::connect(&pool, "web", &identity).await;
    framework.subscribe(&id, None).await;
    assert_eq!(framework.id, id);
    let state = framework.state().await;
    assert_eq!(state, [plan, secret]);
    framework.reconcile_all().await;
    let truth = framework.event(scheduler::event::Type::Update).await.update.expect("an update").status;
    assert_eq!((truth.task_id.value.as_str(), truth.state()), ("web.1", mesos::TaskState::TaskRunning));
    let mut own = AgentsClient::new(pool.channel(&agent.identity));
    own.fetch_secret(secret_of(&id, "web.1")).await.expect("its own secret, after the restart too");

    // Torn down by an operator: the task is killed, the state is gone.
    let teardown = wire::TeardownFrameworkRequest { framework: "web".to_owned() };
    pool.operator().teardown_framework(teardown).await.expect("torn down");
    within("the end of the framework's tasks", async {
        loop {
            match agent.next().await {
                wire::master_message::Kind::ShutdownFramework(shutdown) if shutdown.framework_id == id => break,
                wire::master_message::Kind::Kill(kill) if kill.task_id == "web.1" => break,
                _ => {}
            }
        }
    })
    .await;
    pool.stop().await;
}
