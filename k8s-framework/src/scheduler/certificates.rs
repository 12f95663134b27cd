//! Keeps certificates fresh: notes what every pod was launched with, renews what has used up two thirds of its life by
//! restarting exactly the pods concerned, one at a time, and changes authorities in phases. What is decided is in
//! `kubernetes_core::certificates`.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use framework_sdk::plan::Status;
use framework_sdk::spec::{DEPLOY, InstanceName};
use framework_sdk::view::{InstanceView, ServiceView};
use framework_sdk::{PodInstance, Progress, RenderedPod};
use kubernetes_core::certificates::{self as core, Candidate, Held, Leaf, Next, Phase, Wanted};
use kubernetes_core::drain::DrainFlags;
use kubernetes_core::pki::Authority;
use model::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tracing::{info, warn};

use super::secrets::Secrets;
use super::{Shared, act};
use crate::certificates::{self, Seen};
use crate::pki::{Pair, PkiError};
use crate::topology::{APISERVER, CONTROLLER_MANAGER, ETCD, NODE, SCHEDULER};
use daemon::error::chain;

/// State entry with [`Asked`]; entries of instances stand below it.
const KEY: &str = "certificates";
/// The order in which pods are restarted: a server before its clients.
const ORDER: [&str; 5] = [ETCD, APISERVER, CONTROLLER_MANAGER, SCHEDULER, NODE];
/// Between two looks while nothing is to be done, and while something is.
const PERIOD: Duration = Duration::from_secs(20);
const PERIOD_BUSY: Duration = Duration::from_secs(2);
/// A restart that was asked for is not asked for again for so long.
const RESTART_TIME: Duration = Duration::from_secs(120);
/// A drain that hangs holds an urgent renewal up for so long.
const DRAIN_TIME: Duration = Duration::from_secs(600);

/// What people asked for, and what is under way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Asked {
    /// Nothing issued before this moment is wanted any more.
    #[serde(default)]
    not_before: u64,
    /// Whether pods that nothing starts again, and data in emptyDir, may be lost for it.
    #[serde(default)]
    force: bool,
    /// Nodes that were cordoned for a restart.
    #[serde(default)]
    cordoned: BTreeSet<String>,
}

/// What the loop is about, in words.
#[derive(Debug, Default)]
pub(super) struct Work {
    words: Mutex<String>,
    wake: Notify,
    changing: tokio::sync::Mutex<()>,
}

impl Work {
    fn say(&self, words: impl Into<String>) {
        *self.words.lock().expect("nobody panics with the lock") = words.into();
    }
    fn words(&self) -> String {
        self.words.lock().expect("nobody panics with the lock").clone()
    }
}

fn asked(shared: &Shared) -> Asked {
    shared.handle.state().get(KEY).and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

async fn store(shared: &Shared, asked: &Asked) -> Result<(), Refusal> {
    let failed = |why: String| Refusal::new("K8S0008", format!("the request is not stored: {why}"), "try again");
    let bytes = serde_json::to_vec(asked).map_err(|error| failed(error.to_string()))?;
    shared.handle.state().put(KEY, bytes).await.map_err(|error| failed(chain(&error)))
}

/// Notes what an instance is launched with.
///
/// # Errors
/// If it is not stored: then it must not be launched, for nobody would know when to renew.
pub(super) async fn note(shared: &Shared, instance: &PodInstance, pod: &RenderedPod) -> Result<(), Refusal> {
    if !ORDER.contains(&instance.name.pod.as_str()) {
        return Ok(());
    }
    let held = certificates::held(pod);
    let failed = |why: String| {
        Refusal::new(
            "K8S0008",
            format!("the certificates of {} are not noted: {why}", instance.name),
            "it is tried again",
        )
    };
    let bytes = serde_json::to_vec(&held).map_err(|error| failed(error.to_string()))?;
    let key = format!("{KEY}/{}", instance.name);
    shared.handle.state().put(&key, bytes).await.map_err(|error| failed(chain(&error)))
}

fn held(shared: &Shared, instance: &InstanceName) -> Option<Held> {
    serde_json::from_slice(&shared.handle.state().get(&format!("{KEY}/{instance}"))?).ok()
}

fn wanted(secrets: &Secrets, not_before: u64) -> Wanted {
    let ids = |pem: &str| -> BTreeSet<String> {
        let id = |seen| match seen {
            Seen::Authority { id, .. } => Some(id),
            Seen::Leaf(_) => None,
        };
        certificates::read("", pem.as_bytes()).into_iter().filter_map(id).collect()
    };
    Wanted {
        signers: Authority::ALL
            .iter()
            .filter_map(|which| certificates::authority_id(&secrets.authority(*which).certificate))
            .collect(),
        bundles: Authority::ALL.iter().map(|which| ids(&secrets.trust(*which))).collect(),
        not_before,
    }
}

fn leaf_of(stem: &str, pair: &Pair) -> Option<Leaf> {
    certificates::read(stem, pair.certificate.as_bytes()).into_iter().find_map(|seen| match seen {
        Seen::Leaf(leaf) => Some(leaf),
        Seen::Authority { .. } => None,
    })
}

/// Instances that show certificates and are to stay.
fn instances(view: &ServiceView) -> impl Iterator<Item = (usize, &InstanceView)> {
    view.instances
        .values()
        .filter(|instance| !instance.is_leaving && instance.placement.is_some())
        .filter_map(|instance| Some((ORDER.iter().position(|pod| *pod == instance.name.pod)?, instance)))
}

/// Renews as long as the scheduler runs.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut restarts: BTreeMap<String, Instant> = BTreeMap::new();
    let mut drains: BTreeMap<String, Instant> = BTreeMap::new();
    loop {
        let period = match step(&shared, &mut restarts, &mut drains).await {
            Ok(period) => period,
            Err(why) => {
                warn!(why, "certificates not looked after, tried again");
                shared.certificates.say(why);
                PERIOD_BUSY * 2
            }
        };
        tokio::select! {
            () = shared.certificates.wake.notified() => {}
            () = tokio::time::sleep(period) => {}
        }
    }
}

