//! The one serial point: an accept is an optimistic plan, checked here against the offer book when it is applied. Who
//! wins a race is decided by what is in the book now, and by nothing else.
//!
//! Operations run in order on what the ones before left; one that fails is dropped alone. What none of them used is
//! declined with the accept's filter; what they converted is offered again without.
use std::collections::BTreeSet;
use std::sync::Arc;

use model::call::{Filter, Operation, SchedulerEvent};
use model::link::{FrameworkRef, ToAgent};
use model::task::{Pod, Task as LaunchedTask};
use model::{
    AgentId, FrameworkId, Milli, OfferId, OperationId, OperationState, OperationStatus, Quantities, Reason, Resources,
    RoleName, Source, TaskHead, TaskState, TaskStatus,
};

use crate::agent::AgentState;
use crate::decision::{Decision, OfferEnd, Rejected};
use crate::holdings::{self, Claimant, Ground, are_sane};
use crate::ledger::Task;
use crate::limits;
use crate::master::{Fault, Master};
use crate::registry::Record;

/// An accept being applied.
struct Applying {
    framework: FrameworkRef,
    agent_id: AgentId,
    /// What is left of the offers, as converted so far.
    pool: Resources,
    /// The agent's total, as converted so far.
    total: Resources,
    /// The agent has yet to be told of conversions.
    unsaid: bool,
    /// Operations with an id that were refused: their framework hears of them when that is persisted.
    refused: Vec<OperationId>,
}

impl Master {
    pub(crate) fn accept(
        &mut self,
        id: &FrameworkId,
        offers: &[OfferId],
        operations: Vec<Operation>,
        filter: Filter,
    ) -> Result<(), Fault> {
        if let Err(fault) = self.check_offers(id, offers, &operations) {
            // One bad offer voids the call. The others in it are given back: the framework counts them as used.
            for offer_id in offers.iter().take(limits::OFFERS_PER_CALL_MAX) {
                if self.offers.get(offer_id).is_some_and(|offer| offer.framework_id == *id) {
                    self.end_offer(offer_id, OfferEnd::Rescinded);
                }
            }
            let words = fault.reason.to_string();
            for operation in operations {
                match operation.split() {
                    (_, Operation::Launch(pod)) => {
                        self.refuse_pod(id, &pod, TaskState::Dropped, Reason::InvalidOffers, &words);
                    }
                    (Some(operation_id), _) => self.drop_operation(id, operation_id, &words),
                    (None, _) => {}
                }
            }
            return Err(fault);
        }
        let lent: Vec<_> = offers.iter().filter_map(|id| self.end_offer(id, OfferEnd::Accepted)).collect();
        let (agent_id, role) = (lent[0].agent_id.clone(), lent[0].role.clone());
        let mut original = Resources::default();
        for offer in &lent {
            original.add(&offer.resources);
        }
        let info = &self.frameworks[id].record.info;
        let framework = FrameworkRef {
            id: id.clone(),
            name: info.name.clone(),
            role: role.clone(),
            principal: info.principal.clone(),
        };
        let total = self.agents[&agent_id].total.clone();
        let mut applying =
            Applying { framework, agent_id, pool: original.clone(), total, unsaid: false, refused: Vec::new() };
        let mut first_fault = None;
        for (i, operation) in operations.into_iter().enumerate() {
            if let Err(rejected) = self.operate(&mut applying, operation)
                && first_fault.is_none()
            {
                first_fault = Some(Fault::at(rejected, format!("operations[{i}]")));
            }
        }
        self.say_holdings(&mut applying);
        if !applying.refused.is_empty() {
            self.outbox.persist(Record::Agent(self.agents[&applying.agent_id].record.clone()));
            self.tell_operations(id, &applying.refused);
        }
        let rest = original.common(&applying.pool);
        if !rest.is_empty() {
            self.add_filter(id, &role, &applying.agent_id, rest, filter.refuse);
        }
        first_fault.map_or(Ok(()), Err)
    }

