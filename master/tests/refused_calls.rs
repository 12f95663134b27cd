//! Every call of operators and every HTTP route with input that is wrong: the code, the field, the words, and that nothing has
//! changed. What the pool lists and every byte of its state directory are compared after each refused call.
// A test names the answer that it expects; every other one is a failure.
#![expect(clippy::wildcard_enum_match_arm)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{Agent, Framework, Pool, scalar, within};
use daemon::client::{Body, HttpClient};
use daemon::identity::Identity;
use http::{Method, Request};
use prost::Message as _;
use proto::mesos::v1 as mesos;
use proto::mezzo::v1 as wire;
use proto::mezzo::v1::operator_client::OperatorClient;
use sha2::{Digest as _, Sha256};
use tonic::{Code, Status};

/// All that users can list, and all that is on the disk.
#[derive(Debug, PartialEq)]
struct Everything {
    lists: BTreeMap<&'static str, String>,
    files: BTreeMap<String, (u64, String)>,
}

impl Everything {
    async fn of(pool: &Pool) -> Self {
        let mut operator = pool.operator();
        let mut lists = BTreeMap::new();
        macro_rules! list {
            ($($call:ident, $request:expr;)*) => {
                $(lists.insert(stringify!($call), format!("{:?}", operator.$call($request).await.expect("listed").into_inner()));)*
            };
        }
        list! {
            list_agents, wire::ListAgentsRequest {};
            list_frameworks, wire::ListFrameworksRequest {};
            list_roles, wire::ListRolesRequest {};
            list_tasks, wire::ListTasksRequest { all: true, ..Default::default() };
            list_vips, wire::ListVipsRequest {};
            list_holdings, wire::ListHoldingsRequest::default();
            list_installations, wire::ListInstallationsRequest {};
            get_master, wire::GetMasterRequest {};
        }
        let mut files = BTreeMap::new();
        read(&pool.dir.path().join("master"), &mut files);
        Self { lists, files }
    }
    fn check(&self, now: &Self, what: &str) {
        for (list, before) in &self.lists {
            assert_eq!(before, &now.lists[list], "{what}: {list}");
        }
        assert_eq!(self.files, now.files, "{what}: the state directory");
    }
}

fn read(folder: &Path, files: &mut BTreeMap<String, (u64, String)>) {
    for entry in std::fs::read_dir(folder).expect("a folder").filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            files.insert(path.display().to_string(), (0, String::new()));
            read(&path, files);
        } else if let Ok(bytes) = std::fs::read(&path) {
            let length = u64::try_from(bytes.len()).expect("small");
            files.insert(path.display().to_string(), (length, hex::encode(Sha256::digest(&bytes))));
        }
    }
}

