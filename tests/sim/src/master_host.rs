//! The master's shell: a registry that is written late and in order, and a read model made of deltas.
use std::collections::BTreeMap;

use master_core::view::{AgentView, TaskView};
use master_core::{Command, Config, Decision, Delta, Event, Master, Pool, Record, RegistrySnapshot};
use model::{AgentId, FrameworkId, Span, TaskId};

use crate::world::{Happening, Said, World};

/// A master and its disk.
#[derive(Debug)]
pub(crate) struct MasterHost {
    pub(crate) core: Option<Master>,
    pub(crate) life: u64,
    /// What is on the disk.
    pub(crate) registry: RegistrySnapshot,
    pub(crate) tasks: BTreeMap<(FrameworkId, TaskId), TaskView>,
    pub(crate) agents: BTreeMap<AgentId, AgentView>,
    pub(crate) offers: usize,
    disk_until: u64,
    /// The disk is slow until then.
    pub(crate) stalled_until: u64,
    allocating: bool,
    timer: Option<u64>,
}

impl MasterHost {
    pub(crate) fn new() -> Self {
        let pool = Pool {
            master_id: "m".to_owned(),
            name: "sim".to_owned(),
            epoch: 0,
            pod_range: "10.200.0.0/16".to_owned(),
            pod_prefix_length: 24,
        };
        Self {
            core: None,
            life: 0,
            registry: RegistrySnapshot::empty(pool),
            tasks: BTreeMap::new(),
            agents: BTreeMap::new(),
            offers: 0,
            disk_until: 0,
            stalled_until: 0,
            allocating: false,
            timer: None,
        }
    }
}

impl World {
    pub(crate) fn master_starts(&mut self) -> Result<(), String> {
        if self.master.core.is_some() {
            return Ok(());
        }
        let host = &mut self.master;
        host.life += 1;
        host.registry.pool.epoch += 1;
        let config = Config {
            offer_timeout: Some(Span::seconds(20)),
            disconnected_grace: Span::seconds(10),
            reregister_timeout: Span::seconds(30),
            ..Config::default()
        };
        let seed = self.rng.next();
        host.core = Some(Master::new(config, host.registry.clone(), seed, model::Timestamp(self.now)));
        (host.allocating, host.timer, host.offers) = (false, None, 0);
        host.tasks.clear();
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
        for framework in &mut self.frameworks {
            // A new master cannot know what was acknowledged to the old one.
            framework.confirmed.clear();
        }
    }

    pub(crate) fn master_hears(&mut self, event: Event) -> Result<(), String> {
        let now = self.time();
        let Some(core) = self.master.core.as_mut() else { return Ok(()) };
        let mut out = Vec::new();
        core.step(now, event, &mut out);
        master_core::check(core)?;
        for command in out {
            self.master_wants(command);
        }
        Ok(())
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
            Command::SendState { .. } | Command::Reply { .. } => {}
            Command::ScheduleAllocation => {
                if !std::mem::replace(&mut self.master.allocating, true) {
                    let delay = self.rng.between(0, 10);
                    self.after(delay, Happening::Allocate { life });
                }
            }
            Command::SetTimer { at } => {
                self.master.timer = Some(at.0);
                self.at(at.0, Happening::MasterTick { life, at: at.0 });
            }
            Command::Changed(delta) => self.master_shows(delta),
            Command::Decided(decision) => match decision {
                Decision::Rejected { reason, .. } => self.counts.rejected(&reason),
                Decision::TaskBecame { from, to, .. } => self.counts.row(from, to),
                Decision::FrameworkTornDown { framework_id, cause } => {
                    self.counts.hit(format!("teardown: {cause:?}"));
                    self.ended_frameworks.insert(framework_id);
                }
                Decision::OfferEnded { end, .. } => self.counts.hit(format!("offer: {end:?}")),
                Decision::Withheld { .. } => self.counts.hit("allocator: withheld"),
                Decision::Granted { .. } => self.counts.hit("allocator: granted"),
                Decision::AgentUnreachable { .. } => self.counts.hit("agent: unreachable"),
                Decision::AgentReturned { .. } => self.counts.hit("agent: returned"),
                Decision::UnwantedTask { .. } => self.counts.hit("agent: unwanted task"),
                Decision::HoldingsChanged { .. } => self.counts.hit("agent: holdings changed"),
                Decision::AgentAdmitted { .. }
                | Decision::AgentDisconnected { .. }
                | Decision::AgentGone { .. }
                | Decision::FrameworkSubscribed { .. }
                | Decision::FrameworkDisconnected { .. } => {}
            },
        }
    }

    fn master_shows(&mut self, delta: Delta) {
        let host = &mut self.master;
        match delta {
            Delta::Agent(view) => {
                host.agents.insert(view.id.clone(), *view);
            }
            Delta::Task(view) => {
                host.tasks.insert((view.framework_id.clone(), view.head.task_id.clone()), *view);
            }
            Delta::TaskRemoved { framework_id, task_id } => {
                host.tasks.remove(&(framework_id, task_id));
            }
            Delta::OfferAdded(_) => host.offers += 1,
            Delta::OfferRemoved { .. } => host.offers -= 1,
            Delta::Framework(_) | Delta::FrameworkRemoved(_) | Delta::Role(_) | Delta::RoleRemoved(_) => {}
        }
    }

    pub(crate) fn master_durable(&mut self, life: u64, batch: u64, records: &[Record]) -> Result<(), String> {
        // What a dead master had not written is lost.
        if self.master.life != life || self.master.core.is_none() {
            return Ok(());
        }
        for record in records {
            self.master.registry.apply(record);
        }
        self.master_hears(Event::Persisted { batch })
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
