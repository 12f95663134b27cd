//! Why somebody is not offered what is free, and what would change that. Remedies are ordered by what they cost: those that
//! need nobody first, those that need machines last.
use model::{Resources, RoleName, Span, Timestamp};

use crate::quota::Ceiling;

/// Why free resources are not offered to a framework.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // few, and none lives longer than its step
pub enum Withheld {
    /// It declined as much or more of this agent a while ago.
    Filtered { until: Timestamp },
    /// There is too little left to be worth an offer.
    BelowMinimum { free: Resources },
    /// It has too many offers that it does not answer.
    TooManyOffers { limit: usize },
    /// It let offers expire, so many in a row.
    Hoarding { until: Timestamp, expired: u32 },
    /// A limit of its role, or of one above it, is reached.
    OverLimit(Ceiling),
    /// What is free is promised to others.
    KeptForGuarantees { name: String, roles: Vec<RoleName> },
    /// Its own constraints for the role exclude the agent.
    Constrained,
    /// The agent is in another region than the master, and the framework does not say that it can live with that.
    OtherRegion { region: String },
    /// The agent has gpus, and the framework does not say that it uses them.
    HasGpus,
}

/// Nobody is told to wait longer than this where something else helps at once.
const LONG_WAIT: Span = Span::seconds(60);

/// What helps, the cheapest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// It passes by itself.
    Wait { until: Timestamp },
    /// The framework's own: it has to answer its offers.
    AnswerOffers,
    /// The framework's own: it has to ask for offers again.
    Revive,
    /// The framework's own: what it said of itself keeps offers away.
    ChangeFramework { what: String },
    /// An operator's: a quota.
    ChangeQuota { role: RoleName, what: String },
    /// Something has to end first.
    FreeSome { what: String },
    /// Machines.
    AddAgents { what: String },
}

impl Withheld {
    /// For people.
    pub fn in_words(&self) -> String {
        match self {
            Withheld::Filtered { .. } => "as much of it was declined a while ago (a revive ends that)".to_owned(),
            Withheld::BelowMinimum { free } => format!("too little is free: {free}"),
            Withheld::TooManyOffers { limit } => format!("it left {limit} offers unanswered"),
            Withheld::Hoarding { expired, .. } => format!("it let {expired} offers in a row expire"),
            Withheld::OverLimit(ceiling) => ceiling.to_string(),
            Withheld::KeptForGuarantees { name, roles } => {
                let roles: Vec<&str> = roles.iter().map(RoleName::as_str).collect();
                format!("the {name} that are free are kept for guarantees of {}", roles.join(", "))
            }
            Withheld::Constrained => "its own constraints exclude the agent".to_owned(),
            Withheld::OtherRegion { region } => {
                format!("the agent is in region '{region}', and it does not have the capability REGION_AWARE")
            }
            Withheld::HasGpus => "the agent has gpus, and it does not have the capability GPU_RESOURCES".to_owned(),
        }
    }
    /// What would change it, as seen now.
    pub fn remedy(&self, now: Timestamp) -> Remedy {
        match self {
            Withheld::Filtered { until } if *until > now + LONG_WAIT => Remedy::Revive,
            Withheld::Filtered { until } | Withheld::Hoarding { until, .. } => Remedy::Wait { until: *until },
            Withheld::BelowMinimum { .. } => Remedy::FreeSome { what: "end tasks on the agents".to_owned() },
            Withheld::TooManyOffers { .. } => Remedy::AnswerOffers,
            Withheld::OverLimit(Ceiling { role, name, .. }) => {
                Remedy::ChangeQuota { role: role.clone(), what: format!("raise its limit of {name}") }
            }
            Withheld::KeptForGuarantees { name, roles } => match roles.first() {
                Some(role) => {
                    Remedy::ChangeQuota { role: role.clone(), what: format!("lower its guarantee of {name}") }
                }
                None => Remedy::AddAgents { what: name.clone() },
            },
            Withheld::Constrained => Remedy::ChangeFramework { what: "its offer constraints".to_owned() },
            Withheld::OtherRegion { .. } => Remedy::ChangeFramework { what: "capability REGION_AWARE".to_owned() },
            Withheld::HasGpus => Remedy::ChangeFramework { what: "capability GPU_RESOURCES".to_owned() },
        }
    }
}

impl Remedy {
    /// For people; `now` tells how long waiting takes.
    pub fn in_words(&self, now: Timestamp) -> String {
        match self {
            Remedy::Wait { until } => {
                let seconds = until.0.saturating_sub(now.0).div_ceil(1000);
                format!("wait {seconds} s: offers come again by themselves")
            }
            Remedy::AnswerOffers => "see that the framework accepts or declines the offers it has".to_owned(),
            Remedy::Revive => "let the framework ask for offers again (a revive)".to_owned(),
            Remedy::ChangeFramework { what } => format!("change what the framework says of itself: {what}"),
            Remedy::ChangeQuota { role, what } => format!("role {role}: {what}, with: mezzo role quota set {role}"),
            Remedy::FreeSome { what } => format!("free resources: {what}, or add agents"),
            Remedy::AddAgents { what } => format!("add agents with more {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_remedy_comes_first() {
        let role = RoleName::new("r").expect("valid");
        let mut remedies = vec![
            Withheld::BelowMinimum { free: Resources::default() }.remedy(Timestamp(1)),
            Withheld::KeptForGuarantees { name: "cpus".to_owned(), roles: vec![role] }.remedy(Timestamp(1)),
            Withheld::HasGpus.remedy(Timestamp(1)),
            Withheld::Filtered { until: Timestamp(3_600_000) }.remedy(Timestamp(1)),
            Withheld::TooManyOffers { limit: 1 }.remedy(Timestamp(1)),
            Withheld::Filtered { until: Timestamp(5000) }.remedy(Timestamp(1)),
        ];
        let expected: Vec<Remedy> = remedies.iter().rev().cloned().collect();
        remedies.sort();
        assert_eq!(remedies, expected);
        let words = remedies[0].in_words(Timestamp(1));
        assert!(words.starts_with("wait 5 s:"), "{words}");
    }
}
