//! Whether a pool can take an installation, found out before anything is created. A package declares the shapes of its
//! pods in a template; here they are placed on what agents have free, in the order in which they will be launched and by
//! the rule by which schedulers choose: the agent with the fewest instances of the pod. All shortfalls are found at once.
use std::collections::BTreeMap;

use model::{Milli, Quantities, Ranges};
use serde::Deserialize;

use crate::limits::PREFLIGHT_INSTANCES_MAX;

/// What an installation needs, as its package says.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Needs {
    /// In the order in which they are launched.
    pub pods: Vec<Shape>,
    /// Names of the agents' own checks (`mezzo agent preflight`) that must have passed where its pods go.
    pub checks: Vec<String>,
    /// How far clocks of agents may be from the master's.
    pub clock_skew_ms: Option<u64>,
    /// Images of the pool (`pool/<name>:<tag>`) that its pods are made of.
    pub images: Vec<String>,
}

/// Pods of one kind.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shape {
    /// Their name.
    pub name: String,
    /// How many.
    pub count: u32,
    /// No two on one agent.
    pub unique: bool,
    /// Processors of one.
    pub cpus: f64,
    /// Memory of one.
    pub mem_mib: f64,
    /// Disk of one.
    pub disk_mib: f64,
    /// Ports of any number.
    pub ports: u32,
    /// Ports that must be free, first and last.
    pub fixed_ports: Vec<(u16, u16)>,
}

/// An agent as the pool knows it now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AgentNow {
    /// Its name.
    pub name: String,
    /// What is neither used nor reserved.
    pub free: Quantities,
    /// Why nothing of it is offered, if so.
    pub withheld: String,
    /// What it found out about itself.
    pub report: Report,
}

/// What an agent found out about itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// Checks that failed, by name: what was found, and what helps.
    pub failed: BTreeMap<String, (String, String)>,
    /// How far its clock is from the master's.
    pub clock_skew_ms: Option<u64>,
    /// Why there is no report, if there is none.
    pub problem: String,
}

/// Something that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortfall {
    /// What, in words.
    pub what: String,
    /// What can be done about it.
    pub next_step: String,
}

impl Shape {
    fn quantities(&self) -> Quantities {
        Quantities {
            cpus: milli(self.cpus),
            mem: milli(self.mem_mib),
            disk: milli(self.disk_mib),
            ports: self.fixed(),
            ..Quantities::default()
        }
    }
    fn fixed(&self) -> Ranges {
        self.fixed_ports.iter().map(|(first, last)| (u64::from(*first), u64::from(*last))).collect()
    }
}

fn milli(amount: f64) -> Milli {
    #[allow(clippy::cast_possible_truncation)] // options are bounded far below; a cast saturates
    Milli((amount * 1000.0).round() as i64)
}

/// Everything that is missing. `has_image` says whether the pool has an image.
pub fn check(needs: &Needs, agents: &[AgentNow], has_image: &dyn Fn(&str) -> bool) -> Vec<Shortfall> {
    let mut shortfalls = Vec::new();
    let usable: Vec<&AgentNow> = agents.iter().filter(|agent| agent.withheld.is_empty()).collect();
    if usable.is_empty() {
        let away: Vec<String> = agents.iter().map(|agent| format!("{} is {}", agent.name, agent.withheld)).collect();
        let why = if away.is_empty() { "it has none".to_owned() } else { away.join(", ") };
        shortfalls.push(Shortfall {
            what: format!("no agent of the pool offers anything: {why}"),
            next_step: "see `mezzo agent list`; join an agent with `mezzo agent run --token`".to_owned(),
        });
    }
    for agent in &usable {
        shortfalls.extend(unfit(needs, agent));
    }
    for image in needs.images.iter().filter(|image| image.starts_with("pool/") && !has_image(image)) {
        shortfalls.push(Shortfall {
            what: format!("the pool has no image {image}"),
            next_step: format!("mezzo image push PATH {image}"),
        });
    }
    if !usable.is_empty() {
        shortfalls.extend(place(needs, &usable));
    }
    shortfalls
}

