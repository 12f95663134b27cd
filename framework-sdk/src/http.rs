//! The HTTP API of every framework, behind `/service/<name>/` of the master, and the framework's own routes beside it.
use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use daemon::serve::Peer;
use framework_core::plan::PlanView;
use framework_core::spec::{InstanceName, ServiceSpec};
use framework_core::view::InstanceView;
use model::{Principal, Refusal};
use serde_json::{Value, json};

use crate::framework::{Caller, Framework};
use crate::handle::Handle;
use crate::limits;

/// In which the master says who calls.
const PRINCIPAL_HEADER: &str = "x-mezzo-principal";
/// Open to everybody: readiness checks have no certificate.
const HEALTH: &str = "/v1/health";

/// A refusal as a response.
#[derive(Debug)]
pub struct ApiError(pub Refusal);

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = match self.0.code.as_str() {
            "SDK0001" | "SDK0010" => StatusCode::BAD_REQUEST,
            "SDK0005" | "SDK0006" => StatusCode::NOT_FOUND,
            "SDK0003" | "SDK0004" => StatusCode::CONFLICT,
            "SDK0011" => StatusCode::FORBIDDEN,
            "SDK0002" | "SDK0007" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        (status, Json(self.0)).into_response()
    }
}

type Verdict = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>;
/// Asks the framework whether an instance may be restarted (or replaced: true).
pub(crate) type Guard = Arc<dyn Fn(InstanceName, bool) -> Verdict + Send + Sync>;

pub(crate) fn guard<F: Framework>(framework: Arc<F>, handle: Handle) -> Guard {
    Arc::new(move |instance, replace| {
        let (framework, view) = (framework.clone(), handle.view());
        Box::pin(async move { framework.may_restart(&instance, replace, &view).await })
    })
}

type Foreseen = Pin<Box<dyn Future<Output = Result<Option<ServiceSpec>, Refusal>> + Send>>;
/// Asks the framework what it would be with other options.
pub(crate) type Preview = Arc<dyn Fn(Value) -> Foreseen + Send + Sync>;

pub(crate) fn preview<F: Framework>(framework: Arc<F>) -> Preview {
    Arc::new(move |options| {
        let framework = framework.clone();
        Box::pin(async move { framework.preview(&options).await })
    })
}

pub(crate) fn router(handle: Handle, guard: Guard, preview: Preview, own: Router) -> Router {
    Router::new()
        .route("/v1/plans", get(plans))
        .route("/v1/plans/{plan}", get(plan))
        .route("/v1/plans/{plan}/pause", post(pause))
        .route("/v1/plans/{plan}/resume", post(resume))
        .route("/v1/plans/{plan}/restart", post(restart_plan))
        .route("/v1/pods", get(pods))
        .route("/v1/pods/{pod}", get(pod))
        .route("/v1/pods/{pod}/restart", post(restart_pod))
        .route("/v1/pods/{pod}/replace", post(replace_pod))
        .route("/v1/endpoints", get(endpoints))
        .route("/v1/state", get(state))
        .route("/v1/target", get(target))
        .route("/v1/update", get(update))
        .route("/v1/update/preview", post(foresee))
        .route("/v1/debug/offers", get(offers))
        .route(HEALTH, get(health))
        .route("/v1/uninstall", post(uninstall))
        .route("/metrics", get(metrics))
        .layer(Extension(guard))
        .layer(Extension(preview))
        .with_state(handle)
        .merge(own)
        .layer(DefaultBodyLimit::max(limits::BODY_BYTES_MAX))
        .layer(axum::middleware::from_fn(authorize))
}

/// Only the master (for whom it vouches) and operators.
async fn authorize(mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.principal.clone());
    let caller = match peer {
        Some(peer) if peer.as_str() == "master" => {
            let header = request.headers().get(PRINCIPAL_HEADER).and_then(|value| value.to_str().ok());
            Some(header.map_or(peer, Principal::new))
        }
        Some(peer) if peer.is_operator() => Some(peer),
        Some(_) | None => None,
    };
    match caller {
        Some(caller) => {
            request.extensions_mut().insert(Caller(caller));
            next.run(request).await
        }
        None if request.uri().path() == HEALTH => next.run(request).await,
        None => {
            let next_step = "call it through the master, as an operator";
            ApiError(Refusal::new("SDK0011", "only the master and operators may call a framework's API", next_step))
                .into_response()
        }
    }
}

