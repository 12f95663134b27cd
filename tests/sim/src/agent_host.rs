//! An agent's shell and machine: a disk, and executors that outlive the agent.
use std::collections::{BTreeMap, BTreeSet};

use agent_core::{
    Agent, AgentConfig, Command, Decision, End, EndCause, Event, PodId, Report, ReportKind, VolumeKey, Write,
};
use master_core::{Event as MasterEvent, SessionId};
use model::link::FromAgent;
use model::{FrameworkId, Milli, Quantities, TaskId};

use crate::clock::Clock;
use crate::disk::{Disk, Torn};
use crate::faults::Crash;
use crate::service_spec::{JOB, SERVER};
use crate::world::{Happening, Peer, World};

/// An agent, its disk and its executors.
#[derive(Debug)]
pub(crate) struct AgentHost {
    pub(crate) name: String,
    pub(crate) core: Option<Agent>,
    pub(crate) life: u64,
    pub(crate) session: Option<SessionId>,
    disk: Disk,
    disk_until: u64,
    /// The disk is slow until then.
    pub(crate) stalled_until: u64,
    /// Nothing more fits on the disk until then.
    pub(crate) full_until: u64,
    wake: Option<u64>,
    pub(crate) clock: Clock,
    /// How often the machine was started.
    boots: u64,
    pub(crate) executors: BTreeMap<PodId, Executor>,
    /// What executors that died wrote down, and no agent has read.
    dead: BTreeMap<PodId, Vec<Report>>,
    pub(crate) volumes: BTreeSet<VolumeKey>,
    number: u64,
}

/// A pod's processes.
#[derive(Debug)]
pub(crate) struct Executor {
    framework_id: FrameworkId,
    pub(crate) tasks: BTreeMap<TaskId, bool>,
    names: BTreeMap<TaskId, String>,
    /// What the agent has not said it has seen.
    reports: Vec<Report>,
    next_report: u64,
    /// The incarnation of the agent that is connected.
    attached: Option<u64>,
    /// Counts its connections: what was on the way on an earlier one is lost.
    connection: u64,
}

impl AgentHost {
    pub(crate) fn new(number: u64) -> Self {
        Self {
            name: format!("agent-{number}"),
            core: None,
            life: 0,
            session: None,
            disk: Disk::default(),
            disk_until: 0,
            stalled_until: 0,
            full_until: 0,
            wake: None,
            clock: Clock::default(),
            boots: 1,
            executors: BTreeMap::new(),
            dead: BTreeMap::new(),
            volumes: BTreeSet::new(),
            number,
        }
    }
    /// Nothing runs any more, and what was not on the disk is gone.
    pub(crate) fn reboots(&mut self) {
        self.boots += 1;
        self.executors.clear();
    }
    fn config(&self) -> AgentConfig {
        AgentConfig {
            name: self.name.clone(),
            address: format!("10.0.0.{}", self.number + 1),
            port: 5051,
            resources: Quantities {
                cpus: Milli::units(8 + i64::try_from(self.number).expect("small")),
                mem: Milli::units(4096),
                disk: Milli::units(1000),
                ports: [(20000, 20009)].into_iter().collect(),
                ..Quantities::default()
            }
            .into(),
            attributes: BTreeMap::new(),
            region: String::new(),
            zone: String::new(),
            boot_id: format!("boot-{}", self.boots),
            software: "sim".to_owned(),
        }
    }
}