/// What an agent lacks that has nothing to do with amounts.
fn unfit(needs: &Needs, agent: &AgentNow) -> Vec<Shortfall> {
    let name = &agent.name;
    let mut shortfalls = Vec::new();
    if !agent.report.problem.is_empty() {
        shortfalls.push(Shortfall {
            what: format!("{name} does not say whether it is fit: {}", agent.report.problem),
            next_step: format!("mezzo agent preflight --agent {name}"),
        });
    }
    for check in &needs.checks {
        if let Some((found, remedy)) = agent.report.failed.get(check) {
            shortfalls.push(Shortfall { what: format!("{name}: {check}: {found}"), next_step: remedy.clone() });
        }
    }
    if let (Some(limit), Some(skew)) = (needs.clock_skew_ms, agent.report.clock_skew_ms)
        && skew > limit
    {
        shortfalls.push(Shortfall {
            what: format!("the clock of {name} is {skew} ms from the master's, {limit} ms are allowed"),
            next_step: "keep both in time with NTP".to_owned(),
        });
    }
    shortfalls
}

/// Places every pod, and says which find no agent and why.
fn place(needs: &Needs, agents: &[&AgentNow]) -> Vec<Shortfall> {
    let mut free: Vec<Quantities> = agents.iter().map(|agent| agent.free.clone()).collect();
    let mut shortfalls = Vec::new();
    for shape in &needs.pods {
        let mut count = vec![0u32; agents.len()];
        let wanted = shape.quantities();
        let mut unplaced = 0;
        for _ in 0..shape.count.min(PREFLIGHT_INSTANCES_MAX) {
            let mut order: Vec<usize> = (0..agents.len()).collect();
            order.sort_by_key(|agent| count[*agent]);
            let fits = |agent: &usize| {
                !(shape.unique && count[*agent] > 0) && obstacle(shape, &wanted, &free[*agent]).is_none()
            };
            match order.into_iter().find(fits) {
                Some(agent) => {
                    count[agent] += 1;
                    take(shape, &wanted, &mut free[agent]);
                }
                None => unplaced += 1,
            }
        }
        if unplaced > 0 {
            shortfalls.push(no_room(shape, &wanted, unplaced, agents, &count, &free));
        }
    }
    shortfalls
}

fn take(shape: &Shape, wanted: &Quantities, free: &mut Quantities) {
    free.take(wanted).expect("an agent is chosen because it fits");
    for _ in 0..shape.ports {
        let Some((first, _)) = free.ports.as_slice().last().copied() else { return };
        free.ports = free.ports.difference(&Ranges::one(first));
    }
}

/// What an agent lacks for one instance.
fn obstacle(shape: &Shape, wanted: &Quantities, free: &Quantities) -> Option<String> {
    for (name, amount) in wanted.scalars() {
        if free.scalar(name) < amount {
            return Some(format!("only {} free", amount_of(name, free.scalar(name))));
        }
    }
    let taken = shape.fixed().difference(&free.ports);
    if !taken.is_empty() {
        let many = if taken.count() == 1 { "port" } else { "ports" };
        return Some(format!("{many} {taken} not free"));
    }
    let left = free.ports.difference(&shape.fixed()).count();
    (left < u64::from(shape.ports)).then(|| format!("only {left} ports free"))
}

fn no_room(
    shape: &Shape,
    wanted: &Quantities,
    unplaced: u32,
    agents: &[&AgentNow],
    count: &[u32],
    free: &[Quantities],
) -> Shortfall {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for (i, agent) in agents.iter().enumerate() {
        let why = if shape.unique && count[i] > 0 {
            "one already there (one per agent)".to_owned()
        } else {
            obstacle(shape, wanted, &free[i]).unwrap_or_else(|| "room for one".to_owned())
        };
        match groups.iter_mut().find(|(known, _)| *known == why) {
            Some((_, names)) => names.push(&agent.name),
            None => groups.push((why, vec![&agent.name])),
        }
    }
    let words: Vec<String> = groups.iter().map(|(why, names)| format!("{}: {why}", names.join(", "))).collect();
    let each: Vec<String> = wanted
        .scalars()
        .filter(|(_, amount)| amount.0 > 0)
        .map(|(name, amount)| amount_of(name, amount))
        .chain((!wanted.ports.is_empty()).then(|| format!("ports {}", wanted.ports)))
        .collect();
    let spread = shape.unique && usize::try_from(shape.count).is_ok_and(|count| count > agents.len());
    let next_step = if spread {
        format!("add agents until there are {}, or ask for fewer", shape.count)
    } else {
        "add an agent, free what others use, or ask for less: see `mezzo agent list`".to_owned()
    };
    let of = if unplaced == shape.count { String::new() } else { format!(" of {}", shape.count) };
    Shortfall {
        what: format!(
            "{}: {unplaced}{of} would find no agent; each needs {}; {}",
            shape.name,
            each.join(", "),
            words.join("; ")
        ),
        next_step,
    }
}

