//! Frameworks come, go and say what they want offers for.
use std::collections::{BTreeMap, BTreeSet};

use model::call::{Filter, FrameworkInfo, SchedulerEvent};
use model::{AgentId, FrameworkId, OfferId, Principal, Resources, RoleName, Span, Timestamp};

use crate::answers::{Answers, Round};
use crate::command::Command;
use crate::decision::{Decision, OfferEnd, Rejected, TeardownCause, capped};
use crate::event::{SessionId, StateWrite};
use crate::framework::{Framework, FrameworkState, Wishes};
use crate::limits;
use crate::master::{Master, Session};
use crate::registry::{FrameworkRecord, Record};
use crate::timer::Timer;

impl Master {
    /// Begins a session. A scheduler that does not know its id (restarted elsewhere, with nothing but its name and
    /// certificate) gets the living framework of that name: its state is in the registry under that id.
    pub(crate) fn subscribe(
        &mut self,
        session: SessionId,
        principal: &Principal,
        mut info: FrameworkInfo,
        wishes: Wishes,
        writes: Vec<StateWrite>,
    ) -> Result<(), Rejected> {
        if !principal.is_operator() && principal.as_str() != format!("framework/{}", info.name) {
            return Err(Rejected::ForeignName { name: info.name, principal: principal.clone() });
        }
        check_info(&info)?;
        let wishes = check_wishes(wishes, &info)?;
        let known = self.find_subscriber(&info, principal)?;
        self.check_writes(known.as_ref(), &writes)?;
        let failover = known.is_some();
        let id = match known {
            Some(id) => id,
            None => self.new_framework_id()?,
        };
        info.id = Some(id.clone());
        info.principal = principal.clone();
        let record = FrameworkRecord { id: id.clone(), info, torn_down: false };
        self.adopt_session(&id, session, record, wishes);
        self.decided(Decision::FrameworkSubscribed {
            framework_id: id.clone(),
            name: self.frameworks[&id].record.info.name.clone(),
            failover,
        });
        self.tell_framework(&id, SchedulerEvent::Subscribed { framework_id: id.clone() });
        // What was sent to an earlier session may have been lost: the agents would repeat it only after a while.
        self.say_in_turn(&id, Round::Missed { after: None })?;
        self.say_in_turn(&id, Round::Operations { after: None })?;
        self.tell_of_inverse_offers(&id);
        self.mark_all();
        self.write_state(&id, writes)
    }

    fn find_subscriber(&self, info: &FrameworkInfo, principal: &Principal) -> Result<Option<FrameworkId>, Rejected> {
        let Some(id) = &info.id else {
            let Some(id) = self.framework_names.get(&info.name) else { return Ok(None) };
            let owner = self.frameworks[id].principal();
            if owner != principal {
                return Err(Rejected::NameTaken { name: info.name.clone(), owner: owner.clone() });
            }
            return Ok(Some(id.clone()));
        };
        let Some(framework) = self.frameworks.get(id) else {
            return Err(Rejected::UnknownFramework { framework: id.to_string() });
        };
        if !framework.is_alive() {
            return Err(Rejected::TornDown { framework_id: id.clone() });
        }
        if framework.principal() != principal {
            return Err(Rejected::ForeignFramework { framework_id: id.clone(), principal: principal.clone() });
        }
        if framework.record.info.name != info.name {
            let name = framework.record.info.name.clone();
            return Err(Rejected::Renamed { framework_id: id.clone(), name });
        }
        Ok(Some(id.clone()))
    }

    fn new_framework_id(&mut self) -> Result<FrameworkId, Rejected> {
        let (count, limit) = (self.framework_names.len(), limits::FRAMEWORKS_MAX);
        if count >= limit {
            return Err(Rejected::TooMany { what: "frameworks", count: count + 1, limit });
        }
        self.framework_number += 1;
        let id = format!("{}-{}", self.pool.master_id, self.framework_number);
        Ok(FrameworkId::new(id).expect("made of a master id and a number"))
    }

