//! Tasks that are many, and tasks that are large: agents come back with them, and schedulers hear of them, over the real wire.

// A test names the answer that it expects; every other one is a failure.
#![expect(clippy::wildcard_enum_match_arm)]

mod common;

use std::collections::BTreeMap;

use common::{Agent, Framework, Pool, accept, running, task, within};
use model::link::{AgentRegistration, AgentTask, FromAgent};
use model::{Resources, TaskStatus};
use proto::convert;
use proto::mezzo::v1 as wire;
use proto::mezzo::v1::agents_client::AgentsClient;

/// What an agent takes from the master and says to it in one message, at most.
const LAUNCH_BYTES_MAX: usize = 16 << 20;

fn secret_of(framework_id: &str, task_id: &str) -> wire::FetchSecretRequest {
    wire::FetchSecretRequest {
        framework_id: framework_id.to_owned(),
        key: "secret/password".to_owned(),
        task_id: task_id.to_owned(),
    }
}

/// As an agent keeps it, and says it when it registers.
fn kept(launch: &wire::PodLaunch, agent_id: &str) -> Vec<AgentTask> {
    let (framework, pod, _) = convert::link::launch_from_wire(launch).expect("a launch");
    let status = |head: &model::TaskHead| -> TaskStatus {
        let status = running(head.task_id.as_str(), agent_id, pod.executor_id.as_str(), 1);
        convert::task::status_from_wire(&status).expect("a status")
    };
    let tasks = pod.tasks.iter().map(|task| AgentTask {
        framework: framework.clone(),
        executor_id: pod.executor_id.clone(),
        executor_resources: Resources::default(),
        launched: model::Timestamp(7),
        latest: status(&task.head),
        head: task.head.clone(),
    });
    tasks.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_with_twenty_mebibytes_of_payloads_comes_back_with_its_tasks() {
    let mut pool = Pool::start().await;
    let mut agent = Agent::connect(&pool, "one", pool.join("one").await).await;
    agent.register("", Vec::new()).await;
    let agent_id = agent.registered().await.agent_id;
    let identity = pool.identity("framework/web").await;
    let mut framework = Framework::connect(&pool, "web", &identity).await;
    framework.subscribe("", None).await;
    // Before the result that would pass over it.
    let mut first = Some(framework.offer("one").await);
    let secret = wire::StateWrite { key: "secret/password".to_owned(), value: Some("hunter2".into()) };
    let written = framework.call(None, vec![secret]).await;
    framework.result(written).await.expect("written");
    let mut tasks = Vec::new();
    let mut bytes = 0;
    for number in 0..5_u16 {
        let offer = match first.take() {
            Some(offer) => offer,
            None => framework.offer("one").await,
        };
        let mut info = task(&format!("web.{number}"), &agent_id, "secret/password", 20_000 + number);
        // Its own configuration, say, of which nobody but its agent needs to know.
        info.data = Some(vec![b'x'; (4 << 20) - 4096].into());
        bytes += prost::Message::encoded_len(&info);
        let accepted = framework.call(Some(accept(&framework.id, &offer, vec![info])), Vec::new()).await;
        framework.result(accepted).await.expect("accepted");
        match agent.next().await {
            wire::master_message::Kind::Launch(launch) => tasks.extend(kept(&launch, &agent_id)),
            other => panic!("no launch: {other:?}"),
        }
    }
    assert!(bytes > LAUNCH_BYTES_MAX, "more than one message holds: {bytes}");

    pool.restart().await;
    agent.ended().await;
    let mut agent = Agent::connect(&pool, "one", agent.identity).await;
    let registration = FromAgent::Register(Box::new(AgentRegistration {
        agent_id: Some(model::AgentId::new(&agent_id).expect("valid")),
        name: "one".to_owned(),
        address: "127.0.0.1".to_owned(),
        port: 5051,
        total: convert::resources::from_wire(&[
            common::scalar("cpus", 4.0),
            common::scalar("mem", 4096.0),
            common::scalar("disk", 10_000.0),
            common::ports(20_000, 29_999),
        ])
        .expect("resources"),
        attributes: BTreeMap::new(),
        region: String::new(),
        zone: String::new(),
        boot_id: "boot".to_owned(),
        software: "test".to_owned(),
        epoch_seen: 0,
        tasks,
    }));
    let message = convert::link::from_agent_to_wire(&registration);
    let length = prost::Message::encoded_len(&message);
    assert!(length < 8 << 10, "it says what the master keeps: {length} bytes");
    agent.send(message.kind.expect("a kind")).await;
    assert_eq!(agent.registered().await.agent_id, agent_id);
    let listed = pool.operator().list_tasks(wire::ListTasksRequest::default()).await.expect("listed").into_inner();
    let states: Vec<_> = listed.tasks.iter().map(|task| (task.id.as_str(), task.state.as_str())).collect();
    let expected: Vec<_> = ["web.0", "web.1", "web.2", "web.3", "web.4"].map(|id| (id, "TASK_RUNNING")).into();
    assert_eq!(states, expected);
    // What the master keeps is there: the secret to which the task refers.
    let mut own = AgentsClient::new(pool.channel(&agent.identity));
    own.fetch_secret(secret_of(&framework.id, "web.3")).await.expect("its own secret, after the restart too");
    pool.stop().await;
}

/// More than twice what waits in a scheduler's queue.
const TASKS: usize = 10_000;
const PER_AGENT: usize = 2_500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_that_reads_slowly_hears_of_ten_thousand_tasks_and_keeps_its_session() {
    let pool = Pool::start().await;
    let identity = pool.identity("framework/web").await;
    let mut framework = Framework::connect(&pool, "web", &identity).await;
    framework.subscribe("", None).await;
    framework.suppress().await;
    let id = framework.id.clone();
    drop(framework);
    let mut agents = Vec::new();
    for number in 0..TASKS / PER_AGENT {
        let name = format!("a{number}");
        let mut agent = Agent::connect(&pool, &name, pool.join(&name).await).await;
        agent.register("", Vec::new()).await;
        let agent_id = agent.registered().await.agent_id;
        // It lost its stream, and comes back with tasks that the master has never seen.
        let mut agent = Agent::connect(&pool, &name, agent.identity).await;
        let ids: Vec<String> = (0..PER_AGENT).map(|n| format!("t{number}-{n:04}")).collect();
        let kept = ids.iter().map(|task_id| {
            let mut info = task(task_id, &agent_id, "secret/none", 20_000);
            (info.resources, info.container, info.discovery) = (vec![common::scalar("cpus", 0.001)], None, None);
            wire::AgentTask {
                framework_id: id.clone(),
                framework_name: "web".to_owned(),
                role: "web".to_owned(),
                principal: "framework/web".to_owned(),
                executor_id: task_id.clone(),
                task: prost::Message::encode_to_vec(&info).into(),
                latest: Some(running(task_id, &agent_id, task_id, 1)),
                executor_resources: Vec::new(),
                launched_unix_ms: 7,
            }
        });
        agent.register(&agent_id, kept.collect()).await;
        agent.registered().await;
        for task_id in &ids {
            agent.update(&id, running(task_id, &agent_id, task_id, 1)).await;
        }
        agents.push(agent.answer_pings());
    }
    let mut framework = Framework::connect(&pool, "web", &identity).await;
    framework.subscribe(&id, None).await;
    framework.reconcile_all().await;
    // While it reads nothing, others are served.
    let mut other = Framework::connect(&pool, "other", &pool.identity("framework/other").await).await;
    other.subscribe("", None).await;
    other.suppress().await;
    let (mut missed, mut asked) = (BTreeMap::new(), BTreeMap::new());
    within("all updates and all answers", async {
        while missed.len() < TASKS || asked.len() < TASKS {
            let next = framework.next().await.expect("the session goes on").expect("the session goes on");
            if let wire::framework_event::Kind::Event(event) = next
                && let Some(update) = event.update
            {
                let seen = if update.status.uuid.is_some() { &mut missed } else { &mut asked };
                *seen.entry(update.status.task_id.value).or_insert(0) += 1;
            }
        }
    })
    .await;
    assert!(missed.values().chain(asked.values()).all(|count| *count == 1), "each once");
    agents.into_iter().for_each(|agent| agent.abort());
    pool.stop().await;
}
