//! What users run on a cluster while the cluster is looked after: a deployment whose pods notice whatever touches them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::kubectl::{Kubectl, has_condition, items, name};
use crate::pool::Pool;

const SELECTOR: &str = "app=web";

/// So many pods, on as many nodes as there are.
const MANIFEST: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: COUNT
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

/// The one container of a pod.
#[derive(Debug, PartialEq, Eq)]
pub struct Container {
    /// Where it runs.
    pub node: String,
    /// Another one has another.
    pub id: Option<String>,
    /// Since when it runs.
    pub started: Option<String>,
    /// How often there was another before it.
    pub restarts: u64,
}

/// Deploys it and waits until all of its pods run.
///
/// # Errors
/// If they do not.
pub fn deploy(pool: &Pool, kubectl: &Kubectl, count: usize) -> Result<()> {
    kubectl.apply(pool.scratch(), &MANIFEST.replace("COUNT", &count.to_string()))?;
    rolled_out(kubectl)
}

/// Waits until all pods of the deployment are available.
///
/// # Errors
/// If they are not.
pub fn rolled_out(kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["rollout", "status", "deployment/web", "--timeout=150s"]).map(drop)
}

/// Every pod of the deployment runs, on a node that is Ready.
///
/// # Errors
/// If one does not.
pub fn runs_on_ready_nodes(kubectl: &Kubectl) -> Result<()> {
    rolled_out(kubectl)?;
    let ready: BTreeSet<String> = kubectl.ready_nodes()?.into_iter().collect();
    let pods = kubectl.get(&["pods", "--selector", SELECTOR])?;
    for pod in items(&pods).iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()) {
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        ensure!(has_condition(pod, "Ready") && ready.contains(node), "{} on {node} is not Ready", name(pod));
    }
    ensure!(!items(&pods).is_empty(), "the deployment has no pods");
    Ok(())
}

/// Of every pod of the deployment. Other pods come and go: those that ask whether a node is ready.
///
/// # Errors
/// If the cluster does not answer.
pub fn containers(kubectl: &Kubectl) -> Result<BTreeMap<String, Container>> {
    let pods = kubectl.get(&["pods", "--selector", SELECTOR])?;
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
