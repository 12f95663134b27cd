//! etcd's members as they are: asked of etcd itself, compared with the places of the instances, and changed one step at a
//! time as `kubernetes_core::membership` decides. A launch brings its own instance in (`join`); the keeper promotes and
//! removes (`advance`), has lost members replaced, and tells kube-apiservers when members have moved.
mod ask;
mod keep;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use framework_sdk::PodInstance;
use framework_sdk::spec::{InstanceName, UNINSTALL};
use framework_sdk::view::{InstanceView, Placement, ServiceView};
use kubernetes_core::membership::{self, Health, Join, Joiner, Member, Step, Wanted};
use model::{Refusal, TaskState};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::{Shared, backup};
use crate::topology::{CLIENT, ETCD, PEER};
pub(super) use keep::{remember_servers, run, servers};

/// State entries with a [`Launched`] each: `etcd/<instance>`.
const KEY: &str = "etcd/";
/// A launch waits so long for its turn (etcd wants its members to know each other for five seconds before the next joins),
/// then it is tried again with other offers.
const JOIN_TIME: Duration = Duration::from_secs(20);
const JOIN_STEP: Duration = Duration::from_millis(200);

/// As which member an instance was launched last; stored before it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Launched {
    /// etcd's number. `None`: as the first of the cluster, whose number etcd makes up.
    id: Option<u64>,
    /// What it was told about the others.
    initial_cluster: Vec<(String, String)>,
}

/// What a member's flags say about its membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Launch {
    pub(super) data_dir: String,
    pub(super) initial_cluster: String,
    pub(super) initial_cluster_state: &'static str,
}

impl Launched {
    fn launch(&self) -> Launch {
        let members: Vec<String> = self.initial_cluster.iter().map(|(name, url)| format!("{name}={url}")).collect();
        Launch {
            // Data belongs to one member: whoever joins anew begins beside what it was before.
            data_dir: match self.id {
                None => "/var/lib/etcd/member-data".to_owned(),
                Some(id) => format!("/var/lib/etcd/member-{id:016x}"),
            },
            initial_cluster: members.join(","),
            initial_cluster_state: if self.id.is_some() { "existing" } else { "new" },
        }
    }
}

/// Where peers reach a member.
pub(super) fn peer_url(placement: &Placement) -> Option<String> {
    Some(format!("https://{}:{}", placement.address, placement.port(PEER)?))
}

fn client_url(placement: &Placement) -> Option<String> {
    Some(format!("https://{}:{}", placement.address, placement.port(CLIENT)?))
}

/// Client addresses of members that may answer, those that did their work last first.
fn endpoints(view: &ServiceView, without: Option<&InstanceName>) -> Vec<String> {
    let mut members: Vec<&InstanceView> = view.of_pod(ETCD).filter(|member| Some(&member.name) != without).collect();
    members.retain(|member| member.tasks.values().any(|task| task.state == TaskState::Running));
    members.sort_by_key(|member| !member.is_ready);
    members.iter().filter_map(|member| client_url(member.placement.as_ref()?)).collect()
}

/// Who shall be a member, by the target and the places.
fn wanted(shared: &Shared, view: &ServiceView) -> Wanted {
    let target = shared.handle.target();
    let pod = target.as_ref().and_then(|target| target.pod(ETCD));
    let members = pod.into_iter().flat_map(framework_sdk::spec::PodSpec::instances).map(|name| {
        let placement = view.instances.get(&name).and_then(|instance| instance.placement.as_ref());
        (name.to_string(), placement.and_then(peer_url))
    });
    Wanted { members: members.collect() }
}

fn stored(shared: &Shared, name: &str) -> Option<Launched> {
    serde_json::from_slice(&shared.handle.state().get(&format!("{KEY}{name}"))?).ok()
}

async fn store(shared: &Shared, name: &str, launched: &Launched) -> Result<(), Refusal> {
    let bytes = serde_json::to_vec(launched).map_err(|error| not_yet(error.to_string()))?;
    let put = shared.handle.state().put(&format!("{KEY}{name}"), bytes).await;
    put.map_err(|error| not_yet(daemon::error::chain(&error)))
}

