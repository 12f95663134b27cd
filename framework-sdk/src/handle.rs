//! How a framework (and the HTTP API) speaks to its running scheduler.
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, RwLock};

use daemon::client::HttpClient;
use framework_core::Undone;
use framework_core::evaluate::Verdict;
use framework_core::plan::PlanView;
use framework_core::spec::{InstanceName, ServiceSpec};
use framework_core::view::ServiceView;
use model::Refusal;
use tokio::sync::{mpsc, oneshot, watch};

use crate::engine::IN_DOUBT;
use crate::limits;
use crate::state::StateStore;

/// Cheap to clone; works before the scheduler is connected (calls that change something wait for the connection).
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) published: watch::Receiver<Arc<Published>>,
    pub(crate) state: StateStore,
    pub(crate) master: HttpClient,
    pub(crate) framework: Arc<str>,
    /// What this process was given as options.
    pub(crate) given: Arc<str>,
}

/// What the scheduler shows to the outside after every step.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// Whether there is a session with the master.
    pub is_connected: bool,
    /// The framework's id, once it has one.
    pub framework_id: Option<model::FrameworkId>,
    /// The stored target.
    pub target: Option<Arc<ServiceSpec>>,
    /// Instances and tasks.
    pub view: Arc<ServiceView>,
    /// Plans.
    pub plans: Arc<Vec<PlanView>>,
    /// The latest evaluations of offers, oldest first.
    pub verdicts: Arc<Vec<Verdict>>,
    /// What the target is to be made of; `None` until the master was reached.
    pub settings: Option<Arc<str>>,
    /// The update that was undone last.
    pub undone: Option<Arc<Undone>>,
    /// Whether the framework has said its target since this process began, and it was taken.
    pub is_target_current: bool,
    /// Why it was not.
    pub target_refusal: Option<Refusal>,
}

pub(crate) type Reply = oneshot::Sender<Result<(), Refusal>>;

/// What is asked of the scheduler.
#[derive(Debug)]
pub(crate) enum Request {
    SetTarget { spec: Box<ServiceSpec>, reply: Reply },
    PausePlan { plan: String, reply: Reply },
    ResumePlan { plan: String, reply: Reply },
    RestartPlan { plan: String, reply: Reply },
    RestartPod { instance: InstanceName, reply: Reply },
    ReplacePod { instance: InstanceName, reply: Reply },
    Uninstall { reply: Reply },
    Write { writes: Vec<(String, Option<Vec<u8>>)>, reply: Reply },
}

