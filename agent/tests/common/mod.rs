//! A pool of one agent: a small master of the tests' own that records what the agent says, and the agent as a process.
#![allow(dead_code, unreachable_pub)] // each test file uses a part

pub mod image;
pub mod pressure;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use daemon::identity::{CertificateAuthority, CertificateRequest, Identity};
use futures::Stream;
use model::link::{FrameworkRef, FromAgent, ToAgent};
use model::{AgentId, FrameworkId, Principal, RoleName, Span, TaskId, TaskState, TaskStatus};
use proto::convert;
use proto::mesos::v1 as mesos;
use proto::mezzo::v1 as wire;
use tokio::sync::{mpsc, watch};
use tonic::{Request, Response, Status, Streaming};

pub const AGENT_ID: &str = "m-S1";
const HARNESS: &str = env!("CARGO_BIN_EXE_mezzo-agent-harness");
const LIMIT: Duration = Duration::from_secs(60);

/// What the master knows.
#[derive(Default)]
pub struct Book {
    /// Every update once, in order of arrival.
    pub updates: Vec<TaskStatus>,
    pub registrations: Vec<model::link::AgentRegistration>,
    pub applied: u64,
    pub revocable: model::Quantities,
    seen: BTreeSet<(TaskId, u128)>,
    session: Option<mpsc::Sender<Result<wire::MasterMessage, Status>>>,
}

#[derive(Clone)]
struct Master {
    ca: Arc<CertificateAuthority>,
    book: Arc<Mutex<Book>>,
    secrets: Arc<BTreeMap<String, Vec<u8>>>,
    changed: watch::Sender<u64>,
}

/// A port that nobody has, and that nobody is given before it is used: below those that the kernel hands out, and with ten for
/// each process of these tests.
pub fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    const PROCESSES: u32 = 700;
    let first = 22_000 + u16::try_from(std::process::id() % PROCESSES).expect("a small number") * 10;
    loop {
        let port = first + TAKEN.fetch_add(1, Ordering::Relaxed);
        assert!(port < 32_768, "all ports from {first} on are taken");
        if std::net::TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

fn to_wire(message: &ToAgent) -> Result<wire::MasterMessage, Status> {
    Ok(convert::link::to_agent_to_wire(message, 1))
}

#[tonic::async_trait]
impl wire::agents_server::Agents for Master {
    type SessionStream = std::pin::Pin<Box<dyn Stream<Item = Result<wire::MasterMessage, Status>> + Send>>;

    async fn join(&self, request: Request<wire::JoinRequest>) -> Result<Response<wire::JoinReply>, Status> {
        let request = request.into_inner();
        if request.token != "good" {
            return Err(Status::permission_denied("the token is not valid"));
        }
        let certificate = CertificateRequest {
            principal: Principal::new(format!("agent/{}", request.name)),
            dns_names: vec![format!("{}.agent.mezzo", request.name)],
            addresses: vec![],
            valid: Duration::from_secs(3600),
        };
        let certificate_pem =
            self.ca.sign(&request.csr_pem, &certificate).map_err(|e| Status::internal(e.to_string()))?;
        Ok(Response::new(wire::JoinReply { certificate_pem, ca_pem: self.ca.ca_pem().to_owned() }))
    }

    async fn session(
        &self,
        request: Request<Streaming<wire::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (sender, receiver) = mpsc::channel(1024);
        let mut heard = request.into_inner();
        let master = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(message)) = heard.message().await {
                let message = convert::link::from_agent_from_wire(&message).expect("the agent speaks well");
                master.hear(message, &sender);
                master.changed.send_modify(|count| *count += 1);
            }
        });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver))))
    }

    async fn fetch_secret(
        &self,
        request: Request<wire::FetchSecretRequest>,
    ) -> Result<Response<wire::FetchSecretReply>, Status> {
        let value = self.secrets.get(&request.into_inner().key).cloned();
        value
            .map(|value| Response::new(wire::FetchSecretReply { value: value.into() }))
            .ok_or_else(|| Status::not_found("no such secret"))
    }
}

impl Master {
    /// Answers before anybody sees what was heard: nothing a test says overtakes the answer.
    fn hear(&self, message: FromAgent, sender: &mpsc::Sender<Result<wire::MasterMessage, Status>>) {
        let mut book = self.book.lock().expect("no panic");
        let answer = Self::answer(&mut book, message, sender);
        if let Some(answer) = answer {
            sender.try_send(to_wire(&answer)).expect("room for the answer");
        }
    }

