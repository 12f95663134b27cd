//! The read model: what the core says has changed, kept for whoever lists, watches, explains or routes. Writers are the
//! runner alone; readers never wait for the core.
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, RwLock, RwLockReadGuard};

use master_core::decision::{Rejected, Withheld};
use master_core::view::{AgentView, FrameworkView, RoleView, TaskView};
use master_core::{Decision, Delta};
use model::call::Offer;
use model::{AgentId, FrameworkId, OfferId, Principal, RoleName, TaskId, TaskState, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};

use crate::limits;

type TaskKey = (FrameworkId, TaskId);

/// Everything that can be listed, now.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) agents: BTreeMap<AgentId, AgentView>,
    pub(crate) frameworks: BTreeMap<FrameworkId, FrameworkView>,
    pub(crate) tasks: BTreeMap<TaskKey, TaskView>,
    /// Ended tasks, the latest last.
    pub(crate) history: VecDeque<TaskView>,
    pub(crate) offers: BTreeMap<OfferId, Arc<Offer>>,
    pub(crate) roles: BTreeMap<RoleName, RoleView>,
    /// Names of frameworks that ended and still have tasks in the history.
    pub(crate) past_names: BTreeMap<FrameworkId, String>,
    /// Why an agent's free resources were not offered, the latest reason of each framework, role and agent.
    pub(crate) withheld: BTreeMap<(FrameworkId, RoleName, AgentId), Withheld>,
    /// What principals were refused lately, the latest last.
    pub(crate) refused: BTreeMap<Principal, VecDeque<(Timestamp, Rejected)>>,
    /// Virtual addresses, by framework and name.
    pub(crate) vips: BTreeMap<(FrameworkId, String), Ipv4Addr>,
    /// Tasks by framework and discovery name, for the gateway.
    discovered: BTreeMap<(FrameworkId, String), BTreeSet<TaskId>>,
    /// Tasks behind virtual addresses, by framework.
    pub(crate) behind_vips: BTreeMap<FrameworkId, BTreeSet<TaskId>>,
}

impl View {
    /// Takes in one change.
    pub(crate) fn apply(&mut self, delta: Delta) {
        match delta {
            Delta::Agent(agent) => {
                self.agents.insert(agent.id.clone(), *agent);
            }
            Delta::AgentRemoved(id) => {
                self.agents.remove(&id);
                self.withheld.retain(|(.., agent_id), _| *agent_id != id);
            }
            Delta::Framework(framework) => {
                self.past_names.insert(framework.id.clone(), framework.name.clone());
                self.frameworks.insert(framework.id.clone(), *framework);
            }
            Delta::AgentOffers(lent) => {
                if let Some(agent) = self.agents.get_mut(&lent.agent_id) {
                    (agent.offered, agent.free) = (lent.offered, lent.free);
                }
            }
            Delta::FrameworkOffers { framework_id, offers } => {
                if let Some(framework) = self.frameworks.get_mut(&framework_id) {
                    framework.offers = offers;
                }
            }
            Delta::FrameworkRemoved(id) => {
                self.frameworks.remove(&id);
                self.vips.retain(|(holder, _), _| *holder != id);
                self.withheld.retain(|(framework_id, ..), _| *framework_id != id);
                self.forget_names();
            }
            Delta::Task(task) => {
                let key = (task.framework_id.clone(), task.head.task_id.clone());
                if let Some(discovery) = &task.head.discovery {
                    let named = (task.framework_id.clone(), discovery.name.to_ascii_lowercase());
                    self.discovered.entry(named).or_default().insert(task.head.task_id.clone());
                    if discovery.vips().next().is_some() {
                        let behind = self.behind_vips.entry(task.framework_id.clone()).or_default();
                        behind.insert(task.head.task_id.clone());
                    }
                }
                self.tasks.insert(key, *task);
            }
            Delta::TaskRemoved { framework_id, task_id } => self.retire((framework_id, task_id)),
            Delta::OfferAdded(offer) => {
                self.withheld.remove(&(offer.framework_id.clone(), offer.role.clone(), offer.agent_id.clone()));
                self.offers.insert(offer.id.clone(), offer);
            }
            Delta::OfferRemoved { offer_id, .. } => {
                self.offers.remove(&offer_id);
            }
            Delta::Role(role) => {
                self.roles.insert(role.name.clone(), role);
            }
            Delta::RoleRemoved(name) => {
                self.roles.remove(&name);
            }
            Delta::Vip { framework_id, name, address } => {
                self.vips.insert((framework_id, name), address);
            }
        }
    }

