//! A master in this process, and scripted peers that speak the real wire to it.
#![allow(dead_code, unreachable_pub)] // every test file uses its own part

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use daemon::client::{HttpClient, channel, joining_channel};
use daemon::identity::{Identity, SigningRequest};
use master::{CoreConfig, MasterConfig, MasterInit, Running};
use model::{Principal, Span};
use proto::mesos::v1 as mesos;
use proto::mesos::v1::scheduler;
use proto::mezzo::v1 as wire;
use proto::mezzo::v1::agents_client::AgentsClient;
use proto::mezzo::v1::frameworks_client::FrameworksClient;
use proto::mezzo::v1::operator_client::OperatorClient;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// No single thing a test waits for takes longer, also on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// A pool whose master can be stopped and started.
pub struct Pool {
    pub dir: TempDir,
    pub address: SocketAddr,
    pub admin: Identity,
    running: Option<Running>,
}

impl Pool {
    pub async fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("temporary directory")).await
    }
    /// With packages in the directory's folder `catalog`.
    pub async fn start_in(dir: TempDir) -> Self {
        let admin = dir.path().join("admin");
        master::init(&MasterInit::new(dir.path().join("master"), &admin)).expect("made");
        let admin = Identity::load(&admin).expect("the operator's identity");
        let running = master::start(config(dir.path(), 0)).await.expect("started");
        Self { dir, address: running.advertise(), admin, running: Some(running) }
    }
    /// Stops the master and starts it on the same port.
    pub async fn restart(&mut self) {
        self.running.take().expect("running").stop().await.expect("stopped in order");
        let running = master::start(config(self.dir.path(), self.address.port())).await.expect("started again");
        self.running = Some(running);
    }
    pub async fn stop(mut self) {
        self.running.take().expect("running").stop().await.expect("stopped in order");
    }
    pub fn channel(&self, identity: &Identity) -> Channel {
        channel(&self.address.to_string(), "master.mezzo", identity).expect("channel")
    }
    pub fn http(&self, identity: &Identity) -> HttpClient {
        HttpClient::new(&self.address.to_string(), "master.mezzo", identity).expect("client")
    }
    pub fn operator(&self) -> OperatorClient<Channel> {
        OperatorClient::new(self.channel(&self.admin))
    }
    /// An identity given out by the master.
    pub async fn identity(&self, principal: &str) -> Identity {
        let request = wire::IssueIdentityRequest {
            principal: principal.to_owned(),
            dns_names: vec!["localhost".to_owned()],
            addresses: vec!["127.0.0.1".to_owned()],
            ..wire::IssueIdentityRequest::default()
        };
        let given = self.operator().issue_identity(request).await.expect("given out").into_inner();
        Identity { ca_pem: given.ca_pem, cert_pem: given.certificate_pem, key_pem: given.private_key_pem }
    }
    /// Joins as an agent does: with a token and the CA's hash alone.
    pub async fn join(&self, name: &str) -> Identity {
        let token = self.operator().create_join_token(wire::CreateJoinTokenRequest::default()).await;
        let token = token.expect("token").into_inner();
        self.join_with(name, &token.token, &token.ca_sha256).await.expect("joined")
    }
    pub async fn join_with(&self, name: &str, token: &str, ca_sha256: &str) -> Result<Identity, Status> {
        let csr = SigningRequest::create(&Principal::new(format!("agent/{name}"))).expect("request");
        let channel = joining_channel(&self.address.to_string(), "master.mezzo", ca_sha256).expect("channel");
        let request = wire::JoinRequest { token: token.to_owned(), csr_pem: csr.csr_pem, name: name.to_owned() };
        let reply = AgentsClient::new(channel).join(request).await?.into_inner();
        Ok(Identity { ca_pem: reply.ca_pem, cert_pem: reply.certificate_pem, key_pem: csr.key_pem })
    }
}

fn config(dir: &Path, port: u16) -> MasterConfig {
    MasterConfig {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], port))],
        catalog_dirs: [dir.join("catalog")].into_iter().filter(|folder| folder.exists()).collect(),
        core: CoreConfig { refuse_min: Span::millis(10), ..CoreConfig::default() },
        ..MasterConfig::new(dir.join("master"))
    }
}

