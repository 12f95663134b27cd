//! What must hold after every step. The simulator and the tests call [`check`] each time; the master itself never does.
use std::collections::BTreeMap;

use model::{AgentId, FrameworkId, Resources, RoleName};

use crate::agent::{Agent, AgentState};
use crate::limits;
use crate::master::{Master, Session};
use crate::registry::AgentMode;
use crate::timer::Timer;
use crate::totals::Totals;

/// Checks a master's whole state.
///
/// # Errors
/// `Err` says which invariant is broken, and where.
pub fn check(master: &Master) -> Result<(), String> {
    for agent in master.agents.values() {
        resources_are_conserved(master, agent)?;
        tasks_are_where_the_ledger_says(master, agent)?;
    }
    offers_are_lent_by_and_to_the_living(master)?;
    shares_are_what_is_used(master)?;
    quotas_are_kept(master)?;
    sessions_are_mutual(master)?;
    operations_are_told(master)?;
    everything_is_bounded(master)
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// 1 and 2: what is used and what is lent are disjoint parts of what there is.
fn resources_are_conserved(master: &Master, agent: &Agent) -> Result<(), String> {
    let id = agent.id();
    let mut used = Resources::default();
    for key in &agent.tasks {
        let task =
            master.ledger.get(&key.0, &key.1).ok_or_else(|| format!("task {} of {id} is not in the ledger", key.1))?;
        if task.charged {
            ensure(!task.state().is_terminal(), || format!("ended task {} is charged", key.1))?;
            used.add(&task.head.resources);
        } else {
            let away = !agent.counts();
            let ended = task.ended.is_some();
            ensure(away || ended, || format!("task {} on {id} is {:?} and not charged", key.1, task.state()))?;
        }
    }
    for pod in agent.pods.values().filter(|pod| pod.charged) {
        used.add(&pod.executor_resources);
    }
    for ghost in agent.ghosts.values() {
        used.add(&ghost.resources);
    }
    ensure(used == agent.allocated, || format!("agent {id}: allocated is {}, used is {used}", agent.allocated))?;
    let mut lent = Resources::default();
    let mut left = agent.total.clone();
    // Several may have a shared volume, and it may be lent to one more.
    let fits = left.take(&used.without_shared()).is_ok();
    for lent_offer in master.offers.iter().filter(|lent| lent.offer.agent_id == *id) {
        lent.add(&lent_offer.offer.resources);
        let taken = left.take(&lent_offer.offer.resources);
        ensure(!fits || taken.is_ok(), || {
            format!("agent {id}: {} is lent and not there: {taken:?}", lent_offer.offer.id)
        })?;
    }
    ensure(lent == agent.offered, || format!("agent {id}: offered is {}, lent is {lent}", agent.offered))?;
    ensure(!fits || left == agent.free(), || format!("agent {id}: free is {}, left is {left}", agent.free()))?;
    ensure(agent.counts() || agent.total.is_empty(), || format!("agent {id} is away and counts"))?;
    ensure(!agent.counts() || agent.total.holdings() == agent.record.holdings, || {
        format!("agent {id}: titles are {}, the registry says {}", agent.total.holdings(), agent.record.holdings)
    })
}

/// 4: a task is on one agent, and both know.
fn tasks_are_where_the_ledger_says(master: &Master, agent: &Agent) -> Result<(), String> {
    let of_agent = master.ledger.iter().filter(|task| task.agent_id == *agent.id()).count();
    ensure(of_agent == agent.tasks.len(), || {
        format!("agent {} has {} tasks of {of_agent}", agent.id(), agent.tasks.len())
    })?;
    for (key, pod) in &agent.pods {
        for task_id in &pod.live {
            ensure(agent.tasks.contains(&(key.0.clone(), task_id.clone())), || {
                format!("pod {} has lost {task_id}", key.1)
            })?;
        }
        ensure(!pod.live.is_empty(), || format!("pod {} is empty", key.1))?;
    }
    Ok(())
}

/// 2 and 3: the book and its indexes agree, and who lends or borrows is there.
fn offers_are_lent_by_and_to_the_living(master: &Master) -> Result<(), String> {
    ensure(master.offers.is_consistent(), || "the offer book's indexes disagree".to_owned())?;
    for lent in master.offers.iter() {
        let offer = &lent.offer;
        let connected = master.agents.get(&offer.agent_id).is_some_and(|agent| agent.session().is_some());
        ensure(connected, || format!("offer {} is of agent {}, which is away", offer.id, offer.agent_id))?;
        let active = master.agents[&offer.agent_id].record.mode == AgentMode::Active;
        ensure(active, || format!("offer {} is of agent {}, which is not active", offer.id, offer.agent_id))?;
        let there = master.frameworks.get(&offer.framework_id).is_some_and(|framework| framework.session().is_some());
        ensure(there, || format!("offer {} is lent to {}, which is away", offer.id, offer.framework_id))?;
        if let Some(at) = lent.expires {
            let armed = master.timers.contains(at, Timer::Offer(offer.id.clone()));
            ensure(armed, || format!("offer {} never expires", offer.id))?;
        }
        let titles = offer.resources.held.keys();
        for holding in titles {
            ensure(offer.role.is_within(&holding.reservation.role), || {
                format!("offer {} has a foreign title", offer.id)
            })?;
        }
    }
    Ok(())
}

/// What the allocator believes is what is allocated and lent.
fn shares_are_what_is_used(master: &Master) -> Result<(), String> {
    let mut used: BTreeMap<(RoleName, FrameworkId), Totals> = BTreeMap::new();
    let mut add = |role: &RoleName, framework_id: &FrameworkId, resources: &Resources| {
        used.entry((role.clone(), framework_id.clone())).or_default().add(resources);
    };
    for task in master.ledger.iter().filter(|task| task.charged) {
        add(&task.role, &task.framework_id, &task.head.resources);
    }
    for agent in master.agents.values() {
        for ((framework_id, _), pod) in agent.pods.iter().filter(|(_, pod)| pod.charged) {
            if let Some(role) = &pod.role {
                add(role, framework_id, &pod.executor_resources);
            }
        }
    }
    for lent in master.offers.iter() {
        add(&lent.offer.role, &lent.offer.framework_id, &lent.offer.resources);
    }
    let shares = &master.allocator.shares;
    for (role, framework_id) in shares.memberships() {
        let believed = shares.consumed(role, framework_id).cloned().unwrap_or_default();
        let real = used.remove(&(role.clone(), framework_id.clone())).unwrap_or_default();
        ensure(believed == real, || {
            format!("{framework_id} in role {role}: share counts {believed:?}, used is {real:?}")
        })?;
    }
    used.retain(|_, totals| !totals.is_empty());
    ensure(used.is_empty(), || format!("uncounted shares: {used:?}"))?;
    let mut pool = Totals::default();
    for agent in master.agents.values() {
        pool.add(&agent.total);
    }
    ensure(*shares.pool() == pool, || "the pool's total is not the sum of its agents".to_owned())
}

/// 7: no role is above a limit, unless agents came back so or an operator insists; and what quotas count is what is there.
fn quotas_are_kept(master: &Master) -> Result<(), String> {
    let shares = &master.allocator.shares;
    let mut counted: BTreeMap<RoleName, Totals> = BTreeMap::new();
    let mut consumed: BTreeMap<RoleName, Totals> = BTreeMap::new();
    let path = |role: &RoleName| std::iter::successors(Some(role.clone()), RoleName::parent);
    let mut use_up = |role: &RoleName, resources: &Resources| {
        for role in path(role) {
            counted.entry(role.clone()).or_default().add_quantities(&resources.unreserved);
            consumed.entry(role).or_default().add(resources);
        }
    };
    for task in master.ledger.iter().filter(|task| task.charged) {
        use_up(&task.role, &task.head.resources);
    }
    for agent in master.agents.values() {
        for pod in agent.pods.values().filter(|pod| pod.charged) {
            pod.role.iter().for_each(|role| use_up(role, &pod.executor_resources));
        }
    }
    for lent in master.offers.iter() {
        use_up(&lent.offer.role, &lent.offer.resources);
    }
    let mut headroom = Totals::default();
    for agent in master.agents.values() {
        for (holding, quantities) in &agent.total.held {
            for role in path(&holding.reservation.role) {
                counted.entry(role).or_default().add_quantities(quantities);
            }
        }
        let free = crate::tenancy::headroom_of(agent, &agent.free());
        let known = master.allocator.headroom.has(agent.id());
        ensure(known == free.is_some(), || {
            format!("agent {} is believed to have something free: {known}, and has {free:?}", agent.id())
        })?;
        headroom.add_totals(&free.unwrap_or_default());
    }
    let nothing = Totals::default();
    let known: std::collections::BTreeSet<&RoleName> =
        shares.role_names().chain(counted.keys()).chain(consumed.keys()).collect();
    for role in known {
        for (what, believed, real) in [
            ("quota counts", shares.counted(role), counted.get(role)),
            ("share counts", shares.consumed_below(role), consumed.get(role)),
        ] {
            let (believed, real) = (believed.unwrap_or(&nothing), real.unwrap_or(&nothing));
            ensure(believed == real, || format!("role {role} and below: {what} {believed:?}, there is {real:?}"))?;
        }
    }
    ensure(*master.allocator.headroom.sum() == headroom, || {
        format!("headroom is believed to be {:?} and is {headroom:?}", master.allocator.headroom.sum())
    })?;
    match shares.intolerable() {
        Some(ceiling) => Err(format!("a limit is exceeded: {ceiling}")),
        None => Ok(()),
    }
}

/// What became of an operation is told until it is acknowledged, and the index knows every one.
fn operations_are_told(master: &Master) -> Result<(), String> {
    let recorded: usize = master.agents.values().map(|agent| agent.record.operations.len()).sum();
    ensure(recorded == master.feedback.len(), || {
        format!("{recorded} operations are recorded and {} indexed", master.feedback.len())
    })?;
    for (framework_id, id, agent_id, again) in master.feedback.iter() {
        let operations = &master.agents[agent_id].record.operations;
        let found = operations.iter().find(|one| one.framework_id == *framework_id && one.id == *id);
        let Some(found) = found else { return Err(format!("operation {id} is not on {agent_id}")) };
        let framework = master.frameworks.get(framework_id);
        let hears = framework.is_some_and(|framework| framework.session().is_some());
        let armed =
            again.is_some_and(|at| master.timers.contains(at, Timer::Operation(framework_id.clone(), id.clone())));
        let waits = framework.is_some_and(|framework| framework.answers.kept() > 0);
        ensure(armed || !hears || waits || !found.state.is_terminal(), || {
            format!("operation {id} is never told again")
        })?;
    }
    Ok(())
}

fn sessions_are_mutual(master: &Master) -> Result<(), String> {
    for (session, kind) in &master.sessions {
        let mutual = match kind {
            Session::Framework { subscribed: Some(id), .. } => master.frameworks[id].session() == Some(*session),
            Session::Agent { registered: Some(id), .. } => master.agents[id].session() == Some(*session),
            Session::Framework { subscribed: None, .. } | Session::Agent { registered: None, .. } => true,
        };
        ensure(mutual, || format!("session {session:?} believes in somebody who does not"))?;
    }
    let pinged = |id: &AgentId, agent: &Agent| match agent.state {
        AgentState::Connected { next_ping, .. } => master.timers.contains(next_ping, Timer::Ping(id.clone())),
        AgentState::Recovered | AgentState::Disconnected { .. } | AgentState::Unreachable { .. } | AgentState::Gone => {
            true
        }
    };
    for (id, agent) in &master.agents {
        ensure(pinged(id, agent), || format!("agent {id} is never pinged"))?;
        let drains = matches!(agent.record.mode, AgentMode::Draining(_)) && agent.state != AgentState::Gone;
        ensure(drains == master.draining.contains(id), || format!("nobody watches the drain of agent {id}"))?;
    }
    Ok(())
}

/// 10.
fn everything_is_bounded(master: &Master) -> Result<(), String> {
    let offers = master.frameworks.keys().map(|id| master.offers.count_of(id)).max().unwrap_or(0);
    let timers = master.feedback.len()
        + master.agents.len() * (4 + master.frameworks.len() * 65)
        + master.frameworks.len() * (1 + offers);
    for (what, count, limit) in [
        ("agents", master.agent_names.len(), limits::AGENTS_MAX),
        (
            "answers due",
            master.frameworks.values().map(|f| f.answers.kept()).max().unwrap_or(0),
            limits::ANSWERS_DUE_MAX,
        ),
        ("frameworks", master.framework_names.len(), limits::FRAMEWORKS_MAX),
        ("ended frameworks", master.frameworks.len() - master.framework_names.len(), limits::TORN_DOWN_MAX),
        ("sessions", master.sessions.len(), limits::SESSIONS_MAX),
        ("offers of one framework", offers, limits::OFFERS_PER_FRAMEWORK_MAX),
        ("ends of filters", master.allocator.filters.counts().0, master.allocator.filters.counts().1),
        ("filters", master.allocator.filters.longest(), limits::FILTERS_PER_TRIPLE_MAX),
        ("operations of one framework", master.feedback.largest(), limits::OPERATIONS_PER_FRAMEWORK_MAX),
        ("remembered tasks", master.ledger.remembered_max(), limits::REMEMBERED_TASKS_PER_FRAMEWORK_MAX),
        ("timers", master.timers.len(), timers.max(1024)),
    ] {
        ensure(count <= limit, || format!("{count} {what} are more than {limit}"))?;
    }
    Ok(())
}