/// Makes the instance a member, as far as that is needed, and says how it is to be launched.
///
/// # Errors
/// What it waits for; nothing is launched then.
pub(super) async fn join(shared: &Shared, instance: &PodInstance, placement: &Placement) -> Result<Launch, Refusal> {
    let name = instance.name.to_string();
    let url = peer_url(placement).ok_or_else(|| not_yet("the offer has no port for etcd"))?;
    let has_data = !instance.has_new_volumes;
    let before = stored(shared, &name);
    let own_key = format!("{KEY}{name}");
    let has_others = shared.handle.state().keys(KEY).into_iter().any(|key| key != own_key);
    if membership::is_first(instance.name.index, has_others) {
        let launched = match before.filter(|_| has_data) {
            Some(launched) => launched,
            None => Launched { id: None, initial_cluster: vec![(name.clone(), url)] },
        };
        store(shared, &name, &launched).await?;
        return Ok(launched.launch());
    }
    let deadline = Instant::now() + JOIN_TIME;
    loop {
        let why = match try_join(shared, instance, &url, has_data, before.as_ref()).await {
            Ok(Ok(launched)) => {
                store(shared, &name, &launched).await?;
                return Ok(launched.launch());
            }
            Ok(Err(why)) => why,
            // Nobody answers: whoever has its data starts as what it was, so that there is a quorum again.
            Err(_) if has_data && before.is_some() => return Ok(before.expect("asked just now").launch()),
            Err(why) => why,
        };
        if Instant::now() > deadline {
            return Err(not_yet(why));
        }
        tokio::time::sleep(JOIN_STEP).await;
    }
}

/// One look. Outer error: etcd did not answer; inner: what has to be waited for.
async fn try_join(
    shared: &Shared,
    instance: &PodInstance,
    url: &str,
    has_data: bool,
    before: Option<&Launched>,
) -> Result<Result<Launched, String>, String> {
    let _turn = shared.membership.lock().await;
    let name = instance.name.to_string();
    let joiner = Joiner { name: &name, peer_url: url, has_data, last: before.and_then(|before| before.id) };
    let view = shared.handle.view();
    let listed = ask::list(shared, &endpoints(&view, Some(&instance.name))).await?;
    match membership::join(&listed.members, &wanted(shared, &view), joiner) {
        Join::Start { id, initial_cluster } => Ok(Ok(Launched { id, initial_cluster })),
        Join::First(step) => {
            carry_out(shared, &listed.via, &step).await?;
            Ok(Err(format!("{step:?} was done first")))
        }
        Join::Wait(why) => Ok(Err(why)),
    }
}

/// One step towards what shall be, if one can be done now.
///
/// # Errors
/// In words.
pub(super) async fn advance(shared: &Shared) -> Result<Step, String> {
    let _turn = shared.membership.lock().await;
    let view = shared.handle.view();
    if !may_act(shared, &view) {
        return Ok(Step::Wait("the places of the members are not known yet".to_owned()));
    }
    let listed = ask::list(shared, &endpoints(&view, None)).await?;
    let step = membership::next(&listed.members, &wanted(shared, &view));
    if matches!(step, Step::Promote { .. } | Step::Remove { .. }) {
        carry_out(shared, &listed.via, &step).await?;
    }
    // Whoever is to be added is added by its launch.
    Ok(step)
}

/// Only a framework that knows its instances may remove a member; while everything is uninstalled none is removed.
fn may_act(shared: &Shared, view: &ServiceView) -> bool {
    let published = shared.handle.published().borrow().clone();
    published.is_connected
        && published.target.is_some()
        && !published.plans.iter().any(|plan| plan.name == UNINSTALL)
        && view.of_pod(ETCD).any(|member| member.placement.is_some())
}

async fn carry_out(shared: &Shared, via: &str, step: &Step) -> Result<(), String> {
    backup::try_snapshot_before(shared, &shared.handle.view(), "member-change").await;
    ask::carry_out(shared, via, step).await?;
    info!(?step, "etcd's membership changed");
    Ok(())
}

/// How many voters would answer and be needed if this instance were no member.
fn quorum_without(listed: &[Member], name: &str, url: Option<&str>) -> (usize, usize) {
    let voters: Vec<&Member> = listed.iter().filter(|member| !member.is_learner).collect();
    let is_it = |member: &Member| member.name == name || Some(member.peer_url.as_str()) == url;
    let answering = voters.iter().filter(|member| member.health != Health::Away && !is_it(member)).count();
    (answering, voters.len() / 2 + 1)
}

