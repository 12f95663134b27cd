//! Time, links and who hears what when. Links deliver in order until they break; each end notices a break on its own.
use std::collections::{BTreeMap, BTreeSet};

use master_core::{Event as MasterEvent, Record, SessionId};
use model::call::{Call, SchedulerEvent};
use model::link::{FromAgent, ToAgent};
use model::{FrameworkId, Refusal, TaskId};

use crate::agent_host::AgentHost;
use crate::checks;
use crate::clock::Clock;
use crate::counts::Counts;
use crate::faults::{Crash, CrashAt};
use crate::framework_host::{FrameworkHost, MISCHIEFS};
use crate::master_host::MasterHost;
use crate::rng::Rng;
use crate::service_host::ServiceHost;
use crate::swarm::Swarm;

/// Everything.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    pub(crate) counts: Counts,
    /// Whether things break.
    pub(crate) faults: bool,
    /// What breaks how often.
    pub(crate) swarm: Swarm,
    /// Where the one crash of the run is, if that was asked for.
    pub(crate) crash: Option<CrashAt>,
    /// Who cannot reach the master, until when.
    pub(crate) cut_off: Vec<(Peer, u64)>,
    /// Of everything that happened, if it is asked for.
    pub(crate) digest: Option<u64>,
    pub(crate) master: MasterHost,
    pub(crate) agents: Vec<AgentHost>,
    pub(crate) frameworks: Vec<FrameworkHost>,
    pub(crate) services: Vec<ServiceHost>,
    pub(crate) links: BTreeMap<SessionId, Link>,
    /// Where every task was started, over the whole run: once, on one agent.
    pub(crate) started: BTreeMap<(FrameworkId, TaskId), (usize, String)>,
    pub(crate) ended_frameworks: BTreeSet<FrameworkId>,
    /// Everybody is to be removed.
    is_leaving: bool,
    /// An agent lost its volumes.
    pub(crate) data_lost: bool,
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    pub(crate) sessions: u64,
    /// What is told of while it happens: lines with one of these words in them.
    pub(crate) told: Vec<String>,
}

/// The far end of a link to the master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Agent(usize),
    Framework(usize),
    Service(usize),
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) peer: Peer,
    pub(crate) broken: bool,
    master_open: bool,
    peer_open: bool,
    pub(crate) to_master: u64,
    pub(crate) to_peer: u64,
    /// Nothing but latency has hindered it since.
    pub(crate) works_since: u64,
    /// How much longer than on others everything takes on it.
    pub(crate) slow_to_master: u64,
    pub(crate) slow_to_peer: u64,
    /// Once it is broken, what was under way arrives as far as it had come.
    last_to_master: u64,
    last_to_peer: u64,
}

/// What a scheduler hears.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    Event(SchedulerEvent),
    State(Box<framework_core::record::Snapshot>),
    Result { sequence: u64, result: Result<(), Refusal> },
}

/// What will happen at a time. `life` counts a process's incarnations: what was meant for an earlier one is lost with it.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // most are the large ones
pub(crate) enum Happening {
    ToMaster { session: SessionId, event: MasterEvent },
    ToAgent { session: SessionId, epoch: u64, message: ToAgent },
    ToFramework { session: SessionId, said: Said },
    MasterNotices { session: SessionId },
    PeerNotices { session: SessionId },
    MasterStarts,
    Durable { life: u64, batch: u64, records: Vec<Record> },
    Allocate { life: u64 },
    Room { life: u64, session: SessionId },
    MasterTick { life: u64, at: u64 },
    LinkBreaks { session: SessionId, master_after: u64, peer_after: u64 },
    AgentStarts { agent: usize },
    AgentDies { agent: usize, life: u64 },
    AgentReinstalled { agent: usize },
    AgentReactivated { agent: usize },
    AgentDials { agent: usize, life: u64 },
    AgentTick { agent: usize, life: u64 },
    AgentHears { agent: usize, life: u64, event: Box<agent_core::Event> },
    AgentDurable { agent: usize, life: u64, batch: u64, writes: Vec<agent_core::Write> },
    ExecutorConnects { agent: usize, life: u64, pod: agent_core::PodId },
    KillArrives { agent: usize, pod: agent_core::PodId, task: TaskId, connection: u64 },
    TaskStarts { agent: usize, pod: agent_core::PodId, task: TaskId },
    TaskReady { agent: usize, pod: agent_core::PodId, task: TaskId },
    TaskEnds { agent: usize, pod: agent_core::PodId, task: TaskId, end: agent_core::End, asked: bool },
    FrameworkStarts { framework: usize },
    FrameworkTick { framework: usize, life: u64 },
    ServiceStarts { service: usize },
    ServiceDials { service: usize, life: u64 },
    ServiceTick { service: usize, session: Option<SessionId>, at: u64 },
    ServiceTarget { service: usize, session: Option<SessionId> },
    ServiceRendered { service: usize, session: Option<SessionId>, launch: Box<framework_core::Launch> },
    ServiceAnswered { service: usize, session: Option<SessionId>, key: String, answer: framework_core::Answer },
    Fault,
}

