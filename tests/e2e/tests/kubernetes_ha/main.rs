//! Three of everything: any one host may be lost, the API goes on answering and no acknowledged write is lost; and what was
//! backed up comes back. That any one process may be lost is shown by `kubernetes_killed`.

mod loss;
mod restore;
mod update;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::{Cluster, Hosts, Kubectl, Machine, Pool, Seed, workload};

pub(crate) const CLUSTER: Cluster = Cluster::highly_available("demo");
pub(crate) const SOON: Duration = Duration::from_secs(150);
pub(crate) const NODES: usize = 2;
const PODS: usize = 4;

#[test]
fn no_host_is_missed_and_a_backup_is_a_cluster() -> Result<()> {
    let before = Machine::look()?;
    let mut seed = Seed::from_environment();
    let mut pool = Pool::up("kubernetes_ha", 4, &[])?;
    pool.upload(&["etcd", "kube-control-plane", "kubernetes-node", "busybox"])?;
    let hosts_before = Hosts::look(&pool)?;

    let begun = Instant::now();
    CLUSTER.installation(&pool, NODES).run()?;
    let kubectl = pool.kubectl(CLUSTER.name)?;
    ensure!(kubectl.ready_nodes()?.len() == NODES, "not {NODES} Ready nodes after the installation");
    eprintln!("{NODES} nodes were Ready after {:.1} s", begun.elapsed().as_secs_f64());
    CLUSTER.expect_apart(&CLUSTER.tasks(&pool)?)?;
    workload::deploy(&pool, &kubectl, PODS)?;

    update::updates(&pool, &kubectl)?;
    restore::a_cluster_that_is_gone_comes_back_as_it_was(&pool, &kubectl, &hosts_before)?;
    loss::hosts_are_lost(&mut pool, &kubectl, &mut seed)?;

    CLUSTER.uninstall(&pool)?;
    pool.down()?;
    Machine::expect_nothing_new(&before)
}

/// Waits until every plan is complete, every task runs, every component has its replicas and every node is Ready.
pub(crate) fn becomes_whole(pool: &Pool, kubectl: &Kubectl, within: Duration) -> Result<()> {
    CLUSTER.expect_whole(pool, kubectl, NODES, within)
}
