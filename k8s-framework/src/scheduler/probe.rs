//! Whether a component does its work: asked of the component itself, every time from outside of its container.
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use framework_sdk::view::{Placement, ServiceView};
use framework_sdk::{ProbeRequest, Progress};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, PostParams};
use kubernetes_core::manifests;
use kubernetes_core::node::PROXY_HEALTH_PORT;
use kubernetes_core::pki::Authority;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Shared, api, keeper};
use crate::topology::{APISERVER, CLIENT, CONTROLLER_MANAGER, ETCD, HTTPS, NODE, SCHEDULER};
use daemon::error::chain;

/// A leader renews its lease every 2 s; one that is this old has none.
const LEASE_FRESH_SECONDS: u64 = 15;
const TIMEOUT: Duration = Duration::from_secs(5);
/// In every node's image.
const PROBE_IMAGE: &str = "docker.io/library/busybox:1";

pub(super) async fn probe(shared: &Shared, request: &ProbeRequest, view: &ServiceView) -> Progress {
    let result = match request.instance.pod.as_str() {
        ETCD => etcd(shared, &request.placement).await,
        APISERVER => apiserver(shared, &request.placement).await,
        CONTROLLER_MANAGER | SCHEDULER => leader(shared, &request.instance.pod, &request.placement, view).await,
        NODE => node(shared, &request.instance.to_string(), &request.placement, view).await,
        // The add-ons' task has ended with 0, which says it all.
        _ => Ok(()),
    };
    match result {
        Ok(()) => Progress::Done,
        Err(words) => Progress::NotYet(words),
    }
}

/// A linearizable read through this very member: it needs a quorum that the member belongs to.
async fn etcd(shared: &Shared, placement: &Placement) -> Result<(), String> {
    let secrets = shared.secrets().await.map_err(|refusal| refusal.message)?;
    let port = placement.port(CLIENT).ok_or("etcd has no client port")?;
    let pair = secrets.client("etcd-probe");
    let tls = etcd_client::TlsOptions::new()
        .ca_certificate(etcd_client::Certificate::from_pem(&secrets.authority(Authority::Etcd).certificate))
        .identity(etcd_client::Identity::from_pem(&pair.certificate, &pair.key));
    let options = etcd_client::ConnectOptions::new().with_tls(tls).with_connect_timeout(TIMEOUT).with_timeout(TIMEOUT);
    let read = async {
        let mut client =
            etcd_client::Client::connect([format!("https://{}:{port}", placement.address)], Some(options)).await?;
        client.get("mezzo/readiness", None).await
    };
    match tokio::time::timeout(TIMEOUT, read).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("etcd does not answer a linearizable read: {}", chain(&error))),
        Err(_) => Err("etcd does not answer a linearizable read in 5 s: it has no quorum".to_owned()),
    }
}

async fn apiserver(shared: &Shared, placement: &Placement) -> Result<(), String> {
    let port = placement.port(HTTPS).ok_or("the kube-apiserver has no port")?;
    let name = kubernetes_core::pki::api_server_name(&shared.name);
    let client = api::at(shared, &format!("{}:{port}", placement.address), &name).await?;
    within(api::get(&client, "/readyz")).await.map(|_| ()).map_err(|error| format!("/readyz: {error}"))
}

/// Healthy, and somebody leads: with one instance that is this one.
async fn leader(shared: &Shared, component: &str, placement: &Placement, view: &ServiceView) -> Result<(), String> {
    let port = placement.port(HTTPS).ok_or("the component has no port")?;
    let own = api::at(shared, &format!("{}:{port}", placement.address), component).await?;
    within(api::get(&own, "/healthz")).await.map_err(|error| format!("/healthz: {error}"))?;
    let cluster = api::cluster(shared, view).await?;
    let leases: Api<Lease> = Api::namespaced(cluster, "kube-system");
    let lease = within(async { leases.get_opt(component).await.map_err(|error| chain(&error)) })
        .await?
        .and_then(|lease| lease.spec)
        .ok_or_else(|| format!("no {component} has asked for leadership"))?;
    let renewed = lease.renew_time.map_or(0, |time| u64::try_from(time.0.as_second()).unwrap_or(0));
    let is_held = lease.holder_identity.is_some_and(|holder| !holder.is_empty());
    if is_held && renewed + LEASE_FRESH_SECONDS >= super::now_seconds() {
        return Ok(());
    }
    Err(format!("no {component} leads"))
}

