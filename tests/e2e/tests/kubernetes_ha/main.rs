//! Three of everything: any one process and any one host may be lost, the API goes on answering and no acknowledged write is lost.

mod loss;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::kubectl::{items, name};
use e2e::{Kubectl, Machine, Pool, Seed, Task, until};
use serde_json::Value;

pub(crate) const CLUSTER: &str = "demo";
pub(crate) const SOON: Duration = Duration::from_secs(120);
pub(crate) const INSTALLED_WITHIN: Duration = Duration::from_secs(300);
pub(crate) const NODES: usize = 2;

/// How long the API may be silent, whatever was lost.
pub(crate) const SILENCE: Duration = Duration::from_secs(10);

/// The control plane: pods, and the programs in them.
pub(crate) const COMPONENTS: [(&str, &str); 4] = [
    ("etcd-", "etcd"),
    ("kube-apiserver-", "kube-apiserver"),
    ("kube-controller-manager-", "kube-controller-manager"),
    ("kube-scheduler-", "kube-scheduler"),
];
const REPLICAS: usize = 3;

/// How long after a moment began something is killed, at most.
const JITTER: Duration = Duration::from_millis(500);

/// Pods that leave a node that is not Ready at once, instead of after five minutes.
const WORKLOAD: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: web}}}
      containers:
      - {name: web, image: "busybox:1", command: [sleep, "100000"]}
"#;

#[test]
fn no_process_and_no_host_is_missed() -> Result<()> {
    let before = Machine::look()?;
    let mut seed = Seed::from_environment();
    let mut pool = Pool::up("kubernetes_ha", 4, &[])?;
    pool.upload(&["etcd", "kube-control-plane", "kubernetes-node", "busybox"])?;

    let begun = Instant::now();
    pool.mezzo(&["catalog", "install", "kubernetes", "--name", CLUSTER, "--set", "node_count=2"])
        .args(["--set", "high_availability=true"])
        .within(INSTALLED_WITHIN)
        .run()?;
    let kubectl = pool.kubectl(CLUSTER)?;
    ensure!(kubectl.ready_nodes()?.len() == NODES, "not {NODES} Ready nodes after the installation");
    eprintln!("{NODES} nodes were Ready after {:.1} s", begun.elapsed().as_secs_f64());
    three_of_every_component_on_three_agents(&pool)?;
    kubectl.apply(pool.scratch(), WORKLOAD)?;
    kubectl.run(&["rollout", "status", "deployment/web", "--timeout=150s"])?;

    every_component_is_killed(&pool, &kubectl, &mut seed)?;
    loss::hosts_are_lost(&mut pool, &kubectl)?;

    pool.mezzo(&["catalog", "uninstall", CLUSTER, "--yes"]).within(INSTALLED_WITHIN).run()?;
    pool.expect_nothing_held(CLUSTER)?;
    pool.down()?;
    Machine::expect_nothing_new(&before)
}

/// Those of a host that is away are in the list until it is known what became of them; they do not count.
fn present_tasks(pool: &Pool) -> Result<Vec<Task>> {
    let mut tasks = pool.tasks(CLUSTER, false)?;
    tasks.retain(|task| task.state != "unreachable");
    Ok(tasks)
}

fn three_of_every_component_on_three_agents(pool: &Pool) -> Result<()> {
    let tasks = present_tasks(pool)?;
    for (component, _) in COMPONENTS {
        let of_it: Vec<_> = tasks.iter().filter(|task| task.name.starts_with(component)).collect();
        let agents: BTreeSet<&str> = of_it.iter().map(|task| task.agent.as_str()).collect();
        ensure!(of_it.len() == REPLICAS && agents.len() == REPLICAS, "of {component}* there are {of_it:?}");
    }
    Ok(())
}

/// One process after the other, each at a moment of its own.
fn every_component_is_killed(pool: &Pool, kubectl: &Kubectl, seed: &mut Seed) -> Result<()> {
    let all = COMPONENTS.iter().flat_map(|(_, program)| [*program; REPLICAS]).collect();
    for (turn, program) in seed.shuffled(all).into_iter().enumerate() {
        let containers = containers(kubectl)?;
        let victims = pool.processes_in_tasks(program, &[])?;
        ensure!(victims.len() == REPLICAS, "{} processes of {program} run", victims.len());
        let victim = *victims.get(turn % REPLICAS).context("choose one")?;
        seed.some_moment(JITTER)?;
        eprintln!("killed: {program}");
        pool.kill(victim)?;
        let killed = Instant::now();
        kubectl_answers(kubectl)?;
        eprintln!("kubectl answered {:.1} s later", killed.elapsed().as_secs_f64());
        until(&format!("{program} again"), SOON, || {
            let now = pool.processes_in_tasks(program, &[])?;
            Ok(now.len() == REPLICAS && !now.contains(&victim))
        })?;
        becomes_whole(pool, kubectl, SOON)?;
        let now = self::containers(kubectl)?;
        ensure!(now == containers, "killing {program}: the pods' containers {containers:?} became {now:?}");
    }
    Ok(())
}

/// One `kubectl get nodes` as its user would type it, with time for a second try.
pub(crate) fn kubectl_answers(kubectl: &Kubectl) -> Result<()> {
    until("an answer of kubectl", SILENCE, || {
        Ok(kubectl.command(&["get", "nodes", "--request-timeout=5s"]).within(SILENCE).output()?.status.success())
    })
}

/// Waits until every plan is complete, every task runs, every component has its replicas and every node is Ready.
pub(crate) fn becomes_whole(pool: &Pool, kubectl: &Kubectl, within: Duration) -> Result<()> {
    let mut seen = String::new();
    until("a whole cluster", within, || {
        let is_complete = pool.is_every_plan_complete(CLUSTER)?;
        let tasks = present_tasks(pool)?;
        let ready = kubectl.ready_nodes()?;
        let others: Vec<_> = tasks.iter().filter(|task| task.state != "running").collect();
        seen = format!("plans complete: {is_complete}, Ready are {ready:?}, not running are {others:?}");
        Ok(is_complete
            && others.is_empty()
            && ready.len() == NODES
            && three_of_every_component_on_three_agents(pool).is_ok())
    })
    .with_context(|| seen.clone())
}

/// Ids and start times of the containers of every pod of the deployment.
fn containers(kubectl: &Kubectl) -> Result<BTreeMap<String, String>> {
    let pods = kubectl.get(&["pods", "--selector", "app=web"])?;
    let told = |pod: &Value| {
        let status = &pod["status"]["containerStatuses"][0];
        format!("{} {} {}", status["containerID"], status["state"]["running"]["startedAt"], status["restartCount"])
    };
    Ok(items(&pods).iter().map(|pod| (name(pod), told(pod))).collect())
}
