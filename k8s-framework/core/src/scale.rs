//! Which nodes there are after a scaling: the emptiest leave first, or the ones named.
use std::collections::BTreeSet;

use model::Refusal;
use serde::{Deserialize, Serialize};

use crate::limits;

/// Nodes by index: `count` of them, without those left out. The form in which a target names its instances.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeSet {
    /// How many.
    pub count: u32,
    /// Indices that are skipped.
    pub without: BTreeSet<u32>,
}

impl NodeSet {
    /// The indices, ascending.
    pub fn indices(&self) -> BTreeSet<u32> {
        (0u32..).filter(|index| !self.without.contains(index)).take(self.count as usize).collect()
    }
    /// The set with exactly these indices. What lies above the highest is not remembered, so that it is used again.
    pub fn of(indices: &BTreeSet<u32>) -> Self {
        let end = indices.last().map_or(0, |last| last + 1);
        Self {
            count: u32::try_from(indices.len()).unwrap_or(u32::MAX),
            without: (0..end).filter(|index| !indices.contains(index)).collect(),
        }
    }
}

/// A node as it is weighed. Ordered by who leaves first: what never came up, then the emptiest, then the newest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight {
    /// Whether it is Ready.
    pub is_ready: bool,
    /// Pods that would have to move.
    pub pods: usize,
    /// Its index, highest first.
    pub index: std::cmp::Reverse<u32>,
}

/// The nodes after a scaling to `count`, of which `named` must leave.
///
/// # Errors
/// A name is unknown, or more are named than leave.
pub fn scale(current: &NodeSet, weights: &[Weight], count: u32, named: &[String]) -> Result<NodeSet, Refusal> {
    if count > limits::NODES_MAX {
        return Err(Refusal::new(
            "K8S0002",
            format!("{count} nodes are too many"),
            format!("ask for at most {}", limits::NODES_MAX),
        )
        .at("node_count"));
    }
    let mut indices = current.indices();
    for name in named {
        let index = index_of(name).filter(|index| indices.contains(index)).ok_or_else(|| {
            let names: Vec<String> = indices.iter().map(|index| format!("node-{index}")).collect();
            Refusal::new(
                "K8S0003",
                format!("there is no node '{name}'"),
                format!("the nodes are: {}", names.join(", ")),
            )
            .at("remove")
        })?;
        indices.remove(&index);
    }
    let present = u32::try_from(indices.len()).unwrap_or(u32::MAX);
    if !named.is_empty() && present < count {
        return Err(Refusal::new(
            "K8S0003",
            format!("{} of {} nodes leave, and {count} cannot remain", named.len(), current.count),
            "lower --node-count with the nodes to remove, or add nodes in a second step",
        )
        .at("remove"));
    }
    if present < count {
        // New nodes come behind the last; the lowest free indices belong to nodes that were removed on purpose.
        let grown = NodeSet { count, without: NodeSet::of(&indices).without };
        return Ok(grown);
    }
    let mut order: Vec<&Weight> = weights.iter().filter(|weight| indices.contains(&weight.index.0)).collect();
    order.sort();
    let mut leaving = order.into_iter().map(|weight| weight.index.0).collect::<Vec<_>>().into_iter();
    while u32::try_from(indices.len()).unwrap_or(u32::MAX) > count {
        // A node that nobody weighed (its Node is not there) is as empty as can be; the highest goes.
        let unweighed =
            indices.iter().rev().find(|index| !weights.iter().any(|weight| weight.index.0 == **index)).copied();
        match unweighed.or_else(|| leaving.next()) {
            Some(index) => indices.remove(&index),
            None => break,
        };
    }
    Ok(NodeSet::of(&indices))
}

/// The index of `node-<index>`.
pub fn index_of(name: &str) -> Option<u32> {
    name.strip_prefix("node-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(index: u32, pods: usize, is_ready: bool) -> Weight {
        Weight { is_ready, pods, index: std::cmp::Reverse(index) }
    }
    fn set(count: u32, without: &[u32]) -> NodeSet {
        NodeSet { count, without: without.iter().copied().collect() }
    }

    #[test]
    fn the_emptiest_leaves_first_and_what_is_not_ready_before_it() {
        let weights = [weight(0, 3, true), weight(1, 1, true), weight(2, 9, true)];
        assert_eq!(scale(&set(3, &[]), &weights, 2, &[]), Ok(set(2, &[1])));
        let weights = [weight(0, 0, true), weight(1, 1, true), weight(2, 9, false)];
        assert_eq!(scale(&set(3, &[]), &weights, 2, &[]), Ok(set(2, &[])));
        let weights = [weight(0, 1, true), weight(1, 1, true)];
        assert_eq!(scale(&set(2, &[]), &weights, 1, &[]), Ok(set(1, &[])), "of equals the newest");
    }

    #[test]
    fn the_named_one_leaves_and_its_name_is_not_used_again() {
        let after = scale(&set(3, &[]), &[], 2, &["node-0".to_owned()]).expect("possible");
        assert_eq!(after, set(2, &[0]));
        assert_eq!(scale(&after, &[], 3, &[]).expect("possible").indices(), [1, 2, 3].into());
    }

    #[test]
    fn names_are_checked() {
        let code = |result: Result<NodeSet, Refusal>| result.expect_err("refused").code;
        assert_eq!(code(scale(&set(2, &[]), &[], 1, &["node-7".to_owned()])), "K8S0003");
        assert_eq!(code(scale(&set(2, &[]), &[], 2, &["node-1".to_owned()])), "K8S0003");
        assert_eq!(code(scale(&set(2, &[]), &[], 5000, &[])), "K8S0002");
    }
}
