//! Offer constraints. Expressions are compiled here, with bounds on what they may cost: what matches them afterwards takes
//! time linear in the text.
use model::constraint::{Constraint, OfferConstraints, Pattern, Predicate, Selector};
use regex::RegexBuilder;

use super::{FieldError, role_name};
use crate::mesos::v1::scheduler as wire;
use wire::attribute_constraint::predicate;
use wire::attribute_constraint::predicate::Predicate as WirePredicate;
use wire::attribute_constraint::selector::{PseudoattributeType, Selector as WireSelector};

/// Groups of a role, and constraints of a group: what one would write by hand.
const ROLE_GROUPS_MAX: usize = 64;
const GROUP_CONSTRAINTS_MAX: usize = 64;
/// A name or text of a constraint, in bytes.
const TEXT_BYTES_MAX: usize = 1024;
/// A compiled expression, in bytes: some thousands of states.
const PROGRAM_BYTES_MAX: usize = 64 * 1024;
/// Expressions of one framework: 16 MiB of them, compiled within a second.
const EXPRESSIONS_MAX: usize = 256;

pub(super) fn from_wire(constraints: Option<&wire::OfferConstraints>) -> Result<OfferConstraints, FieldError> {
    let mut out = OfferConstraints::default();
    let count = constraints.map_or(0, expressions);
    if count > EXPRESSIONS_MAX {
        let problem = format!("have {count} expressions, more than {EXPRESSIONS_MAX}");
        return Err(FieldError::new("role_constraints", problem));
    }
    for (role, constraints) in constraints.into_iter().flat_map(|constraints| &constraints.role_constraints) {
        let path = format!("role_constraints[{role}]");
        let groups = role_groups(constraints).map_err(|error| error.within(&path))?;
        out.0.insert(role_name(role, &path)?, groups);
    }
    Ok(out)
}

/// How many expressions would have to be compiled.
fn expressions(constraints: &wire::OfferConstraints) -> usize {
    let groups = constraints.role_constraints.values().flat_map(|role| &role.groups);
    let predicates = groups.flat_map(|group| &group.attribute_constraints).filter_map(|it| it.predicate.as_ref());
    predicates
        .filter(|predicate| match predicate.predicate {
            Some(WirePredicate::TextMatches(_) | WirePredicate::TextNotMatches(_)) => true,
            Some(
                WirePredicate::Exists(_)
                | WirePredicate::NotExists(_)
                | WirePredicate::TextEquals(_)
                | WirePredicate::TextNotEquals(_),
            )
            | None => false,
        })
        .count()
}

fn role_groups(constraints: &wire::offer_constraints::RoleConstraints) -> Result<Vec<Vec<Constraint>>, FieldError> {
    bounded("groups", constraints.groups.len(), ROLE_GROUPS_MAX)?;
    let mut groups = Vec::new();
    for (i, group) in constraints.groups.iter().enumerate() {
        let path = format!("groups[{i}]");
        let list = &group.attribute_constraints;
        bounded("attribute_constraints", list.len(), GROUP_CONSTRAINTS_MAX).map_err(|error| error.within(&path))?;
        let one = |(j, constraint)| {
            constraint_from_wire(constraint)
                .map_err(|error| error.within(&format!("{path}.attribute_constraints[{j}]")))
        };
        groups.push(list.iter().enumerate().map(one).collect::<Result<_, _>>()?);
    }
    Ok(groups)
}

/// None at all would allow nothing, or everything: nobody means that.
fn bounded(path: &str, count: usize, limit: usize) -> Result<(), FieldError> {
    match count {
        0 => Err(FieldError::new(path, "is empty")),
        count if count > limit => Err(FieldError::new(path, format!("has {count} entries, more than {limit}"))),
        _ => Ok(()),
    }
}

