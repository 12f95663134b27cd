//! kill -9 of everything that can be killed, at moments chosen by a seed: while a cluster is deployed, while it rests, while it is
//! scaled. Nothing but mezzo brings anything back; no pod notices but those whose own node was killed; with three of everything
//! kubectl is answered all the time. At last a node is killed while its cluster is uninstalled: nothing replaces it, and its
//! host is left as it was.
//!
//! Every run kills everything and has every moment; the seed spreads the one over the other. With `MEZZO_KILL=all`
//! everything is killed at every moment, which takes three times as long.

mod schedule;
mod victim;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{CONTROL_PLANE, INSTALLED_WITHIN, NODE, SILENCE, node_of};
use e2e::workload::{self, Container};
use e2e::{Cluster, Hosts, Kubectl, Machine, Pool, Seed, Task, Writer, eventually, until};
use nix::unistd::Pid;

use schedule::Schedule;
use victim::Victim;

const CLUSTER: &str = "demo";
const SOON: Duration = Duration::from_secs(150);
const PODS: usize = 6;

/// How long after a moment began something is killed, at most.
const JITTER: Duration = Duration::from_secs(2);

#[test]
fn whatever_is_killed_comes_back_and_takes_nothing_with_it() -> Result<()> {
    everything_is_killed("kubernetes_killed", Cluster::plain(CLUSTER), 3)
}

#[test]
fn of_three_whatever_is_killed_is_not_missed() -> Result<()> {
    everything_is_killed("kubernetes_ha_killed", Cluster::highly_available(CLUSTER), 4)
}

/// A runner that keeps tests of one program in one process would look at the machine while the other pool comes or goes.
static MACHINE: Mutex<()> = Mutex::new(());

fn everything_is_killed(test: &'static str, cluster: Cluster, agents: u32) -> Result<()> {
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = Machine::look()?;
    let mut seed = Seed::from_environment();
    let pool = Pool::up(test, agents, &[])?;
    pool.upload(&["etcd", "kube-control-plane", "kubernetes-node", "busybox"])?;
    let hosts_before = Hosts::look(&pool)?;
    let schedule = Schedule::from_environment(cluster, &mut seed);
    let mut killing = Killing { pool: &pool, cluster, seed };

    killing.while_deploying(schedule.deploying)?;
    let kubectl = eventually("a kubeconfig", SOON, || pool.kubectl(CLUSTER).map(Some))?;
    cluster.expect_whole(&pool, &kubectl, 2, INSTALLED_WITHIN)?;
    workload::deploy(&pool, &kubectl, PODS)?;
    let writer = if cluster.is_highly_available() { Some(Writer::start(&kubectl, "killed")?) } else { None };
    for victim in schedule.at_rest {
        killing.in_peace(&kubectl, victim)?;
    }
    killing.while_scaling(&kubectl, schedule.scaling)?;
    if let Some(writer) = writer {
        writer.finish(&kubectl, SILENCE)?;
    }

    killing.a_node()?;
    cluster.uninstall(&pool)?;
    Hosts::expect_unchanged(&pool, &hosts_before)?;
    pool.down()?;
    Machine::expect_nothing_new(&before)
}

/// Kills, and says what must be so afterwards.
struct Killing<'a> {
    pool: &'a Pool,
    cluster: Cluster,
    seed: Seed,
}

struct Killed {
    pid: Pid,
    /// Of an executor: the pod that it was the parent of.
    pod_id: Option<String>,
}

