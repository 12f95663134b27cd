//! Cuts agents' pod subnets and frameworks' virtual addresses from the pool's ranges. A lease never changes: pods' addresses,
//! other agents' routes and certificates hang on it.
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// An IPv4 network; bits behind the prefix are zero.
pub(crate) fn parse(cidr: &str) -> Option<(u32, u8)> {
    let (address, length) = cidr.split_once('/')?;
    let length: u8 = length.parse().ok().filter(|length| *length <= 32)?;
    let address = u32::from(address.parse::<Ipv4Addr>().ok()?);
    Some((address & mask(length), length))
}

/// The first subnet of the range that is not taken.
pub(crate) fn lease<'a>(range: &str, length: u8, taken: impl Iterator<Item = &'a str>) -> Option<String> {
    let (base, range_length) = parse(range)?;
    if length < range_length || length > 32 {
        return None;
    }
    let taken: BTreeSet<u32> = taken.filter_map(parse).map(|(address, _)| address).collect();
    let step = 1u64 << (32 - length);
    let count = 1u64 << (length - range_length);
    // One more than are taken is enough to find a free one.
    (0..count.min(u64::try_from(taken.len()).unwrap_or(u64::MAX).saturating_add(1)))
        .map(|i| u32::try_from(u64::from(base) + i * step).expect("inside an IPv4 range"))
        .find(|address| !taken.contains(address))
        .map(|address| format!("{}/{length}", Ipv4Addr::from(address)))
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
            assert_eq!(lease("10.9.0.7/23", 24, taken.iter().copied()).as_deref(), expected, "{taken:?}");
        }
        assert_eq!(lease("10.9.0.0/24", 16, [].into_iter()), None);
        assert_eq!(lease("nonsense", 24, [].into_iter()), None);
    }
}
