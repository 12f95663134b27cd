//! The master's shell: a registry that is written late and in order, and a read model made of deltas.
use std::collections::{BTreeMap, BTreeSet};

use framework_core::record::Snapshot;
use master_core::view::{AgentStateView, AgentView, TaskView};
use master_core::{Command, Config, Decision, Delta, Event, Master, Pool, Record, RegistrySnapshot, SessionId};
use model::call::SchedulerEvent;
use model::link::ToAgent;
use model::{AgentId, FrameworkId, Span, TaskId};

use crate::clock::Clock;
use crate::coverage::variant;
use crate::faults::Crash;
use crate::service_host;
use crate::world::{Happening, Peer, Said, World};

/// A master and its disk.
#[derive(Debug)]
pub(crate) struct MasterHost {
    pub(crate) core: Option<Master>,
    pub(crate) life: u64,
    /// What is on the disk.
    pub(crate) registry: RegistrySnapshot,
    /// And there the state of services.
    pub(crate) states: BTreeMap<FrameworkId, Snapshot>,
    pub(crate) tasks: BTreeMap<(FrameworkId, TaskId), TaskView>,
    pub(crate) agents: BTreeMap<AgentId, AgentView>,
    pub(crate) offers: usize,
    /// Tasks that this master called ended.
    said_ended: BTreeSet<(FrameworkId, TaskId)>,
    disk_until: u64,
    /// The disk is slow until then.
    pub(crate) stalled_until: u64,
    /// Nothing more fits on the disk until then.
    pub(crate) full_until: u64,
    allocating: bool,
    timer: Option<u64>,
    clock: Clock,
}

impl MasterHost {
    pub(crate) fn new() -> Self {
        let pool = Pool {
            master_id: "m".to_owned(),
            name: "sim".to_owned(),
            epoch: 0,
            pod_range: "10.200.0.0/16".to_owned(),
            pod_prefix_length: 24,
            vip_range: master_core::registry::VIP_RANGE.to_owned(),
        };
        Self {
            core: None,
            life: 0,
            registry: RegistrySnapshot::empty(pool),
            states: BTreeMap::new(),
            tasks: BTreeMap::new(),
            agents: BTreeMap::new(),
            offers: 0,
            said_ended: BTreeSet::new(),
            disk_until: 0,
            stalled_until: 0,
            full_until: 0,
            allocating: false,
            timer: None,
            clock: Clock::default(),
        }
    }
}

impl World {
    pub(crate) fn master_starts(&mut self) -> Result<(), String> {
        if self.master.core.is_some() {
            return Ok(());
        }
        self.master.clock = self.draw_clock();
        let now = self.master.clock.shows(self.now);
        let host = &mut self.master;
        host.life += 1;
        host.registry.pool.epoch += 1;
        let config = Config {
            offer_timeout: Some(Span::seconds(20)),
            disconnected_grace: Span::seconds(10),
            reregister_timeout: Span::seconds(30),
            // Rarer than real ones: the simulator's time is made of them.
            ping_interval: Span::seconds(5),
            ping_misses_max: 4,
            registry_age_max: Span::seconds(120),
            registry_count_max: 2,
            ..Config::default()
        };
        let seed = self.rng.next();
        host.core = Some(Master::new(config, host.registry.clone(), seed, now));
        (host.allocating, host.timer, host.offers) = (false, None, 0);
        host.tasks.clear();
        host.said_ended.clear();
        host.agents.clear();
        self.master_hears(Event::Tick)
    }

    pub(crate) fn master_dies(&mut self) {
        self.master.core = None;
        let sessions: Vec<_> = self.links.keys().copied().collect();
        for session in sessions {
            let after = self.rng.between(1, 2000);
            self.end_dies(session, true, after);
        }
        // A new master cannot know what was acknowledged to the old one.
        self.nothing_is_confirmed();
    }

    pub(crate) fn master_hears(&mut self, event: Event) -> Result<(), String> {
        let now = self.master.clock.shows(self.now);
        let Some(core) = self.master.core.as_mut() else { return Ok(()) };
        let mut out = Vec::new();
        core.step(now, event, &mut out);
        master_core::check(core)?;
        for command in out {
            self.nothing_is_said_too_early(&command)?;
            self.nobody_is_silent_who_speaks(&command)?;
            self.tell(|| format!("  master wants {command:?}"));
            self.master_wants(command);
        }
        Ok(())
    }

