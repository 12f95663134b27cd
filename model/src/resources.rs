//! The resource algebra. Fixed point, never floats; what is reserved or a volume never mixes with what is not.
//!
//! [`Quantities`] are amounts of one kind of claim; [`Resources`] are what one agent has, lends or gives to a task: the
//! unreserved quantities, and the reserved ones under their [`Holding`]. Quantities of different agents are never
//! added: that is what totals in the allocator are for.
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{Principal, VolumeId};
use crate::role::RoleName;

/// A thousandth of a unit. The units: a cpu, a MiB of memory, a MiB of disk, a gpu.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Milli(pub i64);

impl Milli {
    /// So many whole units.
    pub const fn units(units: i64) -> Self {
        Self(units * 1000)
    }
}
impl fmt::Display for Milli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, (self.0 % 1000).abs());
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let sign = if self.0 < 0 && whole == 0 { "-" } else { "" };
        let digits = format!("{rest:03}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// Inclusive ranges of numbers (ports), sorted, disjoint, adjacent ones merged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Ranges(Vec<(u64, u64)>);

impl From<Vec<(u64, u64)>> for Ranges {
    fn from(ranges: Vec<(u64, u64)>) -> Self {
        ranges.into_iter().collect()
    }
}
impl From<Ranges> for Vec<(u64, u64)> {
    fn from(ranges: Ranges) -> Self {
        ranges.0
    }
}
impl FromIterator<(u64, u64)> for Ranges {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(ranges: I) -> Self {
        let mut sorted: Vec<_> = ranges.into_iter().filter(|(begin, end)| begin <= end).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(sorted.len());
        for (begin, end) in sorted {
            match merged.last_mut() {
                Some(last) if begin <= last.1.saturating_add(1) => last.1 = last.1.max(end),
                _ => merged.push((begin, end)),
            }
        }
        Self(merged)
    }
}
impl Ranges {
    /// No number at all.
    pub const fn empty() -> Self {
        Self(Vec::new())
    }
    /// One number.
    pub fn one(number: u64) -> Self {
        Self(vec![(number, number)])
    }
    /// The ranges in order.
    pub fn as_slice(&self) -> &[(u64, u64)] {
        &self.0
    }
    /// Whether there is no number.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// How many numbers.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(begin, end)| end - begin + 1).sum()
    }
    /// Every number, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|(begin, end)| *begin..=*end)
    }
    /// Whether every number of `other` is here.
    pub fn contains(&self, other: &Ranges) -> bool {
        other.0.iter().all(|(begin, end)| self.0.iter().any(|(b, e)| b <= begin && end <= e))
    }
    /// Both.
    #[must_use]
    pub fn union(&self, other: &Ranges) -> Ranges {
        self.0.iter().chain(&other.0).copied().collect()
    }
    /// The numbers here that `other` has too.
    #[must_use]
    pub fn intersection(&self, other: &Ranges) -> Ranges {
        let mut out = Vec::new();
        for (a, b) in &self.0 {
            for (c, d) in &other.0 {
                let (begin, end) = (*a.max(c), *b.min(d));
                if begin <= end {
                    out.push((begin, end));
                }
            }
        }
        out.into_iter().collect()
    }
    /// The numbers here that `other` has not.
    #[must_use]
    pub fn difference(&self, other: &Ranges) -> Ranges {
        let mut out = Vec::new();
        for &(begin, end) in &self.0 {
            let mut from = begin;
            let mut open = true;
            for &(b, e) in other.0.iter().filter(|(b, e)| *e >= begin && *b <= end) {
                if b > from {
                    out.push((from, b - 1));
                }
                if e >= end {
                    open = false;
                    break;
                }
                from = from.max(e + 1);
            }
            if open && from <= end {
                out.push((from, end));
            }
        }
        Self(out)
    }
}
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (begin, end)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if begin == end { write!(f, "{comma}{begin}")? } else { write!(f, "{comma}{begin}-{end}")? }
        }
        Ok(())
    }
}

/// Amounts, without saying whose they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Quantities {
    /// Processors.
    pub cpus: Milli,
    /// Memory in MiB.
    pub mem: Milli,
    /// Disk in MiB.
    pub disk: Milli,
    /// Gpus.
    pub gpus: Milli,
    /// Port numbers.
    #[serde(skip_serializing_if = "Ranges::is_empty")]
    pub ports: Ranges,
    /// Scalars with names of the operator's own. None is zero.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub custom: BTreeMap<String, Milli>,
}

