//! Runs a framework: binds the HTTP API, keeps a session with the master, and begins anew whenever one ends.
use std::collections::BTreeMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, RwLock};

use daemon::client::HttpClient;
use daemon::identity::{Identity, IdentityError};
use daemon::tls::TlsError;
use model::{RoleName, Span};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::config::Config;
use crate::engine::{Engine, SessionEnd};
use crate::framework::Framework;
use crate::handle::{Handle, Published, Request};
use crate::limits;
use crate::state::StateStore;

/// Name under which masters are verified.
const MASTER_NAME: &str = "master.mezzo";

/// Why a scheduler cannot run (any more).
#[derive(Debug, thiserror::Error)]
pub enum SdkError {
    /// The identity cannot be used.
    #[error("load identity")]
    Identity(#[from] IdentityError),
    /// TLS cannot be set up.
    #[error("set up TLS")]
    Tls(#[from] TlsError),
    /// The framework's name cannot be its role.
    #[error("the framework name '{name}' cannot be a role")]
    Role {
        /// The name.
        name: String,
        /// Why.
        #[source]
        source: model::role::InvalidRole,
    },
    /// The HTTP API's port is taken.
    #[error("bind the HTTP API to {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A scheduler about to run.
#[derive(Debug)]
pub struct Sdk {
    config: Config,
    identity: Identity,
    role: RoleName,
    handle: Handle,
    requests: mpsc::Receiver<Request>,
    published: watch::Sender<Arc<Published>>,
}

impl Sdk {
    /// Reads the identity; contacts nobody yet. The framework's role is its name.
    ///
    /// # Errors
    /// If the identity or the name cannot be used.
    pub fn new(config: Config) -> Result<Self, SdkError> {
        daemon::tls::install_crypto_provider();
        let identity = Identity::load(&config.identity_dir)?;
        let name = config.framework_name.clone();
        let role = RoleName::new(&name).map_err(|source| SdkError::Role { name, source })?;
        let (sender, requests) = mpsc::channel(limits::REQUESTS_MAX);
        let (published, watched) = watch::channel(Arc::new(Published::default()));
        let state = StateStore { entries: Arc::new(RwLock::new(BTreeMap::new())), requests: sender.clone() };
        let master = HttpClient::new(&config.master, MASTER_NAME, &identity)?;
        let framework = config.framework_name.as_str().into();
        let given = config.settings().into();
        let handle = Handle { requests: sender, published: watched, state, master, framework, given };
        Ok(Self { config, identity, role, handle, requests, published })
    }

    /// To speak with the scheduler, before and while it runs.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The role in which offers are taken; the target's role must be this.
    pub fn role(&self) -> &RoleName {
        &self.role
    }

    /// What it was configured with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Runs until `shutdown`. Tasks go on without their scheduler; another one takes over.
    ///
    /// # Errors
    /// If it cannot start. A master that is away is waited for.
    pub async fn run(
        self,
        framework: impl Framework,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), SdkError> {
        let framework = Arc::new(framework);
        // Readiness checks come from beside the task, to the loopback address; who may do what is decided per request.
        let address = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), self.config.api_port);
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            let port = listener.local_addr()?.port();
            Ok((listener, SocketAddr::new(self.config.address, port)))
        };
        let (listener, address) = bound.await.map_err(|source| SdkError::Bind { address, source })?;
        let principal = self.identity.principal()?;
        let tls = daemon::tls::server_config(&self.identity)?;
        let channel = daemon::client::channel(&self.config.master, MASTER_NAME, &self.identity)?;
        let (stop, mut stopped) = watch::channel(false);
        let router = crate::http::router(
            self.handle.clone(),
            crate::http::guard(framework.clone(), self.handle.clone()),
            crate::http::preview(framework.clone()),
            framework.routes(),
        );
        let mut api_stopped = stopped.clone();
        let api = tokio::spawn(async move {
            let shutdown = async move {
                // Err: the scheduler is gone, which is the same.
                let _ = api_stopped.wait_for(|is_stopped| *is_stopped).await;
            };
            if let Err(error) = daemon::serve::serve(listener, tls, router, None, shutdown).await {
                warn!(%error, "HTTP API ended");
            }
        });
        info!(framework = self.config.framework_name, %address, master = self.config.master, "scheduler started");
        let mut engine = Engine::new(
            framework,
            model::call::FrameworkInfo {
                id: None,
                name: self.config.framework_name.clone(),
                roles: std::collections::BTreeSet::from([self.role.clone()]),
                failover_timeout: Span(u64::try_from(self.config.failover_timeout.as_millis()).unwrap_or(u64::MAX)),
                api_url: Some(format!("https://{address}")),
                principal,
                capabilities: std::collections::BTreeSet::new(),
                offer_filters: std::collections::BTreeMap::new(),
            },
            self.role.clone(),
            self.handle.clone(),
            self.requests,
            self.published,
        );
        let sessions = async {
            let mut wait = limits::RECONNECT_MIN;
            loop {
                match engine.session(channel.clone()).await {
                    SessionEnd::Lost { was_subscribed, why } => {
                        if was_subscribed {
                            wait = limits::RECONNECT_MIN;
                        }
                        warn!(%why, retry_ms = wait.as_millis(), "no session with the master");
                    }
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(limits::RECONNECT_MAX);
            }
        };
        let ended = async {
            tokio::select! {
                () = shutdown => {}
                // Only if its sender is dropped, which this function holds.
                _ = stopped.wait_for(|is_stopped| *is_stopped) => {}
            }
        };
        tokio::select! {
            () = ended => {}
            () = sessions => {}
        }
        // Nobody listens any more if the API has ended by itself.
        let _ = stop.send(true);
        // A panic there was logged by the runtime.
        let _ = api.await;
        info!("scheduler ended");
        Ok(())
    }
}