/// A pool with an agent that is away and a framework that is away: nothing happens in it by itself.
async fn quiet_pool() -> Pool {
    let pool = Pool::start().await;
    let mut agent = Agent::connect(&pool, "one", pool.join("one").await).await;
    agent.register("", Vec::new()).await;
    agent.registered().await;
    let mut framework = Framework::connect(&pool, "web", &pool.identity("framework/web").await).await;
    framework.subscribe("", None).await;
    drop((agent, framework));
    within("everybody is away", async {
        loop {
            let lists = Everything::of(&pool).await.lists;
            let away = |list: &str| lists[list].contains("state: \"disconnected\"");
            if away("list_agents") && away("list_frameworks") {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    pool
}

fn refusal(status: &Status) -> wire::Refusal {
    wire::Refusal::decode(status.details()).unwrap_or_else(|_| panic!("no refusal in the details: {status}"))
}

/// A refused call's status against what is expected.
fn expect(what: &str, status: &Status, code: Code, expected: (&str, &str, &str)) {
    let refusal = refusal(status);
    let (mst, field, words) = expected;
    assert_eq!((status.code(), refusal.code.as_str(), refusal.field.as_str()), (code, mst, field), "{what}: {status}");
    assert!(refusal.message.contains(words), "{what}: {}", refusal.message);
    assert!(!refusal.next_step.is_empty(), "{what}: no next step: {}", refusal.message);
}

fn amounts(name: &str, units: f64) -> Option<wire::Amounts> {
    Some(wire::Amounts { scalars: [(name.to_owned(), units)].into() })
}
fn quota(role: &str, limits: Option<wire::Amounts>) -> wire::SetQuotasRequest {
    let quotas = vec![wire::RoleQuota { role: role.to_owned(), limits, guarantees: None }];
    wire::SetQuotasRequest { quotas, force: true }
}
fn weight(role: &str, weight: f64) -> wire::SetWeightRequest {
    wire::SetWeightRequest { role: role.to_owned(), weight }
}
fn names(name: &str) -> Vec<String> {
    vec![name.to_owned()]
}
fn holdings(kind: i32, resource: mesos::Resource) -> wire::ChangeHoldingsRequest {
    wire::ChangeHoldingsRequest { agent: "one".to_owned(), kind, resources: vec![resource], ..Default::default() }
}
fn identity_of(principal: &str) -> wire::IssueIdentityRequest {
    wire::IssueIdentityRequest { principal: principal.to_owned(), ..Default::default() }
}
fn install(package: &str, options: &str) -> wire::InstallPackageRequest {
    let options_json = options.to_owned();
    wire::InstallPackageRequest { package: package.to_owned(), options_json, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_operators_get_wrong_is_refused_and_changes_nothing() {
    let pool = quiet_pool().await;
    let before = Everything::of(&pool).await;
    let mut operator = pool.operator();
    macro_rules! refused {
        ($($call:ident, $request:expr => $code:ident, $expected:expr;)*) => {$(
            let what = concat!(stringify!($call), " ", stringify!($request));
            let answer = operator.$call($request).await.map(drop);
            expect(what, &answer.expect_err(what), Code::$code, $expected);
            before.check(&Everything::of(&pool).await, what);
        )*};
    }
    refused! {
        set_weight, weight("a b", 1.0) => InvalidArgument, ("MST0101", "role", "'a b' is no role");
        set_weight, weight("", 1.0) => InvalidArgument, ("MST0101", "role", "is no role");
        set_weight, weight("web", 0.0) => InvalidArgument, ("MST0033", "", "0 thousandths is not between");
        set_weight, weight("web", -1.0) => InvalidArgument, ("MST0101", "weight", "-1 is no amount");
        set_weight, weight("web", f64::NAN) => InvalidArgument, ("MST0101", "weight", "NaN is no amount");
        set_weight, weight("web", 1001.0) => InvalidArgument, ("MST0033", "", "1001000 thousandths is not between");
        set_quotas, quota("/web", amounts("cpus", 1.0)) => InvalidArgument, ("MST0101", "quotas[0].role", "'/web' is no role");
        set_quotas, quota("web", amounts("cpus", f64::INFINITY)) => InvalidArgument, ("MST0101", "quotas[0].limits[cpus]", "inf is no amount");
        set_quotas, quota("web", amounts("cpus", 1e300)) => InvalidArgument, ("MST0101", "quotas[0].limits[cpus]", "is no amount");
        set_quotas, quota("web", amounts("ports", 1.0)) => InvalidArgument, ("MST0046", "", "names 'ports', which is no scalar");
        teardown_framework, wire::TeardownFrameworkRequest { framework: "nobody".to_owned() } => NotFound, ("MST0007", "", "there is no framework 'nobody'");
        deactivate_agent, wire::DeactivateAgentRequest { agent: "nobody".to_owned() } => NotFound, ("MST0031", "", "there is no agent 'nobody'");
        reactivate_agent, wire::ReactivateAgentRequest { agent: String::new() } => NotFound, ("MST0031", "", "there is no agent ''");
        drain_agent, wire::DrainAgentRequest { agent: "one".to_owned(), max_grace_ms: u64::MAX, mark_gone: true } => InvalidArgument, ("MST0038", "", "is longer than the limit");
        drain_agent, wire::DrainAgentRequest { agent: "nobody".to_owned(), ..Default::default() } => NotFound, ("MST0031", "", "there is no agent 'nobody'");
        mark_agent_gone, wire::MarkAgentGoneRequest { agent: "nobody".to_owned() } => NotFound, ("MST0031", "", "there is no agent 'nobody'");
        schedule_maintenance, wire::ScheduleMaintenanceRequest { agents: names("one"), start_unix_ms: -1, duration_ms: 0 } => InvalidArgument, ("MST0101", "start_unix_ms", "-1 ms is before all times");
        schedule_maintenance, wire::ScheduleMaintenanceRequest { agents: names("one"), start_unix_ms: 1, duration_ms: -1 } => InvalidArgument, ("MST0101", "duration_ms", "-1 ms is before all times");
        schedule_maintenance, wire::ScheduleMaintenanceRequest { agents: names("one"), start_unix_ms: 1, duration_ms: 1 } => InvalidArgument, ("MST0016", "", "a maintenance window that is over");
        schedule_maintenance, wire::ScheduleMaintenanceRequest { start_unix_ms: 4_000_000_000_000, ..Default::default() } => InvalidArgument, ("MST0016", "", "maintenance of no agent");
        schedule_maintenance, wire::ScheduleMaintenanceRequest { agents: vec!["one".to_owned(), "two".to_owned()], start_unix_ms: 4_000_000_000_000, duration_ms: 0 } => NotFound, ("MST0031", "", "there is no agent 'two'");
        cancel_maintenance, wire::CancelMaintenanceRequest { agents: names("one") } => InvalidArgument, ("MST0042", "", "no maintenance of agent 'one' is scheduled");
        start_maintenance, wire::StartMaintenanceRequest { agents: names("one") } => InvalidArgument, ("MST0042", "", "no maintenance of agent 'one' is scheduled");
        stop_maintenance, wire::StopMaintenanceRequest { agents: names("two") } => NotFound, ("MST0031", "", "there is no agent 'two'");
        change_holdings, holdings(0, scalar("cpus", 1.0)) => InvalidArgument, ("WIR0001", "kind", "");
        change_holdings, holdings(77, scalar("cpus", 1.0)) => InvalidArgument, ("WIR0001", "kind", "77");
        change_holdings, holdings(1, scalar("cpus", -1.0)) => InvalidArgument, ("WIR0001", "resources[0].scalar.value", "");
        change_holdings, holdings(1, scalar("cpus", f64::NAN)) => InvalidArgument, ("WIR0001", "resources[0].scalar.value", "");
        change_holdings, holdings(1, scalar("cpus", 1.0)) => InvalidArgument, ("MST0055", "", "is not connected");
        list_holdings, wire::ListHoldingsRequest { agent: "nobody".to_owned() } => NotFound, ("MST0031", "", "there is no agent 'nobody'");
        watch_events, wire::WatchEventsRequest { kinds: names("tasks") } => InvalidArgument, ("MST0101", "kinds", "'tasks' is no kind of event");
        explain, wire::ExplainRequest { kind: "weather".to_owned(), name: "web".to_owned() } => InvalidArgument, ("MST0101", "kind", "'weather' is none of");
        explain, wire::ExplainRequest { kind: "task".to_owned(), name: "none".to_owned() } => NotFound, ("MST0103", "", "there is no task 'none'");
        explain, wire::ExplainRequest { kind: "role".to_owned(), name: "none".to_owned() } => NotFound, ("MST0103", "", "there is no role 'none'");
        explain, wire::ExplainRequest { kind: "agent".to_owned(), name: "none".to_owned() } => NotFound, ("MST0103", "", "there is no agent 'none'");
        explain, wire::ExplainRequest { kind: "framework".to_owned(), name: "none".to_owned() } => NotFound, ("MST0103", "", "there is no framework 'none'");
        issue_identity, identity_of("agent/one") => InvalidArgument, ("MST0101", "principal", "is neither framework/<name> nor operator/<name>");
        issue_identity, identity_of("master") => InvalidArgument, ("MST0101", "principal", "is neither framework/<name> nor operator/<name>");
        issue_identity, identity_of("framework/") => InvalidArgument, ("MST0101", "principal", "is not a DNS label");
        issue_identity, identity_of("framework/A b") => InvalidArgument, ("MST0101", "principal", "is not a DNS label");
        issue_identity, wire::IssueIdentityRequest { dns_names: names("master.mezzo"), ..identity_of("framework/web") } => InvalidArgument, ("MST0101", "dns_names[0]", "may not serve as 'master.mezzo'");
        issue_identity, wire::IssueIdentityRequest { addresses: names("here"), ..identity_of("framework/web") } => InvalidArgument, ("MST0101", "addresses[0]", "'here' is not an IP address");
        issue_identity, wire::IssueIdentityRequest { dns_names: vec!["localhost".to_owned(); 65], ..identity_of("framework/web") } => InvalidArgument, ("MST0101", "dns_names", "at most 64 names and addresses");
        show_package, wire::ShowPackageRequest { name: "none".to_owned(), version: String::new() } => NotFound, ("CAT0002", "package", "there is no package 'none'");
        install_package, install("none", "") => NotFound, ("CAT0002", "package", "there is no package 'none'");
        install_package, install("none", "[1]") => InvalidArgument, ("MST0101", "options", "the options are not a JSON object");
        install_package, install("none", "{") => InvalidArgument, ("MST0101", "options", "the options are not JSON");
        update_package, wire::UpdatePackageRequest { name: "none".to_owned(), ..Default::default() } => NotFound, ("MST0103", "", "nothing is installed as 'none'");
        update_package, wire::UpdatePackageRequest { name: "none".to_owned(), rollback: true, ..Default::default() } => NotFound, ("MST0103", "", "nothing is installed as 'none'");
        uninstall_package, wire::UninstallPackageRequest { name: "none".to_owned(), dry_run: false } => NotFound, ("MST0103", "", "nothing is installed as 'none'");
    }
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_no_operator_may_call_nothing_of_operators() {
    let pool = quiet_pool().await;
    let identities = [pool.join("two").await, pool.identity("framework/web").await];
    let before = Everything::of(&pool).await;
    for identity in &identities {
        let mut client = OperatorClient::new(pool.channel(identity));
        macro_rules! forbidden {
            ($($call:ident, $request:expr;)*) => {$(
                let answer = client.$call($request).await.map(drop);
                let what = stringify!($call);
                expect(what, &answer.expect_err(what), Code::PermissionDenied, ("MST0100", "", ""));
            )*};
        }
        forbidden! {
            list_agents, wire::ListAgentsRequest {};
            list_frameworks, wire::ListFrameworksRequest {};
            list_roles, wire::ListRolesRequest {};
            set_quotas, quota("web", amounts("cpus", 1.0));
            set_weight, weight("web", 2.0);
            list_tasks, wire::ListTasksRequest::default();
            list_vips, wire::ListVipsRequest {};
            watch_events, wire::WatchEventsRequest::default();
            explain, wire::ExplainRequest { kind: "role".to_owned(), name: "web".to_owned() };
            teardown_framework, wire::TeardownFrameworkRequest { framework: "web".to_owned() };
            deactivate_agent, wire::DeactivateAgentRequest { agent: "one".to_owned() };
            reactivate_agent, wire::ReactivateAgentRequest { agent: "one".to_owned() };
            drain_agent, wire::DrainAgentRequest { agent: "one".to_owned(), ..Default::default() };
            mark_agent_gone, wire::MarkAgentGoneRequest { agent: "one".to_owned() };
            change_holdings, holdings(1, scalar("cpus", 1.0));
            list_holdings, wire::ListHoldingsRequest::default();
            schedule_maintenance, wire::ScheduleMaintenanceRequest { agents: names("one"), start_unix_ms: 4_000_000_000_000, duration_ms: 0 };
            cancel_maintenance, wire::CancelMaintenanceRequest { agents: names("one") };
            start_maintenance, wire::StartMaintenanceRequest { agents: names("one") };
            stop_maintenance, wire::StopMaintenanceRequest { agents: names("one") };
            create_join_token, wire::CreateJoinTokenRequest::default();
            issue_identity, identity_of("framework/other");
            search_catalog, wire::SearchCatalogRequest::default();
            show_package, wire::ShowPackageRequest::default();
            install_package, install("none", "");
            update_package, wire::UpdatePackageRequest::default();
            uninstall_package, wire::UninstallPackageRequest::default();
            list_installations, wire::ListInstallationsRequest {};
        }
    }
    before.check(&Everything::of(&pool).await, "calls of agents and frameworks");
    pool.stop().await;
}

/// Who asks, what, and how that is refused: status, code and words.
type Case<'a> = (&'a HttpClient, &'a Method, String, Vec<u8>, u16, &'a str, &'a str);

/// What a route answers.
async fn ask(client: &HttpClient, method: &Method, path: &str, body: Vec<u8>) -> (u16, String) {
    let request = Request::builder().method(method).uri(path).body(Body::from(body)).expect("a request");
    let answer = client.request(request).await.expect("an answer");
    let status = answer.status().as_u16();
    let bytes = axum::body::to_bytes(Body::new(answer.into_body()), 1 << 16).await.expect("a short answer");
    (status, String::from_utf8_lossy(&bytes).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_http_routes_are_given_wrongly_is_refused_and_changes_nothing() {
    let pool = quiet_pool().await;
    let (agent, web, other) =
        (pool.join("two").await, pool.identity("framework/web").await, pool.identity("framework/other").await);
    let operator = pool.http(&pool.admin);
    let kept = b"kept".to_vec();
    let digest = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
    let blob = format!("/artifacts/sha256/{}", digest(&kept));
    operator.put(&blob, "", kept.clone()).await.expect("uploaded");
    operator.put("/artifacts/names/tool", "", format!("sha256:{}", digest(&kept))).await.expect("named");
    let unknown = format!("/artifacts/sha256/{}", digest(b"unknown"));
    let manifest = |layer: &[u8]| {
        serde_json::json!({"config": {"digest": format!("sha256:{}", digest(&kept))}, "layers": [{"digest": format!("sha256:{}", digest(layer))}]}).to_string().into_bytes()
    };
    let whole = manifest(&kept);
    let wrong_reference = format!("/v2/team/web/manifests/sha256:{}", digest(b"unknown"));
    let before = Everything::of(&pool).await;
    let client = |identity: &Identity| pool.http(identity);
    let (admin, agent, web, other) = (client(&pool.admin), client(&agent), client(&web), client(&other));
    let long = "n".repeat(300);
    let (get, put, delete, post) = (Method::GET, Method::PUT, Method::DELETE, Method::POST);
    #[rustfmt::skip] // a table
    let cases: Vec<Case<'_>> = vec![
        (&agent, &put, blob.clone(), kept.clone(), 403, "MST0100", "is not an operator"),
        (&agent, &delete, blob.clone(), vec![], 403, "MST0100", "is not an operator"),
        (&admin, &delete, blob.clone(), vec![], 409, "MST0104", "has a name, or is part of an image"),
        (&admin, &delete, unknown.clone(), vec![], 404, "MST0103", "the pool has no artifact"),
        (&admin, &get, unknown.clone(), vec![], 404, "MST0103", "the pool has no artifact"),
        (&admin, &put, unknown.clone(), b"something".to_vec(), 400, "MST0107", "not sha256:"),
        (&admin, &put, "/artifacts/sha256/ABC".to_owned(), vec![1], 400, "MST0101", "is not sha256:<64 lower-case hex digits>"),
        (&admin, &get, "/artifacts/sha256/..%2F..%2Fpki%2Fca-key.pem".to_owned(), vec![], 400, "MST0101", "is not sha256:"),
        (&agent, &put, "/artifacts/names/tool".to_owned(), format!("sha256:{}", digest(&kept)).into_bytes(), 403, "MST0100", "is not an operator"),
        (&admin, &put, "/artifacts/names/tool".to_owned(), format!("sha256:{}", digest(b"unknown")).into_bytes(), 404, "MST0103", "the pool has no artifact"),
        (&admin, &put, "/artifacts/names/tool".to_owned(), vec![0xFF, 0xFE], 400, "MST0101", "the body is not sha256:<hex>"),
        (&admin, &put, "/artifacts/names/tool".to_owned(), b"latest".to_vec(), 400, "MST0101", "is not sha256:"),
        (&admin, &put, "/artifacts/names/tool".to_owned(), vec![b'x'; 4096], 413, "MST0106", "the body has more than 255 bytes"),
        (&admin, &put, "/artifacts/names/a%20b".to_owned(), format!("sha256:{}", digest(&kept)).into_bytes(), 400, "MST0101", "'a b' is not made of letters"),
        (&admin, &put, format!("/artifacts/names/{long}"), format!("sha256:{}", digest(&kept)).into_bytes(), 400, "MST0101", "is not made of letters"),
        (&admin, &get, "/artifacts/names/none".to_owned(), vec![], 404, "MST0103", "no artifact is named 'none'"),
        (&agent, &put, "/v2/team/web/manifests/1".to_owned(), whole.clone(), 403, "MST0100", "is not an operator"),
        (&admin, &put, "/v2/team/web/manifests/1".to_owned(), b"{".to_vec(), 400, "MST0101", "the manifest is not JSON"),
        (&admin, &put, "/v2/team/web/manifests/1".to_owned(), vec![b' '; (4 << 20) + 1], 413, "MST0106", "the body has more than 4194304 bytes"),
        (&admin, &put, "/v2/team/web/manifests/1".to_owned(), manifest(b"a layer that is not there"), 404, "MST0103", "which the pool has not"),
        (&admin, &put, "/v2/team/web/manifests/a%20b".to_owned(), whole.clone(), 400, "MST0101", "'a b' is not made of letters"),
        (&admin, &put, "/v2/te%20am/web/manifests/1".to_owned(), whole.clone(), 400, "MST0101", "'te am' is not made of letters"),
        (&admin, &put, wrong_reference, whole.clone(), 400, "MST0107", "the manifest has the digest"),
        (&admin, &put, "/v2/team/web/manifests/sha256:12".to_owned(), whole.clone(), 400, "MST0101", "is not sha256:"),
        (&admin, &put, format!("/v2/team/web/blobs/sha256:{}", digest(&kept)), kept.clone(), 400, "MST0101", "blobs are uploaded with PUT /artifacts"),
        (&admin, &get, "/v2/team/web/manifests/9".to_owned(), vec![], 404, "MST0103", "the pool has no image team/web:9"),
        (&admin, &get, format!("/v2/team/web/manifests/sha256:{}", digest(&kept)), vec![], 400, "MST0101", "is not a manifest"),
        (&admin, &get, "/v2/team/web/tags/list".to_owned(), vec![], 404, "MST0103", "is neither a manifest nor a blob"),
        (&other, &get, "/files/web".to_owned(), vec![], 403, "MST0100", "may not use the files of framework 'web'"),
        (&other, &put, "/files/web/a".to_owned(), vec![1], 403, "MST0100", "may not use the files of framework 'web'"),
        (&other, &delete, "/files/web/a".to_owned(), vec![], 403, "MST0100", "may not use the files of framework 'web'"),
        (&web, &put, "/files/web/a%2Fb".to_owned(), vec![1], 400, "MST0101", "'a/b' is not made of letters"),
        (&web, &put, "/files/web/a.incoming".to_owned(), vec![1], 400, "MST0101", "no name ends in '.incoming'"),
        (&web, &get, "/files/web/none".to_owned(), vec![], 404, "MST0103", "'web' keeps no file 'none'"),
        (&other, &put, "/v1/frameworks/web/vips/api".to_owned(), vec![], 403, "MST0008", "is not framework/other's"),
        (&admin, &put, "/v1/frameworks/nobody/vips/api".to_owned(), vec![], 404, "MST0007", "there is no framework 'nobody'"),
        (&admin, &put, "/v1/frameworks/web/vips/-api".to_owned(), vec![], 400, "MST0016", "a VIP's name is"),
        (&web, &get, "/service/web/v1/plans".to_owned(), vec![], 403, "MST0100", "is not an operator"),
        (&admin, &get, "/service/nobody/v1/plans".to_owned(), vec![], 404, "MST0103", "there is no framework 'nobody'"),
        (&admin, &get, "/service/web/v1/plans".to_owned(), vec![], 503, "MST0105", "framework 'web'"),
        (&admin, &get, "/nonsense".to_owned(), vec![], 404, "MST0103", "the master serves no GET /nonsense"),
        (&admin, &post, "/artifacts/names/tool".to_owned(), vec![], 404, "MST0103", "the master serves no POST /artifacts/names/tool"),
    ];
    for (client, method, path, body, status, code, words) in cases {
        let what = format!("{method} {path}");
        let (found, text) = ask(client, method, &path, body).await;
        let refusal: serde_json::Value =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{what}: {found}: no refusal: {text}"));
        assert_eq!((found, refusal["code"].as_str()), (status, Some(code)), "{what}: {text}");
        assert!(refusal["message"].as_str().is_some_and(|message| message.contains(words)), "{what}: {text}");
        before.check(&Everything::of(&pool).await, &what);
    }
    pool.stop().await;
}

/// Streams and links are refused by who opens them, and by their first message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_of_the_wrong_kind_or_version_is_refused_and_changes_nothing() {
    let pool = quiet_pool().await;
    let two = pool.join("two").await;
    let before = Everything::of(&pool).await;
    let secret = wire::FetchSecretRequest {
        framework_id: "m-1".to_owned(),
        task_id: "t".to_owned(),
        key: "secret/a".to_owned(),
    };
    let mut as_agent = wire::agents_client::AgentsClient::new(pool.channel(&two));
    let refused = as_agent.fetch_secret(secret.clone()).await.expect_err("no such task");
    expect("a secret of nobody", &refused, Code::PermissionDenied, ("MST0100", "", "is not on agent two"));
    let mut as_operator = wire::agents_client::AgentsClient::new(pool.channel(&pool.admin));
    let refused = as_operator.fetch_secret(secret).await.expect_err("an operator is no agent");
    expect("a secret for an operator", &refused, Code::PermissionDenied, ("MST0100", "", "is not an agent"));
    let register = |version, name: &str, total| wire::RegisterAgent {
        version,
        name: name.to_owned(),
        address: "127.0.0.1".to_owned(),
        port: 5051,
        total,
        boot_id: "b".to_owned(),
        ..Default::default()
    };
    for (said, field, code) in [
        (register(9, "two", vec![]), "register.version", "WIR0001"),
        (register(1, "two", vec![scalar("cpus", -1.0)]), "register.total[0].scalar.value", "WIR0001"),
        (register(1, "one", vec![]), "", "MST0025"),
    ] {
        let mut agent = Agent::connect(&pool, "two", two.clone()).await;
        agent.send(wire::agent_message::Kind::Register(said)).await;
        let wire::master_message::Kind::Refused(refusal) = agent.next().await else { panic!("{field} is not refused") };
        assert_eq!((refusal.code.as_str(), refusal.field.as_str()), (code, field), "{}", refusal.message);
        agent.ended().await;
    }
    before.check(&Everything::of(&pool).await, "links");
    pool.stop().await;
}
