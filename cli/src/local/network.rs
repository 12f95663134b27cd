//! Links, addresses and namespaces of a local pool, made and removed with iproute2: every call is one program with
//! arguments, never a line for a shell.
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::layout::Layout;
use crate::failure::{Failure, Result};

fn ip(arguments: &[&str]) -> Result<String> {
    let line = format!("ip {}", arguments.join(" "));
    let done = Command::new("ip").args(arguments).output().map_err(|error| {
        Failure::while_doing(format!("run {line}"), &error).next("install iproute2 (apt-get install iproute2)")
    })?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let why = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    Err(Failure::new(
        format!("'{line}' failed"),
        why,
        "are you root? A pool on this machine needs to make network namespaces",
    ))
}

fn json(arguments: &[&str]) -> Result<Vec<Value>> {
    let text = ip(arguments)?;
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(&text)
        .map_err(|error| Failure::while_doing(format!("read what ip {} says", arguments.join(" ")), &error))
}

fn name_of(link: &Value) -> &str {
    link.get("ifname").and_then(Value::as_str).unwrap_or_default()
}

/// Every link of the root namespace.
pub(super) fn links() -> Result<Vec<String>> {
    Ok(json(&["-json", "link", "show"])?.iter().map(|link| name_of(link).to_owned()).collect())
}

/// Whether /run/netns is a mount already.
pub(super) fn netns_is_mounted() -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table.lines().any(|line| matches!(line.split(' ').nth(4), Some("/run/netns" | "/var/run/netns")))
}

/// Refuses if something of the machine is in the way.
pub(super) fn check_free(layout: &Layout) -> Result<()> {
    let down = format!("if it is left of a pool: mezzo down --dir {}", layout.dir.display());
    if links()?.contains(&layout.bridge()) {
        return Err(Failure::new(format!("there is a link {} already", layout.bridge()), "", down));
    }
    for number in layout.numbers() {
        if layout.netns_path(number).exists() {
            return Err(Failure::new(
                format!("there is a network namespace {} already", layout.netns(number)),
                "",
                down,
            ));
        }
    }
    for link in json(&["-json", "-4", "address", "show"])? {
        for address in link.get("addr_info").and_then(Value::as_array).into_iter().flatten() {
            let local: Option<Ipv4Addr> =
                address.get("local").and_then(Value::as_str).and_then(|text| text.parse().ok());
            let prefix = address.get("prefixlen").and_then(Value::as_u64).and_then(|bits| u8::try_from(bits).ok());
            if let (Some(local), Some(prefix)) = (local, prefix)
                && layout.subnet.overlaps(local, prefix)
            {
                return Err(taken(layout, &format!("{} has {local}/{prefix}", name_of(&link))));
            }
        }
    }
    for route in json(&["-json", "-4", "route", "show"])? {
        let to = route.get("dst").and_then(Value::as_str).unwrap_or("default");
        let (address, prefix) = to.split_once('/').unwrap_or((to, "32"));
        if let (Ok(address), Ok(prefix)) = (address.parse(), prefix.parse())
            && prefix > 0
            && layout.subnet.overlaps(address, prefix)
        {
            return Err(taken(layout, &format!("there is a route to {to}")));
        }
    }
    Ok(())
}

fn taken(layout: &Layout, why: &str) -> Failure {
    Failure::new(
        format!("the network {} is in use", layout.subnet),
        why,
        "choose another with --subnet, such as 10.85.0.0/24",
    )
}

/// The bridge with the master's address.
pub(super) fn make_bridge(layout: &Layout) -> Result<()> {
    let bridge = layout.bridge();
    ip(&["link", "add", &bridge, "type", "bridge"])?;
    ip(&["address", "add", &format!("{}/24", layout.subnet.master()), "dev", &bridge])?;
    ip(&["link", "set", &bridge, "up"]).map(drop)
}

/// An agent's namespace with a link to the bridge.
pub(super) fn make_netns(layout: &Layout, number: u8) -> Result<()> {
    let (netns, link) = (layout.netns(number), layout.link(number));
    ip(&["netns", "add", &netns])?;
    ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &netns])?;
    ip(&["link", "set", &link, "master", &layout.bridge(), "up"])?;
    ip(&["-netns", &netns, "link", "set", "lo", "up"])?;
    ip(&["-netns", &netns, "address", "add", &format!("{}/24", layout.subnet.agent(number)), "dev", "eth0"])?;
    ip(&["-netns", &netns, "link", "set", "eth0", "up"])?;
    ip(&["-netns", &netns, "route", "add", "default", "via", &layout.subnet.master().to_string()]).map(drop)
}

/// Removes one namespace; whatever is in it goes when its last process has gone.
pub(super) fn remove_netns(netns: &str) -> Result<()> {
    if Path::new("/run/netns").join(netns).exists() { ip(&["netns", "delete", netns]).map(drop) } else { Ok(()) }
}

/// Removes one link of the root namespace.
pub(super) fn remove_link(link: &str) -> Result<()> {
    match ip(&["link", "delete", link]) {
        // Its other end went just now and took it along.
        Err(_) if !links()?.iter().any(|other| other == link) => Ok(()),
        other => other.map(drop),
    }
}