/// Tries again while a master that was just started does not listen yet.
async fn opened<T, F: Future<Output = Result<T, Status>>>(what: &str, open: impl Fn() -> F) -> T {
    within(what, async {
        loop {
            match open().await {
                Ok(opened) => return opened,
                Err(status) if status.code() == tonic::Code::Unavailable => tokio::task::yield_now().await,
                Err(status) => panic!("{what}: {status}"),
            }
        }
    })
    .await
}

/// A scripted agent.
pub struct Agent {
    pub identity: Identity,
    pub name: String,
    to_master: mpsc::Sender<wire::AgentMessage>,
    from_master: Streaming<wire::MasterMessage>,
    /// Of the latest message.
    pub epoch: u64,
}

impl Agent {
    pub async fn connect(pool: &Pool, name: &str, identity: Identity) -> Self {
        let channel = pool.channel(&identity);
        let (to_master, from_master) = opened("agent session", || {
            let mut client = AgentsClient::new(channel.clone()).max_decoding_message_size(64 << 20);
            let (sender, receiver) = mpsc::channel(64);
            async move { client.session(ReceiverStream::new(receiver)).await.map(|r| (sender, r.into_inner())) }
        })
        .await;
        Self { identity, name: name.to_owned(), to_master, from_master, epoch: 0 }
    }
    pub async fn send(&self, kind: wire::agent_message::Kind) {
        self.to_master.send(wire::AgentMessage { kind: Some(kind) }).await.expect("the stream is open");
    }
    pub async fn register(&self, agent_id: &str, tasks: Vec<wire::AgentTask>) {
        let register = wire::RegisterAgent {
            version: 1,
            software: "test".to_owned(),
            agent_id: agent_id.to_owned(),
            name: self.name.clone(),
            address: "127.0.0.1".to_owned(),
            port: 5051,
            total: vec![scalar("cpus", 4.0), scalar("mem", 4096.0), scalar("disk", 10_000.0), ports(20_000, 29_999)],
            boot_id: "boot".to_owned(),
            tasks,
            ..wire::RegisterAgent::default()
        };
        self.send(wire::agent_message::Kind::Register(register)).await;
    }
    /// The next message that is neither ping nor peers; pings are answered.
    pub async fn next(&mut self) -> wire::master_message::Kind {
        within("a message to the agent", async {
            loop {
                let message = self.from_master.message().await.expect("the stream is open").expect("not ended");
                self.epoch = message.epoch;
                match message.kind.expect("a kind") {
                    wire::master_message::Kind::Ping(ping) => {
                        self.send(wire::agent_message::Kind::Pong(wire::Pong { number: ping.number })).await;
                    }
                    wire::master_message::Kind::Peers(_) => {}
                    other => return other,
                }
            }
        })
        .await
    }
    /// Answers pings until the stream ends, or the test does.
    pub fn answer_pings(mut self) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            while let Ok(Some(message)) = self.from_master.message().await {
                if let Some(wire::master_message::Kind::Ping(ping)) = message.kind {
                    self.send(wire::agent_message::Kind::Pong(wire::Pong { number: ping.number })).await;
                }
            }
        })
    }
    /// Waits until the master ends the stream.
    pub async fn ended(&mut self) -> Option<Status> {
        within("the end of the agent's stream", async {
            loop {
                match self.from_master.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return None,
                    Err(status) => return Some(status),
                }
            }
        })
        .await
    }
    /// Says how a task does.
    pub async fn update(&self, framework_id: &str, status: mesos::TaskStatus) {
        let latest_state = status.state;
        let update = wire::TaskUpdate { framework_id: framework_id.to_owned(), status: Some(status), latest_state };
        self.send(wire::agent_message::Kind::Update(update)).await;
    }
    pub async fn registered(&mut self) -> wire::AgentRegistered {
        match self.next().await {
            wire::master_message::Kind::Registered(registered) => registered,
            other => panic!("not registered: {other:?}"),
        }
    }
}

/// A scripted scheduler.
pub struct Framework {
    pub id: String,
    pub name: String,
    to_master: mpsc::Sender<wire::FrameworkCall>,
    from_master: Streaming<wire::FrameworkEvent>,
    sequence: u64,
}

