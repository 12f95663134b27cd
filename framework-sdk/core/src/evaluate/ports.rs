//! Port numbers: given ones must be there, others are chosen, the same as before where possible.
use std::collections::BTreeMap;

use model::{Holding, Ranges, Reservation, Resources};

use super::{Need, Reason};
use crate::spec::PortKind;

/// What was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ports {
    /// Of every port; of a range the first.
    pub(super) by_name: BTreeMap<String, u16>,
    /// All numbers of each task.
    pub(super) by_task: BTreeMap<String, Ranges>,
}

pub(super) fn choose(need: &Need, available: &Resources, title: Option<&Reservation>) -> Result<Ports, Reason> {
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

/// The first number of the longest range: ports that an agent offers one by one are meant for those who ask for them.
fn roomiest(free: &Ranges) -> Option<u64> {
    let longest = free.as_slice().iter().rev().max_by_key(|(begin, end)| end - begin)?;
    (longest.0..=longest.1).find(|number| u16::try_from(*number).is_ok())
}
