//! Cuts agents' pod subnets and frameworks' virtual addresses from the pool's ranges. A lease never changes: pods' addresses,
//! other agents' routes and certificates hang on it. It ends when its agent is given up.
use std::collections::{BTreeSet, VecDeque};
use std::net::Ipv4Addr;

/// An IPv4 network; bits behind the prefix are zero.
pub(crate) fn parse(cidr: &str) -> Option<(u32, u8)> {
    let (address, length) = cidr.split_once('/')?;
    let length: u8 = length.parse().ok().filter(|length| *length <= 32)?;
    let address = u32::from(address.parse::<Ipv4Addr>().ok()?);
    Some((address & mask(length), length))
}

/// The subnets of a range that agents have, or had.
#[derive(Debug, Default)]
pub(crate) struct Subnets {
    /// Somebody has it or had it.
    taken: BTreeSet<u32>,
    /// Of those, what nobody has any more, the longest free first. Leased again only when no other is left: an agent that
    /// was given up may still run, with pods that have these addresses.
    freed: VecDeque<u32>,
    /// Every subnet before this one (by number in the range) is taken, so the search goes on from here.
    first_free: u64,
}

impl Subnets {
    /// Somebody has it.
    pub(crate) fn take(&mut self, subnet: &str) {
        if let Some((address, _)) = parse(subnet) {
            self.taken.insert(address);
            self.freed.retain(|freed| *freed != address);
        }
    }
    /// Its agent is gone.
    pub(crate) fn free(&mut self, subnet: &str) {
        if let Some((address, _)) = parse(subnet) {
            self.taken.insert(address);
            self.freed.push_back(address);
        }
    }
    /// Its agent was gone when the master started; perhaps another one has it.
    pub(crate) fn was_freed(&mut self, subnet: &str) {
        if parse(subnet).is_some_and(|(address, _)| !self.taken.contains(&address)) {
            self.free(subnet);
        }
    }
    /// The first subnet of the range that nobody ever had; if there is none, the one that has been free for the longest.
    pub(crate) fn find(&mut self, range: &str, length: u8) -> Option<String> {
        let (base, range_length) = parse(range)?;
        if length < range_length || length > 32 {
            return None;
        }
        let step = 1u64 << (32 - length);
        let count = 1u64 << (length - range_length);
        while self.first_free < count {
            let address = u32::try_from(u64::from(base) + self.first_free * step).expect("inside an IPv4 range");
            if !self.taken.contains(&address) {
                return Some(format!("{}/{length}", Ipv4Addr::from(address)));
            }
            self.first_free += 1;
        }
        let end = u64::from(base) + count * step;
        let is_inside = |address: &&u32| (u64::from(base)..end).contains(&u64::from(**address));
        self.freed.iter().find(is_inside).map(|address| format!("{}/{length}", Ipv4Addr::from(*address)))
    }
}

/// Whether a text is a network with room for an address: `198.18.0.0/16`.
pub fn is_network(text: &str) -> bool {
    parse(text).is_some_and(|(_, length)| (1..=30).contains(&length))
}

/// Whether two networks share an address. What is no network shares none.
pub fn overlap(one: &str, other: &str) -> bool {
    let (Some((one, one_length)), Some((other, other_length))) = (parse(one), parse(other)) else { return false };
    let mask = mask(one_length.min(other_length));
    one & mask == other & mask
}

/// An address of the range that is not taken. Where the search begins depends on the name: who asks again after the end
/// of a framework finds the address it had if it is free, and others rarely get one that was somebody's a moment ago.
/// Neither the network's own address nor the last one is given.
pub(crate) fn address(range: &str, name: &str, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    let (base, length) = parse(range)?;
    let count = (1u64 << (32 - length)).checked_sub(2).filter(|count| *count > 0)?;
    // FNV-1a: the same in every version and on every machine.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let first = hash % count;
    let tries = count.min(u64::try_from(taken.len()).unwrap_or(u64::MAX).saturating_add(1));
    (0..tries)
        .map(|i| u32::try_from(u64::from(base) + 1 + (first + i) % count).expect("inside an IPv4 range"))
        .map(Ipv4Addr::from)
        .find(|address| !taken.contains(address))
}

fn mask(length: u8) -> u32 {
    u32::MAX.checked_shl(u32::from(32 - length)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_given_until_none_is_left_and_the_same_name_gets_the_same() {
        let mut taken = BTreeSet::new();
        for _ in 0..6 {
            let address = address("10.9.0.0/29", "demo/api", &taken).expect("one is left");
            assert!(taken.insert(address), "{address} was taken");
        }
        assert_eq!(address("10.9.0.0/29", "demo/api", &taken), None);
        assert!(!taken.contains(&Ipv4Addr::new(10, 9, 0, 0)) && !taken.contains(&Ipv4Addr::new(10, 9, 0, 7)));
        let again = || address("198.18.0.0/16", "demo/api", &BTreeSet::new());
        assert_eq!(again(), again());
        assert_ne!(again(), address("198.18.0.0/16", "demo/store", &BTreeSet::new()));
        for nothing in ["10.9.0.0/31", "10.9.0.1/32", "nonsense"] {
            assert_eq!(address(nothing, "demo/api", &BTreeSet::new()), None, "{nothing}");
        }
    }

    #[test]
    fn overlaps_are_seen_both_ways() {
        for (one, other, expected) in [
            ("10.0.0.0/8", "10.9.0.0/16", true),
            ("10.9.0.0/16", "10.0.0.0/8", true),
            ("10.9.0.0/16", "10.8.0.0/16", false),
            ("198.18.0.0/16", "198.18.3.4/32", true),
            ("0.0.0.0/0", "198.18.3.4/32", true),
            ("nonsense", "10.0.0.0/8", false),
        ] {
            assert_eq!(overlap(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn subnets_are_leased_in_order_until_none_is_left() {
        for (taken, expected) in [
            (&[][..], Some("10.9.0.0/24")),
            (&["10.9.0.0/24"], Some("10.9.1.0/24")),
            (&["10.9.1.0/24"], Some("10.9.0.0/24")),
            (&["10.9.0.0/24", "10.9.1.0/24"], None),
        ] {
            let mut subnets = Subnets::default();
            taken.iter().for_each(|subnet| subnets.take(subnet));
            for _ in 0..2 {
                assert_eq!(subnets.find("10.9.0.7/23", 24).as_deref(), expected, "{taken:?}: found twice is not taken");
            }
        }
        let mut subnets = Subnets::default();
        let lease = |subnets: &mut Subnets| {
            let found = subnets.find("10.9.0.0/22", 24).expect("one is left");
            subnets.take(&found);
            found
        };
        for expected in ["10.9.0.0/24", "10.9.1.0/24", "10.9.2.0/24"] {
            assert_eq!(lease(&mut subnets), expected);
        }
        subnets.free("10.9.1.0/24");
        subnets.free("10.9.0.0/24");
        subnets.was_freed("10.9.2.0/24");
        for expected in ["10.9.3.0/24", "10.9.1.0/24", "10.9.0.0/24"] {
            assert_eq!(lease(&mut subnets), expected, "what nobody had comes first, then what was freed first");
        }
        assert_eq!(subnets.find("10.9.0.0/22", 24), None, "the third one is not free");
        assert_eq!(Subnets::default().find("10.9.0.0/24", 16), None);
        assert_eq!(Subnets::default().find("nonsense", 24), None);
    }
}
