//! A cluster on a pool: installed in order, used with an unmodified kubectl, scaled up and down, uninstalled without a trace.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::kubectl::{has_condition, items, name};
use e2e::{Kubectl, Machine, Pool, Task, eventually, until};

const CLUSTER: &str = "demo";
const SOON: Duration = Duration::from_secs(90);
const INSTALLED_WITHIN: Duration = Duration::from_secs(300);

/// A third node with images present.
const SCALED_WITHIN: Duration = Duration::from_secs(20);

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
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: web}}}
      containers:
      - name: web
        image: busybox:1
        command: [sh, -c, "mkdir /tmp/www; hostname > /tmp/www/index.html; echo serving; exec httpd -f -v -p 8080 -h /tmp/www"]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
        volumeMounts:
        - {name: settings, mountPath: /settings}
        - {name: secret, mountPath: /secret}
        - {name: scratch, mountPath: /scratch}
      volumes:
      - {name: settings, configMap: {name: settings}}
      - {name: secret, secret: {secretName: secret}}
      - {name: scratch, emptyDir: {}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {greeting: hello}
---
apiVersion: v1
kind: Secret
metadata: {name: secret}
stringData: {word: sesame}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: web-headless}
spec:
  clusterIP: None
  selector: {app: web}
  ports: [{port: 8080}]
---
apiVersion: policy/v1beta1
kind: PodDisruptionBudget
metadata: {name: web}
spec:
  minAvailable: 5
  selector: {matchLabels: {app: web}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: client}
spec:
  backoffLimit: 5
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: client
        image: busybox:1
        command: [sh, -ec, "wget -q -T 10 -O - http://web.default.svc.cluster.local/; nslookup -type=a web-headless.default.svc.cluster.local; echo fetched"]
"#;

#[test]
fn a_cluster_is_installed_used_scaled_and_uninstalled() -> Result<()> {
    let before = Machine::look()?;
    let pool = Pool::up("kubernetes", 3, &[])?;
    pool.upload(&["etcd", "kube-control-plane", "kubernetes-node", "busybox"])?;

    pool.mezzo(&["catalog", "install", "kubernetes", "--name", CLUSTER, "--set", "node_count=2"])
        .within(INSTALLED_WITHIN)
        .run()?;
    let kubectl = pool.kubectl(CLUSTER)?;
    ensure!(kubectl.ready_nodes()?.len() == 2, "not two Ready nodes after the installation");
    components_started_in_order(&pool)?;

    kubectl.apply(pool.scratch(), WORKLOAD)?;
    pods_run_on_both_nodes(&kubectl)?;
    services_names_logs_and_exec_work(&kubectl)?;
    scaling_touches_nothing_else(&pool, &kubectl)?;

    pool.mezzo(&["catalog", "uninstall", CLUSTER, "--yes"]).within(INSTALLED_WITHIN).run()?;
    pool.expect_nothing_held(CLUSTER)?;
    pool.down()?;
    Machine::expect_nothing_new(&before)
}

/// Each component was launched only when the one before it was running.
fn components_started_in_order(pool: &Pool) -> Result<()> {
    let tasks = pool.tasks(CLUSTER, true)?;
    let of = |word: &str| -> Result<Vec<&Task>> {
        let found: Vec<&Task> = tasks.iter().filter(|task| task.name.contains(word)).collect();
        ensure!(
            !found.is_empty(),
            "no task of {word} among {:?}",
            tasks.iter().map(|task| &task.name).collect::<Vec<_>>()
        );
        Ok(found)
    };
    let order = ["etcd", "apiserver", "controller-manager", "scheduler", "kubelet"];
    for pair in order.windows(2) {
        // A node's main task is called after what it runs, or is simply the node.
        let later = if pair[1] == "kubelet" { of("kubelet").or_else(|_| of("node"))? } else { of(pair[1])? };
        let running = of(pair[0])?.iter().map(|task| task.running).max().unwrap_or(u64::MAX);
        let launched = later.iter().map(|task| task.launched).min().unwrap_or(0);
        ensure!(running <= launched, "{} ran at {running}, {} was launched at {launched}", pair[0], pair[1]);
    }
    let plan = pool.mezzo(&["plan", "show", CLUSTER, "deploy"]).run()?;
    ensure!(plan.contains("COMPLETE"), "the plan is not complete:\n{plan}");
    Ok(())
}

