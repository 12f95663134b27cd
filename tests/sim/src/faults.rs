//! What breaks: links, disks, processes; and how all of it heals in the end.
use master_core::{Event as MasterEvent, OperatorRequest, RequestId, SessionId};
use model::Span;
use model::link::ToAgent;

use crate::swarm::KINDS;
use crate::world::{Happening, Peer, World};

/// When a process dies around a write: what it knew by then and what is there afterwards differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// Nothing of the write is there.
    Before,
    /// The process is killed in it, and a beginning of it is there. For agents: others write all or nothing.
    Within,
    /// The machine stops in it, and some of it is there. For agents.
    WithPower,
    /// It is there, and the process never heard so.
    After,
}

/// The one write at which a process is to die.
#[derive(Debug, Clone)]
pub(crate) struct CrashAt {
    /// Whose: `master`, `agent` or `scheduler`.
    pub(crate) who: &'static str,
    /// So many of its writes are done.
    pub(crate) left: u64,
    pub(crate) crash: Crash,
    /// It has happened.
    pub(crate) is_done: bool,
}

impl World {
    /// Whether a process dies at this write.
    pub(crate) fn crash_at_write(&mut self, who: &str) -> Option<Crash> {
        if !self.faults {
            return None;
        }
        if let Some(at) = &mut self.crash {
            if at.is_done || at.who != who {
                return None;
            }
            at.is_done = at.left == 0;
            at.left = at.left.saturating_sub(1);
            return at.is_done.then_some(at.crash);
        }
        if self.rng.between(0, 999) >= self.swarm.crashes_at_writes {
            return None;
        }
        let is_torn = who == "agent" && self.rng.percent(self.swarm.torn);
        let (crash, when) = match (is_torn, self.rng.percent(50)) {
            (false, true) => (Crash::Before, "before"),
            (false, false) => (Crash::After, "after"),
            (true, true) => (Crash::Within, "within"),
            (true, false) => (Crash::WithPower, "with the power within"),
        };
        self.counts.hit(format!("fault: {who} crash {when} a write"));
        Some(crash)
    }

    /// A scheduler's disk is the master: its writes come with its calls.
    pub(crate) fn scheduler_crash(&mut self, peer: Peer, event: &master_core::Event) -> Option<Crash> {
        match (peer, event) {
            (Peer::Service(_), master_core::Event::FrameworkCalled { writes, .. }) if !writes.is_empty() => {
                self.crash_at_write("scheduler")
            }
            _ => None,
        }
    }
    pub(crate) fn service_restarts(&mut self, service: usize) {
        self.service_dies(service);
        let outage = self.outage(3000);
        self.after(outage, Happening::ServiceStarts { service });
    }

    /// A master that was deposed long ago still speaks. The agent obeys nothing of it.
    fn deposed_master(&mut self) -> Result<(), String> {
        let agent = self.rng.index(self.agents.len());
        let now = self.agents[agent].clock.shows(self.now);
        let host = &mut self.agents[agent];
        let Some(core) = host.core.as_mut().filter(|core| core.is_registered()) else { return Ok(()) };
        let Some(epoch) = core.record().epoch_seen.checked_sub(1) else { return Ok(()) };
        self.counts.hit("fault: deposed master speaks");
        let before = core.record().clone();
        let victim = core.tasks().find(|task| !task.latest.state.is_terminal());
        let message = match victim {
            Some(task) => ToAgent::Kill { framework_id: task.framework.id, task_id: task.head.task_id, grace: None },
            None => ToAgent::SetHoldings { generation: before.generation + 1, holdings: model::Resources::default() },
        };
        let mut out = Vec::new();
        core.step(now, agent_core::Event::Master { epoch, message }, &mut out);
        let obeyed = out.iter().any(|command| {
            matches!(command, agent_core::Command::Checkpoint { .. } | agent_core::Command::Kill { .. })
        });
        if obeyed || *core.record() != before {
            return Err(format!("agent-{agent} obeys epoch {epoch} after {}", before.epoch_seen));
        }
        for command in out {
            self.agent_wants(agent, command)?;
        }
        Ok(())
    }