impl Killing<'_> {
    fn while_deploying(&mut self, victims: Vec<Victim>) -> Result<()> {
        // Each launch is a moment of a deployment.
        let launches: Vec<&str> = CONTROL_PLANE.into_iter().chain([NODE]).collect();
        let mut at: BTreeMap<&str, Vec<Victim>> = BTreeMap::new();
        for victim in victims {
            let possible = launches.get(victim.earliest(&launches)..).unwrap_or_default();
            let moment = self.seed.one_of(possible).context("find a moment")?;
            at.entry(moment).or_default().push(victim);
        }
        self.cluster.installation(self.pool, 2).args(["--detach"]).run()?;
        for launch in launches {
            until(&format!("the launch of {launch}"), INSTALLED_WITHIN, || {
                let tasks = self.cluster.tasks(self.pool)?;
                Ok(tasks.iter().any(|task| task.name.starts_with(&format!("{launch}-"))))
            })?;
            for victim in at.remove(launch).unwrap_or_default() {
                eprintln!("deploying, {launch} launched: {victim:?}");
                self.seed.some_moment(JITTER)?;
                self.kill(victim)?;
            }
        }
        Ok(())
    }

    /// One victim, everything else at rest: what is not its own does not change.
    fn in_peace(&mut self, kubectl: &Kubectl, victim: Victim) -> Result<()> {
        eprintln!("at rest: {victim:?}");
        let (pool, cluster) = (self.pool, self.cluster);
        let (containers, tasks) = (workload::containers(kubectl)?, self.tasks()?);
        let count = victim.processes(pool, cluster)?.len();
        let killed = self.kill(victim)?;
        std::thread::scope(|scope| {
            let answer = scope.spawn(|| self.expect_an_answer(kubectl));
            if let Some(pod_id) = &killed.pod_id {
                ends_before_it_is_replaced(pool, pod_id)?;
            }
            answer.join().expect("whoever asks kubectl does not panic")
        })?;
        until(&format!("{victim:?} again"), SOON, || {
            let now = victim.processes(pool, cluster)?;
            Ok(now.len() == count && !now.contains(&killed.pid))
        })?;
        cluster.expect_whole(pool, kubectl, 2, SOON)?;
        let now = self.tasks()?;
        ensure!(now.keys().eq(tasks.keys()), "killing {victim:?}: tasks {tasks:?} became {now:?}");
        if let Some(node) = killed.pod_id.as_deref().and_then(node_of) {
            // The API tells the old containers until the new kubelet has told of the new ones.
            let is_new = |(pod, now): (&String, &Container)| {
                now.id.is_some() && (now.node != node || containers.get(pod).is_none_or(|before| before.id != now.id))
            };
            until(&format!("new containers on {node}"), SOON, || {
                Ok(workload::containers(kubectl)?.iter().all(is_new))
            })?;
        } else {
            let now = workload::containers(kubectl)?;
            ensure!(now == containers, "killing {victim:?}: the pods' containers {containers:?} became {now:?}");
        }
        ensure!(victim.ends_tasks() || now == tasks, "killing {victim:?}: tasks {tasks:?} became {now:?}");
        workload::rolled_out(kubectl)
    }

    /// Half of the victims on the way up, the others on the way down.
    fn while_scaling(&mut self, kubectl: &Kubectl, mut first: Vec<Victim>) -> Result<()> {
        let second = first.split_off(first.len() / 2);
        for (nodes, victims) in [(3, first), (2, second)] {
            let count = nodes.to_string();
            self.pool.mezzo(&["kubernetes", "scale", CLUSTER, "--node-count", &count, "--detach", "--yes"]).run()?;
            for victim in victims {
                eprintln!("scaling to {nodes}: {victim:?}");
                self.seed.some_moment(JITTER)?;
                self.kill(victim)?;
                self.expect_an_answer(kubectl)?;
            }
            self.cluster.expect_whole(self.pool, kubectl, nodes, INSTALLED_WITHIN)?;
            workload::rolled_out(kubectl)?;
        }
        Ok(())
    }

    /// Without a word: no SIGTERM, no drain, and what it put into its host's network stays there.
    fn a_node(&mut self) -> Result<()> {
        let mut nodes = Vec::new();
        for pid in Victim::Executor.processes(self.pool, self.cluster)? {
            nodes.extend(self.pool.pod_of_executor(pid)?.and_then(|pod_id| Some((pid, node_of(&pod_id)?.to_owned()))));
        }
        let (pid, node) = self.seed.one_of(&nodes).context("find a node to kill")?;
        eprintln!("uninstalling: {node}");
        self.pool.kill(pid)
    }

    /// It may just be on its way back from an earlier death.
    fn kill(&mut self, victim: Victim) -> Result<Killed> {
        let pid = eventually(&format!("a process to kill: {victim:?}"), SOON, || {
            Ok(self.seed.one_of(&victim.processes(self.pool, self.cluster)?))
        })?;
        let pod_id = if victim == Victim::Executor { self.pool.pod_of_executor(pid)? } else { None };
        self.pool.kill(pid)?;
        Ok(Killed { pid, pod_id })
    }

    /// With one of everything, it may be the one that answers.
    fn expect_an_answer(&self, kubectl: &Kubectl) -> Result<()> {
        if self.cluster.is_highly_available() { kubectl.answers_within(SILENCE) } else { Ok(()) }
    }

    /// The cluster's tasks by name.
    fn tasks(&self) -> Result<BTreeMap<String, String>> {
        Ok(self.cluster.tasks(self.pool)?.into_iter().map(|task| (task.name, task.id)).collect())
    }
}

/// The tasks of a pod whose executor died end, and only then others take their place.
fn ends_before_it_is_replaced(pool: &Pool, pod_id: &str) -> Result<()> {
    let is_of = |task: &Task| e2e::cluster::without_number(pod_id) == task.pod_id;
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