impl World {
    pub(crate) fn agent_starts(&mut self, agent: usize) -> Result<(), String> {
        if self.agents[agent].core.is_some() {
            return Ok(());
        }
        self.agents[agent].clock = self.draw_clock();
        let (now, seed) = (self.agents[agent].clock.shows(self.now), self.rng.next());
        let host = &mut self.agents[agent];
        host.life += 1;
        host.wake = None;
        let core = Agent::new(host.config(), host.disk.load(), seed, now);
        host.core = Some(core.map_err(|refusal| format!("{} does not start: {refusal}", host.name))?);
        self.agent_hears(agent, Event::Tick)
    }
    pub(crate) fn agent_dies(&mut self, agent: usize) {
        let host = &mut self.agents[agent];
        host.core = None;
        host.life += 1;
        if let Some(session) = host.session.take() {
            let after = self.rng.between(1, 1000);
            self.end_dies(session, false, after);
        }
    }
    /// The machine is installed anew: nothing of it is left but its name.
    pub(crate) fn agent_loses_everything(&mut self, agent: usize) {
        self.agent_dies(agent);
        // What was kept on it is gone: somebody has to say that it is to be made anew.
        self.data_lost = true;
        let host = &mut self.agents[agent];
        host.disk = Disk::default();
        host.executors.clear();
        host.dead.clear();
        host.volumes.clear();
    }
    pub(crate) fn agent_hears(&mut self, agent: usize, event: Event) -> Result<(), String> {
        let (clock, world_now) = (self.agents[agent].clock, self.now);
        let now = clock.shows(world_now);
        let Some(core) = self.agents[agent].core.as_mut() else { return Ok(()) };
        let mut out = Vec::new();
        core.step(now, event, &mut out);
        agent_core::invariants::check(core).map_err(|what| format!("agent-{agent}: {what}"))?;
        for command in out {
            self.agent_wants(agent, command)?;
        }
        let host = &mut self.agents[agent];
        let wake = host.core.as_ref().and_then(Agent::next_wake).map(|at| clock.reaches(at).max(world_now + 1));
        if let Some(at) = wake
            && host.wake.is_none_or(|known| at < known || known <= world_now)
        {
            host.wake = Some(at);
            let life = host.life;
            self.at(at, Happening::AgentTick { agent, life });
        }
        Ok(())
    }
    pub(crate) fn agent_ticks(&mut self, agent: usize, life: u64) -> Result<(), String> {
        if self.agents[agent].life != life {
            return Ok(());
        }
        self.agents[agent].wake = None;
        self.agent_hears(agent, Event::Tick)
    }
    fn tell_agent_later(&mut self, agent: usize, low: u64, high: u64, event: Event) {
        let life = self.agents[agent].life;
        let delay = self.rng.between(low, high);
        self.after(delay, Happening::AgentHears { agent, life, event: Box::new(event) });
    }

    pub(crate) fn agent_wants(&mut self, agent: usize, command: Command) -> Result<(), String> {
        self.nothing_is_done_too_early(agent, &command)?;
        self.tell(|| format!("  agent-{agent} wants {command:?}"));
        let life = self.agents[agent].life;
        match command {
            Command::Connect { after } => {
                let delay = after.0 + self.rng.between(1, 20);
                self.after(delay, Happening::AgentDials { agent, life });
            }
            Command::CloseLink => {
                if let Some(session) = self.agents[agent].session {
                    self.break_link(session, 5, 1);
                } else {
                    self.tell_agent_later(agent, 1, 5, Event::LinkDown { why: "closed".to_owned() });
                }
            }
            Command::Send(message) => {
                if let Some(session) = self.agents[agent].session {
                    self.send_to_master(session, MasterEvent::AgentSaid { session, message });
                }
            }
            Command::Checkpoint { batch, writes } => {
                let slow = self.agents[agent].stalled_until.max(self.now);
                let at = (slow + self.rng.between(1, 10)).max(self.agents[agent].disk_until);
                self.agents[agent].disk_until = at;
                self.at(at, Happening::AgentDurable { agent, life, batch, writes });
            }
            Command::Prepare { launch } => {
                let failure = (self.faults && self.rng.percent(3)).then(|| "no such image".to_owned());
                let high = if self.faults && self.rng.percent(10) { 8000 } else { 300 };
                self.tell_agent_later(agent, 5, high, Event::Prepared { pod_id: launch.pod_id.clone(), failure });
            }
            Command::Start { pod_id } => self.start_executor(agent, pod_id)?,
            Command::Attach { pod_id } => self.connect_executor(agent, pod_id),
            Command::Kill { pod_id, task_id, .. } => {
                let connection = self.agents[agent].executors.get(&pod_id).map_or(0, |executor| executor.connection);
                let delay = self.rng.between(1, 5);
                self.after(delay, Happening::KillArrives { agent, pod: pod_id, task: task_id, connection });
            }
            Command::ReportSeen { pod_id, number } => {
                if let Some(executor) = self.agents[agent].executors.get_mut(&pod_id) {
                    executor.reports.retain(|report| report.number > number);
                }
            }
            Command::Destroy { pod_id } => {
                self.agents[agent].executors.remove(&pod_id);
                self.agents[agent].dead.remove(&pod_id);
                self.tell_agent_later(agent, 5, 200, Event::PodDestroyed { pod_id });
            }
            Command::SetVolumes { generation, volumes } => {
                self.agents[agent].volumes = volumes;
                self.tell_agent_later(agent, 1, 50, Event::VolumesSet { generation });
            }
            Command::Note(Decision::RefusedByMaster(refusal)) if refusal.code == "MST0027" => {
                // It was given up: somebody makes a new agent of the machine.
                let delay = self.rng.between(1, 5000);
                self.after(delay, Happening::AgentReinstalled { agent });
            }
            Command::RemoveSandbox { .. } | Command::SetNetwork(_) | Command::Note(_) => {}
        }
        Ok(())
    }