    /// Takes in a decision that explanations need.
    pub(crate) fn remember(&mut self, decision: &Decision) {
        if let Decision::Withheld { framework_id, role, agent_id, reason } = decision {
            if self.withheld.len() >= limits::EXPLANATIONS {
                self.withheld.pop_first();
            }
            self.withheld.insert((framework_id.clone(), role.clone(), agent_id.clone()), reason.clone());
        }
        if let Decision::Rejected { who, reason } = decision {
            if !self.refused.contains_key(who) && self.refused.len() >= limits::EXPLANATIONS {
                self.refused.pop_first();
            }
            let latest = self.refused.entry(who.clone()).or_default();
            if latest.len() >= limits::REFUSALS_PER_PRINCIPAL {
                latest.pop_front();
            }
            latest.push_back((crate::runner::now(), reason.clone()));
        }
    }

    fn retire(&mut self, key: TaskKey) {
        let Some(task) = self.tasks.remove(&key) else { return };
        if let Some(discovery) = &task.head.discovery {
            let named = (key.0.clone(), discovery.name.to_ascii_lowercase());
            if let Some(tasks) = self.discovered.get_mut(&named) {
                tasks.remove(&key.1);
                if tasks.is_empty() {
                    self.discovered.remove(&named);
                }
            }
        }
        if let Some(behind) = self.behind_vips.get_mut(&key.0) {
            behind.remove(&key.1);
            if behind.is_empty() {
                self.behind_vips.remove(&key.0);
            }
        }
        self.history.push_back(task);
        if self.history.len() > limits::HISTORY {
            self.history.pop_front();
            self.forget_names();
        }
    }

    /// Names are kept for living frameworks and for those in the history.
    fn forget_names(&mut self) {
        if self.past_names.len() > self.frameworks.len() + limits::HISTORY {
            let used: BTreeSet<_> = self.history.iter().map(|task| task.framework_id.clone()).collect();
            self.past_names.retain(|id, _| self.frameworks.contains_key(id) || used.contains(id));
        }
    }

    /// A framework's name, also of one that ended.
    pub(crate) fn framework_name(&self, id: &FrameworkId) -> &str {
        self.past_names.get(id).map_or("", String::as_str)
    }

    /// A living framework by id or name.
    pub(crate) fn framework(&self, id_or_name: &str) -> Option<&FrameworkView> {
        self.frameworks.get(id_or_name).or_else(|| {
            let named = || self.frameworks.values().filter(|framework| framework.name == id_or_name);
            let ended = |framework: &&FrameworkView| framework.state == master_core::view::FrameworkStateView::TornDown;
            named().find(|framework| !ended(framework)).or_else(|| named().next())
        })
    }

    /// An agent by id or name; one that is here before one that is gone.
    pub(crate) fn agent(&self, id_or_name: &str) -> Option<&AgentView> {
        self.agents.get(id_or_name).or_else(|| {
            let named = || self.agents.values().filter(|agent| agent.name == id_or_name);
            named()
                .find(|agent| agent.state == master_core::view::AgentStateView::Connected)
                .or_else(|| named().next_back())
        })
    }

    /// A task by id, a living one before an ended one, the latest before earlier ones.
    pub(crate) fn task(&self, id: &str) -> Option<&TaskView> {
        let living = self.tasks.values().find(|task| task.head.task_id.as_str() == id);
        living.or_else(|| self.history.iter().rev().find(|task| task.head.task_id.as_str() == id))
    }

