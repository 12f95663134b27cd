//! The pool that is to suffer, and the framework that loads it: their processes, directories and links.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::mezzo::Mezzo;
use crate::paths::Workspace;
use crate::tool::Tool;

const NAME: &str = "chaos";
const SUBNET: &str = "10.87.0.0/24";
const MASTER: &str = "10.87.0.1:5050";
pub(crate) const AGENTS: u8 = 3;
/// The agent whose disk can be full, and how large that is.
pub(crate) const SMALL_DISK: u8 = 3;
const SMALL_DISK_SIZE: &str = "size=192m";
/// Until a framework that was killed is started again.
const LOAD_AWAY: Duration = Duration::from_secs(2);
const GONE_WITHIN: Duration = Duration::from_secs(20);

pub(crate) struct Pool {
    directory: PathBuf,
    mezzo: Mezzo,
    seed: u64,
    load: Option<Child>,
    load_ended: Instant,
    is_finished: bool,
}

/// Whose processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    Master,
    Agent(u8),
    /// One of them, by a number of chance.
    Executor(u64),
    Load,
}

impl Pool {
    pub(crate) fn up(workspace: &Workspace, directory: &Path, seed: u64) -> Result<Self> {
        // Copies: whoever builds meanwhile changes nothing here.
        for name in ["mezzo", "e2e-load"] {
            fs::copy(workspace.program(name), directory.join(name)).with_context(|| format!("copy {name}"))?;
        }
        let mut mezzo = Mezzo::at(workspace, MASTER).with_identity(&directory.join("identity"));
        mezzo.program = directory.join("mezzo");
        let mut pool = Self {
            directory: directory.to_owned(),
            mezzo,
            seed,
            load: None,
            load_ended: Instant::now(),
            is_finished: false,
        };
        let place = pool.place().display().to_string();
        let agents = AGENTS.to_string();
        pool.mezzo
            .command(&["up", "--detach", "--dir", &place, "--name", NAME, "--subnet", SUBNET, "--agents", &agents])
            .run()?;
        let made = fs::create_dir_all(pool.load_directory()).context("create the framework's directory");
        if let Err(error) = made.and_then(|()| pool.shrink_disk()).and_then(|()| pool.start_load()) {
            pool.down()?;
            return Err(error);
        }
        Ok(pool)
    }

    fn place(&self) -> PathBuf {
        self.directory.join("pool")
    }
    fn load_directory(&self) -> PathBuf {
        self.directory.join("load")
    }
    pub(crate) fn journal(&self) -> PathBuf {
        self.load_directory().join("journal")
    }
    pub(crate) fn agent_directory(&self, number: u8) -> PathBuf {
        self.place().join(format!("agent-{number}"))
    }
    pub(crate) fn agent_name(number: u8) -> String {
        format!("{NAME}-agent-{number}")
    }
    pub(crate) fn link(number: u8) -> String {
        format!("{NAME}-v{number}")
    }
    pub(crate) fn set_phase(&self, phase: &str) -> Result<()> {
        fs::write(self.load_directory().join("phase"), phase).context("tell the framework")
    }