    /// Whatever could be asked about after a crash is on the disk before anybody sees it.
    fn nothing_is_done_too_early(&self, agent: usize, command: &Command) -> Result<(), String> {
        let host = &self.agents[agent];
        match command {
            Command::Start { pod_id } if host.disk.progress(pod_id).is_none_or(|progress| !progress.started) => {
                return Err(format!("{}: pod {pod_id} starts before that is written", host.name));
            }
            Command::Send(FromAgent::Update { status, .. }) if status.uuid.is_some() => {
                let mut tasks = host.disk.all_progress().flat_map(|progress| &progress.tasks);
                if !tasks.any(|task| task.stream.iter().any(|update| update.uuid == status.uuid)) {
                    return Err(format!("{}: an update of {} is sent before it is written", host.name, status.task_id));
                }
            }
            Command::Send(FromAgent::Register(said)) => {
                let on_disk = host.disk.load();
                if said.epoch_seen > on_disk.agent.epoch_seen || said.agent_id != on_disk.agent.agent_id {
                    return Err(format!("{} says of itself what is not written", host.name));
                }
                let alive: BTreeSet<(&FrameworkId, &TaskId)> = on_disk
                    .pods
                    .values()
                    .flat_map(|(launch, progress)| {
                        let tasks = progress.iter().flat_map(|progress| &progress.tasks);
                        let alive = tasks.filter(|task| !task.latest.state.is_terminal());
                        alive.map(|task| (&launch.framework.id, &task.task_id))
                    })
                    .collect();
                let mut ended = said.tasks.iter().filter(|task| task.latest.state.is_terminal());
                if let Some(task) = ended.find(|task| alive.contains(&(&task.framework.id, &task.head.task_id))) {
                    return Err(format!("{} says that {} ended before it is written", host.name, task.head.task_id));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn start_executor(&mut self, agent: usize, pod_id: PodId) -> Result<(), String> {
        let host = &mut self.agents[agent];
        let launch =
            host.core.as_ref().and_then(|core| core.launch_of(&pod_id)).ok_or("a pod without launch starts")?.clone();
        let framework_id = launch.framework.id.clone();
        for task in &launch.tasks {
            let key = (framework_id.clone(), task.head.task_id.clone());
            let place = (agent, pod_id.to_string());
            let first = self.started.entry(key).or_insert_with(|| place.clone()).clone();
            if first != place {
                return Err(format!("task {} started as {first:?} and as {place:?}", task.head.task_id));
            }
        }
        let tasks = launch.tasks.iter().map(|task| (task.head.task_id.clone(), true)).collect();
        let names = launch.tasks.iter().map(|task| (task.head.task_id.clone(), task.head.name.clone())).collect();
        let executor =
            Executor { framework_id, tasks, names, reports: Vec::new(), next_report: 1, attached: None, connection: 0 };
        host.executors.insert(pod_id.clone(), executor);
        self.connect_executor(agent, pod_id.clone());
        for task in launch.tasks {
            let delay = self.rng.between(60, 400);
            self.after(delay, Happening::TaskStarts { agent, pod: pod_id.clone(), task: task.head.task_id });
        }
        Ok(())
    }

    fn connect_executor(&mut self, agent: usize, pod: PodId) {
        let (delay, life) = (self.rng.between(1, 50), self.agents[agent].life);
        self.after(delay, Happening::ExecutorConnects { agent, life, pod });
    }

    /// The agent has connected to an executor and hears, in order, what it has not seen yet; or finds it dead.
    pub(crate) fn executor_connects(&mut self, agent: usize, life: u64, pod_id: PodId) -> Result<(), String> {
        let host = &mut self.agents[agent];
        if host.life != life {
            return Ok(());
        }
        let Some(executor) = host.executors.get_mut(&pod_id) else {
            if let Some(last_words) = host.dead.remove(&pod_id) {
                self.counts.hit("fault: last words of an executor");
                self.agent_hears(agent, Event::ExecutorAttached { pod_id: pod_id.clone() })?;
                for report in last_words {
                    self.agent_hears(agent, Event::Report { pod_id: pod_id.clone(), report })?;
                }
            }
            return self.agent_hears(agent, Event::ExecutorGone { pod_id, why: "no executor".to_owned() });
        };
        executor.attached = Some(life);
        executor.connection += 1;
        let reports = executor.reports.clone();
        self.agent_hears(agent, Event::ExecutorAttached { pod_id: pod_id.clone() })?;
        for report in reports {
            self.agent_hears(agent, Event::Report { pod_id: pod_id.clone(), report })?;
        }
        Ok(())
    }

    /// The connection between an agent and an executor breaks; the agent makes another.
    pub(crate) fn executor_link_breaks(&mut self, agent: usize, pod_id: PodId) {
        let host = &mut self.agents[agent];
        let life = host.life;
        let Some(executor) = host.executors.get_mut(&pod_id).filter(|executor| executor.attached == Some(life)) else {
            return;
        };
        executor.attached = None;
        executor.connection += 1;
        self.counts.hit("fault: executor link break");
        self.connect_executor(agent, pod_id);
    }

    pub(crate) fn kill_arrives(&mut self, agent: usize, pod: PodId, task: TaskId, connection: u64) {
        let there = self.agents[agent].executors.get(&pod).is_some_and(|executor| executor.connection == connection);
        if there {
            let delay = self.rng.between(5, 500);
            self.after(delay, Happening::TaskEnds { agent, pod, task, end: End::Signal(15), asked: true });
        }
    }

    fn report(&mut self, agent: usize, pod_id: &PodId, task_id: &TaskId, kind: ReportKind) -> Result<(), String> {
        let now = self.agents[agent].clock.shows(self.now);
        let host = &mut self.agents[agent];
        let Some(executor) = host.executors.get_mut(pod_id) else { return Ok(()) };
        let report = Report { number: executor.next_report, task_id: task_id.clone(), at: now, kind };
        executor.next_report += 1;
        executor.reports.push(report.clone());
        if executor.attached == Some(host.life) {
            self.agent_hears(agent, Event::Report { pod_id: pod_id.clone(), report })?;
        }
        Ok(())
    }

    pub(crate) fn task_starts(&mut self, agent: usize, pod: &PodId, task: &TaskId) -> Result<(), String> {
        let alive = self.agents[agent].executors.get(pod).and_then(|executor| executor.tasks.get(task)).copied();
        if alive != Some(true) {
            return Ok(());
        }
        self.report(agent, pod, task, ReportKind::Started { pid: 1 })?;
        let name = self.agents[agent].executors.get(pod).and_then(|executor| executor.names.get(task)).cloned();
        if name.as_deref() == Some(SERVER) {
            let delay = self.rng.between(10, 1500);
            self.after(delay, Happening::TaskReady { agent, pod: pod.clone(), task: task.clone() });
        }
        if name.as_deref() == Some(JOB) {
            let broken = self.faults && self.rng.percent(20);
            let (end, delay) = (End::Exit(i32::from(broken)), self.rng.between(100, 2000));
            let (pod, task) = (pod.clone(), task.clone());
            self.after(delay, Happening::TaskEnds { agent, pod, task, end, asked: false });
            return Ok(());
        }
        // While things break, tasks end by themselves; afterwards they run on.
        if self.faults && self.rng.percent(40) {
            let end = if self.rng.percent(50) { End::Exit(0) } else { End::Exit(1) };
            let delay = self.rng.between(500, 40_000);
            let (pod, task) = (pod.clone(), task.clone());
            self.after(delay, Happening::TaskEnds { agent, pod, task, end, asked: false });
        }
        Ok(())
    }

    pub(crate) fn task_is_ready(&mut self, agent: usize, pod: &PodId, task: &TaskId) -> Result<(), String> {
        let alive = self.agents[agent].executors.get(pod).and_then(|executor| executor.tasks.get(task)).copied();
        if alive != Some(true) {
            return Ok(());
        }
        let kind = ReportKind::Checked { is_readiness: true, passed: true, message: String::new() };
        self.report(agent, pod, task, kind)
    }

    /// A container ends, and with it, by the pod's policy, the others of its pod.
    pub(crate) fn task_ends(
        &mut self,
        agent: usize,
        pod: &PodId,
        task: &TaskId,
        end: &End,
        asked: bool,
    ) -> Result<(), String> {
        let Some(executor) = self.agents[agent].executors.get_mut(pod) else { return Ok(()) };
        let Some(alive) = executor.tasks.get_mut(task) else { return Ok(()) };
        if !std::mem::take(alive) {
            return Ok(());
        }
        let others: Vec<TaskId> =
            executor.tasks.iter().filter(|(_, alive)| **alive).map(|(id, _)| id.clone()).collect();
        for other in others {
            let delay = self.rng.between(1, 100);
            let end = End::Signal(9);
            self.after(delay, Happening::TaskEnds { agent, pod: pod.clone(), task: other, end, asked });
        }
        let kind = ReportKind::Ended {
            end: end.clone(),
            oom_kills: 0,
            killed_on_request: asked,
            why: String::new(),
            cause: EndCause::Other,
        };
        self.report(agent, pod, task, kind)
    }

    pub(crate) fn executor_dies(&mut self, agent: usize, pod_id: PodId) -> Result<(), String> {
        let host = &mut self.agents[agent];
        let Some(executor) = host.executors.remove(&pod_id) else { return Ok(()) };
        let ends = |report: &Report| matches!(report.kind, ReportKind::Ended { .. });
        let ends: Vec<Report> = executor.reports.into_iter().filter(ends).collect();
        if !ends.is_empty() {
            host.dead.insert(pod_id.clone(), ends);
        }
        if executor.attached == Some(host.life) {
            self.agent_hears(agent, Event::ExecutorGone { pod_id, why: "killed".to_owned() })?;
        }
        Ok(())
    }

    /// All of a pod ends while its agent is away, and its executor with it: what it wrote down is read when the agent is back.
    pub(crate) fn executor_ends_unheard(&mut self, agent: usize, pod_id: PodId) -> Result<(), String> {
        let tasks = self.agents[agent].executors.get(&pod_id).map(|executor| executor.tasks.keys().cloned().collect());
        for task in tasks.into_iter().flat_map(|tasks: Vec<TaskId>| tasks) {
            self.task_ends(agent, &pod_id, &task, &End::Exit(1), false)?;
        }
        self.executor_dies(agent, pod_id)
    }

    pub(crate) fn agent_dials(&mut self, agent: usize, life: u64) -> Result<(), String> {
        if self.agents[agent].life != life || self.agents[agent].core.is_none() {
            return Ok(());
        }
        let is_away = self.master.core.is_none() || self.is_cut_off(Peer::Agent(agent));
        if is_away || self.agents[agent].session.is_some() {
            return self.agent_hears(agent, Event::LinkDown { why: "no master".to_owned() });
        }
        let session = self.connect(Peer::Agent(agent));
        self.agents[agent].session = Some(session);
        let name = self.agents[agent].name.clone();
        self.send_to_master(session, MasterEvent::AgentOpened { session, name });
        self.agent_hears(agent, Event::LinkUp)
    }
    pub(crate) fn agent_link_down(&mut self, agent: usize, session: SessionId) -> Result<(), String> {
        if self.agents[agent].session != Some(session) {
            return Ok(());
        }
        self.agents[agent].session = None;
        self.agent_hears(agent, Event::LinkDown { why: "broken".to_owned() })
    }
    pub(crate) fn agent_durable(
        &mut self,
        agent: usize,
        life: u64,
        batch: u64,
        writes: &[Write],
    ) -> Result<(), String> {
        if self.agents[agent].life != life {
            return Ok(());
        }
        if self.now < self.agents[agent].full_until {
            // The shell ends with an error; whoever starts it again does so when there is room.
            self.agent_dies(agent);
            let room = self.agents[agent].full_until;
            self.at(room, Happening::AgentStarts { agent });
            return Ok(());
        }
        let crash = self.crash_at_write("agent");
        let disk = &mut self.agents[agent].disk;
        match crash {
            Some(Crash::Before) => {}
            Some(Crash::Within) => disk.tear(writes, Torn::Beginning, &mut self.rng),
            Some(Crash::WithPower) => disk.tear(writes, Torn::Part, &mut self.rng),
            None | Some(Crash::After) => disk.write(writes),
        }
        if crash.is_some() {
            self.agent_dies(agent);
            if crash == Some(Crash::WithPower) {
                self.agents[agent].reboots();
            }
            let outage = self.outage(3000);
            self.after(outage, Happening::AgentStarts { agent });
            return Ok(());
        }
        self.agent_hears(agent, Event::Checkpointed { batch })
    }
    /// Tasks with a process, of frameworks that have not ended.
    pub(crate) fn processes(&self) -> impl Iterator<Item = (FrameworkId, TaskId)> + '_ {
        self.agents.iter().flat_map(|host| host.executors.values()).flat_map(|executor| {
            let alive = executor.tasks.iter().filter(|(_, alive)| **alive);
            alive.map(|(task, _)| (executor.framework_id.clone(), task.clone()))
        })
    }
}
