//! `mezzo-kubernetes`: one program for the scheduler of a cluster and for what runs in its containers.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use daemon::error::chain;

/// The programs of a Kubernetes cluster on mezzo.
#[derive(Debug, Parser)]
#[command(name = "mezzo-kubernetes", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The scheduler of a cluster, started by the services framework
    Scheduler,
    /// Put the bootstrap manifests into the cluster, then end
    AddOns {
        /// Kubeconfig of a user who may
        #[arg(long)]
        kubeconfig: PathBuf,
    },
    /// The DNS server of a cluster, on each of its nodes
    Dns {
        /// Kubeconfig of a user who may watch services and endpoints
        #[arg(long)]
        kubeconfig: PathBuf,
        /// Address and port, for UDP and TCP
        #[arg(long)]
        listen: SocketAddr,
        /// The cluster's domain
        #[arg(long, default_value = "cluster.local")]
        domain: String,
    },
    /// First process of a node's container: keeps kubelet and containerd running
    NodeInit,
    /// Take image archives for a node, beside its kubelet
    Images {
        /// Address and port
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Take the traces of a node out of this network namespace; run by its agent after it
    NodeCleanup,
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
        Command::Scheduler => runtime()?.block_on(k8s_framework::scheduler::run())?,
        Command::AddOns { kubeconfig } => runtime()?.block_on(k8s_framework::add_ons::run(&kubeconfig))?,
        Command::Dns { kubeconfig, listen, domain } => {
            runtime()?.block_on(k8s_framework::dns::run(k8s_framework::dns::DnsConfig {
                kubeconfig,
                listen,
                domain,
            }))?;
        }
        Command::Images { listen } => runtime()?.block_on(k8s_framework::image_service::run(listen))?,
        Command::NodeInit => k8s_framework::node_init::run()?,
        Command::NodeCleanup => {
            k8s_framework::node_cleanup::run_all(&k8s_framework::node_cleanup::Scope::of_this_node()?)?;
        }
    }
    Ok(())
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    daemon::tls::install_crypto_provider();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}