fn constraint_from_wire(constraint: &wire::AttributeConstraint) -> Result<Constraint, FieldError> {
    let selector = constraint.selector.as_ref().and_then(|selector| selector.selector.as_ref());
    let selector = match selector.ok_or_else(|| FieldError::missing("selector"))? {
        WireSelector::AttributeName(name) => Selector::Attribute(text(Some(name), "selector.attribute_name")?),
        WireSelector::PseudoattributeType(number) => match PseudoattributeType::try_from(*number) {
            Ok(PseudoattributeType::Hostname) => Selector::Hostname,
            Ok(PseudoattributeType::Region) => Selector::Region,
            Ok(PseudoattributeType::Zone) => Selector::Zone,
            Ok(PseudoattributeType::Unknown) | Err(_) => {
                return Err(FieldError::unknown("selector.pseudoattribute_type", *number));
            }
        },
    };
    let predicate = constraint.predicate.as_ref().and_then(|predicate| predicate.predicate.as_ref());
    let predicate = match predicate.ok_or_else(|| FieldError::missing("predicate"))? {
        WirePredicate::Exists(_) => Predicate::Exists,
        WirePredicate::NotExists(_) => Predicate::NotExists,
        WirePredicate::TextEquals(equals) => {
            Predicate::Equals(text(equals.value.as_ref(), "predicate.text_equals.value")?)
        }
        WirePredicate::TextNotEquals(equals) => {
            Predicate::NotEquals(text(equals.value.as_ref(), "predicate.text_not_equals.value")?)
        }
        WirePredicate::TextMatches(matches) => {
            Predicate::Matches(pattern(matches.regex.as_ref(), "predicate.text_matches.regex")?)
        }
        WirePredicate::TextNotMatches(matches) => {
            Predicate::NotMatches(pattern(matches.regex.as_ref(), "predicate.text_not_matches.regex")?)
        }
    };
    Ok(Constraint { selector, predicate })
}

fn text(text: Option<&String>, path: &str) -> Result<String, FieldError> {
    let text = text.ok_or_else(|| FieldError::missing(path))?;
    if text.len() > TEXT_BYTES_MAX {
        return Err(FieldError::new(path, format!("has {} bytes, more than {TEXT_BYTES_MAX}", text.len())));
    }
    Ok(text.clone())
}

fn pattern(regex: Option<&String>, path: &str) -> Result<Pattern, FieldError> {
    let text = text(regex, path)?;
    let compiled = |text: &str| {
        let mut builder = RegexBuilder::new(text);
        builder.size_limit(PROGRAM_BYTES_MAX).dfa_size_limit(PROGRAM_BYTES_MAX).nest_limit(32);
        builder.build().map_err(|error| FieldError::new(path, format!("is no expression: {error}")))
    };
    // By itself first: `a)|(?:b` is one only between the parentheses, and would match more than the whole text.
    compiled(&text)?;
    let regex = compiled(&format!("^(?:{text})$"))?;
    Ok(Pattern::new(text, move |text| regex.is_match(text)))
}

pub(super) fn to_wire(constraints: &OfferConstraints) -> Option<wire::OfferConstraints> {
    use wire::offer_constraints::{RoleConstraints, role_constraints::Group};
    let group =
        |group: &Vec<Constraint>| Group { attribute_constraints: group.iter().map(constraint_to_wire).collect() };
    let of_role = |groups: &Vec<Vec<Constraint>>| RoleConstraints { groups: groups.iter().map(group).collect() };
    let role_constraints = constraints.0.iter().map(|(role, groups)| (role.to_string(), of_role(groups))).collect();
    (!constraints.0.is_empty()).then_some(wire::OfferConstraints { role_constraints })
}

fn constraint_to_wire(constraint: &Constraint) -> wire::AttributeConstraint {
    let pseudo = |kind: PseudoattributeType| WireSelector::PseudoattributeType(kind.into());
    let selector = match &constraint.selector {
        Selector::Hostname => pseudo(PseudoattributeType::Hostname),
        Selector::Region => pseudo(PseudoattributeType::Region),
        Selector::Zone => pseudo(PseudoattributeType::Zone),
        Selector::Attribute(name) => WireSelector::AttributeName(name.clone()),
    };
    let regex = |pattern: &Pattern| Some(pattern.as_str().to_owned());
    let predicate = match &constraint.predicate {
        Predicate::Exists => WirePredicate::Exists(predicate::Exists {}),
        Predicate::NotExists => WirePredicate::NotExists(predicate::NotExists {}),
        Predicate::Equals(text) => WirePredicate::TextEquals(predicate::TextEquals { value: Some(text.clone()) }),
        Predicate::NotEquals(text) => {
            WirePredicate::TextNotEquals(predicate::TextNotEquals { value: Some(text.clone()) })
        }
        Predicate::Matches(pattern) => WirePredicate::TextMatches(predicate::TextMatches { regex: regex(pattern) }),
        Predicate::NotMatches(pattern) => {
            WirePredicate::TextNotMatches(predicate::TextNotMatches { regex: regex(pattern) })
        }
    };
    wire::AttributeConstraint {
        selector: Some(wire::attribute_constraint::Selector { selector: Some(selector) }),
        predicate: Some(wire::attribute_constraint::Predicate { predicate: Some(predicate) }),
    }
}

