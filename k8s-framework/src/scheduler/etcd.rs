//! What the framework itself asks of etcd: how many objects there are at a revision, and a snapshot.
use std::collections::BTreeMap;
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, GetOptions, Identity, TlsOptions};
use framework_sdk::view::ServiceView;
use kubernetes_core::backup::{REGISTRY, kind_of};
use kubernetes_core::pki::Authority;

use super::Shared;
use crate::topology::{CLIENT, ETCD};
use daemon::error::chain;

/// Keys of one answer: 1,000 keys of 200 bytes, far below the message limit of 4 MiB.
const PAGE: i64 = 1000;
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// For one answer.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(20);

/// Objects of a moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Counted {
    /// The revision they were counted at.
    pub(super) revision: i64,
    /// The revision etcd was at when it was asked.
    pub(super) current: i64,
    /// By kind.
    pub(super) objects: BTreeMap<String, u64>,
}

/// A client of the first member that answers.
///
/// # Errors
/// In words.
pub(super) async fn connect(shared: &Shared, view: &ServiceView) -> Result<Client, String> {
    let mut why = "no etcd member has a place yet".to_owned();
    for endpoint in view.endpoints(ETCD, CLIENT) {
        match connect_to(shared, &endpoint).await {
            Ok(client) => return Ok(client),
            Err(words) => why = format!("etcd at {endpoint}: {words}"),
        }
    }
    Err(why)
}

/// A client of the member at `ip:port`, which has answered a first question.
///
/// # Errors
/// In words.
pub(super) async fn connect_to(shared: &Shared, endpoint: &str) -> Result<Client, String> {
    let secrets = shared.secrets().await.map_err(|refusal| refusal.message)?;
    let own = secrets.client("etcd-probe");
    let tls = TlsOptions::new()
        .ca_certificate(Certificate::from_pem(secrets.trust(Authority::Etcd)))
        .identity(Identity::from_pem(&own.certificate, &own.key));
    // No time limit for requests: a snapshot is one.
    let options = ConnectOptions::new().with_tls(tls).with_connect_timeout(CONNECT_TIME);
    let connected = async {
        let mut client = Client::connect([format!("https://{endpoint}")], Some(options)).await?;
        client.get("mezzo/readiness", None).await?;
        Ok::<_, etcd_client::Error>(client)
    };
    within(connected).await
}

/// Counts the objects of the cluster at a revision, or now.
///
/// # Errors
/// In words.
pub(super) async fn count(client: &mut Client, revision: Option<i64>) -> Result<Counted, String> {
    let mut counted = Counted { revision: revision.unwrap_or_default(), ..Counted::default() };
    let end = [&REGISTRY.as_bytes()[..REGISTRY.len() - 1], b"0"].concat();
    let mut from = REGISTRY.as_bytes().to_vec();
    loop {
        let options =
            GetOptions::new().with_range(end.clone()).with_keys_only().with_limit(PAGE).with_revision(counted.revision);
        let answer = within(client.get(from.clone(), Some(options))).await?;
        counted.current = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
        if counted.revision == 0 {
            // The rest is read as of the same moment.
            counted.revision = counted.current;
        }
        for kind in answer.kvs().iter().filter_map(|entry| kind_of(entry.key())) {
            *counted.objects.entry(kind).or_default() += 1;
        }
        match answer.kvs().last() {
            Some(last) if answer.more() => from = [last.key(), b"\0"].concat(),
            Some(_) | None => return Ok(counted),
        }
    }
}

/// An answer in time, or why not. The client's futures are large, so they are put in a box: whoever waits is small.
pub(super) fn within<'a, T: 'a>(
    what: impl Future<Output = Result<T, etcd_client::Error>> + Send + 'a,
) -> impl Future<Output = Result<T, String>> + Send + 'a {
    let what = Box::pin(what);
    async move {
        match tokio::time::timeout(ANSWER_TIME, what).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(kubernetes_core::readiness::unreachable(&chain(&error))),
            Err(_) => Err(format!("no answer in {} s", ANSWER_TIME.as_secs())),
        }
    }
}
