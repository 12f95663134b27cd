//! Nodes whose machine is lost: how the cluster is told, and which nodes there are then.
use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::scale::NodeSet;

/// Key of the taint that says that a node's machine is not in service: what runs there is not waited for.
pub const TAINT: &str = "node.kubernetes.io/out-of-service";

/// The taint.
pub fn taint() -> Value {
    json!({ "key": TAINT, "value": "unreachable", "effect": "NoExecute" })
}

/// The set without the lost nodes, and with as many new ones behind all there ever were: a name is not used for another
/// machine while the kubelet that had it may still run.
pub fn replaced(current: &NodeSet, lost: &BTreeSet<u32>) -> NodeSet {
    let present = current.indices();
    let leaving: BTreeSet<u32> = present.intersection(lost).copied().collect();
    if leaving.is_empty() {
        return current.clone();
    }
    let highest = present.iter().chain(&current.without).max().copied().unwrap_or(0);
    let mut indices: BTreeSet<u32> = present.difference(&leaving).copied().collect();
    indices.extend((highest + 1..).take(leaving.len()));
    NodeSet::of(&indices)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(indices: &[u32]) -> NodeSet {
        NodeSet::of(&indices.iter().copied().collect())
    }

    #[test]
    fn a_lost_node_is_replaced_by_one_of_a_new_name() {
        let lost = |indices: &[u32]| indices.iter().copied().collect();
        assert_eq!(replaced(&set(&[0, 1]), &lost(&[1])), set(&[0, 2]));
        assert_eq!(replaced(&set(&[0, 1]), &lost(&[0, 1])), set(&[2, 3]));
        assert_eq!(replaced(&set(&[0, 2]), &lost(&[0])), set(&[2, 3]));
        assert_eq!(replaced(&set(&[0, 1]), &lost(&[7])), set(&[0, 1]));
    }
}
