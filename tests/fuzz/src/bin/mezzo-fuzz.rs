//! What libFuzzer drives: one program for all targets, chosen by `MEZZO_FUZZ_TARGET`. `cargo xtask fuzz` builds and starts it.
#![no_main]
#![allow(unsafe_code)] // libFuzzer calls by names of C

use std::path::Path;
use std::sync::LazyLock;

use fuzz::mutate::{LENGTH_MAX, Mutator};
use fuzz::targets::{TARGETS, Target};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("MEZZO_FUZZ_TARGET").unwrap_or_default();
    let found = Target::find(&name);
    let target = found.unwrap_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        panic!("MEZZO_FUZZ_TARGET is '{name}', and must be one of {}", names.join(", "))
    });
    // Good inputs, where there are none yet.
    if let Some(corpus) = std::env::var_os("MEZZO_FUZZ_CORPUS") {
        for (number, input) in (target.seeds)().into_iter().enumerate() {
            std::fs::write(Path::new(&corpus).join(format!("seed-{number:03}")), input).expect("write the corpus");
        }
    }
    target
});

fuzz_target!(
    init: {
        LazyLock::force(&TARGET);
        fuzz::prepare();
    },
    |data: &[u8]| TARGET.execute(data)
);

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    // Half by what inputs look like, half by what libFuzzer learned from comparisons.
    if seed % 2 == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let mut input = data[..size].to_vec();
    Mutator::new(seed.into()).mutate(TARGET.shape, &mut input, &[]);
    let length = input.len().min(max_size).min(LENGTH_MAX);
    data[..length].copy_from_slice(&input[..length]);
    length
});
