//! What the operator says of an agent, and what is detected where nothing is said.
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use agent_core::Configured;
use model::{Disk, Holding, Milli, Quantities, Ranges, Reservation, Resources, RoleName};

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
    /// `cpus:4;mem:6144;disk:20480;ports:[20000-29999]`; what is left out is detected. `(role)` after a name reserves,
    /// `[path:/data]` and `[mount:/mnt/a]` name further disks, `{a,b}` is a set.
    pub resources: String,
    /// Likewise: what is given away although it is promised to others. Empty: nothing.
    pub revocable: String,
    /// For how much of the time tasks may wait for memory before what can be taken back is; absent: it never is.
    pub pressure_percent: Option<u8>,
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
    /// A disk that cannot be used.
    #[error("{disk} {problem}")]
    Disk {
        /// Which.
        disk: Disk,
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

/// The resources text, with what it leaves out detected, or as it was detected before: a disk that fills is no reason to
/// have less of it than was promised.
pub fn resources(text: &str, state_dir: &Path, before: Option<&Configured>) -> Result<Resources, ConfigError> {
    let (mut all, named) = parse_resources(text)?;
    let found = &mut all.unreserved;
    let missing = |name: &str| !named.iter().any(|n| n == name);
    let before = before.map(|before| &before.resources.unreserved);
    let detect = |name: &str, now: Milli| before.map(|before| before.scalar(name)).filter(|it| it.0 > 0).unwrap_or(now);
    if missing("cpus") {
        let cpus = std::thread::available_parallelism().map_or(1, |n| i64::try_from(n.get()).unwrap_or(1));
        found.cpus = detect("cpus", Milli::units(cpus));
    }
    if missing("mem") {
        found.mem = detect("mem", Milli::units(memory_mib()));
    }
    if missing("disk") {
        found.disk = detect("disk", Milli::units(disk_mib(state_dir)));
    }
    if missing("ports") {
        found.ports = [(20_000, 29_999)].into_iter().collect();
    }
    Ok(all)
}

/// What is given away although it is promised to others.
pub fn revocable(text: &str) -> Result<Quantities, ConfigError> {
    let (all, _) = parse_resources(text)?;
    let is_plain = all.held.is_empty()
        && all.unreserved == Quantities { cpus: all.unreserved.cpus, mem: all.unreserved.mem, ..Quantities::default() };
    if is_plain {
        return Ok(all.unreserved);
    }
    Err(ConfigError::Resource {
        text: text.to_owned(),
        problem: "must be cpus and mem: nothing else can be taken back",
    })
}

/// Amounts as an operator writes them, of no title.
///
/// # Errors
/// The text is malformed, or names a role.
pub fn amounts(text: &str) -> Result<Quantities, ConfigError> {
    let (all, _) = parse_resources(text)?;
    if all.held.is_empty() {
        return Ok(all.unreserved);
    }
    Err(ConfigError::Resource { text: text.to_owned(), problem: "must not name a role in parentheses" })
}

/// Whether further disks are there, and mounts are mounts.
pub fn check_disks(disks: &[Disk]) -> Result<(), ConfigError> {
    use std::os::unix::fs::MetadataExt as _;
    for disk in disks {
        let refuse = |problem| Err(ConfigError::Disk { disk: disk.clone(), problem });
        let root = Path::new(disk.root());
        let device = |path: &Path| std::fs::metadata(path).ok().filter(std::fs::Metadata::is_dir).map(|it| it.dev());
        let Some(own) = device(root) else { return refuse("is no directory on this machine: make it, or mount it") };
        if disk.is_exclusive() && root.parent().and_then(device) == Some(own) {
            return refuse("is not where a file system of its own is mounted: mount it, or give it as a path");
        }
    }
    Ok(())
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

/// One part of the text before its value: `disk(db)[path:/data]`.
struct Name<'a> {
    name: &'a str,
    role: Option<RoleName>,
    disk: Option<Disk>,
}

fn parse_name(text: &str) -> Result<Name<'_>, &'static str> {
    let (rest, disk) = match text.split_once('[') {
        None => (text, None),
        Some((rest, disk)) => {
            let disk = disk.strip_suffix(']').and_then(|disk| disk.parse().ok());
            (rest, Some(disk.ok_or("must name its disk as [path:/directory] or [mount:/directory]")?))
        }
    };
    let (name, role) = match rest.split_once('(') {
        None => (rest, None),
        Some((name, role)) => {
            let role = role.strip_suffix(')').and_then(|role| RoleName::new(role.trim()).ok());
            let role = role.filter(|role| role.as_str() != "*");
            (name, Some(role.ok_or("must name the role for which it is reserved, as in cpus(team):2")?))
        }
    };
    let name = name.trim();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    if name.is_empty() || name.len() > 255 || !name.chars().all(is_plain) {
        return Err("must be named with at most 255 letters, digits and any of _-./");
    }
    if disk.is_some() && name != "disk" {
        return Err("is no disk, and cannot be on one");
    }
    Ok(Name { name, role, disk })
}

fn parse_value(name: &str, disk: Option<Disk>, value: &str) -> Result<Quantities, &'static str> {
    let mut out = Quantities::default();
    let is_scalar = matches!(name, "cpus" | "mem" | "disk" | "gpus");
    if name == "ports" {
        out.ports = parse_ranges(value, u64::from(u16::MAX)).ok_or("must be ranges of ports, like [20000-29999]")?;
    } else if !is_scalar && value.starts_with('[') {
        let ranges = parse_ranges(value, u64::from(u32::MAX)).filter(|ranges| !ranges.is_empty());
        out.ranges.insert(name.to_owned(), ranges.ok_or("must be ranges of numbers, like [1-9,20]")?);
    } else if !is_scalar && value.starts_with('{') {
        let inner = value.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).unwrap_or_default();
        let things: Vec<&str> = inner.split(',').map(str::trim).collect();
        let set: std::collections::BTreeSet<String> = things.iter().map(|thing| (*thing).to_owned()).collect();
        if set.len() < things.len() || set.contains("") || set.iter().any(|thing| thing.len() > 255) {
            return Err("must be a set of names of at most 255 bytes, each once, like {a,b}");
        }
        out.sets.insert(name.to_owned(), set);
    } else {
        let amount = parse_milli(value).ok_or("must be an amount with at most three decimals")?;
        match disk {
            Some(disk) => out = Quantities::of_disk(Some(disk), amount),
            None => out.set_scalar(name, amount),
        }
    }
    Ok(out)
}

