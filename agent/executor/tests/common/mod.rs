//! A pod with a real executor and real containers of busybox, and the agent's end of the link. Needs root.
#![allow(dead_code, unreachable_pub)] // each test file uses its part

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use executor::files::ExecutorRecord;
use executor::link::AgentEnd;
use executor::{cleanup_pod, kill_pod_cgroups};
use proto::mezzo::v1::container_report::Kind;
use proto::mezzo::v1::{
    ContainerReport, ContainerSpec, Ended, Exit, KillContainer, ReportSeen, Restart, StartPod, ToExecutor,
    from_executor, restart, to_executor,
};
use serde_json::{Value, json};

pub const HARNESS: &str = env!("CARGO_BIN_EXE_mezzo-executor-harness");
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Removed with everything in it, also when a test fails.
pub struct Pod {
    _temp: tempfile::TempDir,
    pub dir: PathBuf,
    pub cgroup: String,
    root_cgroup: String,
    executor: Child,
    containers: Vec<ContainerSpec>,
}

impl Pod {
    pub fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "these tests make containers and must run as root");
        assert!(Path::new("/bin/busybox").exists(), "/bin/busybox is missing: install the package busybox-static");
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("pod");
        fs::create_dir(&dir).unwrap();
        let root_cgroup = format!("/mezzo-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let executor = spawn_executor(Path::new(HARNESS), &dir, &temp.path().join("executor.log"));
        let cgroup = format!("{root_cgroup}/pod");
        Self { _temp: temp, dir, cgroup, root_cgroup, executor, containers: Vec::new() }
    }

    /// A container that runs a shell script, with 64 MiB of memory.
    pub fn container(&mut self, name: &str, script: &str) -> &mut ContainerSpec {
        self.container_with(name, script, |_| {})
    }

    pub fn container_with(&mut self, name: &str, script: &str, change: impl FnOnce(&mut Value)) -> &mut ContainerSpec {
        let bundle = self.dir.join(name).join("bundle");
        let bin = bundle.join("rootfs/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        for applet in [
            "sh", "cat", "echo", "sleep", "ls", "mkdir", "mount", "rm", "touch", "dd", "tail", "seq", "id", "kill",
            "nc", "httpd", "true", "stty",
        ] {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        let mut config = config(script);
        change(&mut config);
        fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        let logs = self.dir.join(name);
        let path = |file: &str| logs.join(file).to_str().unwrap().to_owned();
        self.containers.push(ContainerSpec {
            task_id: format!("task-{name}"),
            name: name.to_owned(),
            bundle: bundle.to_str().unwrap().to_owned(),
            cgroup: format!("{}/{name}", self.cgroup),
            stdout_path: path("stdout"),
            stderr_path: path("stderr"),
            kill_grace_ms: 2000,
            ..ContainerSpec::default()
        });
        self.containers.last_mut().unwrap()
    }

    /// What the container made last undoes after its pod, in its own files.
    pub fn clean_up(&mut self, script: &str) {
        let spec = self.containers.last_mut().unwrap();
        let bundle = Path::new(&spec.bundle).join("clean-up");
        let mut config = config(script);
        config["root"]["path"] = json!(Path::new(&spec.bundle).join("rootfs"));
        fs::create_dir(&bundle).unwrap();
        fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        spec.clean_up_bundle = bundle.to_str().unwrap().to_owned();
    }
    /// Runs what is to be undone, as an agent does.
    pub fn run_clean_up(&self) -> std::process::Output {
        Command::new(HARNESS).arg("executor").arg("--clean-up").arg(&self.dir).output().unwrap()
    }

    pub async fn agent(&self) -> Agent {
        let end = eventually("the executor listens", || async { AgentEnd::connect(&self.dir).await.ok() }).await;
        assert_eq!(end.hello.version, 1);
        Agent { end, reports: Vec::new(), of_others: Vec::new() }
    }

    /// Connects and starts the pod.
    pub async fn start(&self) -> Agent {
        let mut agent = self.agent().await;
        self.start_on(&mut agent).await;
        agent
    }
    pub async fn start_on(&self, agent: &mut Agent) {
        let start = StartPod { pod_id: "pod".to_owned(), containers: self.containers.clone() };
        agent.send(to_executor::Kind::Start(start)).await;
    }

    pub fn stdout(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name).join("stdout")).unwrap_or_default()
    }
    pub fn stderr(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name).join("stderr")).unwrap_or_default()
    }
    /// A container's root as the host sees it.
    pub fn rootfs(&self, name: &str) -> PathBuf {
        self.dir.join(name).join("bundle/rootfs")
    }
    pub fn executor_pid(&self) -> u32 {
        self.executor.id()
    }
    pub fn log(&self) -> String {
        fs::read_to_string(self._temp.path().join("executor.log")).unwrap_or_default()
    }
    pub fn kill_executor(&mut self) {
        self.executor.kill().unwrap();
        self.executor.wait().unwrap();
    }
    /// Another program for a pod whose executor is dead and had started nothing.
    pub fn restart_executor(&mut self, program: &Path) {
        self.executor = spawn_executor(program, &self.dir, &self._temp.path().join("executor.log"));
    }
    pub fn wait_executor(&mut self) -> std::process::ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.executor.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the executor does not leave: {}", self.log());
            std::thread::yield_now();
        }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("executor's log:\n{}", self.log());
        }
        let _ = self.executor.kill();
        let _ = self.executor.wait();
        let cleaned = cleanup_pod(&self.dir).and_then(|()| cleanup_pod(self._temp.path()));
        let killed = kill_pod_cgroups(&self.root_cgroup);
        if !std::thread::panicking() {
            cleaned.unwrap();
            killed.unwrap();
        }
    }
}

