//! What people run: a deployment with settings, a secret and scratch space, a job; their logs, and a look inside.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use e2e::Kubectl;
use e2e::kubectl::{items, name};

pub(crate) const MANIFEST: &str = r#"
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
        image: e2e-peer:1
        args: [serve, "8080"]
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
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: client, image: e2e-peer:1, command: [/bin/sleep, "100000"]}
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
metadata: {name: fetch}
spec:
  backoffLimit: 5
  template:
    spec:
      restartPolicy: OnFailure
      containers:
      - {name: fetch, image: e2e-peer:1, args: [get, web.default.svc.cluster.local, "80"]}
"#;

pub(crate) fn runs_on_both_nodes(kubectl: &Kubectl) -> Result<()> {
    e2e::workload::rolled_out(kubectl)?;
    kubectl.run(&["wait", "--for=condition=Ready", "pod/client", "--timeout=60s"])?;
    let pods = kubectl.get(&["pods", "--selector", "app=web"])?;
    let nodes: BTreeSet<&str> = items(&pods).iter().filter_map(|pod| pod["spec"]["nodeName"].as_str()).collect();
    ensure!(nodes.len() == 2, "pods run on {nodes:?}");
    Ok(())
}

pub(crate) fn reads_its_volumes_and_is_looked_into(kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["wait", "--for=condition=complete", "job/fetch", "--timeout=120s"])?;
    let fetched = kubectl.run(&["logs", "job/fetch"])?;
    ensure!(fetched.contains("web-") && fetched.contains(" saw "), "the job said: {fetched}");
    let pods = kubectl.get(&["pods", "--selector", "app=web"])?;
    for pod in items(&pods) {
        let pod = name(pod);
        let said = kubectl.run(&["logs", &pod])?;
        ensure!(said.starts_with("serving"), "{pod} said: {said}");
    }
    let first = name(items(&pods).first().context("find a pod")?);
    let read = kubectl.run(&[
        "exec",
        &first,
        "--",
        "/bin/sh",
        "-c",
        "cat /settings/greeting /secret/word; touch /scratch/x",
    ])?;
    ensure!(read == "hellosesame", "the volumes hold {read:?}");
    Ok(())
}
