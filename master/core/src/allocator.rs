//! Divides what is free: down the tree of roles the one with the smallest dominant share divided by weight first, within a
//! role among its frameworks likewise; roles whose guarantees are not met before all others. One framework gets all it may
//! use of an agent in one offer, as far as limits and guarantees of others allow; what it does not want, the next gets at
//! once.
//!
//! The cost follows what changed: only agents marked dirty are looked at, and orders are kept, not computed.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::call::Offer;
use model::{AgentId, FrameworkId, OfferId, Resources, RoleName, Timestamp};

use crate::agent::AgentState;
use crate::command::Command;
use crate::decision::Decision;
use crate::limits;
use crate::master::Master;
use crate::registry::AgentMode;
use crate::timer::Timer;
use crate::view::Delta;

pub(crate) mod ceiling;
pub(crate) mod filter;
pub(crate) mod headroom;
pub(crate) mod share;
mod turn;

use filter::Filters;
use headroom::Headroom;
use share::Shares;
use turn::{Round, Turn, least};

/// What allocation needs between steps.
#[derive(Debug, Default)]
pub(crate) struct Allocator {
    pub(crate) shares: Shares,
    pub(crate) filters: Filters,
    /// What guarantees are met from.
    pub(crate) headroom: Headroom,
    /// Agents with something free that somebody might want.
    pub(crate) dirty: BTreeSet<AgentId>,
    /// Every agent with something free is dirty: nothing was looked at since.
    all_dirty: bool,
    /// Agents of which something was held back though it is free: by a limit, for a guarantee, or as a framework has too
    /// many offers. What relieves that happens elsewhere.
    held_back: BTreeSet<AgentId>,
    /// Before then they are not looked at again, however much is given back: there may be many.
    next_relief: Timestamp,
    /// The timer that is set for the first end of a filter.
    filters_end: Option<Timestamp>,
    /// Where the last step ended, so that no agent is always first.
    cursor: Option<AgentId>,
    /// The shell was asked for an allocation and has not come yet.
    scheduled: bool,
}

impl Allocator {
    /// Begins with some agent, not always the first: several masters in a row must not favour the same one.
    pub(crate) fn start_at(&mut self, agents: &BTreeMap<AgentId, crate::agent::Agent>, seed: u64) {
        let count = u64::try_from(agents.len()).expect("a count fits 64 bits").max(1);
        let index = usize::try_from(seed % count).expect("smaller than a count");
        self.cursor = agents.keys().nth(index).cloned();
    }
}

impl Master {
    /// Something of this agent may have become free, or wanted.
    pub(crate) fn mark(&mut self, agent_id: &AgentId) {
        self.allocator.dirty.insert(agent_id.clone());
        self.schedule_allocation();
    }
    /// Somebody may want what others did not.
    pub(crate) fn mark_all(&mut self) {
        if !std::mem::replace(&mut self.allocator.all_dirty, true) {
            let Allocator { dirty, headroom, .. } = &mut self.allocator;
            dirty.extend(headroom.agents().cloned());
        }
        if !self.allocator.dirty.is_empty() {
            self.schedule_allocation();
        }
    }
    pub(crate) fn schedule_allocation(&mut self) {
        if !self.allocator.scheduled {
            self.allocator.scheduled = true;
            self.wants_allocation = true;
        }
    }

    /// Somebody has given something back, or somebody's guarantee is met: what was held back elsewhere may be for somebody
    /// now. At most every [`limits::RELIEF_EVERY`], as all such agents are looked at.
    pub(crate) fn relieve(&mut self) {
        if !self.allocator.shares.take_relieved() || self.allocator.held_back.is_empty() {
            return;
        }
        if self.now >= self.allocator.next_relief {
            self.relief_due();
        } else {
            self.timers.set(self.allocator.next_relief, Timer::Relief);
        }
    }
    pub(crate) fn relief_due(&mut self) {
        self.allocator.next_relief = self.now + limits::RELIEF_EVERY;
        let mut held_back = std::mem::take(&mut self.allocator.held_back);
        self.allocator.dirty.append(&mut held_back);
        if !self.allocator.dirty.is_empty() {
            self.schedule_allocation();
        }
    }

    /// One timer for all filters: the first end.
    pub(crate) fn wait_for_filters(&mut self) {
        let next = self.allocator.filters.next_end();
        let before = std::mem::replace(&mut self.allocator.filters_end, next);
        if before != next {
            if let Some(at) = before {
                self.timers.unset(at, Timer::Filters);
            }
            if let Some(at) = next {
                self.timers.set(at, Timer::Filters);
            }
        }
    }
    pub(crate) fn filters_ended(&mut self) {
        self.allocator.filters_end = None;
        for _ in 0..limits::TIMERS_PER_STEP {
            let Some(agent_id) = self.allocator.filters.expire(self.now) else { return };
            self.mark(&agent_id);
        }
    }