impl Framework {
    pub async fn connect(pool: &Pool, name: &str, identity: &Identity) -> Self {
        let channel = pool.channel(identity);
        let (to_master, from_master) = opened("framework session", || {
            let mut client = FrameworksClient::new(channel.clone()).max_decoding_message_size(128 << 20);
            let (sender, receiver) = mpsc::channel(64);
            async move { client.session(ReceiverStream::new(receiver)).await.map(|r| (sender, r.into_inner())) }
        })
        .await;
        Self { id: String::new(), name: name.to_owned(), to_master, from_master, sequence: 0 }
    }
    pub async fn raw(&self, call: wire::FrameworkCall) {
        self.to_master.send(call).await.expect("the stream is open");
    }
    pub async fn call(&mut self, call: Option<scheduler::Call>, writes: Vec<wire::StateWrite>) -> u64 {
        self.sequence += 1;
        let read_state = call.is_none() && writes.is_empty();
        self.raw(wire::FrameworkCall { version: 1, sequence: self.sequence, call, writes, read_state }).await;
        self.sequence
    }
    /// Subscribes, under the id of an earlier session if there was one.
    pub async fn subscribe(&mut self, id: &str, api_url: Option<&str>) {
        let id = (!id.is_empty()).then(|| mesos::FrameworkId { value: id.to_owned() });
        let info = mesos::FrameworkInfo {
            user: "root".to_owned(),
            name: self.name.clone(),
            id: id.clone(),
            failover_timeout: Some(3600.0),
            roles: vec![self.name.clone()],
            capabilities: vec![mesos::framework_info::Capability {
                r#type: Some(mesos::framework_info::capability::Type::MultiRole.into()),
            }],
            webui_url: api_url.map(str::to_owned),
            ..mesos::FrameworkInfo::default()
        };
        let call = scheduler::Call {
            framework_id: id,
            r#type: Some(scheduler::call::Type::Subscribe.into()),
            subscribe: Some(scheduler::call::Subscribe {
                framework_info: info,
                suppressed_roles: Vec::new(),
                offer_constraints: None,
            }),
            ..scheduler::Call::default()
        };
        self.call(Some(call), Vec::new()).await;
        let event = self.event(scheduler::event::Type::Subscribed).await;
        self.id = event.subscribed.expect("subscribed").framework_id.value;
    }
    /// Asks how every task is.
    pub async fn reconcile_all(&mut self) -> u64 {
        let reconcile = scheduler::Call {
            framework_id: Some(mesos::FrameworkId { value: self.id.clone() }),
            r#type: Some(scheduler::call::Type::Reconcile.into()),
            reconcile: Some(scheduler::call::Reconcile { tasks: Vec::new() }),
            ..scheduler::Call::default()
        };
        self.call(Some(reconcile), Vec::new()).await
    }
    pub async fn next(&mut self) -> Result<Option<wire::framework_event::Kind>, Status> {
        within("a message to the framework", async {
            Ok(self.from_master.message().await?.map(|event| event.kind.expect("a kind")))
        })
        .await
    }
    /// The next event of a type; other events and results are passed over.
    pub async fn event(&mut self, wanted: scheduler::event::Type) -> scheduler::Event {
        loop {
            let next = self.next().await.expect("the stream is open").expect("not ended");
            match next {
                wire::framework_event::Kind::Event(event) if event.r#type == Some(wanted.into()) => return event,
                wire::framework_event::Kind::Result(wire::CallResult { refusal: Some(refusal), .. }) => {
                    panic!("refused while waiting for {wanted:?}: {refusal:?}")
                }
                _ => {}
            }
        }
    }
    /// The result of a call; events are passed over.
    pub async fn result(&mut self, sequence: u64) -> Result<(), wire::Refusal> {
        loop {
            if let wire::framework_event::Kind::Result(result) =
                self.next().await.expect("the stream is open").expect("not ended")
                && result.sequence == sequence
            {
                return result.refusal.map_or(Ok(()), Err);
            }
        }
    }
    /// The whole state.
    pub async fn state(&mut self) -> Vec<wire::StateWrite> {
        self.call(None, Vec::new()).await;
        loop {
            if let wire::framework_event::Kind::State(state) =
                self.next().await.expect("the stream is open").expect("not ended")
            {
                return state.entries;
            }
        }
    }
    /// Wants no offers, so that others get them.
    pub async fn suppress(&mut self) {
        let call = scheduler::Call {
            framework_id: Some(mesos::FrameworkId { value: self.id.clone() }),
            r#type: Some(scheduler::call::Type::Suppress.into()),
            suppress: Some(scheduler::call::Suppress { roles: Vec::new() }),
            ..scheduler::Call::default()
        };
        let sequence = self.call(Some(call), Vec::new()).await;
        self.result(sequence).await.expect("suppressed");
    }
    /// An offer of a named agent.
    pub async fn offer(&mut self, agent: &str) -> mesos::Offer {
        // Heartbeats come all the time: the whole wait has the deadline, not each message.
        within("an offer", async {
            loop {
                let offers = self.event(scheduler::event::Type::Offers).await.offers.expect("offers").offers;
                if let Some(offer) = offers.into_iter().find(|offer| offer.hostname == agent) {
                    return offer;
                }
            }
        })
        .await
    }
}

