//! A kit to test specifications and frameworks without a pool: a small master and agents around the core, driven tick by
//! tick. Offers are made of what is free, tasks start and become ready by themselves, hooks say "done", unless a test
//! says otherwise. Every tick is logged; a failed expectation prints the log.
use std::collections::{BTreeMap, BTreeSet};

use model::call::{InverseOffer, Offer, Operation, Unavailability};
use model::{
    AgentId, FrameworkId, Milli, OfferId, Principal, Quantities, Resources, RoleName, Source, Span, TaskId, TaskState,
    TaskStatus, Timestamp,
};

use crate::evaluate::Owner;
use crate::event::{Answer, Command, Event, Launch, LaunchOutcome};
use crate::plan::PlanView;
use crate::record::{Snapshot, Write};
use crate::scheduler::Scheduler;
use crate::spec::ServiceSpec;

/// Time of one tick.
pub const TICK: Span = Span::millis(100);

/// A scheduler and what it lives in.
#[derive(Debug)]
pub struct World {
    /// The scheduler.
    pub scheduler: Scheduler,
    /// What is stored.
    pub stored: Snapshot,
    /// Tasks that do not become ready, by name (`<instance>.<task>`).
    pub unready: BTreeSet<String>,
    /// Tasks that end with 1 as soon as they run, by name.
    pub failing: BTreeSet<String>,
    /// Tasks that end with 0 as soon as they run, by name in their pod.
    pub finishing: BTreeSet<String>,
    /// Tasks that do not end although they were asked to, by name.
    pub lingering: BTreeSet<String>,
    /// Probes (`<instance>`) and actions (`<action>` or `<action> <instance>`) that are not done.
    pub held_hooks: BTreeSet<String>,
    /// Launches that are being rendered: `Some` keeps them so until [`World::render_held`].
    pub held_launches: Option<Vec<Launch>>,
    /// Answers to inverse offers.
    pub answers: Vec<String>,
    /// What happened: launches, kills, actions, in order.
    pub history: Vec<String>,
    agents: BTreeMap<AgentId, SimAgent>,
    tasks: BTreeMap<TaskId, SimTask>,
    owner: Owner,
    now: Timestamp,
    wants_offers: bool,
    /// It was said that gpus are wanted: agents with some are offered.
    declared_gpus: bool,
    offers: BTreeMap<OfferId, (AgentId, Resources)>,
    offer_number: u64,
    drains: Vec<InverseOffer>,
    log: Vec<String>,
}

#[derive(Debug)]
struct SimAgent {
    name: String,
    free: Resources,
    declined_until: Timestamp,
    is_unreachable: bool,
    is_draining: bool,
    unavailability: Option<Unavailability>,
}

#[derive(Debug)]
struct SimTask {
    agent_id: AgentId,
    name: String,
    state: TaskState,
    ready: bool,
    /// Given back when it ends.
    resources: Resources,
    is_asked_to_end: bool,
}

impl World {
    /// A world for a specification, without agents.
    ///
    /// # Panics
    /// If the specification is refused.
    pub fn new(spec: ServiceSpec) -> Self {
        let owner = Owner {
            framework: spec.name.clone(),
            principal: Principal::new(format!("framework/{}", spec.name)),
            role: spec.role.clone(),
        };
        let mut world = Self {
            scheduler: Scheduler::restore(owner.clone(), Snapshot::default()),
            stored: Snapshot::default(),
            unready: BTreeSet::new(),
            failing: BTreeSet::new(),
            finishing: BTreeSet::new(),
            lingering: BTreeSet::new(),
            held_hooks: BTreeSet::new(),
            held_launches: None,
            answers: Vec::new(),
            history: Vec::new(),
            agents: BTreeMap::new(),
            tasks: BTreeMap::new(),
            owner,
            now: Timestamp(1_000_000),
            wants_offers: true,
            declared_gpus: false,
            offers: BTreeMap::new(),
            offer_number: 0,
            drains: Vec::new(),
            log: Vec::new(),
        };
        world.event(Event::Subscribed);
        world.set_target(spec).expect("the specification is accepted");
        world
    }