    fn adopt_session(&mut self, id: &FrameworkId, session: SessionId, record: FrameworkRecord, wishes: Wishes) {
        let earlier = self.frameworks.get(id).map(|framework| (framework.state, framework.record.info.roles.clone()));
        if let Some((state, roles)) = earlier {
            match state {
                FrameworkState::Connected { session: old } => {
                    let event = SchedulerEvent::Error("the framework failed over to another session".to_owned());
                    self.outbox.push(Command::SendFramework { session: old, event });
                    self.outbox.push(Command::CloseFramework { session: old });
                    if let Some(Session::Framework { subscribed, .. }) = self.sessions.get_mut(&old) {
                        *subscribed = None;
                    }
                    self.withdraw(id);
                }
                FrameworkState::Disconnected { until, .. } | FrameworkState::Recovered { until } => {
                    self.timers.unset(until, Timer::Failover(id.clone()));
                }
                FrameworkState::TornDown => unreachable!("refused before"),
            }
            for role in roles.difference(&record.info.roles) {
                self.allocator.shares.set_member(role, id, false, false);
                self.dirty.roles.insert(role.clone());
            }
        }
        if self.frameworks.get(id).is_none_or(|framework| framework.record != record) {
            self.outbox.persist(Record::Framework(record.clone()));
        }
        self.framework_names.insert(record.info.name.clone(), id.clone());
        let framework = self
            .frameworks
            .entry(id.clone())
            .or_insert_with(|| Framework::new(record.clone(), FrameworkState::Connected { session }, BTreeMap::new()));
        framework.record = record;
        framework.become_state(FrameworkState::Connected { session });
        (framework.wishes, framework.answers) = (wishes, Answers::default());
        if let Some(Session::Framework { subscribed, .. }) = self.sessions.get_mut(&session) {
            *subscribed = Some(id.clone());
        }
        self.place_in_roles(id);
    }

    /// Tells the allocator in which roles it wants offers now.
    fn place_in_roles(&mut self, id: &FrameworkId) {
        let framework = &self.frameworks[id];
        let connected = framework.session().is_some();
        for role in &framework.record.info.roles {
            let eager = connected && !framework.wishes.suppressed.contains(role);
            self.allocator.shares.set_member(role, id, true, eager);
            self.dirty.roles.insert(role.clone());
        }
        self.dirty.frameworks.insert(id.clone());
    }

    /// What it said when it subscribed, said anew. All of it or nothing.
    pub(crate) fn update_framework(
        &mut self,
        id: &FrameworkId,
        mut info: FrameworkInfo,
        wishes: Wishes,
    ) -> Result<(), Rejected> {
        let before = self.frameworks[id].record.info.clone();
        if info.id.as_ref().is_some_and(|named| named != id) {
            return Err(Rejected::UnknownFramework { framework: info.id.map_or(String::new(), |id| id.to_string()) });
        }
        if info.name != before.name {
            return Err(Rejected::Renamed { framework_id: id.clone(), name: before.name });
        }
        check_info(&info)?;
        let wishes = check_wishes(wishes, &info)?;
        info.id = Some(id.clone());
        info.principal = before.principal.clone();
        for role in before.roles.difference(&info.roles) {
            self.allocator.shares.set_member(role, id, false, false);
            self.allocator.filters.clear_role(id, role);
        }
        let framework = self.frameworks.get_mut(id).expect("subscribed");
        let eager_again: Vec<RoleName> = framework.wishes.suppressed.difference(&wishes.suppressed).cloned().collect();
        framework.wishes = wishes;
        if info != before {
            framework.record.info = info;
            self.outbox.persist(Record::Framework(framework.record.clone()));
        }
        for role in &eager_again {
            self.allocator.filters.clear_role(id, role);
        }
        for offer_id in self.offers.of_framework(id) {
            let offer = self.offers.get(&offer_id).expect("indexed");
            if !self.is_wanted(id, &offer.role, &offer.agent_id) {
                self.end_offer(&offer_id, OfferEnd::Rescinded);
                self.tell_framework(id, SchedulerEvent::Rescind(offer_id));
            }
        }
        self.place_in_roles(id);
        self.mark_all();
        Ok(())
    }

    /// Whether the framework has the role and its constraints allow the agent.
    fn is_wanted(&self, id: &FrameworkId, role: &RoleName, agent_id: &AgentId) -> bool {
        let framework = &self.frameworks[id];
        let agent = &self.agents[agent_id];
        framework.record.info.roles.contains(role) && framework.wishes.constraints.allow(role, agent.place())
    }

    /// Takes all its offers back and forgets its filters, without telling it: its session is over.
    fn withdraw(&mut self, id: &FrameworkId) {
        for offer_id in self.offers.of_framework(id) {
            self.end_offer(&offer_id, OfferEnd::Rescinded);
        }
        self.allocator.filters.clear_framework(id);
    }

    /// Its session ended: its tasks run on until it is back, or the failover timeout has passed.
    pub(crate) fn framework_left(&mut self, id: &FrameworkId) {
        self.withdraw(id);
        let framework = self.frameworks.get_mut(id).expect("a session's framework is known");
        let until = self.now + framework.record.info.failover_timeout;
        framework.answers = Answers::default();
        framework.become_state(FrameworkState::Disconnected { since: self.now, until });
        self.timers.set(until, Timer::Failover(id.clone()));
        self.place_in_roles(id);
        self.decided(Decision::FrameworkDisconnected { framework_id: id.clone() });
    }