async fn plans(State(handle): State<Handle>) -> Json<Value> {
    Json(json!({ "plans": *handle.plans() }))
}

async fn plan(State(handle): State<Handle>, Path(plan): Path<String>) -> Result<Json<PlanView>, ApiError> {
    let found = handle.plans().iter().find(|view| view.name == plan).cloned();
    found.map(Json).ok_or_else(|| {
        let next = "see `GET /v1/plans` for the plans there are";
        ApiError(Refusal::new("SDK0006", format!("there is no plan '{plan}'"), next))
    })
}

async fn pause(State(handle): State<Handle>, Path(plan): Path<String>) -> Result<Json<Value>, ApiError> {
    handle.pause_plan(&plan).await?;
    Ok(Json(json!({})))
}

async fn resume(State(handle): State<Handle>, Path(plan): Path<String>) -> Result<Json<Value>, ApiError> {
    handle.resume_plan(&plan).await?;
    Ok(Json(json!({})))
}

async fn restart_plan(State(handle): State<Handle>, Path(plan): Path<String>) -> Result<Json<Value>, ApiError> {
    handle.restart_plan(&plan).await?;
    Ok(Json(json!({})))
}

fn pod_json(instance: &InstanceView) -> Value {
    let mut value = serde_json::to_value(instance).unwrap_or_default();
    value["pod"] = json!(instance.name.pod);
    value["agent"] = json!(instance.placement.as_ref().map(|placement| &placement.agent_name));
    value
}

async fn pods(State(handle): State<Handle>) -> Json<Value> {
    let pods: Vec<Value> = handle.view().instances.values().map(pod_json).collect();
    Json(json!({ "pods": pods }))
}

fn instance(text: &str) -> Result<InstanceName, ApiError> {
    let next = "name an instance as <pod>-<index>";
    text.parse().map_err(|error| ApiError(Refusal::new("SDK0010", format!("{error}"), next)))
}

async fn pod(State(handle): State<Handle>, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    let name = instance(&name)?;
    let found = handle.view().instances.get(&name).map(pod_json);
    found.map(Json).ok_or_else(|| {
        let next = "see `GET /v1/pods` for the instances there are";
        ApiError(Refusal::new("SDK0005", format!("there is no instance '{name}'"), next))
    })
}

async fn restart_pod(
    State(handle): State<Handle>,
    Extension(guard): Extension<Guard>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let name = instance(&name)?;
    guard(name.clone(), false).await?;
    handle.restart_pod(&name).await?;
    Ok(Json(json!({})))
}

async fn replace_pod(
    State(handle): State<Handle>,
    Extension(guard): Extension<Guard>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let name = instance(&name)?;
    guard(name.clone(), true).await?;
    handle.replace_pod(&name).await?;
    Ok(Json(json!({})))
}

async fn endpoints(State(handle): State<Handle>) -> Json<Value> {
    let view = handle.view();
    let endpoints: Vec<Value> = view
        .instances
        .values()
        .filter_map(|instance| Some((instance, instance.placement.as_ref()?)))
        .flat_map(|(instance, placement)| {
            placement.ports.iter().map(move |(name, number)| {
                json!({
                    "instance": instance.name, "pod": instance.name.pod, "port": name, "number": number,
                    "agent": placement.agent_name, "address": placement.address,
                    "endpoint": format!("{}:{number}", placement.address), "ready": instance.is_ready,
                })
            })
        })
        .collect();
    Json(json!({ "endpoints": endpoints }))
}

/// Keys and sizes; values may be secrets.
async fn state(State(handle): State<Handle>) -> Json<Value> {
    let known = handle.state.read();
    let entries: Vec<Value> = known.iter().map(|(key, value)| json!({ "key": key, "bytes": value.len() })).collect();
    let id = handle.published.borrow().framework_id.clone();
    Json(json!({ "framework_id": id, "entries": entries }))
}