    fn check_offers(&self, id: &FrameworkId, offers: &[OfferId], operations: &[Operation]) -> Result<(), Fault> {
        let (count, limit) = (offers.len(), limits::OFFERS_PER_CALL_MAX);
        if count > limit {
            return Err(Rejected::TooMany { what: "offers", count, limit }.into());
        }
        let (count, limit) = (operations.len(), limits::OPERATIONS_PER_ACCEPT_MAX);
        if count > limit {
            return Err(Rejected::TooMany { what: "operations", count, limit }.into());
        }
        if offers.is_empty() || offers.iter().collect::<BTreeSet<_>>().len() < offers.len() {
            return Err(Fault::at(Rejected::OfferList, "offers".to_owned()));
        }
        let mut first: Option<(&AgentId, &RoleName)> = None;
        for (i, offer_id) in offers.iter().enumerate() {
            let own = self.offers.get(offer_id).filter(|offer| offer.framework_id == *id);
            let Some(offer) = own else {
                let rejected = Rejected::InvalidOffer { offer_id: offer_id.clone() };
                return Err(Fault::at(rejected, format!("offers[{i}]")));
            };
            let place = (&offer.agent_id, &offer.role);
            if *first.get_or_insert(place) != place {
                let rejected = Rejected::MixedOffers { offer_id: offer_id.clone() };
                return Err(Fault::at(rejected, format!("offers[{i}]")));
            }
        }
        Ok(())
    }

    fn operate(&mut self, applying: &mut Applying, operation: Operation) -> Result<(), Rejected> {
        let (operation_id, operation) = operation.split();
        let Some(operation_id) = operation_id else { return self.convert(applying, operation) };
        if matches!(operation, Operation::Launch(_) | Operation::Identified { .. }) {
            return Err(Rejected::Malformed { what: "an operation id goes with one operation that is no launch" });
        }
        let (framework_id, agent_id) = (applying.framework.id.clone(), applying.agent_id.clone());
        self.check_operation_id(&framework_id, &agent_id, &operation_id)?;
        let result = self.convert(applying, operation);
        if result.is_err() {
            applying.refused.push(operation_id.clone());
        }
        self.note_operation(&framework_id, &agent_id, operation_id, result.as_ref().copied());
        result
    }

    fn convert(&mut self, applying: &mut Applying, operation: Operation) -> Result<(), Rejected> {
        let Applying { framework, pool, total, agent_id, .. } = applying;
        let before = self.allocator.shares.has_limits().then(|| (pool.clone(), total.clone()));
        let claimant = Claimant { role: Some(&framework.role), principal: &framework.principal };
        let mut ground = Ground { pool: &mut *pool, total: &mut *total };
        match operation {
            Operation::Launch(pod) => return self.launch(applying, pod),
            Operation::Reserve(wanted) => holdings::reserve(&mut ground, &wanted, claimant)?,
            Operation::Unreserve(wanted) => holdings::unreserve(&mut ground, &wanted)?,
            Operation::Create(wanted) => holdings::create(&mut ground, &wanted, claimant)?,
            Operation::Destroy(wanted) => {
                holdings::destroy(&mut ground, &wanted, &self.agents[agent_id].allocated)?;
            }
            Operation::Grow { volume, addition } => holdings::grow(&mut ground, &volume, &addition)?,
            Operation::Shrink { volume, subtract } => holdings::shrink(&mut ground, &volume, subtract)?,
            Operation::Identified { .. } => unreachable!("split by the caller"),
        }
        if let Some(before) = before
            && let Err(rejected) = self.check_limits(&framework.role, agent_id, total, &Quantities::default())
        {
            (*pool, *total) = before;
            return Err(rejected);
        }
        applying.unsaid = true;
        Ok(())
    }

    /// Tells the framework that an operation was not tried. Its offers were void: no agent will ever know of it.
    fn drop_operation(&mut self, id: &FrameworkId, operation_id: OperationId, words: &str) {
        let (state, message) = (OperationState::Dropped, words.to_owned());
        let status = OperationStatus { operation_id, state, message, agent_id: None, uuid: None };
        self.tell_framework(id, SchedulerEvent::OperationUpdate(status));
    }

    /// Tells agent and registry what is held now. The agent hears of a volume before it hears of a task that uses it.
    fn say_holdings(&mut self, applying: &mut Applying) {
        if std::mem::take(&mut applying.unsaid) {
            self.set_holdings(&applying.agent_id, applying.total.clone());
        }
    }

    /// Changes an agent's titles: the registry first, then the agent.
    pub(crate) fn set_holdings(&mut self, agent_id: &AgentId, total: Resources) {
        let agent = self.agents.get_mut(agent_id).expect("the caller has it");
        agent.record.holdings_generation += 1;
        agent.record.holdings = total.holdings();
        let before = std::mem::replace(&mut agent.total, total);
        self.allocator.shares.change_pool(&before, &agent.total);
        let (generation, holdings) = (agent.record.holdings_generation, agent.record.holdings.clone());
        self.outbox.persist(Record::Agent(agent.record.clone()));
        self.tell_agent(agent_id, ToAgent::SetHoldings { generation, holdings });
        self.decided(Decision::HoldingsChanged { agent_id: agent_id.clone(), generation });
        self.dirty.agents.insert(agent_id.clone());
    }