    fn answer(
        book: &mut Book,
        message: FromAgent,
        sender: &mpsc::Sender<Result<wire::MasterMessage, Status>>,
    ) -> Option<ToAgent> {
        match message {
            FromAgent::Register(registration) => {
                book.registrations.push(*registration);
                book.session = Some(sender.clone());
                Some(ToAgent::Registered {
                    agent_id: AgentId::new(AGENT_ID).expect("valid"),
                    pod_subnet: "10.9.1.0/24".to_owned(),
                    pod_range: "10.9.0.0/16".to_owned(),
                    ping_timeout: Span::seconds(600),
                })
            }
            FromAgent::Update { framework_id, status, .. } => {
                let uuid = status.uuid?;
                if book.seen.insert((status.task_id.clone(), uuid.0)) {
                    book.updates.push(status.clone());
                }
                Some(ToAgent::Acknowledge { framework_id, task_id: status.task_id, uuid })
            }
            FromAgent::Pong { .. } => None,
            FromAgent::Revocable(revocable) => {
                book.revocable = revocable;
                None
            }
            FromAgent::Applied { generation } => {
                book.applied = generation;
                None
            }
        }
    }
}

/// How the agent is started.
#[derive(Clone)]
pub struct Setup {
    pub resources: String,
    /// What it gives away although it is promised to others, and the percentage of pressure at which it takes it back.
    pub revocable: String,
    pub pressure: String,
    /// A file that the agent sees as the boot id of its host.
    pub boot_id: Option<PathBuf>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            resources: "cpus:4;mem:2048;disk:4096;ports:[20000-20099]".to_owned(),
            revocable: String::new(),
            pressure: String::new(),
            boot_id: None,
        }
    }
}

/// A master and one agent.
pub struct World {
    pub dir: tempfile::TempDir,
    pub setup: Setup,
    pub name: String,
    pub port: u16,
    pub image: String,
    master: Master,
    master_address: String,
    changed: watch::Receiver<u64>,
    agent: Option<Child>,
    operator: Identity,
}

impl World {
    /// Starts both and waits until they know each other.
    pub async fn start(test: &str) -> Self {
        Self::start_with(test, |_| Setup::default()).await
    }

