//! The scheduler of one framework: what is stored and what is remembered, and how each event is taken in. What follows
//! from it is decided by `advance`, which looks at everything anew: plans (`plan/coordinator.rs`), what ended by itself
//! (`recovery.rs`), instances on their way out (`decommission.rs`, `uninstall.rs`), and whether offers are wanted.
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::call::{InverseOffer, Offer};
use model::task::TaskStatus;
use model::{AgentId, ExecutorId, Refusal, TaskId, TaskState, Timestamp};

use crate::ask::Ask;
use crate::away::Away;
use crate::backoff;
use crate::evaluate::{Need, Owner, Reason, Verdict};
use crate::event::{Command, Event, LaunchOutcome};
use crate::limits;
use crate::mutation::{Mutation, mutated};
use crate::plan::Status;
use crate::reconcile::Reconciler;
use crate::record::{DecommissionRecord, Meta, PlanRecord, Snapshot, UnitKey, UnitRecord, Write};
use crate::spec::{InstanceName, ServiceSpec};
use crate::undo::Undone;
use crate::view::Placement;

/// The scheduler.
#[derive(Debug, Clone)]
pub struct Scheduler {
    pub(crate) owner: Owner,
    // Stored.
    pub(crate) meta: Meta,
    pub(crate) target: Option<ServiceSpec>,
    pub(crate) good: Option<ServiceSpec>,
    pub(crate) undone: Option<Undone>,
    pub(crate) units: BTreeMap<UnitKey, UnitRecord>,
    pub(crate) decommissions: BTreeMap<InstanceName, DecommissionRecord>,
    pub(crate) plans: BTreeMap<String, PlanRecord>,
    // Remembered until the next session.
    pub(crate) tasks: BTreeMap<TaskId, (UnitKey, String)>,
    pub(crate) launching: BTreeMap<u64, Vec<UnitKey>>,
    pub(crate) releasing: BTreeSet<(AgentId, String)>,
    pub(crate) asks: BTreeMap<String, Ask>,
    pub(crate) kills: BTreeMap<TaskId, Timestamp>,
    pub(crate) reconciler: Reconciler,
    pub(crate) needs: Vec<Need>,
    pub(crate) wants_offers: Option<bool>,
    /// The master was told that gpus are wanted. Not taken back: what was reserved with gpus must be seen to be given back.
    pub(crate) declared_gpus: bool,
    pub(crate) needs_announced: BTreeSet<UnitKey>,
    pub(crate) releases_announced: BTreeSet<(AgentId, String)>,
    pub(crate) agents: BTreeMap<AgentId, Placement>,
    /// Agents that are to be emptied.
    pub(crate) draining: BTreeMap<AgentId, InverseOffer>,
    pub(crate) away: Away,
    pub(crate) obstacles: BTreeMap<UnitKey, BTreeMap<String, Reason>>,
    pub(crate) verdicts: VecDeque<Verdict>,
    pub(crate) standing: BTreeMap<String, (Status, String)>,
    pub(crate) wanted: BTreeSet<UnitKey>,
    pub(crate) in_work: BTreeSet<UnitKey>,
    pub(crate) is_erasing: bool,
    /// About the deploy plan as a whole, for people.
    pub(crate) note: String,
    pub(crate) dirty: Dirty,
    pub(crate) effects: Vec<Command>,
    pub(crate) wake: Option<Timestamp>,
}

/// What must be stored before the effects of this step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dirty {
    pub(crate) meta: bool,
    pub(crate) target: bool,
    pub(crate) good: bool,
    pub(crate) undone: bool,
    pub(crate) units: BTreeSet<UnitKey>,
    pub(crate) decommissions: BTreeSet<InstanceName>,
    pub(crate) plans: BTreeSet<String>,
    pub(crate) forget: BTreeSet<ExecutorId>,
}

