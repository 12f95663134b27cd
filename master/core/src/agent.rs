//! An agent as the master knows it: what it has, what of that is used, and how it is.
use std::collections::{BTreeMap, BTreeSet};

use model::constraint::Place;
use model::{AgentId, ExecutorId, FrameworkId, Resources, RoleName, TaskId, Timestamp};

use crate::event::SessionId;
use crate::ledger::Task;
use crate::mutation::{Mutation, mutated};
use crate::registry::AgentRecord;
use crate::view::{AgentStateView, AgentView};

/// One agent.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) record: AgentRecord,
    pub(crate) state: AgentState,
    /// When it last answered; zero if not since the master's start.
    pub(crate) heard: Timestamp,
    /// Since when nothing was heard, once that is too long.
    pub(crate) silent: Option<Timestamp>,
    /// What it said when it registered; empty before.
    pub(crate) facts: Facts,
    /// With holdings as the master decided them. Empty unless it counts.
    pub(crate) total: Resources,
    /// What charged tasks, pods and ghosts use.
    pub(crate) allocated: Resources,
    /// What is lent.
    pub(crate) offered: Resources,
    pub(crate) tasks: BTreeSet<(FrameworkId, TaskId)>,
    pub(crate) pods: BTreeMap<(FrameworkId, ExecutorId), Pod>,
    /// Tasks that must not be there, and use resources until the agent says that they ended.
    pub(crate) ghosts: BTreeMap<(FrameworkId, TaskId), Ghost>,
    /// What frameworks said of its inverse offer: whether they will have left in time.
    pub(crate) answers: BTreeMap<FrameworkId, bool>,
    /// When those of them are asked again that said when.
    pub(crate) ask_again: BTreeMap<FrameworkId, Timestamp>,
}

/// What an agent says of itself.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) port: u16,
    pub(crate) region: String,
    pub(crate) zone: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) software: String,
    pub(crate) registered: Timestamp,
}

/// How an agent is. Only a connected one gets offers; a connected or disconnected one counts in the pool's totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AgentState {
    Recovered,
    Connected { session: SessionId, pinged: u64, answered: u64, next_ping: Timestamp },
    Disconnected { since: Timestamp },
    Unreachable { since: Timestamp },
    Gone,
}

/// A pod with tasks that have not ended: the executor uses resources until the last one has.
#[derive(Debug, Default)]
pub(crate) struct Pod {
    pub(crate) role: Option<RoleName>,
    pub(crate) executor_resources: Resources,
    pub(crate) live: BTreeSet<TaskId>,
    pub(crate) charged: bool,
}

/// An unwanted task.
#[derive(Debug)]
pub(crate) struct Ghost {
    pub(crate) resources: Resources,
    /// If it was a proper task before, for the last words on it.
    pub(crate) task: Option<Box<Task>>,
}

impl Agent {
    pub(crate) fn new(record: AgentRecord, state: AgentState) -> Self {
        Self {
            record,
            state,
            heard: Timestamp::default(),
            silent: None,
            facts: Facts::default(),
            total: Resources::default(),
            allocated: Resources::default(),
            offered: Resources::default(),
            tasks: BTreeSet::new(),
            pods: BTreeMap::new(),
            ghosts: BTreeMap::new(),
            answers: BTreeMap::new(),
            ask_again: BTreeMap::new(),
        }
    }
    pub(crate) fn id(&self) -> &AgentId {
        &self.record.id
    }
    /// What frameworks may make conditions on.
    pub(crate) fn place(&self) -> Place<'_> {
        let Facts { region, zone, attributes, .. } = &self.facts;
        Place { hostname: &self.record.name, region, zone, attributes }
    }
    pub(crate) fn session(&self) -> Option<SessionId> {
        match self.state {
            AgentState::Connected { session, .. } => Some(session),
            AgentState::Recovered
            | AgentState::Disconnected { .. }
            | AgentState::Unreachable { .. }
            | AgentState::Gone => None,
        }
    }
    /// Whether its resources are part of the pool's.
    pub(crate) fn counts(&self) -> bool {
        matches!(self.state, AgentState::Connected { .. } | AgentState::Disconnected { .. })
    }
    /// What nothing that runs has, lent or not. Shared volumes are there for one more.
    pub(crate) fn unused(&self) -> Resources {
        let mut unused = self.total.clone();
        if self.allocated.is_empty() {
            return unused;
        }
        if !mutated(Mutation::OffersWhatIsUsed) {
            unused.take_what_is_there(&self.allocated.without_shared());
        }
        unused
    }
    pub(crate) fn free(&self) -> Resources {
        let mut free = self.unused();
        free.take_what_is_there(&self.offered);
        free
    }
    /// Whether a title is used by something that runs.
    pub(crate) fn uses(&self, holding: &model::Holding) -> bool {
        self.allocated.held.contains_key(holding)
    }
    pub(crate) fn view(&self) -> AgentView {
        AgentView {
            id: self.record.id.clone(),
            name: self.record.name.clone(),
            address: self.record.address.clone(),
            port: self.facts.port,
            state: match self.state {
                AgentState::Recovered => AgentStateView::Recovered,
                AgentState::Connected { .. } => AgentStateView::Connected,
                AgentState::Disconnected { since } => AgentStateView::Disconnected { since },
                AgentState::Unreachable { since } => AgentStateView::Unreachable { since },
                AgentState::Gone => AgentStateView::Gone,
            },
            mode: self.record.mode,
            maintenance: self.record.maintenance,
            answers: self.answers.clone(),
            total: self.total.clone(),
            allocated: self.allocated.clone(),
            offered: self.offered.clone(),
            free: self.free(),
            pod_subnet: self.record.pod_subnet.clone(),
            region: self.facts.region.clone(),
            zone: self.facts.zone.clone(),
            attributes: self.facts.attributes.clone(),
            software: self.facts.software.clone(),
            registered: self.facts.registered,
            silent: self.silent,
            tasks: self.tasks.len(),
            holdings: self.record.holdings.clone(),
            orphans: self.record.orphans.clone(),
            operations: self.record.operations.len(),
        }
    }
}

/// Subtracts without going below nothing: an agent may come back with less than its tasks use, and then has nothing free.
pub(crate) fn take_what_is_there(have: &mut Resources, used: &Resources) {
    have.take_what_is_there(used);
}