    /// The same world with another agent, called `<name>`, with ports 20000 to 20099.
    #[must_use]
    pub fn agent(mut self, name: &str, cpus_milli: i64, mem_mib: i64) -> Self {
        self.add_agent(name, cpus_milli, mem_mib);
        self
    }

    /// Another agent.
    ///
    /// # Panics
    /// If the name is no id.
    pub fn add_agent(&mut self, name: &str, cpus_milli: i64, mem_mib: i64) {
        let free = Quantities {
            cpus: Milli(cpus_milli),
            mem: Milli::units(mem_mib),
            disk: Milli::units(100_000),
            ports: [(20_000, 20_099)].into_iter().collect(),
            ..Quantities::default()
        };
        let agent = SimAgent {
            name: name.to_owned(),
            free: free.into(),
            declined_until: Timestamp(0),
            is_unreachable: false,
            is_draining: false,
            unavailability: None,
        };
        self.agents.insert(AgentId::new(name).expect("a plain name"), agent);
    }

    /// An agent gets gpus.
    ///
    /// # Panics
    /// If there is no such agent.
    pub fn add_gpus(&mut self, name: &str, count: i64) {
        let agent = self.agents.values_mut().find(|agent| agent.name == name).expect("an agent of that name");
        agent.free.unreserved.gpus.0 += Milli::units(count).0;
    }

    /// Sets a target as `Handle::set_target` does.
    ///
    /// # Errors
    /// As that.
    pub fn set_target(&mut self, spec: ServiceSpec) -> Result<(), model::Refusal> {
        let mut out = Vec::new();
        let result = self.scheduler.set_target(self.now, spec, &mut out);
        self.carry_out(out);
        result
    }

    /// Does something to the scheduler that yields commands.
    pub fn ask<T>(&mut self, what: impl FnOnce(&mut Scheduler, Timestamp, &mut Vec<Command>) -> T) -> T {
        let mut out = Vec::new();
        let result = what(&mut self.scheduler, self.now, &mut out);
        self.carry_out(out);
        result
    }

    /// The scheduler dies and another one begins from what is stored.
    pub fn restart_scheduler(&mut self) {
        self.log.push("-- scheduler restarted".to_owned());
        let offers: Vec<OfferId> = self.offers.keys().cloned().collect();
        for offer in offers {
            self.take_back(&offer, Span(0));
        }
        self.scheduler = Scheduler::restore(self.owner.clone(), self.stored.clone());
        self.wants_offers = true;
        self.declared_gpus = false;
        self.event(Event::Subscribed);
    }

    /// Launches that were held are rendered, the last one first.
    pub fn render_held(&mut self) {
        for launch in self.held_launches.take().into_iter().flatten().rev() {
            self.launch(launch);
        }
    }

    /// Ends a task from outside.
    ///
    /// # Panics
    /// If no such task runs.
    pub fn end_task(&mut self, name: &str, state: TaskState) {
        let id = self.living(name).unwrap_or_else(|| panic!("no task {name} runs\n{}", self.log.join("\n")));
        self.becomes(&id, state, "");
    }

    /// Id of the living task of a name (`<instance>.<task>`).
    pub fn living(&self, name: &str) -> Option<TaskId> {
        let found = self.tasks.iter().find(|(_, task)| task.name == name && !task.state.is_terminal());
        found.map(|(id, _)| id.clone())
    }

    /// Names of living tasks with the agents they are on.
    pub fn running(&self) -> Vec<String> {
        let mut out: Vec<String> = self
            .tasks
            .values()
            .filter(|task| !task.state.is_terminal())
            .map(|task| format!("{}@{}", task.name, task.agent_id))
            .collect();
        out.sort();
        out
    }

