//! The questions: each returns in one short line what is missing, and has a test in which the process runs and the
//! answer is no.
use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, PostParams};
use kubernetes_core::{manifests, readiness};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::pki::Pair;
use crate::scheduler::api;
use daemon::error::chain;

/// In every node's image.
const PROBE_IMAGE: &str = "docker.io/library/busybox:1";

/// A linearizable read through this very member, which has a vote: it needs a quorum that the member belongs to.
pub(super) async fn linearizable_read(url: &str, authority: &str, pair: &Pair, limit: Duration) -> Result<(), String> {
    let tls = etcd_client::TlsOptions::new()
        .ca_certificate(etcd_client::Certificate::from_pem(authority))
        .identity(etcd_client::Identity::from_pem(&pair.certificate, &pair.key));
    let options = etcd_client::ConnectOptions::new().with_tls(tls).with_connect_timeout(limit).with_timeout(limit);
    let read = async {
        let mut client = Box::pin(etcd_client::Client::connect([url], Some(options))).await?;
        if client.status().await?.is_learner() {
            return Ok::<_, etcd_client::Error>(false);
        }
        client.get("mezzo/readiness", None).await.map(|_| true)
    };
    match tokio::time::timeout(limit, read).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err("it is a learner of etcd: it has no vote before it has all data".to_owned()),
        Ok(Err(error)) => Err(format!("etcd answers no linearizable read: {}", readiness::unreachable(&chain(&error)))),
        Err(_) => Err(format!("etcd answers no linearizable read in {} s: it has no quorum", limit.as_secs_f32())),
    }
}

/// A health page says 200.
pub(super) async fn healthy(client: &kube::Client, path: &str, limit: Duration) -> Result<(), String> {
    let asked = async {
        let (status, body) = api::get(client, path).await?;
        Ok::<_, String>(readiness::missing(path, status, &body))
    };
    match within(limit, asked).await {
        Ok(None) => Ok(()),
        Ok(Some(words)) => Err(words),
        Err(words) => Err(format!("{path}: {words}")),
    }
}

/// Somebody holds the component's lease.
pub(super) async fn led(cluster: &kube::Client, component: &str, now: u64, limit: Duration) -> Result<(), String> {
    let leases: Api<Lease> = Api::namespaced(cluster.clone(), "kube-system");
    let lease = within(limit, async { leases.get_opt(component).await.map_err(words) })
        .await?
        .and_then(|lease| lease.spec)
        .ok_or_else(|| format!("no {component} has asked for leadership"))?;
    let renewed = lease.renew_time.map_or(0, |time| u64::try_from(time.0.as_second()).unwrap_or(0));
    let is_led = readiness::is_led(lease.holder_identity.as_deref(), renewed, now);
    if is_led { Ok(()) } else { Err(format!("no {component} leads")) }
}

/// The kubelet has registered, and says Ready.
pub(super) async fn node_ready(cluster: &kube::Client, name: &str, limit: Duration) -> Result<(), String> {
    let nodes: Api<Node> = Api::all(cluster.clone());
    let node = within(limit, async { nodes.get_opt(name).await.map_err(words) })
        .await?
        .ok_or("its kubelet has not registered")?;
    not_ready(&node).map_or(Ok(()), Err)
}

/// Why a node is not Ready, in the kubelet's words.
pub(in crate::scheduler) fn not_ready(node: &Node) -> Option<String> {
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
pub(super) async fn proxy_in_step(socket: SocketAddr, limit: Duration) -> Result<(), String> {
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(socket).await?;
        stream.write_all(format!("GET /healthz HTTP/1.0\r\nHost: {}\r\n\r\n", socket.ip()).as_bytes()).await?;
        let mut answer = String::new();
        stream.take(4096).read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let asked = async { ask.await.map_err(|error| readiness::unreachable(&error.to_string())) };
    let answer = within(limit, asked).await.map_err(|words| format!("kube-proxy: {words}"))?;
    let status = answer.split(' ').nth(1).unwrap_or("nothing");
    if status == "200" { Ok(()) } else { Err(format!("kube-proxy is not in step: it answers {status}")) }
}

/// A pod on the node resolves the cluster's own name, once; its success is recorded nowhere but in the plan.
pub(super) async fn resolves(client: &kube::Client, node: &str, domain: &str, limit: Duration) -> Result<(), String> {
    within(limit, resolved(client, node, domain)).await
}

async fn resolved(client: &kube::Client, node: &str, domain: &str) -> Result<(), String> {
    let name = format!("mezzo-probe-{node}");
    let pods: Api<Pod> = Api::namespaced(client.clone(), "kube-system");
    let Some(pod) = pods.get_opt(&name).await.map_err(words)? else {
        let manifest = manifests::probe_pod(&name, node, PROBE_IMAGE, domain);
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

pub(super) async fn within<T>(limit: Duration, what: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = || Err(format!("no answer in {} s", limit.as_secs_f32()));
    tokio::time::timeout(limit, what).await.unwrap_or_else(|_| late())
}

#[allow(clippy::needless_pass_by_value)] // as `map_err` wants it
fn words(error: kube::Error) -> String {
    readiness::unreachable(&chain(&error))
}
