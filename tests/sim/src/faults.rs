//! What breaks: links, disks, processes; and how all of it heals in the end.
use crate::world::{Happening, World};

impl World {
    /// One thing breaks, and the next is planned.
    pub(crate) fn fault(&mut self) -> Result<(), String> {
        if !self.faults {
            return Ok(());
        }
        let pause = self.rng.between(200, 6000);
        self.after(pause, Happening::Fault);
        match self.rng.between(0, 11) {
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
                if !pods.is_empty() {
                    self.counts.hit("fault: executor crash");
                    let pod = pods[self.rng.index(pods.len())].clone();
                    self.executor_dies(agent, pod)?;
                }
            }
            10 => {
                self.counts.hit("fault: stalled disk");
                self.master.stalled_until = self.now + self.rng.between(100, 4000);
            }
            _ => self.strangers()?,
        }
        Ok(())
    }

    fn half_open(&self, master: bool) -> u64 {
        // Decided by the time alone: the generator is in use by the caller.
        match (master, self.now.is_multiple_of(2)) {
            (true, true) | (false, false) => 25_000,
            (true, false) | (false, true) => 50,
        }
    }

    fn outage(&mut self, usual: u64) -> u64 {
        if self.rng.percent(15) {
            self.counts.hit("fault: long outage");
            self.rng.between(20_000, 50_000)
        } else {
            self.rng.between(50, usual)
        }
    }

    /// Everything that is down comes up.
    pub(crate) fn heal(&mut self) {
        self.master.stalled_until = 0;
        self.after(0, Happening::MasterStarts);
        for agent in 0..self.agents.len() {
            self.after(10, Happening::AgentStarts { agent });
        }
        for framework in 0..self.frameworks.len() {
            self.after(20, Happening::FrameworkStarts { framework });
        }
    }
}
