//! What is wrong with a service, and who may not change any: status, code, words, and that nothing is stored.
use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::Request;
use framework_sdk::spec::InstanceName;
use framework_sdk::{Framework as _, Handle, PodInstance};
use model::{ExecutorId, Principal, RoleName};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;

fn definition(name: &str) -> Value {
    json!({"name": name, "command": {"argv": ["./run"]}, "resources": {"cpus": 0.1, "mem_mib": 32}})
}
fn stored(names: &[String]) -> BTreeMap<String, Vec<u8>> {
    let record = |name: &String| {
        let definition: ServiceDefinition = serde_json::from_value(definition(name)).expect("valid");
        let record = ServiceRecord { generation: 1, definition };
        (record::service_key(name), serde_json::to_vec(&record).expect("serializes"))
    };
    names.iter().map(record).collect()
}
fn services(names: &[String]) -> Services {
    let handle = Handle::ended("services", stored(names)).expect("made");
    let identity = daemon::identity::CertificateAuthority::create("none").and_then(|authority| {
        authority.issue(&daemon::identity::CertificateRequest {
            principal: Principal::new("framework/services"),
            dns_names: Vec::new(),
            addresses: Vec::new(),
            valid: std::time::Duration::from_secs(3600),
        })
    });
    let identity = identity.expect("made");
    let channel = daemon::client::channel("127.0.0.1:1", "master.mezzo", &identity).expect("made");
    let master = proto::mezzo::v1::operator_client::OperatorClient::new(channel);
    Services::new(handle, RoleName::new("services").expect("valid"), master, identity)
}

async fn ask(services: &Services, method: &str, name: &str, caller: Option<&str>, body: Vec<u8>) -> (u16, Value) {
    let mut request =
        Request::builder().method(method).uri(format!("/v1/services/{name}")).body(Body::from(body)).expect("made");
    if let Some(caller) = caller {
        request.extensions_mut().insert(Caller(Principal::new(caller)));
    }
    let response = routes(services.clone()).oneshot(request).await.expect("a router answers");
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 16).await.expect("short");
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test]
async fn what_is_refused_says_why_and_stores_nothing() {
    let there = services(&["web".to_owned()]);
    let many: Vec<String> = (0..limits::SERVICES_MAX).map(|n| format!("s{n}")).collect();
    let full = services(&many);
    let operator = Some("operator/ann");
    let body = |name: &str| definition(name).to_string().into_bytes();
    let before: Vec<String> = [&there, &full].map(|services| services.handle.state().keys("")).concat();
    for (services, method, name, caller, body, status, code, words) in [
        (&there, "GET", "none", operator, vec![], 404, "SVC0007", "there is no service 'none'"),
        (&there, "DELETE", "none", operator, vec![], 404, "SVC0007", "there is no service 'none'"),
        (&there, "PUT", "api", operator, body("other"), 400, "SVC0001", "the definition is named 'other'"),
        (&there, "PUT", "api", operator, b"{".to_vec(), 400, "SVC0001", ""),
        (&there, "PUT", "api", Some("framework/x"), body("api"), 403, "SVC0006", "framework/x may not change services"),
        (&there, "DELETE", "web", Some("agent/one"), vec![], 403, "SVC0006", "agent/one may not change services"),
        (&there, "PUT", "api", None, body("api"), 403, "SVC0006", "nobody vouches for the caller"),
        (&full, "PUT", "one-more", operator, body("one-more"), 400, "SVC0002", "services already"),
        // The scheduler ends, and the disk is behind it.
        (&there, "PUT", "api", operator, body("api"), 503, "SVC0003", "the service is not stored"),
        (&there, "DELETE", "web", operator, vec![], 503, "SVC0003", "the service is not stored"),
    ] {
        let (found, refusal) = ask(services, method, name, caller, body).await;
        assert_eq!((found, refusal["code"].as_str()), (status, Some(code)), "{method} {name}: {refusal}");
        assert!(refusal["message"].as_str().is_some_and(|said| said.contains(words)), "{method} {name}: {refusal}");
        assert!(refusal["next_step"].as_str().is_some_and(|next| !next.is_empty()), "{method} {name}: {refusal}");
    }
    assert_eq!([&there, &full].map(|services| services.handle.state().keys("")).concat(), before);
}

#[tokio::test]
async fn a_service_that_was_removed_or_gets_no_identity_is_not_launched() {
    let mut names = stored(&["plain".to_owned()]);
    let mut scheduler = definition("scheduler");
    scheduler["identity"] = json!(true);
    let record = json!({"generation": 1, "definition": scheduler});
    names.insert(record::service_key("scheduler"), record.to_string().into_bytes());
    let mut services = services(&[]);
    services.handle = Handle::ended("services", names).expect("made");
    let render = |name: &'static str| {
        let services = services.clone();
        async move {
            let record = record::load_services(services.handle.state());
            let role = RoleName::new("services").expect("valid");
            let target = crate::spec::target(role, &record);
            let instance = PodInstance {
                name: InstanceName::new(name, 0),
                pod: target.pods[0].clone(),
                tasks: BTreeMap::new(),
                executor_id: ExecutorId::new("e").expect("valid"),
                has_new_volumes: false,
            };
            let placement = framework_sdk::view::Placement {
                agent_id: model::AgentId::new("a").expect("valid"),
                agent_name: "one".to_owned(),
                address: "127.0.0.1".to_owned(),
                pod_subnet: String::new(),
                region: String::new(),
                zone: String::new(),
                attributes: BTreeMap::new(),
                ports: BTreeMap::new(),
            };
            services.render(&instance, &placement, &Default::default()).await
        }
    };
    assert!(render("plain").await.is_ok());
    let refusal = render("gone").await.expect_err("removed");
    assert_eq!((refusal.code.as_str(), refusal.message.as_str()), ("SVC0005", "service 'gone' was removed"));
    let refusal = render("scheduler").await.expect_err("no master");
    assert!(refusal.code == "SVC0004" && refusal.message.contains("issues no identity for 'scheduler'"), "{refusal}");
}
