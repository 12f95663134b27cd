//! What becomes of offers: reservations nobody needs are given back, waiting units are placed where they fit best, the
//! rest is declined; and whether offers are wanted at all.
use std::collections::{BTreeMap, BTreeSet};

use model::call::{Offer, Operation};
use model::{AgentId, ExecutorId, Ranges, Refusal, Resources, TaskId, TaskState, Timestamp};

use crate::drain::is_due;
use crate::evaluate::{self, AgentOffer, Fit, LABEL_FRAMEWORK, LABEL_UNIT, Need, Neighbour, Reason, verdict};
use crate::event::{Command, Launch, PodLaunch};
use crate::limits;
use crate::mutation::{Mutation, mutated};
use crate::record::{Intent, TaskRecord, UnitKey, Write};
use crate::scheduler::Scheduler;
use crate::spec::{PodSpec, PortKind, ServiceSpec};
use crate::view::Placement;

impl Scheduler {
    pub(crate) fn take_offers(&mut self, now: Timestamp, offers: Vec<Offer>) {
        let mut by_agent: BTreeMap<AgentId, AgentOffer> = BTreeMap::new();
        // Where maintenance is near nothing new begins; what is held there may still be given back.
        let mut left: BTreeSet<AgentId> = BTreeSet::new();
        for offer in offers {
            if offer.unavailability.is_some_and(|unavailability| is_due(now, unavailability)) {
                left.insert(offer.agent_id.clone());
            }
            if offer.unavailability.is_none() {
                // Whoever offers without a word of leaving is not to be left.
                self.draining.remove(&offer.agent_id);
            }
            let merged = by_agent.entry(offer.agent_id.clone()).or_insert_with(|| AgentOffer {
                offers: Vec::new(),
                agent: Placement {
                    agent_id: offer.agent_id,
                    agent_name: offer.agent_name,
                    address: offer.address,
                    pod_subnet: offer.pod_subnet,
                    region: offer.region,
                    zone: offer.zone,
                    attributes: offer.attributes,
                    ports: BTreeMap::new(),
                },
                resources: Resources::default(),
            });
            merged.offers.push(offer.id);
            merged.resources.add(&offer.resources);
        }
        for offer in by_agent.values() {
            if self.agents.len() < limits::AGENTS_REMEMBERED_MAX || self.agents.contains_key(&offer.agent.agent_id) {
                self.agents.insert(offer.agent.agent_id.clone(), offer.agent.clone());
            }
        }
        for offer in by_agent.values() {
            // Whoever offers is not away.
            self.away.returned(&offer.agent.agent_id);
            self.forget_what_is_not_there(offer);
        }
        by_agent.retain(|_, offer| !self.release_from(offer));
        let (mut usable, leaving): (BTreeMap<_, _>, BTreeMap<_, _>) =
            by_agent.into_iter().partition(|(agent_id, _)| !left.contains(agent_id));
        let placed = self.place(&mut usable);
        let is_waiting = self.needs.len() > placed.values().map(Vec::len).sum();
        let refuse = if is_waiting { limits::REFUSE_WAITING } else { limits::REFUSE_IDLE };
        let mut declined = Vec::new();
        for (agent_id, offer) in usable.into_iter().chain(leaving) {
            match placed.get(&agent_id) {
                Some(pods) => self.launch(now, offer.offers, pods),
                None => declined.extend(offer.offers),
            }
        }
        if !declined.is_empty() {
            self.effects.push(Command::Decline { offers: declined, refuse });
        }
    }

