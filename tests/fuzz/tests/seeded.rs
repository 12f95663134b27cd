//! Every target with damage by a fixed seed: the same every time, and some seconds together. Another seed:
//! `MEZZO_FUZZ_SEED=7 cargo nextest run -p fuzz`; more of it: `MEZZO_FUZZ_ROUNDS=100000`.
use fuzz::targets::Target;

const ROUNDS: usize = 400;
/// Of targets that touch the disk.
const ROUNDS_SLOW: usize = 60;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(name: &str) {
    let target = Target::find(name).expect("a target of that name");
    let usual = if target.is_slow { ROUNDS_SLOW } else { ROUNDS };
    let rounds = number("MEZZO_FUZZ_ROUNDS").and_then(|rounds| usize::try_from(rounds).ok()).unwrap_or(usual);
    target.run_seeded(number("MEZZO_FUZZ_SEED").unwrap_or(1), rounds);
}

macro_rules! seeded {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })*

        #[test]
        fn every_target_is_here() {
            let here = [$(stringify!($name)),*];
            let all: Vec<&str> = fuzz::targets::TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(all, here);
        }
    };
}

seeded! {
    call event agent_link master_link task resources constraint executor operator requests registry checkpoint
    framework_state rules service package kubernetes_options option_file quantities kernel_text image container layer
    archives hello identity dns http_answer
}
