//! `mezzo-kubernetes`: one program for the scheduler of a cluster and for what runs in its containers.
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use daemon::error::chain;
use kubernetes_core::Network;

/// The programs of a Kubernetes cluster on mezzo.
#[derive(Debug, Parser)]
#[command(name = "mezzo-kubernetes", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// First process of a node's container: keeps kubelet and containerd running
    NodeInit,
    /// Take the traces of a node out of this network namespace
    NodeCleanup {
        /// Networks whose tracked connections are dropped
        #[arg(long = "network")]
        networks: Vec<Network>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    daemon::logging::init("mezzo-kubernetes");
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %chain(error.as_ref()), "mezzo-kubernetes failed");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Box<dyn std::error::Error>> {
    match command {
        Command::NodeInit => k8s_framework::node_init::run()?,
        Command::NodeCleanup { networks } => {
            k8s_framework::node_cleanup::run_all(&k8s_framework::node_cleanup::Scope { networks })?;
        }
    }
    Ok(())
}
