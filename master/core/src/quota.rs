//! What a role is promised and what it may not exceed: guarantees and limits of scalars, at every level of the tree of
//! roles. How they are counted and kept: see `allocator/share.rs`; how an operator sets them: see `tenancy`.
use std::collections::BTreeMap;

use model::Milli;
use serde::{Deserialize, Serialize};

/// A role's guarantees and limits. A scalar that is not named has none.
///
/// What counts against both is what is reserved to the role and to roles below it, used or not, and what is unreserved and
/// allocated or offered to them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Quota {
    /// So much is kept free for the role while it has less.
    pub guarantees: BTreeMap<String, Milli>,
    /// It never gets more. Zero: nothing at all.
    pub limits: BTreeMap<String, Milli>,
}

impl Quota {
    /// Neither guarantee nor limit.
    pub fn is_empty(&self) -> bool {
        self.guarantees.is_empty() && self.limits.is_empty()
    }
}

/// A limit that stands in the way: whose it is, of which scalar, and how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceiling {
    /// The role with the limit: the one asked about, or one above it.
    pub role: model::RoleName,
    /// The scalar.
    pub name: String,
    /// The limit.
    pub limit: Milli,
    /// What counts against it now.
    pub used: Milli,
}

impl std::fmt::Display for Ceiling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (limit, used) = (amount(&self.name, self.limit), self.used);
        write!(f, "role {} has a limit of {limit} and uses {used}", self.role)
    }
}

/// `4 cpus`, `512 MiB mem`.
pub(crate) fn amount(name: &str, amount: Milli) -> String {
    match name {
        "mem" | "disk" => format!("{amount} MiB {name}"),
        _ => format!("{amount} {name}"),
    }
}
