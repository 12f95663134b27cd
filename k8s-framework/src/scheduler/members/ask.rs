//! Questions and orders to etcd itself, over mTLS, each with a limit in time.
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Error, Identity, MemberAddOptions, TlsOptions};
use kubernetes_core::membership::{Health, Member, Step};
use kubernetes_core::pki::Authority;
use kubernetes_core::readiness;

use crate::scheduler::Shared;
use daemon::error::chain;

/// For one answer: a member that is away should not hold up the others.
const TIME: Duration = Duration::from_secs(2);
/// For a change: it may have to wait for an election.
const CHANGE_TIME: Duration = Duration::from_secs(5);
/// Read to hear from a quorum; it need not exist.
const PROBED_KEY: &str = "mezzo/readiness";

/// The members, and who told.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) via: String,
    pub(super) members: Vec<Member>,
}

async fn connect(shared: &Shared, url: &str) -> Result<Client, String> {
    let secrets = shared.secrets().await.map_err(|refusal| refusal.message)?;
    let pair = secrets.client("etcd-probe");
    let tls = TlsOptions::new()
        .ca_certificate(Certificate::from_pem(secrets.trust(Authority::Etcd)))
        .identity(Identity::from_pem(&pair.certificate, &pair.key));
    let options = ConnectOptions::new().with_tls(tls).with_connect_timeout(TIME).with_timeout(CHANGE_TIME);
    // It is a large future, in every caller.
    within(TIME, Box::pin(Client::connect([url], Some(options)))).await
}

async fn within<T>(limit: Duration, what: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
    match tokio::time::timeout(limit, what).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(readiness::unreachable(&chain(&error))),
        Err(_) => Err(format!("no answer in {} s", limit.as_secs())),
    }
}

/// The members as a quorum knows them, and how each does.
///
/// # Errors
/// In words, if none of the members at these addresses can tell.
pub(super) async fn list(shared: &Shared, endpoints: &[String]) -> Result<Listed, String> {
    let mut why = "no etcd member runs".to_owned();
    for url in endpoints {
        match listed_by(shared, url).await {
            Ok(members) => return Ok(Listed { via: url.clone(), members }),
            Err(words) => why = format!("etcd at {url}: {words}"),
        }
    }
    Err(why)
}

async fn listed_by(shared: &Shared, url: &str) -> Result<Vec<Member>, String> {
    let mut client = connect(shared, url).await?;
    // The list is the member's own; after a read that a quorum took part in it is everybody's.
    within(TIME, client.get(PROBED_KEY, None)).await?;
    let listed = within(TIME, client.member_list()).await?;
    let status = |member: &etcd_client::Member| {
        let (url, is_learner) = (member.client_urls().first().cloned(), member.is_learner());
        async move { (is_learner, status(shared, url.as_deref()).await) }
    };
    // Learners after the others: what they have then is compared with what those had before.
    let (learners, voters): (Vec<_>, Vec<_>) = listed.members().iter().partition(|member| member.is_learner());
    let of_voters = futures::future::join_all(voters.iter().map(|member| status(member))).await;
    let newest = of_voters.iter().filter_map(|(_, status)| status.as_ref()).map(|status| status.applied).max();
    let of_learners = futures::future::join_all(learners.iter().map(|member| status(member))).await;
    let members = voters.into_iter().chain(learners).zip(of_voters.into_iter().chain(of_learners));
    Ok(members
        .map(|(member, (is_learner, status))| Member {
            id: member.id(),
            name: member.name().to_owned(),
            peer_url: member.peer_urls().first().cloned().unwrap_or_default(),
            is_learner,
            health: health(status.as_ref(), newest),
        })
        .collect())
}

/// What a member says about itself.
struct Status {
    has_leader: bool,
    applied: u64,
}

async fn status(shared: &Shared, url: Option<&str>) -> Option<Status> {
    let mut client = connect(shared, url?).await.ok()?;
    let status = within(TIME, client.status()).await.ok()?;
    Some(Status { has_leader: status.leader() != 0, applied: status.raft_applied_index() })
}

/// Who knows no leader is cut off from the others, and as good as away.
fn health(status: Option<&Status>, newest: Option<u64>) -> Health {
    match status {
        Some(status) if status.has_leader && newest.is_some_and(|newest| status.applied >= newest) => Health::InStep,
        Some(status) if status.has_leader => Health::Behind,
        Some(_) | None => Health::Away,
    }
}

/// Has etcd change its membership.
///
/// # Errors
/// In etcd's words.
pub(super) async fn carry_out(shared: &Shared, via: &str, step: &Step) -> Result<(), String> {
    let mut client = connect(shared, via).await?;
    match step {
        Step::Add { peer_url, .. } => {
            let options = MemberAddOptions::new().with_is_learner();
            within(CHANGE_TIME, client.member_add([peer_url], Some(options))).await.map(drop)
        }
        Step::Promote { id, .. } => within(CHANGE_TIME, client.member_promote(*id)).await.map(drop),
        Step::Remove { id, .. } => within(CHANGE_TIME, client.member_remove(*id)).await.map(drop),
        Step::Done | Step::Wait(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_knows_no_leader_is_away_and_who_has_less_is_behind() {
        let status = |has_leader, applied| Status { has_leader, applied };
        assert_eq!(health(None, Some(5)), Health::Away);
        assert_eq!(health(Some(&status(false, 5)), Some(5)), Health::Away);
        assert_eq!(health(Some(&status(true, 4)), Some(5)), Health::Behind);
        assert_eq!(health(Some(&status(true, 5)), Some(5)), Health::InStep);
    }
}
