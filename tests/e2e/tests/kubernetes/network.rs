//! Pods find each other by name and address, across nodes, and a server sees the client's own address, also behind a service.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::kubectl::{items, name};
use e2e::{Kubectl, Program, eventually};
use serde_json::Value;

use crate::SOON;

/// A service chooses by chance: one in 10^10 that all of these stay on one of two nodes.
const ATTEMPTS: usize = 40;

pub(crate) fn pods_and_services_are_found_and_see_who_asks(kubectl: &Kubectl) -> Result<()> {
    let list = kubectl.get(&["pods", "--selector", "app=web"])?;
    let nodes: BTreeMap<String, &str> = items(&list).iter().map(|pod| (name(pod), node(pod))).collect();
    let client = address(&kubectl.get(&["pod", "client"])?);
    let ask = |host: &str, port: &str| kubectl.run(&["exec", "client", "--", "/bin/e2e-peer", "get", host, port]);

    for pod in items(&list) {
        let said = ask(&address(pod), "8080")?;
        ensure!(
            said.trim() == format!("{} saw {client}", name(pod)),
            "{client} asked {}, which says {said}",
            name(pod)
        );
    }
    let service = kubectl.get(&["service", "web"])?;
    let virtual_address = service["spec"]["clusterIP"].as_str().context("read the service's address")?;
    for host in [virtual_address, "web.default.svc.cluster.local", "web"] {
        let mut seen = BTreeSet::new();
        for _ in 0..ATTEMPTS {
            let said = ask(host, "80")?;
            let (server, seen_by_it) =
                said.trim().split_once(" saw ").with_context(|| format!("{host} says {said}"))?;
            ensure!(seen_by_it == client, "{client} asked {host}; {server} saw {seen_by_it}");
            seen.insert(*nodes.get(server).with_context(|| format!("find pod {server}"))?);
            if seen.len() == 2 {
                break;
            }
        }
        ensure!(seen.len() == 2, "{host} leads only to {seen:?}");
    }
    let resolved =
        kubectl.run(&["exec", "client", "--", "/bin/e2e-peer", "resolve", "web-headless.default.svc.cluster.local"])?;
    let addresses: BTreeSet<String> = items(&list).iter().map(address).collect();
    ensure!(
        resolved.lines().map(str::to_owned).collect::<BTreeSet<_>>() == addresses,
        "the headless service is {resolved}, its pods are {addresses:?}"
    );
    Ok(())
}

pub(crate) fn a_port_is_forwarded(kubectl: &Kubectl) -> Result<()> {
    let pods = kubectl.get(&["pods", "--selector", "app=web"])?;
    let pod = name(items(&pods).first().context("find a pod")?);
    let forwarding = kubectl.command(&["port-forward", &format!("pod/{pod}"), ":8080"]).start()?;
    let port = eventually("a forwarded port", SOON, || {
        let said = forwarding.said();
        let port = said.split_once("127.0.0.1:").and_then(|(_, rest)| rest.split_once(" -> "));
        Ok(port.map(|(port, _)| port.to_owned()))
    })?;
    let page = Program::new("curl")
        .args(["--silent", "--fail", "--max-time", "10"])
        .args([format!("http://127.0.0.1:{port}/")])
        .within(Duration::from_secs(20))
        .run()?;
    ensure!(page.starts_with(&format!("{pod} saw ")), "the forwarded port says {page}");
    Ok(())
}

fn address(pod: &Value) -> String {
    pod["status"]["podIP"].as_str().unwrap_or_default().to_owned()
}

fn node(pod: &Value) -> &str {
    pod["spec"]["nodeName"].as_str().unwrap_or_default()
}
