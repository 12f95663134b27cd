//! Whose turn it is on an agent, and why it is not that of those who come before.
use model::call::Capability;
use model::{AgentId, FrameworkId, Milli, Quantities, Resources, RoleName};

use crate::decision::Withheld;
use crate::framework::Framework;
use crate::limits;
use crate::master::Master;

use super::ceiling::Cut;

/// Somebody is offered something.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) role: RoleName,
    pub(crate) framework_id: FrameworkId,
    pub(crate) resources: Resources,
}

/// The answer for one agent.
#[derive(Debug)]
pub(crate) struct Round {
    /// Whose turn it is, if it is anybody's.
    pub(crate) turn: Option<Turn>,
    /// Why it is not that of those before.
    pub(crate) reasons: Vec<Reason>,
    /// Somebody might have more of this agent if something changed on others.
    pub(crate) held_back: bool,
}

/// Somebody is not.
pub(crate) type Reason = (FrameworkId, RoleName, Withheld);

/// Less of it than this helps nobody: 0.01 cpus, 32 MiB of memory.
pub(super) fn least(name: &str) -> Milli {
    match name {
        "cpus" => Milli(10),
        "mem" => Milli::units(32),
        _ => Milli(0),
    }
}

/// Worth an offer: all of one of the sets, or anything reserved (to be used, or given back).
fn is_worth_an_offer(resources: &Resources, sets: &[Quantities]) -> bool {
    let enough = |set| resources.unreserved.contains(set) || resources.revocable.contains(set);
    !resources.held.is_empty() || sets.is_empty() || sets.iter().any(enough)
}

impl Master {
    /// The first in order to whom some of this may be offered, and why it was not those before.
    pub(crate) fn find_turn(&self, agent_id: &AgentId, free: &Resources) -> Round {
        let mut round = Round { turn: None, reasons: Vec::new(), held_back: false };
        let has_gpus = self.agents[agent_id].total.sum().gpus > Milli(0);
        let shares = &self.allocator.shares;
        for role in self.roles_for(free) {
            let mut usable = free.usable_by(role);
            if usable.is_empty() {
                continue;
            }
            let cut = shares.cut(role, self.allocator.headroom.sum(), &mut usable.unreserved);
            round.held_back |= cut.is_some();
            for framework_id in shares.frameworks_in_order(role) {
                let framework = &self.frameworks[framework_id];
                let mine = acceptable(&framework.record.info.capabilities, &usable);
                if mine.as_ref().is_some_and(Resources::is_empty) {
                    continue;
                }
                let resources = mine.as_ref().unwrap_or(&usable);
                match self.withholds((framework, role), (agent_id, has_gpus), resources, cut.as_ref()) {
                    None => {
                        let resources = mine.unwrap_or(usable);
                        let turn = Turn { role: role.clone(), framework_id: framework_id.clone(), resources };
                        round.turn = Some(turn);
                        return round;
                    }
                    Some(reason) => {
                        round.held_back |= matches!(reason, Withheld::TooManyOffers { .. });
                        if round.reasons.len() < limits::WITHHELD_PER_STEP_MAX {
                            round.reasons.push((framework_id.clone(), role.clone(), reason));
                        }
                    }
                }
            }
        }
        round
    }

    /// Roles in order; those to whom something of this is promised first.
    fn roles_for<'a>(&'a self, free: &Resources) -> Box<dyn Iterator<Item = &'a RoleName> + 'a> {
        let shares = &self.allocator.shares;
        if shares.needed().is_empty() {
            return Box::new(shares.roles_in_order());
        }
        // Lazily: most often one of the first has its turn, and nobody looks at the others.
        let unreserved = free.unreserved.clone();
        let promised = move |role: &&RoleName| shares.is_promised(role, &unreserved);
        let others = promised.clone();
        Box::new(
            shares.roles_in_order().filter(promised).chain(shares.roles_in_order().filter(move |role| !others(role))),
        )
    }

    /// Why this is not offered to the framework; what lasts longest is said first.
    fn withholds(
        &self,
        (framework, role): (&Framework, &RoleName),
        (agent_id, has_gpus): (&AgentId, bool),
        offered: &Resources,
        cut: Option<&Cut>,
    ) -> Option<Withheld> {
        let agent = &self.agents[agent_id];
        let info = &framework.record.info;
        let region = &agent.facts.region;
        let is_foreign = self.config.region.as_ref().is_some_and(|own| !region.is_empty() && own != region);
        if is_foreign && !info.capabilities.contains(&Capability::RegionAware) {
            return Some(Withheld::OtherRegion { region: region.clone() });
        }
        if has_gpus && self.config.gpu_guard && !info.capabilities.contains(&Capability::GpuResources) {
            return Some(Withheld::HasGpus);
        }
        if !framework.wishes.constraints.allow(role, agent.place()) {
            return Some(Withheld::Constrained);
        }
        let own_sets = info.offer_filters.get(role);
        let is_enough = is_worth_an_offer(offered, own_sets.unwrap_or(&self.config.min_allocatable));
        if let Some(cut) = cut
            && offered.held.is_empty()
            && (!is_enough || (cut.starves && own_sets.is_none()))
        {
            return Some(cut.reason.clone());
        }
        if !is_enough {
            return Some(Withheld::BelowMinimum { free: offered.clone() });
        }
        if self.offers.count_of(framework.id()) >= limits::OFFERS_PER_FRAMEWORK_MAX {
            return Some(Withheld::TooManyOffers { limit: limits::OFFERS_PER_FRAMEWORK_MAX });
        }
        if framework.hoarding.until > self.now {
            let (until, expired) = (framework.hoarding.until, framework.hoarding.expired);
            return Some(Withheld::Hoarding { until, expired });
        }
        let until = self.allocator.filters.blocks(framework.id(), role, agent_id, offered, self.now)?;
        Some(Withheld::Filtered { until })
    }
}

/// What is left of it for one who cannot live with everything; `None`: all.
fn acceptable(capabilities: &std::collections::BTreeSet<Capability>, resources: &Resources) -> Option<Resources> {
    let mut left = None;
    if !resources.revocable.is_empty() && !capabilities.contains(&Capability::RevocableResources) {
        left = Some(Resources { revocable: Quantities::default(), ..resources.clone() });
    }
    if resources.held.keys().any(model::Holding::is_shared) && !capabilities.contains(&Capability::SharedResources) {
        left = Some(left.as_ref().unwrap_or(resources).without_shared());
    }
    left
}
