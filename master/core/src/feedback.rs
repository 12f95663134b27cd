//! What becomes of operations to which their framework gave an id: durable with the change that they made, done when the
//! agent says that it has made the change true, told until the framework acknowledges.
use std::collections::BTreeMap;
use std::ops::Bound;

use model::call::SchedulerEvent;
use model::{AgentId, FrameworkId, OperationId, OperationState, OperationStatus, Span, Timestamp, UpdateId};

use crate::agent::AgentState;
use crate::answers::{Round, asked};
use crate::decision::Rejected;
use crate::lifecycle::{OPERATION, allows, operation_word};
use crate::limits;
use crate::master::Master;
use crate::mutation::{Mutation, mutated};
use crate::registry::{OperationRecord, Record};
use crate::timer::Timer;

/// Where operations with an id are, and when they are told again. The rest is in the agents' records.
#[derive(Debug, Default)]
pub(crate) struct Feedback {
    index: BTreeMap<FrameworkId, BTreeMap<OperationId, Told>>,
    number: u64,
}

#[derive(Debug)]
struct Told {
    agent_id: AgentId,
    /// When it is told again and after how long once more; `None` while there is nothing to tell or nobody to hear.
    again: Option<(Timestamp, Span)>,
}

impl Feedback {
    /// Notes what a record says.
    pub(crate) fn restore(&mut self, agent_id: &AgentId, operations: &[OperationRecord]) {
        for operation in operations {
            self.insert(agent_id, operation);
        }
    }
    fn insert(&mut self, agent_id: &AgentId, operation: &OperationRecord) {
        let told = Told { agent_id: agent_id.clone(), again: None };
        self.index.entry(operation.framework_id.clone()).or_default().insert(operation.id.clone(), told);
    }
    fn remove(&mut self, framework_id: &FrameworkId, id: &OperationId) -> Option<Told> {
        let of_framework = self.index.get_mut(framework_id)?;
        let told = of_framework.remove(id);
        if of_framework.is_empty() {
            self.index.remove(framework_id);
        }
        told
    }
    fn agent_of(&self, framework_id: &FrameworkId, id: &OperationId) -> Option<&AgentId> {
        Some(&self.index.get(framework_id)?.get(id)?.agent_id)
    }
    /// The first operation of a framework whose id comes after this one.
    pub(crate) fn next_of(&self, framework_id: &FrameworkId, after: Option<&OperationId>) -> Option<OperationId> {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let own = self.index.get(framework_id)?;
        own.range::<OperationId, _>((begin, Bound::Unbounded)).next().map(|(id, _)| id.clone())
    }
    pub(crate) fn len(&self) -> usize {
        self.index.values().map(BTreeMap::len).sum()
    }
    pub(crate) fn largest(&self) -> usize {
        self.index.values().map(BTreeMap::len).max().unwrap_or(0)
    }
    /// Where every operation is.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&FrameworkId, &OperationId, &AgentId, Option<Timestamp>)> {
        self.index.iter().flat_map(|(framework_id, operations)| {
            operations.iter().map(move |(id, told)| (framework_id, id, &told.agent_id, told.again.map(|(at, _)| at)))
        })
    }
}

impl Master {
    /// Whether a framework may give this id to one more operation of this agent.
    pub(crate) fn check_operation_id(
        &self,
        id: &FrameworkId,
        agent_id: &AgentId,
        operation_id: &OperationId,
    ) -> Result<(), Rejected> {
        let own = self.feedback.index.get(id);
        if own.is_some_and(|own| own.contains_key(operation_id)) {
            return Err(Rejected::OperationIdUsed { operation_id: operation_id.clone() });
        }
        for (what, count, limit) in [
            ("operations not acknowledged", own.map_or(0, BTreeMap::len), limits::OPERATIONS_PER_FRAMEWORK_MAX),
            (
                "operations not acknowledged on one agent",
                self.agents[agent_id].record.operations.len(),
                limits::OPERATIONS_PER_AGENT_MAX,
            ),
        ] {
            if count >= limit {
                return Err(Rejected::TooMany { what, count: count + 1, limit });
            }
        }
        Ok(())
    }

