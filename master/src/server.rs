//! A master from start to stop: the pool is opened, its epoch raised and made durable, and only then anybody is served.
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use daemon::identity::{CertificateAuthority, CertificateRequest, Identity, IdentityError};
use daemon::tls::TlsError;
use model::Principal;
use proto::mesos::v1 as mesos;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::api::{self, Context};
use crate::artifacts::Artifacts;
use crate::config::MasterConfig;
use crate::gateway::Gateway;
use crate::installs::{self, Installs};
use crate::limits;
use crate::metrics::Metrics;
use crate::pki::{self, Layout};
use crate::proxy::Proxy;
use crate::registry::{RedbRegistry, Registry, RegistryError, record};
use crate::runner::{Parts, Runner, now};
use crate::services;
use crate::table;
use crate::tokens::Tokens;
use crate::view::SharedView;

/// Why there is no master (any more).
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    /// The state directory cannot be used.
    #[error("prepare state directory {path}")]
    StateDir {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The ranges of pods and virtual addresses overlap.
    #[error("the pod range {pods} and the VIP range {vips} overlap: choose another one of them")]
    Ranges {
        /// Of pods.
        pods: String,
        /// Of virtual addresses.
        vips: String,
    },
    /// The range of virtual addresses is none.
    #[error("the VIP range '{range}' must be a network like 198.18.0.0/16, with a prefix of at most 30")]
    VipRange {
        /// As given.
        range: String,
    },
    /// The registry cannot be used.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The CA or an identity cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// TLS cannot be spoken.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A folder of packages cannot be used.
    #[error(transparent)]
    Catalog(#[from] catalog::CatalogError),
    /// An address cannot be listened on.
    #[error("listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no address at all.
    #[error("a master needs an address to listen on")]
    NoAddress,
    /// The listener was lost.
    #[error("serve on {address}")]
    Serve {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A part of the master ended by a bug.
    #[error("a part of the master ended")]
    Part(#[source] tokio::task::JoinError),
}

/// A running master.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<SocketAddr>,
    advertise: SocketAddr,
    stop: CancellationToken,
    parts: JoinSet<Result<(), MasterError>>,
}

impl Running {
    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
    /// Where others reach it.
    pub fn advertise(&self) -> SocketAddr {
        self.advertise
    }
    /// Ends it: every stream is closed, and the registry's file is free when this returns.
    ///
    /// # Errors
    /// What went wrong until then.
    pub async fn stop(mut self) -> Result<(), MasterError> {
        self.stop.cancel();
        self.join().await
    }
    /// Waits until it ends by itself, which only an error makes it do.
    async fn join(&mut self) -> Result<(), MasterError> {
        let mut first = Ok(());
        while let Some(ended) = self.parts.join_next().await {
            // One part is as good as none: the others end too.
            self.stop.cancel();
            let ended = ended.unwrap_or_else(|error| Err(MasterError::Part(error)));
            if let Err(error) = ended {
                error!(error = %daemon::error::chain(&error), "part of the master ended");
                first = first.and(Err(error));
            }
        }
        first
    }
}

/// Runs a master until SIGTERM or SIGINT.
///
/// # Errors
/// If it cannot start, or a write to the registry failed.
pub async fn run(config: MasterConfig) -> Result<(), MasterError> {
    let mut running = start(config).await?;
    let stop = running.stop.clone();
    tokio::select! {
        ended = running.join() => return ended,
        () = daemon::shutdown::signal() => info!("stopping"),
    }
    stop.cancel();
    running.join().await
}

/// Starts a master; it serves when this returns.
///
/// # Errors
/// If there is no pool, it is damaged or newer, or an address is in use.
pub async fn start(config: MasterConfig) -> Result<Running, MasterError> {
    daemon::tls::install_crypto_provider();
    let layout = Layout::new(&config.state_dir);
    if !layout.registry().exists() {
        return Err(RegistryError::NoPool { path: config.state_dir }.into());
    }
    installs::load_catalog(&config.catalog_dirs)?;
    let registry: Arc<dyn Registry> = Arc::new(RedbRegistry::open(&layout.registry())?);
    let authority = CertificateAuthority::load(&layout.authority())?;
    let mut snapshot = record::snapshot(&*registry, &config.state_dir)?;
    snapshot.pool.epoch += 1;
    registry.commit(vec![record::put_pool(&snapshot.pool)]).await?;

    let listeners = listen(&config.listen).await?;
    let addresses: Vec<SocketAddr> = listeners.iter().map(|(address, _)| *address).collect();
    let advertise = advertised(config.advertise, &addresses).ok_or(MasterError::NoAddress)?;
    let identity = identity(&config, &layout, &authority, &addresses, advertise)?;
    let tls = daemon::tls::server_config(&identity)?;

    let pool = snapshot.pool.clone();
    let view = SharedView::new();
    let metrics = Arc::new(Metrics::new());
    let parts = Parts {
        config: config.core,
        snapshot,
        master_info: master_info(&pool.master_id, advertise),
        registry: registry.clone(),
        view: view.clone(),
        metrics: metrics.clone(),
    };
    let (runner, core) = Runner::new(parts);
    let artifacts = Arc::new(Artifacts::open(&layout.artifacts(), registry.clone())?);
    let proxy = Arc::new(Proxy::new(view.clone(), identity.clone()));
    let installs = Arc::new(Installs::new(installs::Parts {
        registry: registry.clone(),
        view: view.clone(),
        core: core.clone(),
        proxy: proxy.clone(),
        artifacts: artifacts.clone(),
        identity,
        catalog_dirs: config.catalog_dirs,
    }));
    let (table, newest) = tokio::sync::watch::channel(None);
    let context = Arc::new(Context {
        pool,
        advertise,
        started: now(),
        ca_sha256: authority.sha256()?,
        authority,
        core,
        view: view.clone(),
        metrics,
        registry: registry.clone(),
        tokens: Tokens::new(registry),
        artifacts,
        proxy,
        installs: installs.clone(),
        table: newest,
    });
    info!(pool = context.pool.name, epoch = context.pool.epoch, %advertise, "master serves");

    let stop = CancellationToken::new();
    let mut parts = JoinSet::new();
    let token = stop.clone();
    parts.spawn(async move { runner.run(token).await.map_err(MasterError::from) });
    let published = table::publish(view.clone(), context.pool.clone(), context.started, table, stop.clone());
    parts.spawn(async move {
        published.await;
        Ok(())
    });
    let gateway = Arc::new(Gateway { view });
    for (address, listener) in listeners {
        let served = daemon::serve::serve(
            listener,
            tls.clone(),
            api::router(&context),
            Some(gateway.clone()),
            stop.clone().cancelled_owned(),
        );
        parts.spawn(async move { served.await.map_err(|source| MasterError::Serve { address, source }) });
    }
    let token = stop.clone();
    parts.spawn(async move {
        installs.reconcile(token).await;
        Ok(())
    });
    if let Some(program) = config.services {
        let token = stop.clone();
        parts.spawn(async move {
            services::supervise(program, layout, advertise, token).await;
            Ok(())
        });
    }
    Ok(Running { addresses, advertise, stop, parts })
}

async fn listen(addresses: &[SocketAddr]) -> Result<Vec<(SocketAddr, TcpListener)>, MasterError> {
    let mut listeners = Vec::new();
    for &address in addresses {
        let failed = |source| MasterError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        listeners.push((listener.local_addr().map_err(failed)?, listener));
    }
    if listeners.is_empty() { Err(MasterError::NoAddress) } else { Ok(listeners) }
}

/// The configured address (port 0: the first listener's), or the first one listened on; every address means loopback.
fn advertised(configured: Option<SocketAddr>, listened: &[SocketAddr]) -> Option<SocketAddr> {
    let first = listened.first()?;
    let mut address = configured.unwrap_or(*first);
    if address.port() == 0 {
        address.set_port(first.port());
    }
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::from([127, 0, 0, 1]));
    }
    Some(address)
}