    /// It did not come back.
    pub(crate) fn failover_ended(&mut self, id: &FrameworkId) {
        match self.frameworks.get(id).map(|framework| framework.state) {
            Some(FrameworkState::Disconnected { until, .. } | FrameworkState::Recovered { until })
                if until <= self.now =>
            {
                self.tear_down(id, TeardownCause::FailoverTimeout);
            }
            _ => {}
        }
    }

    pub(crate) fn revive(&mut self, id: &FrameworkId, roles: BTreeSet<RoleName>) -> Result<(), Rejected> {
        for role in self.chosen_roles(id, roles)? {
            self.frameworks.get_mut(id).expect("subscribed").wishes.suppressed.remove(&role);
            self.allocator.filters.clear_role(id, &role);
        }
        self.place_in_roles(id);
        self.mark_all();
        self.ask_at_once(id);
        Ok(())
    }

    pub(crate) fn suppress(&mut self, id: &FrameworkId, roles: BTreeSet<RoleName>) -> Result<(), Rejected> {
        let roles = self.chosen_roles(id, roles)?;
        self.frameworks.get_mut(id).expect("subscribed").wishes.suppressed.extend(roles);
        self.place_in_roles(id);
        Ok(())
    }

    /// Those named that it has; none named means all.
    fn chosen_roles(&self, id: &FrameworkId, roles: BTreeSet<RoleName>) -> Result<BTreeSet<RoleName>, Rejected> {
        let (count, limit) = (roles.len(), limits::ROLES_PER_FRAMEWORK_MAX);
        if count > limit {
            return Err(Rejected::TooMany { what: "roles", count, limit });
        }
        let own = &self.frameworks[id].record.info.roles;
        if let Some(role) = roles.difference(own).next() {
            return Err(Rejected::ForeignRole { role: role.clone() });
        }
        Ok(if roles.is_empty() { own.clone() } else { roles })
    }

    pub(crate) fn decline(&mut self, id: &FrameworkId, offers: &[OfferId], filter: Filter) -> Result<(), Rejected> {
        let (count, limit) = (offers.len(), limits::OFFERS_PER_CALL_MAX);
        if count > limit {
            return Err(Rejected::TooMany { what: "offers", count, limit });
        }
        for offer_id in offers {
            // An offer that is not there was rescinded or has expired: the framework could not know.
            if self.offers.get(offer_id).is_some_and(|offer| offer.framework_id == *id)
                && let Some(offer) = self.end_offer(offer_id, OfferEnd::Declined)
            {
                self.add_filter(id, &offer.role, &offer.agent_id, offer.resources.clone(), filter.refuse);
            }
        }
        Ok(())
    }

    pub(crate) fn add_filter(
        &mut self,
        id: &FrameworkId,
        role: &RoleName,
        agent_id: &AgentId,
        refused: Resources,
        refuse: Span,
    ) {
        let until = self.now + capped(refuse).max(self.config.refuse_min);
        self.allocator.filters.add((id.clone(), role.clone(), agent_id.clone()), refused, until);
    }

    /// Not answered in time: others may have it; the framework itself, after a filter's usual length.
    pub(crate) fn expire_offer(&mut self, offer_id: &OfferId) {
        let expires = self.offers.lent(offer_id).and_then(|lent| lent.expires);
        if let Some(offer) = self.end_offer(offer_id, OfferEnd::Expired) {
            self.tell_framework(&offer.framework_id, SchedulerEvent::Rescind(offer_id.clone()));
            let lent = expires.unwrap_or(self.now).0.saturating_sub(self.config.offer_timeout.unwrap_or_default().0);
            let framework = self.frameworks.get_mut(&offer.framework_id).expect("who has an offer is known");
            if let Some(until) = framework.hoarding.expired(Timestamp(lent), self.now) {
                self.timers.set(until, Timer::HoldOff(offer.framework_id.clone()));
            }
            let refuse = Filter::default().refuse;
            self.add_filter(&offer.framework_id, &offer.role, &offer.agent_id, offer.resources.clone(), refuse);
        }
    }

    /// It may have offers again.
    pub(crate) fn hold_off_ended(&mut self, id: &FrameworkId) {
        if self.frameworks.get(id).is_some_and(|framework| framework.session().is_some()) {
            self.mark_all();
        }
    }

    /// Changes a framework's own state, all of it or nothing.
    pub(crate) fn write_state(&mut self, id: &FrameworkId, writes: Vec<StateWrite>) -> Result<(), Rejected> {
        let bytes = self.check_writes(Some(id), &writes)?;
        let Some(framework) = self.frameworks.get_mut(id).filter(|framework| framework.is_alive()) else {
            return Ok(());
        };
        framework.state_bytes = bytes;
        for StateWrite { key, value } in writes {
            match &value {
                Some(value) => {
                    let size = u64::try_from(value.len()).expect("a length fits 64 bits");
                    framework.state_sizes.insert(key.clone(), size);
                }
                None => {
                    framework.state_sizes.remove(&key);
                }
            }
            self.outbox.persist(Record::State { framework_id: id.clone(), key, value });
        }
        Ok(())
    }