    /// One thing breaks, and the next is planned.
    pub(crate) fn fault(&mut self) -> Result<(), String> {
        if !self.faults || self.crash.is_some() {
            return Ok(());
        }
        let pause = self.rng.between(200, self.swarm.pause);
        self.after(pause, Happening::Fault);
        let kind = self.rng.between(0, KINDS - 1);
        if !self.swarm.has(kind) {
            return Ok(());
        }
        match kind {
            0..=2 => {
                let sessions: Vec<_> = self.links.iter().filter(|(_, link)| !link.broken).map(|(id, _)| *id).collect();
                if sessions.is_empty() {
                    return Ok(());
                }
                let session = sessions[self.rng.index(sessions.len())];
                let (master_after, peer_after) = (self.rng.between(0, 200), self.rng.between(0, 200));
                if self.rng.percent(30) {
                    // One end believes in the link long after the other gave it up.
                    self.counts.hit("fault: half-open link");
                    self.break_link(session, self.half_open(true), self.half_open(false));
                } else {
                    self.counts.hit("fault: link break");
                    self.break_link(session, master_after, peer_after);
                }
            }
            3 => {
                self.counts.hit("fault: master crash");
                self.master_dies();
                let outage = self.outage(3000);
                self.after(outage, Happening::MasterStarts);
            }
            4 | 5 => {
                let agent = self.rng.index(self.agents.len());
                if self.rng.percent(10) {
                    self.counts.hit("fault: agent state lost");
                    self.agent_loses_everything(agent);
                } else {
                    self.counts.hit("fault: agent crash");
                    self.agent_dies(agent);
                    let pods: Vec<_> = self.agents[agent].executors.keys().cloned().collect();
                    for pod in pods {
                        if self.rng.percent(20) {
                            self.executor_ends_unheard(agent, pod)?;
                        }
                    }
                }
                let outage = self.outage(3000);
                self.after(outage, Happening::AgentStarts { agent });
            }
            6 | 7 => {
                let framework = self.rng.index(self.frameworks.len());
                self.counts.hit("fault: framework crash");
                self.framework_dies(framework);
                let outage = self.outage(5000);
                self.after(outage, Happening::FrameworkStarts { framework });
            }
            8 | 9 => {
                let agent = self.rng.index(self.agents.len());
                let pods: Vec<_> = self.agents[agent].executors.keys().cloned().collect();
                if !pods.is_empty() && self.rng.percent(40) {
                    let pod = pods[self.rng.index(pods.len())].clone();
                    self.executor_link_breaks(agent, pod);
                } else if !pods.is_empty() {
                    self.counts.hit("fault: executor crash");
                    let pod = pods[self.rng.index(pods.len())].clone();
                    self.executor_dies(agent, pod)?;
                }
            }
            10 => {
                self.counts.hit("fault: stalled disk");
                match self.rng.index(self.agents.len() + 1) {
                    0 => self.master.stalled_until = self.now + self.rng.between(100, 30_000),
                    // Longer than a master waits for an agent that is away.
                    number => self.agents[number - 1].stalled_until = self.now + self.rng.between(100, 60_000),
                }
            }
            11 => self.deposed_master()?,
            12 => {
                let service = self.rng.index(self.services.len());
                self.counts.hit("fault: scheduler crash");
                self.service_restarts(service);
            }
            13 => {
                let service = self.rng.index(self.services.len());
                self.service_is_asked(service)?;
            }
            14 => self.strangers()?,
            15 | 16 => self.one_way(),
            17 => self.partition(),
            18 => {
                let schedulers: Vec<_> = self
                    .links
                    .iter()
                    .filter(|(_, link)| !matches!(link.peer, Peer::Agent(_)))
                    .map(|(id, _)| *id)
                    .collect();
                if !schedulers.is_empty() {
                    self.counts.hit("fault: slow framework");
                    let session = schedulers[self.rng.index(schedulers.len())];
                    let until = self.now + self.rng.between(1000, 20_000);
                    self.hold(session, Some(until), Some(until));
                }
            }
            19 => {
                let agent = self.rng.index(self.agents.len());
                self.counts.hit("fault: host reboot");
                self.agent_dies(agent);
                self.agents[agent].reboots();
                let outage = self.outage(5000);
                self.after(outage, Happening::AgentStarts { agent });
            }
            20 => {
                self.counts.hit("fault: disk full");
                let until = self.now + self.rng.between(1000, 30_000);
                match self.rng.index(self.agents.len() + 1) {
                    0 => self.master.full_until = until,
                    number => self.agents[number - 1].full_until = until,
                }
            }
            21 => self.registers_on_a_slow_disk(),
            _ => self.operators()?,
        }
        Ok(())
    }

    /// An agent's disk stands still while its master is lost and found again, and then the agent dies: what it said meanwhile and
    /// had not written, it takes back.
    fn registers_on_a_slow_disk(&mut self) {
        let agent = self.rng.index(self.agents.len());
        let host = &mut self.agents[agent];
        let (Some(session), life) = (host.session, host.life) else { return };
        self.counts.hit("fault: registration on a disk that stands still");
        let stall = self.rng.between(2000, 15_000);
        self.agents[agent].stalled_until = self.agents[agent].stalled_until.max(self.now + stall);
        let (master_after, peer_after) = (self.rng.between(0, 100), self.rng.between(0, 100));
        if self.rng.percent(50) {
            // Another master has another epoch, which agents write down.
            self.master_dies();
            let outage = self.rng.between(50, 500);
            self.after(outage, Happening::MasterStarts);
        }
        let broken = self.rng.between(0, 1500);
        self.after(broken, Happening::LinkBreaks { session, master_after, peer_after });
        if self.rng.percent(70) {
            let death = self.rng.between(broken, stall);
            self.after(death, Happening::AgentDies { agent, life });
        }
    }

