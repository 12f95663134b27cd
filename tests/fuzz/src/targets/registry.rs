//! Records of the registry: a master must not start from what it does not understand, and must write what it read.
use crate::{check, parts};

/// The table, the key and the record.
pub fn target(data: &[u8]) {
    let [table, key, value] = parts::of(data);
    match master::fuzzing::registry(usize::from(table.first().copied().unwrap_or_default()), key, value) {
        Err(error) => check::said(&error.to_string()),
        Ok((mut first, second)) => {
            for agent in first.agents.values() {
                check::resources(&agent.holdings);
                check::resources(&agent.orphans);
            }
            first.frameworks.values().for_each(|framework| check::framework(&framework.info));
            // Quotas of nothing are none, and what is in the state is not told by the rest.
            first.quotas.retain(|_, quota| !quota.is_empty());
            first.state_sizes = second.state_sizes.clone();
            assert_eq!(first, second);
        }
    }
}