impl Handle {
    /// One whose scheduler has ended: its state is these entries, and everything that changes something is refused. For
    /// tests of frameworks.
    ///
    /// # Errors
    /// If no identity can be made.
    #[doc(hidden)]
    pub fn ended(framework: &str, entries: BTreeMap<String, Vec<u8>>) -> Result<Self, Box<dyn std::error::Error>> {
        daemon::tls::install_crypto_provider();
        let principal = model::Principal::new(format!("framework/{framework}"));
        let (dns_names, addresses) = (Vec::new(), Vec::new());
        let valid = std::time::Duration::from_secs(3600);
        let wanted = daemon::identity::CertificateRequest { principal, dns_names, addresses, valid };
        let identity = daemon::identity::CertificateAuthority::create("ended")?.issue(&wanted)?;
        // Nobody listens there, and nobody hears what is asked.
        let master = HttpClient::new("127.0.0.1:1", "master.mezzo", &identity)?;
        let (requests, published) = (mpsc::channel(1).0, watch::channel(Arc::default()).1);
        let state = StateStore { entries: Arc::new(RwLock::new(entries)), requests: requests.clone() };
        Ok(Self { requests, published, state, master, framework: framework.into(), given: "{}".into() })
    }
    /// The framework's state.
    pub fn state(&self) -> &StateStore {
        &self.state
    }
    /// Instances and tasks as of now.
    pub fn view(&self) -> Arc<ServiceView> {
        self.published.borrow().view.clone()
    }
    /// Plans as of now.
    pub fn plans(&self) -> Arc<Vec<PlanView>> {
        self.published.borrow().plans.clone()
    }
    /// The stored target, once there is one.
    pub fn target(&self) -> Option<Arc<ServiceSpec>> {
        self.published.borrow().target.clone()
    }
    /// What the target is to be made of: the options as given ([`Config::settings`](crate::Config::settings)), unless a
    /// target made of them was undone; then those of the target that counts again. A framework makes its target of these,
    /// and puts them into its `settings`.
    pub fn settings(&self) -> Arc<str> {
        self.published.borrow().settings.clone().unwrap_or_else(|| self.given.clone())
    }
    /// Everything at once, and a way to wait for changes.
    pub fn published(&self) -> watch::Receiver<Arc<Published>> {
        self.published.clone()
    }
    /// Stores a new target and begins to bring the service to it. Returns when it is stored.
    ///
    /// # Errors
    /// If it is invalid or not allowed; then nothing changes.
    pub async fn set_target(&self, spec: ServiceSpec) -> Result<(), Refusal> {
        loop {
            let spec = Box::new(spec.clone());
            match self.ask(|reply| Request::SetTarget { spec, reply }).await {
                // Setting the same target twice changes nothing.
                Err(refusal) if refusal.code == IN_DOUBT => tokio::time::sleep(limits::WRITE_RETRY).await,
                done => return done,
            }
        }
    }
    /// Stops a plan from starting anything new.
    ///
    /// # Errors
    /// If there is no such plan.
    pub async fn pause_plan(&self, plan: &str) -> Result<(), Refusal> {
        self.ask(|reply| Request::PausePlan { plan: plan.to_owned(), reply }).await
    }
    /// Lets a paused plan go on.
    ///
    /// # Errors
    /// If there is no such plan.
    pub async fn resume_plan(&self, plan: &str) -> Result<(), Refusal> {
        self.ask(|reply| Request::ResumePlan { plan: plan.to_owned(), reply }).await
    }
    /// Begins a plan anew: a deploy rolls every instance.
    ///
    /// # Errors
    /// If there is no such plan or it cannot be started by hand.
    pub async fn restart_plan(&self, plan: &str) -> Result<(), Refusal> {
        self.ask(|reply| Request::RestartPlan { plan: plan.to_owned(), reply }).await
    }
    /// Kills an instance and launches it again, on its agent if it keeps data there.
    ///
    /// # Errors
    /// If there is no such instance.
    pub async fn restart_pod(&self, instance: &InstanceName) -> Result<(), Refusal> {
        let instance = instance.clone();
        self.ask(|reply| Request::RestartPod { instance, reply }).await
    }
    /// Kills an instance, gives up its place and data, and launches it wherever it fits.
    ///
    /// # Errors
    /// If there is no such instance.
    pub async fn replace_pod(&self, instance: &InstanceName) -> Result<(), Refusal> {
        let instance = instance.clone();
        self.ask(|reply| Request::ReplacePod { instance, reply }).await
    }
    /// Begins to remove everything; the plan `uninstall` shows how far it is.
    ///
    /// # Errors
    /// If the state cannot be written.
    pub async fn uninstall(&self) -> Result<(), Refusal> {
        self.ask(|reply| Request::Uninstall { reply }).await
    }

    /// The virtual address that belongs to this framework under a name; leased when it is asked for the first time, durable
    /// then, and the same until the framework is torn down. Behind it are the tasks whose discovery has a
    /// [`VipSpec`](framework_core::spec::VipSpec) of that name, none at first. Only for a framework that has subscribed
    /// once: its hooks may ask. A master that is away is waited for, for a while.
    ///
    /// # Errors
    /// If the name is none, the pool's range is used up, or the master does not answer.
    pub async fn vip(&self, name: &str) -> Result<Ipv4Addr, Refusal> {
        let deadline = tokio::time::Instant::now() + limits::VIP_TIME;
        loop {
            match crate::vip::lease(&self.master, &self.framework, name).await {
                Err(error) if error.is_passing() && tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(limits::WRITE_RETRY).await;
                }
                done => return done.map_err(crate::vip::LeaseError::refusal),
            }
        }
    }

    async fn ask(&self, request: impl FnOnce(Reply) -> Request) -> Result<(), Refusal> {
        let gone = || Refusal::new("SDK0002", "the scheduler is shutting down", "try again in a moment");
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}