/// The master's own identity and that of the services framework, made anew and saved.
fn identity(
    config: &MasterConfig,
    layout: &Layout,
    authority: &CertificateAuthority,
    listened: &[SocketAddr],
    advertise: SocketAddr,
) -> Result<Identity, MasterError> {
    let own = listened.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified());
    let addresses: Vec<IpAddr> = own.chain([advertise.ip()]).collect();
    let identity = pki::master_identity(authority, &config.names, &addresses)?;
    identity.save(&layout.identity())?;
    if config.services.is_some() {
        let request = CertificateRequest {
            principal: Principal::new(format!("framework/{}", services::NAME)),
            dns_names: vec![format!("{}.framework.mezzo", services::NAME), "localhost".to_owned()],
            addresses: vec![advertise.ip()],
            valid: limits::IDENTITY_VALID,
        };
        authority.issue(&request)?.save(&layout.services_identity())?;
    }
    Ok(identity)
}

fn master_info(id: &str, advertise: SocketAddr) -> mesos::MasterInfo {
    let ip = match advertise.ip() {
        // Mesos has the address in network byte order as it lies in memory.
        IpAddr::V4(ip) => u32::from_ne_bytes(ip.octets()),
        IpAddr::V6(_) => 0,
    };
    mesos::MasterInfo {
        id: id.to_owned(),
        ip,
        port: advertise.port().into(),
        hostname: Some(advertise.ip().to_string()),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        address: Some(mesos::Address {
            hostname: None,
            ip: Some(advertise.ip().to_string()),
            port: advertise.port().into(),
        }),
    }
}