    fn launch(&mut self, applying: &mut Applying, pod: Pod) -> Result<(), Rejected> {
        let pool = match self.check_pod(applying, &pod) {
            Ok(pool) => pool,
            Err(rejected) => {
                let grouped = pod.tasks.len() > 1;
                let reason = match (&rejected, grouped) {
                    (Rejected::NotPrivileged { .. }, false) => Reason::TaskUnauthorized,
                    (Rejected::NotPrivileged { .. }, true) => Reason::TaskGroupUnauthorized,
                    (_, false) => Reason::TaskInvalid,
                    (_, true) => Reason::TaskGroupInvalid,
                };
                self.refuse_pod(&applying.framework.id, &pod, TaskState::Error, reason, &rejected.to_string());
                return Err(rejected);
            }
        };
        applying.pool = pool;
        self.say_holdings(applying);
        let framework = applying.framework.clone();
        let agent = self.agents.get_mut(&applying.agent_id).expect("the offers' agent");
        let entry = agent.pods.entry((framework.id.clone(), pod.executor_id.clone())).or_default();
        entry.executor_resources = pod.executor_resources.clone();
        for task in &pod.tasks {
            self.enter(&applying.agent_id, &framework, &pod, task);
        }
        let privileged_allowed = self.is_privileged(&framework.principal);
        self.tell_agent(&applying.agent_id, ToAgent::Launch { framework, pod, privileged_allowed });
        Ok(())
    }

    /// What would be left of the pool.
    fn check_pod(&self, applying: &Applying, pod: &Pod) -> Result<Resources, Rejected> {
        let (count, limit) = (pod.tasks.len(), limits::TASKS_PER_POD_MAX);
        if pod.tasks.is_empty() {
            return Err(Rejected::Malformed { what: "a pod needs at least one task" });
        }
        if count > limit {
            return Err(Rejected::TooMany { what: "tasks in one pod", count, limit });
        }
        let framework = &self.frameworks[&applying.framework.id];
        let agent = &self.agents[&applying.agent_id];
        for (what, have, limit) in [
            ("tasks of one framework", self.ledger.count_of(framework.id()), limits::TASKS_PER_FRAMEWORK_MAX),
            ("tasks on one agent", agent.tasks.len(), limits::TASKS_PER_AGENT_MAX),
        ] {
            if have + count > limit {
                return Err(Rejected::TooMany { what, count: have + count, limit });
            }
        }
        if self.ledger.knows_executor(framework.id(), &pod.executor_id) {
            return Err(Rejected::ExecutorIdUsed { executor_id: pod.executor_id.clone() });
        }
        let mut ids = BTreeSet::new();
        let mut pool = applying.pool.clone();
        if !are_sane(&pod.executor_resources) {
            return Err(Rejected::Malformed { what: "the executor asks for a negative or absurd amount" });
        }
        pool.give(&pod.executor_resources).map_err(|missing| Rejected::TooMuch { missing })?;
        for LaunchedTask { head, .. } in &pod.tasks {
            let task_id = head.task_id.clone();
            if !ids.insert(&head.task_id)
                || self.ledger.get(framework.id(), &task_id).is_some()
                || self.ledger.remembered(framework.id(), &task_id).is_some()
            {
                return Err(Rejected::TaskIdUsed { task_id });
            }
            if head.agent_id != applying.agent_id {
                return Err(Rejected::WrongAgent { task_id, agent_id: head.agent_id.clone() });
            }
            if head.privileged && !self.is_privileged(framework.principal()) {
                return Err(Rejected::NotPrivileged { task_id, principal: framework.principal().clone() });
            }
            if let Some(key) = head
                .secrets
                .iter()
                .find(|key| !key.starts_with("secret/") || !framework.state_sizes.contains_key(key.as_str()))
            {
                return Err(Rejected::NoSecret { task_id, key: key.clone() });
            }
            if !are_sane(&head.resources) {
                return Err(Rejected::Malformed { what: "a task asks for a negative or absurd amount" });
            }
            let (count, limit) = (kept_bytes(head), limits::TASK_HEAD_BYTES_MAX);
            if count > limit {
                return Err(Rejected::TooMany {
                    what: "bytes of name, discovery, secrets and titles of one task",
                    count,
                    limit,
                });
            }
            if let Some(name) = head.limits.below(&head.resources.sum()) {
                return Err(Rejected::LimitBelowRequest { task_id, name });
            }
            if let Some(name) = mixed(&head.resources) {
                return Err(Rejected::MixedRevocable { task_id, name });
            }
            // One by one: two tasks that name the same port must not pass as one.
            pool.give(&head.resources).map_err(|missing| Rejected::TooMuch { missing })?;
        }
        let mut unreserved = pod.executor_resources.unreserved.clone();
        pod.tasks.iter().for_each(|task| unreserved.add(&task.head.resources.unreserved));
        self.check_limits(&applying.framework.role, &applying.agent_id, &applying.total, &unreserved)?;
        Ok(pool)
    }

