//! Amounts of one kind of claim: fixed point, never floats, never below nothing.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::ranges::Ranges;

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
/// Amounts, without saying whose they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Quantities {
    /// Processors.
    pub cpus: Milli,
    /// Memory in MiB.
    pub mem: Milli,
    /// Disk in MiB, where the agent keeps everything else.
    pub disk: Milli,
    /// Gpus.
    pub gpus: Milli,
    /// Port numbers.
    #[serde(skip_serializing_if = "Ranges::is_empty")]
    pub ports: Ranges,
    /// Scalars with names of the operator's own. None is zero.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub custom: BTreeMap<String, Milli>,
    /// Disk in MiB on further disks of the agent. None is zero.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub disks: BTreeMap<Disk, Milli>,
    /// Numbers with names of the operator's own. None is empty.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ranges: BTreeMap<String, Ranges>,
    /// Things with names of the operator's own, each given away whole. None is empty.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sets: BTreeMap<String, BTreeSet<String>>,
}

impl Quantities {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.scalars().all(|(_, amount)| amount.0 == 0)
            && self.ports.is_empty()
            && self.disks.is_empty()
            && self.ranges.is_empty()
            && self.sets.is_empty()
    }
    /// So much of one disk.
    pub fn of_disk(disk: Option<Disk>, amount: Milli) -> Self {
        match disk {
            None => Self { disk: amount, ..Self::default() },
            Some(_) if amount.0 == 0 => Self::default(),
            Some(disk) => Self { disks: BTreeMap::from([(disk, amount)]), ..Self::default() },
        }
    }
    /// If it is of one disk and nothing else: which one (`None` is the agent's own), and how much.
    pub fn as_one_disk(&self) -> Option<(Option<&Disk>, Milli)> {
        let (disk, amount) = match self.disks.iter().next() {
            None => (None, self.disk),
            Some((disk, amount)) => (Some(disk), *amount),
        };
        let is_all = *self == Self::of_disk(disk.cloned(), amount);
        (is_all && amount.0 > 0).then_some((disk, amount))
    }
    /// Disk, whichever it is on.
    pub fn all_disk(&self) -> Milli {
        Milli(self.disk.0 + self.disks.values().map(|amount| amount.0).sum::<i64>())
    }
    /// Every amount: the scalars, and those of further disks.
    pub fn amounts(&self) -> impl Iterator<Item = Milli> {
        self.scalars().map(|(_, amount)| amount).chain(self.disks.values().copied())
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
        self.missing(other).is_empty()
    }
    /// Adds. Numbers and things that are in both are kept once: the caller owns both sides, and its own conservation
    /// check finds it.
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
        for (disk, amount) in &other.disks {
            self.disks.entry(disk.clone()).or_default().0 += amount.0;
        }
        for (name, ranges) in &other.ranges {
            let have = self.ranges.entry(name.clone()).or_default();
            *have = have.union(ranges);
        }
        for (name, things) in &other.sets {
            self.sets.entry(name.clone()).or_default().extend(things.iter().cloned());
        }
        self.drop_nothing();
    }
    /// Takes `other` out.
    ///
    /// # Errors
    /// `Err` holds what is missing, and nothing was taken.
    pub fn take(&mut self, other: &Quantities) -> Result<(), Box<Quantities>> {
        let missing = self.missing(other);
        if !missing.is_empty() {
            return Err(Box::new(missing));
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
        for (disk, amount) in &other.disks {
            self.disks.entry(disk.clone()).or_default().0 -= amount.0;
        }
        for (name, ranges) in &other.ranges {
            let have = self.ranges.entry(name.clone()).or_default();
            *have = have.difference(ranges);
        }
        for (name, things) in &other.sets {
            self.sets.entry(name.clone()).or_default().retain(|thing| !things.contains(thing));
        }
        self.drop_nothing();
        Ok(())
    }
    /// What of `other` is not here. A mount is there whole or not at all.
    #[must_use]
    pub fn missing(&self, other: &Quantities) -> Quantities {
        let mut missing = Quantities { ports: other.ports.difference(&self.ports), ..Quantities::default() };
        for (name, amount) in other.scalars() {
            missing.set_scalar(name, Milli((amount.0 - self.scalar(name).0).max(0)));
        }
        for (disk, amount) in &other.disks {
            let have = self.disks.get(disk).copied().unwrap_or_default();
            let lacking = match disk {
                Disk::Path(_) => (amount.0 - have.0).max(0),
                Disk::Mount(_) if *amount == have => 0,
                Disk::Mount(_) => amount.0,
            };
            missing.disks.insert(disk.clone(), Milli(lacking));
        }
        for (name, ranges) in &other.ranges {
            let have = self.ranges.get(name).cloned().unwrap_or_default();
            missing.ranges.insert(name.clone(), ranges.difference(&have));
        }
        for (name, things) in &other.sets {
            let have = self.sets.get(name);
            let lacking = things.iter().filter(|thing| !have.is_some_and(|have| have.contains(*thing)));
            missing.sets.insert(name.clone(), lacking.cloned().collect());
        }
        missing.drop_nothing();
        missing
    }
    /// What both have. Of a mount, which is never divided: all of it that is here, if the other has some.
    #[must_use]
    pub fn common(&self, other: &Quantities) -> Quantities {
        let mut both = Quantities { ports: self.ports.intersection(&other.ports), ..Quantities::default() };
        for (name, amount) in self.scalars() {
            both.set_scalar(name, amount.min(other.scalar(name)));
        }
        for (disk, amount) in &self.disks {
            let part = match (disk, other.disks.get(disk)) {
                (Disk::Path(_), Some(there)) => *amount.min(there),
                (Disk::Mount(_), Some(_)) => *amount,
                (Disk::Path(_) | Disk::Mount(_), None) => Milli(0),
            };
            both.disks.insert(disk.clone(), part);
        }
        for (name, ranges) in &self.ranges {
            let there = other.ranges.get(name).cloned().unwrap_or_default();
            both.ranges.insert(name.clone(), ranges.intersection(&there));
        }
        for (name, things) in &self.sets {
            let there = other.sets.get(name).into_iter().flatten();
            both.sets.insert(name.clone(), there.filter(|thing| things.contains(*thing)).cloned().collect());
        }
        both.drop_nothing();
        both
    }
    /// Names of which there is nothing are not kept: equal amounts are equal values.
    fn drop_nothing(&mut self) {
        self.disks.retain(|_, amount| amount.0 != 0);
        self.ranges.retain(|_, ranges| !ranges.is_empty());
        self.sets.retain(|_, things| !things.is_empty());
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
        let mut word = |f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>| {
            let separator = if std::mem::take(&mut first) { "" } else { "; " };
            write!(f, "{separator}{text}")
        };
        for (disk, amount) in &self.disks {
            word(f, format_args!("disk {amount} MiB on {disk}"))?;
        }
        if !self.ports.is_empty() {
            word(f, format_args!("ports {}", self.ports))?;
        }
        for (name, ranges) in &self.ranges {
            word(f, format_args!("{name} {ranges}"))?;
        }
        for (name, things) in &self.sets {
            let things: Vec<_> = things.iter().map(String::as_str).collect();
            word(f, format_args!("{name} {{{}}}", things.join(",")))?;
        }
        if first { f.write_str("nothing") } else { Ok(()) }
    }
}