async fn target(State(handle): State<Handle>) -> Json<Value> {
    Json(json!({ "target": handle.target().as_deref() }))
}

/// How far the options that this process was given are: what an update waits for.
async fn update(State(handle): State<Handle>) -> Json<Value> {
    let published = handle.published.borrow().clone();
    let given = &*handle.given;
    let deploy = published.plans.iter().find(|plan| plan.name == framework_core::spec::DEPLOY);
    let made_of = published.target.as_ref().and_then(|target| target.settings.clone());
    let is_applied = published.is_target_current && made_of.is_none_or(|made_of| made_of == given);
    let undone = published.undone.as_ref().filter(|undone| undone.is_refused && undone.settings == given);
    let open = deploy.into_iter().flat_map(PlanView::steps).find(|step| {
        !step.why.is_empty() && !matches!(step.status, crate::plan::Status::Complete | crate::plan::Status::Pending)
    });
    Json(json!({
        // What is no JSON is none of ours.
        "options": serde_json::from_str::<Value>(given).unwrap_or_default(),
        "is_applied": is_applied,
        "is_complete": is_applied && deploy.is_some_and(PlanView::is_complete),
        "waiting_for": open.map(|step| format!("{}: {}", step.name, step.why)),
        "refusal": published.target_refusal,
        "undone": undone.map(|undone| json!({
            "at_unix_ms": undone.at, "words": undone.words(), "unit": undone.unit, "task_id": undone.task_id,
        })),
    }))
}

async fn foresee(
    State(handle): State<Handle>,
    Extension(preview): Extension<Preview>,
    Json(options): Json<Value>,
) -> Result<Json<Value>, ApiError> {
    let after = preview(options).await?;
    let changes = handle.target().zip(after).map(|(now, after)| now.changes(&after));
    Ok(Json(json!({ "changes": changes })))
}

async fn offers(State(handle): State<Handle>) -> Json<Value> {
    let published = handle.published.borrow().clone();
    Json(json!({ "evaluations": *published.verdicts }))
}

async fn health(State(handle): State<Handle>) -> Response {
    let published = handle.published.borrow().clone();
    let plans: Vec<Value> =
        published.plans.iter().map(|plan| json!({ "name": plan.name, "status": plan.status })).collect();
    let status = if published.is_connected { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "connected": published.is_connected, "plans": plans }))).into_response()
}

async fn uninstall(State(handle): State<Handle>) -> Result<Json<Value>, ApiError> {
    handle.uninstall().await?;
    Ok(Json(json!({})))
}

async fn metrics(State(handle): State<Handle>) -> String {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::registry::Registry;
    let published = handle.published.borrow().clone();
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let mut registry = Registry::with_prefix("mezzo_framework");
    let connected: Gauge = Gauge::default();
    connected.set(i64::from(published.is_connected));
    registry.register("connected", "Whether there is a session with the master", connected);
    let instances = Family::<Vec<(String, String)>, Gauge>::default();
    for instance in published.view.instances.values() {
        let ready = if instance.is_ready { "true" } else { "false" };
        let labels = vec![("pod".to_owned(), instance.name.pod.clone()), ("ready".to_owned(), ready.to_owned())];
        instances.get_or_create(&labels).inc();
    }
    registry.register("instances", "Instances of pods", instances);
    let steps = Family::<Vec<(String, String)>, Gauge>::default();
    for plan in published.plans.iter() {
        for (complete, label) in [(true, "true"), (false, "false")] {
            let number = plan.steps().filter(|step| (step.status == crate::plan::Status::Complete) == complete).count();
            let labels = vec![("plan".to_owned(), plan.name.clone()), ("complete".to_owned(), label.to_owned())];
            steps.get_or_create(&labels).set(count(number));
        }
    }
    registry.register("plan_steps", "Steps of plans", steps);
    let mut text = String::new();
    // Writing to a String cannot fail.
    if encode(&mut text, &registry).is_err() {
        let _ = writeln!(text, "# EOF");
    }
    text
}

#[cfg(test)]
mod tests;
