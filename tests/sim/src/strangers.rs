//! What peers say that should not: each is refused, and nobody else is disturbed.
use std::collections::{BTreeMap, BTreeSet};

use master_core::{Event, HoldingsChange, OperatorRequest, RequestId, SessionId, StateWrite};
use model::call::{Call, FrameworkInfo, Unavailability};
use model::link::{AgentRegistration, FromAgent};
use model::{
    AgentId, FrameworkId, Holding, Milli, Principal, Quantities, Reservation, Resources, RoleName, Span, Timestamp,
};

use crate::world::World;

impl World {
    fn fresh(&mut self) -> SessionId {
        self.sessions += 1;
        SessionId(self.sessions)
    }

    pub(crate) fn strangers(&mut self) -> Result<(), String> {
        if self.master.core.is_none() {
            return Ok(());
        }
        self.strange_agents()?;
        self.strange_frameworks()?;
        self.strange_operators()?;
        for framework in 0..self.frameworks.len() {
            for _ in 0..3 {
                if self.frameworks[framework].subscribed {
                    self.misbehave(framework);
                }
            }
        }
        self.change_quotas()
    }

    fn strange_agents(&mut self) -> Result<(), String> {
        let said = |id: Option<&str>, name: &str| AgentRegistration {
            agent_id: id.map(|id| AgentId::new(id).expect("valid")),
            name: name.to_owned(),
            address: "10.0.0.99".to_owned(),
            port: 1,
            total: Resources::default(),
            attributes: BTreeMap::new(),
            region: String::new(),
            zone: String::new(),
            boot_id: String::new(),
            software: String::new(),
            epoch_seen: 0,
            tasks: Vec::new(),
        };
        let register = |said| FromAgent::Register(Box::new(said));
        let mut newer = said(None, "stranger");
        newer.epoch_seen = 1_000_000;
        let mut negative = said(None, "stranger");
        negative.total = Quantities { cpus: Milli(-1), ..Quantities::default() }.into();
        let mut virtual_address = said(None, "stranger");
        virtual_address.address = "198.18.0.7".to_owned();
        for messages in [
            vec![register(said(None, "somebody-else"))],
            vec![register(virtual_address)],
            vec![register(said(Some("m-S999"), "stranger"))],
            vec![register(newer)],
            vec![register(negative)],
            vec![FromAgent::Pong { number: 1 }],
            vec![register(said(None, "stranger")), register(said(None, "stranger"))],
        ] {
            let session = self.fresh();
            self.master_hears(Event::AgentOpened { session, name: "stranger".to_owned() })?;
            for message in messages {
                self.master_hears(Event::AgentSaid { session, message })?;
            }
            self.master_hears(Event::AgentClosed { session })?;
        }
        Ok(())
    }

    fn strange_frameworks(&mut self) -> Result<(), String> {
        let host = &self.frameworks[0];
        let (own_name, own_id) = (host.name.clone(), host.id.clone());
        let ended = self.ended_frameworks.first().cloned();
        let say = |id: Option<FrameworkId>, name: &str, roles: &[&str]| Call::Subscribe {
            info: FrameworkInfo {
                id,
                name: name.to_owned(),
                roles: roles.iter().map(|role| RoleName::new(role).expect("valid")).collect(),
                failover_timeout: Span::seconds(1),
                api_url: None,
                principal: Principal::new("ignored"),
                capabilities: BTreeSet::new(),
                offer_filters: BTreeMap::new(),
            },
            suppressed: BTreeSet::new(),
            constraints: Default::default(),
        };
        // What it wants is about a role that it has not got.
        let foreign = RoleName::new("foreign").expect("valid");
        let (mut constrained, mut filtered) = (say(None, "x", &["r"]), say(None, "x", &["r"]));
        if let Call::Subscribe { constraints, .. } = &mut constrained {
            constraints.0.insert(foreign.clone(), Vec::new());
        }
        if let Call::Subscribe { info, .. } = &mut filtered {
            info.offer_filters.insert(foreign, Vec::new());
        }
        let nobody = Some(FrameworkId::new("m-999").expect("valid"));
        for (principal, call, key) in [
            ("framework/x", say(None, "y", &["r"]), "k"),
            ("framework/x", say(None, "x", &[]), "k"),
            ("framework/x", say(nobody, "x", &["r"]), "k"),
            ("framework/x", Call::Teardown, "k"),
            ("framework/x", constrained, "k"),
            ("framework/x", filtered, "k"),
            ("operator/x", say(None, &own_name, &["r"]), "k"),
            ("operator/x", say(own_id.clone(), &own_name, &["r"]), "k"),
            ("operator/x", say(ended, "x", &["r"]), "k"),
        ] {
            let session = self.fresh();
            self.master_hears(Event::FrameworkOpened { session, principal: Principal::new(principal) })?;
            let writes = vec![StateWrite { key: key.to_owned(), value: None }];
            let event = |call, writes| Event::FrameworkCalled { session, sequence: 1, call, writes, read_state: false };
            self.master_hears(event(Some(call), writes))?;
            self.master_hears(Event::FrameworkClosed { session })?;
        }
        self.a_short_lived_framework(say(None, "short-lived", &["short-lived"]), say)?;
        // The framework itself, under another name.
        if let Some(id) = own_id {
            let session = self.fresh();
            let principal = Principal::new(format!("framework/{own_name}-b"));
            self.master_hears(Event::FrameworkOpened { session, principal })?;
            let call = Some(say(Some(id), &format!("{own_name}-b"), &["r"]));
            let writes = Vec::new();
            self.master_hears(Event::FrameworkCalled { session, sequence: 1, call, writes, read_state: false })?;
            self.master_hears(Event::FrameworkClosed { session })?;
        }
        Ok(())
    }

