//! The link to the master: dialling with a backoff, registering, epochs, silence.
use std::collections::BTreeSet;

use model::link::{AgentRegistration, FromAgent, GIVEN_UP, ToAgent};
use model::{AgentId, FrameworkId, Span, Timestamp};

use crate::agent::{Agent, Effect};
use crate::command::{Command, Decision, Network};
use crate::limits;
use crate::mutation::{Mutation, mutated};

/// Where the link is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Link {
    /// Nothing was done yet.
    New,
    /// Dialling; so many attempts failed since the last registration.
    Dialling { failed: u32 },
    /// We said who we are.
    Registering { failed: u32, deadline: Timestamp },
    /// The master knows us.
    Registered { silent_at: Timestamp, ping_timeout: Span },
    /// We gave it up and wait for the shell to say that it is down.
    Closing { failed: u32 },
}

impl Agent {
    pub(crate) fn connect(&mut self, out: &mut Vec<Command>) {
        let failed = match self.link {
            Link::New | Link::Registered { .. } => 0,
            Link::Dialling { failed } | Link::Registering { failed, .. } | Link::Closing { failed } => failed + 1,
        };
        let after = if matches!(self.link, Link::New) {
            0
        } else {
            let delay = limits::CONNECT_BACKOFF_MIN
                .0
                .checked_shl(failed)
                .unwrap_or(u64::MAX)
                .min(limits::CONNECT_BACKOFF_MAX.0);
            self.rng.jitter(delay)
        };
        // Doubling saturates long before this; the count need not grow.
        self.link = Link::Dialling { failed: failed.min(16) };
        out.push(Command::Connect { after: Span(after) });
    }

    pub(crate) fn link_up(&mut self, out: &mut Vec<Command>) {
        let Link::Dialling { failed } = self.link else { return };
        self.link = Link::Registering { failed, deadline: self.now + limits::REGISTRATION_TIMEOUT };
        self.attempt += 1;
        // What it says of tasks must be on the disk: after a crash the agent would take it back.
        let registration = AgentRegistration {
            agent_id: self.record.agent_id.clone(),
            name: self.config.name.clone(),
            address: self.config.address.clone(),
            port: self.config.port,
            total: self.total.clone(),
            attributes: self.config.attributes.clone(),
            region: self.config.region.clone(),
            zone: self.config.zone.clone(),
            boot_id: self.config.boot_id.clone(),
            software: self.config.software.clone(),
            epoch_seen: self.record.epoch_seen,
            tasks: self.tasks().collect(),
        };
        if mutated(Mutation::RegistersBeforeTheDisk) {
            out.push(Command::Send(FromAgent::Register(Box::new(registration))));
        } else {
            self.effects.push(Effect::Register(self.attempt, Box::new(registration)));
        }
    }

    pub(crate) fn link_down(&mut self, out: &mut Vec<Command>) {
        self.nothing_in_flight();
        self.connect(out);
    }

    fn close(&mut self, out: &mut Vec<Command>) {
        let failed = match self.link {
            Link::New | Link::Registered { .. } => 0,
            Link::Dialling { failed } | Link::Registering { failed, .. } | Link::Closing { failed } => failed,
        };
        if !matches!(self.link, Link::Closing { .. }) {
            self.nothing_in_flight();
            self.link = Link::Closing { failed };
            out.push(Command::CloseLink);
        }
    }

    pub(crate) fn link_deadline(&self) -> Option<Timestamp> {
        match self.link {
            Link::New => Some(self.now),
            Link::Dialling { .. } | Link::Closing { .. } => None,
            Link::Registering { deadline, .. } => Some(deadline),
            Link::Registered { silent_at, .. } => Some(silent_at),
        }
    }

    pub(crate) fn link_due(&mut self, out: &mut Vec<Command>) {
        if !matches!(self.link, Link::New) && self.link_deadline().is_some_and(|deadline| deadline <= self.now) {
            Self::note(out, Decision::MasterSilent);
            self.close(out);
        }
    }