fn pods_run_on_both_nodes(kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["rollout", "status", "deployment/web", "--timeout=150s"])?;
    let nodes: BTreeSet<String> = items(&kubectl.get(&["pods", "--selector", "app=web"])?)
        .iter()
        .map(|pod| pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned())
        .collect();
    ensure!(nodes.len() == 2, "pods run on {nodes:?}");
    Ok(())
}

fn services_names_logs_and_exec_work(kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["wait", "--for=condition=complete", "job/client", "--timeout=120s"])?;
    let fetched = kubectl.run(&["logs", "job/client"])?;
    ensure!(fetched.contains("fetched") && fetched.contains("web-"), "the job said: {fetched}");
    let pods = kubectl.get(&["pods", "--selector", "app=web"])?;
    for pod in items(&pods) {
        let pod = name(pod);
        let said = kubectl.run(&["logs", &pod])?;
        ensure!(said.contains("serving"), "{pod} said: {said}");
    }
    let first = name(items(&pods).first().context("find a pod")?);
    let read =
        kubectl.run(&["exec", &first, "--", "sh", "-c", "cat /settings/greeting /secret/word; touch /scratch/x"])?;
    ensure!(read == "hellosesame", "the volumes hold {read:?}");
    the_client_s_own_address_is_seen(kubectl, items(&pods))
}

/// From a pod on one node to a pod on the other, without address translation.
fn the_client_s_own_address_is_seen(kubectl: &Kubectl, pods: &[serde_json::Value]) -> Result<()> {
    let mut by_node: BTreeMap<&str, &serde_json::Value> = BTreeMap::new();
    for pod in pods {
        by_node.insert(pod["spec"]["nodeName"].as_str().unwrap_or_default(), pod);
    }
    let mut ends = by_node.values();
    let (server, client) = (ends.next().context("a server")?, ends.next().context("a client on the other node")?);
    let address = |pod: &serde_json::Value| pod["status"]["podIP"].as_str().unwrap_or_default().to_owned();
    let target = format!("http://{}:8080/", address(server));
    let page = kubectl.run(&["exec", &name(client), "--", "wget", "-q", "-T", "10", "-O", "-", &target])?;
    ensure!(page.trim() == name(server), "{target} is {page:?}");
    until("the client's address in the server's log", SOON, || {
        Ok(kubectl.run(&["logs", &name(server)])?.contains(&format!(":{}]", address(client))))
    })
}

fn scaling_touches_nothing_else(pool: &Pool, kubectl: &Kubectl) -> Result<()> {
    let ids =
        || -> Result<BTreeSet<String>> { Ok(pool.tasks(CLUSTER, false)?.into_iter().map(|task| task.id).collect()) };
    let with_two = ids()?;
    let nodes_before = kubectl.ready_nodes()?;

    let started = Instant::now();
    pool.mezzo(&["kubernetes", "scale", CLUSTER, "--node-count", "3"]).within(INSTALLED_WITHIN).run()?;
    eventually("three Ready nodes", SOON, || Ok((kubectl.ready_nodes()?.len() == 3).then_some(())))?;
    let took = started.elapsed();
    eprintln!("the third node was Ready after {:.1} s", took.as_secs_f64());
    ensure!(took <= SCALED_WITHIN, "the third node took {} s", took.as_secs());
    ensure!(with_two.is_subset(&ids()?), "scaling up replaced a task");

    // With a node more, pods go on running; on the way down at least five of the six do.
    pool.mezzo(&["kubernetes", "scale", CLUSTER, "--node-count", "2", "--delete-emptydir-data", "--detach", "--yes"])
        .within(SOON)
        .run()?;
    eventually("two nodes", INSTALLED_WITHIN, || {
        let deployment = kubectl.get(&["deployment", "web"])?;
        let available = deployment["status"]["availableReplicas"].as_u64().unwrap_or(0);
        // Not an error to ask again about: a broken promise.
        assert!(available >= 5, "the disruption budget asks for 5 pods, {available} were available");
        let nodes = kubectl.get(&["nodes"])?;
        Ok((items(&nodes).len() == 2 && ids()?.len() == with_two.len()).then_some(()))
    })?;
    let left: Vec<String> = kubectl.ready_nodes()?;
    ensure!(left.len() == 2, "{left:?} are Ready; before there were {nodes_before:?}");
    until("six pods again", SOON, || {
        Ok(has_condition(&kubectl.get(&["deployment", "web"])?, "Available")
            && kubectl.get(&["deployment", "web"])?["status"]["availableReplicas"] == 6)
    })
}
