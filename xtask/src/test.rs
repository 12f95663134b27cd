//! `cargo xtask test`: every check the project has, in the order in which they fail fastest. Continuous integration runs exactly this.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::images;
use crate::interrupt;
use crate::paths::{Cache, Workspace};
use crate::setup;
use crate::tool::{self, Tool};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave out the tests that start real processes, which need root and several minutes
    #[arg(long)]
    quick: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut report = Report { lines: Vec::new() };
    report.time("set-up", setup::run)?;
    let workspace = Workspace::find()?;
    let cache = Cache::open()?;
    let cargo = || Tool::cargo().directory(&workspace.root);
    report.time("format", || cargo().args(["fmt", "--all", "--check"]).run())?;
    report.time("build", || cargo().args(["build", "--workspace", "--all-targets"]).run())?;
    workspace.take_as_built();
    report
        .time("lints", || cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]).run())?;
    if !options.quick {
        report.time("images", || images::build(&workspace, &cache, &[]).map(drop))?;
    }
    let left_out: &[&str] = if options.quick { &["--exclude", "e2e"] } else { &[] };
    match nextest(&cache)? {
        Some(program) => report.time("tests", || {
            Tool::new(&program).directory(&workspace.root).args(["nextest", "run", "--workspace"]).args(left_out).run()
        })?,
        None => report.time("tests", || {
            cargo().args(["test", "--workspace", "--lib", "--bins", "--tests"]).args(left_out).run()
        })?,
    }
    report.time("deliberate mistakes", || {
        let features = ["test", "--package", "sim", "--features", "mutations", "--test", "mutations"];
        cargo().args(features).run()
    })?;
    report.time("documentation tests", || cargo().args(["test", "--workspace", "--doc"]).run())?;
    report.print();
    Ok(())
}

/// Where cargo-nextest is. A machine without it gets one in the cache; if that fails, cargo's own runner does.
fn nextest(cache: &Cache) -> Result<Option<PathBuf>> {
    if let Some(program) = tool::find("cargo-nextest") {
        return Ok(Some(program));
    }
    let tools = cache.directory("tools")?;
    let program = tools.join("bin/cargo-nextest");
    if program.is_file() {
        return Ok(Some(program));
    }
    let installed = Tool::cargo().args(["install", "--locked", "--quiet", "cargo-nextest", "--root"]).arg(&tools).run();
    match installed {
        Ok(()) => Ok(Some(program)),
        Err(error) if interrupt::requested() => Err(error),
        Err(error) => {
            eprintln!("cargo-nextest could not be installed ({error:#}): the tests run with cargo test");
            Ok(None)
        }
    }
}

/// What ran and how long it took; printed when everything passed.
struct Report {
    lines: Vec<(&'static str, Duration)>,
}

impl Report {
    fn time(&mut self, name: &'static str, check: impl FnOnce() -> Result<()>) -> Result<()> {
        eprintln!("== {name}");
        let started = Instant::now();
        check()?;
        self.lines.push((name, started.elapsed()));
        Ok(())
    }

    fn print(&self) {
        eprintln!("\nEvery check passed:");
        for (name, took) in &self.lines {
            eprintln!("  {name:<20} {:>5} s", took.as_secs());
        }
        let total: Duration = self.lines.iter().map(|(_, took)| *took).sum();
        eprintln!("  {:<20} {:>5} s", "together", total.as_secs());
    }
}