    /// Chooses an agent for each need, the one with the fewest instances of the pod first.
    fn place(&mut self, by_agent: &mut BTreeMap<AgentId, AgentOffer>) -> BTreeMap<AgentId, Vec<(Need, Fit)>> {
        let mut placed: BTreeMap<AgentId, Vec<(Need, Fit)>> = BTreeMap::new();
        let mut neighbours = self.neighbours();
        for mut need in self.needs.clone() {
            need.common_ports = self.common_ports(&need, by_agent);
            let is_suspect = self.units.get(&need.unit).is_some_and(|unit| unit.failures > 0);
            let mut order: Vec<AgentId> = by_agent.keys().cloned().collect();
            order.sort_by_key(|id| {
                neighbours
                    .iter()
                    .filter(|n| n.instance.pod == need.unit.instance.pod && n.placement.agent_id == *id)
                    .count()
            });
            for agent_id in order {
                // What failed before is launched alone, so that it cannot take others with it.
                let beside = placed.get(&agent_id).map_or(0, Vec::len);
                if beside >= limits::LAUNCHES_PER_ACCEPT_MAX || (is_suspect && beside > 0) {
                    continue;
                }
                let offer = by_agent.get_mut(&agent_id).expect("the order is made of the keys");
                let (verdict, fit) = evaluate::evaluate(&need, offer, &self.owner, &neighbours);
                self.remember(&need.unit, &verdict);
                let Some(fit) = fit else { continue };
                offer.resources = fit.left.clone();
                neighbours.push(Neighbour { instance: need.unit.instance.clone(), placement: fit.placement.clone() });
                placed.entry(agent_id).or_default().push((need, fit));
                break;
            }
        }
        placed
    }

    /// Numbers that as many of the agents as possible have free, if a port of the pod is to have one number everywhere.
    fn common_ports(&self, need: &Need, by_agent: &BTreeMap<AgentId, AgentOffer>) -> Ranges {
        let mut common = Ranges::empty();
        if !need.spec.tasks.iter().flat_map(|task| &task.ports).any(|port| port.kind == PortKind::Shared) {
            return common;
        }
        for offer in by_agent.values() {
            let free = offer.resources.usable_by(&self.owner.role).unreserved.ports;
            let both = if common.is_empty() { free } else { common.intersection(&free) };
            if !both.is_empty() {
                common = both;
            }
        }
        // Other pods need numbers of their own choice, and may come to these agents later.
        let pods = self.target.iter().flat_map(|target| &target.pods);
        let ports = pods.flat_map(|pod| &pod.tasks).flat_map(|task| &task.ports);
        let taken: Ranges = ports.filter_map(|port| port.kind.fixed()).collect();
        let left = common.difference(&taken);
        if left.is_empty() { common } else { left }
    }

    fn remember(&mut self, unit: &UnitKey, verdict: &evaluate::Verdict) {
        let obstacles = self.obstacles.entry(unit.clone()).or_default();
        match &verdict.reason {
            Some(reason) => obstacles.insert(verdict.agent.clone(), reason.clone()),
            None => obstacles.remove(&verdict.agent),
        };
        if self.verdicts.len() >= limits::VERDICTS_MAX {
            self.verdicts.pop_front();
        }
        self.verdicts.push_back(verdict.clone());
    }

