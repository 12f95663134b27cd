//! The `mezzo` program: everything a person types, and every daemon but a package's scheduler.
//!
//! `grammar.rs` says what can be typed, `commands/` does it against a pool, `local/` makes a pool on this machine, and
//! `daemons.rs` runs master, agent and services. Data goes to stdout, everything else to stderr.
#![allow(clippy::large_enum_variant)] // the grammar is built once

mod client;
mod commands;
mod daemons;
mod failure;
#[doc(hidden)]
pub mod fuzzing;
mod grammar;
mod limits;
mod local;
mod output;
mod quantity;
mod steps;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use failure::{Failure, Result};
use grammar::{Arguments, Noun};

/// What the program does.
pub fn main() -> ExitCode {
    // Both need a process of one thread, and start often: before anything else.
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_deref().and_then(|noun| noun.to_str()) {
        Some("executor") => return executor::main_executor(arguments.collect::<Vec<OsString>>()),
        Some("container") => return executor::main_container(arguments.collect::<Vec<OsString>>()),
        _ => {}
    }
    let arguments = Arguments::parse();
    // It becomes another program; a second thread could not follow into the namespaces.
    let result =
        if let Noun::Enclose(enclose) = &arguments.noun { local::enclose::enter(enclose) } else { start(arguments) };
    match result {
        Ok(code) => code,
        Err(failure) => {
            output::note(&failure.to_string());
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn start(arguments: Arguments) -> Result<ExitCode> {
    daemon::tls::install_crypto_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::while_doing("start threads", &error))?;
    let result = runtime.block_on(Box::pin(run(arguments)));
    // A read of a terminal that nobody answers must not keep the process.
    runtime.shutdown_background();
    result
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    let global = arguments.global;
    match arguments.noun {
        Noun::Up(up) => local::up::run(&up, &global).await?,
        Noun::Down(down) => local::down::run(&down, &global).await?,
        Noun::Master(verb) => commands::master::run(verb, &global).await?,
        Noun::Agent(verb) => commands::agent::run(verb, &global).await?,
        Noun::Event(verb) => commands::event::run(verb, &global).await?,
        Noun::Maintenance(verb) => commands::maintenance::run(verb, &global).await?,
        Noun::Catalog(verb) => commands::catalog::run(verb, &global).await?,
        Noun::Framework(verb) => commands::list::framework(verb, &global).await?,
        Noun::Service(verb) => commands::list::service(verb, &global).await?,
        Noun::Role(verb) => commands::role::run(verb, &global).await?,
        Noun::Task(verb) => return commands::task::run(verb, &global).await,
        Noun::Plan(verb) => commands::plan::run(verb, &global).await?,
        Noun::Reservation(verb) => commands::reservation::reservation(verb, &global).await?,
        Noun::Volume(verb) => commands::reservation::volume(verb, &global).await?,
        Noun::Vip(verb) => commands::vip::run(verb, &global).await?,
        Noun::Kubernetes(verb) => commands::kubernetes::run(verb, &global).await?,
        Noun::Image(grammar::Image::Push { source, reference }) => {
            commands::image::push(&global, &source, &reference).await?;
        }
        Noun::Artifact(grammar::Artifact::Push { name, file }) => {
            commands::artifact::push(&global, &name, &file).await?;
        }
        Noun::Completions { shell } => completions(shell)?,
        Noun::Man { directory } => {
            clap_mangen::generate_to(Arguments::command(), &directory).map_err(|error| {
                Failure::while_doing(format!("write manual pages to {}", directory.display()), &error)
            })?;
        }
        Noun::Services(grammar::Services::Run) => daemons::services().await?,
        Noun::Executor { .. } | Noun::Container { .. } | Noun::Enclose(_) => {
            return Err(Failure::usage("this is called by mezzo itself", ""));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn completions(shell: clap_complete::Shell) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "mezzo", &mut text);
    output::out(&String::from_utf8_lossy(&text))
}