pub fn scalar(name: &str, value: f64) -> mesos::Resource {
    mesos::Resource {
        name: name.to_owned(),
        r#type: mesos::value::Type::Scalar.into(),
        scalar: Some(mesos::value::Scalar { value }),
        ..mesos::Resource::default()
    }
}

pub fn ports(begin: u64, end: u64) -> mesos::Resource {
    mesos::Resource {
        name: "ports".to_owned(),
        r#type: mesos::value::Type::Ranges.into(),
        ranges: Some(mesos::value::Ranges { range: vec![mesos::value::Range { begin, end }] }),
        ..mesos::Resource::default()
    }
}

/// A task with a secret and an external port.
pub fn task(id: &str, agent_id: &str, secret: &str, port: u16) -> mesos::TaskInfo {
    let reference = mesos::secret::Reference { name: secret.to_owned(), key: None };
    let volume = mesos::Volume {
        container_path: "/run/secret".to_owned(),
        mode: mesos::volume::Mode::Ro.into(),
        source: Some(mesos::volume::Source {
            r#type: Some(mesos::volume::source::Type::Secret.into()),
            secret: Some(mesos::Secret {
                r#type: Some(mesos::secret::Type::Reference.into()),
                reference: Some(reference),
                value: None,
            }),
            ..mesos::volume::Source::default()
        }),
        ..mesos::Volume::default()
    };
    mesos::TaskInfo {
        name: id.to_owned(),
        task_id: mesos::TaskId { value: id.to_owned() },
        agent_id: mesos::AgentId { value: agent_id.to_owned() },
        resources: vec![scalar("cpus", 0.5), scalar("mem", 64.0), ports(port.into(), port.into())],
        command: Some(mesos::CommandInfo { value: Some("sleep 1000".to_owned()), ..mesos::CommandInfo::default() }),
        container: Some(mesos::ContainerInfo {
            r#type: mesos::container_info::Type::Mesos.into(),
            volumes: vec![volume],
            ..mesos::ContainerInfo::default()
        }),
        discovery: Some(mesos::DiscoveryInfo {
            visibility: mesos::discovery_info::Visibility::External.into(),
            name: Some("api".to_owned()),
            ports: Some(mesos::Ports {
                ports: vec![mesos::Port {
                    number: port.into(),
                    name: Some("https".to_owned()),
                    visibility: Some(mesos::discovery_info::Visibility::External.into()),
                    ..mesos::Port::default()
                }],
            }),
            ..mesos::DiscoveryInfo::default()
        }),
        ..mesos::TaskInfo::default()
    }
}

pub fn accept(framework_id: &str, offer: &mesos::Offer, tasks: Vec<mesos::TaskInfo>) -> scheduler::Call {
    scheduler::Call {
        framework_id: Some(mesos::FrameworkId { value: framework_id.to_owned() }),
        r#type: Some(scheduler::call::Type::Accept.into()),
        accept: Some(scheduler::call::Accept {
            offer_ids: vec![offer.id.clone()],
            operations: vec![mesos::offer::Operation {
                r#type: Some(mesos::offer::operation::Type::Launch.into()),
                launch: Some(mesos::offer::operation::Launch { task_infos: tasks }),
                ..mesos::offer::Operation::default()
            }],
            filters: None,
        }),
        ..scheduler::Call::default()
    }
}

pub fn running(task_id: &str, agent_id: &str, executor_id: &str, uuid: u8) -> mesos::TaskStatus {
    mesos::TaskStatus {
        task_id: mesos::TaskId { value: task_id.to_owned() },
        state: mesos::TaskState::TaskRunning.into(),
        agent_id: Some(mesos::AgentId { value: agent_id.to_owned() }),
        executor_id: Some(mesos::ExecutorId { value: executor_id.to_owned() }),
        source: Some(mesos::task_status::Source::Executor.into()),
        timestamp: Some(1.0e9),
        uuid: Some(vec![uuid; 16].into()),
        ..mesos::TaskStatus::default()
    }
}
