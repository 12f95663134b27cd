//! The HTTP API: `GET /v1/services`, `GET|PUT|DELETE /v1/services/<name>`. Only the master and operators may change
//! anything: a service is a program on somebody's agent.
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use framework_sdk::framework::Caller;
use framework_sdk::view::InstanceView;
use model::Refusal;
use serde::Serialize;

use crate::definition::{Kind, ServiceDefinition};
use crate::framework::Services;
use crate::limits;
use crate::record::{self, ServiceRecord};

/// A service and how it does.
#[derive(Debug, Serialize)]
struct ServiceStatus {
    name: String,
    package: String,
    kind: Kind,
    count: u32,
    generation: u64,
    is_ready: bool,
    /// In words.
    state: String,
    instances: Vec<InstanceStatus>,
    /// Only when one service is asked for; options are never shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    definition: Option<ServiceDefinition>,
}

#[derive(Debug, Serialize)]
struct InstanceStatus {
    name: String,
    agent: String,
    address: String,
    ports: std::collections::BTreeMap<String, u16>,
    task_id: String,
    state: String,
    is_ready: bool,
    message: String,
}

pub(crate) fn routes(services: Services) -> Router {
    Router::new()
        .route("/v1/services", get(list))
        .route("/v1/services/{name}", get(show).put(put).delete(remove))
        .layer(DefaultBodyLimit::max(limits::DEFINITION_BYTES_MAX))
        .with_state(services)
}

fn status(services: &Services, record: ServiceRecord, with_definition: bool) -> ServiceStatus {
    let view = services.handle.view();
    let definition = record.definition;
    let instances: Vec<InstanceStatus> = view.of_pod(&definition.name).map(instance).collect();
    let ready = instances.iter().filter(|instance| instance.is_ready).count();
    let mut shown = definition.clone();
    shown.options = None;
    ServiceStatus {
        is_ready: ready >= definition.count as usize,
        state: if instances.is_empty() {
            "waiting for an offer".to_owned()
        } else {
            format!("{ready} of {} ready", definition.count)
        },
        name: definition.name,
        package: definition.package,
        kind: definition.kind,
        count: definition.count,
        generation: record.generation,
        instances,
        definition: with_definition.then_some(shown),
    }
}

fn instance(view: &InstanceView) -> InstanceStatus {
    let task = view.tasks.values().next();
    let placement = view.placement.as_ref();
    InstanceStatus {
        name: view.name.to_string(),
        agent: placement.map(|placement| placement.agent_name.clone()).unwrap_or_default(),
        address: placement.map(|placement| placement.address.clone()).unwrap_or_default(),
        ports: placement.map(|placement| placement.ports.clone()).unwrap_or_default(),
        task_id: task.map(|task| task.task_id.to_string()).unwrap_or_default(),
        state: task.map(|task| format!("{:?}", task.state).to_lowercase()).unwrap_or_default(),
        is_ready: view.is_ready,
        message: task.map(|task| task.message.clone()).unwrap_or_default(),
    }
}

async fn list(State(services): State<Services>) -> Response {
    let records = record::load_services(services.handle.state());
    let all: Vec<ServiceStatus> = records.into_values().map(|record| status(&services, record, false)).collect();
    Json(serde_json::json!({ "services": all })).into_response()
}

async fn show(State(services): State<Services>, Path(name): Path<String>) -> Response {
    match record::load_services(services.handle.state()).remove(&name) {
        Some(record) => Json(status(&services, record, true)).into_response(),
        None => no_service(&name),
    }
}

async fn put(
    State(services): State<Services>,
    caller: Option<Extension<Caller>>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    if let Err(refusal) = may_change(caller) {
        return refused(StatusCode::FORBIDDEN, &refusal);
    }
    let done = match ServiceDefinition::parse(&body) {
        Ok(definition) => services.put(&name, definition).await,
        Err(refusal) => Err(refusal),
    };
    match done {
        Ok(record) => Json(status(&services, record, false)).into_response(),
        Err(refusal) if refusal.code == "SVC0003" => refused(StatusCode::SERVICE_UNAVAILABLE, &refusal),
        Err(refusal) => refused(StatusCode::BAD_REQUEST, &refusal),
    }
}

async fn remove(
    State(services): State<Services>,
    caller: Option<Extension<Caller>>,
    Path(name): Path<String>,
) -> Response {
    if let Err(refusal) = may_change(caller) {
        return refused(StatusCode::FORBIDDEN, &refusal);
    }
    match services.remove(&name).await {
        Ok(true) => Json(serde_json::json!({ "removed": name })).into_response(),
        Ok(false) => no_service(&name),
        Err(refusal) => refused(StatusCode::SERVICE_UNAVAILABLE, &refusal),
    }
}

fn may_change(caller: Option<Extension<Caller>>) -> Result<(), Refusal> {
    match caller {
        Some(Extension(Caller(principal))) if principal.is_operator() || principal.as_str() == "master" => Ok(()),
        Some(Extension(Caller(principal))) => {
            Err(Refusal::new("SVC0006", format!("{principal} may not change services"), "use an operator's identity"))
        }
        None => Err(Refusal::new(
            "SVC0006",
            "nobody vouches for the caller",
            "go through the master with an operator's identity",
        )),
    }
}

fn no_service(name: &str) -> Response {
    refused(
        StatusCode::NOT_FOUND,
        &Refusal::new("SVC0007", format!("there is no service '{name}'"), "list them with: mezzo service list"),
    )
}

fn refused(status: StatusCode, refusal: &Refusal) -> Response {
    (status, Json(refusal)).into_response()
}

#[cfg(test)]
mod tests;
