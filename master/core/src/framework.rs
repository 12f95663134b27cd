//! A framework as the master knows it.
use std::collections::{BTreeMap, BTreeSet};

use model::constraint::OfferConstraints;
use model::{FrameworkId, Principal, RoleName, Span, Timestamp};

use crate::answers::Answers;
use crate::event::SessionId;
use crate::limits;
use crate::registry::FrameworkRecord;
use crate::view::{FrameworkStateView, FrameworkView};

/// One framework.
#[derive(Debug)]
pub(crate) struct Framework {
    pub(crate) record: FrameworkRecord,
    pub(crate) state: FrameworkState,
    pub(crate) wishes: Wishes,
    pub(crate) hoarding: Hoarding,
    /// What its session is still to be told.
    pub(crate) answers: Answers,
    /// Sizes of its state's values.
    pub(crate) state_sizes: BTreeMap<String, u64>,
    pub(crate) state_bytes: u64,
}

/// What offers it wants. A session says so at its beginning, and may change its mind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    /// Roles in which it wants none for now.
    pub(crate) suppressed: BTreeSet<RoleName>,
    /// Of which agents it wants some.
    pub(crate) constraints: OfferConstraints,
}

/// Offers that it let expire, and what comes of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hoarding {
    /// So many times in a row, since it last answered one. Offers that were lent at one time count once.
    pub(crate) expired: u32,
    /// When it last counted.
    pub(crate) counted: Timestamp,
    /// Nothing is offered to it before.
    pub(crate) until: Timestamp,
}

impl Hoarding {
    /// An offer that was lent then was not answered. Says until when nothing is offered, if that changed: not after the
    /// first time, and then for twice as long each time.
    pub(crate) fn expired(&mut self, lent: Timestamp, now: Timestamp) -> Option<Timestamp> {
        if self.expired > 0 && lent < self.counted {
            return None;
        }
        self.expired = self.expired.saturating_add(1);
        self.counted = now;
        let doublings = self.expired.checked_sub(2)?.min(16);
        self.until = now + Span(limits::HOLD_OFF_FIRST.0 << doublings).min(limits::HOLD_OFF_MAX);
        Some(self.until)
    }
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
        let (wishes, hoarding, answers) = Default::default();
        Self { record, state, wishes, hoarding, answers, state_sizes, state_bytes }
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
            suppressed: self.wishes.suppressed.clone(),
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
