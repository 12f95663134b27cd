//! Agents that are to be emptied: their instances go elsewhere one after the other, in the reverse order of the pods,
//! so that what others depend on moves last. An instance with a decommission is taken away by it and comes up again
//! elsewhere by the deploy plan; others end and are launched again by recovery. Data does not move: what keeps some on
//! the agent stays until the master ends it, and waits there for the agent's return.
use model::call::{InverseOffer, Unavailability};
use model::{AgentId, Timestamp};

use crate::event::Command;
use crate::limits;
use crate::plan::Status;
use crate::record::{DecommissionRecord, Intent, Stage, UnitKey};
use crate::scheduler::Scheduler;
use crate::spec::{InstanceName, PodSpec, RECOVERY, ServiceSpec};

/// Whether nothing may be begun any more on an agent that is unavailable then.
pub(crate) fn is_due(now: Timestamp, unavailability: Unavailability) -> bool {
    unavailability.start <= now + limits::LEAVE_BEFORE
}

impl Scheduler {
    pub(crate) fn inverse_offered(&mut self, offers: Vec<InverseOffer>) {
        for offer in offers {
            let is_known = self.draining.contains_key(&offer.agent_id);
            if is_known || self.draining.len() < limits::AGENTS_REMEMBERED_MAX {
                self.answer(&offer);
                self.draining.insert(offer.agent_id.clone(), offer);
            }
        }
    }

    /// Whether an agent will have been left in time, as far as that can be said: data does not move.
    fn answer(&mut self, offer: &InverseOffer) {
        let is_bound = self.units.values().any(|unit| {
            let is_there = unit.placement.as_ref().is_some_and(|placement| placement.agent_id == offer.agent_id);
            is_there && unit.executor_id.is_some() && !unit.is_over() && unit.reserved_on.is_some()
        });
        self.effects.push(Command::AnswerInverseOffers { offers: vec![offer.id.clone()], accepted: !is_bound });
    }

    /// Whether an agent is to be left by now: one that is drained at once, one that is maintained shortly before.
    pub(crate) fn is_left(&self, now: Timestamp, agent: &AgentId) -> bool {
        self.draining.get(agent).is_some_and(|offer| offer.is_drain || is_due(now, offer.unavailability))
    }

    pub(crate) fn advance_drains(&mut self, now: Timestamp) {
        if self.draining.is_empty() {
            return;
        }
        let Some(target) = self.target.clone() else { return };
        let drains: Vec<InverseOffer> = self.draining.values().cloned().collect();
        for drain in drains {
            if self.is_left(now, &drain.agent_id) {
                self.advance_drain(now, &drain, &target);
            } else {
                self.wake_by(drain.unavailability.start.before(limits::LEAVE_BEFORE));
            }
        }
    }

    fn advance_drain(&mut self, now: Timestamp, drain: &InverseOffer, target: &ServiceSpec) {
        let is_there = |key: &UnitKey| {
            let placement = self.units[key].placement.as_ref();
            placement.is_some_and(|placement| placement.agent_id == drain.agent_id)
        };
        let there: Vec<UnitKey> = self
            .units
            .iter()
            .filter(|(key, unit)| unit.executor_id.is_some() && !unit.is_over() && is_there(key))
            .map(|(key, _)| key.clone())
            .collect();
        let is_moving =
            |key: &UnitKey| self.decommissions.contains_key(&key.instance) || self.units[key].intent != Intent::Run;
        let mut turn: Option<&PodSpec> = None;
        let mut waiting = Vec::new();
        for pod in target.pods.iter().rev() {
            let of_pod: Vec<&UnitKey> = there.iter().filter(|key| key.instance.pod == pod.name).collect();
            let (bound, free): (Vec<&UnitKey>, Vec<&UnitKey>) = of_pod
                .into_iter()
                .filter(|key| pod.indices().any(|index| index == key.instance.index))
                .partition(|key| self.units[*key].reserved_on.is_some());
            let words = "its agent is to be left; its data keeps it there, and it waits for the agent to be back";
            waiting.extend(bound.into_iter().map(|key| (key.clone(), words.to_owned())));
            match turn {
                None if !free.is_empty() => turn = Some(pod),
                Some(first) => waiting.extend(free.into_iter().map(|key| {
                    (key.clone(), format!("its agent is to be left; waits for {} to have left it", first.name))
                })),
                None => {}
            }
        }
        let next = turn.and_then(|pod| {
            let of_pod: Vec<&UnitKey> = there.iter().filter(|key| key.instance.pod == pod.name).collect();
            if of_pod.iter().any(|key| is_moving(key)) {
                return None;
            }
            let next = of_pod.into_iter().find(|key| self.units[*key].reserved_on.is_none())?;
            match self.unwhole_sibling(pod, &next.instance) {
                Some(other) => {
                    waiting.push((next.clone(), format!("its agent is to be left; waits for {other} to be ready")));
                    None
                }
                None => Some((next.instance.clone(), pod)),
            }
        });
        for (key, why) in waiting {
            self.standing.insert(format!("{RECOVERY}/{RECOVERY}/{key}"), (Status::Waiting, why));
        }
        if let Some((instance, pod)) = next {
            self.move_away(now, &instance, pod);
        }
    }

    /// Another instance of the pod that does not do its work: two at once would be missing.
    fn unwhole_sibling(&self, pod: &PodSpec, moving: &InstanceName) -> Option<InstanceName> {
        pod.instances().filter(|instance| instance != moving).find(|instance| {
            let units: Vec<_> = self.units.iter().filter(|(key, _)| key.instance == *instance).collect();
            let is_whole = units.iter().all(|(key, unit)| {
                unit.intent == Intent::Run
                    && unit.spec.as_ref().is_some_and(|spec| unit.is_at_goal(key, spec))
                    && unit.probed == unit.executor_id
            });
            units.is_empty() || !is_whole || self.decommissions.contains_key(instance)
        })
    }

    fn move_away(&mut self, now: Timestamp, instance: &InstanceName, pod: &PodSpec) {
        match &pod.decommission {
            Some(spec) => {
                let record =
                    DecommissionRecord { spec: spec.clone(), stage: Stage::BeforeKill, began_at: now, stage_at: now };
                self.decommissions.insert(instance.clone(), record);
                self.dirty.decommissions.insert(instance.clone());
            }
            None => {
                for key in self.units_of(instance) {
                    let unit = self.units.get_mut(&key).expect("a key of the map");
                    if unit.intent == Intent::Run {
                        unit.intent = Intent::Replace;
                        self.dirty.units.insert(key);
                    }
                }
            }
        }
    }
}
