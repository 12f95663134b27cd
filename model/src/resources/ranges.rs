//! Sets of numbers as ranges: ports, and what an operator numbers himself.
use std::fmt;

use serde::{Deserialize, Serialize};

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
