//! The offer book: which resources are lent to whom until when. Why they were: see `allocator`. An offer leaves the book
//! exactly once, through [`OfferBook::take`].
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::call::Offer;
use model::{AgentId, FrameworkId, OfferId, Timestamp};

/// All outstanding offers.
#[derive(Debug, Default)]
pub(crate) struct OfferBook {
    lent: BTreeMap<OfferId, Lent>,
    by_agent: BTreeMap<AgentId, BTreeSet<OfferId>>,
    by_framework: BTreeMap<FrameworkId, BTreeSet<OfferId>>,
}

/// One outstanding offer.
#[derive(Debug)]
pub(crate) struct Lent {
    pub(crate) offer: Arc<Offer>,
    pub(crate) expires: Option<Timestamp>,
}

impl OfferBook {
    pub(crate) fn lend(&mut self, offer: Arc<Offer>, expires: Option<Timestamp>) {
        self.by_agent.entry(offer.agent_id.clone()).or_default().insert(offer.id.clone());
        self.by_framework.entry(offer.framework_id.clone()).or_default().insert(offer.id.clone());
        let twice = self.lent.insert(offer.id.clone(), Lent { offer, expires });
        assert!(twice.is_none(), "an offer id is given once");
    }
    pub(crate) fn get(&self, id: &OfferId) -> Option<&Offer> {
        self.lent.get(id).map(|lent| &*lent.offer)
    }
    pub(crate) fn lent(&self, id: &OfferId) -> Option<&Lent> {
        self.lent.get(id)
    }
    pub(crate) fn take(&mut self, id: &OfferId) -> Option<Lent> {
        let lent = self.lent.remove(id)?;
        forget(&mut self.by_agent, &lent.offer.agent_id, id);
        forget(&mut self.by_framework, &lent.offer.framework_id, id);
        Some(lent)
    }
    pub(crate) fn of_agent(&self, id: &AgentId) -> Vec<OfferId> {
        self.by_agent.get(id).into_iter().flatten().cloned().collect()
    }
    pub(crate) fn of_framework(&self, id: &FrameworkId) -> Vec<OfferId> {
        self.by_framework.get(id).into_iter().flatten().cloned().collect()
    }
    pub(crate) fn lent_to(&self, id: &FrameworkId) -> impl Iterator<Item = &Lent> {
        self.by_framework.get(id).into_iter().flatten().filter_map(|id| self.lent.get(id))
    }
    pub(crate) fn count_of(&self, id: &FrameworkId) -> usize {
        self.by_framework.get(id).map_or(0, BTreeSet::len)
    }
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Lent> {
        self.lent.values()
    }
    /// Whether the indexes say what the book says.
    pub(crate) fn is_consistent(&self) -> bool {
        let indexed = |index: usize| index == self.lent.len();
        indexed(self.by_agent.values().map(BTreeSet::len).sum())
            && indexed(self.by_framework.values().map(BTreeSet::len).sum())
            && self.lent.iter().all(|(id, lent)| {
                self.by_agent.get(&lent.offer.agent_id).is_some_and(|ids| ids.contains(id))
                    && self.by_framework.get(&lent.offer.framework_id).is_some_and(|ids| ids.contains(id))
            })
    }
}

fn forget<K: Ord>(index: &mut BTreeMap<K, BTreeSet<OfferId>>, key: &K, id: &OfferId) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}
