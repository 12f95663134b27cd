//! Clients of the components, made from the cluster's keys and the places of its pods.
use std::sync::Mutex;
use std::time::Duration;

use framework_sdk::view::{InstanceView, ServiceView};
use kube::client::Body;
use kubernetes_core::kubeconfig::Server;
use kubernetes_core::{pki, readiness};

use super::Shared;
use super::render::kubeconfig_text;
use crate::kube_client;
use crate::topology::{APISERVER, HTTPS};
use daemon::error::chain;

/// For the question whether a kube-apiserver is there.
const TIME: Duration = Duration::from_secs(2);

/// The kube-apiserver that answered last, and a client of it.
#[derive(Default)]
pub(super) struct Known(Mutex<Option<(String, kube::Client)>>);
impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Known")
    }
}

/// A client of a kube-apiserver that answers: the one of the last time, or another if that one is away. The framework
/// speaks to their own addresses: it has to know about each of them.
///
/// # Errors
/// In words, what is missing.
pub(super) async fn cluster(shared: &Shared, view: &ServiceView) -> Result<kube::Client, String> {
    let mut servers: Vec<&InstanceView> = view.of_pod(APISERVER).collect();
    servers.sort_by_key(|server| !server.is_ready);
    let address = |server: &&InstanceView| {
        let placement = server.placement.as_ref()?;
        Some(format!("{}:{}", placement.address, placement.port(HTTPS)?))
    };
    let mut addresses: Vec<String> = servers.iter().filter_map(address).collect();
    let known = shared.api.0.lock().expect("no holder of the lock panics").clone();
    if let Some((address, client)) = known.filter(|(address, _)| addresses.contains(address)) {
        if is_there(&client).await {
            return Ok(client);
        }
        addresses.sort_by_key(|other| *other == address);
    }
    let name = pki::api_server_name(&shared.name);
    let mut why = "no kube-apiserver has a place yet".to_owned();
    for address in addresses {
        let client = at(shared, &address, &name).await?;
        if is_there(&client).await {
            *shared.api.0.lock().expect("no holder of the lock panics") = Some((address, client.clone()));
            return Ok(client);
        }
        why = format!("the kube-apiserver at {address} does not answer");
    }
    Err(why)
}

async fn is_there(client: &kube::Client) -> bool {
    let asked = tokio::time::timeout(TIME, get(client, "/livez")).await;
    asked.is_ok_and(|answer| answer.is_ok_and(|(status, _)| status == 200))
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
    kube_client::from_text(&kubeconfig_text(&server, "framework", &secrets)).await.map_err(|error| chain(&error))
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
