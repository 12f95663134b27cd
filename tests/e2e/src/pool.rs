//! A pool of a test's own: its directory, name, network and operator, taken down when the value is dropped, also when the test
//! fails. Then the logs are kept first.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::cluster::without_number;
use crate::kubectl::Kubectl;
use crate::program::Program;
use crate::tasks::Task;
use crate::wait::{eventually, until};

/// Its bridge and namespaces are called after it, and nobody's real pool is.
pub const NAME: &str = "e2e";

/// A network of its own, so that a pool that a developer has running is not in the way.
pub(crate) const SUBNET: &str = "10.85.0.0/24";

/// Where pools have their directories, and how these are called.
pub(crate) const PARENT: &str = "/var/tmp";
pub(crate) const PREFIX: &str = "mezzo-e2e-";

/// Programs that packages run on agents.
const ARTIFACTS: [&str; 2] = ["mezzo-kubernetes", "mezzo-hello"];

/// A running pool.
#[derive(Debug)]
pub struct Pool {
    directory: tempfile::TempDir,
    programs: PathBuf,
    test: &'static str,
    master: String,
    is_up: bool,
    _lock: File,
}

impl Pool {
    /// Brings up a pool for `test` with so many agents, and more options of `mezzo up`.
    ///
    /// # Errors
    /// If it does not come up; what was begun is taken down again.
    pub fn up(test: &'static str, agents: u32, options: &[&str]) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("tests with real processes need root: containers, networks and cgroups are made");
        }
        let lock_path = std::env::temp_dir().join("mezzo-e2e.lock");
        let lock = File::create(&lock_path).with_context(|| format!("open {}", lock_path.display()))?;
        lock.lock().with_context(|| format!("lock {}", lock_path.display()))?;
        let programs = programs()?;
        take_down_earlier(&programs)?;
        let directory =
            tempfile::Builder::new().prefix(PREFIX).tempdir_in(PARENT).context("create a directory for the pool")?;
        let mut pool = Self { directory, programs, test, master: String::new(), is_up: true, _lock: lock };
        let agents = agents.to_string();
        let place = pool.place().display().to_string();
        pool.mezzo(&["up", "--detach", "--dir", &place, "--name", NAME, "--subnet", SUBNET, "--agents", &agents])
            .args(options)
            .within(Duration::from_secs(120))
            .run()?;
        pool.master = pool.master_address()?;
        Ok(pool)
    }

    /// The directory that `mezzo up --dir` got.
    pub fn place(&self) -> PathBuf {
        self.directory.path().join("pool")
    }

    /// A directory that lives as long as the pool.
    pub fn scratch(&self) -> &Path {
        self.directory.path()
    }

    /// The `mezzo` program as this pool's operator.
    pub fn mezzo(&self, arguments: &[&str]) -> Program {
        let program = Program::new(self.programs.join("mezzo")).args(arguments).env("HOME", self.directory.path());
        if self.master.is_empty() { program } else { program.env("MEZZO_MASTER", &self.master) }
    }

    /// Where the master is, as `address:port`.
    ///
    /// # Errors
    /// If the pool's network is none.
    pub fn master(&self) -> Result<String> {
        self.master_address()
    }

    /// The JSON that `mezzo` prints.
    ///
    /// # Errors
    /// If it fails or prints something else.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.mezzo(arguments).args(["--output", "json"]).run()?;
        serde_json::from_str(&text).with_context(|| format!("read what `mezzo {}` printed", arguments.join(" ")))
    }

    /// Uploads the images called `names` and the programs of all packages.
    ///
    /// # Errors
    /// If one cannot be built or uploaded.
    pub fn upload(&self, names: &[&str]) -> Result<()> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("find the workspace")?;
        // Made before the tests began, so this only says where they are; if not, it takes as long as it takes.
        let images = Program::new(self.programs.join("xtask"))
            .args(["images", "--as-built"])
            .args(names)
            .env("CARGO_TARGET_DIR", self.programs.parent().context("find the target directory")?)
            .directory(workspace)
            .within(Duration::from_secs(15 * 60))
            .run()?;
        for line in images.lines() {
            let (reference, layout) = line.split_once('\t').context("read the list of images")?;
            self.mezzo(&["image", "push", layout, reference]).within(Duration::from_secs(180)).run()?;
        }
        for artifact in ARTIFACTS {
            self.upload_program(artifact)?;
        }
        Ok(())
    }

    /// Uploads a program of this workspace under its own name.
    ///
    /// # Errors
    /// If it is not built or cannot be uploaded.
    pub fn upload_program(&self, artifact: &str) -> Result<()> {
        let stripped = self.stripped(artifact)?;
        self.mezzo(&["artifact", "push", artifact]).args([&stripped]).run().map(drop)
    }

    /// A program of this workspace without debug information, which is most of the file.
    ///
    /// # Errors
    /// If it is not built.
    pub fn stripped(&self, name: &str) -> Result<PathBuf> {
        let stripped = self.directory.path().join(name);
        Program::new("strip").args(["--strip-debug", "-o"]).args([&stripped, &self.programs.join(name)]).run()?;
        Ok(stripped)
    }

    /// The tasks of every framework that have not ended, or all there are.
    ///
    /// # Errors
    /// If the master does not answer.
    pub fn all_tasks(&self, all: bool) -> Result<Vec<Task>> {
        let arguments: &[&str] = if all { &["task", "list", "--all"] } else { &["task", "list"] };
        Ok(list(&self.json(arguments)?, "tasks").iter().map(Task::read).collect())
    }

    /// A framework's tasks that have not ended, or all there are.
    ///
    /// # Errors
    /// If the master does not answer.
    pub fn tasks(&self, framework: &str, all: bool) -> Result<Vec<Task>> {
        let mut arguments = vec!["task", "list", "--framework", framework];
        if all {
            arguments.push("--all");
        }
        let list = self.json(&arguments)?;
        Ok(list["tasks"].as_array().map_or_else(Vec::new, |tasks| tasks.iter().map(Task::read).collect()))
    }

    /// kubectl for one cluster.
    ///
    /// # Errors
    /// If there is no such cluster.
    pub fn kubectl(&self, cluster: &str) -> Result<Kubectl> {
        let kubeconfig = self.directory.path().join(format!("{cluster}.kubeconfig"));
        let text = self.mezzo(&["kubernetes", "kubeconfig", cluster]).run()?;
        fs::write(&kubeconfig, text).with_context(|| format!("write {}", kubeconfig.display()))?;
        Ok(Kubectl::new(&kubeconfig))
    }

    /// The processes of this pool whose arguments contain `words` one after the other, as in `agent run`.
    ///
    /// # Errors
    /// If the process table cannot be read.
    pub fn processes(&self, words: &[&str]) -> Result<Vec<Pid>> {
        let place = self.place().display().to_string();
        let mark = format!("MEZZO_LOCAL_POOL={place}");
        let mut found = Vec::new();
        for (pid, arguments) in crate::machine::processes()? {
            if !arguments.windows(words.len()).any(|window| window == words) {
                continue;
            }
            // Not every one is told the pool's directory; all inherit it. The process may have ended since.
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let is_marked = || environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes());
            if arguments.iter().any(|argument| argument.contains(&place)) || is_marked() {
                found.push(pid);
            }
        }
        Ok(found)
    }

    /// The processes of `program`, begun with `arguments`, in the containers of this pool's tasks.
    ///
    /// # Errors
    /// If the process table cannot be read.
    pub fn processes_in_tasks(&self, program: &str, arguments: &[&str]) -> Result<Vec<Pid>> {
        let mark = format!("/mezzo/{NAME}-");
        let mut found = Vec::new();
        for (pid, words) in crate::machine::processes()? {
            let (own, rest) = words.split_first().context("read the name of a process")?;
            let is_named = Path::new(own).file_name().is_some_and(|name| name == program);
            if is_named
                && rest.iter().zip(arguments).filter(|(word, wanted)| word == *wanted).count() == arguments.len()
            {
                // It may have ended since.
                let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
                found.extend(groups.contains(&mark).then_some(pid));
            }
        }
        Ok(found)
    }

    /// The processes in the containers of a task's pod.
    ///
    /// # Errors
    /// If the process table cannot be read.
    pub fn processes_of(&self, task: &Task) -> Result<Vec<Pid>> {
        if task.pod_id.is_empty() { Ok(Vec::new()) } else { self.processes_in_pod(&task.pod_id) }
    }

    /// The processes in the containers of a pod, its executor left out.
    ///
    /// # Errors
    /// If the process table cannot be read.
    pub fn processes_in_pod(&self, pod_id: &str) -> Result<Vec<Pid>> {
        let mut found = Vec::new();
        for (pid, _) in crate::machine::processes()? {
            // It may have ended since.
            let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            // `<hierarchy>:/mezzo/<agent>/<pod>/<container>`, the pod perhaps with its number before it.
            let is_in_pod = |line: &str| {
                let mut parts = line.split('/').skip(1);
                let is_ours =
                    parts.next() == Some("mezzo") && parts.next().is_some_and(|agent| agent.starts_with(NAME));
                let pod = parts.next().unwrap_or_default();
                let container = parts.next().unwrap_or("executor");
                is_ours && container != "executor" && (pod == pod_id || pod.ends_with(&format!("-{pod_id}")))
            };
            if groups.lines().any(is_in_pod) {
                found.push(pid);
            }
        }
        Ok(found)
    }

    /// Nothing that was launched once ever runs on two agents: looked for in the cgroups of all processes. To be broken is no
    /// error to ask again about.
    ///
    /// # Errors
    /// If the process table cannot be read.
    ///
    /// # Panics
    /// If it does.
    pub fn assert_every_launch_is_on_one_agent(&self) -> Result<()> {
        let mut agents: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (pid, _) in crate::machine::processes()? {
            // It may have ended since.
            let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            let own = groups.lines().find_map(|line| line.split_once(":/mezzo/").map(|(_, path)| path));
            let mut parts = own.into_iter().flat_map(|path| path.split('/'));
            if let (Some(agent), Some(pod)) = (parts.next(), parts.next())
                && agent.starts_with(NAME)
            {
                agents.entry(without_number(pod).to_owned()).or_default().insert(agent.to_owned());
            }
        }
        let doubled: Vec<_> = agents.iter().filter(|(_, agents)| agents.len() > 1).collect();
        assert!(doubled.is_empty(), "launched once, run on more than one agent: {doubled:?}");
        Ok(())
    }

    /// The pod that an executor is the parent of.
    ///
    /// # Errors
    /// If the process table cannot be read.
    pub fn pod_of_executor(&self, executor: Pid) -> Result<Option<String>> {
        let processes = crate::machine::processes()?;
        let arguments = processes.into_iter().find(|(pid, _)| *pid == executor).map(|(_, arguments)| arguments);
        let directory = arguments.and_then(|words| words.into_iter().skip_while(|word| word != "--dir").nth(1));
        let name = directory.and_then(|path| Some(Path::new(&path).file_name()?.to_string_lossy().into_owned()));
        Ok(name)
    }

    /// Whether every plan of a framework is complete: that of its deployment, of recovery, of what leaves.
    ///
    /// # Errors
    /// If the framework does not answer.
    pub fn is_every_plan_complete(&self, framework: &str) -> Result<bool> {
        let answer = self.json(&["plan", "show", framework])?;
        let plans = list(&answer, "plans");
        Ok(!plans.is_empty() && plans.iter().all(|plan| plan["status"] == "COMPLETE"))
    }

    /// Where a plan stands, in capital letters.
    ///
    /// # Errors
    /// If there is no such plan.
    pub fn plan_status(&self, framework: &str, plan: &str) -> Result<String> {
        let plan = self.json(&["plan", "show", framework, plan])?;
        Ok(plan["status"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until a framework is gone, with its tasks, reservations and volumes.
    ///
    /// # Errors
    /// If something is still there after a minute and a half.
    pub fn expect_nothing_held(&self, framework: &str) -> Result<()> {
        until(&format!("nothing is left of {framework}"), Duration::from_secs(90), || {
            let frameworks = self.json(&["framework", "list"])?;
            let is_gone = list(&frameworks, "frameworks").iter().all(|listed| listed["name"] != framework);
            let agents = self.json(&["agent", "list"])?;
            let is_free = list(&agents, "agents").iter().all(|agent| list(agent, "holdings").is_empty());
            Ok(is_gone && is_free && self.tasks(framework, false)?.is_empty())
        })
    }

    /// Kills one process with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// If it is still there after ten seconds.
    pub fn kill(&self, pid: Pid) -> Result<()> {
        eprintln!("+ kill -9 {pid}");
        kill(pid, Signal::SIGKILL).with_context(|| format!("kill {pid}"))?;
        eventually(&format!("the end of {pid}"), Duration::from_secs(10), || {
            Ok((!crate::machine::is_alive(pid)).then_some(()))
        })
    }

    /// Cuts the cable of an agent's host: nothing reaches it, what runs there runs on.
    ///
    /// # Errors
    /// If there is no such link.
    pub fn unplug(&self, agent: &str) -> Result<()> {
        Program::new("ip").args(["link", "set", &link_of(agent)?, "down"]).run().map(drop)
    }

    /// Mends the cable again.
    ///
    /// # Errors
    /// If there is no such link.
    pub fn plug_in(&self, agent: &str) -> Result<()> {
        Program::new("ip").args(["link", "set", &link_of(agent)?, "up"]).run().map(drop)
    }

    /// Destroys an agent's host, all at once and for good: the cable is cut, every process is killed, its state is removed. The
    /// supervisor may start another agent there, which knows nobody and reaches nobody.
    ///
    /// # Errors
    /// If something is left of it.
    pub fn destroy(&self, agent: &str) -> Result<()> {
        self.unplug(agent)?;
        let mark = format!("/mezzo/{agent}/");
        let directory = self.place().join(agent.strip_prefix(&format!("{NAME}-")).unwrap_or(agent));
        until(&format!("nothing of {agent}"), Duration::from_secs(30), || {
            let inside = Program::new("ip").args(["netns", "pids", agent]).run()?;
            let mut pids: Vec<i32> = inside.lines().filter_map(|line| line.trim().parse().ok()).collect();
            for (pid, _) in crate::machine::processes()? {
                let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
                pids.extend(groups.contains(&mark).then_some(pid.as_raw()));
            }
            for pid in &pids {
                // It may have ended since.
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            if directory.exists() {
                fs::remove_dir_all(&directory).with_context(|| format!("delete {}", directory.display()))?;
            }
            let is_left = |pid: &i32| {
                let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
                groups.contains(&mark) && crate::machine::is_alive(Pid::from_raw(*pid))
            };
            Ok(!pids.iter().any(is_left))
        })
    }

    /// Takes the pool down as a user would, and deletes what it stored.
    ///
    /// # Errors
    /// If `mezzo down` fails.
    pub fn down(mut self) -> Result<()> {
        self.is_up = false;
        self.take_down()
    }

    fn take_down(&self) -> Result<()> {
        let place = self.place().display().to_string();
        self.mezzo(&["down", "--dir", &place, "--purge", "--yes"]).within(Duration::from_secs(120)).run().map(drop)
    }

    /// The pool's network has the master as its first host.
    fn master_address(&self) -> Result<String> {
        let first = SUBNET.rsplit_once('.').context("read the subnet")?.0;
        Ok(format!("{first}.1:5050"))
    }

    /// A failed test's logs outlive its pool, in `target/e2e/<test>/`.
    fn keep_logs(&self) -> Result<PathBuf> {
        let kept = self.programs.parent().unwrap_or(&self.programs).join("e2e").join(self.test);
        if kept.exists() {
            fs::remove_dir_all(&kept).with_context(|| format!("delete {}", kept.display()))?;
        }
        fs::create_dir_all(&kept).with_context(|| format!("create {}", kept.display()))?;
        copy_logs(&self.place(), &self.place(), &kept)?;
        Ok(kept)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.is_up {
            return;
        }
        match self.keep_logs() {
            Ok(kept) => eprintln!("the logs of the pool are in {}", kept.display()),
            Err(error) => eprintln!("the logs of the pool are lost: {error:#}"),
        }
        if let Err(error) = self.take_down() {
            eprintln!("the pool is not down: {error:#}");
        }
    }
}

/// Takes down what a test left that was killed before it could: whoever holds the lock is alone.
fn take_down_earlier(programs: &Path) -> Result<()> {
    for entry in fs::read_dir(PARENT).with_context(|| format!("list {PARENT}"))? {
        let entry = entry.with_context(|| format!("list {PARENT}"))?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            let path = entry.path();
            Program::new(programs.join("mezzo"))
                .args(["down", "--purge", "--yes", "--dir"])
                .args([&path.join("pool")])
                .within(Duration::from_secs(120))
                .run()?;
            fs::remove_dir_all(&path).with_context(|| format!("delete {}", path.display()))?;
        }
    }
    Ok(())
}

/// The end of an agent's cable that is not in its namespace.
fn link_of(agent: &str) -> Result<String> {
    let number = agent.strip_prefix(NAME).and_then(|rest| rest.strip_prefix("-agent-"));
    Ok(format!("{NAME}-v{}", number.with_context(|| format!("find the link of {agent}"))?))
}

/// A list in a message; an empty one is not printed.
pub fn list<'a>(message: &'a Value, field: &str) -> &'a [Value] {
    message[field].as_array().map_or(&[], Vec::as_slice)
}

/// Where cargo puts programs: the directory above that of this test's own executable.
fn programs() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find this program")?;
    let directory = own.ancestors().nth(2).context("find the directory of programs")?.to_path_buf();
    for program in ["mezzo", "xtask"].iter().chain(&ARTIFACTS) {
        if !directory.join(program).is_file() {
            bail!("{program} is not built; first: cargo build --workspace");
        }
    }
    Ok(directory)
}

/// Copies logs and tasks' output, flat: slashes become dashes. Root filesystems of containers are left out.
fn copy_logs(root: &Path, directory: &Path, kept: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(());
    };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().context("look at a file")?;
        if kind.is_dir() && !matches!(name.as_str(), "rootfs" | "images" | "volumes" | "blobs") {
            copy_logs(root, &path, kept)?;
        } else if kind.is_file() && (name.ends_with(".log") || name.starts_with("stdout") || name.starts_with("stderr"))
        {
            let flat = path.strip_prefix(root).unwrap_or(&path).display().to_string().replace('/', "-");
            fs::copy(&path, kept.join(flat)).with_context(|| format!("copy {}", path.display()))?;
        }
    }
    Ok(())
}
