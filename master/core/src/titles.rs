//! Operators reserve, unreserve, and make, resize and destroy volumes on an agent: out of what nothing uses, taking
//! back just as many offers as needed.
use model::call::SchedulerEvent;
use model::{AgentId, Principal, Quantities, Resources};

use crate::agent::AgentState;
use crate::decision::{OfferEnd, Rejected};
use crate::event::HoldingsChange;
use crate::holdings::{self, Claimant, Ground};
use crate::master::Master;

impl Master {
    pub(crate) fn ask_change_holdings(
        &mut self,
        agent: &str,
        change: &HoldingsChange,
        principal: &Principal,
    ) -> Result<(), Rejected> {
        let id = self.find_living(agent)?;
        let found = &self.agents[&id];
        if !matches!(found.state, AgentState::Connected { .. }) {
            return Err(Rejected::AgentAway { agent_id: id });
        }
        let claimant = Claimant { role: None, principal };
        let (mut pool, mut total) = (found.unused(), found.total.clone());
        let mut ground = Ground { pool: &mut pool, total: &mut total };
        if let Err(rejected) = apply(change, &mut ground, claimant, &found.allocated) {
            let (mut all, mut total) = (found.total.clone(), found.total.clone());
            let mut ground = Ground { pool: &mut all, total: &mut total };
            let would_work = apply(change, &mut ground, claimant, &found.allocated).is_ok();
            let Rejected::TooMuch { missing } = rejected else { return Err(rejected) };
            return Err(if would_work {
                Rejected::InUse { agent_id: id, missing }
            } else {
                Rejected::AgentLacks { agent_id: id, missing }
            });
        }
        if let HoldingsChange::Reserve { wanted, .. } = change {
            for holding in wanted.held.keys() {
                self.check_limits(&holding.reservation.role, &id, &total, &Quantities::default())?;
            }
        }
        let mut changed = found.total.clone();
        changed.take_what_is_there(&total);
        self.free_up(&id, &changed);
        self.set_holdings(&id, total);
        self.mark(&id);
        Ok(())
    }

    /// Ends offers of an agent until so much of it is neither used nor lent.
    pub(crate) fn free_up(&mut self, id: &AgentId, wanted: &Resources) {
        for offer_id in self.offers.of_agent(id) {
            if self.agents[id].free().contains(wanted) {
                return;
            }
            let offer = self.offers.get(&offer_id).expect("indexed");
            if offer.resources.common(wanted).is_empty() {
                continue;
            }
            let framework_id = offer.framework_id.clone();
            self.end_offer(&offer_id, OfferEnd::Rescinded);
            self.tell_framework(&framework_id, SchedulerEvent::Rescind(offer_id));
        }
    }

    /// An agent says how much it gives away that can be taken back.
    pub(crate) fn set_revocable(&mut self, id: &AgentId, revocable: Quantities) -> Result<(), Rejected> {
        let agent = &self.agents[id];
        let now = Resources { revocable, ..agent.total.clone() };
        if !holdings::are_sane(&now) {
            return Err(Rejected::Malformed { what: "the agent reports a negative or absurd amount" });
        }
        if now == agent.total {
            return Ok(());
        }
        // What was lent of it may be less by now: its offers end, what runs on it is the agent's to end.
        for offer_id in self.offers.of_agent(id) {
            let offer = self.offers.get(&offer_id).expect("indexed");
            if !offer.resources.revocable.is_empty() {
                let framework_id = offer.framework_id.clone();
                self.end_offer(&offer_id, OfferEnd::Rescinded);
                self.tell_framework(&framework_id, SchedulerEvent::Rescind(offer_id));
            }
        }
        let agent = self.agents.get_mut(id).expect("seen above");
        let before = std::mem::replace(&mut agent.total, now);
        self.allocator.shares.change_pool(&before, &self.agents[id].total);
        self.dirty.agents.insert(id.clone());
        self.mark(id);
        Ok(())
    }
}

fn apply(
    change: &HoldingsChange,
    ground: &mut Ground<'_>,
    claimant: Claimant<'_>,
    used: &Resources,
) -> Result<(), Rejected> {
    match change {
        HoldingsChange::Reserve { wanted, source: None } => holdings::reserve(ground, wanted, claimant),
        HoldingsChange::Reserve { wanted, source: Some(source) } => {
            holdings::re_reserve(ground, source, wanted, claimant)
        }
        HoldingsChange::Unreserve(held) => holdings::unreserve(ground, held),
        HoldingsChange::Create(volumes) => holdings::create(ground, volumes, claimant),
        HoldingsChange::Destroy(volumes) => holdings::destroy(ground, volumes, used),
        HoldingsChange::Grow { volume, addition } => holdings::grow(ground, volume, addition),
        HoldingsChange::Shrink { volume, subtract } => holdings::shrink(ground, volume, *subtract),
    }
}