fn spawn_executor(program: &Path, dir: &Path, log: &Path) -> Child {
    let log = fs::File::create(log).unwrap();
    let mut command = Command::new(program);
    command.arg("executor").arg("--dir").arg(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().unwrap()
}

/// The agent of a pod.
pub struct Agent {
    pub end: AgentEnd,
    pub reports: Vec<ContainerReport>,
    of_others: Vec<ContainerReport>,
}

impl Agent {
    pub async fn send(&mut self, kind: to_executor::Kind) {
        self.end.sender.send(&ToExecutor { kind: Some(kind) }).await.unwrap();
    }
    pub async fn kill(&mut self, name: &str, grace_ms: u64) {
        let kill = KillContainer { task_id: format!("task-{name}"), grace_ms, reason: "test".to_owned() };
        self.send(to_executor::Kind::Kill(kill)).await;
    }
    pub async fn seen(&mut self, number: u64) {
        self.send(to_executor::Kind::Seen(ReportSeen { number })).await;
    }
    pub async fn exit(&mut self) {
        self.send(to_executor::Kind::Exit(Exit {})).await;
    }
    /// The next report.
    pub async fn next(&mut self) -> ContainerReport {
        let next = tokio::time::timeout(PATIENCE, self.end.receiver.recv());
        let message = next
            .await
            .unwrap_or_else(|_| panic!("no report; so far {:#?}", self.reports))
            .unwrap()
            .expect("the link ended");
        let Some(from_executor::Kind::Report(report)) = message.kind else { panic!("not a report: {message:?}") };
        self.reports.push(report.clone());
        report
    }
    /// The next report of that container for which `wanted` has an answer.
    pub async fn until<T>(&mut self, name: &str, wanted: impl Fn(&Kind) -> Option<T>) -> T {
        let task_id = format!("task-{name}");
        // What was said of it while another one was waited for.
        for i in 0..self.of_others.len() {
            let report = &self.of_others[i];
            if report.task_id == task_id
                && let Some(found) = report.kind.as_ref().and_then(&wanted)
            {
                self.of_others.remove(i);
                return found;
            }
        }
        loop {
            let report = self.next().await;
            if report.task_id != task_id {
                self.of_others.push(report);
            } else if let Some(found) = report.kind.as_ref().and_then(&wanted) {
                return found;
            }
        }
    }
    pub async fn started(&mut self, name: &str) -> u32 {
        self.until(name, |kind| if let Kind::Started(started) = kind { Some(started.pid) } else { None }).await
    }
    pub async fn ended(&mut self, name: &str) -> Ended {
        self.until(name, |kind| if let Kind::Ended(ended) = kind { Some(ended.clone()) } else { None }).await
    }
    pub async fn restarting(&mut self, name: &str) -> proto::mezzo::v1::Restarting {
        self.until(name, |kind| if let Kind::Restarting(restarting) = kind { Some(restarting.clone()) } else { None })
            .await
    }
    pub async fn checked(&mut self, name: &str) -> proto::mezzo::v1::Checked {
        self.until(name, |kind| if let Kind::Checked(checked) = kind { Some(checked.clone()) } else { None }).await
    }
}

pub fn in_place(backoff_ms_min: u32, backoff_ms_max: u32) -> Option<Restart> {
    Some(Restart { policy: restart::Policy::InPlace.into(), backoff_ms_min, backoff_ms_max })
}

/// Waits for a condition.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub async fn until(what: &str, mut look: impl FnMut() -> bool) {
    eventually(what, || std::future::ready(look().then_some(()))).await;
}

/// Cgroup directories of a path in every hierarchy.
pub fn cgroup_dirs(path: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).unwrap().flatten().map(|entry| entry.path());
    std::iter::once(root.to_owned())
        .chain(hierarchies)
        .map(|h| h.join(path.trim_start_matches('/')))
        .filter(|dir| dir.is_dir())
        .collect()
}

pub fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

pub fn record(pod: &Pod) -> ExecutorRecord {
    ExecutorRecord::load(&pod.dir).unwrap().unwrap()
}

fn config(script: &str) -> Value {
    let capabilities = json!(["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false, "user": {"uid": 0, "gid": 0}, "cwd": "/", "noNewPrivileges": true,
            "args": ["sh", "-c", script], "env": ["PATH=/bin", "COLOUR=red"],
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            // More than this process may have: the helper asks for less.
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1_048_576}]
        },
        "root": {"path": "rootfs", "readonly": false},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=1m"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666", "mode=0620"]}
        ],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
            "resources": {"memory": {"limit": 67_108_864, "swap": 67_108_864}, "pids": {"limit": 64}}
        }
    })
}