impl Quantities {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.scalars().all(|(_, amount)| amount.0 == 0) && self.ports.is_empty()
    }
    /// The scalars by name, the fixed four first.
    pub fn scalars(&self) -> impl Iterator<Item = (&str, Milli)> {
        [("cpus", self.cpus), ("mem", self.mem), ("disk", self.disk), ("gpus", self.gpus)]
            .into_iter()
            .chain(self.custom.iter().map(|(name, amount)| (name.as_str(), *amount)))
    }
    /// One scalar by name; zero if unknown.
    pub fn scalar(&self, name: &str) -> Milli {
        match name {
            "cpus" => self.cpus,
            "mem" => self.mem,
            "disk" => self.disk,
            "gpus" => self.gpus,
            other => self.custom.get(other).copied().unwrap_or_default(),
        }
    }
    /// Sets one scalar by name.
    pub fn set_scalar(&mut self, name: &str, amount: Milli) {
        match name {
            "cpus" => self.cpus = amount,
            "mem" => self.mem = amount,
            "disk" => self.disk = amount,
            "gpus" => self.gpus = amount,
            other if amount.0 == 0 => {
                self.custom.remove(other);
            }
            other => {
                self.custom.insert(other.to_owned(), amount);
            }
        }
    }
    /// Whether all of `other` is here.
    pub fn contains(&self, other: &Quantities) -> bool {
        other.scalars().all(|(name, amount)| amount <= self.scalar(name)) && self.ports.contains(&other.ports)
    }
    /// Adds. Ports that are in both are kept once: the caller owns both sides, and its own conservation check finds it.
    pub fn add(&mut self, other: &Quantities) {
        self.cpus.0 += other.cpus.0;
        self.mem.0 += other.mem.0;
        self.disk.0 += other.disk.0;
        self.gpus.0 += other.gpus.0;
        if !other.ports.is_empty() {
            self.ports = self.ports.union(&other.ports);
        }
        for (name, amount) in &other.custom {
            self.set_scalar(name, Milli(self.scalar(name).0 + amount.0));
        }
    }
    /// Takes `other` out.
    ///
    /// # Errors
    /// `Err` holds what is missing, and nothing was taken.
    pub fn take(&mut self, other: &Quantities) -> Result<(), Quantities> {
        let missing = self.missing(other);
        if !missing.is_empty() {
            return Err(missing);
        }
        self.cpus.0 -= other.cpus.0;
        self.mem.0 -= other.mem.0;
        self.disk.0 -= other.disk.0;
        self.gpus.0 -= other.gpus.0;
        if !other.ports.is_empty() {
            self.ports = self.ports.difference(&other.ports);
        }
        for (name, amount) in &other.custom {
            self.set_scalar(name, Milli(self.scalar(name).0 - amount.0));
        }
        Ok(())
    }
    /// What of `other` is not here.
    #[must_use]
    pub fn missing(&self, other: &Quantities) -> Quantities {
        let mut missing = Quantities { ports: other.ports.difference(&self.ports), ..Quantities::default() };
        for (name, amount) in other.scalars() {
            missing.set_scalar(name, Milli((amount.0 - self.scalar(name).0).max(0)));
        }
        missing
    }
}
impl fmt::Display for Quantities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (name, amount) in self.scalars().filter(|(_, amount)| amount.0 != 0) {
            if !first {
                f.write_str("; ")?;
            }
            first = false;
            match name {
                "mem" | "disk" => write!(f, "{name} {amount} MiB")?,
                _ => write!(f, "{name} {amount}")?,
            }
        }
        if !self.ports.is_empty() {
            let separator = if first { "" } else { "; " };
            write!(f, "{separator}ports {}", self.ports)?;
            first = false;
        }
        if first { f.write_str("nothing") } else { Ok(()) }
    }
}

/// Resources kept for a role between offers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reservation {
    /// For whom.
    pub role: RoleName,
    /// Who reserved.
    pub principal: Principal,
    /// The framework's own marks (`resource_id`, ...). Different labels never merge.
    pub labels: BTreeMap<String, String>,
}

/// A disk that outlives its task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Volume {
    /// Unique per role and agent.
    pub id: VolumeId,
    /// Where the container sees it (relative to its sandbox, or absolute).
    pub container_path: String,
}

/// Under what title resources are held: a reservation, perhaps made into a volume.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Holding {
    /// The reservation.
    pub reservation: Reservation,
    /// The volume made of it, if any. A volume is taken whole or not at all.
    pub volume: Option<Volume>,
}

/// What one agent has, lends, or gives to a task.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// For anybody.
    pub unreserved: Quantities,
    /// Under a title. No entry is empty.
    #[serde(with = "held_as_list", skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<Holding, Quantities>,
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
        Self { unreserved, held: BTreeMap::new() }
    }
}

