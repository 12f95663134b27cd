//! Why an offer fits or not, for people: the stages of one evaluation, and the summary of what stands in a step's way.
use std::collections::BTreeMap;

use model::{Milli, Quantities};
use serde::{Deserialize, Serialize};

use crate::record::UnitKey;

/// Why an agent will not do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Another instance of the pod is there.
    Unique(String),
    /// An instance of a pod that it avoids is there.
    With(String),
    /// Enough instances have this value of the attribute.
    Max {
        /// Which attribute.
        attribute: String,
        /// Its value here.
        value: String,
        /// How many are allowed.
        max: u32,
    },
    /// The attribute has another value.
    Attribute {
        /// Which.
        attribute: String,
        /// What it should be.
        wanted: String,
    },
    /// The agent's name is not allowed.
    Name,
    /// It is bound to another agent.
    Bound {
        /// By what.
        because: String,
    },
    /// Something is scarce.
    Lacks {
        /// Of what.
        resource: String,
        /// How much is free, in words.
        free: String,
    },
    /// A port is not free.
    Port(String),
    /// The port that the pod's other instances have is not free.
    SharedPort {
        /// Its number.
        port: u64,
        /// The pod.
        pod: String,
    },
    /// Its volume is not in the offer.
    VolumeAbsent(String),
    /// It offers nothing.
    NoOffer,
}

impl Reason {
    /// Of so many agents, in words: `agent-3 has 1.4 cpus free`, `2 already run a node (unique per agent)`.
    pub fn in_words(&self, agents: &[&str]) -> String {
        let (who, is_one) = match agents {
            [one] => ((*one).to_owned(), true),
            several => (several.len().to_string(), false),
        };
        let verb = |one: &'static str, many: &'static str| if is_one { one } else { many };
        match self {
            Reason::Unique(pod) => format!("{who} already {} a {pod} (unique per agent)", verb("runs", "run")),
            Reason::With(pod) => format!("{who} {} a {pod}, which it avoids", verb("runs", "run")),
            Reason::Max { attribute, value, max } => {
                format!("{who} {} {attribute} {value}, which has its {max} already", verb("has", "have"))
            }
            Reason::Attribute { attribute, wanted } => {
                format!("{who} {} not {attribute} {wanted}", verb("has", "have"))
            }
            Reason::Name => format!("{who} {} not among the allowed names", verb("is", "are")),
            Reason::Bound { because } => format!("{who} {} not the one it is bound to ({because})", verb("is", "are")),
            Reason::Lacks { free, .. } => format!("{who} {} {free} free", verb("has", "have")),
            Reason::Port(ports) => format!("{who} {} not port {ports} free", verb("has", "have")),
            Reason::SharedPort { port, pod } => {
                format!("{who} {} not port {port} free, which every {pod} has", verb("has", "have"))
            }
            Reason::VolumeAbsent(volume) => format!("{who} {} not offer its volume {volume}", verb("does", "do")),
            Reason::NoOffer => format!("{who} {} nothing", verb("offers", "offer")),
        }
    }
}

/// One evaluation: the stages in order, the last of which may have failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What was to be placed.
    pub unit: String,
    /// On which agent.
    pub agent: String,
    /// Whether it fits.
    pub passed: bool,
    /// Stage by stage.
    pub stages: Vec<StageVerdict>,
    /// Why it does not fit.
    #[serde(skip)]
    pub reason: Option<Reason>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageVerdict {
    /// placement, volumes, ports or resources.
    pub stage: String,
    /// Whether it passed.
    pub passed: bool,
    /// In words, if it did not.
    pub why: String,
}

impl Verdict {
    pub(super) fn new(unit: &UnitKey, agent: &str) -> Self {
        Self { unit: unit.to_string(), agent: agent.to_owned(), passed: true, stages: Vec::new(), reason: None }
    }
    pub(super) fn stage<T>(&mut self, name: &str, outcome: Result<T, Reason>) -> Option<T> {
        let why = outcome.as_ref().err().map(|reason| reason.in_words(&[&self.agent])).unwrap_or_default();
        self.stages.push(StageVerdict { stage: name.to_owned(), passed: outcome.is_ok(), why });
        match outcome {
            Ok(value) => Some(value),
            Err(reason) => {
                self.passed = false;
                self.reason = Some(reason);
                None
            }
        }
    }
}

/// `2.1 cpus, 3 GiB, port 10250`.
pub fn amounts(quantities: &Quantities) -> String {
    let mut parts = Vec::new();
    for (name, amount) in quantities.scalars().filter(|(_, amount)| amount.0 != 0) {
        parts.push(amount_of(name, amount));
    }
    if !quantities.ports.is_empty() {
        let many = if quantities.ports.count() == 1 { "port" } else { "ports" };
        parts.push(format!("{many} {}", quantities.ports));
    }
    match parts.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// `1.4 cpus`, `3 GiB`, `512 MiB of disk`.
pub fn amount_of(name: &str, amount: Milli) -> String {
    let gib = 1024 * 1000;
    let memory = |amount: Milli| {
        if amount.0 >= gib && (amount.0 * 10) % gib == 0 {
            format!("{} GiB", Milli(amount.0 * 1000 / gib))
        } else {
            format!("{amount} MiB")
        }
    };
    match name {
        "mem" => memory(amount),
        "disk" => format!("{} of disk", memory(amount)),
        name => format!("{amount} {name}"),
    }
}

/// What stands in the way of a unit on every agent: `node-2 needs 2.1 cpus and 3 GiB; 3 agents: 2 already run a node
/// (unique per agent), agent-3 has 1.4 cpus free`.
pub fn summary(unit: &UnitKey, needs: &str, agents: &BTreeMap<String, Reason>) -> String {
    if agents.is_empty() {
        return format!("{unit} needs {needs}; no agent has offered anything yet");
    }
    let mut groups: BTreeMap<&Reason, Vec<&str>> = BTreeMap::new();
    for (agent, reason) in agents {
        groups.entry(reason).or_default().push(agent);
    }
    let many = if agents.len() == 1 { "agent" } else { "agents" };
    let words: Vec<String> = groups.iter().map(|(reason, names)| reason.in_words(names)).collect();
    format!("{unit} needs {needs}; {} {many}: {}", agents.len(), words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::InstanceName;

    #[test]
    fn the_summary_reads_as_a_person_would_say_it() {
        let needs = amounts(&Quantities { cpus: Milli(2100), mem: Milli::units(3072), ..Quantities::default() });
        let unit = UnitKey::new(InstanceName::new("node", 2), &[]);
        let agents = BTreeMap::from([
            ("agent-1".to_owned(), Reason::Unique("node".to_owned())),
            ("agent-2".to_owned(), Reason::Unique("node".to_owned())),
            ("agent-3".to_owned(), Reason::Lacks { resource: "cpus".to_owned(), free: amount_of("cpus", Milli(1400)) }),
        ]);
        assert_eq!(
            summary(&unit, &needs, &agents),
            "node-2 needs 2.1 cpus and 3 GiB; 3 agents: 2 already run a node (unique per agent), agent-3 has 1.4 cpus free"
        );
        assert_eq!(
            summary(&unit, &needs, &BTreeMap::new()),
            "node-2 needs 2.1 cpus and 3 GiB; no agent has offered anything yet"
        );
    }
}