    /// Nobody hears of what is not on the disk: a crash at this moment would make a liar of the master.
    fn nothing_is_said_too_early(&self, command: &Command) -> Result<(), String> {
        let registry = &self.master.registry;
        match command {
            Command::SendFramework { event: SchedulerEvent::Subscribed { framework_id }, .. }
                if !registry.frameworks.contains_key(framework_id) =>
            {
                return Err(format!("{framework_id} is subscribed and not in the registry"));
            }
            Command::SendAgent { message: ToAgent::Registered { agent_id, .. }, .. }
                if !registry.agents.contains_key(agent_id) =>
            {
                return Err(format!("{agent_id} is registered and not in the registry"));
            }
            Command::SendAgent { message: ToAgent::SetHoldings { generation, .. }, session } => {
                let Some(Peer::Agent(agent)) = self.links.get(session).map(|link| link.peer) else { return Ok(()) };
                let name = &self.agents[agent].name;
                let written = registry.agents.values().filter(|record| record.name == *name);
                if written.map(|record| record.holdings_generation).max() < Some(*generation) {
                    return Err(format!("{name} hears of holdings {generation}, which are not in the registry"));
                }
            }
            // 9: what runs is taken over, not killed.
            Command::Decided(Decision::UnwantedTask { framework_id, task_id, .. }) => {
                let alive = registry.frameworks.get(framework_id).is_some_and(|framework| !framework.torn_down);
                let key = (framework_id.clone(), task_id.clone());
                if alive && !self.ended_frameworks.contains(framework_id) && !self.master.said_ended.contains(&key) {
                    return Err(format!("{task_id} of {framework_id} is killed, and nobody said that it ended"));
                }
            }
            Command::SendAgent { message: ToAgent::Launch { framework, pod, .. }, .. } => {
                let is_service = self.services.iter().any(|service| service.name == framework.name);
                let stored = self.master.states.get(&framework.id);
                let mut units = stored.into_iter().flat_map(|state| state.units.values());
                if is_service && !units.any(|unit| unit.executor_id.as_ref() == Some(&pod.executor_id)) {
                    return Err(format!("{} is launched, and its framework has not stored so", pod.executor_id));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// An agent that hears and is heard is not silent, whatever the master's disk does.
    fn nobody_is_silent_who_speaks(&self, command: &Command) -> Result<(), String> {
        let Command::Changed(Delta::Agent(view)) = command else { return Ok(()) };
        let (Some(since), AgentStateView::Connected) = (view.silent, view.state) else { return Ok(()) };
        let Some(host) = self.agents.iter().find(|host| host.name == view.name) else { return Ok(()) };
        let link = host.session.filter(|_| host.core.is_some()).and_then(|session| self.links.get(&session));
        let since = self.master.clock.reaches(since);
        match link {
            // Its last word may have been the one that the trouble let through.
            Some(link) if !link.broken && link.works_since < since => Err(format!(
                "{} is called silent since {since}, its link has worked since {}",
                view.name, link.works_since
            )),
            Some(_) | None => Ok(()),
        }
    }

    fn master_wants(&mut self, command: Command) {
        let life = self.master.life;
        match command {
            Command::Persist { batch, records } => {
                let slow = self.master.stalled_until.max(self.now);
                let at = (slow + self.rng.between(1, 15)).max(self.master.disk_until);
                self.master.disk_until = at;
                self.at(at, Happening::Durable { life, batch, records });
            }
            Command::SendFramework { session, event } => self.send_to_framework(session, Said::Event(event)),
            Command::ReplyCall { session, sequence, result } => {
                self.send_to_framework(session, Said::Result { sequence, result });
            }
            Command::SendAgent { session, message } => self.send_to_agent(session, message),
            Command::CloseFramework { session } | Command::CloseAgent { session } => self.master_closes(session),
            Command::SendState { session, framework_id } => {
                let state = self.master.states.get(&framework_id).cloned().unwrap_or_default();
                self.send_to_framework(session, Said::State(Box::new(state)));
            }
            Command::AwaitRoom { session } => {
                let delay = self.rng.between(0, 50);
                self.after(delay, Happening::Room { life, session });
            }
            Command::Reply { .. } => {}
            Command::ScheduleAllocation => {
                if !std::mem::replace(&mut self.master.allocating, true) {
                    let delay = self.rng.between(0, 10);
                    self.after(delay, Happening::Allocate { life });
                }
            }
            Command::SetTimer { at } => {
                let at = self.master.clock.reaches(at);
                self.master.timer = Some(at);
                self.at(at, Happening::MasterTick { life, at });
            }
            Command::Changed(delta) => self.master_shows(delta),
            Command::Decided(decision) => {
                self.counts.hit(format!("decision: {}", variant(&decision)));
                self.master_decided(decision);
            }
        }
    }

    fn master_decided(&mut self, decision: Decision) {
        match decision {
            Decision::Rejected { reason, .. } => self.counts.rejected(&reason),
            Decision::TaskBecame { framework_id, task_id, from, to, .. } => {
                self.counts.row(from, to);
                if to.is_terminal() {
                    self.master.said_ended.insert((framework_id, task_id));
                }
            }
            Decision::FrameworkTornDown { framework_id, cause } => {
                self.counts.hit(format!("teardown: {}", variant(&cause)));
                self.ended_frameworks.insert(framework_id);
            }
            Decision::OfferEnded { end, .. } => self.counts.hit(format!("offer: {}", variant(&end))),
            Decision::Withheld { reason, .. } => self.counts.hit(format!("withheld: {}", variant(&reason))),
            Decision::AgentModeSet { mode, .. } => self.counts.hit(format!("agent: {}", mode.word())),
            // Counted by its name alone.
            _ => {}
        }
    }

    fn master_shows(&mut self, delta: Delta) {
        let host = &mut self.master;
        match delta {
            Delta::Agent(view) => {
                host.agents.insert(view.id.clone(), *view);
            }
            Delta::AgentOffers(lent) => {
                if let Some(agent) = host.agents.get_mut(&lent.agent_id) {
                    (agent.offered, agent.free) = (lent.offered, lent.free);
                }
            }
            Delta::Task(view) => {
                host.tasks.insert((view.framework_id.clone(), view.head.task_id.clone()), *view);
            }
            Delta::AgentRemoved(id) => drop(host.agents.remove(&id)),
            Delta::TaskRemoved { framework_id, task_id } => {
                host.tasks.remove(&(framework_id, task_id));
            }
            Delta::OfferAdded(_) => host.offers += 1,
            Delta::OfferRemoved { .. } => host.offers -= 1,
            Delta::Framework(_)
            | Delta::FrameworkOffers { .. }
            | Delta::FrameworkRemoved(_)
            | Delta::Role(_)
            | Delta::RoleRemoved(_)
            | Delta::Vip { .. } => {}
        }
    }

    pub(crate) fn master_durable(&mut self, life: u64, batch: u64, records: &[Record]) -> Result<(), String> {
        // What a dead master had not written is lost.
        if self.master.life != life || self.master.core.is_none() {
            return Ok(());
        }
        if self.now < self.master.full_until {
            // A transaction that cannot be committed leaves nothing; the shell ends with an error.
            self.master_dies();
            let room = self.master.full_until;
            self.at(room, Happening::MasterStarts);
            return Ok(());
        }
        let crash = self.crash_at_write("master");
        if crash != Some(Crash::Before) {
            for record in records {
                self.master_writes(record);
            }
        }
        if crash.is_some() {
            self.master_dies();
            let outage = self.outage(3000);
            self.after(outage, Happening::MasterStarts);
            return Ok(());
        }
        self.master_hears(Event::Persisted { batch })
    }
    fn master_writes(&mut self, record: &Record) {
        self.master.registry.apply(record);
        match record {
            Record::State { framework_id, value: Some(value), .. } if value.len() > 1 => {
                let state = self.master.states.entry(framework_id.clone()).or_default();
                service_host::apply(&self.services, state, value);
            }
            Record::DropState(framework_id) => drop(self.master.states.remove(framework_id)),
            Record::State { .. }
            | Record::Agent(_)
            | Record::ForgetAgent(_)
            | Record::Framework(_)
            | Record::ForgetFramework(_)
            | Record::Weight { .. }
            | Record::Quota { .. }
            | Record::Privileged(_)
            | Record::Vip { .. }
            | Record::DropVips(_) => {}
        }
    }
    pub(crate) fn master_finds_room(&mut self, life: u64, session: SessionId) -> Result<(), String> {
        if self.master.life != life {
            return Ok(());
        }
        self.master_hears(Event::FrameworkHasRoom { session })
    }
    pub(crate) fn master_allocates(&mut self, life: u64) -> Result<(), String> {
        if self.master.life != life {
            return Ok(());
        }
        self.master.allocating = false;
        self.master_hears(Event::AllocationDue)
    }
    pub(crate) fn master_ticks(&mut self, life: u64, at: u64) -> Result<(), String> {
        if self.master.life != life || self.master.timer != Some(at) {
            return Ok(());
        }
        self.master.timer = None;
        self.master_hears(Event::Tick)
    }
}
