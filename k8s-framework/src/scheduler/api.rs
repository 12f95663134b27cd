//! Clients of the components, made from the cluster's keys and the places of its pods.
use framework_sdk::view::ServiceView;
use kube::client::Body;
use kubernetes_core::kubeconfig::Server;
use kubernetes_core::{pki, readiness};

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

/// Status and text at a path, whatever the status is.
///
/// # Errors
/// In words, if there is no answer.
pub(super) async fn get(client: &kube::Client, path: &str) -> Result<(u16, String), String> {
    let words = |error: kube::Error| readiness::unreachable(&chain(&error));
    let request = http::Request::get(path).body(Body::empty()).map_err(|error| error.to_string())?;
    let response = client.send(request).await.map_err(words)?;
    let status = response.status().as_u16();
    let body = response.into_body().collect_bytes().await.map_err(words)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
