//! The framework itself: its target is what is stored, and what a service gets beside its task is decided here
//! (identity, options, the master's address).
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use daemon::client::HttpClient;
use daemon::identity::Identity;
use framework_sdk::spec::ServiceSpec;
use framework_sdk::view::{Placement, ServiceView};
use framework_sdk::{Framework, Handle, PodInstance, ProbeRequest, Progress, RenderedPod, RenderedTask};
use model::{Refusal, RoleName};
use proto::mezzo::v1::operator_client::OperatorClient;
use proto::mezzo::v1::{GetMasterRequest, IssueIdentityRequest};
use tokio::sync::Mutex;
use tonic::transport::Channel;

use crate::definition::ServiceDefinition;
use crate::record::{self, IdentityRecord, ServiceRecord};
use crate::{api, limits, spec};

/// Where a service finds its files.
const IDENTITY_DIR: &str = "/run/mezzo/identity";
const OPTIONS_FILE: &str = "/run/mezzo/options.json";
/// A year; a new one is issued with every launch after [`IDENTITY_RENEW_S`].
const IDENTITY_VALID_S: u32 = 365 * 24 * 3600;
/// A month.
const IDENTITY_RENEW_S: u64 = 30 * 24 * 3600;

/// How long a framework has to answer a probe.
const PROBE_TIME: Duration = Duration::from_secs(3);

/// Keeps services running.
#[derive(Clone)]
pub struct Services {
    pub(crate) handle: Handle,
    role: RoleName,
    master: OperatorClient<Channel>,
    identity: Identity,
    /// One change at a time: each reads the services, changes one and sets the target.
    changing: Arc<Mutex<()>>,
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").field("role", &self.role).finish_non_exhaustive()
    }
}

impl Services {
    /// `master` is asked for identities; `identity` is shown to services that are probed.
    pub fn new(handle: Handle, role: RoleName, master: OperatorClient<Channel>, identity: Identity) -> Self {
        Self { handle, role, master, identity, changing: Arc::new(Mutex::new(())) }
    }

    /// Stores a service and begins to bring it about. The same definition again changes nothing.
    ///
    /// # Errors
    /// If it is wrong, there are too many, or it cannot be stored.
    pub async fn put(&self, name: &str, definition: ServiceDefinition) -> Result<ServiceRecord, Refusal> {
        if definition.name != name {
            let message = format!("the definition is named '{}', the address says '{name}'", definition.name);
            return Err(Refusal::new("SVC0001", message, "send it to its own address").at("name"));
        }
        let _one_at_a_time = self.changing.lock().await;
        let mut records = record::load_services(self.handle.state());
        let generation = match records.get(name) {
            Some(old) if old.definition == definition => return Ok(old.clone()),
            Some(old) => old.generation + 1,
            None if records.len() >= limits::SERVICES_MAX => {
                let message = format!("there are {} services already", limits::SERVICES_MAX);
                return Err(Refusal::new("SVC0002", message, "remove one first"));
            }
            None => 1,
        };
        let record = ServiceRecord { generation, definition };
        records.insert(name.to_owned(), record.clone());
        let target = spec::target(self.role.clone(), &records);
        target.validate()?;
        let value = serde_json::to_vec(&record).map_err(|error| Refusal::new("SVC0003", error.to_string(), ""))?;
        self.handle.state().put(&record::service_key(name), value).await.map_err(|error| not_stored(&error))?;
        self.handle.set_target(target).await?;
        Ok(record)
    }

    /// Forgets a service and stops it; `false` if there is none.
    ///
    /// # Errors
    /// If the change cannot be stored.
    pub async fn remove(&self, name: &str) -> Result<bool, Refusal> {
        let _one_at_a_time = self.changing.lock().await;
        let mut records = record::load_services(self.handle.state());
        if records.remove(name).is_none() {
            return Ok(false);
        }
        let writes = vec![(record::service_key(name), None), (record::identity_key(name), None)];
        self.handle.state().write(writes).await.map_err(|error| not_stored(&error))?;
        self.handle.set_target(spec::target(self.role.clone(), &records)).await?;
        Ok(true)
    }