    /// The JSON that `mezzo` prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.mezzo.command(arguments).args(["--output", "json"]).quiet().output()?;
        serde_json::from_str(&text).with_context(|| format!("read what `mezzo {}` printed", arguments.join(" ")))
    }

    /// One agent moves to a small disk before anything runs there. `mezzo up` would unmount what it finds in its directory.
    fn shrink_disk(&self) -> Result<()> {
        let (place, beside) = (self.agent_directory(SMALL_DISK), self.directory.join("small"));
        let supervisor = self.find(&["up", "--supervise"])?.first().copied().context("find the supervisor")?;
        kill(supervisor, Signal::SIGSTOP).context("pause the supervisor")?;
        let moved = (|| {
            for pid in self.processes(Victim::Agent(SMALL_DISK))? {
                kill(pid, Signal::SIGKILL).context("kill the agent")?;
            }
            fs::create_dir_all(&beside).context("create a directory")?;
            Tool::new("mount").args(["-t", "tmpfs", "-o", SMALL_DISK_SIZE, NAME]).arg(&beside).quiet().run()?;
            Tool::new("cp").arg("-a").arg(place.join(".")).arg(&beside).quiet().run()?;
            Tool::new("mount").arg("--bind").arg(&beside).arg(&place).quiet().run()
        })();
        kill(supervisor, Signal::SIGCONT).context("continue the supervisor")?;
        moved
    }

    fn start_load(&mut self) -> Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.directory.join("load.log"))
            .context("open the framework's log")?;
        let child = Command::new(self.directory.join("e2e-load"))
            .arg(MASTER)
            .arg(self.directory.join("identity"))
            .arg(self.load_directory())
            .arg(self.seed.to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("open the framework's log")?)
            .stderr(log)
            .spawn()
            .context("start the framework")?;
        self.load = Some(child);
        Ok(())
    }

    /// Starts the framework again when it was killed.
    pub(crate) fn keep_load_running(&mut self) -> Result<()> {
        if let Some(child) = &mut self.load {
            if let Some(status) = child.try_wait().context("look after the framework")? {
                self.is_finished = status.success();
                self.load = None;
                self.load_ended = Instant::now();
            }
        } else if !self.is_finished && self.load_ended.elapsed() > LOAD_AWAY {
            self.start_load()?;
        }
        Ok(())
    }
    /// It tore itself down.
    pub(crate) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// The processes of this pool whose arguments contain these words one after the other.
    fn find(&self, words: &[&str]) -> Result<Vec<Pid>> {
        let place = self.place().display().to_string();
        let found = processes()?.into_iter().filter(|(_, arguments)| {
            (words.is_empty() || arguments.windows(words.len()).any(|window| window == words))
                && arguments.iter().any(|argument| argument.starts_with(&place))
        });
        Ok(found.map(|(pid, _)| pid).collect())
    }
    pub(crate) fn processes(&self, victim: Victim) -> Result<Vec<Pid>> {
        match victim {
            Victim::Master => self.find(&["master", "run"]),
            Victim::Agent(number) => {
                let place = self.agent_directory(number).display().to_string();
                self.find(&["agent", "run", "--dir", &place])
            }
            Victim::Executor(chance) => {
                let all = self.find(&["executor"])?;
                let index = usize::try_from(chance % u64::try_from(all.len().max(1))?)?;
                Ok(all.get(index).copied().into_iter().collect())
            }
            Victim::Load => {
                let pid = self.load.as_ref().map(Child::id);
                Ok(pid.and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw).into_iter().collect())
            }
        }
    }

    /// What runs in containers: the tasks, with the agent and the pod.
    pub(crate) fn containers(&self) -> Result<BTreeMap<String, Vec<(String, String)>>> {
        let mut found: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for (pid, _) in processes()? {
            for line in super::read_text(Path::new(&format!("/proc/{pid}/cgroup"))).lines() {
                // `<hierarchy>:<controllers>:/mezzo/<agent>/<pod>/<container>`
                let path = line.splitn(3, ':').nth(2).unwrap_or_default();
                let parts: Vec<&str> = path.split('/').skip(1).collect();
                let ["mezzo", agent, pod, container, ..] = parts[..] else { continue };
                if !agent.starts_with(&format!("{NAME}-agent-")) || container == "executor" {
                    continue;
                }
                let places = found.entry(container.to_owned()).or_default();
                let place = (agent.to_owned(), pod.to_owned());
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        Ok(found)
    }

    pub(crate) fn leave(&mut self) {
        if let Some(child) = &mut self.load {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.load = None;
    }

    pub(crate) fn down(&mut self) -> Result<()> {
        self.leave();
        let place = self.place().display().to_string();
        let down = self.mezzo.command(&["down", "--dir", &place]).uninterrupted().run();
        // Twice: `mezzo down` may have unmounted one of them.
        for path in [self.agent_directory(SMALL_DISK), self.directory.join("small")] {
            let _ = Tool::new("umount").arg(&path).silent().status();
        }
        down?;
        self.mezzo.command(&["down", "--dir", &place, "--purge", "--yes"]).uninterrupted().run()?;
        let begun = Instant::now();
        while !self.find(&[])?.is_empty() || !self.containers()?.is_empty() {
            if begun.elapsed() > GONE_WITHIN {
                bail!("processes of the pool are left after it was taken down");
            }
            super::wait(super::LOOK_EVERY);
        }
        Ok(())
    }
}

/// Every process with its arguments.
fn processes() -> Result<Vec<(Pid, Vec<String>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("read the process table")? {
        let name = entry.context("read the process table")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended since.
        let Ok(text) = fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        let arguments = text.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        found.push((Pid::from_raw(pid), arguments.filter(|word| !word.is_empty()).collect()));
    }
    found.sort_by_key(|(pid, _)| *pid);
    Ok(found)
}
