//! The resource algebra. Fixed point, never floats; what is reserved or a volume never mixes with what is not.
//!
//! [`Quantities`] are amounts of one kind of claim; [`Resources`] are what one agent has, lends or gives to a task: the
//! unreserved quantities, the reserved ones under their [`Holding`], and those that may be taken back. Quantities of
//! different agents are never added: that is what totals in the allocator are for.
mod disk;
mod quantities;
mod ranges;
mod title;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use disk::{Disk, InvalidDisk};
pub use quantities::{Milli, Quantities};
pub use ranges::Ranges;
pub use title::{Holding, InvalidStack, Reservation, STACK_MAX, Volume};

use crate::role::RoleName;

/// What one agent has, lends, or gives to a task.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// For anybody.
    pub unreserved: Quantities,
    /// Under a title. No entry is empty.
    #[serde(with = "held_as_list", skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<Holding, Quantities>,
    /// Promised to others who do not use it: whoever has it loses it without being asked.
    #[serde(skip_serializing_if = "Quantities::is_empty")]
    pub revocable: Quantities,
}

mod held_as_list {
    //! Maps with struct keys have no JSON form: a list of pairs has.
    use super::{BTreeMap, Holding, Quantities};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(held: &BTreeMap<Holding, Quantities>, out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(held.iter())
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<BTreeMap<Holding, Quantities>, D::Error> {
        Ok(Vec::<(Holding, Quantities)>::deserialize(input)?.into_iter().collect())
    }
}

impl From<Quantities> for Resources {
    fn from(unreserved: Quantities) -> Self {
        Self { unreserved, ..Self::default() }
    }
}

impl Resources {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.unreserved.is_empty() && self.held.is_empty() && self.revocable.is_empty()
    }
    /// Resources of one title.
    pub fn held_as(holding: Holding, quantities: Quantities) -> Self {
        let held = if quantities.is_empty() { BTreeMap::new() } else { BTreeMap::from([(holding, quantities)]) };
        Self { held, ..Self::default() }
    }
    /// Resources of one title or of none.
    pub fn under(title: Option<Holding>, quantities: Quantities) -> Self {
        match title {
            Some(holding) => Self::held_as(holding, quantities),
            None => quantities.into(),
        }
    }
    /// Everything regardless of title: what it amounts to.
    pub fn sum(&self) -> Quantities {
        let mut sum = self.firm();
        sum.add(&self.revocable);
        sum
    }
    /// Everything that is not revocable, regardless of title.
    pub fn firm(&self) -> Quantities {
        let mut sum = self.unreserved.clone();
        for quantities in self.held.values() {
            sum.add(quantities);
        }
        sum
    }
    /// Whether all of `other` is here under the same titles; volumes whole.
    pub fn contains(&self, other: &Resources) -> bool {
        self.missing(other).is_none()
    }
    /// The first thing of `other` that is not here, in words a person understands; `None` if all is.
    pub fn missing(&self, other: &Resources) -> Option<String> {
        let missing = self.unreserved.missing(&other.unreserved);
        if !missing.is_empty() {
            return Some(format!("{missing} unreserved"));
        }
        let nothing = Quantities::default();
        for (holding, wanted) in &other.held {
            let have = self.held.get(holding).unwrap_or(&nothing);
            if let Some(volume) = &holding.volume
                && have != wanted
            {
                return Some(format!("the whole volume {}", volume.id));
            }
            let missing = have.missing(wanted);
            if !missing.is_empty() {
                return Some(format!("{missing} reserved for role {}", holding.reservation.role));
            }
        }
        let missing = self.revocable.missing(&other.revocable);
        (!missing.is_empty()).then(|| format!("{missing} revocable"))
    }
    /// Adds.
    pub fn add(&mut self, other: &Resources) {
        self.unreserved.add(&other.unreserved);
        for (holding, quantities) in &other.held {
            self.held.entry(holding.clone()).or_default().add(quantities);
        }
        self.revocable.add(&other.revocable);
    }
    /// Takes `other` out.
    ///
    /// # Errors
    /// `Err` names the first thing missing, and nothing was taken.
    pub fn take(&mut self, other: &Resources) -> Result<(), String> {
        if let Some(missing) = self.missing(other) {
            return Err(missing);
        }
        self.unreserved.take(&other.unreserved).expect("checked by missing()");
        for (holding, quantities) in &other.held {
            let left = self.held.get_mut(holding).expect("checked by missing()");
            left.take(quantities).expect("checked by missing()");
            if left.is_empty() {
                self.held.remove(holding);
            }
        }
        self.revocable.take(&other.revocable).expect("checked by missing()");
        Ok(())
    }
    /// Gives `other` to one who runs: takes it out, but for shared volumes, which the next one may have too.
    ///
    /// # Errors
    /// `Err` names the first thing missing, and nothing was taken.
    pub fn give(&mut self, other: &Resources) -> Result<(), String> {
        match self.missing(other) {
            Some(missing) => Err(missing),
            None => self.take(&other.without_shared()),
        }
    }
    /// Takes out what of `other` is here.
    pub fn take_what_is_there(&mut self, other: &Resources) {
        if other.is_empty() {
            return;
        }
        let part = self.common(other);
        self.unreserved.take(&part.unreserved).expect("a common part is there");
        for (holding, quantities) in &part.held {
            let left = self.held.get_mut(holding).expect("a common part is there");
            left.take(quantities).expect("a common part is there");
            if left.is_empty() {
                self.held.remove(holding);
            }
        }
        self.revocable.take(&part.revocable).expect("a common part is there");
    }
    /// What both have, title by title.
    #[must_use]
    pub fn common(&self, other: &Resources) -> Resources {
        let mut part = Resources {
            unreserved: self.unreserved.common(&other.unreserved),
            revocable: self.revocable.common(&other.revocable),
            held: BTreeMap::new(),
        };
        for (holding, quantities) in &self.held {
            if let Some(there) = other.held.get(holding) {
                let both = quantities.common(there);
                if !both.is_empty() {
                    part.held.insert(holding.clone(), both);
                }
            }
        }
        part
    }
    /// The part that a role may use: unreserved, and reserved to the role itself or to one above it.
    #[must_use]
    pub fn usable_by(&self, role: &RoleName) -> Resources {
        self.only(|holding| role.is_within(&holding.reservation.role))
    }
    /// All but the titles that do not fit.
    fn only(&self, fits: impl Fn(&Holding) -> bool) -> Resources {
        Resources {
            unreserved: self.unreserved.clone(),
            held: self
                .held
                .iter()
                .filter(|(holding, _)| fits(holding))
                .map(|(holding, quantities)| (holding.clone(), quantities.clone()))
                .collect(),
            revocable: self.revocable.clone(),
        }
    }
    /// All but shared volumes.
    #[must_use]
    pub fn without_shared(&self) -> Resources {
        self.only(|holding| !holding.is_shared())
    }
    /// All but what may be taken back.
    #[must_use]
    pub fn without_revocable(&self) -> Resources {
        Resources { revocable: Quantities::default(), ..self.clone() }
    }
    /// Only what may be taken back.
    #[must_use]
    pub fn only_revocable(&self) -> Resources {
        Resources { revocable: self.revocable.clone(), ..Resources::default() }
    }
    /// Only what is held under a title.
    #[must_use]
    pub fn holdings(&self) -> Resources {
        Resources { held: self.held.clone(), ..Resources::default() }
    }
    /// Everything under the titles of the agent's configuration, as if nobody had reserved anything since.
    #[must_use]
    pub fn as_configured(&self) -> Resources {
        let mut out = Resources { held: BTreeMap::new(), ..self.clone() };
        for (holding, quantities) in &self.held {
            out.add(&Resources::under(holding.origin(), quantities.clone()));
        }
        out
    }
    /// Everything one step back: volumes as what is reserved, reservations as what they refine or as unreserved.
    #[must_use]
    pub fn undone(&self) -> Resources {
        let mut out = Resources { held: BTreeMap::new(), ..self.clone() };
        for (holding, quantities) in &self.held {
            out.add(&Resources::under(holding.undone(), quantities.clone()));
        }
        out
    }
    /// With titles carved out of what the agent's configuration gives. Titles that are the configuration's own are in it
    /// or are no more.
    ///
    /// # Errors
    /// `Err` names the first thing for which there is not enough.
    pub fn titled(&self, holdings: &Resources) -> Result<Resources, String> {
        let mut total = self.clone();
        for (holding, quantities) in holdings.held.iter().filter(|(holding, _)| !holding.is_configured()) {
            total.take(&Resources::under(holding.origin(), quantities.clone()))?;
            total.add(&Resources::held_as(holding.clone(), quantities.clone()));
        }
        Ok(total)
    }
}
impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if (self.held.is_empty() && self.revocable.is_empty()) || !self.unreserved.is_empty() {
            write!(f, "{}", self.unreserved)?;
        }
        let mut is_first = self.unreserved.is_empty();
        for (holding, quantities) in &self.held {
            let separator = if std::mem::take(&mut is_first) { "" } else { " + " };
            write!(f, "{separator}{quantities} for {}", holding.reservation.role)?;
            if let Some(volume) = &holding.volume {
                write!(f, " as {}volume {}", if volume.shared { "shared " } else { "" }, volume.id)?;
            }
        }
        if !self.revocable.is_empty() {
            let separator = if is_first { "" } else { " + " };
            write!(f, "{separator}{} revocable", self.revocable)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