    /// What is said on a link from now on arrives at these times at the earliest.
    fn hold(&mut self, session: SessionId, to_master: Option<u64>, to_peer: Option<u64>) {
        if let Some(link) = self.links.get_mut(&session) {
            link.to_master = link.to_master.max(to_master.unwrap_or_default());
            link.to_peer = link.to_peer.max(to_peer.unwrap_or_default());
            link.works_since = link.works_since.max(link.to_master).max(link.to_peer);
        }
    }

    /// For a while one end hears nothing, and is heard.
    fn one_way(&mut self) {
        let sessions: Vec<_> = self.links.keys().copied().collect();
        if sessions.is_empty() {
            return;
        }
        self.counts.hit("fault: one-way partition");
        let session = sessions[self.rng.index(sessions.len())];
        let until = Some(self.now + self.rng.between(2000, 40_000));
        let (to_master, to_peer) = if self.rng.percent(50) { (until, None) } else { (None, until) };
        self.hold(session, to_master, to_peer);
    }

    /// Some are cut off from the master; nobody is told so.
    fn partition(&mut self) {
        self.counts.hit("fault: partition");
        let until = self.now + self.rng.between(1000, 40_000);
        let peers = (0..self.agents.len()).map(Peer::Agent);
        let peers = peers.chain((0..self.frameworks.len()).map(Peer::Framework));
        let peers: Vec<Peer> = peers.chain((0..self.services.len()).map(Peer::Service)).collect();
        let cut: Vec<Peer> = peers.into_iter().filter(|_| self.rng.percent(40)).collect();
        let sessions: Vec<SessionId> =
            self.links.iter().filter(|(_, link)| !link.broken && cut.contains(&link.peer)).map(|(id, _)| *id).collect();
        for session in sessions {
            let (master_after, peer_after) = (self.rng.between(1000, 25_000), self.rng.between(1000, 25_000));
            self.break_link(session, master_after, peer_after);
        }
        self.cut_off.retain(|(_, until)| self.now < *until);
        self.cut_off.extend(cut.into_iter().map(|peer| (peer, until)));
    }

    /// Operators empty agents, and give some up.
    fn operators(&mut self) -> Result<(), String> {
        let agent = self.rng.index(self.agents.len());
        let name = self.agents[agent].name.clone();
        let grace = Span::millis(self.rng.between(0, 20_000));
        let mark_gone = self.rng.percent(40);
        let ask = match self.rng.between(0, 3) {
            0 => OperatorRequest::DeactivateAgent { agent: name },
            1 | 2 => OperatorRequest::DrainAgent { agent: name, max_grace: grace, mark_gone },
            _ if self.agents[agent].core.is_none() => OperatorRequest::MarkAgentGone { agent: name },
            _ => return Ok(()),
        };
        self.counts.hit("asked: drain, deactivate or give up");
        let back = self.rng.between(2000, 60_000);
        self.after(back, Happening::AgentReactivated { agent });
        self.master_hears(MasterEvent::Asked { request: RequestId(4), ask })
    }

    /// Whatever an operator decided about an agent is over.
    pub(crate) fn reactivate(&mut self, agent: usize) -> Result<(), String> {
        let ask = OperatorRequest::ReactivateAgent { agent: self.agents[agent].name.clone() };
        self.master_hears(MasterEvent::Asked { request: RequestId(5), ask })
    }

    fn half_open(&self, master: bool) -> u64 {
        // Decided by the time alone: the generator is in use by the caller.
        match (master, self.now.is_multiple_of(2)) {
            (true, true) | (false, false) => 25_000,
            (true, false) | (false, true) => 50,
        }
    }

    pub(crate) fn outage(&mut self, usual: u64) -> u64 {
        if self.rng.percent(15) {
            self.counts.hit("fault: long outage");
            self.rng.between(20_000, 50_000)
        } else {
            self.rng.between(50, usual)
        }
    }

    /// Everything that is down comes up.
    pub(crate) fn heal(&mut self) {
        (self.master.stalled_until, self.master.full_until) = (0, 0);
        self.cut_off.clear();
        self.after(0, Happening::MasterStarts);
        for agent in 0..self.agents.len() {
            (self.agents[agent].stalled_until, self.agents[agent].full_until) = (0, 0);
            self.after(10, Happening::AgentStarts { agent });
            // A drain that nobody called off would never let anybody back.
            self.after(1000, Happening::AgentReactivated { agent });
        }
        for framework in 0..self.frameworks.len() {
            self.after(20, Happening::FrameworkStarts { framework });
        }
        for service in 0..self.services.len() {
            self.after(20, Happening::ServiceStarts { service });
        }
    }
}