async fn node(shared: &Shared, name: &str, placement: &Placement, view: &ServiceView) -> Result<(), String> {
    let client = api::cluster(shared, view).await?;
    within(keeper::keep(shared, &client, view)).await?;
    let nodes: Api<Node> = Api::all(client.clone());
    let node = within(async { nodes.get_opt(name).await.map_err(|error| chain(&error)) })
        .await?
        .ok_or("its kubelet has not registered")?;
    if let Some(why) = not_ready(&node) {
        return Err(why);
    }
    let address: Ipv4Addr = placement.address.parse().map_err(|_| "its agent has no IPv4 address")?;
    within(proxy_in_step(address)).await?;
    within(resolves(shared, &client, name)).await
}

/// Why a node is not Ready, in the kubelet's words.
pub(super) fn not_ready(node: &Node) -> Option<String> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.and_then(|all| all.iter().find(|condition| condition.type_ == "Ready"));
    match ready {
        Some(condition) if condition.status == "True" => None,
        Some(condition) => {
            Some(condition.message.clone().unwrap_or_else(|| "its kubelet says it is not ready".to_owned()))
        }
        None => Some("its kubelet has not said whether it is ready".to_owned()),
    }
}

/// kube-proxy answers 200 when its rules are those of the API, or will be within seconds.
async fn proxy_in_step(address: Ipv4Addr) -> Result<(), String> {
    let socket = SocketAddr::from((address, PROXY_HEALTH_PORT));
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(socket).await?;
        stream.write_all(format!("GET /healthz HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.take(4096).read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = ask.await.map_err(|error| format!("kube-proxy does not answer: {error}"))?;
    let status = answer.split(' ').nth(1).unwrap_or("nothing");
    if status == "200" { Ok(()) } else { Err(format!("kube-proxy is not in step: it answers {status}")) }
}

/// A pod on the node resolves the cluster's own name, once; its success is recorded nowhere but in the plan.
async fn resolves(shared: &Shared, client: &kube::Client, node: &str) -> Result<(), String> {
    let name = format!("mezzo-probe-{node}");
    let pods: Api<Pod> = Api::namespaced(client.clone(), "kube-system");
    let words = |error: kube::Error| chain(&error);
    let Some(pod) = pods.get_opt(&name).await.map_err(words)? else {
        let manifest = manifests::probe_pod(&name, node, PROBE_IMAGE, &shared.options.cluster_domain);
        let pod: Pod = serde_json::from_value(manifest).map_err(|error| error.to_string())?;
        pods.create(&PostParams::default(), &pod).await.map_err(words)?;
        return Err("a pod on it is to resolve kubernetes.default".to_owned());
    };
    let status = pod.status.unwrap_or_default();
    let gone = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    match status.phase.as_deref() {
        Some("Succeeded") => {
            pods.delete(&name, &gone).await.map_err(words)?;
            Ok(())
        }
        Some("Failed") => {
            pods.delete(&name, &gone).await.map_err(words)?;
            Err("a pod on it could not resolve kubernetes.default".to_owned())
        }
        _ => {
            let waiting = status
                .container_statuses
                .and_then(|all| all.into_iter().next()?.state?.waiting)
                .and_then(|waiting| waiting.message.or(waiting.reason));
            Err(waiting.map_or_else(
                || "a pod on it is resolving kubernetes.default".to_owned(),
                |why| format!("a pod on it cannot start: {why}"),
            ))
        }
    }
}

async fn within<T>(what: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::time::timeout(TIMEOUT, what).await.unwrap_or_else(|_| Err("no answer in 5 s".to_owned()))
}