    /// One bounded step of allocation.
    pub(crate) fn allocate(&mut self) {
        self.allocator.scheduled = false;
        self.allocator.shares.freshen();
        let mut granted: BTreeMap<FrameworkId, Vec<Arc<Offer>>> = BTreeMap::new();
        let mut withheld = 0;
        for agent_id in self.next_dirty() {
            self.allocate_agent(&agent_id, &mut granted, &mut withheld);
        }
        for (framework_id, offers) in granted {
            self.tell_framework(&framework_id, model::call::SchedulerEvent::Offers(offers));
        }
        self.tell_peers();
        if !self.allocator.dirty.is_empty() || !self.peers_due.is_empty() {
            self.schedule_allocation();
        }
    }

    fn next_dirty(&mut self) -> Vec<AgentId> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.allocator.all_dirty = false;
        let from = self.allocator.cursor.clone().map_or(Unbounded, Excluded);
        let behind = self.allocator.dirty.range((from, Unbounded));
        let chosen: Vec<AgentId> =
            behind.chain(&self.allocator.dirty).take(limits::AGENTS_PER_ALLOCATION).cloned().collect();
        // `chain` may name an agent twice when few are dirty: the second removal finds nothing.
        let chosen: Vec<AgentId> = chosen.into_iter().filter(|id| self.allocator.dirty.remove(id)).collect();
        self.allocator.cursor = chosen.last().cloned();
        chosen
    }

    fn allocate_agent(
        &mut self,
        agent_id: &AgentId,
        granted: &mut BTreeMap<FrameworkId, Vec<Arc<Offer>>>,
        withheld: &mut usize,
    ) {
        let Some(agent) = self.agents.get(agent_id) else { return };
        if !matches!(agent.state, AgentState::Connected { .. }) || agent.record.mode != AgentMode::Active {
            return;
        }
        let mut free = agent.free();
        while !free.is_empty() {
            let Round { turn, reasons, held_back } = self.find_turn(agent_id, &free);
            if held_back {
                self.allocator.held_back.insert(agent_id.clone());
            }
            let Some(Turn { role, framework_id, resources }) = turn else {
                // Only the last round's reasons stand: what was withheld from somebody was offered to nobody.
                for (framework_id, role, reason) in reasons {
                    if *withheld < limits::WITHHELD_PER_STEP_MAX {
                        *withheld += 1;
                        self.decided(Decision::Withheld { framework_id, role, agent_id: agent_id.clone(), reason });
                    }
                }
                return;
            };
            free.take(&resources).expect("what is offered is part of what is free");
            let offer = self.grant(agent_id, framework_id.clone(), role, resources);
            granted.entry(framework_id).or_default().push(offer);
        }
    }

    fn grant(
        &mut self,
        agent_id: &AgentId,
        framework_id: FrameworkId,
        role: RoleName,
        resources: Resources,
    ) -> Arc<Offer> {
        self.offer_number += 1;
        let id = format!("{}-{}-O{}", self.pool.master_id, self.pool.epoch, self.offer_number);
        let id = OfferId::new(id).expect("made of a master id and numbers");
        let agent = self.agents.get_mut(agent_id).expect("the caller has it");
        agent.offered.add(&resources);
        let offer = Arc::new(Offer {
            id: id.clone(),
            framework_id: framework_id.clone(),
            role: role.clone(),
            agent_id: agent_id.clone(),
            agent_name: agent.record.name.clone(),
            address: agent.record.address.clone(),
            resources,
            attributes: agent.facts.attributes.clone(),
            region: agent.facts.region.clone(),
            zone: agent.facts.zone.clone(),
            pod_subnet: agent.record.pod_subnet.clone(),
            unavailability: agent.record.maintenance,
        });
        self.allocator.shares.grant(&role, &framework_id, &offer.resources);
        let expires = self.config.offer_timeout.map(|timeout| self.now + timeout);
        if let Some(at) = expires {
            self.timers.set(at, Timer::Offer(id.clone()));
        }
        self.offers.lend(Arc::clone(&offer), expires);
        // Those who come next in this step must see what is left, if anything is kept for anybody.
        if !self.allocator.shares.needed().is_empty() {
            self.note_headroom(agent_id);
        }
        self.dirty.lent.insert(agent_id.clone());
        self.dirty.borrowers.insert(framework_id);
        self.outbox.push(Command::Changed(Delta::OfferAdded(Arc::clone(&offer))));
        self.decided(Decision::Granted(Arc::clone(&offer)));
        offer
    }
}
