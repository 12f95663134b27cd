//! Cuts agents' pod subnets from the pool's range. A lease never changes: pods' addresses and other agents' routes hang on it.
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

fn mask(length: u8) -> u32 {
    u32::MAX.checked_shl(u32::from(32 - length)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

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
