//! A backup, the cluster's end, and the same cluster again from the backup, under its old name: whoever had a kubeconfig or the
//! token of a service account goes on with it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context, Result, ensure};
use e2e::cluster::INSTALLED_WITHIN;
use e2e::{Hosts, Kubectl, Pool, eventually, until, workload};
use serde_json::Value;

use crate::{CLUSTER, NODES, PODS, SOON, becomes_whole};

/// Objects of several kinds, and an account that may read one of them.
const OBJECTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: kept}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: note, namespace: kept}
data: {word: sesame}
---
apiVersion: v1
kind: Secret
metadata: {name: hidden, namespace: kept}
stringData: {word: abracadabra}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: kept}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: kept}
rules:
- {apiGroups: [""], resources: [configmaps], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: kept}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects:
- {kind: ServiceAccount, name: reader, namespace: kept}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  selector: {app: web}
  ports: [{port: 80}]
"#;

/// What must be the same, with its identity.
const KEPT: [(&str, &str, &str); 7] = [
    ("kept", "configmap", "note"),
    ("kept", "secret", "hidden"),
    ("kept", "serviceaccount", "reader"),
    ("kept", "role", "reader"),
    ("kept", "rolebinding", "reader"),
    ("default", "service", "web"),
    ("default", "deployment", "web"),
];

pub(crate) fn a_cluster_that_is_gone_comes_back_as_it_was(
    pool: &Pool,
    kubectl: &Kubectl,
    hosts_before: &Hosts,
) -> Result<()> {
    kubectl.apply(pool.scratch(), OBJECTS)?;
    let reader = kubectl.with_token(&pool.scratch().join("reader.kubeconfig"), &token(kubectl)?)?;
    reads_the_note_and_nothing_else(&reader)?;
    let kept = kept(kubectl)?;
    let file = pool.scratch().join("demo.backup").display().to_string();
    pool.mezzo(&["kubernetes", "backup", CLUSTER.name, &file]).within(SOON).run()?;
    let mode = std::fs::metadata(&file).context("look at the backup")?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "the backup holds keys and has the mode {mode:o}");
    kubectl.run(&["create", "configmap", "after-the-backup"])?;

    CLUSTER.uninstall(pool)?;
    Hosts::expect_unchanged(pool, hosts_before)?;
    let gone = kubectl.command(&["get", "nodes", "--request-timeout=5s"]).output()?;
    ensure!(!gone.status.success(), "a cluster that is uninstalled answers");

    pool.mezzo(&["kubernetes", "restore", &file]).within(INSTALLED_WITHIN).run()?;
    becomes_whole(pool, kubectl, SOON)?;
    was_verified(pool)?;
    let now = self::kept(kubectl)?;
    ensure!(now == kept, "backed up were {kept:?}, there are {now:?}");
    reads_the_note_and_nothing_else(&reader)?;
    let later = kubectl.command(&["get", "configmap", "after-the-backup"]).output()?;
    ensure!(later.stderr.contains("NotFound"), "what came after the backup is there: {}{}", later.stdout, later.stderr);
    workload::runs_on_ready_nodes(kubectl)?;
    let pods = workload::containers(kubectl)?;
    ensure!(pods.len() == PODS, "of {PODS} pods there are {pods:?}");
    until("no node of before", SOON, || {
        Ok(kubectl.run(&["get", "nodes", "--output", "name"])?.lines().count() == NODES)
    })?;
    kubectl.run(&["delete", "namespace/kept", "service/web"]).map(drop)
}

/// The token that the cluster made for the account.
fn token(kubectl: &Kubectl) -> Result<String> {
    eventually("the token of the account", SOON, || {
        let account = kubectl.get(&["--namespace", "kept", "serviceaccount", "reader"])?;
        let Some(secret) = account["secrets"][0]["name"].as_str() else { return Ok(None) };
        let template = "--output=go-template={{.data.token | base64decode}}";
        kubectl.run(&["get", "--namespace", "kept", "secret", secret, template]).map(Some)
    })
}

fn reads_the_note_and_nothing_else(reader: &Kubectl) -> Result<()> {
    let read = reader.run(&["get", "--namespace", "kept", "configmap", "note", "--output=jsonpath={.data.word}"])?;
    ensure!(read == "sesame", "the account reads {read:?}");
    let refused = reader.command(&["get", "--namespace", "kept", "secret", "hidden"]).output()?;
    ensure!(refused.stderr.contains("Forbidden"), "the account may read secrets: {}", refused.stderr);
    Ok(())
}

/// What an object is and what it holds. What follows from the time or the place of pods is left out.
fn kept(kubectl: &Kubectl) -> Result<BTreeMap<String, Value>> {
    let mut found = BTreeMap::new();
    for (namespace, kind, name) in KEPT {
        let mut object = kubectl.get(&["--namespace", namespace, kind, name])?;
        let metadata = serde_json::json!({
            "uid": object["metadata"]["uid"],
            "created": object["metadata"]["creationTimestamp"],
            "labels": object["metadata"]["labels"],
        });
        let fields = object.as_object_mut().context("read an object")?;
        fields.remove("status");
        fields.insert("metadata".to_owned(), metadata);
        found.insert(format!("{kind}/{name}"), object);
    }
    Ok(found)
}

/// The framework compared what etcd holds with what the backup says, before anything could write.
fn was_verified(pool: &Pool) -> Result<()> {
    let status = pool.json(&["kubernetes", "status", CLUSTER.name])?;
    let restore = &status["restore"];
    eprintln!("restored: {restore}");
    let (backed_up, verified) = (&restore["backup_revision"], &restore["verified_revision"]);
    ensure!(restore["verified"] == true && restore["from"] == CLUSTER.name, "the restored cluster says {restore}");
    ensure!(
        backed_up.as_i64().is_some() && verified.as_i64() >= backed_up.as_i64(),
        "backed up at {backed_up}, went on from {verified}"
    );
    ensure!(restore["objects"].as_u64().is_some_and(|count| count > 100), "too few objects were compared: {restore}");
    Ok(())
}