async fn step(
    shared: &Shared,
    restarts: &mut BTreeMap<String, Instant>,
    drains: &mut BTreeMap<String, Instant>,
) -> Result<Duration, String> {
    let plans = shared.handle.plans();
    let is_deployed = plans.iter().any(|plan| plan.name == DEPLOY && plan.status == Status::Complete);
    if !is_deployed {
        shared.certificates.say("");
        return Ok(PERIOD_BUSY);
    }
    let secrets = own(shared).await?;
    let (view, now, asked) = (shared.handle.view(), super::now_seconds(), asked(shared));
    let wanted = wanted(&secrets, asked.not_before);
    let candidates: Vec<Candidate> = instances(&view)
        .map(|(rank, instance)| Candidate {
            rank,
            instance: instance.name.to_string(),
            is_ready: instance.is_ready,
            outdated: held(shared, &instance.name).and_then(|held| core::outdated(&held, &wanted, now)),
        })
        .collect();
    // A plan at work says more than readiness of tasks: a member of etcd that was restarted has to catch up.
    let busy = plans.iter().find(|plan| plan.status != Status::Complete && plan.steps().next().is_some());
    let next = match (core::next(&candidates), busy) {
        (Next::Restart(..) | Next::Nothing, Some(plan)) => Next::WaitFor(format!("the plan {}", plan.name)),
        (next, _) => next,
    };
    let is_outdated = candidates.iter().any(|one| one.outdated.is_some());
    uncordon(shared, &view, &candidates, asked.clone()).await?;
    match next {
        Next::WaitFor(what) => {
            shared.certificates.say(if is_outdated { format!("waits for {what}") } else { String::new() });
            Ok(PERIOD_BUSY)
        }
        Next::Nothing => {
            shared.certificates.say("");
            drains.clear();
            settle(shared, &secrets, asked).await
        }
        Next::Restart(instance, why) => {
            if restarts.get(&instance).is_some_and(|at| at.elapsed() < RESTART_TIME) {
                return Ok(PERIOD_BUSY);
            }
            let name: InstanceName = instance.parse().map_err(|_| format!("{instance} is no instance"))?;
            if name.pod == NODE && !is_drained(shared, &view, &name, asked, drains).await? {
                return Ok(PERIOD_BUSY);
            }
            info!(instance, why, "restarted for its certificates");
            shared.certificates.say(format!("{instance} is restarted: {why}"));
            shared.handle.restart_pod(&name).await.map_err(|refusal| refusal.message)?;
            restarts.insert(instance, Instant::now());
            Ok(PERIOD_BUSY)
        }
    }
}