impl Scheduler {
    /// A scheduler as it was stored. Followed by [`Event::Subscribed`].
    pub fn restore(owner: Owner, snapshot: Snapshot) -> Self {
        let mut tasks = BTreeMap::new();
        for (key, unit) in &snapshot.units {
            for (name, task) in &unit.tasks {
                tasks.insert(task.task_id.clone(), (key.clone(), name.clone()));
            }
        }
        Self {
            owner,
            meta: snapshot.meta,
            target: snapshot.target,
            good: snapshot.good,
            undone: snapshot.undone,
            units: snapshot.units,
            decommissions: snapshot.decommissions,
            plans: snapshot.plans,
            tasks,
            launching: BTreeMap::new(),
            releasing: BTreeSet::new(),
            asks: BTreeMap::new(),
            kills: BTreeMap::new(),
            reconciler: Reconciler::default(),
            needs: Vec::new(),
            wants_offers: None,
            declared_gpus: false,
            needs_announced: BTreeSet::new(),
            releases_announced: BTreeSet::new(),
            agents: BTreeMap::new(),
            draining: BTreeMap::new(),
            away: Away::default(),
            obstacles: BTreeMap::new(),
            verdicts: VecDeque::new(),
            standing: BTreeMap::new(),
            wanted: BTreeSet::new(),
            in_work: BTreeSet::new(),
            is_erasing: false,
            note: String::new(),
            dirty: Dirty::default(),
            effects: Vec::new(),
            wake: None,
        }
    }

    /// Takes in an event and pushes what is to be done.
    pub fn step(&mut self, now: Timestamp, event: Event, out: &mut Vec<Command>) {
        match event {
            Event::Subscribed => self.subscribed(now),
            Event::Offers(offers) => self.offered(now, offers),
            Event::Rescind(_) | Event::Tick => {}
            Event::InverseOffers(offers) => self.inverse_offered(offers),
            Event::RescindInverseOffer(id) => self.draining.retain(|_, offer| offer.id != id),
            Event::NotYetKnown(not_yet) => self.reconciler.not_yet(now, &not_yet),
            Event::AgentFailed(_) => self.away.ask_soon(),
            Event::Update(status) => self.update(now, status),
            Event::Launched(outcome) => self.launched(now, outcome),
            Event::Released { released, refusal } => self.released(released, refusal.as_ref()),
            Event::Answered { key, answer } => self.answered(now, &key, answer),
            Event::Erased => self.erased(),
        }
        self.finish_step(now, out);
    }

