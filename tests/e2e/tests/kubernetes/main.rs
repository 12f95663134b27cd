//! A cluster on a pool: installed in order, used with an unmodified kubectl, scaled up and down, uninstalled without a trace.

mod network;
mod order;
mod scale;
mod webhook;
mod workload;

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Cluster, Hosts, Machine, Pool, memory, peer_image};

pub(crate) const CLUSTER: &str = "demo";
pub(crate) const SOON: Duration = Duration::from_secs(90);

#[test]
fn a_cluster_is_installed_used_scaled_and_uninstalled() -> Result<()> {
    let before = Machine::look()?;
    let pool = Pool::up("kubernetes", 3, &[])?;
    pool.upload(&["etcd", "kube-control-plane", "kubernetes-node", "busybox"])?;
    let hosts_before = Hosts::look(&pool)?;

    let cluster = Cluster::plain(CLUSTER);
    cluster.installation(&pool, 2).run()?;
    let kubectl = pool.kubectl(CLUSTER)?;
    ensure!(kubectl.ready_nodes()?.len() == 2, "not two Ready nodes after the installation");
    order::components_started_one_after_the_other(&pool)?;

    load_the_image_of_the_pods(&pool)?;
    kubectl.apply(pool.scratch(), workload::MANIFEST)?;
    workload::runs_on_both_nodes(&kubectl)?;
    workload::reads_its_volumes_and_is_looked_into(&kubectl)?;
    network::pods_and_services_are_found_and_see_who_asks(&kubectl)?;
    network::a_port_is_forwarded(&kubectl)?;
    webhook::is_asked(&pool, &kubectl)?;

    scale::touches_nothing_else(&pool, &kubectl)?;
    programs_are_small(&pool)?;

    cluster.uninstall(&pool)?;
    Hosts::expect_unchanged(&pool, &hosts_before)?;
    pool.down()?;
    Machine::expect_nothing_new(&before)
}

/// Into every node that is there and every later one: nothing else brings an image where no registry can be reached.
fn load_the_image_of_the_pods(pool: &Pool) -> Result<()> {
    let program = pool.stripped("e2e-peer")?;
    let archive = pool.scratch().join("e2e-peer.tar");
    peer_image::write(&program, &archive)?;
    let archive = archive.to_string_lossy();
    pool.mezzo(&["kubernetes", "load", CLUSTER, &archive]).within(SOON).run()?;
    Ok(())
}

/// More than a minute after the nodes were Ready. What belongs to the program's file is shared and not counted.
fn programs_are_small(pool: &Pool) -> Result<()> {
    for (words, at_most_mib) in [(["master", "run"], 60), (["agent", "run"], 40), (["executor", "--dir"], 8)] {
        let processes = pool.processes(&words)?;
        ensure!(!processes.is_empty(), "no process of {words:?}");
        for pid in processes {
            let mib = memory::anonymous_mib(pid)?;
            eprintln!("{words:?}: {mib} MiB");
            ensure!(mib <= at_most_mib, "{words:?} holds {mib} MiB, {at_most_mib} are allowed");
        }
    }
    Ok(())
}
