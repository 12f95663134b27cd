//! The scheduler of a cluster: a framework whose target is the topology, whose renderer makes certificates and flags,
//! whose probes ask the components themselves.
mod act;
mod api;
mod keeper;
mod probe;
mod render;
mod routes;
mod secrets;

use std::sync::Arc;

use framework_sdk::spec::ServiceSpec;
use framework_sdk::view::{Placement, ServiceView};
use framework_sdk::{ActionRequest, Config, Framework, Handle, PodInstance, ProbeRequest, Progress, RenderedPod, Sdk};
use kubernetes_core::Options;
use kubernetes_core::drain::DrainFlags;
use kubernetes_core::scale::NodeSet;
use model::{Refusal, RoleName};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use secrets::Secrets;

/// State entry with [`Nodes`].
const NODES: &str = "nodes";

/// Runs the scheduler until SIGTERM.
///
/// # Errors
/// If it cannot start.
pub async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let sdk = Sdk::new(Config::from_environment()?)?;
    let config = sdk.config();
    let options = Options::from_json(&config.options.to_string())?;
    let shared = Arc::new(Shared {
        name: config.framework_name.clone(),
        master: config.master.clone(),
        role: sdk.role().clone(),
        handle: sdk.handle(),
        options,
        secrets: OnceCell::new(),
    });
    let keeper = tokio::spawn(keeper::run(shared.clone()));
    let result = sdk.run(Cluster { shared }, daemon::shutdown::signal()).await;
    keeper.abort();
    Ok(result?)
}

/// The framework.
#[derive(Debug, Clone)]
struct Cluster {
    shared: Arc<Shared>,
}

/// What every part of the scheduler knows.
#[derive(Debug)]
struct Shared {
    name: String,
    /// Where users reach the gateway.
    master: String,
    role: RoleName,
    handle: Handle,
    options: Options,
    secrets: OnceCell<Secrets>,
}

/// How many nodes there are to be, as decided last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Nodes {
    /// Which.
    set: NodeSet,
    /// The option's value then: if it is another now, the user changed the option and that counts.
    option: u32,
    /// How the nodes that leave are drained.
    #[serde(default)]
    drain: DrainFlags,
    /// When they began to leave (seconds since the epoch).
    #[serde(default)]
    since: u64,
}

impl Shared {
    async fn secrets(&self) -> Result<&Secrets, Refusal> {
        let days = self.options.certificate_days;
        self.secrets.get_or_try_init(|| Secrets::load_or_make(self.handle.state(), days)).await
    }

    fn nodes(&self) -> Nodes {
        let stored: Option<Nodes> =
            self.handle.state().get(NODES).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let option = self.options.node_count;
        match stored {
            Some(nodes) if nodes.option == option => nodes,
            // The option was changed: keep who is there, and grow or shrink from the end.
            Some(nodes) => {
                let set = kubernetes_core::scale::scale(&nodes.set, &[], option, &[])
                    .unwrap_or(NodeSet { count: option, without: Default::default() });
                Nodes { set, option, ..nodes }
            }
            None => Nodes {
                set: NodeSet { count: option, without: Default::default() },
                option,
                drain: DrainFlags::default(),
                since: 0,
            },
        }
    }

    async fn store_nodes(&self, nodes: &Nodes) -> Result<(), Refusal> {
        let failed = |error: String| Refusal::new("K8S0008", format!("the nodes are not stored: {error}"), "try again");
        let bytes = serde_json::to_vec(nodes).map_err(|error| failed(error.to_string()))?;
        self.handle.state().put(NODES, bytes).await.map_err(|error| failed(daemon::error::chain(&error)))
    }

    fn service(&self, nodes: &NodeSet) -> ServiceSpec {
        crate::topology::service(&self.name, &self.role, &self.options, nodes)
    }
}

impl Framework for Cluster {
    async fn target(&self, _current: Option<&ServiceSpec>) -> Result<ServiceSpec, Refusal> {
        // Everything rendered later needs them; a cluster without keys must not begin.
        self.shared.secrets().await?;
        let nodes = self.shared.nodes();
        self.shared.store_nodes(&nodes).await?;
        Ok(self.shared.service(&nodes.set))
    }

    async fn render(
        &self,
        instance: &PodInstance,
        placement: &Placement,
        view: &ServiceView,
    ) -> Result<RenderedPod, Refusal> {
        let secrets = self.shared.secrets().await?;
        render::Context { cluster: &self.shared.name, options: &self.shared.options, secrets, view }
            .render(instance, placement)
    }

    async fn probe(&self, request: &ProbeRequest, view: &ServiceView) -> Progress {
        probe::probe(&self.shared, request, view).await
    }

    async fn act(&self, request: &ActionRequest, view: &ServiceView) -> Progress {
        act::act(&self.shared, request, view).await
    }

    fn routes(&self) -> axum::Router {
        routes::routes(self.shared.clone())
    }
}

/// Seconds since the epoch.
fn now_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |span| span.as_secs())
}
