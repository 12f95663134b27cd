//! `sim --seed N --seeds K`: runs K seeds from N on, prints what happened, and ends with an error if anything did not hold
//! or something that has to occur did not. `--tell WORD[,WORD...]` prints what happens along the way, as far as it has one of
//! these words in it; `--check-determinism` runs each seed twice and compares them event by event; `--every-write` has
//! each process die once at each of its writes.
#![allow(clippy::print_stdout)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |flag: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == flag);
        at.and_then(|at| arguments.get(at + 1)).and_then(|value| value.parse().ok()).unwrap_or(default)
    };
    let (first, count) = (number("--seed", 0), number("--seeds", 200));
    let at = arguments.iter().position(|argument| argument == "--tell");
    let told = at.and_then(|at| arguments.get(at + 1)).map_or("", String::as_str);
    let told: Vec<String> = told.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    if arguments.iter().any(|argument| argument == "--check-determinism") {
        return checked(
            (first..first + count)
                .filter(|seed| sim::digest(*seed) != sim::digest(*seed))
                .map(|seed| format!("seed {seed} does not happen twice in the same way")),
        );
    }
    if arguments.iter().any(|argument| argument == "--every-write") {
        return checked((first..first + count).flat_map(every_write));
    }
    let mut counts = sim::Counts::default();
    let mut broken = 0;
    for seed in first..first + count {
        if let Err(what) = sim::run_and_tell(seed, &mut counts, told.clone()) {
            println!("{what}\n  reproduce with: cargo run -p sim -- --seed {seed} --seeds 1");
            broken += 1;
        }
    }
    println!("{counts}");
    let missing = if count >= 200 { counts.missing() } else { Vec::new() };
    for name in &missing {
        println!("never occurred: {name}");
    }
    println!("{count} seeds, {broken} broken, {} kinds missing", missing.len());
    if broken == 0 && missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints what is wrong.
fn checked(wrong: impl Iterator<Item = String>) -> ExitCode {
    let count = wrong.inspect(|what| println!("{what}")).count();
    println!("{count} wrong");
    if count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Each writer dies at each of its writes, before it and after it.
fn every_write(seed: u64) -> Vec<String> {
    let mut wrong = Vec::new();
    for (who, crashes) in sim::WRITERS {
        for crash in *crashes {
            for nth in 0.. {
                match sim::run_with_crash(seed, who, nth, *crash) {
                    Ok(true) => {}
                    Ok(false) => {
                        println!("seed {seed}: the {who} wrote {nth} times, and died each time: {crash:?}");
                        break;
                    }
                    Err(what) => {
                        wrong.push(what);
                        break;
                    }
                }
            }
        }
    }
    wrong
}
