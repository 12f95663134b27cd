//! kill -9 of everything that can be killed, at moments chosen by a seed: while a cluster is deployed, while it rests, while it is
//! scaled. Nothing but mezzo brings anything back; no pod notices but those whose own node was killed.

mod victim;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::kubectl::{items, name};
use e2e::{Kubectl, Machine, Pool, Seed, Task, eventually, until};
use nix::unistd::Pid;
use serde_json::Value;

use victim::Victim;

const CLUSTER: &str = "demo";
const SOON: Duration = Duration::from_secs(150);
const INSTALLED_WITHIN: Duration = Duration::from_secs(420);

/// How long after a moment began something is killed, at most.
const JITTER: Duration = Duration::from_secs(2);

/// What tasks' names begin with, in the order of their launch: each is a moment of a deployment.
const LAUNCHES: [&str; 5] = ["etcd-", "kube-apiserver-", "kube-controller-manager-", "kube-scheduler-", "node-"];
const NODES: &str = "node-";
const TASKS_OF_A_NODE: usize = 3;

const WORKLOAD: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 6
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
fn whatever_is_killed_comes_back_and_takes_nothing_with_it() -> Result<()> {
    let before = Machine::look()?;
    let mut seed = Seed::from_environment();
    let pool = Pool::up("kubernetes_killed", 3, &[])?;
    pool.upload(&["etcd", "kube-control-plane", "kubernetes-node", "busybox"])?;

    while_deploying(&pool, &mut seed)?;
    let kubectl = pool.kubectl(CLUSTER)?;
    becomes_whole(&pool, &kubectl, 2, INSTALLED_WITHIN)?;
    kubectl.apply(pool.scratch(), WORKLOAD)?;
    kubectl.run(&["rollout", "status", "deployment/web", "--timeout=150s"])?;
    for victim in seed.shuffled(Victim::ALL.to_vec()) {
        in_peace(&pool, &kubectl, &mut seed, victim)?;
    }
    while_scaling(&pool, &kubectl, &mut seed)?;

    pool.mezzo(&["catalog", "uninstall", CLUSTER, "--yes"]).within(INSTALLED_WITHIN).run()?;
    pool.expect_nothing_held(CLUSTER)?;
    pool.down()?;
    Machine::expect_nothing_new(&before)
}

fn while_deploying(pool: &Pool, seed: &mut Seed) -> Result<()> {
    let mut at: BTreeMap<&str, Vec<Victim>> = BTreeMap::new();
    for victim in seed.shuffled(Victim::ALL.to_vec()) {
        let moment = if victim.is_on_a_node() { NODES } else { seed.one_of(&LAUNCHES).context("find a moment")? };
        at.entry(moment).or_default().push(victim);
    }
    pool.mezzo(&["catalog", "install", "kubernetes", "--name", CLUSTER, "--set", "node_count=2", "--detach"]).run()?;
    for launch in LAUNCHES {
        until(&format!("the launch of {launch}*"), INSTALLED_WITHIN, || {
            Ok(pool.tasks(CLUSTER, false)?.iter().any(|task| task.name.starts_with(launch)))
        })?;
        for victim in at.remove(launch).unwrap_or_default() {
            eprintln!("deploying, {launch}* launched: {victim:?}");
            seed.some_moment(JITTER)?;
            kill_one(pool, seed, victim)?;
        }
    }
    Ok(())
}

/// One victim, everything else at rest: what is not its own does not change.
fn in_peace(pool: &Pool, kubectl: &Kubectl, seed: &mut Seed, victim: Victim) -> Result<()> {
    eprintln!("at rest: {victim:?}");
    let (containers, tasks) = (containers(kubectl)?, tasks(pool)?);
    let count = victim.processes(pool)?.len();
    let killed = kill_one(pool, seed, victim)?;
    if let Some(pod_id) = &killed.pod_id {
        ends_before_it_is_replaced(pool, pod_id)?;
    }
    until(&format!("{victim:?} again"), SOON, || {
        let now = victim.processes(pool)?;
        Ok(now.len() == count && !now.contains(&killed.pid))
    })?;
    becomes_whole(pool, kubectl, 2, SOON)?;
    let now = self::tasks(pool)?;
    ensure!(now.keys().eq(tasks.keys()), "killing {victim:?}: tasks {tasks:?} became {now:?}");
    if victim != Victim::Executor {
        let now = self::containers(kubectl)?;
        ensure!(now == containers, "killing {victim:?}: the pods' containers {containers:?} became {now:?}");
    }
    if !matches!(victim, Victim::Executor | Victim::KubeProxy) {
        ensure!(now == tasks, "killing {victim:?}: tasks {tasks:?} became {now:?}");
    }
    kubectl.run(&["rollout", "status", "deployment/web", "--timeout=150s"]).map(drop)
}