/// `1.4 cpus`, `512 MiB of memory`, `64 MiB of disk`.
fn amount_of(name: &str, amount: Milli) -> String {
    match name {
        "mem" => format!("{amount} MiB of memory"),
        "disk" => format!("{amount} MiB of disk"),
        name => format!("{amount} {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str, cpus: i64, mem: i64, ports: &[(u64, u64)]) -> AgentNow {
        let free = Quantities {
            cpus: Milli(cpus),
            mem: Milli::units(mem),
            disk: Milli::units(10_000),
            ports: ports.iter().copied().collect(),
            ..Quantities::default()
        };
        AgentNow { name: name.to_owned(), free, ..AgentNow::default() }
    }
    fn shape(name: &str, count: u32, cpus: f64) -> Shape {
        Shape { name: name.to_owned(), count, unique: true, cpus, mem_mib: 64.0, ports: 1, ..Shape::default() }
    }
    fn words(needs: &Needs, agents: &[AgentNow]) -> Vec<String> {
        check(needs, agents, &|_| true).into_iter().map(|short| short.what).collect()
    }
    const MANY: &[(u64, u64)] = &[(10250, 10256), (20000, 32767)];

    #[test]
    fn pods_are_placed_one_after_the_other_and_what_is_left_counts() {
        let needs = Needs { pods: vec![shape("db", 2, 0.5), shape("web", 2, 0.8)], ..Needs::default() };
        let two = [agent("a1", 1300, 1000, MANY), agent("a2", 1300, 1000, MANY)];
        assert_eq!(words(&needs, &two), Vec::<String>::new());
        let narrow = [agent("a1", 1300, 1000, MANY), agent("a2", 1200, 1000, MANY)];
        assert_eq!(
            words(&needs, &narrow),
            ["web: 1 of 2 would find no agent; each needs 0.8 cpus, 64 MiB of memory; a1: one already there (one per \
              agent); a2: only 0.7 cpus free"]
        );
    }

    #[test]
    fn given_ports_must_be_free() {
        let mut node = shape("node", 2, 0.1);
        node.fixed_ports = vec![(10250, 10250), (30000, 32767)];
        let needs = Needs { pods: vec![node], ..Needs::default() };
        let agents = [agent("a1", 1000, 1000, MANY), agent("a2", 1000, 1000, &[(20000, 32767)])];
        let found = words(&needs, &agents);
        assert_eq!(found.len(), 1);
        assert!(found[0].ends_with("a2: port 10250 not free"), "{found:?}");
    }

    #[test]
    fn everything_is_said_at_once() {
        let needs = Needs {
            pods: vec![shape("node", 3, 0.1)],
            checks: vec!["overlayfs".to_owned()],
            clock_skew_ms: Some(500),
            images: vec!["pool/x:1".to_owned(), "elsewhere/y:1".to_owned()],
        };
        let mut late = agent("a1", 1000, 1000, MANY);
        late.report.clock_skew_ms = Some(2000);
        late.report.failed =
            [("overlayfs".to_owned(), ("no".to_owned(), "load the kernel module 'overlay'".to_owned()))].into();
        let away = AgentNow { name: "a2".to_owned(), withheld: "unreachable".to_owned(), ..AgentNow::default() };
        let found = check(&needs, &[late, away], &|_| false);
        let words: Vec<&str> = found.iter().map(|short| short.what.as_str()).collect();
        assert_eq!(words.len(), 4, "{words:?}");
        assert_eq!(words[0], "a1: overlayfs: no");
        assert_eq!(words[1], "the clock of a1 is 2000 ms from the master's, 500 ms are allowed");
        assert_eq!(words[2], "the pool has no image pool/x:1");
        assert!(words[3].starts_with("node: 2 of 3 would find no agent"), "{}", words[3]);
        assert_eq!(found[3].next_step, "add agents until there are 3, or ask for fewer");
    }

    #[test]
    fn a_pool_without_agents_is_told_so() {
        let found = words(&Needs::default(), &[]);
        assert_eq!(found, ["no agent of the pool offers anything: it has none"]);
    }
}