    /// Loses an agent, or finds it again.
    pub fn set_unreachable(&mut self, agent: &str, is_unreachable: bool) {
        let Some(sim) = self.agents.get_mut(agent) else { return };
        sim.is_unreachable = is_unreachable;
        let state = if is_unreachable { TaskState::Unreachable } else { TaskState::Running };
        let ids: Vec<TaskId> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.agent_id.as_str() == agent && !task.state.is_terminal())
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            self.becomes(&id, state, "");
        }
    }

    /// An operator wants an agent emptied; its time is over after so long.
    ///
    /// # Panics
    /// If there is no such agent.
    pub fn drain(&mut self, agent: &str, grace: Span) {
        let agent_id = AgentId::new(agent).expect("a plain name");
        self.agents.get_mut(&agent_id).expect("the agent is there").is_draining = true;
        let outstanding: Vec<OfferId> =
            self.offers.iter().filter(|(_, (of, _))| *of == agent_id).map(|(id, _)| id.clone()).collect();
        for offer in outstanding {
            self.take_back(&offer, Span(0));
            self.event(Event::Rescind(offer));
        }
        self.drains.push(InverseOffer {
            id: OfferId::new(format!("{agent}-I")).expect("a plain name"),
            framework_id: FrameworkId::new("framework").expect("a plain name"),
            agent_id,
            unavailability: Unavailability { start: self.now + grace, duration: None },
            is_drain: true,
        });
        self.announce_drains();
    }

    /// An operator announces that an agent will be maintained, so long from now.
    ///
    /// # Panics
    /// If there is no such agent.
    pub fn announce(&mut self, agent: &str, after: Span) {
        let agent_id = AgentId::new(agent).expect("a plain name");
        let unavailability = Unavailability { start: self.now + after, duration: None };
        self.agents.get_mut(&agent_id).expect("the agent is there").unavailability = Some(unavailability);
        self.drains.push(InverseOffer {
            id: OfferId::new(format!("{agent}-M")).expect("a plain name"),
            framework_id: FrameworkId::new("framework").expect("a plain name"),
            agent_id,
            unavailability,
            is_drain: false,
        });
        self.announce_drains();
    }

    /// Tells of every drain, as at the beginning of a session.
    pub fn announce_drains(&mut self) {
        self.event(Event::InverseOffers(self.drains.clone()));
    }

    /// A plan as shown.
    ///
    /// # Panics
    /// If there is none of that name.
    pub fn plan(&self, name: &str) -> PlanView {
        let found = self.scheduler.plan_views().into_iter().find(|plan| plan.name == name);
        found.unwrap_or_else(|| panic!("there is no plan {name}\n{}", self.log.join("\n")))
    }

    /// Whether all that every agent has is free and unreserved.
    pub fn is_all_free(&self) -> bool {
        self.offers.is_empty()
            && self.tasks.values().all(|task| task.state.is_terminal())
            && self.agents.values().all(|agent| agent.free.held.is_empty())
    }

    /// Ticks until something holds.
    ///
    /// # Panics
    /// With the log, if it does not hold after so many ticks.
    pub fn run_until(&mut self, what: &str, ticks: usize, holds: impl Fn(&World) -> bool) {
        for _ in 0..ticks {
            if holds(self) {
                return;
            }
            self.tick();
        }
        assert!(
            holds(self),
            "not after {ticks} ticks: {what}\n{}\nplans: {:#?}",
            self.log.join("\n"),
            self.scheduler.plan_views()
        );
    }

    /// So many ticks.
    pub fn run(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.tick();
        }
    }

    /// Time passes, tasks go on, offers are made.
    pub fn tick(&mut self) {
        self.now = self.now + TICK;
        self.advance_tasks();
        if self.scheduler.wake_at().is_some_and(|at| at <= self.now) {
            self.event(Event::Tick);
        }
        self.make_offers();
    }

    fn make_offers(&mut self) {
        if !self.wants_offers {
            return;
        }
        let mut offers = Vec::new();
        for (id, agent) in &mut self.agents {
            let sum = agent.free.sum();
            if agent.is_unreachable
                || agent.is_draining
                || (sum.gpus.0 > 0 && !self.declared_gpus)
                || agent.declined_until > self.now
                || (sum.cpus.0 == 0 && sum.mem.0 == 0 && agent.free.held.is_empty())
            {
                continue;
            }
            self.offer_number += 1;
            let offer_id = OfferId::new(format!("O{}", self.offer_number)).expect("a plain name");
            let resources = std::mem::take(&mut agent.free);
            self.offers.insert(offer_id.clone(), (id.clone(), resources.clone()));
            offers.push(Offer {
                id: offer_id,
                framework_id: FrameworkId::new("framework").expect("a plain name"),
                role: self.owner.role.clone(),
                agent_id: id.clone(),
                agent_name: agent.name.clone(),
                address: format!("10.0.0.{}", self.offer_number % 250),
                resources,
                attributes: BTreeMap::new(),
                region: "here".to_owned(),
                zone: "here".to_owned(),
                pod_subnet: "10.244.0.0/24".to_owned(),
                unavailability: agent.unavailability,
            });
        }
        if !offers.is_empty() {
            self.event(Event::Offers(offers));
        }
    }

    fn advance_tasks(&mut self) {
        let ids: Vec<TaskId> = self.tasks.keys().cloned().collect();
        for id in ids {
            let task = &self.tasks[&id];
            let short = task.name.rsplit('.').next().unwrap_or_default().to_owned();
            if self.agents.get(&task.agent_id).is_some_and(|agent| agent.is_unreachable) {
                continue;
            }
            let ends = task.is_asked_to_end && !self.lingering.contains(&task.name);
            match task.state {
                TaskState::Staging => self.becomes(&id, TaskState::Starting, ""),
                TaskState::Starting if ends => self.becomes(&id, TaskState::Killed, ""),
                TaskState::Starting => self.becomes(&id, TaskState::Running, ""),
                TaskState::Running if ends => self.becomes(&id, TaskState::Killed, ""),
                TaskState::Running if self.failing.contains(&task.name) => {
                    self.becomes(&id, TaskState::Failed, "exit code 1")
                }
                TaskState::Running if self.finishing.contains(&short) => self.becomes(&id, TaskState::Finished, ""),
                TaskState::Running if !task.ready && !self.unready.contains(&task.name) => {
                    self.tasks.get_mut(&id).expect("it is there").ready = true;
                    self.becomes(&id, TaskState::Running, "");
                }
                TaskState::Running
                | TaskState::Killing
                | TaskState::Finished
                | TaskState::Failed
                | TaskState::Killed
                | TaskState::Error
                | TaskState::Lost
                | TaskState::Dropped
                | TaskState::Unreachable
                | TaskState::Gone
                | TaskState::GoneByOperator
                | TaskState::Unknown => {}
            }
        }
    }

    fn becomes(&mut self, id: &TaskId, state: TaskState, message: &str) {
        let task = self.tasks.get_mut(id).expect("only of tasks that were launched");
        task.state = state;
        let freed = state.is_terminal().then(|| std::mem::take(&mut task.resources));
        let status = self.status(id, message);
        self.log.push(format!("{} {id} {state:?} {message}", self.now.0));
        if let Some(freed) = freed {
            let agent = self.tasks[id].agent_id.clone();
            self.agents.get_mut(&agent).expect("tasks are on agents").free.add(&freed);
        }
        self.event(Event::Update(status));
    }

    fn status(&self, id: &TaskId, message: &str) -> TaskStatus {
        let task = &self.tasks[id];
        TaskStatus {
            task_id: id.clone(),
            state: task.state,
            reason: None,
            source: Source::Agent,
            message: message.to_owned(),
            agent_id: Some(task.agent_id.clone()),
            executor_id: None,
            uuid: None,
            healthy: None,
            ready: Some(task.ready),
            timestamp: self.now,
        }
    }

    fn event(&mut self, event: Event) {
        let mut out = Vec::new();
        self.scheduler.step(self.now, event, &mut out);
        self.carry_out(out);
    }

    fn carry_out(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Persist(writes) => writes.into_iter().for_each(|write| self.store(write)),
                Command::Launch(launch) => match &mut self.held_launches {
                    Some(held) => held.push(*launch),
                    None => self.launch(*launch),
                },
                Command::Release { offers, operations, released, .. } => {
                    let mut resources = self.take(&offers);
                    apply(&mut resources, &operations);
                    self.give_back(&offers, resources);
                    self.history.push(format!(
                        "release {}",
                        released.iter().map(|(agent, unit)| format!("{unit}@{agent}")).collect::<Vec<_>>().join(" ")
                    ));
                    self.forget(&offers);
                    self.event(Event::Released { released, refusal: None });
                }
                Command::Decline { offers, refuse } => offers.iter().for_each(|offer| self.take_back(offer, refuse)),
                Command::AnswerInverseOffers { offers, accepted } => {
                    let word = if accepted { "will leave" } else { "cannot leave" };
                    self.answers.extend(offers.iter().map(|offer| format!("{word} {offer}")));
                }
                Command::Kill { task_id, .. } => match self.tasks.get_mut(&task_id) {
                    Some(task) => {
                        if !task.is_asked_to_end && !task.state.is_terminal() {
                            self.history.push(format!("kill {}", task.name));
                        }
                        task.is_asked_to_end = true;
                    }
                    None => self.unknown(task_id, TaskState::Unknown),
                },
                Command::Acknowledge { .. } => {}
                Command::Reconcile(asked) => {
                    let known: Vec<TaskId> = self
                        .tasks
                        .iter()
                        .filter(|(_, task)| !task.state.is_terminal())
                        .map(|(id, _)| id.clone())
                        .collect();
                    if asked.is_empty() {
                        known.iter().for_each(|id| self.event(Event::Update(self.status(id, ""))));
                    }
                    for (id, agent) in asked {
                        if self.tasks.contains_key(&id) {
                            self.event(Event::Update(self.status(&id, "")));
                        } else {
                            let is_lost = agent.and_then(|agent| self.agents.get(&agent)).map(|a| a.is_unreachable);
                            self.unknown(
                                id,
                                if is_lost == Some(true) { TaskState::Unreachable } else { TaskState::Unknown },
                            );
                        }
                    }
                }
                Command::Revive => {
                    self.wants_offers = true;
                    self.agents.values_mut().for_each(|agent| agent.declined_until = Timestamp(0));
                }
                Command::Suppress => self.wants_offers = false,
                Command::DeclareGpus { is_suppressed } => {
                    assert_eq!(is_suppressed, !self.wants_offers, "it changes nothing else");
                    self.history.push("declare gpus".to_owned());
                    self.declared_gpus = true;
                }
                Command::Probe { key, unit, .. } => {
                    let is_held = self.held_hooks.contains(&unit.instance.to_string());
                    self.answer(key, is_held, "the probe is held");
                }
                Command::Act { key, action, instance, .. } => {
                    let name = instance.map_or_else(|| action.clone(), |instance| format!("{action} {instance}"));
                    let is_held = self.held_hooks.contains(&name) || self.held_hooks.contains(&action);
                    if !is_held {
                        self.history.push(name);
                    }
                    self.answer(key, is_held, "the action is held");
                }
                Command::EraseState => {
                    self.stored = Snapshot::default();
                    self.stored.meta.uninstalling = true;
                    self.stored.meta.uninstalled = true;
                    self.event(Event::Erased);
                }
                Command::Noted(words) => self.log.push(format!("{} {words}", self.now.0)),
            }
        }
    }

    fn unknown(&mut self, task_id: TaskId, state: TaskState) {
        let status = TaskStatus {
            task_id,
            state,
            reason: None,
            source: Source::Master,
            message: String::new(),
            agent_id: None,
            executor_id: None,
            uuid: None,
            healthy: None,
            ready: None,
            timestamp: self.now,
        };
        self.event(Event::Update(status));
    }

    fn answer(&mut self, key: String, is_held: bool, words: &str) {
        let answer = if is_held { Answer::NotYet(words.to_owned()) } else { Answer::Done };
        self.event(Event::Answered { key, answer });
    }

    fn launch(&mut self, launch: Launch) {
        let mut resources = self.take(&launch.offers);
        self.scheduler.launch_writes(&launch).into_iter().for_each(|write| self.store(write));
        let agent_id = self.offers[&launch.offers[0]].0.clone();
        for pod in &launch.pods {
            apply(&mut resources, &pod.before);
            for (i, (name, task_id, used)) in pod.tasks.iter().enumerate() {
                let mut used = used.clone();
                if i == 0 {
                    used.add(&pod.executor_resources);
                }
                resources.take(&used).expect("a launch takes what was offered");
                let name = format!("{}.{name}", pod.unit.instance);
                self.history.push(format!("launch {name}@{agent_id}"));
                let task = SimTask {
                    agent_id: agent_id.clone(),
                    name,
                    state: TaskState::Staging,
                    ready: false,
                    resources: used,
                    is_asked_to_end: false,
                };
                assert!(self.tasks.insert(task_id.clone(), task).is_none(), "{task_id} was used before");
            }
        }
        self.give_back(&launch.offers, resources);
        self.agents.get_mut(&agent_id).expect("offers are of agents").declined_until = self.now + launch.refuse;
        self.forget(&launch.offers);
        self.event(Event::Launched(LaunchOutcome {
            launch: launch.launch,
            failed: BTreeMap::new(),
            is_uncertain: false,
        }));
    }

    fn take(&self, offers: &[OfferId]) -> Resources {
        let mut sum = Resources::default();
        for offer in offers {
            sum.add(&self.offers.get(offer).unwrap_or_else(|| panic!("{offer} is not outstanding")).1);
        }
        sum
    }

    fn give_back(&mut self, offers: &[OfferId], resources: Resources) {
        let agent = self.offers[&offers[0]].0.clone();
        self.agents.get_mut(&agent).expect("offers are of agents").free.add(&resources);
    }

    fn forget(&mut self, offers: &[OfferId]) {
        for offer in offers {
            self.offers.remove(offer);
        }
    }

    fn take_back(&mut self, offer: &OfferId, refuse: Span) {
        let Some((agent, resources)) = self.offers.remove(offer) else { panic!("{offer} is not outstanding") };
        let agent = self.agents.get_mut(&agent).expect("offers are of agents");
        agent.free.add(&resources);
        agent.declined_until = self.now + refuse;
    }

    fn store(&mut self, write: Write) {
        match write {
            Write::Meta(meta) => self.stored.meta = meta,
            Write::Target(target) => self.stored.target = Some(*target),
            Write::Good(good) => self.stored.good = Some(*good),
            Write::Undone(undone) => self.stored.undone = undone.map(|undone| *undone),
            Write::Unit(key, Some(unit)) => drop(self.stored.units.insert(key, *unit)),
            Write::Unit(key, None) => drop(self.stored.units.remove(&key)),
            Write::Decommission(instance, Some(record)) => drop(self.stored.decommissions.insert(instance, record)),
            Write::Decommission(instance, None) => drop(self.stored.decommissions.remove(&instance)),
            Write::Plan(plan, Some(record)) => drop(self.stored.plans.insert(plan, record)),
            Write::Plan(plan, None) => drop(self.stored.plans.remove(&plan)),
            Write::ForgetFiles(_) => {}
        }
    }
}

