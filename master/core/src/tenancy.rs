//! Quotas as operators set them, and what follows: offers that a new limit or guarantee does not allow are taken back.
//! What quotas count and allow: `allocator/ceiling.rs`.
use std::collections::{BTreeMap, BTreeSet};

use model::call::SchedulerEvent;
use model::{AgentId, Milli, OfferId, Quantities, Resources, RoleName};

use crate::agent::{Agent, AgentState};
use crate::decision::{OfferEnd, Rejected};
use crate::limits;
use crate::master::Master;
use crate::quota::{Ceiling, Quota, amount};
use crate::registry::{AgentMode, Record};
use crate::totals::{Totals, counted};

/// The largest amount of a quota: a million million units.
const AMOUNT_MAX: i64 = 1_000_000_000_000_000;

/// What of an agent guarantees can be met from: what is free and unreserved, if it can be offered.
/// `None`: nothing is free, or nothing of it is to be offered.
pub(crate) fn headroom_of(agent: &Agent, free: &Resources) -> Option<Totals> {
    if !matches!(agent.state, AgentState::Connected { .. }) || agent.record.mode != AgentMode::Active {
        return None;
    }
    (!free.is_empty()).then(|| {
        let mut unreserved = Totals::default();
        unreserved.add_quantities(&free.unreserved);
        unreserved
    })
}

/// What all guarantees together come to: of a role, its own or those below it, whichever is more.
fn promised(quotas: &BTreeMap<&RoleName, &Quota>) -> BTreeMap<String, i64> {
    let mut names: BTreeSet<RoleName> = BTreeSet::new();
    for role in quotas.keys() {
        names.extend(std::iter::successors(Some((*role).clone()), RoleName::parent));
    }
    let mut below: BTreeMap<Option<RoleName>, BTreeMap<String, i64>> = BTreeMap::new();
    // Backwards, roles come before those above them.
    for role in names.iter().rev() {
        let mut promised = below.remove(&Some(role.clone())).unwrap_or_default();
        for (name, amount) in quotas.get(role).into_iter().flat_map(|quota| &quota.guarantees) {
            let most = promised.entry(name.clone()).or_default();
            *most = amount.0.max(*most);
        }
        let above = below.entry(role.parent()).or_default();
        for (name, amount) in promised {
            *above.entry(name).or_default() += amount;
        }
    }
    below.remove(&None).unwrap_or_default()
}

impl Master {
    pub(crate) fn ask_quotas(&mut self, quotas: Vec<(RoleName, Quota)>, force: bool) -> Result<(), Rejected> {
        self.check_quotas(&quotas)?;
        if !force {
            self.check_use(&quotas)?;
            self.check_promises(&quotas)?;
        }
        for (role, quota) in quotas {
            self.allocator.shares.set_quota(&role, quota.clone());
            self.dirty.roles.insert(role.clone());
            self.outbox.persist(Record::Quota { role, quota });
        }
        self.settle_limits();
        self.settle_guarantees();
        self.mark_all();
        Ok(())
    }

    /// Whether each of them makes sense by itself.
    fn check_quotas(&self, quotas: &[(RoleName, Quota)]) -> Result<(), Rejected> {
        let names: BTreeSet<&RoleName> = quotas.iter().map(|(role, _)| role).collect();
        let before = self.allocator.shares.quotas().filter(|(role, _)| !names.contains(role)).count();
        for (what, count, limit) in [
            ("quotas at once", quotas.len(), limits::QUOTAS_PER_REQUEST_MAX),
            ("roles with a quota", before + quotas.len(), limits::QUOTAS_MAX),
        ] {
            if count > limit {
                return Err(Rejected::TooMany { what, count, limit });
            }
        }
        for (i, (role, quota)) in quotas.iter().enumerate() {
            let bad = |why: String| Err(Rejected::BadQuota { role: role.clone(), why });
            if quotas[..i].iter().any(|(earlier, _)| earlier == role) {
                return bad("is given twice".to_owned());
            }
            for (name, milli) in quota.guarantees.iter().chain(&quota.limits) {
                if name.is_empty() || name.len() > 64 || name == "ports" {
                    return bad(format!("names '{name}', which is no scalar"));
                }
                if !(0..=AMOUNT_MAX).contains(&milli.0) {
                    return bad(format!("has {}, which is negative or absurd", amount(name, *milli)));
                }
            }
            if quota.guarantees.len().max(quota.limits.len()) > limits::SCALARS_PER_QUOTA_MAX {
                return bad(format!("has more than {} scalars", limits::SCALARS_PER_QUOTA_MAX));
            }
            let over = |(name, guarantee): (&String, &Milli)| {
                let limit = quota.limits.get(name).filter(|limit| guarantee > limit)?;
                Some(format!("guarantees {}, above its limit of {limit}", amount(name, *guarantee)))
            };
            if let Some(why) = quota.guarantees.iter().find_map(over) {
                return bad(why);
            }
        }
        Ok(())
    }