    /// How large the state would be, if it may be changed so: of a framework, or of one that is about to be.
    fn check_writes(&self, id: Option<&FrameworkId>, writes: &[StateWrite]) -> Result<u64, Rejected> {
        let (count, limit) = (writes.len(), limits::WRITES_PER_CALL_MAX);
        if count > limit {
            return Err(Rejected::TooMany { what: "state writes", count, limit });
        }
        let framework = id.and_then(|id| self.frameworks.get(id));
        let old_size = |key: &str| framework.and_then(|framework| framework.state_sizes.get(key)).copied();
        // An entry written twice in one call is what was written last.
        let mut sizes: BTreeMap<&str, Option<u64>> = BTreeMap::new();
        for write in writes {
            let bad = |why| Rejected::BadWrite { key: write.key.chars().take(64).collect(), why };
            if write.key.is_empty() || write.key.len() > limits::STATE_KEY_BYTES_MAX {
                return Err(bad("must have a key of 1 to 512 bytes"));
            }
            if write.key.chars().any(char::is_control) {
                return Err(bad("must not have control characters in its key"));
            }
            let size = write.value.as_ref().map(Vec::len);
            if size > Some(limits::STATE_VALUE_BYTES_MAX) {
                return Err(bad("has a value of more than 1 MiB"));
            }
            sizes.insert(&write.key, size.map(|bytes| u64::try_from(bytes).expect("a length fits 64 bits")));
        }
        let old: u64 = sizes.keys().filter_map(|key| old_size(key)).sum();
        let new: u64 = sizes.values().flatten().sum();
        let bytes = framework.map_or(0, |framework| framework.state_bytes) - old + new;
        let limit = limits::STATE_BYTES_PER_FRAMEWORK_MAX;
        if bytes > limit {
            return Err(Rejected::StateTooLarge { bytes, limit });
        }
        let before = framework.map_or(0, |framework| framework.state_sizes.len());
        let gone = sizes.iter().filter(|(key, new)| new.is_none() && old_size(key).is_some()).count();
        let added = sizes.iter().filter(|(key, new)| new.is_some() && old_size(key).is_none()).count();
        let (count, limit) = (before - gone + added, limits::STATE_ENTRIES_PER_FRAMEWORK_MAX);
        // Whoever has more from an earlier time may still write what is there, and delete.
        if added > 0 && count > limit {
            return Err(Rejected::TooMany { what: "state entries", count, limit });
        }
        Ok(bytes)
    }
}

/// Whether what a framework says of itself can be.
fn check_info(info: &FrameworkInfo) -> Result<(), Rejected> {
    let length = info.name.len();
    if length == 0 || length > limits::FRAMEWORK_NAME_BYTES_MAX || info.name.chars().any(char::is_control) {
        return Err(Rejected::Malformed { what: "a framework's name is 1 to 256 bytes without control characters" });
    }
    let limit = limits::ROLES_PER_FRAMEWORK_MAX;
    if info.roles.is_empty() || info.roles.len() > limit {
        return Err(Rejected::RoleCount { count: info.roles.len(), limit });
    }
    let limit = limits::SETS_PER_OFFER_FILTER_MAX;
    if let Some(sets) = info.offer_filters.values().find(|sets| sets.len() > limit) {
        return Err(Rejected::TooMany { what: "sets of one offer filter", count: sets.len(), limit });
    }
    match info.offer_filters.keys().find(|role| !info.roles.contains(role)) {
        Some(role) => Err(Rejected::ForeignRole { role: role.clone() }),
        None => Ok(()),
    }
}

/// Whether the wishes are about its roles. Suppressed roles that it does not have are left out, as in Mesos.
fn check_wishes(mut wishes: Wishes, info: &FrameworkInfo) -> Result<Wishes, Rejected> {
    wishes.suppressed.retain(|role| info.roles.contains(role));
    for (role, groups) in &wishes.constraints.0 {
        let bad = |why| Err(Rejected::BadConstraint { role: role.clone(), why });
        if !info.roles.contains(role) {
            return bad("are about a role in which the framework does not subscribe");
        }
        if groups.is_empty() || groups.iter().any(Vec::is_empty) {
            return bad("have an empty group");
        }
        if groups.iter().map(Vec::len).sum::<usize>() > limits::CONSTRAINTS_PER_ROLE_MAX {
            return bad("are more than 1024");
        }
    }
    Ok(wishes)
}