/// One of each kind, for tests of conversions.
#[cfg(test)]
pub(super) fn example(role: &model::RoleName) -> OfferConstraints {
    let of = |selector, predicate| vec![Constraint { selector, predicate }];
    let any = || Pattern::new("node-[0-9]+", |_| true);
    let groups = vec![
        of(Selector::Hostname, Predicate::Matches(any())),
        of(Selector::Region, Predicate::NotMatches(any())),
        of(Selector::Zone, Predicate::Equals("z".to_owned())),
        of(Selector::Attribute("rack".to_owned()), Predicate::NotEquals("r".to_owned())),
        of(Selector::Attribute("rack".to_owned()), Predicate::Exists),
        of(Selector::Attribute("rack".to_owned()), Predicate::NotExists),
    ];
    OfferConstraints([(role.clone(), groups)].into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(regex: &str) -> Result<Pattern, FieldError> {
        pattern(Some(&regex.to_owned()), "regex")
    }

    #[test]
    fn expressions_match_the_whole_text_and_are_bounded() {
        let pattern = with("node-[0-9]+|edge").expect("valid");
        for (text, expected) in [("node-17", true), ("edge", true), ("xnode-1", false), ("node-1x", false), ("", false)]
        {
            assert_eq!(pattern.is_match(text), expected, "{text}");
        }
        for bad in ["(", "a)|(?:b", "a{1000}{1000}", &"(".repeat(100), &"x".repeat(2000)] {
            assert!(with(bad).is_err(), "{}", &bad[..bad.len().min(20)]);
        }
    }

    #[test]
    fn more_expressions_than_can_be_paid_for_are_refused() {
        let role = model::RoleName::new("r").expect("valid");
        let matches =
            || Constraint { selector: Selector::Hostname, predicate: Predicate::Matches(Pattern::new("a", |_| true)) };
        let of = |count: usize| {
            let groups: Vec<Vec<Constraint>> =
                (0..count).map(|_| matches()).collect::<Vec<_>>().chunks(8).map(<[_]>::to_vec).collect();
            from_wire(to_wire(&OfferConstraints([(role.clone(), groups)].into())).as_ref()).map_err(|error| error.path)
        };
        assert!(of(EXPRESSIONS_MAX).is_ok());
        assert_eq!(of(EXPRESSIONS_MAX + 1), Err("role_constraints".to_owned()));
    }

    #[test]
    fn what_is_missing_is_named() {
        let role = model::RoleName::new("r").expect("valid");
        let full = to_wire(&example(&role)).expect("not empty");
        let broken = |change: &dyn Fn(&mut wire::AttributeConstraint)| {
            let mut wire = full.clone();
            let role = wire.role_constraints.get_mut("r").expect("made above");
            change(&mut role.groups[0].attribute_constraints[0]);
            from_wire(Some(&wire)).expect_err("refused").path
        };
        let at = "role_constraints[r].groups[0].attribute_constraints[0]";
        assert_eq!(broken(&|constraint| constraint.selector = None), format!("{at}.selector"));
        assert_eq!(broken(&|constraint| constraint.predicate = None), format!("{at}.predicate"));
        let mut wire = full.clone();
        wire.role_constraints.get_mut("r").expect("made above").groups.clear();
        assert_eq!(from_wire(Some(&wire)).expect_err("refused").path, "role_constraints[r].groups");
    }
}