    fn launch(&mut self, now: Timestamp, offers: Vec<model::OfferId>, placed: &[(Need, Fit)]) {
        let mut pods = Vec::new();
        let mut units = Vec::new();
        self.meta.launches += 1;
        let launch = self.meta.launches;
        for (need, fit) in placed {
            let executor_id = ExecutorId::new(format!("{}.{launch}", need.unit)).expect("names are short and plain");
            let unit = self.units.entry(need.unit.clone()).or_default();
            for task in unit.tasks.values() {
                self.tasks.remove(&task.task_id);
            }
            let mut tasks = Vec::new();
            unit.tasks.clear();
            for (name, resources) in &fit.tasks {
                let task_id =
                    TaskId::new(format!("{}.{name}.{launch}", need.unit.instance)).expect("names are short and plain");
                unit.tasks.insert(
                    name.clone(),
                    TaskRecord {
                        task_id: task_id.clone(),
                        state: TaskState::Staging,
                        message: String::new(),
                        ready: None,
                        healthy: None,
                        launched_at: now,
                        running_at: None,
                        ended_at: None,
                        unreachable_since: None,
                    },
                );
                self.tasks.insert(task_id.clone(), (need.unit.clone(), name.clone()));
                tasks.push((name.clone(), task_id, resources.clone()));
            }
            if !unit.spec.as_ref().is_some_and(|before| before.runs_as(&need.spec)) {
                unit.ends = 0;
            }
            unit.tried_since = unit.tried_since.or(Some(now));
            unit.spec = Some(need.spec.clone());
            unit.placement = Some(fit.placement.clone());
            unit.executor_id = Some(executor_id.clone());
            unit.reserved_on = fit.is_reserved.then(|| fit.placement.agent_id.clone());
            unit.is_reserving = fit.is_reserved && !fit.before.is_empty();
            if fit.is_reserved {
                // What it left there, it has again.
                let entry = (fit.placement.agent_id.clone(), need.unit.to_string());
                self.dirty.meta |= self.meta.releases.remove(&entry);
            }
            unit.intent = Intent::Run;
            unit.ready_since = None;
            unit.retry_at = None;
            self.obstacles.remove(&need.unit);
            units.push(need.unit.clone());
            pods.push(PodLaunch {
                unit: need.unit.clone(),
                spec: need.spec.clone(),
                placement: fit.placement.clone(),
                executor_id,
                executor_resources: fit.executor.clone(),
                tasks,
                before: fit.before.clone(),
            });
        }
        self.launching.insert(launch, units);
        // It leaves when it is rendered. Something else may wait for offers by then, and have asked for them before.
        let refuse = limits::REFUSE_WAITING;
        self.effects.push(Command::Launch(Box::new(Launch { launch, offers, pods, refuse })));
    }

    /// What is to be stored with a launch, as it is when the launch leaves: other things may have been decided and stored
    /// while it was rendered, and must not be overwritten with what was true before.
    pub fn launch_writes(&self, launch: &Launch) -> Vec<Write> {
        if mutated(Mutation::LaunchesUnwritten) {
            return Vec::new();
        }
        let unit = |pod: &PodLaunch| Write::Unit(pod.unit.clone(), self.units.get(&pod.unit).cloned().map(Box::new));
        std::iter::once(Write::Meta(self.meta.clone())).chain(launch.pods.iter().map(unit)).collect()
    }

    /// What an agent offers nothing of has been given back, or was lost with the agent's disk.
    fn forget_what_is_not_there(&mut self, offer: &AgentOffer) {
        let agent = &offer.agent.agent_id;
        let held: BTreeSet<&String> =
            offer.resources.held.keys().filter_map(|holding| holding.reservation.labels.get(LABEL_UNIT)).collect();
        let before = self.meta.releases.len();
        let releasing = &self.releasing;
        self.meta.releases.retain(|entry| entry.0 != *agent || held.contains(&entry.1) || releasing.contains(entry));
        self.dirty.meta |= self.meta.releases.len() < before;
    }

    /// Gives back what is held for units that do not hold it any more. True if the offer was used for it.
    fn release_from(&mut self, offer: &AgentOffer) -> bool {
        let mut volumes = Resources::default();
        let mut reserved = Resources::default();
        let mut released = Vec::new();
        for (holding, quantities) in &offer.resources.held {
            let labels = &holding.reservation.labels;
            if labels.get(LABEL_FRAMEWORK) != Some(&self.owner.framework)
                || holding.reservation.principal != self.owner.principal
            {
                continue;
            }
            let Some(unit) = labels.get(LABEL_UNIT) else { continue };
            let holder = self.units.iter().find(|(key, _)| key.to_string() == *unit);
            if holder.is_some_and(|(_, record)| record.reserved_on.as_ref() == Some(&offer.agent.agent_id)) {
                continue;
            }
            let held = Resources::held_as(holding.clone(), quantities.clone());
            if holding.volume.is_some() {
                volumes.add(&held);
                let bare = model::Holding { reservation: holding.reservation.clone(), volume: None };
                reserved.add(&Resources::held_as(bare, quantities.clone()));
            } else {
                reserved.add(&held);
            }
            let entry = (offer.agent.agent_id.clone(), unit.clone());
            if !released.contains(&entry) {
                released.push(entry);
            }
        }
        if released.is_empty() || mutated(Mutation::KeepsReservations) {
            return false;
        }
        let mut operations = Vec::new();
        if !volumes.is_empty() {
            operations.push(Operation::Destroy(volumes));
        }
        operations.push(Operation::Unreserve(reserved));
        self.releasing.extend(released.iter().cloned());
        self.effects.push(Command::Release {
            offers: offer.offers.clone(),
            operations,
            released,
            // What was released is to come back at once.
            refuse: model::Span(0),
        });
        true
    }