    async fn identity(&self, name: &str) -> Result<IdentityRecord, Refusal> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if let Some(identity) = record::load_identity(self.handle.state(), name)
            && now.saturating_sub(identity.issued_unix_s) < IDENTITY_RENEW_S
        {
            return Ok(identity);
        }
        let request = IssueIdentityRequest {
            principal: format!("framework/{name}"),
            valid_seconds: IDENTITY_VALID_S,
            dns_names: vec![format!("{name}.framework.mezzo")],
            addresses: Vec::new(),
        };
        let issued = self.master.clone().issue_identity(request).await.map_err(|status| {
            Refusal::new(
                "SVC0004",
                format!("the master issues no identity for '{name}': {}", status.message()),
                "see the master's log",
            )
        })?;
        let issued = issued.into_inner();
        let identity = IdentityRecord {
            ca_pem: issued.ca_pem,
            cert_pem: issued.certificate_pem,
            key_pem: issued.private_key_pem,
            issued_unix_s: now,
        };
        let value = serde_json::to_vec(&identity).map_err(|error| Refusal::new("SVC0003", error.to_string(), ""))?;
        self.handle.state().put(&record::identity_key(name), value).await.map_err(|error| not_stored(&error))?;
        Ok(identity)
    }

    /// The address the master is known by, not the one this process happens to use.
    async fn master_address(&self) -> Result<String, Refusal> {
        let described = self.master.clone().get_master(GetMasterRequest {}).await.map_err(|status| {
            Refusal::new(
                "SVC0004",
                format!("the master does not describe itself: {}", status.message()),
                "see the master's log",
            )
        })?;
        Ok(described.into_inner().address)
    }
}

fn not_stored(error: &framework_sdk::StateError) -> Refusal {
    Refusal::new(
        "SVC0003",
        format!("the service is not stored: {}", daemon::error::chain(error)),
        "try again in a moment",
    )
}

impl Framework for Services {
    async fn target(&self, _current: Option<&ServiceSpec>) -> Result<ServiceSpec, Refusal> {
        Ok(spec::target(self.role.clone(), &record::load_services(self.handle.state())))
    }

    async fn render(
        &self,
        instance: &PodInstance,
        _placement: &Placement,
        _view: &ServiceView,
    ) -> Result<RenderedPod, Refusal> {
        let name = &instance.name.pod;
        let Some(record) = record::load_services(self.handle.state()).remove(name) else {
            return Err(Refusal::new("SVC0005", format!("service '{name}' was removed"), ""));
        };
        let mut task = RenderedTask::default().env("MEZZO_FRAMEWORK_NAME", name);
        if record.definition.identity {
            let identity = self.identity(name).await?;
            task = task
                .env("MEZZO_MASTER", self.master_address().await?)
                .env("MEZZO_IDENTITY", IDENTITY_DIR)
                .file(format!("{IDENTITY_DIR}/ca.pem"), identity.ca_pem)
                .file(format!("{IDENTITY_DIR}/cert.pem"), identity.cert_pem)
                .file(format!("{IDENTITY_DIR}/key.pem"), identity.key_pem);
        }
        if let Some(options) = &record.definition.options {
            task = task.env("MEZZO_OPTIONS", OPTIONS_FILE).file(OPTIONS_FILE, options.to_string());
        }
        let mut pod = RenderedPod::default();
        pod.tasks.insert(spec::TASK.to_owned(), task);
        Ok(pod)
    }

    async fn probe(&self, request: &ProbeRequest, _view: &ServiceView) -> Progress {
        let name = &request.instance.pod;
        let Some(record) = record::load_services(self.handle.state()).remove(name) else { return Progress::Done };
        let Some(readiness) = record.definition.readiness.filter(|_| record.definition.identity) else {
            return Progress::Done;
        };
        let Some(port) = request.placement.port(&readiness.port) else { return Progress::Done };
        let address = format!("{}:{port}", request.placement.address);
        let path = if readiness.path.is_empty() { "/v1/health" } else { readiness.path.as_str() };
        let client = match HttpClient::new(&address, &format!("{name}.framework.mezzo"), &self.identity) {
            Ok(client) => client,
            Err(error) => return Progress::Failed(daemon::error::chain(&error)),
        };
        match tokio::time::timeout(PROBE_TIME, client.get(path, limits::HEALTH_BYTES_MAX)).await {
            Ok(Ok(_)) => Progress::Done,
            Ok(Err(error)) => {
                Progress::NotYet(format!("its API does not answer yet: {}", daemon::error::chain(&error)))
            }
            Err(_) => Progress::NotYet(format!("its API has not answered within {} s", PROBE_TIME.as_secs())),
        }
    }

    fn routes(&self) -> axum::Router {
        api::routes(self.clone())
    }
}
