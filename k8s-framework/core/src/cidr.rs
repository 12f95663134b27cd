//! IPv4 networks as people write them (`10.96.0.0/16`).
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A network: its first address and the length of its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    base: u32,
    prefix: u8,
}

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetwork {
    /// Not `a.b.c.d/n`.
    #[error("is not an IPv4 network like 10.96.0.0/16")]
    Form,
    /// Bits are set after the prefix.
    #[error("has bits set after its prefix; did you mean {0}?")]
    HostBits(Network),
}

impl Network {
    /// The network of `address` with a prefix of this length, if there is such a length.
    pub fn of(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        let mask = mask(prefix)?;
        Some(Self { base: u32::from(address) & mask, prefix })
    }
    /// Its first address.
    pub fn base(self) -> Ipv4Addr {
        Ipv4Addr::from(self.base)
    }
    /// The length of its prefix.
    pub fn prefix(self) -> u8 {
        self.prefix
    }
    /// Its n-th address; the base is the 0th.
    pub fn nth(self, n: u32) -> Option<Ipv4Addr> {
        let address = self.base.checked_add(n)?;
        self.contains(Ipv4Addr::from(address)).then(|| Ipv4Addr::from(address))
    }
    /// Whether the address lies in it.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        mask(self.prefix).is_some_and(|mask| u32::from(address) & mask == self.base)
    }
    /// Whether the two have an address in common.
    pub fn overlaps(self, other: Network) -> bool {
        self.contains(other.base()) || other.contains(self.base())
    }
}

fn mask(prefix: u8) -> Option<u32> {
    match prefix {
        0 => Some(0),
        1..=32 => Some(u32::MAX << (32 - u32::from(prefix))),
        _ => None,
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;
    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, prefix) = text.split_once('/').ok_or(InvalidNetwork::Form)?;
        let address: Ipv4Addr = address.parse().map_err(|_| InvalidNetwork::Form)?;
        let prefix: u8 = prefix.parse().map_err(|_| InvalidNetwork::Form)?;
        let network = Self::of(address, prefix).ok_or(InvalidNetwork::Form)?;
        if network.base() == address { Ok(network) } else { Err(InvalidNetwork::HostBits(network)) }
    }
}
impl TryFrom<String> for Network {
    type Error = InvalidNetwork;
    fn try_from(text: String) -> Result<Self, InvalidNetwork> {
        text.parse()
    }
}
impl From<Network> for String {
    fn from(network: Network) -> String {
        network.to_string()
    }
}
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_as_people_write_them() {
        let network: Network = "10.96.0.0/16".parse().expect("valid");
        assert_eq!(network.nth(10), Some(Ipv4Addr::new(10, 96, 0, 10)));
        assert_eq!(network.nth(65536), None);
        assert!(network.overlaps("10.96.4.0/24".parse().expect("valid")));
        assert!(!network.overlaps("10.97.0.0/16".parse().expect("valid")));
        for bad in ["", "10.96.0.0", "10.96.0.0/33", "a/8", "::/8"] {
            assert_eq!(bad.parse::<Network>(), Err(InvalidNetwork::Form), "{bad}");
        }
        assert_eq!("10.96.1.0/16".parse::<Network>(), Err(InvalidNetwork::HostBits(network)));
    }
}
