//! What the operator says of an agent, and what is detected where nothing is said.
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use model::{Milli, Quantities, Ranges};

/// An agent's configuration.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// Everything the agent keeps.
    pub state_dir: PathBuf,
    /// Unique in the pool; a label of a DNS name.
    pub name: String,
    /// IPv4 address at which its tasks are reached; absent: the one that leads to the master.
    pub address: Option<Ipv4Addr>,
    /// Where it serves operators.
    pub port: u16,
    /// `ip:port`.
    pub master: String,
    /// Only needed on the first start.
    pub join: Option<Join>,
    /// `cpus:4;mem:6144;disk:20480;ports:[20000-29999]`; what is left out is detected.
    pub resources: String,
    /// For placement.
    pub attributes: BTreeMap<String, String>,
    /// Its region.
    pub region: String,
    /// Its zone.
    pub zone: String,
    /// The binary with the `executor` and `container` subcommands.
    pub program: PathBuf,
}

/// What a new agent is given by an operator.
#[derive(Clone)]
pub struct Join {
    /// Good for one agent.
    pub token: String,
    /// SHA-256 of the pool's CA, in hex.
    pub ca_sha256: String,
}

impl std::fmt::Debug for Join {
    /// The token never reaches a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Join").field("ca_sha256", &self.ca_sha256).finish_non_exhaustive()
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No DNS label.
    #[error("agent name '{0}' must be 1 to 63 of a-z, 0-9 and '-', and begin and end with a letter or digit")]
    Name(String),
    /// Not `ip:port`.
    #[error("master address '{0}' must be an IP address and a port, like 10.0.0.1:5050")]
    Master(String),
    /// Overlayfs cannot take it.
    #[error("state directory '{0}' must be absolute and must not hold ':', ',', '\\' or white space")]
    StateDir(PathBuf),
    /// A resource is malformed.
    #[error("resource '{text}' {problem}")]
    Resource {
        /// As given.
        text: String,
        /// To be read after it.
        problem: &'static str,
    },
    /// No route to the master.
    #[error("no IPv4 address of this machine leads to master {0}: say which one to use")]
    Address(String),
}

impl AgentConfig {
    /// Checks what can be checked without the machine.
    pub fn check(&self) -> Result<SocketAddr, ConfigError> {
        let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty()
            || self.name.len() > 63
            || !self.name.chars().all(label)
            || self.name.starts_with('-')
            || self.name.ends_with('-')
        {
            return Err(ConfigError::Name(self.name.clone()));
        }
        let text = self.state_dir.to_string_lossy();
        if !self.state_dir.is_absolute() || text.contains(|c: char| matches!(c, ':' | ',' | '\\') || c.is_whitespace())
        {
            return Err(ConfigError::StateDir(self.state_dir.clone()));
        }
        self.master.parse().map_err(|_| ConfigError::Master(self.master.clone()))
    }

    /// The address given, or the one from which the master is reached.
    pub fn address_or_detected(&self, master: SocketAddr) -> Result<Ipv4Addr, ConfigError> {
        if let Some(address) = self.address {
            return Ok(address);
        }
        // No packet is sent: connecting a datagram socket only looks the route up.
        let found = UdpSocket::bind(("0.0.0.0", 0)).and_then(|socket| {
            socket.connect(master)?;
            socket.local_addr()
        });
        match found.map(|address| address.ip()) {
            Ok(std::net::IpAddr::V4(address)) if !address.is_unspecified() => Ok(address),
            Ok(_) | Err(_) => Err(ConfigError::Address(self.master.clone())),
        }
    }
}

/// The resources text, with what it leaves out detected.
pub fn resources(text: &str, state_dir: &Path) -> Result<Quantities, ConfigError> {
    let (mut found, named) = parse_resources(text)?;
    let missing = |name: &str| !named.iter().any(|n| n == name);
    if missing("cpus") {
        let cpus = std::thread::available_parallelism().map_or(1, |n| i64::try_from(n.get()).unwrap_or(1));
        found.cpus = Milli::units(cpus);
    }
    if missing("mem") {
        found.mem = Milli::units(memory_mib());
    }
    if missing("disk") {
        found.disk = Milli::units(disk_mib(state_dir));
    }
    if missing("ports") {
        found.ports = [(20_000, 29_999)].into_iter().collect();
    }
    Ok(found)
}

/// All memory but a share for the system: a quarter, at most 1 GiB.
fn memory_mib() -> i64 {
    use procfs::Current as _;
    let total = procfs::Meminfo::current().map_or(0, |info| i64::try_from(info.mem_total >> 20).unwrap_or(0));
    total - (total / 4).min(1024)
}

/// What is free where the state is kept, but a tenth.
fn disk_mib(state_dir: &Path) -> i64 {
    let Ok(stat) = nix::sys::statvfs::statvfs(state_dir) else { return 0 };
    let free = stat.blocks_available().saturating_mul(stat.fragment_size()) >> 20;
    i64::try_from(free - free / 10).unwrap_or(0)
}

fn parse_resources(text: &str) -> Result<(Quantities, Vec<String>), ConfigError> {
    let mut found = Quantities::default();
    let mut named = Vec::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let bad = |problem| ConfigError::Resource { text: part.to_owned(), problem };
        let (name, value) = part.split_once(':').ok_or_else(|| bad("must be name:amount"))?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || named.iter().any(|n| n == name) {
            return Err(bad("must be named, and only once"));
        }
        if name == "ports" {
            found.ports = parse_ranges(value).ok_or_else(|| bad("must be ranges of ports, like [20000-29999]"))?;
        } else {
            let amount = parse_milli(value).ok_or_else(|| bad("must be an amount with at most three decimals"))?;
            found.set_scalar(name, amount);
        }
        named.push(name.to_owned());
    }
    Ok((found, named))
}

fn parse_milli(text: &str) -> Option<Milli> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    if rest.len() > 3 || !rest.bytes().all(|b| b.is_ascii_digit()) || !whole.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let rest: i64 = format!("{rest:0<3}").parse().ok()?;
    // 2^40 units is what the wire takes.
    let whole: i64 = whole.parse().ok().filter(|whole| *whole <= 1 << 40)?;
    Some(Milli(whole * 1000 + rest))
}

fn parse_ranges(text: &str) -> Option<Ranges> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    inner
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (begin, end) = part.split_once('-').unwrap_or((part, part));
            let (begin, end): (u16, u16) = (begin.trim().parse().ok()?, end.trim().parse().ok()?);
            (begin > 0 && begin <= end).then_some((u64::from(begin), u64::from(end)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_given_in_words_of_the_operator() {
        let (found, named) = parse_resources("cpus:1.5; mem:6144;ports:[20000-20009, 31000];fpga:2").expect("valid");
        assert_eq!(found.to_string(), "cpus 1.5; mem 6144 MiB; fpga 2; ports 20000-20009,31000");
        assert_eq!(named, ["cpus", "mem", "ports", "fpga"]);
        for bad in ["cpus", "cpus:-1", "cpus:1.2345", "ports:[0-5]", "ports:[9-5]", "ports:1-2", "mem:1;mem:2", "mem:x"]
        {
            assert!(parse_resources(bad).is_err(), "{bad}");
        }
    }
}