    pub(crate) fn released(&mut self, released: Vec<(AgentId, String)>, refusal: Option<&Refusal>) {
        for entry in released {
            self.releasing.remove(&entry);
            if refusal.is_none() && self.meta.releases.remove(&entry) {
                self.dirty.meta = true;
            }
        }
    }

    /// Instances that have their place: they run, may run, or keep data there.
    pub(crate) fn neighbours(&self) -> Vec<Neighbour> {
        self.units
            .iter()
            .filter(|(_, unit)| unit.executor_id.is_some() && !unit.is_over() || unit.reserved_on.is_some())
            .filter_map(|(key, unit)| {
                Some(Neighbour { instance: key.instance.clone(), placement: unit.placement.clone()? })
            })
            .collect()
    }

    pub(crate) fn advance_offers_wanted(&mut self) {
        let keys: BTreeSet<UnitKey> = self.needs.iter().map(|need| need.unit.clone()).collect();
        let wants = !keys.is_empty() || !self.meta.releases.is_empty();
        let has_released = !self.meta.releases.is_subset(&self.releases_announced);
        self.advance_gpus();
        // What is to be given back may have been declined, an hour long, by the unit that held it then.
        let has_news = !keys.is_subset(&self.needs_announced) || has_released;
        if wants && (self.wants_offers != Some(true) || has_news) {
            self.effects.push(Command::Revive);
        } else if !wants && self.wants_offers != Some(false) {
            self.effects.push(Command::Suppress);
        }
        self.wants_offers = Some(wants);
        self.needs_announced = keys;
        self.releases_announced.clone_from(&self.meta.releases);
        self.obstacles.retain(|key, _| self.needs_announced.contains(key));
    }

    /// Says once per session that gpus are wanted, by the target or by what was launched from an earlier one.
    fn advance_gpus(&mut self) {
        if self.declared_gpus {
            return;
        }
        let of_units = || self.units.values().filter_map(|unit| unit.spec.as_ref()).any(PodSpec::wants_gpus);
        if self.target.as_ref().is_some_and(ServiceSpec::wants_gpus) || of_units() {
            self.declared_gpus = true;
            self.effects.push(Command::DeclareGpus { is_suppressed: self.wants_offers == Some(false) });
        }
    }

    /// What stands in the way of a need, in words.
    pub(crate) fn obstacle(&self, need: &Need) -> String {
        let mut wanted = need.spec.quantities();
        if !need.unit.part.is_empty() {
            wanted =
                model::Quantities { cpus: need.spec.executor_cpus, mem: need.spec.executor_mem, ..Default::default() };
            for task in need.unit.tasks(&need.spec) {
                wanted.add(&task.quantities());
            }
        }
        let neighbours = self.neighbours();
        let met = self.obstacles.get(&need.unit);
        let mut agents = BTreeMap::new();
        for agent in self.agents.values() {
            let reason = met
                .and_then(|met| met.get(&agent.agent_name).cloned())
                .or_else(|| evaluate::placement_reason(need, agent, &neighbours))
                .unwrap_or(Reason::NoOffer);
            agents.insert(agent.agent_name.clone(), reason);
        }
        verdict::summary(&need.unit, &verdict::amounts(&wanted), &agents)
    }
}