    /// One that subscribes and says what only those can be refused who have.
    fn a_short_lived_framework(
        &mut self,
        subscribe: Call,
        say: impl Fn(Option<FrameworkId>, &str, &[&str]) -> Call,
    ) -> Result<(), String> {
        let session = self.fresh();
        self.master_hears(Event::FrameworkOpened { session, principal: Principal::new("operator/y") })?;
        let Call::Subscribe { info, suppressed, constraints } = say(None, "another-name", &["short-lived"]) else {
            return Err("a subscription is another call".to_owned());
        };
        let renamed = Call::UpdateFramework { info, suppressed, constraints };
        let bad = vec![StateWrite { key: String::new(), value: None }];
        for (sequence, call, writes) in
            [(1, Some(subscribe), Vec::new()), (2, Some(renamed), Vec::new()), (3, None, bad)]
        {
            self.master_hears(Event::FrameworkCalled { session, sequence, call, writes, read_state: false })?;
        }
        self.master_hears(Event::FrameworkClosed { session })
    }

    fn strange_operators(&mut self) -> Result<(), String> {
        let role = RoleName::new("nobody").expect("valid");
        let connected = self.agents.iter().find(|host| host.session.is_some()).map(|host| host.name.clone());
        let away = self.agents.iter().find(|host| host.core.is_none()).map(|host| host.name.clone());
        let there = self.agents[0].name.clone();
        let change = |agent: String, cpus| OperatorRequest::ChangeHoldings {
            agent,
            change: HoldingsChange::Unreserve(Resources::held_as(
                Holding {
                    reservation: Reservation::new(role.clone(), Principal::new("operator/x"), BTreeMap::new()),
                    volume: None,
                },
                Quantities { cpus, ..Quantities::default() },
            )),
            principal: Principal::new("operator/x"),
        };
        let holdings = [Some(change(there.clone(), Milli::units(1))), away.map(|name| change(name, Milli::units(1)))];
        for ask in holdings.into_iter().flatten() {
            self.master_hears(Event::Asked { request: RequestId(1), ask })?;
        }
        let never = Timestamp(u64::MAX / 2);
        let window = |start| Unavailability { start, duration: Some(Span::seconds(1)) };
        for ask in [
            OperatorRequest::StartMaintenance { agents: vec![there.clone()] },
            OperatorRequest::ScheduleMaintenance { agents: vec![there.clone()], window: window(Timestamp(0)) },
            OperatorRequest::ScheduleMaintenance { agents: vec![there.clone()], window: window(never) },
            // Either it is not being maintained, or it is drained just now and the window cannot be withdrawn.
            OperatorRequest::StopMaintenance { agents: vec![there.clone()] },
            OperatorRequest::CancelMaintenance { agents: vec![there] },
            OperatorRequest::Teardown { framework: "nobody".to_owned() },
            OperatorRequest::SetWeight { role, weight_milli: 0 },
            OperatorRequest::MarkAgentGone { agent: "nobody".to_owned() },
            OperatorRequest::DrainAgent {
                agent: "nobody".to_owned(),
                max_grace: Span::seconds(1_000_000_000),
                mark_gone: false,
            },
            OperatorRequest::DrainAgent {
                agent: "nobody".to_owned(),
                max_grace: Span::seconds(365 * 24 * 3600),
                mark_gone: false,
            },
        ] {
            self.master_hears(Event::Asked { request: RequestId(1), ask })?;
        }
        let known = connected.filter(|name| {
            let view = self.master.agents.values().find(|view| view.name == *name);
            view.is_some_and(|view| view.state == master_core::view::AgentStateView::Connected)
        });
        if let Some(agent) = known {
            // The view may be late: if the agent has just left, it would be given up for good.
            let ask = OperatorRequest::MarkAgentGone { agent };
            if self.master.offers > 0 {
                self.master_hears(Event::Asked { request: RequestId(2), ask })?;
            }
        }
        Ok(())
    }
}