/// Whether a member may end, or be given up with its data.
///
/// # Errors
/// If the others have no quorum without it.
pub(super) async fn may_restart(
    shared: &Shared,
    instance: &InstanceName,
    replace: bool,
    view: &ServiceView,
) -> Result<(), Refusal> {
    let refused = |words: String, next: &str| Err(Refusal::new("K8S0013", words, next));
    if shared.options().control_plane_count() == 1 {
        let next = "make a backup, uninstall the cluster and restore it";
        return if replace { refused(format!("{instance} alone has the cluster's data"), next) } else { Ok(()) };
    }
    let next = "wait until `mezzo plan show` says that the others are ready";
    let listed = match ask::list(shared, &endpoints(view, Some(instance))).await {
        Ok(listed) => listed,
        Err(_) if !replace => return Ok(()),
        Err(words) => return refused(format!("{instance} may have the only data: {words}"), next),
    };
    let url = view.instances.get(instance).and_then(|one| peer_url(one.placement.as_ref()?));
    let (answering, needed) = quorum_without(&listed.members, &instance.to_string(), url.as_deref());
    if answering < needed {
        return refused(format!("without {instance} {answering} members would answer, and {needed} must"), next);
    }
    Ok(())
}

/// Whether a member may be stopped to be launched anew now: with it away for a while, the others must be a quorum, and none
/// of them may be unwell. What etcd holds is saved before.
///
/// # Errors
/// What it waits for.
pub(super) async fn spare(shared: &Shared, instance: &InstanceName, view: &ServiceView) -> Result<(), String> {
    if view.of_pod(ETCD).count() > 1 {
        let listed = ask::list(shared, &endpoints(view, None)).await?;
        let url = view.instances.get(instance).and_then(|one| peer_url(one.placement.as_ref()?));
        let name = instance.to_string();
        let is_it = |member: &Member| member.name == name || Some(&member.peer_url) == url.as_ref();
        let unwell = |member: &&Member| !is_it(member) && (member.is_learner || member.health == Health::Away);
        if let Some(member) = listed.members.iter().find(unwell) {
            let other = if member.name.is_empty() { &member.peer_url } else { &member.name };
            return Err(format!("{name} is stopped only while all other members do their work: {other} does not"));
        }
        let (answering, needed) = quorum_without(&listed.members, &name, url.as_deref());
        if answering < needed {
            return Err(format!("without {name} {answering} members would answer, and {needed} must"));
        }
    }
    backup::try_snapshot_before(shared, view, "update").await;
    Ok(())
}

fn not_yet(words: impl Into<String>) -> Refusal {
    Refusal::new("K8S0007", words, "it is tried again")
}

/// Since when something is so, for things that are asked about again and again.
#[derive(Debug, Default)]
struct Since(BTreeMap<InstanceName, Instant>);

impl Since {
    /// How long it has been so; nothing if it is not.
    fn observe(&mut self, name: &InstanceName, is_so: bool) -> Option<Duration> {
        if !is_so {
            self.0.remove(name);
            return None;
        }
        Some(self.0.entry(name.clone()).or_insert_with(Instant::now).elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_joins_anew_begins_beside_what_it_was() {
        let cluster = vec![("etcd-0".to_owned(), "https://192.0.2.1:1".to_owned())];
        let first = Launched { id: None, initial_cluster: cluster.clone() }.launch();
        assert_eq!((first.data_dir.as_str(), first.initial_cluster_state), ("/var/lib/etcd/member-data", "new"));
        let joined = Launched { id: Some(0xAB), initial_cluster: cluster }.launch();
        assert_eq!(joined.data_dir, "/var/lib/etcd/member-00000000000000ab");
        assert_eq!(joined.initial_cluster_state, "existing");
        assert_eq!(joined.initial_cluster, "etcd-0=https://192.0.2.1:1");
    }

    #[test]
    fn the_quorum_of_the_others_decides_who_may_go() {
        let member = |id: u64, health| Member {
            id,
            name: format!("etcd-{id}"),
            peer_url: format!("url-{id}"),
            is_learner: false,
            health,
        };
        let all = [0, 1, 2].map(|id| member(id, Health::InStep));
        assert_eq!(quorum_without(&all, "etcd-1", None), (2, 2));
        let two = [member(0, Health::InStep), member(1, Health::Away), member(2, Health::InStep)];
        assert_eq!(quorum_without(&two, "etcd-2", None), (1, 2));
        assert_eq!(quorum_without(&two, "etcd-1", None), (2, 2));
    }
}
