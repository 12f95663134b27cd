//! Regular expressions of offer constraints: a framework's text, matched by the master for every agent.
use model::call::Call;
use model::constraint::{Place, Predicate};
use model::{Principal, RoleName};
use proto::convert;
use proto::mesos::v1 as wire;
use wire::scheduler as sched;

use crate::check;

/// Expressions, one a line.
pub fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let call = of(text.lines());
    let principal = Principal::new("framework/fuzz");
    match convert::call::from_wire(&call, &principal) {
        Err(error) => check::field_error(&error),
        Ok(Call::Subscribe { constraints, .. }) => {
            let role = RoleName::new("fuzz").expect("valid");
            for constraint in constraints.0.values().flatten().flatten() {
                let (Predicate::Matches(pattern) | Predicate::NotMatches(pattern)) = &constraint.predicate else {
                    continue;
                };
                // An expression stands for itself: it must not end the parentheses that are put around it.
                let alone = regex::Regex::new(pattern.as_str());
                assert!(alone.is_ok(), "'{}' was taken and is no expression", pattern.as_str());
                for sample in [text, "", "node-17", "a"] {
                    let _ = pattern.is_match(sample);
                }
            }
            let attributes = std::collections::BTreeMap::new();
            let place = Place { hostname: text, region: "", zone: "", attributes: &attributes };
            let _ = constraints.allow(&role, place);
        }
        Ok(_) => panic!("a subscription was read as something else"),
    }
}

/// A subscription with these expressions, each a constraint of a group of its own.
pub(crate) fn of<'a>(expressions: impl Iterator<Item = &'a str>) -> sched::Call {
    use sched::attribute_constraint::predicate::{Predicate, TextMatches};
    use sched::attribute_constraint::selector::{PseudoattributeType, Selector};
    use sched::offer_constraints::{RoleConstraints, role_constraints::Group};
    let constraint = |regex: &str| sched::AttributeConstraint {
        selector: Some(sched::attribute_constraint::Selector {
            selector: Some(Selector::PseudoattributeType(PseudoattributeType::Hostname.into())),
        }),
        predicate: Some(sched::attribute_constraint::Predicate {
            predicate: Some(Predicate::TextMatches(TextMatches { regex: Some(regex.to_owned()) })),
        }),
    };
    let constraints: Vec<_> = expressions.map(constraint).collect();
    let groups = constraints.chunks(64).map(|chunk| Group { attribute_constraints: chunk.to_vec() }).collect();
    sched::Call {
        r#type: Some(sched::call::Type::Subscribe.into()),
        subscribe: Some(sched::call::Subscribe {
            framework_info: wire::FrameworkInfo {
                name: "fuzz".to_owned(),
                role: Some("fuzz".to_owned()),
                ..wire::FrameworkInfo::default()
            },
            suppressed_roles: Vec::new(),
            offer_constraints: Some(sched::OfferConstraints {
                role_constraints: [("fuzz".to_owned(), RoleConstraints { groups })].into(),
            }),
        }),
        ..sched::Call::default()
    }
}
