//! `/service/<name>/...`: a framework's HTTP API, reached through the master. The framework is verified under
//! `<name>.framework.mezzo`, wherever it runs today; it trusts the master to say who calls.
use std::collections::BTreeMap;
use std::sync::Mutex;

use axum::body::Body;
use bytes::Bytes;
use daemon::client::{HttpClient, HttpError};
use daemon::identity::Identity;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::TokioIo;
use model::Refusal;

use crate::limits;
use crate::refusal;
use crate::view::SharedView;

/// Who calls, for the framework. Only the master may set it.
pub(crate) const PRINCIPAL: HeaderName = HeaderName::from_static("x-mezzo-principal");

/// Meant for one connection, never passed on.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The way to every framework's API.
#[derive(Debug)]
pub(crate) struct Proxy {
    view: SharedView,
    identity: Identity,
    /// One client per place; a framework that moved leaves its old place behind, so few are kept.
    clients: Mutex<BTreeMap<(String, String), HttpClient>>,
}

/// Clients kept: one per living framework and a few that moved.
const CLIENTS_MAX: usize = 256;

/// What a framework answered to the master itself.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Proxy {
    pub(crate) fn new(view: SharedView, identity: Identity) -> Self {
        Self { view, identity, clients: Mutex::default() }
    }

    /// Passes a request on, and the answer back. `path` begins with a slash.
    pub(crate) async fn forward(
        &self,
        name: &str,
        path: &str,
        principal: &str,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Refusal> {
        let (client, base) = self.client(name)?;
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        let uri = format!("{base}{path}{query}");
        let upgrade = upgrade_of(request.headers());
        let ours = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
        let (mut head, body) = request.into_parts();
        head.uri = uri.parse::<Uri>().map_err(|_| refusal::malformed("path", format!("'{uri}' is not a path")))?;
        head.version = Version::HTTP_11;
        head.extensions.clear();
        clean(&mut head.headers, upgrade.as_ref());
        head.headers.remove(header::HOST);
        head.headers.remove(&PRINCIPAL);
        let who = HeaderValue::from_str(principal)
            .map_err(|_| refusal::malformed("principal", "the principal cannot stand in a header"))?;
        head.headers.insert(PRINCIPAL, who);
        let answered = client.request(Request::from_parts(head, body)).await;
        let mut response = answered.map_err(|error| unreachable(name, &error))?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(ours) = ours
        {
            let theirs = hyper::upgrade::on(&mut response);
            tokio::spawn(async move {
                if let Ok((ours, theirs)) = tokio::try_join!(ours, theirs) {
                    let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
                    // Either side may hang up; there is nobody to tell.
                    let _ = tokio::io::copy_bidirectional(&mut ours, &mut theirs).await;
                }
            });
        }
        let upgraded = upgrade_of(response.headers());
        clean(response.headers_mut(), upgraded.as_ref());
        *response.version_mut() = Version::HTTP_11;
        Ok(response.map(Body::new))
    }

    /// Asks a framework something in the master's own name. Any status is an answer.
    pub(crate) async fn call(
        &self,
        name: &str,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Answer, Refusal> {
        let mut request = Request::builder().method(method).uri(path);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Body::from(body.unwrap_or_default()))
            .map_err(|_| refusal::malformed("path", format!("'{path}' is not a path")))?;
        let asked = async {
            let response = self.forward(name, path, "master", request).await?;
            let status = response.status();
            let body = axum::body::to_bytes(response.into_body(), limits::FRAMEWORK_ANSWER_BYTES_MAX).await;
            let body = body.map_err(|error| unreachable(name, &error))?;
            Ok(Answer { status, body })
        };
        tokio::time::timeout(limits::FRAMEWORK_ANSWER_TIME, asked).await.unwrap_or_else(|_| {
            Err(refusal::unavailable(format!("framework '{name}' does not answer"), "try again in a moment"))
        })
    }

    /// A client of the framework, and what its API's paths begin with.
    fn client(&self, name: &str) -> Result<(HttpClient, String), Refusal> {
        let url = {
            let view = self.view.read();
            let framework = view.framework(name).ok_or_else(|| {
                refusal::not_found(format!("there is no framework '{name}'"), "see `mezzo framework list`")
            })?;
            framework.api_url.clone().ok_or_else(|| {
                refusal::unavailable(format!("framework '{name}' serves no HTTP API"), "ask the framework itself")
            })?
        };
        let bad = || {
            refusal::unavailable(
                format!("framework '{name}' announces '{url}', which is not https://<ip>:<port>"),
                "correct the framework",
            )
        };
        let parsed: Uri = url.parse().map_err(|_| bad())?;
        let address = parsed.authority().map(|authority| authority.as_str().to_owned()).ok_or_else(bad)?;
        let base = parsed.path().trim_end_matches('/').to_owned();
        let key = (name.to_owned(), address);
        let mut clients = self.clients.lock().expect("nobody panics while holding the clients");
        if let Some(client) = clients.get(&key) {
            return Ok((client.clone(), base));
        }
        let client = HttpClient::new(&key.1, &format!("{name}.framework.mezzo"), &self.identity).map_err(|_| bad())?;
        if clients.len() >= CLIENTS_MAX {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok((client, base))
    }
}

fn unreachable(name: &str, error: &(dyn std::error::Error + 'static)) -> Refusal {
    // The chain of an HttpError names the address, which people may compare with the framework's own.
    let why = error.downcast_ref::<HttpError>().map_or_else(|| error.to_string(), |error| daemon::error::chain(error));
    refusal::unavailable(
        format!("framework '{name}' cannot be reached: {why}"),
        "its scheduler may be starting: try again in a moment",
    )
}

/// The protocol a message wants to change to.
fn upgrade_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let asks = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case("upgrade")));
    asks.then(|| headers.get(header::UPGRADE).cloned()).flatten()
}

/// Removes what is meant for one connection, but keeps an upgrade.
fn clean(headers: &mut HeaderMap, upgrade: Option<&HeaderValue>) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|word| HeaderName::from_bytes(word.trim().as_bytes()).ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
}
