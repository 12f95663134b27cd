//! The event stream of operators: what there is, its end mark, then every change; and windows of maintenance, over the
//! real wire.

// A test names the answer that it expects; every other one is a failure.
#![expect(clippy::wildcard_enum_match_arm)]

mod common;

use common::{Agent, Framework, Pool, within};
use prost::Message as _;
use proto::mesos::v1 as mesos;
use proto::mesos::v1::scheduler;
use proto::mezzo::v1 as wire;
use proto::mezzo::v1::pool_event::Kind;
use tonic::Streaming;

async fn watch(pool: &Pool, kinds: &[&str]) -> Streaming<wire::PoolEvent> {
    let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
    let answer = pool.operator().watch_events(wire::WatchEventsRequest { kinds }).await;
    answer.expect("watched").into_inner()
}

async fn next(events: &mut Streaming<wire::PoolEvent>) -> Kind {
    within("an event", events.message()).await.expect("open").expect("not ended").kind.expect("a kind")
}

/// The next word on an agent for which something holds.
async fn agent(
    events: &mut Streaming<wire::PoolEvent>,
    holds: impl Fn(&wire::AgentDescription) -> bool,
) -> wire::AgentDescription {
    loop {
        if let Kind::Agent(agent) = next(events).await
            && holds(&agent)
        {
            return agent;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_gets_what_there_is_and_then_every_change_of_what_it_wants() {
    let pool = Pool::start().await;
    let mut agents = watch(&pool, &["agent"]).await;
    assert_eq!(next(&mut agents).await, Kind::SnapshotEnd(wire::Done {}), "the pool is empty");
    let mut one = Agent::connect(&pool, "one", pool.join("one").await).await;
    one.register("", Vec::new()).await;
    one.registered().await;
    let came = agent(&mut agents, |agent| agent.state == "connected").await;
    assert_eq!(came.name, "one");

    let mut all = watch(&pool, &[]).await;
    let mut before = Vec::new();
    loop {
        match next(&mut all).await {
            Kind::SnapshotEnd(_) => break,
            kind => before.push(kind),
        }
    }
    assert!(before.iter().any(|kind| matches!(kind, Kind::Agent(agent) if agent.name == "one")), "{before:?}");
    let mut web = Framework::connect(&pool, "web", &pool.identity("framework/web").await).await;
    web.subscribe("", None).await;
    loop {
        if matches!(next(&mut all).await, Kind::Framework(framework) if framework.name == "web") {
            break;
        }
    }
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_too_slow_hears_so_and_gets_everything_anew() {
    let pool = Pool::start().await;
    let mut web = Framework::connect(&pool, "web", &pool.identity("framework/web").await).await;
    // What is shown of it is large, so that the connection is soon full.
    web.subscribe("", Some(&format!("http://10.0.0.1:1/{}", "x".repeat(1900)))).await;
    let mut slow = watch(&pool, &["framework"]).await;
    while next(&mut slow).await != Kind::SnapshotEnd(wire::Done {}) {}
    // More than is kept for readers, and than fits into the connection.
    let kinds = [scheduler::call::Type::Suppress, scheduler::call::Type::Revive];
    for (number, kind) in kinds.into_iter().cycle().take(11_000).enumerate() {
        let call = scheduler::Call {
            framework_id: Some(mesos::FrameworkId { value: web.id.clone() }),
            r#type: Some(kind.into()),
            ..scheduler::Call::default()
        };
        let sequence = web.call(Some(call), Vec::new()).await;
        if number % 50 == 49 {
            web.result(sequence).await.expect("nobody else waits for a slow reader");
        }
    }
    let missed = loop {
        match next(&mut slow).await {
            Kind::Framework(_) => {}
            Kind::Missed(missed) => break missed,
            other => panic!("{other:?}"),
        }
    };
    assert!(missed > 0);
    assert!(matches!(next(&mut slow).await, Kind::Framework(framework) if framework.name == "web"), "everything anew");
    assert_eq!(next(&mut slow).await, Kind::SnapshotEnd(wire::Done {}));
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_that_is_none_is_refused_and_so_is_whoever_is_no_operator() {
    let pool = Pool::start().await;
    let request = wire::WatchEventsRequest { kinds: vec!["tasks".to_owned()] };
    let refused = pool.operator().watch_events(request).await.expect_err("no kind");
    let refusal = wire::Refusal::decode(refused.details()).expect("a refusal in the details");
    assert_eq!((refusal.code.as_str(), refusal.field.as_str()), ("MST0101", "kinds"));
    let identity = pool.identity("framework/web").await;
    let mut client = wire::operator_client::OperatorClient::new(pool.channel(&identity));
    client.watch_events(wire::WatchEventsRequest::default()).await.expect_err("no operator");
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn maintenance_is_announced_started_and_stopped_and_outlives_the_master() {
    let mut pool = Pool::start().await;
    let mut one = Agent::connect(&pool, "one", pool.join("one").await).await;
    one.register("", Vec::new()).await;
    let registered = one.registered().await;
    let request = wire::ScheduleMaintenanceRequest {
        agents: vec!["one".to_owned()],
        start_unix_ms: 4_000_000_000_000,
        duration_ms: 60_000,
    };
    pool.operator().schedule_maintenance(request).await.expect("scheduled");
    pool.restart().await;
    let listed = pool.operator().list_agents(wire::ListAgentsRequest {}).await.expect("listed").into_inner();
    assert_eq!(
        (listed.agents[0].maintenance_start_unix_ms, listed.agents[0].maintenance_duration_ms),
        (4_000_000_000_000, 60_000)
    );
    let mut one = Agent::connect(&pool, "one", one.identity.clone()).await;
    one.register(&registered.agent_id, Vec::new()).await;
    one.registered().await;
    let mut events = watch(&pool, &["agent"]).await;
    let names = || vec!["one".to_owned()];
    let mut operator = pool.operator();
    operator.start_maintenance(wire::StartMaintenanceRequest { agents: names() }).await.expect("started");
    agent(&mut events, |agent| agent.mode == "drained").await;
    operator.stop_maintenance(wire::StopMaintenanceRequest { agents: names() }).await.expect("stopped");
    agent(&mut events, |agent| agent.mode == "active" && agent.maintenance_start_unix_ms == 0).await;
    let refused = operator.stop_maintenance(wire::StopMaintenanceRequest { agents: names() }).await;
    let refusal = wire::Refusal::decode(refused.expect_err("it is over").details()).expect("a refusal");
    assert_eq!(refusal.code, "MST0042");
    pool.stop().await;
}
