//! Which members may go on, by the strategy. Pure: of phases and of steps alike.
use crate::spec::Strategy;

/// Tells for each member, given as name and "is complete", whether its turn has come.
pub fn turns(strategy: &Strategy, members: &[(&str, bool)]) -> Vec<bool> {
    match strategy {
        Strategy::Parallel => vec![true; members.len()],
        Strategy::Serial => {
            let first = members.iter().position(|(_, is_complete)| !is_complete).unwrap_or(members.len());
            (0..members.len()).map(|i| i <= first).collect()
        }
        Strategy::Dependency(after) => members
            .iter()
            .map(|(name, _)| {
                after.get(*name).is_none_or(|needed| {
                    needed.iter().all(|needed| members.iter().any(|(name, is_complete)| name == needed && *is_complete))
                })
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn turns_follow_the_strategy() {
        let after = BTreeMap::from([("c".to_owned(), vec!["a".to_owned(), "b".to_owned()])]);
        for (strategy, complete, expected) in [
            (Strategy::Serial, [false, false, false], [true, false, false]),
            (Strategy::Serial, [true, false, false], [true, true, false]),
            (Strategy::Serial, [true, true, true], [true, true, true]),
            (Strategy::Parallel, [false, false, false], [true, true, true]),
            (Strategy::Dependency(after.clone()), [true, false, false], [true, true, false]),
            (Strategy::Dependency(after), [true, true, false], [true, true, true]),
        ] {
            let members = [("a", complete[0]), ("b", complete[1]), ("c", complete[2])];
            assert_eq!(turns(&strategy, &members), expected, "{strategy:?} {complete:?}");
        }
    }
}
