//! Which agents a framework wants offers of at all: per role, groups of conditions on what an agent says of itself. One
//! group has to hold, and all of its conditions do.
//!
//! Patterns are compiled where they come from the wire: this crate and the cores depend on no library that could match them,
//! and a pattern that nobody compiled can so never reach them.
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::role::RoleName;

/// The groups of each role; a role without any has no constraints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OfferConstraints(pub BTreeMap<RoleName, Vec<Vec<Constraint>>>);

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    /// On what.
    pub selector: Selector,
    /// How that has to be.
    pub predicate: Predicate,
}

/// Something an agent says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// Its name.
    Hostname,
    /// Its region.
    Region,
    /// Its zone.
    Zone,
    /// One of its attributes.
    Attribute(String),
}

/// How something has to be. What is not there differs from every text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Predicate {
    /// It is there.
    Exists,
    /// It is not there.
    NotExists,
    /// It is this.
    Equals(String),
    /// It is not there, or something else.
    NotEquals(String),
    /// The whole of it matches.
    Matches(Pattern),
    /// It is not there, or does not match.
    NotMatches(Pattern),
}

/// A regular expression with the means to match it, in time linear in the text.
#[derive(Clone)]
pub struct Pattern {
    text: Arc<str>,
    is_match: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

impl Pattern {
    /// The expression, and what it means.
    pub fn new(text: impl AsRef<str>, is_match: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { text: Arc::from(text.as_ref()), is_match: Arc::new(is_match) }
    }
    /// The expression.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// Whether the whole text matches.
    pub fn is_match(&self, text: &str) -> bool {
        (self.is_match)(text)
    }
}
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
impl Eq for Pattern {}
impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.text)
    }
}

impl Predicate {
    /// Whether it holds for something that is there, or is not.
    pub fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Predicate::Exists => value.is_some(),
            Predicate::NotExists => value.is_none(),
            Predicate::Equals(text) => value == Some(text),
            Predicate::NotEquals(text) => value != Some(text),
            Predicate::Matches(pattern) => value.is_some_and(|value| pattern.is_match(value)),
            Predicate::NotMatches(pattern) => !value.is_some_and(|value| pattern.is_match(value)),
        }
    }
}

/// What an agent says of itself, to be looked at; an empty region or zone is none.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Its name.
    pub hostname: &'a str,
    /// Its region.
    pub region: &'a str,
    /// Its zone.
    pub zone: &'a str,
    /// Its attributes.
    pub attributes: &'a BTreeMap<String, String>,
}

impl OfferConstraints {
    /// Whether the role wants offers of an agent there.
    pub fn allow(&self, role: &RoleName, place: Place<'_>) -> bool {
        let Some(groups) = self.0.get(role) else { return true };
        let holds = |constraint: &Constraint| {
            let value = match &constraint.selector {
                Selector::Hostname => Some(place.hostname),
                Selector::Region => Some(place.region).filter(|region| !region.is_empty()),
                Selector::Zone => Some(place.zone).filter(|zone| !zone.is_empty()),
                Selector::Attribute(name) => place.attributes.get(name).map(String::as_str),
            };
            constraint.predicate.holds(value)
        };
        groups.iter().any(|group| group.iter().all(holds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_group_has_to_hold_and_all_conditions_in_it() {
        let attributes = BTreeMap::from([("rack".to_owned(), "r1".to_owned())]);
        let place = Place { hostname: "node-7", region: "eu", zone: "", attributes: &attributes };
        let rack = || Selector::Attribute("rack".to_owned());
        let none = || Selector::Attribute("none".to_owned());
        let text = |text: &str| text.to_owned();
        let seven = || Pattern::new("node-7", |text| text == "node-7");
        let role = RoleName::new("r").expect("valid");
        let allow = |groups: Vec<Vec<(Selector, Predicate)>>| {
            let group = |group: Vec<_>| {
                group.into_iter().map(|(selector, predicate)| Constraint { selector, predicate }).collect()
            };
            let groups = groups.into_iter().map(group).collect();
            OfferConstraints([(role.clone(), groups)].into()).allow(&role, place)
        };
        for (selector, predicate, expected) in [
            (rack(), Predicate::Exists, true),
            (none(), Predicate::Exists, false),
            (none(), Predicate::NotExists, true),
            (Selector::Zone, Predicate::NotExists, true),
            (Selector::Region, Predicate::Equals(text("eu")), true),
            (rack(), Predicate::Equals(text("r2")), false),
            (rack(), Predicate::NotEquals(text("r2")), true),
            (none(), Predicate::NotEquals(text("r2")), true),
            (Selector::Hostname, Predicate::Matches(seven()), true),
            (none(), Predicate::Matches(seven()), false),
            (Selector::Hostname, Predicate::NotMatches(seven()), false),
            (none(), Predicate::NotMatches(seven()), true),
        ] {
            let words = format!("{selector:?} {predicate:?}");
            assert_eq!(allow(vec![vec![(selector, predicate)]]), expected, "{words}");
        }
        let good = || (rack(), Predicate::Exists);
        let bad = || (none(), Predicate::Exists);
        assert!(!allow(vec![vec![good(), bad()]]));
        assert!(allow(vec![vec![good(), bad()], vec![good()]]));
        let other = RoleName::new("other").expect("valid");
        assert!(OfferConstraints([(role.clone(), vec![])].into()).allow(&other, place));
    }
}
