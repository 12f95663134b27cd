//! Rules as commands for `nft`, which carries all of one script out in one transaction: other hosts and tables never see
//! half of it, and no connection meets a gap.
//!
//! `ct mark` 0x200000 marks connections as ours: kube-proxy uses packet marks 0x4000 and 0x8000, never this. Only marked
//! connections may get another source address, and only where the backend could not answer otherwise.
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use agent_core::vip::{Edit, Endpoint, Rules};

/// The table, of which all is ours.
pub(super) const TABLE: &str = "mezzo_vip";
/// Our connections.
const MARK: &str = "0x200000";

/// Everything anew, whatever was there before.
pub(crate) fn whole(rules: &Rules) -> String {
    let range = &rules.range;
    let mut lines: Vec<String> = [
        "add table ip T",
        "delete table ip T",
        "add table ip T",
        "add map ip T services { type ipv4_addr . inet_service : verdict ; }",
        "add set ip T routable { type ipv4_addr ; flags interval ; auto-merge ; }",
        "add set ip T hairpins { type ipv4_addr . ipv4_addr ; }",
        "add chain ip T prerouting { type nat hook prerouting priority -100 ; policy accept ; }",
        "add chain ip T output { type nat hook output priority -100 ; policy accept ; }",
        "add chain ip T postrouting { type nat hook postrouting priority 100 ; policy accept ; }",
        "add chain ip T refuse_output { type filter hook output priority 0 ; policy accept ; }",
        "add chain ip T refuse_forward { type filter hook forward priority 0 ; policy accept ; }",
        "add chain ip T refuse",
        "add rule ip T refuse meta l4proto tcp reject with tcp reset",
        "add rule ip T refuse reject with icmp type host-unreachable",
    ]
    .map(|line| line.replace(" T", &format!(" {TABLE}")))
    .into();
    for chain in ["refuse_output", "refuse_forward"] {
        lines.push(format!("add rule ip {TABLE} {chain} ip daddr {range} goto refuse"));
    }
    for chain in ["prerouting", "output"] {
        // Only what begins a connection is led somewhere: a packet of one that was withdrawn is refused, not sent to a
        // backend that never heard of it.
        lines.push(format!(
            "add rule ip {TABLE} {chain} ip daddr {range} tcp flags & (fin | syn | rst | ack) == syn \
             ip daddr . tcp dport vmap @services"
        ));
    }
    for rule in [
        format!("ct mark & {MARK} == 0 return"),
        // Client and backend are both this host: nothing leaves it.
        "oifname lo return".to_owned(),
        // A host that is sent back to itself would take its own address for a forged one.
        "ip saddr . ip daddr @hairpins masquerade".to_owned(),
        "ip saddr @routable return".to_owned(),
        // The backend has no way back to such a source, or one that does not lead through here.
        "masquerade".to_owned(),
    ] {
        lines.push(format!("add rule ip {TABLE} postrouting {rule}"));
    }
    lines.extend(routable(&rules.routable));
    lines.extend(hairpins(&rules.hairpins));
    for (service, backends) in &rules.services {
        lines.extend(add(*service, backends));
    }
    script(lines)
}

/// Only the edits.
pub(crate) fn edits(edits: &[Edit]) -> String {
    let mut lines = Vec::new();
    for edit in edits {
        match edit {
            Edit::Add(service, backends) => lines.extend(add(*service, backends)),
            Edit::Replace(service, backends) => {
                lines.push(format!("flush chain ip {TABLE} {}", chain(*service)));
                lines.push(lead(*service, backends));
            }
            Edit::Remove(service) => {
                lines.push(format!("delete element ip {TABLE} services {{ {} . {} }}", service.0, service.1));
                lines.push(format!("delete chain ip {TABLE} {}", chain(*service)));
            }
            Edit::Routable(networks) => {
                lines.push(format!("flush set ip {TABLE} routable"));
                lines.extend(routable(networks));
            }
            Edit::Hairpins(addresses) => {
                lines.push(format!("flush set ip {TABLE} hairpins"));
                lines.extend(hairpins(addresses));
            }
        }
    }
    script(lines)
}

