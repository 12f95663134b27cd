//! Port numbers: given ones must be there, others are chosen, the same as before where possible.
use std::collections::BTreeMap;

use model::{Holding, Ranges, Reservation, Resources};

use super::{Need, Neighbour, Reason};
use crate::spec::PortKind;

/// What was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ports {
    /// Of every port; of a range the first.
    pub(super) by_name: BTreeMap<String, u16>,
    /// All numbers of each task.
    pub(super) by_task: BTreeMap<String, Ranges>,
}

pub(super) fn choose(
    need: &Need,
    available: &Resources,
    title: Option<&Reservation>,
    neighbours: &[Neighbour],
) -> Result<Ports, Reason> {
    let mut free = available.unreserved.ports.clone();
    if let Some(title) = title
        && let Some(held) = available.held.get(&Holding { reservation: title.clone(), volume: None })
    {
        free = free.union(&held.ports);
    }
    let mut out = Ports::default();
    let mut give = |task: &str, port: &str, numbers: Ranges, free: &mut Ranges| {
        *free = free.difference(&numbers);
        let first = numbers.as_slice().first().map_or(0, |(begin, _)| *begin);
        out.by_name.insert(port.to_owned(), u16::try_from(first).unwrap_or(0));
        let all = out.by_task.entry(task.to_owned()).or_default();
        *all = all.union(&numbers);
    };
    // Given numbers first, so that no chosen one takes them.
    for task in need.tasks() {
        for port in &task.ports {
            let Some(range) = port.kind.fixed() else { continue };
            let numbers: Ranges = [range].into_iter().collect();
            if !free.contains(&numbers) {
                return Err(Reason::Port(numbers.difference(&free).to_string()));
            }
            give(&task.name, &port.name, numbers, &mut free);
        }
    }
    // Then those that are given by the other instances.
    for task in need.tasks() {
        for port in task.ports.iter().filter(|port| port.kind == PortKind::Shared) {
            let number = shared(need, &port.name, &free, neighbours)?;
            give(&task.name, &port.name, Ranges::one(number), &mut free);
        }
    }
    for task in need.tasks() {
        for port in task.ports.iter().filter(|port| port.kind == PortKind::Any) {
            let before = need.before.as_ref().and_then(|placement| placement.port(&port.name)).map(u64::from);
            let number = before.filter(|number| free.contains(&Ranges::one(*number))).or_else(|| roomiest(&free));
            let Some(number) = number else {
                return Err(Reason::Lacks { resource: "ports".to_owned(), free: "no port".to_owned() });
            };
            give(&task.name, &port.name, Ranges::one(number), &mut free);
        }
    }
    Ok(out)
}

/// The number that the pod's other instances have; if there are none, the one from before, or one that as many agents as
/// possible can give: the last of the longest range, for others choose from its beginning.
fn shared(need: &Need, port: &str, free: &Ranges, neighbours: &[Neighbour]) -> Result<u64, Reason> {
    let own = &need.unit.instance;
    let of_others = neighbours
        .iter()
        .filter(|other| other.instance.pod == own.pod && other.instance != *own)
        .find_map(|other| other.placement.port(port))
        .map(u64::from);
    if let Some(number) = of_others {
        let is_free = free.contains(&Ranges::one(number));
        return if is_free { Ok(number) } else { Err(Reason::SharedPort { port: number, pod: own.pod.clone() }) };
    }
    let last = |ranges: &Ranges| {
        let longest = ranges.as_slice().iter().rev().max_by_key(|(begin, end)| end - begin)?;
        Some(longest.1.min(u16::MAX.into())).filter(|number| *number >= longest.0)
    };
    need.before
        .as_ref()
        .and_then(|placement| placement.port(port))
        .map(u64::from)
        .filter(|number| free.contains(&Ranges::one(*number)))
        .or_else(|| last(&free.intersection(&need.common_ports)))
        .or_else(|| last(free))
        .ok_or_else(|| Reason::Lacks { resource: "ports".to_owned(), free: "no port".to_owned() })
}

/// The first number of the longest range: ports that an agent offers one by one are meant for those who ask for them.
fn roomiest(free: &Ranges) -> Option<u64> {
    let longest = free.as_slice().iter().rev().max_by_key(|(begin, end)| end - begin)?;
    (longest.0..=longest.1).find(|number| u16::try_from(*number).is_ok())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{AgentId, Quantities};

    use super::*;
    use crate::record::UnitKey;
    use crate::spec::{InstanceName, PodSpec, PortSpec, TaskSpec};
    use crate::view::Placement;

    fn need() -> Need {
        let port = |name: &str, kind| PortSpec { name: name.to_owned(), kind };
        let task = TaskSpec {
            name: "api".to_owned(),
            ports: vec![port("metrics", PortKind::Any), port("https", PortKind::Shared)],
            ..TaskSpec::default()
        };
        Need {
            unit: UnitKey::new(InstanceName::new("api", 1), &[]),
            spec: PodSpec { name: "api".to_owned(), count: 3, tasks: vec![task], ..PodSpec::default() },
            tasks: vec!["api".to_owned()],
            bound_to: None,
            is_reserved: false,
            before: None,
            common_ports: Ranges::empty(),
        }
    }
    fn free(begin: u64, end: u64) -> Resources {
        Resources::from(Quantities { ports: [(begin, end)].into_iter().collect(), ..Quantities::default() })
    }
    fn at(ports: &[(&str, u16)]) -> Placement {
        Placement {
            agent_id: AgentId::new("a").expect("an id"),
            agent_name: "agent-1".to_owned(),
            address: String::new(),
            pod_subnet: String::new(),
            region: String::new(),
            zone: String::new(),
            attributes: BTreeMap::new(),
            ports: ports.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect(),
        }
    }

    #[test]
    fn the_first_instance_chooses_what_others_can_have_and_the_others_follow() {
        let mut need = need();
        need.common_ports = [(20000, 20005)].into_iter().collect();
        let first = choose(&need, &free(20000, 20009), None, &[]).expect("there are ports");
        assert_eq!((first.by_name["https"], first.by_name["metrics"]), (20005, 20000));

        let neighbour = Neighbour { instance: InstanceName::new("api", 0), placement: at(&[("https", 20007)]) };
        let second = choose(&need, &free(20000, 20009), None, std::slice::from_ref(&neighbour)).expect("it is free");
        assert_eq!(second.by_name["https"], 20007);

        let reason = choose(&need, &free(20000, 20005), None, &[neighbour]).expect_err("it is not free");
        assert_eq!(reason.in_words(&["agent-3"]), "agent-3 has not port 20007 free, which every api has");
    }

    #[test]
    fn an_instance_alone_keeps_its_number_and_lets_it_go_when_it_must() {
        let mut need = need();
        need.before = Some(at(&[("https", 20003)]));
        assert_eq!(choose(&need, &free(20000, 20009), None, &[]).expect("free").by_name["https"], 20003);
        assert_eq!(choose(&need, &free(20004, 20009), None, &[]).expect("free").by_name["https"], 20009);
    }
}
