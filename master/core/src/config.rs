//! What an operator may set about the master's decisions.
use std::collections::BTreeSet;

use model::{Milli, Principal, Quantities, Span};

use crate::limits;

/// So many agents within such a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemovalLimit {
    /// At least one.
    pub agents: u32,
    /// Not zero.
    pub within: Span,
}

/// The options, with their defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Who may launch privileged tasks whatever the list of the operators says: principals, or prefixes that end in `*` (`framework/*`).
    pub privileged_principals: BTreeSet<String>,
    /// An offer unanswered for this long is rescinded. `None`: never.
    pub offer_timeout: Option<Span>,
    /// Scalars that do not count in shares: scarce ones, of which a little would be a large share.
    pub fair_share_excluded: BTreeSet<String>,
    /// What is unreserved is offered if it holds all of at least one of these; none: always.
    pub min_allocatable: Vec<Quantities>,
    /// The master's own region: agents of others are offered only to frameworks that are aware of regions. `None`: all are
    /// near.
    pub region: Option<String>,
    /// Agents with gpus are offered only to frameworks that use gpus.
    pub gpu_guard: bool,
    /// What was declined without a filter is still not offered again to the same framework for this long: a framework
    /// that answers every offer at once with no filter would otherwise keep master and network busy with nothing.
    pub refuse_min: Span,
    /// How often connected agents are pinged.
    pub ping_interval: Span,
    /// So many pings without an answer, and nobody is sent to the agent's tasks any more. One that answers late is sent
    /// clients again at once; its session is not touched.
    pub silence_misses: u32,
    /// So many pings without an answer end an agent's session.
    pub ping_misses_max: u32,
    /// How long a disconnected agent may stay away before its tasks become unreachable.
    pub disconnected_grace: Span,
    /// How many agents may become unreachable within a time. When a network fails many are away at once: without a limit
    /// their frameworks would all begin to replace what runs there. `None`: no limit.
    pub removal_limit: Option<RemovalLimit>,
    /// How long the registry keeps agents that are unreachable (unless something is reserved on them) before it gives them
    /// up, and those that were given up before it forgets them.
    pub registry_age_max: Span,
    /// How many agents that were given up it keeps: they can be listed. The oldest are forgotten first.
    pub registry_count_max: usize,
    /// How long after the master's start its known agents may take to return before their tasks count as unreachable.
    pub reregister_timeout: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            privileged_principals: BTreeSet::new(),
            offer_timeout: Some(Span::seconds(60)),
            fair_share_excluded: BTreeSet::new(),
            min_allocatable: vec![
                Quantities { cpus: Milli(10), ..Quantities::default() },
                Quantities { mem: Milli::units(32), ..Quantities::default() },
            ],
            region: None,
            gpu_guard: true,
            refuse_min: Span::millis(500),
            ping_interval: limits::PING_INTERVAL,
            silence_misses: limits::SILENCE_MISSES,
            ping_misses_max: limits::PING_MISSES_MAX,
            disconnected_grace: Span::seconds(10),
            removal_limit: None,
            registry_age_max: limits::REGISTRY_AGE,
            registry_count_max: limits::REGISTRY_COUNT,
            reregister_timeout: Span::seconds(60),
        }
    }
}

impl Config {
    /// Whether privileges are granted to tasks of this principal.
    pub fn is_privileged(&self, principal: &Principal) -> bool {
        self.privileged_principals.iter().any(|listed| match listed.strip_suffix('*') {
            Some(prefix) => principal.as_str().starts_with(prefix),
            None => principal.as_str() == listed,
        })
    }
    /// An agent is silent when nothing was heard of it for this long: in the worst case the last answer came just before
    /// the first ping that was missed.
    pub fn silence(&self) -> Span {
        Span(self.ping_interval.0 * u64::from(self.silence_misses))
    }
    /// What agents are told: without a ping for this long they connect anew, sooner than the master gives them up.
    pub fn ping_timeout(&self) -> Span {
        Span(self.ping_interval.0 * (u64::from(self.ping_misses_max) + 1))
    }
}
