//! The scheduler of a cluster: a framework whose target is the topology, whose renderer makes certificates and flags,
//! whose probes ask the components themselves.
mod act;
mod api;
mod backup;
mod certificates;
mod etcd;
mod images;
mod keeper;
mod lost;
mod members;
mod moved;
mod probe;
mod render;
mod restore;
mod routes;
mod secrets;

use std::net::Ipv4Addr;
use std::sync::Arc;

use daemon::client::HttpClient;
use daemon::identity::Identity;
use framework_sdk::spec::{InstanceName, ServiceSpec};
use framework_sdk::view::{Placement, ServiceView};
use framework_sdk::{ActionRequest, Config, Framework, Handle, PodInstance, ProbeRequest, Progress, RenderedPod, Sdk};
use kubernetes_core::Options;
use kubernetes_core::drain::DrainFlags;
use kubernetes_core::scale::NodeSet;
use model::{Refusal, RoleName};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OnceCell, RwLock};

use crate::topology::{APISERVER, ETCD, NODE, VIP};
use secrets::Secrets;

/// Name under which masters are verified.
const MASTER_NAME: &str = "master.mezzo";
/// State entry with [`Nodes`].
const NODES: &str = "nodes";

/// Runs the scheduler until SIGTERM.
///
/// # Errors
/// If it cannot start.
pub async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let sdk = Sdk::new(Config::from_environment()?)?;
    let config = sdk.config();
    let options = Options::from_json(&config.settings())?;
    let shared = Arc::new(Shared {
        name: config.framework_name.clone(),
        master: config.master.clone(),
        role: sdk.role().clone(),
        handle: sdk.handle(),
        known: std::sync::Mutex::new((config.settings().into(), Arc::new(options))),
        pool: HttpClient::new(&config.master, MASTER_NAME, &Identity::load(&config.identity_dir)?)?,
        secrets: RwLock::new(None),
        vip: OnceCell::new(),
        membership: Mutex::default(),
        api: api::Known::default(),
        images: Arc::default(),
        backing_up: Mutex::default(),
        certificates: certificates::Work::default(),
    });
    let keeper = tokio::spawn(keeper::run(shared.clone()));
    let members = tokio::spawn(members::run(shared.clone()));
    let images = tokio::spawn(images::run(shared.clone()));
    let backups = tokio::spawn(backup::run(shared.clone()));
    let certificates = tokio::spawn(certificates::run(shared.clone()));
    let result = sdk.run(Cluster { shared }, daemon::shutdown::signal()).await;
    keeper.abort();
    members.abort();
    images.abort();
    backups.abort();
    certificates.abort();
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
    /// The options in effect, as text and read; see [`Shared::options`].
    known: std::sync::Mutex<(Arc<str>, Arc<Options>)>,
    /// The master's HTTP side: the pool's store.
    pool: HttpClient,
    /// How far nodes are with the images they are to have.
    images: Arc<images::Progress>,
    /// What is done about certificates.
    certificates: certificates::Work,
    /// One backup at a time goes to the master.
    backing_up: Mutex<()>,
    /// `None` until they are read or made.
    secrets: RwLock<Option<Arc<Secrets>>>,
    vip: OnceCell<Ipv4Addr>,
    /// Held while etcd's membership is looked at and changed: one change at a time.
    membership: Mutex<()>,
    /// The kube-apiserver that answered last.
    api: api::Known,
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
    /// The options that count now: those given, or, if an update to them was undone, those of the cluster as it is.
    fn options(&self) -> Arc<Options> {
        self.current().1
    }

    /// The same with the text they were read from.
    fn current(&self) -> (Arc<str>, Arc<Options>) {
        let settings = self.handle.settings();
        let mut known = self.known.lock().expect("nobody panics with the lock");
        if known.0 != settings {
            match Options::from_json(&settings) {
                Ok(options) => *known = (settings, Arc::new(options)),
                // They were read once, by a scheduler that knew them.
                Err(refusal) => tracing::error!(why = refusal.message, "the options in effect cannot be read"),
            }
        }
        known.clone()
    }

    async fn secrets(&self) -> Result<Arc<Secrets>, Refusal> {
        if let Some(secrets) = &*self.secrets.read().await {
            return Ok(secrets.clone());
        }
        let mut known = self.secrets.write().await;
        if let Some(secrets) = &*known {
            return Ok(secrets.clone());
        }
        if self.handle.published().borrow().framework_id.is_none() {
            // What is stored is known only when the master was reached.
            return Err(Refusal::new("K8S0007", "the master was not reached yet", "it is tried again"));
        }
        if let Some(refusal) = restore::waiting(self) {
            return Err(refusal);
        }
        let seconds = self.options().certificate_seconds();
        let secrets = Arc::new(Secrets::load_or_make(self.handle.state(), seconds).await?);
        *known = Some(secrets.clone());
        Ok(secrets)
    }

    /// The address at which everything in the pool finds the API.
    async fn vip(&self) -> Result<Ipv4Addr, Refusal> {
        self.vip.get_or_try_init(|| self.handle.vip(VIP)).await.copied()
    }

    fn nodes(&self) -> Nodes {
        self.nodes_with(self.options().node_count)
    }

    /// The nodes there are to be if the option says so.
    fn nodes_with(&self, option: u32) -> Nodes {
        let stored: Option<Nodes> =
            self.handle.state().get(NODES).and_then(|bytes| serde_json::from_slice(&bytes).ok());
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
        let (settings, options) = self.current();
        let service = crate::topology::service(&self.name, &self.role, &options, nodes);
        ServiceSpec { settings: Some(settings.to_string()), ..service }
    }
}