    /// As [`World::start`]; the setup is made in the directory of the test.
    pub async fn start_with(test: &str, setup: impl FnOnce(&Path) -> Setup) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "these tests make containers: run them as root");
        daemon::tls::install_crypto_provider();
        let dir = tempfile::tempdir().expect("temporary directory");
        let setup = setup(dir.path());
        let ca = CertificateAuthority::create("test").expect("CA");
        let issue = |principal: &str, name: &str| {
            ca.issue(&CertificateRequest {
                principal: Principal::new(principal),
                dns_names: vec![name.to_owned()],
                addresses: vec![],
                valid: Duration::from_secs(3600),
            })
            .expect("issued")
        };
        let (own, operator) = (issue("master", "master.mezzo"), issue("operator/test", "operator"));
        let (changed_sender, changed) = watch::channel(0);
        let secrets = BTreeMap::from([("secret/key".to_owned(), b"very secret".to_vec())]);
        let master =
            Master { ca: Arc::new(ca), book: Arc::default(), secrets: Arc::new(secrets), changed: changed_sender };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let master_address = listener.local_addr().expect("bound").to_string();
        let service = wire::agents_server::AgentsServer::new(master.clone()).max_decoding_message_size(16 << 20);
        let router = daemon::serve::grpc(tonic::service::Routes::new(service));
        let tls = daemon::tls::server_config(&own).expect("tls");
        tokio::spawn(daemon::serve::serve(listener, tls, router, None, std::future::pending()));

        let image = image::busybox_layout(&dir.path().join("image"));
        let name = format!("t-{test}-{}", std::process::id());
        let port = free_port();
        let mut world = Self { dir, setup, name, port, image, master, master_address, changed, agent: None, operator };
        world.start_agent();
        world.wait("the agent registers", |book| !book.registrations.is_empty()).await;
        world
    }

    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub fn start_agent(&mut self) {
        let sha = self.master.ca.sha256().expect("a CA");
        let log =
            std::fs::File::options().create(true).append(true).open(self.dir.path().join("agent.log")).expect("log");
        let mut command = match &self.setup.boot_id {
            None => Command::new(HARNESS),
            // In a mount namespace of its own the kernel's file can be another one.
            Some(file) => {
                let mut command = Command::new("unshare");
                command.args([
                    "--mount",
                    "sh",
                    "-c",
                    "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$@\"",
                ]);
                command.arg(file).arg(HARNESS);
                command
            }
        };
        let child = command
            .arg("agent")
            .arg(self.state_dir())
            .args([
                &self.name,
                &self.port.to_string(),
                &self.master_address,
                &self.setup.resources,
                "good",
                &sha,
                &self.setup.revocable,
                &self.setup.pressure,
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the agent starts");
        self.agent = Some(child);
    }

    /// SIGKILL.
    pub fn kill_agent(&mut self) {
        let mut agent = self.agent.take().expect("it runs");
        agent.kill().expect("killed");
        agent.wait().expect("reaped");
    }

    /// Waits for something to be true of what the master knows.
    pub async fn wait(&mut self, what: &str, condition: impl Fn(&Book) -> bool) {
        let deadline = tokio::time::Instant::now() + LIMIT;
        loop {
            self.changed.borrow_and_update();
            if condition(&self.master.book.lock().expect("no panic")) {
                return;
            }
            if tokio::time::timeout_at(deadline, self.changed.changed()).await.is_err() {
                let book = self.master.book.lock().expect("no panic");
                let log = std::fs::read_to_string(self.dir.path().join("agent.log")).unwrap_or_default();
                panic!("not in time: {what}\nupdates: {:#?}\nagent: {log}", book.updates);
            }
        }
    }

    pub fn book<T>(&self, read: impl FnOnce(&Book) -> T) -> T {
        read(&self.master.book.lock().expect("no panic"))
    }

    pub async fn say(&self, message: ToAgent) {
        let session = self.book(|book| book.session.clone()).expect("the agent registered");
        session.send(to_wire(&message)).await.expect("the session is open");
    }

    pub fn framework() -> FrameworkRef {
        FrameworkRef {
            id: FrameworkId::new("m-0001").expect("valid"),
            name: "f".to_owned(),
            role: RoleName::new("r").expect("valid"),
            principal: Principal::new("framework/f"),
        }
    }

    /// Launches a pod of these tasks.
    pub async fn launch(&self, pod: &str, tasks: &[mesos::TaskInfo]) {
        let executor = mesos::ExecutorInfo {
            executor_id: mesos::ExecutorId { value: pod.to_owned() },
            ..mesos::ExecutorInfo::default()
        };
        let pod = convert::task::pod_from_wire(Some(&executor), tasks).expect("a valid pod");
        self.say(ToAgent::Launch { framework: Self::framework(), pod, privileged_allowed: true }).await;
    }

    pub async fn kill(&self, task: &str) {
        let task_id = TaskId::new(task).expect("valid");
        self.say(ToAgent::Kill { framework_id: Self::framework().id, task_id, grace: None }).await;
    }

    /// A task of the busybox image that runs a shell script.
    pub fn task(&self, id: &str, script: &str) -> mesos::TaskInfo {
        let scalar = |name: &str, value: f64| mesos::Resource {
            name: name.to_owned(),
            r#type: mesos::value::Type::Scalar.into(),
            scalar: Some(mesos::value::Scalar { value }),
            ..mesos::Resource::default()
        };
        mesos::TaskInfo {
            name: id.to_owned(),
            task_id: mesos::TaskId { value: id.to_owned() },
            agent_id: mesos::AgentId { value: AGENT_ID.to_owned() },
            resources: vec![scalar("cpus", 0.5), scalar("mem", 64.0)],
            command: Some(mesos::CommandInfo { value: Some(script.to_owned()), ..mesos::CommandInfo::default() }),
            container: Some(mesos::ContainerInfo {
                r#type: mesos::container_info::Type::Mesos.into(),
                mesos: Some(mesos::container_info::MesosInfo {
                    image: Some(mesos::Image {
                        r#type: mesos::image::Type::Docker.into(),
                        docker: Some(mesos::image::Docker { name: self.image.clone(), config: None }),
                        cached: None,
                    }),
                }),
                ..mesos::ContainerInfo::default()
            }),
            ..mesos::TaskInfo::default()
        }
    }

    /// Waits for a task's terminal update.
    pub async fn ended(&mut self, task: &str) -> TaskStatus {
        let last = |book: &Book| book.updates.iter().rev().find(|status| status.task_id.as_str() == task).cloned();
        self.wait(&format!("task {task} ends"), |book| last(book).is_some_and(|status| status.state.is_terminal()))
            .await;
        self.book(last).expect("just seen")
    }

    /// What the agent is to keep for others than the free: waits until it does.
    pub async fn hold(&mut self, generation: u64, holdings: model::Resources) {
        self.say(ToAgent::SetHoldings { generation, holdings }).await;
        self.wait("the agent has the holdings", |book| book.applied == generation).await;
    }

    /// Everything of this host ends at once, the agent too.
    pub fn power_cut(&mut self) {
        self.kill_agent();
        for pod in entries(&self.state_dir().join("pods")) {
            if let Ok(Some(record)) = executor::files::ExecutorRecord::load(&pod) {
                // It may have ended before.
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(record.pid), nix::sys::signal::SIGKILL);
            }
        }
        executor::kill_pod_cgroups(&format!("/mezzo/{}", self.name)).expect("killed");
    }

    /// A file of a container's cgroup.
    pub fn cgroup(&self, controller: &str, pod: &str, container: &str, file: &str) -> String {
        let place =
            Path::new("/sys/fs/cgroup").join(controller).join("mezzo").join(&self.name).join(pod).join(container);
        let path = place.join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.trim().to_owned()
    }

    pub async fn running(&mut self, task: &str) {
        self.wait(&format!("task {task} runs"), |book| {
            book.updates.iter().any(|status| status.task_id.as_str() == task && status.state == TaskState::Running)
        })
        .await;
    }

    pub fn states(&self, task: &str) -> Vec<TaskState> {
        let mut states: Vec<_> = self.book(|book| {
            book.updates.iter().filter(|status| status.task_id.as_str() == task).map(|status| status.state).collect()
        });
        states.dedup();
        states
    }

    pub fn operator(&self) -> wire::agent_operator_client::AgentOperatorClient<tonic::transport::Channel> {
        let address = format!("127.0.0.1:{}", self.port);
        let server = format!("{}.agent.mezzo", self.name);
        let channel = daemon::client::channel(&address, &server, &self.operator).expect("a channel");
        wire::agent_operator_client::AgentOperatorClient::new(channel)
    }

    pub fn http(&self) -> daemon::client::HttpClient {
        let (address, server) = (format!("127.0.0.1:{}", self.port), format!("{}.agent.mezzo", self.name));
        daemon::client::HttpClient::new(&address, &server, &self.operator).expect("a client")
    }

    /// What a task printed, as soon as it printed some word.
    pub async fn log_until(&self, task: &str, word: &str) -> String {
        let request =
            wire::ReadLogRequest { task_id: task.to_owned(), stream: "stdout".to_owned(), follow: true, tail_bytes: 0 };
        let mut chunks = self.operator().read_log(request).await.expect("read").into_inner();
        let mut text = String::new();
        let read = async {
            while !text.contains(word) {
                let chunk = chunks.message().await.expect("read").expect("more is coming");
                text.push_str(&String::from_utf8_lossy(&chunk.data));
            }
        };
        let in_time = tokio::time::timeout(LIMIT, read).await.is_ok();
        assert!(in_time, "task {task} never printed {word}: {text}");
        text
    }

    /// A task's whole log.
    pub async fn log(&self, task: &str, stream: &str) -> String {
        let request =
            wire::ReadLogRequest { task_id: task.to_owned(), stream: stream.to_owned(), follow: true, tail_bytes: 0 };
        let mut chunks = self.operator().read_log(request).await.expect("read").into_inner();
        let mut text = Vec::new();
        while let Some(chunk) = chunks.message().await.expect("read") {
            text.extend_from_slice(&chunk.data);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits until the agent has removed everything of its pods but the sandboxes.
    pub fn wait_until_clean(&self) {
        let deadline = Instant::now() + LIMIT;
        let pods = self.state_dir().join("pods");
        loop {
            let left: Vec<_> = entries(&pods).into_iter().filter(|dir| dir.join("containers").exists()).collect();
            let cgroup = Path::new("/sys/fs/cgroup/memory/mezzo").join(&self.name);
            let cgroups = entries(&cgroup).into_iter().filter(|path| path.is_dir()).collect::<Vec<_>>();
            if left.is_empty() && cgroups.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "left: {left:?} {cgroups:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

impl Drop for World {
    /// Also after a failure nothing is left on the machine.
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        for pod in entries(&self.state_dir().join("pods")) {
            let _ = executor::cleanup_pod(&pod);
        }
        let _ = executor::kill_pod_cgroups(&format!("/mezzo/{}", self.name));
        if std::thread::panicking() {
            eprintln!("agent: {}", std::fs::read_to_string(self.dir.path().join("agent.log")).unwrap_or_default());
            for pod in entries(&self.state_dir().join("pods")) {
                eprintln!(
                    "{}: {}",
                    pod.display(),
                    std::fs::read_to_string(pod.join("executor.log")).unwrap_or_default()
                );
            }
        }
    }
}