    fn enter(&mut self, agent_id: &AgentId, framework: &FrameworkRef, pod: &Pod, task: &LaunchedTask) {
        let task_id = task.head.task_id.clone();
        let status = TaskStatus {
            task_id: task_id.clone(),
            state: TaskState::Staging,
            reason: None,
            source: Source::Master,
            message: String::new(),
            agent_id: Some(agent_id.clone()),
            executor_id: Some(pod.executor_id.clone()),
            uuid: None,
            healthy: None,
            ready: None,
            timestamp: self.now,
        };
        self.ledger.insert(Task {
            framework_id: framework.id.clone(),
            role: framework.role.clone(),
            agent_id: agent_id.clone(),
            executor_id: pod.executor_id.clone(),
            head: Arc::new(task.head.clone()),
            status,
            pending: None,
            told: None,
            acknowledged: None,
            charged: false,
            kill: None,
            launched: self.now,
            running: None,
            ended: None,
        });
        let agent = self.agents.get_mut(agent_id).expect("the offers' agent");
        agent.tasks.insert((framework.id.clone(), task_id.clone()));
        self.charge(&framework.id, &task_id);
        self.dirty.tasks.insert((framework.id.clone(), task_id.clone()));
        self.dirty.frameworks.insert(framework.id.clone());
        self.decided(Decision::TaskBecame {
            framework_id: framework.id.clone(),
            task_id,
            agent_id: agent_id.clone(),
            from: None,
            to: TaskState::Staging,
        });
    }

    /// Tells the framework that tasks were not launched. An id that was launched before (an accept sent twice, over two
    /// sessions) is answered with the truth about that task: it must not look ended because the copy was refused. While
    /// the agent is away, the copy may be of an accept that an earlier master took: nothing is said, and the refusal of
    /// the call makes the framework reconcile.
    fn refuse_pod(&mut self, id: &FrameworkId, pod: &Pod, state: TaskState, reason: Reason, words: &str) {
        for task in pod.tasks.iter().take(limits::TASKS_PER_POD_MAX) {
            let agent = self.agents.get(&task.head.agent_id).map(|agent| agent.state);
            let is_away = matches!(agent, Some(AgentState::Recovered | AgentState::Unreachable { .. }));
            if is_away && self.known_status(id, &task.head.task_id).is_none() {
                continue;
            }
            let status = self.known_status(id, &task.head.task_id).unwrap_or_else(|| TaskStatus {
                task_id: task.head.task_id.clone(),
                state,
                reason: Some(reason),
                source: Source::Master,
                message: words.to_owned(),
                agent_id: Some(task.head.agent_id.clone()),
                executor_id: Some(pod.executor_id.clone()),
                uuid: None,
                healthy: None,
                ready: None,
                timestamp: self.now,
            });
            self.tell_framework(id, SchedulerEvent::Update(status));
        }
    }
}

/// How much the master keeps of a task, about: texts count, and titles are all texts.
fn kept_bytes(head: &TaskHead) -> usize {
    let port =
        |port: &model::task::DiscoveryPort| 32 + port.name.len() + port.vip.as_ref().map_or(0, |vip| vip.name.len());
    let discovery = head.discovery.iter().map(|found| found.name.len() + found.ports.iter().map(port).sum::<usize>());
    let secrets = head.secrets.iter().map(|key| 16 + key.len()).sum::<usize>();
    let title = |holding: &model::Holding| format!("{holding:?}").len() / 2;
    let titles = head.resources.held.keys().map(title).sum::<usize>();
    head.name.len() + discovery.sum::<usize>() + secrets + titles
}

/// A scalar of which a task takes some that may be taken back and some that may not: what of it would be ended?
fn mixed(resources: &Resources) -> Option<String> {
    let firm = resources.firm();
    let mut revocable = resources.revocable.scalars();
    let is_both = |(name, amount): &(&str, Milli)| amount.0 > 0 && firm.scalar(name).0 > 0;
    revocable.find(is_both).map(|(name, _)| name.to_owned())
}