fn parse_resources(text: &str) -> Result<(Resources, Vec<String>), ConfigError> {
    let mut found = Resources::default();
    let (mut named, mut seen) = (Vec::new(), std::collections::BTreeSet::new());
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let bad = |problem| ConfigError::Resource { text: part.to_owned(), problem };
        // The name may hold a colon of its own, in brackets.
        let after = part.find('[').filter(|at| part[..*at].find(':').is_none()).and_then(|_| part.find("]:"));
        let at = after.map(|at| at + 1).or_else(|| part.find(':')).ok_or_else(|| bad("must be name:amount"))?;
        let (head, value) = (part[..at].trim(), part[at + 1..].trim());
        let Name { name, role, disk } = parse_name(head).map_err(bad)?;
        if !seen.insert((name.to_owned(), role.clone(), disk.clone())) {
            return Err(bad("must be given only once"));
        }
        if disk.as_ref().is_some_and(Disk::is_exclusive) && found.firm().disks.contains_key(disk.as_ref().expect("is"))
        {
            return Err(bad("is a mount, which cannot be divided"));
        }
        if disk.is_none() {
            named.push(name.to_owned());
        }
        let quantities = parse_value(name, disk, value).map_err(bad)?;
        let again = found.firm().common(&quantities);
        if !again.ports.is_empty() || !again.ranges.is_empty() || !again.sets.is_empty() {
            return Err(bad("must not repeat what is given for another role"));
        }
        let title = role.map(|role| Holding::plain(Reservation::by_configuration(role)));
        found.add(&Resources::under(title, quantities));
    }
    found.held.retain(|_, quantities| !quantities.is_empty());
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

fn parse_ranges(text: &str, largest: u64) -> Option<Ranges> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    inner
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (begin, end) = part.split_once('-').unwrap_or((part, part));
            let (begin, end): (u64, u64) = (begin.trim().parse().ok()?, end.trim().parse().ok()?);
            (begin > 0 && begin <= end && end <= largest).then_some((begin, end))
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
        for bad in [
            "cpus",
            "cpus:-1",
            "cpus:1.2345",
            "ports:[0-5]",
            "ports:[9-5]",
            "ports:[1-70000]",
            "ports:1-2",
            "mem:1;mem:2",
            "mem:x",
            "cpus(*):1",
            "cpus(:1",
            "cpus[path:/data]:1",
            "disk[raw:/dev/sdb]:1",
            "disk[mount:/m]:1;disk(a)[mount:/m]:1",
            "keys:{a,a}",
            "keys:{}",
            "ports:[1-5];ports(a):[5-6]",
        ] {
            assert!(parse_resources(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reservations_disks_numbers_and_things_are_given_likewise() {
        let text = "cpus:1;cpus(a/b):2;disk[path:/data]:100;disk(a/b)[mount:/mnt/x]:50;vlans:[1-9,20];keys:{x,y}";
        let (found, _) = parse_resources(text).expect("valid");
        let free = "cpus 1; disk 100 MiB on path:/data; vlans 1-9,20; keys {x,y}";
        assert_eq!(found.to_string(), format!("{free} + cpus 2; disk 50 MiB on mount:/mnt/x for a/b"));
        assert!(found.held.keys().all(Holding::is_configured));
        assert!(revocable("cpus:2;mem:512").is_ok());
        assert!(revocable("disk:2").is_err() && revocable("cpus(a):1").is_err());
    }

    #[test]
    fn a_mount_is_mounted_and_a_path_is_there() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let root = dir.path().to_str().expect("text").to_owned();
        assert!(check_disks(&[Disk::Path(root.clone()), Disk::Mount("/proc".to_owned())]).is_ok());
        assert!(check_disks(&[Disk::Path(format!("{root}/absent"))]).is_err());
        let inside = format!("{root}/inside");
        std::fs::create_dir(&inside).expect("made");
        assert!(check_disks(&[Disk::Mount(inside)]).is_err());
    }

    #[test]
    fn what_was_detected_stays_when_the_disk_fills() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let resources_before = Quantities { disk: Milli::units(7), ..Quantities::default() }.into();
        let before = Configured { resources: resources_before, ..Configured::default() };
        let found = resources("cpus:1", dir.path(), Some(&before)).expect("valid");
        assert_eq!((found.unreserved.disk, found.unreserved.cpus), (Milli::units(7), Milli::units(1)));
    }
}
