//! Two hundred seeds: nothing may break, and everything that can go wrong must have gone wrong somewhere.

#[test]
fn two_hundred_seeds_hold_and_cover_every_fault_row_and_rejection() {
    let mut counts = sim::Counts::default();
    let broken: Vec<String> = (0..200).filter_map(|seed| sim::run(seed, &mut counts).err()).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert_eq!(counts.missing(), Vec::<String>::new(), "never occurred; counts:\n{counts}");
}
