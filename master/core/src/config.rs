//! What an operator may set about the master's decisions.
use std::collections::BTreeSet;

use model::{Principal, Span};

/// The options, with their defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Who may launch privileged tasks whatever the list of the operators says: principals, or prefixes that end in `*` (`framework/*`).
    pub privileged_principals: BTreeSet<String>,
    /// An offer unanswered for this long is rescinded. `None`: never.
    pub offer_timeout: Option<Span>,
    /// What was declined without a filter is still not offered again to the same framework for this long: a framework
    /// that answers every offer at once with no filter would otherwise keep master and network busy with nothing.
    pub refuse_min: Span,
    /// How often connected agents are pinged.
    pub ping_interval: Span,
    /// So many pings without an answer end an agent's session.
    pub ping_misses_max: u32,
    /// How long a disconnected agent may stay away before its tasks become unreachable.
    pub disconnected_grace: Span,
    /// How long after the master's start its known agents may take to return before their tasks count as unreachable.
    pub reregister_timeout: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            privileged_principals: BTreeSet::new(),
            offer_timeout: Some(Span::seconds(60)),
            refuse_min: Span::millis(500),
            ping_interval: Span::seconds(5),
            ping_misses_max: 3,
            disconnected_grace: Span::seconds(10),
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
    /// What agents are told: without a ping for this long they connect anew, sooner than the master gives them up.
    pub fn ping_timeout(&self) -> Span {
        Span(self.ping_interval.0 * (u64::from(self.ping_misses_max) + 1))
    }
}
