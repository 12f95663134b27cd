//! The keeper: promotes and removes members, has those replaced whose agent is away for long, has those launched anew that
//! were removed behind its back, and has kube-apiservers learn where the members are now.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use framework_sdk::spec::InstanceName;
use framework_sdk::view::{InstanceView, Placement, ServiceView};
use kubernetes_core::membership::{Step, Wanted};
use model::{Refusal, TaskState};
use tracing::{debug, info, warn};

use super::{Since, advance, ask, endpoints, may_act, not_yet, peer_url, quorum_without, wanted};
use crate::scheduler::{Shared, backup};
use crate::topology::{APISERVER, CLIENT, ETCD};

/// State entries with the members a kube-apiserver was told: `apiserver/<instance>`.
const SERVERS: &str = "apiserver/";
const PERIOD: Duration = Duration::from_secs(2);
const PERIOD_IN_WORK: Duration = Duration::from_millis(300);
/// A process that runs and is no member, or never becomes one, will not become one: it is launched anew.
const STRAY_TIME: Duration = Duration::from_secs(30);

/// Keeps as long as the scheduler runs.
pub(in crate::scheduler) async fn run(shared: Arc<Shared>) {
    let mut lost = Since::default();
    let mut stray = Since::default();
    let mut was_failing = false;
    loop {
        let view = shared.handle.view();
        let is_alone = shared.handle.target().and_then(|target| Some(target.pod(ETCD)?.count)).unwrap_or(1) <= 1;
        let mut period = PERIOD;
        let mut is_settled = is_alone;
        if !is_alone && may_act(&shared, &view) {
            let outcome = advance(&shared).await;
            let failure = outcome.as_ref().err().cloned();
            if let Some(error) = failure.as_ref().filter(|_| !was_failing) {
                warn!(error, "etcd's membership is not known");
            }
            was_failing = failure.is_some();
            if let Ok(step) = outcome {
                if step != Step::Done {
                    debug!(?step, "etcd's membership");
                    period = PERIOD_IN_WORK;
                }
                is_settled = step == Step::Done;
                relaunch_strays(&shared, &view, &step, &mut stray).await;
            }
            replace_lost(&shared, &view, &mut lost).await;
        }
        if is_settled {
            tell_apiservers(&shared, &view).await;
        }
        tokio::time::sleep(period).await;
    }
}

fn state_of(instance: &InstanceView, state: TaskState) -> bool {
    instance.tasks.values().any(|task| task.state == state)
}

/// etcd would have the instance added although it runs: its member was removed, or it was told about others that are
/// members no more. Its launch makes it one again.
async fn relaunch_strays(shared: &Shared, view: &ServiceView, step: &Step, stray: &mut Since) {
    for instance in view.of_pod(ETCD) {
        let is_it = match step {
            Step::Add { name, .. } => *name == instance.name.to_string(),
            Step::Wait(_) => !instance.is_ready && instance.placement.is_some(),
            Step::Done | Step::Promote { .. } | Step::Remove { .. } => false,
        };
        let is_stray = is_it && state_of(instance, TaskState::Running);
        if stray.observe(&instance.name, is_stray).is_some_and(|time| time > STRAY_TIME)
            && is_unstarted(shared, view, instance).await
        {
            warn!(instance = %instance.name, "etcd runs here and is no member: it is launched anew");
            stray.observe(&instance.name, false);
            if let Err(refusal) = shared.handle.restart_pod(&instance.name).await {
                warn!(why = refusal.message, "not launched anew");
            }
        }
    }
}

/// No member at its address has ever spoken.
async fn is_unstarted(shared: &Shared, view: &ServiceView, instance: &InstanceView) -> bool {
    let url = instance.placement.as_ref().and_then(peer_url);
    let Ok(listed) = ask::list(shared, &endpoints(view, Some(&instance.name))).await else { return false };
    !listed.members.iter().any(|member| Some(&member.peer_url) == url.as_ref() && !member.name.is_empty())
}

/// A member whose agent does not return gives up its data, if the others have a quorum without it.
async fn replace_lost(shared: &Shared, view: &ServiceView, lost: &mut Since) {
    let Some(limit) = shared.options().replace_after().map(|span| Duration::from_millis(span.0)) else { return };
    for instance in view.of_pod(ETCD) {
        let is_lost = state_of(instance, TaskState::Unreachable) && !instance.is_leaving;
        if lost.observe(&instance.name, is_lost).is_none_or(|time| time < limit) {
            continue;
        }
        let Ok(listed) = ask::list(shared, &endpoints(view, Some(&instance.name))).await else { continue };
        let url = instance.placement.as_ref().and_then(peer_url);
        let (answering, needed) = quorum_without(&listed.members, &instance.name.to_string(), url.as_deref());
        if answering < needed {
            continue;
        }
        info!(instance = %instance.name, seconds = limit.as_secs(), "its agent stays away: it is replaced");
        lost.observe(&instance.name, false);
        backup::try_snapshot_before(shared, view, "member-change").await;
        if let Err(refusal) = shared.handle.replace_pod(&instance.name).await {
            warn!(instance = %instance.name, why = refusal.message, "not replaced");
        }
        // One at a time: the next is judged by what etcd says then.
        return;
    }
}

/// Notes what a kube-apiserver is about to be told.
///
/// # Errors
/// If it cannot be stored.
pub(in crate::scheduler) async fn remember_servers(
    shared: &Shared,
    instance: &InstanceName,
    servers: &[String],
) -> Result<(), Refusal> {
    let put = shared.handle.state().put(&format!("{SERVERS}{instance}"), servers.join(",")).await;
    put.map_err(|error| not_yet(daemon::error::chain(&error)))
}

/// Members that moved are at other addresses: kube-apiservers are told one after the other, and only while all of them
/// do their work.
async fn tell_apiservers(shared: &Shared, view: &ServiceView) {
    let Wanted { members } = wanted(shared, view);
    if members.is_empty() || members.values().any(Option::is_none) {
        return;
    }
    let is_settled = |pod| view.of_pod(pod).all(|instance| instance.is_ready && !instance.is_leaving);
    if !is_settled(ETCD) || !is_settled(APISERVER) || !may_act(shared, view) {
        return;
    }
    let now: BTreeSet<String> = servers(view).into_iter().collect();
    for instance in view.of_pod(APISERVER) {
        let Some(told) = shared.handle.state().get(&format!("{SERVERS}{}", instance.name)) else { continue };
        let told: BTreeSet<String> = String::from_utf8_lossy(&told).split(',').map(str::to_owned).collect();
        if told == now {
            continue;
        }
        info!(instance = %instance.name, "etcd's members have moved: it is launched anew to know them");
        if let Err(refusal) = shared.handle.restart_pod(&instance.name).await {
            warn!(instance = %instance.name, why = refusal.message, "not launched anew");
        }
        return;
    }
}

/// `address:port` of every member.
pub(in crate::scheduler) fn servers(view: &ServiceView) -> Vec<String> {
    let of = |placement: &Placement| Some(format!("https://{}:{}", placement.address, placement.port(CLIENT)?));
    view.of_pod(ETCD).filter(|member| !member.is_leaving).filter_map(|member| of(member.placement.as_ref()?)).collect()
}