/// A role with the name of a framework.
///
/// # Panics
/// If it is no role.
pub fn role(name: &str) -> RoleName {
    RoleName::new(name).expect("a plain name")
}

fn apply(resources: &mut Resources, operations: &[Operation]) {
    for operation in operations {
        match operation {
            Operation::Reserve(reserved) => {
                resources.take(&Resources::from(reserved.sum())).expect("what is reserved was offered");
                resources.add(reserved);
            }
            Operation::Create(volumes) => {
                resources.take(&bare(volumes)).expect("a volume is made of a reservation");
                resources.add(volumes);
            }
            Operation::Destroy(volumes) => {
                resources.take(volumes).expect("what is destroyed was offered");
                resources.add(&bare(volumes));
            }
            Operation::Unreserve(reserved) => {
                resources.take(reserved).expect("what is unreserved was offered");
                resources.add(&Resources::from(reserved.sum()));
            }
            Operation::Launch(_) => {}
            Operation::Grow { .. } | Operation::Shrink { .. } | Operation::Identified { .. } => {
                unreachable!("no spec asks for it")
            }
        }
    }
}

fn bare(volumes: &Resources) -> Resources {
    let mut out = Resources::default();
    for (holding, quantities) in &volumes.held {
        let holding = model::Holding { reservation: holding.reservation.clone(), volume: None };
        out.add(&Resources::held_as(holding, quantities.clone()));
    }
    out
}
