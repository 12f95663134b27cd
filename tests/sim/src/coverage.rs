//! What has to occur somewhere: every variant of what a master decides, withholds and refuses, read from its source, so that a
//! new one that nothing exercises is noticed. Seeds bring most of it about; what lies beyond a small cluster has a test by name.

/// Where decisions are defined.
const DECISIONS: &str =
    concat!(include_str!("../../../master/core/src/decision.rs"), include_str!("../../../master/core/src/withheld.rs"));

/// Enums of these files with the prefix under which the simulator counts their variants.
const ENUMS: &[(&str, &str)] =
    &[("Decision", "decision"), ("Withheld", "withheld"), ("OfferEnd", "offer"), ("TeardownCause", "teardown")];

/// Shown by a unit test and not by seeds: what, where, and the test.
pub const BY_TEST: &[(&str, &str, &str)] = &[
    ("rejected: Busy", "master/core/src/tests/beyond.rs", "a_disk_that_stands_still_refuses_calls"),
    ("rejected: NoSubnet", "master/core/src/tests/beyond.rs", "the_pods_range_has_an_end"),
    ("rejected: StateTooLarge", "master/core/src/tests/frameworks.rs", "state_is_written_with_the_call_and_bounded"),
    ("rejected: NoVip", "master/core/src/tests/beyond.rs", "the_range_of_virtual_addresses_has_an_end"),
    // Offers never leave so little room that an accept could exceed a limit, but for what is unreserved by it.
    ("rejected: OverLimit", "master/core/src/tests/tenancy.rs", "a_limit_is_checked_again_when_an_offer_is_used"),
    ("withheld: TooManyOffers", "master/core/src/tests/tenancy.rs", "who_has_too_many_offers_gets_none"),
    // What schedulers and agents of the simulator do not say of themselves.
    ("withheld: Constrained", "master/core/src/tests/tenancy.rs", "an_agent_that_constraints_exclude_is_withheld"),
    (
        "withheld: OtherRegion",
        "master/core/src/tests/tenancy.rs",
        "what_a_framework_cannot_live_with_it_is_not_offered",
    ),
    ("withheld: HasGpus", "master/core/src/tests/tenancy.rs", "what_a_framework_cannot_live_with_it_is_not_offered"),
    (
        "decision: RemovalHeld",
        "master/core/src/tests/agents.rs",
        "no_more_agents_become_unreachable_at_once_than_the_limit_allows",
    ),
    (
        "rejected: UnderMaintenance",
        "master/core/src/tests/maintaining.rs",
        "started_it_empties_the_agent_and_stopped_it_is_offered_again",
    ),
    (
        "rejected: VolumeInUse",
        "master/core/src/tests/operating.rs",
        "several_tasks_have_a_shared_volume_and_it_is_not_destroyed_under_them",
    ),
    (
        "rejected: InUse",
        "master/core/src/tests/operating.rs",
        "an_operator_takes_back_just_as_many_offers_as_needed_and_no_task",
    ),
    (
        "withheld: Hoarding",
        "master/core/src/tests/tenancy.rs",
        "who_lets_offers_expire_waits_longer_each_time_until_it_uses_one",
    ),
    // Every row of the task's table, also those that seeds rarely or never take.
    ("task: every row", "master/core/src/tests/beyond.rs", "a_task_takes_every_row_of_its_table_and_no_other"),
    (
        "task: every row to and from unreachable",
        "master/core/src/tests/beyond.rs",
        "every_state_that_may_run_becomes_unreachable_with_its_agent_and_gone_with_it",
    ),
];

/// The variants of an enum of a source, in order.
fn variants(source: &str, name: &str) -> Vec<String> {
    let head = format!("pub enum {name} {{");
    let body = source.split_once(&head).map_or("", |(_, rest)| rest);
    let body = body.split_once("\n}").map_or("", |(body, _)| body);
    let starts = |line: &&str| line.starts_with("    ") && line.chars().nth(4).is_some_and(char::is_uppercase);
    let word = |line: &str| line.trim().split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned();
    body.lines().filter(starts).map(word).collect()
}

/// Everything of these enums that has to occur, by the names it is counted under.
pub(crate) fn required() -> Vec<String> {
    let of_enums = ENUMS.iter().flat_map(|(name, prefix)| {
        variants(DECISIONS, name).into_iter().map(move |variant| format!("{prefix}: {variant}"))
    });
    let rejections = master_core::Rejected::ALL.iter().map(|(_, name)| format!("rejected: {name}"));
    of_enums.chain(rejections).filter(|name| !BY_TEST.iter().any(|(shown, _, _)| shown == name)).collect()
}

/// The name of a value's variant.
pub(crate) fn variant(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_read_from_the_source() {
        let source = "/// Doc.\npub enum A {\n    /// One.\n    One,\n    Two { a: u8 },\n    Three(u8),\n}\npub enum B {\n    Four,\n}";
        assert_eq!(variants(source, "A"), ["One", "Two", "Three"]);
        for (name, _) in ENUMS {
            assert!(variants(DECISIONS, name).len() >= 3, "the variants of {name} are found");
        }
    }

    #[test]
    fn tests_that_stand_for_seeds_exist() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for (what, file, test) in BY_TEST {
            let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("read {file}: {error}"));
            let is_test = text.split("#[test]\n").skip(1).any(|after| after.starts_with(&format!("fn {test}(")));
            assert!(is_test, "{file} has the test {test}, which shows {what}");
        }
    }
}
