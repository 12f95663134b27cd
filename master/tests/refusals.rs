//! Whoever may not, or sends what does not fit, is refused in words; nobody else notices.

// A test names the answer that it expects; every other one is a failure.
#![expect(clippy::wildcard_enum_match_arm)]

mod common;

use common::{Agent, Framework, Pool, accept, task, within};
use daemon::identity::Identity;
use prost::Message as _;
use proto::mesos::v1::scheduler;
use proto::mezzo::v1 as wire;
use proto::mezzo::v1::agents_client::AgentsClient;
use proto::mezzo::v1::frameworks_client::FrameworksClient;
use proto::mezzo::v1::operator_client::OperatorClient;
use tonic::{Code, Status};

fn refusal(status: &Status) -> wire::Refusal {
    wire::Refusal::decode(status.details()).expect("a refusal in the details")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_admits_one_agent_once() {
    let pool = Pool::start().await;
    let token =
        pool.operator().create_join_token(wire::CreateJoinTokenRequest::default()).await.expect("made").into_inner();
    assert_eq!(token.master, pool.address.to_string());

    let impostor = pool.join_with("one", &token.token, &"0".repeat(64)).await;
    assert_eq!(impostor.expect_err("another pool's CA").code(), Code::Unavailable);
    let malformed = pool.join_with("One!", &token.token, &token.ca_sha256).await.expect_err("no DNS label");
    assert_eq!(refusal(&malformed).field, "name");
    let identity = pool.join_with("one", &token.token, &token.ca_sha256).await.expect("joined");
    assert_eq!(identity.principal().expect("named").as_str(), "agent/one");
    let again = pool.join_with("two", &token.token, &token.ca_sha256).await.expect_err("used");
    assert_eq!((again.code(), refusal(&again).code.as_str()), (Code::Unauthenticated, "MST0102"));
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_does_only_what_its_certificate_says() {
    let pool = Pool::start().await;
    let agent = pool.join("one").await;
    let framework = pool.identity("framework/web").await;
    for identity in [&agent, &framework] {
        let mut operator = OperatorClient::new(pool.channel(identity));
        let refused = operator.list_tasks(wire::ListTasksRequest::default()).await.expect_err("not an operator");
        assert_eq!((refused.code(), refusal(&refused).code.as_str()), (Code::PermissionDenied, "MST0100"));
        let want = wire::IssueIdentityRequest { principal: "operator/me".to_owned(), ..Default::default() };
        operator.issue_identity(want).await.expect_err("not an operator");
    }
    let session = FrameworksClient::new(pool.channel(&agent)).session(tokio_stream::empty()).await;
    assert_eq!(session.expect_err("an agent is no framework").code(), Code::PermissionDenied);
    let session = AgentsClient::new(pool.channel(&framework)).session(tokio_stream::empty()).await;
    assert_eq!(session.expect_err("a framework is no agent").code(), Code::PermissionDenied);

    // The services framework gives identities to its services, but makes no operators.
    let services = pool.identity("framework/services").await;
    let mut services = OperatorClient::new(pool.channel(&services));
    let request =
        |principal: &str| wire::IssueIdentityRequest { principal: principal.to_owned(), ..Default::default() };
    let given = services.issue_identity(request("framework/demo")).await.expect("given").into_inner();
    let demo = Identity { ca_pem: given.ca_pem, cert_pem: given.certificate_pem, key_pem: given.private_key_pem };
    services.issue_identity(request("operator/demo")).await.expect_err("no operator");

    // A name is its principal's: demo may not subscribe as web.
    let mut foreign = Framework::connect(&pool, "web", &demo).await;
    let info = proto::mesos::v1::FrameworkInfo {
        user: "root".to_owned(),
        name: "web".to_owned(),
        ..proto::mesos::v1::FrameworkInfo::default()
    };
    let call = scheduler::Call {
        r#type: Some(scheduler::call::Type::Subscribe.into()),
        subscribe: Some(scheduler::call::Subscribe {
            framework_info: info,
            suppressed_roles: Vec::new(),
            offer_constraints: None,
        }),
        ..scheduler::Call::default()
    };
    let sequence = foreign.call(Some(call), Vec::new()).await;
    assert_eq!(foreign.result(sequence).await.expect_err("refused").code, "MST0003");

    // An agent registers under the name of its certificate.
    let mut liar = Agent::connect(&pool, "two", agent).await;
    liar.register("", Vec::new()).await;
    match liar.next().await {
        wire::master_message::Kind::Refused(refusal) => assert_eq!(refusal.code, "MST0025"),
        other => panic!("not refused: {other:?}"),
    }
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_is_refused_by_its_path_and_costs_only_its_sender() {
    let pool = Pool::start().await;
    let mut agent = Agent::connect(&pool, "one", pool.join("one").await).await;
    agent.register("", Vec::new()).await;
    let registered = agent.registered().await;
    let mut good = Framework::connect(&pool, "good", &pool.identity("framework/good").await).await;
    good.subscribe("", None).await;

    let mut bad = Framework::connect(&pool, "bad", &pool.identity("framework/bad").await).await;
    bad.raw(wire::FrameworkCall { version: 9, sequence: 77, ..Default::default() }).await;
    assert_eq!(bad.result(77).await.expect_err("another version").field, "version");
    let sequence = bad.call(Some(scheduler::Call { r#type: Some(12_345), ..Default::default() }), Vec::new()).await;
    let unknown = bad.result(sequence).await.expect_err("unknown");
    assert_eq!((unknown.code.as_str(), unknown.field.as_str()), ("WIR0001", "call.type"));

    // Privileges are for those on the list.
    let offer = good.offer("one").await;
    let mut wanted = task("good.1", &registered.agent_id, "secret/x", 20_001);
    wanted.mezzo = Some(wire::TaskExtension { privileged: true, ..Default::default() });
    let sequence = good.call(Some(accept(&good.id, &offer, vec![wanted])), Vec::new()).await;
    let refused = good.result(sequence).await.expect_err("not privileged");
    assert_eq!((refused.code.as_str(), refused.field.as_str()), ("MST0020", "operations[0]"));

    // A message beyond the bound ends its own stream.
    let large = wire::StateWrite { key: "large".to_owned(), value: Some(vec![0; 17 << 20].into()) };
    bad.call(None, vec![large]).await;
    let ended = within("the end of the stream", async {
        loop {
            match bad.next().await {
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(status) => break Some(status),
            }
        }
    })
    .await;
    assert!(ended.is_some_and(|status| status.code() == Code::OutOfRange), "told why");

    // A malformed agent is refused and ended; the others go on.
    let broken = Agent::connect(&pool, "two", pool.join("two").await).await;
    let mut broken = broken;
    broken.send(wire::agent_message::Kind::Update(wire::TaskUpdate::default())).await;
    match broken.next().await {
        wire::master_message::Kind::Refused(refusal) => assert_eq!(refusal.field, "update.status"),
        other => panic!("not refused: {other:?}"),
    }
    broken.ended().await;
    let written = good.call(None, vec![wire::StateWrite { key: "a".to_owned(), value: Some("b".into()) }]).await;
    good.result(written).await.expect("the others go on");
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_is_made_once_and_a_broken_one_is_refused_in_words() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let state = dir.path().join("master");
    let none = master::start(master::MasterConfig::new(&state)).await.expect_err("no pool");
    assert!(none.to_string().contains("mezzo master init"), "{none}");
    let init = master::MasterInit::new(&state, dir.path().join("admin"));
    master::init(&init).expect("made");
    assert!(master::init(&init).expect_err("made already").to_string().contains("already"));
    std::fs::write(state.join("registry.redb"), vec![1; 8192]).expect("damaged");
    let broken = master::start(master::MasterConfig::new(&state)).await.expect_err("damaged");
    assert!(broken.to_string().contains("corrupt"), "{broken}");
}
