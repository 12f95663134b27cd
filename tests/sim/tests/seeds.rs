//! Two hundred seeds: nothing may break, and everything that can go wrong must have gone wrong somewhere.
use std::thread;

#[test]
fn two_hundred_seeds_hold_and_cover_every_fault_row_and_rejection() {
    let workers = thread::available_parallelism().map_or(1, |n| u64::try_from(n.get()).expect("small"));
    let run = |worker: u64| {
        move || {
            let mut counts = sim::Counts::default();
            let seeds = (0..200).filter(|seed| seed % workers == worker);
            let broken: Vec<String> = seeds.filter_map(|seed| sim::run(seed, &mut counts).err()).collect();
            (counts, broken)
        }
    };
    let threads: Vec<_> = (0..workers).map(|worker| thread::spawn(run(worker))).collect();
    let (mut counts, mut broken) = (sim::Counts::default(), Vec::new());
    for thread in threads {
        let (of_thread, failures) = thread.join().expect("no seed panics");
        counts.add(&of_thread);
        broken.extend(failures);
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert_eq!(counts.missing(), Vec::<String>::new(), "never occurred; counts:\n{counts}");
}
