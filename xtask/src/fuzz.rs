//! `cargo xtask fuzz`: what strangers' bytes reach, tried with damage that coverage guides. libFuzzer drives the program of
//! `tests/fuzz`; what it finds interesting stays in the cache, what breaks something is written down.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::interrupt;
use crate::paths::{Cache, Workspace};
use crate::tool::{self, Tool};

/// What the compiler adds so that libFuzzer sees which ways were taken. The stable compiler knows it too.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
/// An input that takes longer hangs; `tests/fuzz` itself is stricter.
const SECONDS_PER_INPUT: u32 = 20;
const INPUT_BYTES_MAX: u32 = 64 << 10;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only this one (default: all, one after another)
    #[arg(value_name = "TARGET")]
    target: Option<String>,
    /// How long each
    #[arg(long, default_value_t = 2)]
    minutes: u64,
    /// Where chance begins: the same seed and corpus do the same
    #[arg(long, default_value_t = 1)]
    seed: u32,
    /// Run the program as it was built before
    #[arg(long)]
    as_built: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let workspace = Workspace::find()?;
    let names = targets(&workspace)?;
    let chosen: Vec<&String> = match &options.target {
        None => names.iter().collect(),
        Some(wanted) => match names.iter().find(|name| *name == wanted) {
            Some(name) => vec![name],
            None => bail!("there is no target '{wanted}'; there are: {}", names.join(", ")),
        },
    };
    let program = build(&workspace, options.as_built)?;
    let cache = Cache::open()?;
    let mut broken = Vec::new();
    for name in chosen {
        if !try_one(&program, &cache, name, options)? {
            broken.push(name.as_str());
        }
        if interrupt::requested() {
            bail!("interrupted");
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!(
        "something that must hold does not: {}. The inputs are named above: repair it, then put each below \
         tests/fuzz/regressions/<target>/",
        broken.join(", ")
    )
}

/// The targets are the files of the crate.
fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let folder = workspace.root.join("tests/fuzz/src/targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

/// A build of its own beside the others: everything is instrumented.
fn build(workspace: &Workspace, as_built: bool) -> Result<PathBuf> {
    let host = Tool::new("rustc").arg("-vV").quiet().output()?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).context("ask rustc for the host")?.to_owned();
    let target = workspace.target.join("fuzz");
    let program = target.join(&host).join("fuzz/mezzo-fuzz");
    if as_built && program.is_file() {
        return Ok(program);
    }
    if tool::find("c++").is_none() {
        bail!("libFuzzer is made of C++, and this machine has no compiler of it: apt-get install g++");
    }
    // For the target alone: what runs while it is built, macros and scripts, cannot be instrumented.
    let build = ["build", "--package", "fuzz", "--bin", "mezzo-fuzz", "--features", "coverage", "--profile", "fuzz"];
    Tool::cargo()
        .directory(&workspace.root)
        .args(build)
        .args(["--target", &host])
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_INCREMENTAL", "0")
        .env("RUSTFLAGS", format!("--cfg fuzzing {}", COVERAGE.join(" ")))
        .run()
        .context("build what libFuzzer drives")?;
    Ok(program)
}

/// Whether everything held.
fn try_one(program: &Path, cache: &Cache, name: &str, options: &Options) -> Result<bool> {
    let corpus = cache.directory(Path::new("fuzz").join(name))?;
    let found = cache.directory(Path::new("fuzz-found").join(name))?;
    eprintln!("== {name}");
    let status = Tool::new(program)
        .arg(&corpus)
        .arg(format!("-max_total_time={}", options.minutes * 60))
        .arg(format!("-seed={}", options.seed))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-timeout={SECONDS_PER_INPUT}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .args(["-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=1"])
        .env("MEZZO_FUZZ_TARGET", name)
        .env("MEZZO_FUZZ_CORPUS", &corpus)
        .status()?;
    Ok(status.success())
}