/// The keys, with clients that are fresh: those pods get at their restart, and the framework uses itself.
async fn own(shared: &Shared) -> Result<Arc<Secrets>, String> {
    let words = |refusal: Refusal| refusal.message;
    let _changing = shared.certificates.changing.lock().await;
    let secrets = shared.secrets().await.map_err(words)?;
    let (now, not_before) = (super::now_seconds(), asked(shared).not_before);
    let is_old =
        move |pair: &Pair| leaf_of("", pair).is_none_or(|leaf| now >= leaf.stale() || leaf.issued < not_before);
    if !secrets.clients().any(|(_, pair)| is_old(pair)) {
        return Ok(secrets);
    }
    let seconds = shared.options().certificate_seconds();
    let renewed = change(shared, move |secrets| secrets.renewed(seconds, is_old)).await.map_err(words)?;
    info!("certificates of the cluster's clients renewed");
    Ok(renewed)
}

/// Stores changed keys and uses them from then on.
async fn change(
    shared: &Shared,
    how: impl FnOnce(&Secrets) -> Result<Secrets, PkiError> + Send + 'static,
) -> Result<Arc<Secrets>, Refusal> {
    let failed = |why: String| Refusal::new("K8S0005", format!("the cluster's keys are not made: {why}"), "try again");
    let before = shared.secrets().await?;
    let made = tokio::task::spawn_blocking(move || how(&before)).await;
    let made = made.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(chain(&error)))?;
    made.store(shared.handle.state()).await?;
    let made = Arc::new(made);
    *shared.secrets.write().await = Some(made.clone());
    Ok(made)
}

/// Every pod is as it should be: the next phase begins, if authorities change.
async fn settle(shared: &Shared, secrets: &Secrets, asked: Asked) -> Result<Duration, String> {
    let words = |refusal: Refusal| refusal.message;
    let _changing = shared.certificates.changing.lock().await;
    let phase = secrets.phase();
    let seconds = shared.options().certificate_seconds();
    match core::after(phase) {
        Some(Phase::Switching) => change(shared, move |secrets| secrets.switched(seconds)).await.map_err(words)?,
        Some(_) => change(shared, |secrets| Ok(secrets.settled())).await.map_err(words)?,
        None => {
            if asked.force {
                store(shared, &Asked { force: false, ..asked }).await.map_err(words)?;
            }
            return Ok(PERIOD);
        }
    };
    info!(?phase, "every pod believes and shows what it should: the change of authorities goes on");
    Ok(PERIOD_BUSY)
}

/// Empties a node before its pod is restarted: what runs on it would end with it.
async fn is_drained(
    shared: &Shared,
    view: &ServiceView,
    node: &InstanceName,
    mut asked: Asked,
    drains: &mut BTreeMap<String, Instant>,
) -> Result<bool, String> {
    let name = node.to_string();
    let is_urgent = held(shared, node).is_some_and(|held| core::is_urgent(&held, super::now_seconds()));
    let forced = is_urgent || asked.force;
    let flags = DrainFlags { force: forced, delete_emptydir_data: forced, timeout_seconds: 0 };
    if asked.cordoned.insert(name.clone()) {
        store(shared, &asked).await.map_err(|refusal| refusal.message)?;
    }
    let since = *drains.entry(name.clone()).or_insert_with(Instant::now);
    match act::drain(shared, &name, view, &flags, super::now_seconds()).await {
        Ok(Progress::Done) => Ok(true),
        _ if forced && since.elapsed() > DRAIN_TIME => Ok(true),
        Ok(Progress::NotYet(words)) | Err(words) => {
            shared.certificates.say(format!("{name} is drained to be restarted: {words}"));
            Ok(false)
        }
        Ok(Progress::Failed(words)) => {
            // Nobody knows for how long: until then it runs pods as before.
            asked.cordoned.remove(&name);
            act::uncordon(shared, view, std::slice::from_ref(&name)).await?;
            store(shared, &asked).await.map_err(|refusal| refusal.message)?;
            shared.certificates.say(format!("{words}; with --force it is restarted all the same"));
            Ok(false)
        }
    }
}

/// Nodes that were restarted, and those that need no restart any more, run pods again.
async fn uncordon(
    shared: &Shared,
    view: &ServiceView,
    candidates: &[Candidate],
    mut asked: Asked,
) -> Result<(), String> {
    let is_fresh = |name: &&String| {
        let known = candidates.iter().find(|one| one.instance == **name);
        known.is_none_or(|one| one.is_ready && one.outdated.is_none())
    };
    let fresh: Vec<String> = asked.cordoned.iter().filter(is_fresh).cloned().collect();
    if fresh.is_empty() {
        return Ok(());
    }
    let there: Vec<String> =
        fresh.iter().filter(|name| candidates.iter().any(|one| one.instance == **name)).cloned().collect();
    act::uncordon(shared, view, &there).await?;
    asked.cordoned.retain(|name| !fresh.contains(name));
    store(shared, &asked).await.map_err(|refusal| refusal.message)
}

