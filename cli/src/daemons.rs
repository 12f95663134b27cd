//! From the command line to the configurations of master, agent and services, which then run in this process.
use master::RemovalLimit;
use model::Span;

use crate::failure::{Failure, Result};
use crate::grammar::{AgentRun, Global, MasterRun};

/// Runs the master until it is asked to stop.
pub(crate) async fn master(arguments: MasterRun) -> Result<()> {
    daemon::logging::init("master");
    let mut config = master::MasterConfig::new(arguments.dir);
    if !arguments.listen.is_empty() {
        config.listen = arguments.listen;
    }
    config.advertise = arguments.advertise;
    config.catalog_dirs = arguments.catalog;
    config.services = Some(program()?);
    config.core.privileged_principals =
        arguments.privileged.iter().map(|framework| format!("framework/{framework}")).collect();
    config.core.region = arguments.region;
    if let Some(seconds) = arguments.offer_timeout {
        config.core.offer_timeout = Some(Span::seconds(seconds.into())).filter(|timeout| timeout.0 > 0);
    }
    config.core.fair_share_excluded = arguments.fair_share_exclude.into_iter().collect();
    if !arguments.min_allocatable.is_empty() {
        config.core.min_allocatable = arguments.min_allocatable;
    }
    config.core.gpu_guard = !arguments.no_gpu_guard;
    config.core.removal_limit = arguments
        .agent_removal_limit
        .map(|(agents, seconds)| RemovalLimit { agents, within: Span::seconds(seconds.into()) });
    if let Some(seconds) = arguments.registry_max_agent_age {
        config.core.registry_age_max = Span::seconds(seconds.into());
    }
    if let Some(count) = arguments.registry_max_agent_count {
        config.core.registry_count_max = usize::try_from(count).unwrap_or(usize::MAX);
    }
    master::run(config).await.map_err(|error| Failure::while_doing("run the master", &error))
}

/// Runs an agent until it is asked to stop; its pods live on.
pub(crate) async fn agent(arguments: AgentRun, global: &Global) -> Result<()> {
    daemon::logging::init("agent");
    let name = match arguments.name {
        Some(name) => name,
        None => host_name()?,
    };
    let mut resources = Vec::new();
    for (kind, amount) in [("cpus", arguments.cpus), ("mem", arguments.mem), ("disk", arguments.disk)] {
        resources.extend(amount.map(|amount| format!("{kind}:{amount}")));
    }
    resources.extend(arguments.ports.map(|ports| format!("ports:[{ports}]")));
    resources.extend(arguments.resources);
    let join = match (arguments.join_token, arguments.ca_sha256) {
        (Some(token), Some(ca_sha256)) => Some(agent::Join { token, ca_sha256 }),
        (None, _) => None,
        (Some(_), None) => {
            let next = "add --ca-sha256 HEX, it was printed with the token";
            return Err(Failure::usage("a join token alone cannot tell the pool from an impostor", next));
        }
    };
    let config = agent::AgentConfig {
        state_dir: arguments.dir,
        name,
        address: arguments.address,
        port: arguments.port,
        master: global.master.clone().unwrap_or_else(|| crate::client::MASTER.to_owned()),
        join,
        resources: resources.join(";"),
        revocable: arguments.oversubscribe,
        pressure_percent: arguments.preempt_at_pressure,
        attributes: arguments.attributes.into_iter().collect(),
        region: arguments.region,
        zone: arguments.zone,
        program: program()?,
    };
    agent::run(config).await.map_err(|error| Failure::while_doing("run the agent", &error))
}

/// Runs the services framework until it is asked to stop.
pub(crate) async fn services() -> Result<()> {
    daemon::logging::init("services");
    services::run().await.map_err(|error| Failure::while_doing("run the services framework", &error))
}

/// This very program.
pub(crate) fn program() -> Result<std::path::PathBuf> {
    std::env::current_exe().map_err(|error| Failure::while_doing("find this program's own file", &error))
}

fn host_name() -> Result<String> {
    let name = nix::unistd::gethostname().map_err(|error| Failure::while_doing("read the host name", &error))?;
    let name = name.to_string_lossy().to_lowercase();
    Ok(name.split('.').next().unwrap_or_default().to_owned())
}
