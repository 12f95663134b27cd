//! Clients of the components, made from the cluster's keys and the places of its pods.
use framework_sdk::view::ServiceView;
use kubernetes_core::kubeconfig::Server;
use kubernetes_core::pki;

use super::Shared;
use super::render::kubeconfig_text;
use crate::kube_client;
use crate::topology::{APISERVER, HTTPS};
use daemon::error::chain;

/// A client of the first kube-apiserver that has a place.
///
/// # Errors
/// In words, what is missing.
pub(super) async fn cluster(shared: &Shared, view: &ServiceView) -> Result<kube::Client, String> {
    let address = view.endpoints(APISERVER, HTTPS).into_iter().next().ok_or("no kube-apiserver has a place yet")?;
    at(shared, &address, &pki::api_server_name(&shared.name)).await
}

/// A client of whatever serves at an address with a certificate of the cluster's authority for that name.
///
/// # Errors
/// In words.
pub(super) async fn at(shared: &Shared, address: &str, tls_server_name: &str) -> Result<kube::Client, String> {
    let secrets = shared.secrets().await.map_err(|refusal| refusal.message)?;
    let server = Server {
        address: address.to_owned(),
        tls_server_name: tls_server_name.to_owned(),
        cluster: shared.name.clone(),
    };
    kube_client::from_text(&kubeconfig_text(&server, "framework", secrets)).await.map_err(|error| chain(&error))
}

/// The text at a path, or in words why there is none.
///
/// # Errors
/// Unreachable, or a status that is not 200.
pub(super) async fn get(client: &kube::Client, path: &str) -> Result<String, String> {
    let request = http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
    client.request_text(request).await.map_err(|error| chain(&error))
}