/// Asks for new certificates everywhere, signed by the same authorities.
///
/// # Errors
/// If it is not stored.
pub(super) async fn renew(shared: &Shared, force: bool) -> Result<Value, Refusal> {
    let asked = Asked { not_before: super::now_seconds(), force, ..asked(shared) };
    store(shared, &asked).await?;
    shared.certificates.wake.notify_one();
    Ok(show(shared).await)
}

/// Begins a change of all authorities.
///
/// # Errors
/// If one is under way.
pub(super) async fn rotate(shared: &Shared, force: bool) -> Result<Value, Refusal> {
    let changing = shared.certificates.changing.lock().await;
    let secrets = shared.secrets().await?;
    if secrets.phase() != Phase::Settled {
        let next = "follow it with: mezzo kubernetes certificates NAME";
        return Err(Refusal::new("K8S0012", "the authorities are changing already", next));
    }
    store(shared, &Asked { force, ..asked(shared) }).await?;
    change(shared, Secrets::with_next).await?;
    drop(changing);
    info!("authorities begin to change: the new ones are believed, too");
    shared.certificates.wake.notify_one();
    Ok(show(shared).await)
}

/// Every certificate and when it ends.
pub(super) async fn show(shared: &Shared) -> Value {
    let Ok(secrets) = shared.secrets().await else { return Value::Null };
    let (view, now, asked) = (shared.handle.view(), super::now_seconds(), asked(shared));
    let wanted = wanted(&secrets, asked.not_before);
    let mut rows = Vec::new();
    let mut row = |of: &str, leaf: &Leaf, outdated: Option<&String>| {
        rows.push(json!({
            "of": of, "name": leaf.name, "subject": leaf.subject, "issued": leaf.issued, "expires": leaf.expires,
            "renewed_from": leaf.due(), "outdated": outdated,
        }));
    };
    for (_, instance) in instances(&view) {
        let Some(held) = held(shared, &instance.name) else { continue };
        let outdated = core::outdated(&held, &wanted, now);
        for leaf in &held.leaves {
            row(&instance.name.to_string(), leaf, outdated.as_ref());
        }
    }
    for (stem, pair) in secrets.clients() {
        if let Some(leaf) = leaf_of(stem, pair) {
            row("framework", &leaf, None);
        }
    }
    for which in Authority::ALL {
        for seen in certificates::read(which.stem(), secrets.trust(which).as_bytes()) {
            if let Seen::Authority { id, issued, expires } = seen {
                let signs = wanted.signers.contains(&id);
                rows.push(json!({
                    "of": "authority", "name": which.stem(), "subject": which.common_name(), "issued": issued,
                    "expires": expires, "signs": signs,
                }));
            }
        }
    }
    json!({ "phase": secrets.phase(), "doing": shared.certificates.words(), "certificates": rows })
}

/// The first to end, for the status of the cluster.
pub(super) async fn summary(shared: &Shared) -> Value {
    let Ok(secrets) = shared.secrets().await else { return Value::Null };
    let view = shared.handle.view();
    let all: BTreeMap<String, Held> = instances(&view)
        .filter_map(|(_, instance)| Some((instance.name.to_string(), held(shared, &instance.name)?)))
        .collect();
    let first = core::first_to_end(&all);
    json!({
        "first_expires": first.map(|(_, leaf)| leaf.expires),
        "first_of": first.map(|(instance, leaf)| format!("{} of {instance}", leaf.name)),
        "authorities": secrets.phase(),
        "doing": shared.certificates.words(),
    })
}

/// When certificates end, for those who watch: the text format of Prometheus.
pub(super) async fn metrics(shared: &Shared) -> String {
    let mut text = String::from(
        "# HELP mezzo_kubernetes_certificate_expires_seconds When a certificate ends, since the epoch\n\
         # TYPE mezzo_kubernetes_certificate_expires_seconds gauge\n",
    );
    let shown = show(shared).await;
    for one in shown["certificates"].as_array().into_iter().flatten() {
        // Names of instances and files hold nothing that would have to be escaped.
        let (of, name) = (one["of"].as_str().unwrap_or_default(), one["name"].as_str().unwrap_or_default());
        let line = format!(
            "mezzo_kubernetes_certificate_expires_seconds{{of=\"{of}\",name=\"{name}\"}} {}\n",
            one["expires"].as_u64().unwrap_or_default()
        );
        text.push_str(&line);
    }
    text.push_str("# EOF\n");
    text
}
