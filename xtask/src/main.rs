//! `cargo xtask`: what a first user and a developer type. It only orders other programs about; what the project does
//! is decided elsewhere. Progress goes to stderr, results that may be piped go to stdout.

mod apt;
mod bench;
mod chaos;
mod demo;
mod fuzz;
mod images;
mod interrupt;
mod mezzo;
mod paths;
mod setup;
mod test;
mod tool;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Set up, demonstrate and test mezzo on this machine")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install the Debian packages that building, testing and running need (only the missing ones)
    Setup,
    /// Build the container images as OCI layouts in the cache and print where they are
    Images {
        /// Only these images (default: all)
        #[arg(value_name = "IMAGE")]
        only: Vec<String>,
        /// Do not look for missing Debian packages first
        #[arg(long)]
        skip_setup: bool,
        /// Take our own programs from the target directory as they are there
        #[arg(long)]
        as_built: bool,
    },
    /// Bring up a local pool and install a cluster of two nodes from the catalog
    Demo(demo::Options),
    /// Everything the project checks: format, lints, unit, simulated and real-process tests
    Test(test::Options),
    /// Break a pool under load for some minutes, mend it, and account for every task
    Chaos(chaos::Options),
    /// Try to break whatever reads other people's bytes, guided by coverage
    Fuzz(fuzz::Options),
    /// Measure how long a cluster takes to be installed, and to grow, on a pool of its own
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = interrupt::watch().context("watch for Ctrl-C").and_then(|()| run(arguments.command));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if interrupt::requested() => {
            eprintln!("interrupted");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Setup => setup::run(),
        Command::Images { only, skip_setup, as_built } => {
            if !skip_setup {
                setup::run()?;
            }
            let workspace = paths::Workspace::find()?;
            if as_built {
                workspace.take_as_built();
            }
            let cache = paths::Cache::open()?;
            let built = images::build(&workspace, &cache, &only)?;
            images::print(&built)
        }
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Chaos(options) => chaos::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Bench(options) => bench::run(&options),
    }
}
