//! Where a local pool keeps things and what they are called. Written down in `pool.json`, so that `mezzo down` finds
//! everything even if the supervisor was killed.
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result};

/// A /24: `.1` is the master, `.10 + N` is agent N.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Subnet(Ipv4Addr);

impl Subnet {
    pub(crate) fn parse(text: &str) -> std::result::Result<Self, String> {
        let wanted = || "an IPv4 /24 such as 10.84.0.0/24 is allowed".to_owned();
        let (address, prefix) = text.split_once('/').ok_or_else(wanted)?;
        let address: Ipv4Addr = address.parse().map_err(|_| wanted())?;
        if prefix != "24" || address.octets()[3] != 0 { Err(wanted()) } else { Ok(Self(address)) }
    }
    fn host(self, host: u8) -> Ipv4Addr {
        let [a, b, c, _] = self.0.octets();
        Ipv4Addr::new(a, b, c, host)
    }
    pub(crate) fn master(self) -> Ipv4Addr {
        self.host(1)
    }
    pub(crate) fn agent(self, number: u8) -> Ipv4Addr {
        self.host(10 + number)
    }
    /// Whether another network shares an address with this one.
    pub(crate) fn overlaps(self, other: Ipv4Addr, prefix: u8) -> bool {
        let bits = u32::from(prefix.min(24));
        let mask = if bits == 0 { 0 } else { u32::MAX << (32 - bits) };
        u32::from(self.0) & mask == u32::from(other) & mask
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/24", self.0)
    }
}

/// One local pool.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// Format of the file.
    pub(crate) version: u32,
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) subnet: Subnet,
    pub(crate) agents: u8,
    /// The operator's identity, hidden from agents.
    pub(crate) operator_identity: PathBuf,
    /// Whether /run/netns was mounted by us: then nothing of it may stay.
    pub(crate) made_netns_mount: bool,
}

impl Layout {
    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join("pool.json")
    }
    /// What was written down; `None` if there is no pool.
    pub(crate) fn load(dir: &Path) -> Result<Option<Self>> {
        let path = Self::path(dir);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::while_doing(format!("read {}", path.display()), &error)),
        };
        let layout = serde_json::from_str(&text);
        layout.map(Some).map_err(|error| Failure::while_doing(format!("read {}", path.display()), &error))
    }
    /// Written before anything is made.
    pub(crate) fn save(&self) -> Result<()> {
        let path = Self::path(&self.dir);
        let failed = |error: std::io::Error| Failure::while_doing(format!("write {}", path.display()), &error);
        let text = serde_json::to_string_pretty(self).map_err(|error| Failure::while_doing("print as json", &error))?;
        let temporary = path.with_extension("tmp");
        std::fs::write(&temporary, text).map_err(failed)?;
        std::fs::rename(&temporary, &path).map_err(failed)
    }
    pub(crate) fn master_dir(&self) -> PathBuf {
        self.dir.join("master")
    }
    pub(crate) fn agent_dir(&self, number: u8) -> PathBuf {
        self.dir.join(format!("agent-{number}"))
    }
    pub(crate) fn log(&self, program: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{program}.log"))
    }
    pub(crate) fn lock(dir: &Path) -> PathBuf {
        dir.join("supervisor.lock")
    }
    pub(crate) fn pids(dir: &Path) -> PathBuf {
        dir.join("pids.json")
    }
    /// Name of an agent in the pool. Cgroups are named after it, so two pools of one machine must differ.
    pub(crate) fn agent(&self, number: u8) -> String {
        if self.name == "mezzo" { format!("agent-{number}") } else { format!("{}-agent-{number}", self.name) }
    }
    pub(crate) fn bridge(&self) -> String {
        format!("{}0", self.name)
    }
    /// The end of an agent's link that stays in the root namespace.
    pub(crate) fn link(&self, number: u8) -> String {
        format!("{}-v{number}", self.name)
    }
    pub(crate) fn netns(&self, number: u8) -> String {
        format!("{}-agent-{number}", self.name)
    }
    pub(crate) fn netns_path(&self, number: u8) -> PathBuf {
        Path::new("/run/netns").join(self.netns(number))
    }
    pub(crate) fn numbers(&self) -> std::ops::RangeInclusive<u8> {
        1..=self.agents
    }
    /// Where the operator finds the master.
    pub(crate) fn master_address(&self) -> String {
        format!("{}:5050", self.subnet.master())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_knows_its_hosts_and_its_neighbours() {
        let subnet = Subnet::parse("10.84.0.0/24").expect("valid");
        assert_eq!((subnet.master(), subnet.agent(3)), (Ipv4Addr::new(10, 84, 0, 1), Ipv4Addr::new(10, 84, 0, 13)));
        for (address, prefix, expected) in [
            ([10, 84, 0, 7], 24, true),
            ([10, 84, 0, 128], 25, true),
            ([10, 0, 0, 0], 8, true),
            ([10, 84, 1, 0], 24, false),
            ([10, 85, 0, 0], 16, false),
            ([0, 0, 0, 0], 0, true),
        ] {
            assert_eq!(subnet.overlaps(address.into(), prefix), expected, "{address:?}/{prefix}");
        }
        for wrong in ["10.84.0.0/16", "10.84.0.1/24", "x", "10.84.0.0"] {
            assert!(Subnet::parse(wrong).is_err(), "{wrong}");
        }
    }
}