    /// Where the external ports of a framework's tasks with this discovery name are: running ones that are neither
    /// unhealthy nor unready, the ready ones first. `None`: there is no such framework.
    pub(crate) fn backends(&self, framework: &str, discovery: &str) -> Option<Vec<SocketAddr>> {
        let id = &self.framework(framework)?.id;
        let mut found = Vec::new();
        for task_id in self.discovered.get(&(id.clone(), discovery.to_owned())).into_iter().flatten() {
            let Some(task) = self.tasks.get(&(id.clone(), task_id.clone())) else { continue };
            let status = &task.status;
            if status.state != TaskState::Running || status.healthy == Some(false) || status.ready == Some(false) {
                continue;
            }
            let address = self.agents.get(&task.agent_id).and_then(|agent| agent.address.parse::<IpAddr>().ok());
            let ports = task.head.discovery.iter().flat_map(|discovery| &discovery.ports).filter(|port| port.external);
            if let Some(address) = address {
                found.extend(ports.map(|port| SocketAddr::new(address, port.number)));
            }
        }
        Some(found)
    }

    /// Every name of the gateway that has a backend.
    pub(crate) fn gateway_names(&self) -> BTreeMap<String, Vec<SocketAddr>> {
        let mut names = BTreeMap::new();
        for (framework_id, discovery) in self.discovered.keys() {
            let Some(framework) = self.frameworks.get(framework_id) else { continue };
            let backends = self.backends(&framework.name, discovery).unwrap_or_default();
            if !backends.is_empty() {
                names.insert(format!("{discovery}.{}.mezzo", framework.name), backends);
            }
        }
        names
    }
}

/// The view while it is changed.
pub(crate) struct Writer<'a> {
    view: &'a mut View,
    deltas: &'a broadcast::Sender<Arc<Delta>>,
}

impl Writer<'_> {
    /// Takes in one change, for the lists and for whoever watches.
    pub(crate) fn apply(&mut self, delta: Delta) {
        if self.deltas.receiver_count() > 0 {
            // Nobody may be left to read it: then nothing is lost.
            let _ = self.deltas.send(Arc::new(delta.clone()));
        }
        self.view.apply(delta);
    }
    /// Takes in a decision that explanations need.
    pub(crate) fn remember(&mut self, decision: &Decision) {
        self.view.remember(decision);
    }
}

/// The view, shared: one writer, many readers.
#[derive(Debug, Clone)]
pub(crate) struct SharedView {
    inner: Arc<RwLock<View>>,
    changed: Arc<watch::Sender<()>>,
    deltas: broadcast::Sender<Arc<Delta>>,
    watchers: Arc<Semaphore>,
}

impl SharedView {
    pub(crate) fn new() -> Self {
        Self {
            inner: Arc::default(),
            changed: Arc::new(watch::Sender::new(())),
            deltas: broadcast::Sender::new(limits::DELTAS),
            watchers: Arc::new(Semaphore::new(limits::WATCHERS_MAX)),
        }
    }
    /// The right to read every change; none if too many do already.
    pub(crate) fn watcher(&self) -> Option<OwnedSemaphorePermit> {
        self.watchers.clone().try_acquire_owned().ok()
    }
    /// Every change from now on. Taken while the view is read, nothing is between the two.
    pub(crate) fn deltas(&self) -> broadcast::Receiver<Arc<Delta>> {
        self.deltas.subscribe()
    }
    /// Tells of every change.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, View> {
        self.inner.read().expect("no reader or writer panics while it holds the view")
    }
    /// Changes the view.
    pub(crate) fn write(&self, change: impl FnOnce(&mut Writer<'_>)) {
        let view = &mut self.inner.write().expect("no reader or writer panics while it holds the view");
        change(&mut Writer { view, deltas: &self.deltas });
        self.changed.send_replace(());
    }
}