/// Nothing of ours any more.
pub(super) fn nothing() -> String {
    script(vec![format!("add table ip {TABLE}"), format!("delete table ip {TABLE}")])
}

fn script(lines: Vec<String>) -> String {
    lines.join("\n") + "\n"
}

fn chain((address, port): Endpoint) -> String {
    format!("v_{}_{port}", address.to_string().replace('.', "_"))
}

fn add(service: Endpoint, backends: &BTreeSet<Endpoint>) -> [String; 3] {
    let chain = chain(service);
    [
        format!("add chain ip {TABLE} {chain}"),
        lead(service, backends),
        format!("add element ip {TABLE} services {{ {} . {} : goto {chain} }}", service.0, service.1),
    ]
}

/// To one of the backends, each as likely as the other.
fn lead(service: Endpoint, backends: &BTreeSet<Endpoint>) -> String {
    let mut choice = String::new();
    for (number, (address, port)) in backends.iter().enumerate() {
        let comma = if number == 0 { "" } else { ", " };
        write!(choice, "{comma}{number} : {address} . {port}").expect("a string takes all");
    }
    format!(
        "add rule ip {TABLE} {} meta l4proto tcp ct mark set ct mark | {MARK} \
         dnat to numgen random mod {} map {{ {choice} }}",
        chain(service),
        backends.len()
    )
}

fn routable(networks: &BTreeSet<String>) -> Option<String> {
    elements("routable", networks.iter().cloned())
}

fn hairpins(addresses: &BTreeSet<Ipv4Addr>) -> Option<String> {
    elements("hairpins", addresses.iter().map(|address| format!("{address} . {address}")))
}

fn elements(set: &str, elements: impl Iterator<Item = String>) -> Option<String> {
    let elements: Vec<String> = elements.collect();
    (!elements.is_empty()).then(|| format!("add element ip {TABLE} {set} {{ {} }}", elements.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        let socket: std::net::SocketAddrV4 = text.parse().expect("an address and a port");
        (*socket.ip(), socket.port())
    }
    fn set(texts: &[&str]) -> BTreeSet<Endpoint> {
        texts.iter().map(|text| endpoint(text)).collect()
    }

    #[test]
    fn an_edit_touches_only_its_service() {
        let service = endpoint("198.18.0.1:443");
        let found = edits(&[
            Edit::Hairpins(["10.0.0.1".parse().expect("an address")].into()),
            Edit::Routable(BTreeSet::new()),
            Edit::Replace(service, set(&["10.0.0.1:6443", "10.0.0.2:6443"])),
            Edit::Remove(endpoint("198.18.0.2:80")),
        ]);
        let expected = "\
flush set ip mezzo_vip hairpins
add element ip mezzo_vip hairpins { 10.0.0.1 . 10.0.0.1 }
flush set ip mezzo_vip routable
flush chain ip mezzo_vip v_198_18_0_1_443
add rule ip mezzo_vip v_198_18_0_1_443 meta l4proto tcp ct mark set ct mark | 0x200000 dnat to numgen random mod 2 map { 0 : 10.0.0.1 . 6443, 1 : 10.0.0.2 . 6443 }
delete element ip mezzo_vip services { 198.18.0.2 . 80 }
delete chain ip mezzo_vip v_198_18_0_2_80
";
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_of_others_is_named() {
        let rules = Rules {
            range: "198.18.0.0/16".to_owned(),
            routable: ["10.9.0.0/16".to_owned()].into(),
            hairpins: BTreeSet::new(),
            services: [(endpoint("198.18.0.1:443"), set(&["10.0.0.1:6443"]))].into(),
        };
        for script in [whole(&rules), nothing()] {
            for line in script.lines() {
                let mut words = line.split_whitespace().skip(2);
                assert_eq!((words.next(), words.next()), (Some("ip"), Some(TABLE)), "{line}");
            }
        }
        assert!(!whole(&rules).contains("flush"));
    }
}
