//! What the master serves on its one port. The parts share one context; each checks who asks before anything else.
mod agents;
mod artifacts;
mod describe;
mod events;
mod files;
mod frameworks;
#[doc(hidden)]
pub(crate) mod fuzzing;
mod gateway;
mod holdings;
mod images;
mod operator;
mod quotas;
mod service;
mod vips;
mod web;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use daemon::identity::CertificateAuthority;
use daemon::serve::Peer;
use master_core::Pool;
use model::{Principal, Refusal, Timestamp};
use proto::mezzo::v1::agents_server::AgentsServer;
use proto::mezzo::v1::frameworks_server::FrameworksServer;
use proto::mezzo::v1::operator_server::OperatorServer;

use crate::artifacts::Artifacts;
use crate::installs::Installs;
use crate::limits;
use crate::metrics::Metrics;
use crate::proxy::Proxy;
use crate::refusal;
use crate::registry::Registry;
use crate::runner::CoreHandle;
use crate::table::Newest;
use crate::tokens::Tokens;
use crate::view::SharedView;

/// What every part of the API needs.
pub(crate) struct Context {
    pub(crate) pool: Pool,
    pub(crate) advertise: SocketAddr,
    pub(crate) started: Timestamp,
    pub(crate) ca_sha256: String,
    pub(crate) authority: CertificateAuthority,
    pub(crate) core: CoreHandle,
    pub(crate) view: SharedView,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) tokens: Tokens,
    pub(crate) artifacts: Arc<Artifacts>,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) installs: Arc<Installs>,
    pub(crate) table: Newest,
}

/// Every route of the port.
pub(crate) fn router(context: &Arc<Context>) -> Router {
    let frameworks = FrameworksServer::new(frameworks::Api { context: context.clone() })
        .max_decoding_message_size(limits::FRAMEWORK_MESSAGE_BYTES);
    let agents = AgentsServer::new(agents::Api { context: context.clone() })
        .max_decoding_message_size(limits::AGENT_MESSAGE_BYTES);
    let operator = OperatorServer::new(operator::Api { context: context.clone() })
        .max_decoding_message_size(limits::OPERATOR_MESSAGE_BYTES);
    let routes = tonic::service::Routes::new(frameworks).add_service(agents).add_service(operator);
    Router::new()
        .merge(web::routes())
        .merge(artifacts::routes())
        .merge(files::routes())
        .merge(images::routes())
        .merge(gateway::routes())
        .merge(service::routes())
        .merge(vips::routes())
        .with_state(context.clone())
        .merge(daemon::serve::grpc(routes))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_route)
}

/// What nothing is behind, said like every other refusal.
async fn no_such_route(method: http::Method, uri: http::Uri) -> refusal::Refused {
    let message = format!("the master serves no {method} {}", uri.path());
    refusal::Refused(refusal::not_found(
        message,
        "client and server may be of different versions: compare `mezzo --version`",
    ))
}

/// Who asks; nobody without a certificate.
fn known(peer: Option<&Peer>) -> Result<&Principal, Refusal> {
    peer.and_then(|peer| peer.principal.as_ref()).ok_or_else(|| {
        refusal::forbidden(
            "this needs a certificate of the pool",
            "use an identity made by `mezzo master init` or given by the master",
        )
    })
}

/// An operator, or nobody.
fn operator(peer: Option<&Peer>) -> Result<&Principal, Refusal> {
    let principal = known(peer)?;
    if principal.is_operator() {
        return Ok(principal);
    }
    Err(refusal::forbidden(format!("{principal} is not an operator"), "use an operator's identity"))
}
