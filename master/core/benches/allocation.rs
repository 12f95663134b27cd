//! How long one cycle of the allocator takes in a large pool: every agent is free, every framework wants offers, and each
//! agent is granted to somebody. `cargo xtask bench --allocator` runs it.
// A measurement needs a clock and prints; the core itself has neither.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::print_stdout, clippy::float_arithmetic)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use master_core::{
    Command, Config, Event, Master, OperatorRequest, Pool, Quota, RegistrySnapshot, RequestId, SessionId,
};
use model::call::{Call, Filter, FrameworkInfo, SchedulerEvent};
use model::link::{AgentRegistration, FromAgent};
use model::{Milli, OfferId, Principal, Quantities, RoleName, Span, Timestamp};

const AGENTS: u64 = 10_000;
const FRAMEWORKS: u64 = 1_000;
/// Teams of ten frameworks each: roles `team-7/web-3`.
const TEAMS: u64 = 100;
const NOW: Timestamp = Timestamp(1_000_000);

/// A master with a disk that always works.
struct World {
    master: Master,
    is_due: bool,
    offers: Vec<(SessionId, OfferId)>,
}

impl World {
    fn step(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut out = Vec::new();
            self.master.step(NOW, event, &mut out);
            for command in out {
                if let Command::Persist { batch, .. } = command {
                    events.push(Event::Persisted { batch });
                } else if let Command::ScheduleAllocation = command {
                    self.is_due = true;
                } else if let Command::SendFramework { session, event: SchedulerEvent::Offers(offers) } = command {
                    self.offers.extend(offers.iter().map(|offer| (session, offer.id.clone())));
                }
            }
        }
    }
    /// Allocates until there is nothing to do; how many steps that took.
    fn settle(&mut self) -> usize {
        let mut steps = 0;
        while std::mem::take(&mut self.is_due) {
            self.step(Event::AllocationDue);
            steps += 1;
        }
        steps
    }
    fn call(&mut self, session: SessionId, call: Call) {
        let (call, writes) = (Some(call), Vec::new());
        self.step(Event::FrameworkCalled { session, sequence: 1, call, writes, read_state: false });
    }
}

fn role(number: u64) -> RoleName {
    RoleName::new(format!("team-{}/web-{number}", number % TEAMS)).expect("valid")
}

fn agent(number: u64) -> AgentRegistration {
    let quantities = Quantities {
        cpus: Milli::units(16),
        mem: Milli::units(65_536),
        disk: Milli::units(500_000),
        ports: [(20_000, 32_767)].into_iter().collect(),
        ..Quantities::default()
    };
    AgentRegistration {
        agent_id: None,
        name: format!("node-{number}"),
        address: format!("10.{}.{}.{}", number / 62_500, number / 250 % 250, number % 250 + 1),
        port: 5051,
        total: quantities.into(),
        attributes: BTreeMap::from([("rack".to_owned(), format!("r{}", number / 40))]),
        region: "here".to_owned(),
        zone: format!("z{}", number % 3),
        boot_id: "b".to_owned(),
        software: "bench".to_owned(),
        epoch_seen: 1,
        tasks: Vec::new(),
    }
}

fn main() {
    let pool = Pool {
        master_id: "bench".to_owned(),
        name: "bench".to_owned(),
        epoch: 1,
        pod_range: "10.0.0.0/8".to_owned(),
        pod_prefix_length: 24,
        vip_range: master_core::registry::VIP_RANGE.to_owned(),
    };
    let config = Config { offer_timeout: None, ..Config::default() };
    let mut world =
        World { master: Master::new(config, RegistrySnapshot::empty(pool), 0, NOW), is_due: false, offers: Vec::new() };
    for number in 0..AGENTS {
        let session = SessionId(number);
        let said = agent(number);
        world.step(Event::AgentOpened { session, name: said.name.clone() });
        world.step(Event::AgentSaid { session, message: FromAgent::Register(Box::new(said)) });
    }
    world.settle();
    for number in 0..FRAMEWORKS {
        let (session, name) = (SessionId(AGENTS + number), format!("framework-{number}"));
        world.step(Event::FrameworkOpened { session, principal: Principal::new(format!("framework/{name}")) });
        let roles = [role(number)];
        let info = FrameworkInfo {
            id: None,
            name,
            roles: roles.clone().into(),
            failover_timeout: Span::seconds(60),
            api_url: None,
            principal: Principal::new("set by the master"),
            capabilities: Default::default(),
            offer_filters: BTreeMap::new(),
        };
        world.call(session, Call::Subscribe { info, suppressed: roles.into(), constraints: Default::default() });
    }
    world.settle();
    assert!(world.offers.is_empty(), "nobody wants offers yet");
    measure("no quotas", &mut world);
    let quotas: Vec<(RoleName, Quota)> = (0..TEAMS)
        .map(|team| {
            let amount = |cpus| BTreeMap::from([("cpus".to_owned(), Milli::units(cpus))]);
            let role = RoleName::new(format!("team-{team}")).expect("valid");
            (role, Quota { guarantees: amount(160), limits: amount(100_000) })
        })
        .collect();
    world.step(Event::Asked { request: RequestId(1), ask: OperatorRequest::SetQuotas { quotas, force: true } });
    world.settle();
    measure("a limit and a guarantee for each team", &mut world);
}

/// Rounds of which the fastest and the median are told: on a shared machine the others measure the neighbours.
const ROUNDS: usize = 9;

/// Everybody wants offers, until every agent is lent; again and again. Afterwards nobody has an offer.
fn measure(what: &str, world: &mut World) {
    let mut rounds: Vec<(Duration, usize)> = (0..ROUNDS).map(|_| round(world)).collect();
    rounds.sort_unstable();
    let ms = |took: Duration| took.as_secs_f64() * 1e3;
    let ((fastest, steps), (median, _)) = (rounds[0], rounds[ROUNDS / 2]);
    println!(
        "{AGENTS} agents, {FRAMEWORKS} frameworks, {what}: {AGENTS} grants in {:.1} ms (median {:.1} ms), {:.2} us each; \
         {steps} steps, {:.2} ms each",
        ms(fastest),
        ms(median),
        fastest.as_secs_f64() * 1e6 / f64::from(u32::try_from(AGENTS).unwrap_or(u32::MAX)),
        ms(fastest) / f64::from(u32::try_from(steps).unwrap_or(u32::MAX))
    );
}

fn round(world: &mut World) -> (Duration, usize) {
    for number in 0..FRAMEWORKS {
        world.call(SessionId(AGENTS + number), Call::Revive { roles: Default::default() });
    }
    let before = world.offers.len();
    let begin = Instant::now();
    let steps = world.settle();
    let took = begin.elapsed();
    assert_eq!(u64::try_from(world.offers.len() - before), Ok(AGENTS), "every agent is granted");
    for number in 0..FRAMEWORKS {
        world.call(SessionId(AGENTS + number), Call::Suppress { roles: Default::default() });
    }
    for (session, offer) in std::mem::take(&mut world.offers) {
        world.call(session, Call::Decline { offers: vec![offer], filter: Filter { refuse: Span::default() } });
    }
    world.settle();
    (took, steps)
}