/// Half of the victims on the way up, the others on the way down.
fn while_scaling(pool: &Pool, kubectl: &Kubectl, seed: &mut Seed) -> Result<()> {
    let mut first = seed.shuffled(Victim::ALL.to_vec());
    let second = first.split_off(first.len() / 2);
    for (nodes, victims) in [(3, first), (2, second)] {
        let count = nodes.to_string();
        pool.mezzo(&["kubernetes", "scale", CLUSTER, "--node-count", &count, "--detach", "--yes"]).run()?;
        for victim in victims {
            eprintln!("scaling to {nodes}: {victim:?}");
            seed.some_moment(JITTER)?;
            kill_one(pool, seed, victim)?;
        }
        becomes_whole(pool, kubectl, nodes, INSTALLED_WITHIN)?;
        kubectl.run(&["rollout", "status", "deployment/web", "--timeout=150s"])?;
    }
    Ok(())
}

struct Killed {
    pid: Pid,
    /// Of an executor: the pod that it was the parent of.
    pod_id: Option<String>,
}

/// It may just be on its way back from an earlier death.
fn kill_one(pool: &Pool, seed: &mut Seed, victim: Victim) -> Result<Killed> {
    let pid =
        eventually(&format!("a process to kill: {victim:?}"), SOON, || Ok(seed.one_of(&victim.processes(pool)?)))?;
    let pod_id = if victim == Victim::Executor { pool.pod_of_executor(pid)? } else { None };
    pool.kill(pid)?;
    Ok(Killed { pid, pod_id })
}

/// The tasks of a pod whose executor died end, and only then others take their place.
fn ends_before_it_is_replaced(pool: &Pool, pod_id: &str) -> Result<()> {
    // The agent calls it after the pod's own name, with a number before.
    let is_of = |task: &Task| pod_id.split_once('-').is_some_and(|(_, id)| id == task.pod_id);
    let names: BTreeSet<String> = pool.all_tasks(true)?.into_iter().filter(is_of).map(|task| task.name).collect();
    ensure!(!names.is_empty(), "no task of pod {pod_id} is known");
    until(&format!("the end of pod {pod_id}"), SOON, || {
        let replacement = pool.all_tasks(false)?.into_iter().find(|task| !is_of(task) && names.contains(&task.name));
        // Asked after the tasks were: what runs now, ran then.
        let left = pool.processes_in_pod(pod_id)?;
        if let (Some(task), false) = (replacement, left.is_empty()) {
            panic!("{} was launched while {left:?} of pod {pod_id} run", task.id);
        }
        Ok(left.is_empty())
    })
}

/// The plan is complete, every task runs once, every node is Ready.
fn becomes_whole(pool: &Pool, kubectl: &Kubectl, nodes: usize, within: Duration) -> Result<()> {
    let mut seen = String::new();
    until(&format!("a whole cluster of {nodes} nodes"), within, || {
        let plan = pool.plan_status(CLUSTER, "deploy")?;
        let tasks = pool.tasks(CLUSTER, false)?;
        let names: BTreeSet<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
        let of_nodes = names.iter().filter(|name| name.starts_with(NODES)).count();
        let ready = kubectl.ready_nodes()?;
        seen = format!("the plan is {plan}, Ready are {ready:?}, tasks are {tasks:?}");
        Ok(plan == "COMPLETE"
            && tasks.iter().all(|task| task.state == "running")
            && names.len() == tasks.len()
            && of_nodes == nodes * TASKS_OF_A_NODE
            && ready.len() == nodes)
    })
    .with_context(|| format!("at last {seen}"))
}

/// The cluster's tasks by name.
fn tasks(pool: &Pool) -> Result<BTreeMap<String, String>> {
    Ok(pool.tasks(CLUSTER, false)?.into_iter().map(|task| (task.name, task.id)).collect())
}

/// Of every pod of the deployment: its containers with their ids, start times and restarts. Other pods come and go: those that
/// ask whether a node is ready.
fn containers(kubectl: &Kubectl) -> Result<BTreeMap<String, Value>> {
    let pods = kubectl.get(&["pods", "--selector", "app=web"])?;
    let told = |pod: &Value| -> Vec<Value> {
        let statuses = pod["status"]["containerStatuses"].as_array();
        let fields = |status: &Value| {
            serde_json::json!([status["containerID"], status["state"]["running"]["startedAt"], status["restartCount"]])
        };
        statuses.map_or_else(Vec::new, |statuses| statuses.iter().map(fields).collect())
    };
    Ok(items(&pods).iter().map(|pod| (name(pod), Value::from(told(pod)))).collect())
}