/// How long things break.
const FAULTY_MS: u64 = 120_000;
/// How long a run with one crash goes on before everything has to converge.
const CRASH_MS: u64 = 20_000;
/// How long everything may take to converge: a reregistration timeout, a filter, the longest retry of an update.
const CONVERGENCE_MS: u64 = 900_000;

/// So much cannot happen in a cluster of this size before it is looked at again: somebody answers an answer.
const HAPPENINGS_MAX: u64 = 200_000;

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let swarm = Swarm::draw(&mut rng);
        let agents = rng.between(1, 4);
        let frameworks = rng.between(1, 2);
        let mut world = Self {
            master: MasterHost::new(),
            agents: (0..agents).map(AgentHost::new).collect(),
            frameworks: (0..frameworks).map(FrameworkHost::new).collect(),
            services: vec![ServiceHost::new(0)],
            rng,
            now: 1_000_000,
            counts: Counts::default(),
            faults: true,
            swarm,
            crash: None,
            cut_off: Vec::new(),
            digest: None,
            links: BTreeMap::new(),
            started: BTreeMap::new(),
            ended_frameworks: BTreeSet::new(),
            is_leaving: false,
            data_lost: false,
            queue: BTreeMap::new(),
            sequence: 0,
            sessions: 0,
            told: Vec::new(),
        };
        for framework in &mut world.frameworks {
            // A run is short: each begins elsewhere.
            framework.mischief = world.rng.between(0, MISCHIEFS - 1);
        }
        world.after(0, Happening::MasterStarts);
        for agent in 0..world.agents.len() {
            world.after(10, Happening::AgentStarts { agent });
        }
        for framework in 0..world.frameworks.len() {
            world.after(20, Happening::FrameworkStarts { framework });
        }
        for service in 0..world.services.len() {
            world.after(20, Happening::ServiceStarts { service });
        }
        world.after(2000, Happening::Fault);
        world
    }

    pub(crate) fn run(&mut self) -> Result<(), String> {
        let begin = self.now;
        self.until(begin + if self.crash.is_some() { CRASH_MS } else { FAULTY_MS })?;
        self.faults = false;
        self.heal();
        self.clear_quotas()?;
        let deadline = self.now + CONVERGENCE_MS;
        self.converge(deadline, checks::is_settled)?;
        // What was declined all the while is offered again: everybody wants more, and nobody asks for it.
        for framework in &mut self.frameworks {
            framework.goal += 1;
            framework.patient = true;
        }
        let deadline = self.now + CONVERGENCE_MS;
        self.converge(deadline, checks::is_settled)?;
        self.is_leaving = true;
        for framework in &mut self.frameworks {
            framework.goal = 0;
        }
        let deadline = self.now + CONVERGENCE_MS;
        self.converge(deadline, checks::is_empty)
    }

    fn until(&mut self, end: u64) -> Result<(), String> {
        let mut count = 0;
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            count += 1;
            if count > HAPPENINGS_MAX {
                return Err(format!("it goes round and round: {:?}", entry.get()));
            }
            let ((at, _), happening) = entry.remove_entry();
            self.now = self.now.max(at);
            self.happen(happening)?;
        }
        self.now = end;
        Ok(())
    }

    fn converge(&mut self, deadline: u64, is_done: impl Fn(&World) -> Result<(), String>) -> Result<(), String> {
        let mut patience = self.now + 120_000;
        loop {
            self.until(self.now + 1000)?;
            if self.data_lost && self.now >= patience {
                patience = deadline;
                self.services_replace_data()?;
            }
            if self.is_leaving {
                self.services_uninstall()?;
            }
            match is_done(self) {
                Ok(()) => return Ok(()),
                Err(why) if self.now >= deadline => return Err(format!("did not converge: {why}")),
                Err(_) => {}
            }
        }
    }

    /// The clock of a process that starts now.
    pub(crate) fn draw_clock(&mut self) -> Clock {
        let clock = Clock::draw(self.now, self.swarm.skew, self.swarm.drift, &mut self.rng);
        if clock.is_off() {
            self.counts.hit("fault: clock skew");
        }
        if clock.drifts() {
            self.counts.hit("fault: clock drift");
        }
        clock
    }
    pub(crate) fn is_cut_off(&self, peer: Peer) -> bool {
        self.cut_off.iter().any(|(who, until)| *who == peer && self.now < *until)
    }
    pub(crate) fn after(&mut self, delay: u64, happening: Happening) {
        self.at(self.now + delay, happening);
    }
    pub(crate) fn at(&mut self, at: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((at.max(self.now), self.sequence), happening);
    }
    fn latency(&mut self) -> u64 {
        if self.faults && self.rng.percent(self.swarm.delayed) {
            self.counts.hit("fault: message delayed");
            self.rng.between(100, 3000)
        } else {
            self.rng.between(1, 20)
        }
    }

    /// A new connection. A stream keeps its order, so nothing overtakes anything within one direction of a link; between any two
    /// links, of two peers or of the same one before and after it dialled anew, everything may: some are slower than others.
    pub(crate) fn connect(&mut self, peer: Peer) -> SessionId {
        let is_slow = self.faults && self.rng.percent(self.swarm.slow_links);
        if is_slow {
            self.counts.hit("fault: slow link");
        }
        let mut slow = || if is_slow { self.rng.between(0, 1500) } else { 0 };
        let (slow_to_master, slow_to_peer) = (slow(), slow());
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let link = Link {
            peer,
            broken: false,
            master_open: true,
            peer_open: true,
            to_master: self.now,
            to_peer: self.now,
            works_since: self.now,
            slow_to_master,
            slow_to_peer,
            last_to_master: 0,
            last_to_peer: 0,
        };
        self.links.insert(session, link);
        session
    }
    pub(crate) fn send_to_master(&mut self, session: SessionId, event: MasterEvent) {
        let at = self.now + self.latency();
        let Some(link) = self.links.get_mut(&session).filter(|link| !link.broken) else { return };
        link.to_master = link.to_master.max(at + link.slow_to_master);
        let at = link.to_master;
        // What may be said twice is: updates and receipts.
        let may_repeat = match &event {
            MasterEvent::AgentSaid { message: FromAgent::Update { .. } | FromAgent::Applied { .. }, .. } => true,
            MasterEvent::FrameworkCalled { call: Some(call), .. } => {
                matches!(call, Call::Acknowledge { .. } | Call::Kill { .. } | Call::Reconcile { .. })
            }
            _ => false,
        };
        if may_repeat && self.is_duplicated() {
            self.at(at, Happening::ToMaster { session, event: event.clone() });
        }
        self.at(at, Happening::ToMaster { session, event });
    }
    fn is_duplicated(&mut self) -> bool {
        let is = self.faults && self.rng.percent(self.swarm.duplicated);
        if is {
            self.counts.hit("fault: message duplicated");
        }
        is
    }
    fn slot_to_peer(&mut self, session: SessionId) -> Option<u64> {
        let at = self.now + self.latency();
        let link = self.links.get_mut(&session).filter(|link| !link.broken)?;
        link.to_peer = link.to_peer.max(at + link.slow_to_peer);
        Some(link.to_peer)
    }
    pub(crate) fn send_to_agent(&mut self, session: SessionId, message: ToAgent) {
        let epoch = self.master.registry.pool.epoch;
        if let Some(at) = self.slot_to_peer(session) {
            let may_repeat = match &message {
                ToAgent::Launch { .. }
                | ToAgent::Kill { .. }
                | ToAgent::Acknowledge { .. }
                | ToAgent::SetHoldings { .. }
                | ToAgent::Peers(_) => true,
                ToAgent::Registered { .. }
                | ToAgent::Refused(_)
                | ToAgent::Ping { .. }
                | ToAgent::ShutdownFramework { .. } => false,
            };
            if may_repeat && self.is_duplicated() {
                self.at(at, Happening::ToAgent { session, epoch, message: message.clone() });
            }
            self.at(at, Happening::ToAgent { session, epoch, message });
        }
    }
    pub(crate) fn send_to_framework(&mut self, session: SessionId, said: Said) {
        if let Some(at) = self.slot_to_peer(session) {
            self.at(at, Happening::ToFramework { session, said });
        }
    }
    /// The master ends a session after what it sent.
    pub(crate) fn master_closes(&mut self, session: SessionId) {
        let at = self.slot_to_peer(session).unwrap_or(self.now);
        self.at(at, Happening::PeerNotices { session });
        self.after(0, Happening::MasterNotices { session });
    }
    /// What is under way arrives in part; each end notices after its own while.
    pub(crate) fn break_link(&mut self, session: SessionId, master_after: u64, peer_after: u64) {
        let (master_hears, peer_hears) = if self.faults && self.rng.percent(self.swarm.last_words) {
            // What the kernel has taken is read late, when the other side has long been back on another link.
            self.counts.hit("fault: last words of a link");
            (self.rng.between(0, master_after), self.rng.between(0, peer_after))
        } else {
            (self.rng.between(0, 25), self.rng.between(0, 25))
        };
        let now = self.now;
        let Some(link) = self.links.get_mut(&session) else { return };
        if !std::mem::replace(&mut link.broken, true) {
            (link.last_to_master, link.last_to_peer) = (now + master_hears, now + peer_hears);
        }
        self.after(master_after, Happening::MasterNotices { session });
        self.after(peer_after, Happening::PeerNotices { session });
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        self.tell(|| format!("{happening:?}"));
        if let Some(digest) = &mut self.digest {
            let text = format!("{} {happening:?}", self.now);
            // FNV-1a.
            *digest = text.bytes().fold(*digest, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        }
        match happening {
            Happening::ToMaster { session, event } => match self.links.get(&session) {
                Some(link) if (!link.broken || self.now <= link.last_to_master) && link.master_open => {
                    let crash = self.scheduler_crash(link.peer, &event);
                    if crash != Some(Crash::Before) {
                        self.master_hears(event)?;
                    }
                    if crash.is_some()
                        && let Some(Link { peer: Peer::Service(service), .. }) = self.links.get(&session)
                    {
                        self.service_restarts(*service);
                    }
                }
                Some(_) | None => self.counts.hit("fault: message lost"),
            },
            Happening::ToAgent { session, epoch, message } => {
                if let Some(Link { peer: Peer::Agent(agent), .. }) = self.open_to_peer(session) {
                    let agent = *agent;
                    self.agent_hears(agent, agent_core::Event::Master { epoch, message })?;
                }
            }
            Happening::ToFramework { session, said } => {
                let is_of_the_dead = self.links.get(&session).is_some_and(|link| !link.master_open);
                if let Some(Link { peer: Peer::Framework(framework), .. }) = self.open_to_peer(session) {
                    let framework = *framework;
                    self.framework_hears(framework, said)?;
                } else if let Some(Link { peer: Peer::Service(service), .. }) = self.open_to_peer(session) {
                    let service = *service;
                    self.service_hears(service, said)?;
                }
                if is_of_the_dead {
                    // The next master cannot know of it.
                    self.nothing_is_confirmed();
                }
            }
            Happening::MasterNotices { session } => {
                let Some(link) = self.links.get_mut(&session) else { return Ok(()) };
                if std::mem::take(&mut link.master_open) {
                    let event = match link.peer {
                        Peer::Agent(_) => MasterEvent::AgentClosed { session },
                        Peer::Framework(_) | Peer::Service(_) => MasterEvent::FrameworkClosed { session },
                    };
                    self.master_hears(event)?;
                }
                self.forget_link(session);
            }
            Happening::PeerNotices { session } => {
                let Some(link) = self.links.get_mut(&session) else { return Ok(()) };
                link.broken = true;
                let peer = link.peer;
                if std::mem::take(&mut link.peer_open) {
                    match peer {
                        Peer::Agent(agent) => self.agent_link_down(agent, session)?,
                        Peer::Framework(framework) => self.framework_link_down(framework, session),
                        Peer::Service(service) => self.service_link_down(service, session),
                    }
                }
                self.forget_link(session);
            }
            Happening::MasterStarts => self.master_starts()?,
            Happening::Durable { life, batch, records } => self.master_durable(life, batch, &records)?,
            Happening::Allocate { life } => self.master_allocates(life)?,
            Happening::Room { life, session } => self.master_finds_room(life, session)?,
            Happening::MasterTick { life, at } => self.master_ticks(life, at)?,
            Happening::LinkBreaks { session, master_after, peer_after } => {
                self.break_link(session, master_after, peer_after);
            }
            Happening::AgentStarts { agent } => self.agent_starts(agent)?,
            Happening::AgentDies { agent, life } => {
                if self.faults && self.agents[agent].life == life {
                    self.agent_dies(agent);
                    let outage = self.outage(3000);
                    self.after(outage, Happening::AgentStarts { agent });
                }
            }
            Happening::AgentReinstalled { agent } => {
                self.agent_loses_everything(agent);
                self.after(1, Happening::AgentStarts { agent });
            }
            Happening::AgentReactivated { agent } => self.reactivate(agent)?,
            Happening::AgentDials { agent, life } => self.agent_dials(agent, life)?,
            Happening::AgentTick { agent, life } => self.agent_ticks(agent, life)?,
            Happening::AgentHears { agent, life, event } => {
                if self.agents[agent].life == life {
                    self.agent_hears(agent, *event)?;
                }
            }
            Happening::AgentDurable { agent, life, batch, writes } => {
                self.agent_durable(agent, life, batch, &writes)?
            }
            Happening::ExecutorConnects { agent, life, pod } => self.executor_connects(agent, life, pod)?,
            Happening::KillArrives { agent, pod, task, connection } => self.kill_arrives(agent, pod, task, connection),
            Happening::TaskStarts { agent, pod, task } => self.task_starts(agent, &pod, &task)?,
            Happening::TaskReady { agent, pod, task } => self.task_is_ready(agent, &pod, &task)?,
            Happening::TaskEnds { agent, pod, task, end, asked } => self.task_ends(agent, &pod, &task, &end, asked)?,
            Happening::FrameworkStarts { framework } => self.framework_starts(framework),
            Happening::FrameworkTick { framework, life } => self.framework_ticks(framework, life),
            Happening::ServiceStarts { service } => self.service_starts(service),
            Happening::ServiceDials { service, life } => self.service_dials(service, life),
            Happening::ServiceTick { service, session, at } => self.service_ticks(service, session, at)?,
            Happening::ServiceTarget { service, session } => self.service_target(service, session)?,
            Happening::ServiceRendered { service, session, launch } => {
                self.service_rendered(service, session, *launch)?
            }
            Happening::ServiceAnswered { service, session, key, answer } => {
                self.service_answered(service, session, key, answer)?
            }
            Happening::Fault => self.fault()?,
        }
        Ok(())
    }

    pub(crate) fn nothing_is_confirmed(&mut self) {
        self.frameworks.iter_mut().for_each(|framework| framework.confirmed.clear());
        self.services.iter_mut().for_each(|service| service.confirmed.clear());
    }
    fn open_to_peer(&self, session: SessionId) -> Option<&Link> {
        let arrives = |link: &&Link| (!link.broken || self.now <= link.last_to_peer) && link.peer_open;
        self.links.get(&session).filter(arrives)
    }
    fn forget_link(&mut self, session: SessionId) {
        if self.links.get(&session).is_some_and(|link| !link.master_open && !link.peer_open) {
            self.links.remove(&session);
        }
    }
    /// The end that died will notice nothing; the other one will.
    pub(crate) fn end_dies(&mut self, session: SessionId, master_died: bool, other_after: u64) {
        let heard = self.rng.between(0, 25);
        let now = self.now;
        let Some(link) = self.links.get_mut(&session) else { return };
        if !std::mem::replace(&mut link.broken, true) {
            // What it said last may arrive yet.
            (link.last_to_master, link.last_to_peer) = (now + heard, now + heard);
        }
        if master_died {
            link.master_open = false;
            self.after(other_after, Happening::PeerNotices { session });
        } else {
            link.peer_open = false;
            self.after(other_after, Happening::MasterNotices { session });
        }
        self.forget_link(session);
    }
}
