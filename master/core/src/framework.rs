//! A framework as the master knows it.
use std::collections::{BTreeMap, BTreeSet};

use model::{FrameworkId, Principal, RoleName, Timestamp};

use crate::event::SessionId;
use crate::registry::FrameworkRecord;
use crate::view::{FrameworkStateView, FrameworkView};

/// One framework.
#[derive(Debug)]
pub(crate) struct Framework {
    pub(crate) record: FrameworkRecord,
    pub(crate) state: FrameworkState,
    /// Roles in which it wants no offers for now.
    pub(crate) suppressed: BTreeSet<RoleName>,
    /// Sizes of its state's values.
    pub(crate) state_sizes: BTreeMap<String, u64>,
    pub(crate) state_bytes: u64,
}

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameworkState {
    Connected { session: SessionId },
    Disconnected { since: Timestamp, until: Timestamp },
    Recovered { until: Timestamp },
    TornDown,
}

impl Framework {
    pub(crate) fn new(record: FrameworkRecord, state: FrameworkState, state_sizes: BTreeMap<String, u64>) -> Self {
        let state_bytes = state_sizes.values().sum();
        Self { record, state, suppressed: BTreeSet::new(), state_sizes, state_bytes }
    }
    pub(crate) fn id(&self) -> &FrameworkId {
        &self.record.id
    }
    pub(crate) fn principal(&self) -> &Principal {
        &self.record.info.principal
    }
    pub(crate) fn session(&self) -> Option<SessionId> {
        match self.state {
            FrameworkState::Connected { session } => Some(session),
            FrameworkState::Disconnected { .. } | FrameworkState::Recovered { .. } | FrameworkState::TornDown => None,
        }
    }
    pub(crate) fn is_alive(&self) -> bool {
        self.state != FrameworkState::TornDown
    }
    pub(crate) fn view(&self, tasks: usize, offers: usize) -> FrameworkView {
        let info = &self.record.info;
        FrameworkView {
            id: self.record.id.clone(),
            name: info.name.clone(),
            principal: info.principal.clone(),
            roles: info.roles.clone(),
            suppressed: self.suppressed.clone(),
            state: match self.state {
                FrameworkState::Connected { .. } => FrameworkStateView::Connected,
                FrameworkState::Disconnected { since, .. } => FrameworkStateView::Disconnected { since },
                FrameworkState::Recovered { .. } => FrameworkStateView::Recovered,
                FrameworkState::TornDown => FrameworkStateView::TornDown,
            },
            tasks,
            offers,
            api_url: info.api_url.clone(),
            failover_timeout: info.failover_timeout,
        }
    }
}
