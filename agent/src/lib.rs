//! The agent's shell: checkpoints, the link to the master, images, sandboxes, secrets, volumes, executors, routes, and
//! what operators ask. What should happen is decided in `agent-core`.
//!
//! Reading order: [`run`] wires everything; `node` is the loop; `pods` and below make containers; `images` and `container`
//! are what they are made of; `operator` serves logs and sessions.

mod checkpoint;
pub mod config;
mod container;
pub mod error;
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod images;
mod join;
mod limits;
mod link;
mod metrics;
mod node;
mod operator;
mod oversubscription;
mod pods;
mod preflight;
mod routes;
mod vip;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use agent_core::Agent;
use axum::routing::get;
use daemon::client::HttpClient;
use proto::mezzo::v1::agent_operator_server::AgentOperatorServer;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use config::{AgentConfig, ConfigError, Join};
pub use error::AgentError;
pub use preflight::preflight;

use crate::checkpoint::Store;
use crate::images::{ImageStore, Registries};
use crate::metrics::Metrics;
use crate::node::Node;
use crate::pods::{ArtifactStore, Context, Places};

/// Runs an agent until SIGTERM or SIGINT. Tasks go on: the next agent with the same state directory takes them over.
///
/// # Errors
/// It cannot start, or its disk fails.
pub async fn run(config: AgentConfig) -> Result<(), AgentError> {
    run_until(config, daemon::shutdown::signal()).await
}

/// Runs an agent until a future completes.
///
/// # Errors
/// As [`run`].
pub async fn run_until(config: AgentConfig, stop: impl Future<Output = ()>) -> Result<(), AgentError> {
    daemon::tls::install_crypto_provider();
    let master = config.check()?;
    for dir in ["", "meta", "pods", "volumes"] {
        make(&config.state_dir.join(dir))?;
    }
    let _lock = lock(&config.state_dir)?;
    let identity = join::identity(&config, &config.state_dir.join("identity")).await?;
    let own = config.address_or_detected(master)?;
    let address = own.to_string();
    let store = Store::open(&config.state_dir.join("meta"))?;
    let checkpoint = store.load()?;
    let resources = config::resources(&config.resources, &config.state_dir, checkpoint.agent.configured.as_ref())?;
    let revocable = config::revocable(&config.revocable)?;
    let disks: Vec<model::Disk> = resources.firm().disks.into_keys().collect();
    config::check_disks(&disks)?;
    let pod_subnet = checkpoint.agent.pod_subnet.clone();
    info!(name = config.name, address, %resources, pods = checkpoint.pods.len(), "agent starts");

    let core_config = agent_core::AgentConfig {
        name: config.name.clone(),
        address: address.clone(),
        port: config.port,
        resources,
        attributes: config.attributes.clone(),
        region: config.region.clone(),
        zone: config.zone.clone(),
        boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned(),
        software: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let core = Agent::new(core_config, checkpoint, rand::random(), node::now()).map_err(AgentError::Refused)?;

    let http = || HttpClient::new(&config.master, join::MASTER_NAME, &identity);
    let channel = daemon::client::channel(&config.master, join::MASTER_NAME, &identity)?;
    let images_dir = config.state_dir.join("images");
    let broken = |path: &Path| {
        let path = path.to_owned();
        move |source| AgentError::Directory { path, source }
    };
    let images = ImageStore::open(&images_dir, Registries::new(http()?))
        .map_err(std::io::Error::other)
        .map_err(broken(&images_dir))?;
    let artifacts_dir = config.state_dir.join("artifacts");
    let artifacts = ArtifactStore::open(&artifacts_dir, http()?).map_err(broken(&artifacts_dir))?;
    let (sender, events) = mpsc::channel(limits::INBOX_MAX);
    let oversubscribing = oversubscription::start(revocable, config.pressure_percent, sender.clone());
    let context = Arc::new(Context {
        name: config.name.clone(),
        address: address.clone(),
        state_dir: config.state_dir.clone(),
        places: Places { state_dir: config.state_dir.clone(), agent: config.name.clone(), disks },
        program: config.program.clone(),
        images,
        artifacts,
        master: channel.clone(),
        pod_subnet: Mutex::new(pod_subnet),
        events: sender,
    });

    let metrics = Arc::new(Metrics::new());
    let listener = tokio::net::TcpListener::bind(("0.0.0.0", config.port))
        .await
        .map_err(|source| AgentError::Listen { port: config.port, source })?;
    let stopping = CancellationToken::new();
    let gateway = gateway::Gateway::open(&config.state_dir.join("gateway.json"));
    let tables = gateway.tables();
    let following = tokio::spawn(gateway.clone().follow(http()?));
    let server = tokio::spawn(daemon::serve::serve(
        listener,
        daemon::tls::server_config(&identity)?,
        router(context.clone(), metrics.clone()),
        Some(gateway),
        stopping.clone().cancelled_owned(),
    ));
    let vips = vip::Vips::start(config.name.clone(), own, tables);
    let routes = routes::Routes::start(address);
    let node = Node { core, context, store: Arc::new(store), channel, routes, vips, metrics };
    let result = Box::pin(node.run(events, stop)).await;
    stopping.cancel();
    following.abort();
    oversubscribing.inspect(tokio::task::JoinHandle::abort);
    if let Ok(Err(error)) = server.await {
        warn!(%error, "server did not end well");
    }
    info!("agent ends, its tasks go on");
    result
}

fn router(context: Arc<Context>, metrics: Arc<Metrics>) -> axum::Router {
    let service = AgentOperatorServer::new(operator::Operators { context });
    let health = metrics.clone();
    daemon::serve::grpc(tonic::service::Routes::new(service))
        .route("/metrics", get(move || std::future::ready(metrics.text())))
        .route(
            "/v1/health",
            get(move || {
                let registered = health.is_registered();
                let code = if registered { http::StatusCode::OK } else { http::StatusCode::SERVICE_UNAVAILABLE };
                std::future::ready((code, if registered { "registered\n" } else { "not registered with the master\n" }))
            }),
        )
}

/// One agent per state directory. The lock goes with the process, however it ends.
fn lock(state_dir: &Path) -> Result<fs::File, AgentError> {
    let path = state_dir.join("lock");
    let file = fs::File::create(&path).map_err(|source| AgentError::Directory { path, source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => Err(AgentError::InUse { path: state_dir.to_owned() }),
    }
}

fn make(path: &Path) -> Result<(), AgentError> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o711)))
        .map_err(|source| AgentError::Directory { path: path.to_owned(), source })
}