impl Framework for Cluster {
    async fn target(&self, current: Option<&ServiceSpec>) -> Result<ServiceSpec, Refusal> {
        let members = current.and_then(|current| current.pod(ETCD)).map_or(0, |pod| pod.count);
        if members > self.shared.options().control_plane_count() {
            let next = "set high_availability to true again; or back up, and restore under another name";
            let words = format!("the control plane has {members} of everything and stays so");
            return Err(Refusal::new("K8S0014", words, next).at("high_availability"));
        }
        // Everything rendered later needs them; a cluster without keys must not begin.
        self.shared.secrets().await?;
        let nodes = self.shared.nodes();
        self.shared.store_nodes(&nodes).await?;
        let target = self.shared.service(&nodes.set);
        if current.is_some_and(|current| current.pods != target.pods) {
            backup::try_snapshot_before(&self.shared, &self.shared.handle.view(), "update").await;
        }
        Ok(target)
    }

    async fn preview(&self, options: &serde_json::Value) -> Result<Option<ServiceSpec>, Refusal> {
        let options = Options::from_json(&options.to_string())?;
        let nodes = self.shared.nodes_with(options.node_count);
        Ok(Some(crate::topology::service(&self.shared.name, &self.shared.role, &options, &nodes.set)))
    }

    async fn render(
        &self,
        instance: &PodInstance,
        placement: &Placement,
        view: &ServiceView,
    ) -> Result<RenderedPod, Refusal> {
        let secrets = self.shared.secrets().await?;
        let vip = self.shared.vip().await?;
        let member = match instance.name.pod.as_str() {
            ETCD => Some(members::join(&self.shared, instance, placement).await?),
            APISERVER => {
                members::remember_servers(&self.shared, &instance.name, &members::servers(view)).await?;
                None
            }
            NODE => {
                moved::make_room(&self.shared, &instance.name.to_string(), placement, view).await?;
                None
            }
            _ => None,
        };
        let mut pod = render::Context {
            cluster: &self.shared.name,
            options: &crate::topology::options_of(&self.shared.options(), &instance.pod),
            secrets: &secrets,
            view,
            vip,
            member: member.as_ref(),
        }
        .render(instance, placement)?;
        images::require(&self.shared, &mut pod);
        restore::prepare(&self.shared, instance, &mut pod);
        certificates::note(&self.shared, instance, &pod).await?;
        Ok(pod)
    }

    async fn probe(&self, request: &ProbeRequest, view: &ServiceView) -> Progress {
        probe::probe(&self.shared, request, view).await
    }

    async fn act(&self, request: &ActionRequest, view: &ServiceView) -> Progress {
        act::act(&self.shared, request, view).await
    }

    async fn may_restart(&self, instance: &InstanceName, replace: bool, view: &ServiceView) -> Result<(), Refusal> {
        if instance.pod == ETCD { members::may_restart(&self.shared, instance, replace, view).await } else { Ok(()) }
    }

    fn routes(&self) -> axum::Router {
        routes::routes(self.shared.clone())
    }
}

/// Seconds since the epoch.
fn now_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |span| span.as_secs())
}