    pub(crate) fn master_says(&mut self, epoch: u64, message: ToAgent, out: &mut Vec<Command>) {
        match self.link {
            Link::New | Link::Dialling { .. } | Link::Closing { .. } => return,
            Link::Registering { .. } | Link::Registered { .. } => {}
        }
        if epoch < self.record.epoch_seen && !mutated(Mutation::ObeysTheDeposed) {
            Self::note(out, Decision::StaleEpoch { epoch, seen: self.record.epoch_seen });
            self.close(out);
            return;
        }
        if let Link::Registered { silent_at, ping_timeout } = &mut self.link {
            *silent_at = self.now + *ping_timeout;
        }
        if let (Link::Registering { deadline, .. }, ToAgent::Ping { .. }) = (&mut self.link, &message) {
            // It has heard us: only registered agents are pinged. Its answer waits for its disk.
            *deadline = self.now + limits::REGISTRATION_TIMEOUT;
        }
        match message {
            ToAgent::Registered { agent_id, pod_subnet, pod_range, ping_timeout } => {
                self.obey_epoch(epoch);
                self.registered(agent_id, pod_subnet, pod_range, ping_timeout, out);
            }
            ToAgent::Refused(refusal) => {
                if refusal.code == GIVEN_UP {
                    self.end_everything();
                }
                Self::note(out, Decision::RefusedByMaster(refusal));
                self.close(out);
                // Only a person can change it: ask seldom.
                self.link = Link::Closing { failed: 16 };
            }
            ToAgent::Ping { number } => out.push(Command::Send(FromAgent::Pong { number })),
            // Whoever does not know us yet has nothing to say to us.
            _ if !self.is_registered() => {}
            ToAgent::Launch { framework, pod, privileged_allowed } => {
                self.launch(framework, pod, privileged_allowed, out)
            }
            ToAgent::Kill { framework_id, task_id, grace } => self.kill(&framework_id, &task_id, grace, out),
            ToAgent::Acknowledge { framework_id, task_id, uuid } => {
                self.acknowledged(&framework_id, &task_id, uuid, out)
            }
            ToAgent::SetHoldings { generation, holdings } => self.set_holdings(generation, holdings, out),
            ToAgent::Peers(mut peers) => {
                peers.sort();
                self.peers = peers;
                self.order_network();
            }
            ToAgent::ShutdownFramework { framework_id } => self.shutdown_framework(&framework_id),
        }
    }

    /// Nobody owns what runs here any more.
    fn end_everything(&mut self) {
        let frameworks: BTreeSet<FrameworkId> = self.pods.values().map(|pod| pod.launch.framework.id.clone()).collect();
        for framework_id in frameworks {
            self.shutdown_framework(&framework_id);
        }
    }

    fn obey_epoch(&mut self, epoch: u64) {
        if epoch > self.record.epoch_seen {
            self.record.epoch_seen = epoch;
            self.mark_agent();
        }
    }

    fn registered(
        &mut self,
        agent_id: AgentId,
        pod_subnet: String,
        pod_range: String,
        ping_timeout: Span,
        out: &mut Vec<Command>,
    ) {
        if let Some(own) = self.record.agent_id.as_ref().filter(|own| **own != agent_id) {
            let (given, own) = (agent_id.to_string(), own.to_string());
            Self::note(out, Decision::WrongAgentId { given, own });
            self.close(out);
            return;
        }
        let ping_timeout = if ping_timeout.0 == 0 { limits::PING_TIMEOUT_DEFAULT } else { ping_timeout };
        self.link = Link::Registered { silent_at: self.now + ping_timeout, ping_timeout };
        if self.record.agent_id.is_none() || self.record.pod_subnet != pod_subnet || self.record.pod_range != pod_range
        {
            self.record.agent_id = Some(agent_id);
            self.record.pod_subnet = pod_subnet;
            self.record.pod_range = pod_range;
            self.mark_agent();
        }
        Self::note(out, Decision::Registered);
        self.order_network();
        if let Some(generation) = self.volumes_set.filter(|generation| *generation > 0) {
            self.later(Command::Send(FromAgent::Applied { generation }));
        }
        if std::mem::take(&mut self.revocable_unsaid) {
            out.push(Command::Send(FromAgent::Revocable(self.total.revocable.clone())));
        }
        let waiting: Vec<_> =
            self.index.iter().map(|((_, task_id), pod_id)| (pod_id.clone(), task_id.clone())).collect();
        for (pod_id, task_id) in waiting {
            self.later_head(&pod_id, &task_id);
        }
    }

    fn order_network(&mut self) {
        self.later(Command::SetNetwork(Network {
            pod_subnet: self.record.pod_subnet.clone(),
            pod_range: self.record.pod_range.clone(),
            peers: self.peers.clone(),
        }));
    }
}