    /// An operation was decided: done with the agent's next generation of titles, or refused. Not yet persisted.
    pub(crate) fn note_operation(
        &mut self,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        id: OperationId,
        result: Result<(), &Rejected>,
    ) {
        self.feedback.number += 1;
        let uuid = UpdateId((u128::from(self.pool.epoch) << 64) | u128::from(self.feedback.number));
        let agent = self.agents.get_mut(agent_id).expect("the caller has it");
        let (state, message, generation) = match result {
            Ok(()) => (OperationState::Pending, String::new(), agent.record.holdings_generation + 1),
            Err(rejected) => (OperationState::Error, rejected.refusal().to_string(), 0),
        };
        let record = OperationRecord { framework_id: framework_id.clone(), id, uuid, state, message, generation };
        self.feedback.insert(agent_id, &record);
        agent.record.operations.push(record);
        self.dirty.agents.insert(agent_id.clone());
    }

    /// The agent has made its titles true up to a generation.
    pub(crate) fn applied(&mut self, agent_id: &AgentId, generation: u64) {
        let newest = self.agents[agent_id].record.holdings_generation;
        if generation <= newest {
            self.end_operations(agent_id, generation, OperationState::Finished, "");
        }
    }

    /// Ends what is pending on an agent, up to a generation of its titles.
    pub(crate) fn end_operations(&mut self, agent_id: &AgentId, generation: u64, state: OperationState, words: &str) {
        debug_assert!(allows(OPERATION, operation_word(OperationState::Pending), operation_word(state)), "{state:?}");
        let agent = self.agents.get_mut(agent_id).expect("the caller has it");
        let mut ended = Vec::new();
        for operation in &mut agent.record.operations {
            if operation.state == OperationState::Pending && operation.generation <= generation {
                operation.state = state;
                words.clone_into(&mut operation.message);
                ended.push((operation.framework_id.clone(), operation.id.clone()));
            }
        }
        if ended.is_empty() {
            return;
        }
        self.outbox.persist(Record::Agent(agent.record.clone()));
        for (framework_id, id) in ended {
            self.tell_operation(&framework_id, &id, limits::OPERATION_RETRY_MIN);
        }
    }

    /// Tells what was refused in an accept, once it is persisted.
    pub(crate) fn tell_operations(&mut self, framework_id: &FrameworkId, refused: &[OperationId]) {
        for id in refused {
            self.tell_operation(framework_id, id, limits::OPERATION_RETRY_MIN);
        }
    }

    /// Tells its framework, and again after a while, as long as it is there and has not acknowledged.
    pub(crate) fn tell_operation(&mut self, framework_id: &FrameworkId, id: &OperationId, pause: Span) {
        let Some(agent_id) = self.feedback.agent_of(framework_id, id).cloned() else { return };
        let Some(operation) = self.find_operation(&agent_id, framework_id, id) else { return };
        if !operation.state.is_terminal() {
            return;
        }
        let status = OperationStatus {
            operation_id: id.clone(),
            state: operation.state,
            message: operation.message.clone(),
            agent_id: Some(agent_id),
            uuid: Some(operation.uuid),
        };
        let is_there = self.frameworks.get(framework_id).is_some_and(|framework| framework.session().is_some());
        let told = self.feedback.index.get_mut(framework_id).and_then(|own| own.get_mut(id)).expect("found above");
        if let Some((at, _)) = told.again.take() {
            self.timers.unset(at, Timer::Operation(framework_id.clone(), id.clone()));
        }
        if is_there && !mutated(Mutation::TellsOperationsOnce) {
            let at = self.now + pause;
            told.again = Some((at, pause));
            self.timers.set(at, Timer::Operation(framework_id.clone(), id.clone()));
        }
        self.tell_framework(framework_id, SchedulerEvent::OperationUpdate(status));
    }

    fn find_operation(
        &self,
        agent_id: &AgentId,
        framework_id: &FrameworkId,
        id: &OperationId,
    ) -> Option<&OperationRecord> {
        let operations = &self.agents.get(agent_id)?.record.operations;
        operations.iter().find(|operation| operation.framework_id == *framework_id && operation.id == *id)
    }

    /// The framework has not acknowledged for a while.
    pub(crate) fn operation_due(&mut self, framework_id: &FrameworkId, id: &OperationId) {
        let told = self.feedback.index.get_mut(framework_id).and_then(|own| own.get_mut(id));
        let Some((at, pause)) = told.and_then(|told| told.again) else { return };
        if at <= self.now {
            let pause = Span(pause.0.saturating_mul(2)).min(limits::OPERATION_RETRY_MAX);
            self.tell_operation(framework_id, id, pause);
        }
    }