    /// When [`Event::Tick`] is due.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.wake
    }

    /// The stored target.
    pub fn target(&self) -> Option<&ServiceSpec> {
        self.target.as_ref()
    }

    /// The latest evaluations, oldest first.
    pub fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        self.verdicts.iter()
    }

    /// Everything that is stored by now, as the shell should have it.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            meta: self.meta.clone(),
            target: self.target.clone(),
            good: self.good.clone(),
            undone: self.undone.clone(),
            units: self
                .units
                .iter()
                .filter(|(_, unit)| **unit != UnitRecord::default())
                .map(|(k, u)| (k.clone(), u.clone()))
                .collect(),
            decommissions: self.decommissions.clone(),
            plans: self.plans.clone(),
        }
    }

    pub(crate) fn finish_step(&mut self, now: Timestamp, out: &mut Vec<Command>) {
        self.advance(now);
        let writes = self.take_writes();
        if !writes.is_empty() {
            out.push(Command::Persist(writes));
        }
        out.append(&mut self.effects);
        crate::invariants::check(self);
    }

    /// Looks at everything anew. Idempotent: a second call right after changes nothing.
    fn advance(&mut self, now: Timestamp) {
        self.wake = None;
        self.needs.clear();
        let before = std::mem::take(&mut self.standing);
        if !self.meta.uninstalled {
            self.settle_units(now);
            if self.meta.uninstalling {
                self.advance_uninstall(now);
            } else if self.target.is_some() {
                self.advance_drains(now);
                self.advance_decommissions(now);
                self.advance_plans(now);
                self.advance_recovery(now);
                self.advance_undo(now);
            }
            self.advance_kills(now);
            self.advance_offers_wanted();
            self.advance_away(now);
            self.advance_reconcile(now);
        }
        self.note_changes(&before);
    }

    fn note_changes(&mut self, before: &BTreeMap<String, (Status, String)>) {
        for (step, (status, why)) in &self.standing {
            if before.get(step).map(|(status, _)| status) != Some(status) && *status != Status::Pending {
                self.effects.push(Command::Noted(format!("{step} {status:?} {why}").trim_end().to_owned()));
            }
        }
    }

    fn subscribed(&mut self, now: Timestamp) {
        let alive: Vec<_> = self
            .units
            .values()
            .flat_map(|unit| {
                let agent = unit.placement.as_ref().map(|placement| placement.agent_id.clone());
                unit.tasks
                    .values()
                    .filter(|task| !task.is_over())
                    .map(move |task| (task.task_id.clone(), agent.clone()))
            })
            .collect();
        self.reconciler.begin(now, alive);
        // The implicit one finds tasks of ours that nobody here knows: they are killed.
        self.effects.push(Command::Reconcile(Vec::new()));
    }

    fn update(&mut self, now: Timestamp, status: TaskStatus) {
        if self.is_about_an_agent(&status) {
            return;
        }
        self.reconciler.heard(&status.task_id);
        match self.tasks.get(&status.task_id).cloned() {
            Some((key, name)) => self.update_task(now, &key, &name, &status),
            None => self.update_stranger(&status),
        }
        if let (Some(uuid), Some(agent_id)) = (status.uuid, status.agent_id)
            && !mutated(Mutation::NeverAcknowledges)
        {
            self.effects.push(Command::Acknowledge { agent_id, task_id: status.task_id, uuid });
        }
    }

    /// A task that nobody here knows (any more) is killed. Until it has ended, what its pod held was in use, and no offer
    /// showed it: then it is looked for.
    fn update_stranger(&mut self, status: &TaskStatus) {
        // What is unreachable cannot be killed, and the answer to a kill would be that it is unreachable. It is heard of when
        // it returns.
        if matches!(status.state, TaskState::Unknown | TaskState::Unreachable) {
            return;
        }
        if !status.state.is_terminal() {
            if !mutated(Mutation::SparesStrangers) {
                self.effects.push(Command::Kill { task_id: status.task_id.clone(), agent_id: status.agent_id.clone() });
            }
        } else if status.reason != Some(model::Reason::Reconciliation)
            && let Some(agent_id) = &status.agent_id
            && !self.is_erasing
            && !self.meta.uninstalled
        {
            self.meta.releases.insert((agent_id.clone(), status.task_id.to_string()));
            self.dirty.meta = true;
        }
    }

    fn update_task(&mut self, now: Timestamp, key: &UnitKey, name: &str, status: &TaskStatus) {
        let unit = self.units.get_mut(key).expect("the index names units that exist");
        let Some(task) = unit.tasks.get_mut(name) else { return };
        if task.is_over() && task.state != TaskState::Unknown {
            return;
        }
        let before = task.clone();
        task.state = status.state;
        if !status.message.is_empty() || before.state != status.state {
            task.message.clone_from(&status.message);
        }
        task.ready = status.ready.or(task.ready);
        task.healthy = status.healthy.or(task.healthy);
        match status.state {
            TaskState::Running => task.running_at = task.running_at.or(Some(now)),
            TaskState::Unreachable => task.unreachable_since = task.unreachable_since.or(Some(now)),
            TaskState::Staging
            | TaskState::Starting
            | TaskState::Killing
            | TaskState::Finished
            | TaskState::Failed
            | TaskState::Killed
            | TaskState::Error
            | TaskState::Lost
            | TaskState::Dropped
            | TaskState::Gone
            | TaskState::GoneByOperator
            | TaskState::Unknown => {}
        }
        if status.state != TaskState::Unreachable {
            task.unreachable_since = None;
        }
        let was_there =
            matches!(status.state, TaskState::Starting | TaskState::Running | TaskState::Killing | TaskState::Finished);
        if task.is_over() {
            task.ended_at = task.ended_at.or(Some(now));
            self.kills.remove(&status.task_id);
        }
        let is_restarted = status.reason == Some(model::Reason::ContainerRestarted);
        let changed = *task != before || (was_there && unit.is_reserving) || is_restarted;
        unit.is_reserving &= !was_there;
        if is_restarted {
            ended(unit, now, format!("{name}: {}", status.message));
            unit.ready_since = None;
        }
        if status.state == TaskState::Finished
            && let Some(spec) = unit.spec.as_ref().and_then(|spec| spec.task(name))
            && spec.goal != crate::spec::Goal::Running
        {
            unit.finished.insert(name.to_owned(), spec.clone());
        }
        if changed {
            self.dirty.units.insert(key.clone());
        }
    }

    fn launched(&mut self, now: Timestamp, outcome: LaunchOutcome) {
        let Some(units) = self.launching.remove(&outcome.launch) else { return };
        for key in units {
            let Some(unit) = self.units.get_mut(&key) else { continue };
            match outcome.failed.get(&key) {
                Some(refusal) => {
                    for task in unit.tasks.values() {
                        self.tasks.remove(&task.task_id);
                        self.reconciler.heard(&task.task_id);
                    }
                    unit.tasks.clear();
                    if let Some(agent) = unit.forget_reservation_in_doubt() {
                        self.meta.releases.insert((agent, key.to_string()));
                        self.dirty.meta = true;
                    }
                    self.dirty.forget.extend(unit.executor_id.take());
                    fail(unit, now, in_words(refusal));
                    self.dirty.units.insert(key);
                }
                None if outcome.is_uncertain => {
                    let agent = unit.placement.as_ref().map(|placement| placement.agent_id.clone());
                    let tasks: Vec<_> = unit.tasks.values().map(|task| (task.task_id.clone(), agent.clone())).collect();
                    self.reconciler.doubt(now, tasks);
                }
                None => {}
            }
        }
    }

    /// Merges the offers of each agent; see `offers.rs` for what is done with them.
    fn offered(&mut self, now: Timestamp, offers: Vec<Offer>) {
        self.take_offers(now, offers);
    }

    pub(crate) fn take_writes(&mut self) -> Vec<Write> {
        let dirty = std::mem::take(&mut self.dirty);
        let mut writes = Vec::new();
        if dirty.meta {
            writes.push(Write::Meta(self.meta.clone()));
        }
        if dirty.target
            && let Some(target) = &self.target
        {
            writes.push(Write::Target(Box::new(target.clone())));
        }
        if dirty.good
            && let Some(good) = &self.good
        {
            writes.push(Write::Good(Box::new(good.clone())));
        }
        if dirty.undone {
            writes.push(Write::Undone(self.undone.clone().map(Box::new)));
        }
        for key in dirty.units {
            let unit = self.units.get(&key).map(|unit| Box::new(unit.clone()));
            writes.push(Write::Unit(key, unit));
        }
        for instance in dirty.decommissions {
            let record = self.decommissions.get(&instance).cloned();
            writes.push(Write::Decommission(instance, record));
        }
        for plan in dirty.plans {
            let record = self.plans.get(&plan).cloned();
            writes.push(Write::Plan(plan, record));
        }
        writes.extend(dirty.forget.into_iter().map(Write::ForgetFiles));
        writes
    }

    pub(crate) fn wake_by(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    pub(crate) fn is_launching(&self, key: &UnitKey) -> bool {
        self.launching.values().any(|units| units.contains(key))
    }
}

/// A task of the unit ended by itself.
pub(crate) fn ended(unit: &mut UnitRecord, now: Timestamp, problem: String) {
    if unit.ready_since.is_some_and(|since| now.since(since) >= limits::RETRY_FORGET) {
        unit.ends = 0;
    }
    unit.ends += 1;
    unit.tried_since = unit.tried_since.or(Some(now));
    unit.problem = problem;
}

/// Counts a failure and sets when it is tried again.
pub(crate) fn fail(unit: &mut UnitRecord, now: Timestamp, problem: String) {
    if unit.ready_since.is_some_and(|since| now.since(since) >= limits::RETRY_FORGET) {
        unit.failures = 0;
    }
    unit.ready_since = None;
    unit.failures += 1;
    unit.retry_at = Some(now + backoff::wait(unit.failures, limits::RETRY_MIN, limits::RETRY_MAX));
    unit.problem = problem;
}

pub(crate) fn in_words(refusal: &Refusal) -> String {
    if refusal.next_step.is_empty() {
        refusal.message.clone()
    } else {
        format!("{}; {}", refusal.message, refusal.next_step)
    }
}