    /// No limit is below what is used and reserved. What is only lent can be taken back.
    fn check_use(&self, quotas: &[(RoleName, Quota)]) -> Result<(), Rejected> {
        for (role, quota) in quotas.iter().filter(|(_, quota)| !quota.limits.is_empty()) {
            let Some(counted) = self.allocator.shares.counted(role) else { continue };
            let mut lent = Totals::default();
            for offer in self.offers.iter().map(|lent| &lent.offer).filter(|offer| offer.role.is_within(role)) {
                lent.add_quantities(&offer.resources.unreserved);
            }
            for (name, limit) in &quota.limits {
                let used = Milli(counted.get(name) - lent.get(name));
                if used > *limit {
                    let ceiling = Ceiling { role: role.clone(), name: name.clone(), limit: *limit, used };
                    return Err(Rejected::QuotaBelowUse { ceiling });
                }
            }
        }
        Ok(())
    }

    /// All guarantees together are no more than the pool has, and none is above a limit on its path. What an operator
    /// insisted on before stands in nobody's way who does not make it worse.
    fn check_promises(&self, quotas: &[(RoleName, Quota)]) -> Result<(), Rejected> {
        let before: BTreeMap<&RoleName, &Quota> = self.allocator.shares.quotas().collect();
        let mut all = before.clone();
        all.extend(quotas.iter().map(|(role, quota)| (role, quota)));
        let is_new = |role: &RoleName| quotas.iter().any(|(changed, _)| changed == role);
        for (role, quota) in &all {
            for above in std::iter::successors(role.parent(), RoleName::parent) {
                let Some(limits) = all.get(&above).map(|quota| &quota.limits) else { continue };
                let over = |name: &String, milli: &Milli| limits.get(name).is_some_and(|limit| milli > limit);
                if let Some((name, milli)) = quota.guarantees.iter().find(|(name, milli)| over(name, milli))
                    && (is_new(role) || is_new(&above))
                {
                    let why = format!("guarantees {}, above the limit of role {above}", amount(name, *milli));
                    return Err(Rejected::BadQuota { role: (*role).clone(), why });
                }
            }
        }
        let already = promised(&before);
        for (name, guaranteed) in promised(&all) {
            let total = self.allocator.shares.pool().get(&name);
            if guaranteed > total && already.get(&name).is_none_or(|before| guaranteed > *before) {
                let (guaranteed, total) = (amount(&name, Milli(guaranteed)), amount(&name, Milli(total)));
                return Err(Rejected::QuotaAbovePool { guaranteed, total });
            }
        }
        Ok(())
    }

    /// Takes offers back that limits do not allow any more, just as many as needed; what runs above a limit is tolerated.
    pub(crate) fn settle_limits(&mut self) {
        if !self.allocator.shares.has_limits() {
            return;
        }
        for ceiling in self.allocator.shares.breached() {
            let Ceiling { role, name, limit, .. } = ceiling;
            for offer_id in self.newest_offers(&name, |offered| offered.is_within(&role)) {
                let used = self.allocator.shares.counted(&role).map_or(0, |counted| counted.get(&name));
                if used <= limit.0 {
                    break;
                }
                self.take_back(&offer_id);
            }
        }
        self.allocator.shares.tolerate();
    }

    /// Takes offers back until what is free is enough for what guarantees still need.
    fn settle_guarantees(&mut self) {
        let needed = self.allocator.shares.needed().clone();
        for name in needed.keys() {
            let shares = &self.allocator.shares;
            for offer_id in self.newest_offers(name, |offered| !shares.is_guaranteed(offered, name)) {
                let still = self.allocator.shares.needed().get(name).copied().unwrap_or(0);
                if self.allocator.headroom.sum().get(name) >= still {
                    break;
                }
                self.take_back(&offer_id);
            }
        }
    }

    /// Offers with some of a scalar unreserved, to certain roles, the newest first: who has one for long may be about to
    /// use it.
    fn newest_offers(&self, name: &str, is_wanted: impl Fn(&RoleName) -> bool) -> Vec<OfferId> {
        let offers = self.offers.iter().map(|lent| &lent.offer);
        let wanted = offers.filter(|o| counted(&o.resources.unreserved, name).0 > 0 && is_wanted(&o.role));
        let mut ids: Vec<(usize, OfferId)> = wanted.map(|offer| (offer.id.as_str().len(), offer.id.clone())).collect();
        ids.sort();
        ids.into_iter().rev().map(|(_, id)| id).collect()
    }

    fn take_back(&mut self, offer_id: &OfferId) {
        if let Some(offer) = self.end_offer(offer_id, OfferEnd::Rescinded) {
            self.note_headroom(&offer.agent_id);
            self.tell_framework(&offer.framework_id, SchedulerEvent::Rescind(offer_id.clone()));
        }
    }

    /// An agent has more or less that is free.
    pub(crate) fn note_headroom(&mut self, agent_id: &AgentId) {
        let free = self.agents.get(agent_id).and_then(|agent| headroom_of(agent, &agent.free()));
        self.allocator.headroom.set(agent_id, free);
    }

    /// Whether a role may have so much more unreserved, and an agent's titles may become these.
    pub(crate) fn check_limits(
        &self,
        role: &RoleName,
        agent_id: &AgentId,
        total: &Resources,
        unreserved: &Quantities,
    ) -> Result<(), Rejected> {
        match self.allocator.shares.exceeded(role, (&self.agents[agent_id].total, total), unreserved) {
            Some(ceiling) => Err(Rejected::OverLimit { ceiling }),
            None => Ok(()),
        }
    }
}