    /// The framework has heard it.
    pub(crate) fn acknowledge_operation(&mut self, framework_id: &FrameworkId, id: &OperationId, uuid: UpdateId) {
        let Some(agent_id) = self.feedback.agent_of(framework_id, id).cloned() else { return };
        let operation = self.find_operation(&agent_id, framework_id, id);
        if operation.is_some_and(|operation| operation.uuid == uuid && operation.state.is_terminal()) {
            self.forget_operations(&agent_id, |operation| {
                operation.framework_id == *framework_id && operation.id == *id
            });
        }
    }

    /// Nobody wants to hear of a framework's operations any more.
    pub(crate) fn drop_operations(&mut self, framework_id: &FrameworkId) {
        let own = self.feedback.index.get(framework_id).into_iter().flat_map(BTreeMap::values);
        let agents: std::collections::BTreeSet<AgentId> = own.map(|told| told.agent_id.clone()).collect();
        for agent_id in agents {
            self.forget_operations(&agent_id, |operation| operation.framework_id == *framework_id);
        }
    }

    fn forget_operations(&mut self, agent_id: &AgentId, is_meant: impl Fn(&OperationRecord) -> bool) {
        let agent = self.agents.get_mut(agent_id).expect("the index names agents that are known");
        let (forgotten, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut agent.record.operations).into_iter().partition(|operation| is_meant(operation));
        agent.record.operations = kept;
        if forgotten.is_empty() {
            return;
        }
        self.outbox.persist(Record::Agent(agent.record.clone()));
        self.dirty.agents.insert(agent_id.clone());
        for OperationRecord { framework_id, id, .. } in forgotten {
            if let Some(Told { again: Some((at, _)), .. }) = self.feedback.remove(&framework_id, &id) {
                self.timers.unset(at, Timer::Operation(framework_id, id));
            }
        }
    }

    /// An agent is away for long: what is pending there is so for now. Told once, as it may change again.
    pub(crate) fn tell_operations_unreachable(&mut self, agent_id: &AgentId) {
        let pending: Vec<_> = self.agents[agent_id]
            .record
            .operations
            .iter()
            .filter(|operation| operation.state == OperationState::Pending)
            .map(|operation| (operation.framework_id.clone(), operation.id.clone()))
            .collect();
        for (framework_id, id) in pending {
            let status = self.operation_truth(&framework_id, &id, Some(agent_id));
            self.tell_framework(&framework_id, SchedulerEvent::OperationUpdate(status));
        }
    }

    pub(crate) fn reconcile_operations(
        &mut self,
        framework_id: &FrameworkId,
        operations: &[(OperationId, Option<AgentId>)],
    ) -> Result<(), Rejected> {
        let (count, limit) = (operations.len(), limits::RECONCILE_OPERATIONS_MAX);
        if count > limit {
            return Err(Rejected::TooMany { what: "operations", count, limit });
        }
        let round = if operations.is_empty() {
            Round::AllOperations { after: None }
        } else {
            Round::TheseOperations { asked: asked(operations) }
        };
        self.say_in_turn(framework_id, round)
    }

    /// What can be said of an operation now. What is known of it stands, but as long as it is pending, how its agent is
    /// says more.
    pub(crate) fn operation_truth(
        &self,
        framework_id: &FrameworkId,
        id: &OperationId,
        agent_id: Option<&AgentId>,
    ) -> OperationStatus {
        let agent_id = self.feedback.agent_of(framework_id, id).or(agent_id);
        let known = agent_id.and_then(|agent_id| self.find_operation(agent_id, framework_id, id));
        let agent = agent_id.and_then(|agent_id| self.agents.get(agent_id)).map(|agent| agent.state);
        let (state, message) = match (known, agent) {
            (Some(known), _) if known.state.is_terminal() => (known.state, known.message.clone()),
            (_, Some(AgentState::Recovered)) => (OperationState::Recovering, String::new()),
            (_, Some(AgentState::Unreachable { .. })) => (OperationState::Unreachable, String::new()),
            (_, Some(AgentState::Gone)) => (OperationState::GoneByOperator, String::new()),
            (Some(known), _) => (known.state, known.message.clone()),
            (None, None) if agent_id.is_some_and(|agent_id| self.has_given(agent_id)) => {
                (OperationState::GoneByOperator, String::new())
            }
            (None, Some(AgentState::Connected { .. } | AgentState::Disconnected { .. }) | None) => {
                (OperationState::Unknown, String::new())
            }
        };
        OperationStatus { operation_id: id.clone(), state, message, agent_id: agent_id.cloned(), uuid: None }
    }
}