impl Resources {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.unreserved.is_empty() && self.held.is_empty()
    }
    /// Resources of one title.
    pub fn held_as(holding: Holding, quantities: Quantities) -> Self {
        let held = if quantities.is_empty() { BTreeMap::new() } else { BTreeMap::from([(holding, quantities)]) };
        Self { unreserved: Quantities::default(), held }
    }
    /// Everything regardless of title: what it amounts to.
    pub fn sum(&self) -> Quantities {
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
        None
    }
    /// Adds.
    pub fn add(&mut self, other: &Resources) {
        self.unreserved.add(&other.unreserved);
        for (holding, quantities) in &other.held {
            self.held.entry(holding.clone()).or_default().add(quantities);
        }
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
        Ok(())
    }
    /// The part that a role may use: unreserved, and reserved to the role itself.
    #[must_use]
    pub fn usable_by(&self, role: &RoleName) -> Resources {
        Resources {
            unreserved: self.unreserved.clone(),
            held: self
                .held
                .iter()
                .filter(|(holding, _)| role.is_within(&holding.reservation.role))
                .map(|(holding, quantities)| (holding.clone(), quantities.clone()))
                .collect(),
        }
    }
    /// Only what is held under a title.
    #[must_use]
    pub fn holdings(&self) -> Resources {
        Resources { unreserved: Quantities::default(), held: self.held.clone() }
    }
}
impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.held.is_empty() || !self.unreserved.is_empty() {
            write!(f, "{}", self.unreserved)?;
        }
        for (i, (holding, quantities)) in self.held.iter().enumerate() {
            let separator = if i == 0 && self.unreserved.is_empty() { "" } else { " + " };
            write!(f, "{separator}{quantities} for {}", holding.reservation.role)?;
            if let Some(volume) = &holding.volume {
                write!(f, " as volume {}", volume.id)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(ranges: &[(u64, u64)]) -> Ranges {
        ranges.iter().copied().collect()
    }
    fn some(cpus: i64, mem: i64, p: &[(u64, u64)]) -> Quantities {
        Quantities { cpus: Milli(cpus), mem: Milli::units(mem), ports: ports(p), ..Quantities::default() }
    }

    #[test]
    fn ranges_merge_and_split() {
        assert_eq!(ports(&[(5, 7), (1, 2), (3, 4)]).as_slice(), &[(1, 7)]);
        assert_eq!(ports(&[(1, 10)]).difference(&ports(&[(1, 1), (4, 5), (10, 12)])).as_slice(), &[(2, 3), (6, 9)]);
        assert_eq!(ports(&[(1, 3), (7, 9)]).intersection(&ports(&[(3, 7)])).as_slice(), &[(3, 3), (7, 7)]);
        assert!(ports(&[(1, 10)]).contains(&ports(&[(2, 3), (9, 10)])));
        assert!(!ports(&[(1, 2), (4, 5)]).contains(&ports(&[(2, 4)])));
    }

    #[test]
    fn what_is_added_can_be_taken_and_nothing_else() {
        let mut have = some(1500, 512, &[(20000, 20009)]);
        let want = some(500, 256, &[(20003, 20003)]);
        have.take(&want).expect("enough");
        assert_eq!(have, some(1000, 256, &[(20000, 20002), (20004, 20009)]));
        let missing = have.take(&some(2000, 0, &[(20003, 20003)])).expect_err("too much");
        assert_eq!(missing.to_string(), "cpus 1; ports 20003");
        have.add(&want);
        assert_eq!(have, some(1500, 512, &[(20000, 20009)]));
    }

    #[test]
    fn reserved_resources_are_no_substitute_for_unreserved_ones() {
        let holding = Holding {
            reservation: Reservation {
                role: RoleName::new("web").expect("valid"),
                principal: Principal::new("framework/web"),
                labels: BTreeMap::new(),
            },
            volume: None,
        };
        let mut have = Resources::held_as(holding.clone(), some(1000, 0, &[]));
        assert_eq!(have.take(&some(1, 0, &[]).into()), Err("cpus 0.001 unreserved".to_owned()));
        have.take(&Resources::held_as(holding, some(1000, 0, &[]))).expect("held under the same title");
        assert!(have.is_empty() && have.held.is_empty());
    }

    #[test]
    fn amounts_print_without_needless_zeros() {
        assert_eq!(
            [Milli(1500), Milli(1), Milli(-250), Milli(2000)].map(|m| m.to_string()),
            ["1.5", "0.001", "-0.25", "2"]
        );
    }
}
