//! What breaks when: drawn from a seed, undone after its time or at the end. The same seed breaks the same things at the same
//! times; what runs at that moment is as it happens to be.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::pool::{AGENTS, Pool, SMALL_DISK, Victim};
use crate::tool::Tool;

/// Chance with a seed (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }
}

/// What has to be undone.
enum Undo {
    Continue(Vec<Pid>),
    PlugIn(u8),
    Hear(u8),
    MakeRoom(PathBuf),
}

/// All that is broken, and what comes next.
pub(crate) struct Breaking {
    random: Random,
    next: Duration,
    broken: Vec<(Duration, String, Undo)>,
    counts: BTreeMap<&'static str, usize>,
}

impl Breaking {
    pub(crate) fn new(random: Random) -> Self {
        Self { random, next: Duration::from_secs(5), broken: Vec::new(), counts: BTreeMap::new() }
    }

    pub(crate) fn summary(&self) -> String {
        let counts: Vec<String> = self.counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
        counts.join(", ")
    }

    /// Breaks what is due, and mends what was broken long enough.
    pub(crate) fn advance(&mut self, pool: &Pool, now: Duration) -> Result<()> {
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.broken).into_iter().partition(|(at, ..)| *at <= now);
        self.broken = later;
        for (_, what, undo) in due {
            mend(&what, undo, now)?;
        }
        if now >= self.next {
            self.next += Duration::from_millis(self.random.between(300, 8000));
            self.break_one(pool, now)?;
        }
        Ok(())
    }

    pub(crate) fn mend(&mut self, _pool: &Pool, now: Duration) -> Result<()> {
        for (_, what, undo) in std::mem::take(&mut self.broken) {
            mend(&what, undo, now)?;
        }
        Ok(())
    }

    fn break_one(&mut self, pool: &Pool, now: Duration) -> Result<()> {
        let agent = u8::try_from(self.random.between(1, AGENTS.into()))?;
        let victim = match self.random.between(0, 9) {
            0 | 1 => Victim::Master,
            2..=4 => Victim::Agent(agent),
            5..=7 => Victim::Executor(self.random.next()),
            _ => Victim::Load,
        };
        // Mostly short; sometimes so long that whoever waits gives up.
        let long = self.random.between(0, 9) == 0;
        let length = Duration::from_millis(if long {
            self.random.between(30_000, 110_000)
        } else {
            self.random.between(200, 20_000)
        });
        let seconds = length.as_secs_f64();
        let (name, what, undo) = match self.random.between(0, 9) {
            0..=4 => {
                let pids = pool.processes(victim)?;
                send(&pids, Signal::SIGKILL);
                ("killed", format!("kill -9 {victim:?} {pids:?}"), None)
            }
            5 | 6 => {
                let pids = pool.processes(victim)?;
                send(&pids, Signal::SIGSTOP);
                ("paused", format!("pause {victim:?} {pids:?} for {seconds:.1} s"), Some(Undo::Continue(pids)))
            }
            7 => {
                Tool::new("ip").args(["link", "set", &Pool::link(agent), "down"]).quiet().run()?;
                ("cut off", format!("cut off agent {agent} for {seconds:.1} s"), Some(Undo::PlugIn(agent)))
            }
            8 => {
                let is_deaf = self.random.between(0, 1) == 0;
                drop_one_way(agent, is_deaf)?;
                let how = if is_deaf { "hears nothing" } else { "is not heard" };
                ("cut off one way", format!("agent {agent} {how} for {seconds:.1} s"), Some(Undo::Hear(agent)))
            }
            _ => {
                let path = pool.agent_directory(SMALL_DISK).join("balloon");
                fill(&path)?;
                (
                    "disk full",
                    format!("the disk of agent {SMALL_DISK} is full for {seconds:.1} s"),
                    Some(Undo::MakeRoom(path)),
                )
            }
        };
        eprintln!("+{:.1} s {what}", now.as_secs_f64());
        *self.counts.entry(name).or_default() += 1;
        if let Some(undo) = undo {
            self.broken.push((now + length, what, undo));
        }
        Ok(())
    }
}

fn mend(what: &str, undo: Undo, now: Duration) -> Result<()> {
    eprintln!("+{:.1} s over: {what}", now.as_secs_f64());
    match undo {
        Undo::Continue(pids) => send(&pids, Signal::SIGCONT),
        Undo::PlugIn(agent) => Tool::new("ip").args(["link", "set", &Pool::link(agent), "up"]).quiet().run()?,
        Undo::Hear(agent) => {
            // Two of these may have overlapped.
            let name = Pool::agent_name(agent);
            let _ = Tool::new("ip")
                .args(["netns", "exec", &name, "nft", "delete", "table", "inet", "chaos"])
                .silent()
                .status();
        }
        Undo::MakeRoom(path) => {
            if path.exists() {
                fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
            }
        }
    }
    Ok(())
}

/// They may have ended since.
fn send(pids: &[Pid], signal: Signal) {
    for pid in pids {
        let _ = kill(*pid, signal);
    }
}

fn drop_one_way(agent: u8, is_deaf: bool) -> Result<()> {
    let (hook, interface) = if is_deaf { ("input", "iifname") } else { ("output", "oifname") };
    let chain = format!("{{ type filter hook {hook} priority -300 ; policy accept ; {interface} != \"lo\" drop ; }}");
    let name = Pool::agent_name(agent);
    let table = format!("add table inet chaos\nadd chain inet chaos {hook} {chain}\n");
    let mut child = std::process::Command::new("ip")
        .args(["netns", "exec", &name, "nft", "-f", "-"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .context("start nft")?;
    child.stdin.take().context("write to nft")?.write_all(table.as_bytes()).context("write to nft")?;
    child.wait().context("wait for nft").map(drop)
}

/// Writes until nothing fits any more.
fn fill(path: &std::path::Path) -> Result<()> {
    let mut file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    let mut block = vec![0; 1 << 20];
    while !block.is_empty() {
        while file.write_all(&block).is_ok() {}
        block.truncate(block.len() / 4);
    }
    Ok(())
}
