//! kill -9 of everything that can be killed, at moments chosen by a seed: while a cluster is deployed, while it rests, while it is
//! scaled. Nothing but mezzo brings anything back; no pod notices but those whose own node was killed. At last a node is killed
//! while its cluster is uninstalled: nothing replaces it, and its host is left as it was.
//!
//! Every run kills everything and has every moment; the seed spreads the one over the other. With `MEZZO_KILL=all`
//! everything is killed at every moment, which takes three times as long.

mod schedule;
mod victim;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::kubectl::{items, name};
use e2e::pool::list;
use e2e::{Hosts, Kubectl, Machine, Pool, Seed, Task, eventually, until};
use nix::unistd::Pid;
use serde_json::Value;

use schedule::Schedule;
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
    let hosts_before = Hosts::look(&pool)?;
    let schedule = Schedule::from_environment(&mut seed);

    while_deploying(&pool, &mut seed, schedule.deploying)?;
    let kubectl = eventually("a kubeconfig", SOON, || pool.kubectl(CLUSTER).map(Some))?;
    becomes_whole(&pool, &kubectl, 2, INSTALLED_WITHIN)?;
    kubectl.apply(pool.scratch(), WORKLOAD)?;
    kubectl.run(&["rollout", "status", "deployment/web", "--timeout=150s"])?;
    for victim in schedule.at_rest {
        in_peace(&pool, &kubectl, &mut seed, victim)?;
    }
    while_scaling(&pool, &kubectl, &mut seed, schedule.scaling)?;

    kill_a_node(&pool, &mut seed)?;
    pool.mezzo(&["catalog", "uninstall", CLUSTER, "--yes"]).within(INSTALLED_WITHIN).run()?;
    pool.expect_nothing_held(CLUSTER)?;
    Hosts::expect_unchanged(&pool, &hosts_before)?;
    pool.down()?;
    Machine::expect_nothing_new(&before)
}

fn while_deploying(pool: &Pool, seed: &mut Seed, victims: Vec<Victim>) -> Result<()> {
    let mut at: BTreeMap<&str, Vec<Victim>> = BTreeMap::new();
    for victim in victims {
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
    if let Some(node) = killed.pod_id.as_deref().and_then(node_of) {
        // The API tells the old containers until the new kubelet has told of the new ones.
        let is_new = |(pod, now): (&String, &Container)| {
            now.id.is_some() && (now.node != node || containers.get(pod).is_none_or(|before| before.id != now.id))
        };
        until(&format!("new containers on {node}"), SOON, || Ok(self::containers(kubectl)?.iter().all(is_new)))?;
    } else {
        let now = self::containers(kubectl)?;
        ensure!(now == containers, "killing {victim:?}: the pods' containers {containers:?} became {now:?}");
    }
    if !matches!(victim, Victim::Executor | Victim::KubeProxy) {
        ensure!(now == tasks, "killing {victim:?}: tasks {tasks:?} became {now:?}");
    }
    kubectl.run(&["rollout", "status", "deployment/web", "--timeout=150s"]).map(drop)
}

/// Half of the victims on the way up, the others on the way down.
fn while_scaling(pool: &Pool, kubectl: &Kubectl, seed: &mut Seed, mut first: Vec<Victim>) -> Result<()> {
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

/// Without a word: no SIGTERM, no drain, and what it put into its host's network stays there.
fn kill_a_node(pool: &Pool, seed: &mut Seed) -> Result<()> {
    let mut nodes = Vec::new();
    for pid in Victim::Executor.processes(pool)? {
        nodes.extend(pool.pod_of_executor(pid)?.and_then(|pod_id| Some((pid, node_of(&pod_id)?.to_owned()))));
    }
    let (pid, node) = seed.one_of(&nodes).context("find a node to kill")?;
    eprintln!("uninstalling: {node}");
    pool.kill(pid)
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

/// Nodes whose pod network is not the one of the agent that they are on.
fn with_the_network_of_another_agent(pool: &Pool, kubectl: &Kubectl, tasks: &[Task]) -> Result<Vec<String>> {
    let agents = pool.json(&["agent", "list"])?;
    let subnets: BTreeMap<&str, &Value> = list(&agents, "agents")
        .iter()
        .filter_map(|agent| Some((agent["name"].as_str()?, &agent["podSubnet"])))
        .collect();
    let nodes = kubectl.get(&["nodes"])?;
    let is_stray = |node: &&Value| {
        let task = tasks.iter().find(|task| task.name == format!("{}-node", name(node)));
        task.is_none_or(|task| subnets.get(task.agent.as_str()) != Some(&&node["spec"]["podCIDR"]))
    };
    Ok(items(&nodes).iter().filter(is_stray).map(name).collect())
}

/// The plan is complete, every task runs once, every node is Ready and in the network of its agent.
fn becomes_whole(pool: &Pool, kubectl: &Kubectl, nodes: usize, within: Duration) -> Result<()> {
    let mut seen = String::new();
    until(&format!("a whole cluster of {nodes} nodes"), within, || {
        let is_complete = pool.is_every_plan_complete(CLUSTER)?;
        let tasks = pool.tasks(CLUSTER, false)?;
        let names: BTreeSet<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
        let of_nodes = names.iter().filter(|name| name.starts_with(NODES)).count();
        let ready = kubectl.ready_nodes()?;
        let strays = with_the_network_of_another_agent(pool, kubectl, &tasks)?;
        seen = format!(
            "plans complete: {is_complete}, Ready are {ready:?}, with another agent's network {strays:?}, tasks are {tasks:?}"
        );
        Ok(is_complete
            && tasks.iter().all(|task| task.state == "running")
            && names.len() == tasks.len()
            && of_nodes == nodes * TASKS_OF_A_NODE
            && strays.is_empty()
            && ready.len() == nodes)
    })
    .with_context(|| format!("at last {seen}"))
}

/// The cluster's tasks by name.
fn tasks(pool: &Pool) -> Result<BTreeMap<String, String>> {
    Ok(pool.tasks(CLUSTER, false)?.into_iter().map(|task| (task.name, task.id)).collect())
}

/// `7-node-1.4` is a launch of `node-1`.
fn node_of(pod_id: &str) -> Option<&str> {
    let (name, _) = pod_id.split_once('-')?.1.rsplit_once('.')?;
    name.starts_with(NODES).then_some(name)
}

/// The one container of a pod.
#[derive(Debug, PartialEq, Eq)]
struct Container {
    node: String,
    id: Option<String>,
    started: Option<String>,
    restarts: u64,
}

/// Of every pod of the deployment. Other pods come and go: those that ask whether a node is ready.
fn containers(kubectl: &Kubectl) -> Result<BTreeMap<String, Container>> {
    let pods = kubectl.get(&["pods", "--selector", "app=web"])?;
    let told = |pod: &Value| {
        let status = &pod["status"]["containerStatuses"][0];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Container {
            node: text(&pod["spec"]["nodeName"]).unwrap_or_default(),
            id: text(&status["containerID"]),
            started: text(&status["state"]["running"]["startedAt"]),
            restarts: status["restartCount"].as_u64().unwrap_or(0),
        }
    };
    Ok(items(&pods).iter().map(|pod| (name(pod), told(pod))).collect())
}
