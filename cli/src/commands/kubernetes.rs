//! `mezzo kubernetes`: words for what a cluster's own framework does. Speaks to `/service/<name>/` alone.
pub(crate) mod archive;
mod backup;
mod certificates;
mod images;

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use proto::mezzo::v1::Installation;
use serde_json::{Value, json};

use super::catalog::installations;
use crate::client::Pool;
use crate::failure::{Exit, Failure, Result};
use crate::grammar::{Format, Global, Kubernetes, Scale};
use crate::output::{self, Rows};
use crate::steps::{self, PlanView};

/// The package whose installations are clusters.
const PACKAGE: &str = "kubernetes";

pub(crate) async fn run(verb: Kubernetes, global: &Global) -> Result<()> {
    let pool = Pool::connect(global)?;
    match verb {
        Kubernetes::List => list(&pool, global).await,
        Kubernetes::Status { name } => status(&pool, global, &name).await,
        Kubernetes::Kubeconfig { name, to } => kubeconfig(&pool, &name, to.as_deref()).await,
        Kubernetes::Nodes { name } => nodes(&pool, global, &name).await,
        Kubernetes::Scale(arguments) => scale(&pool, global, arguments).await,
        Kubernetes::Load { name, archives } => images::load(&pool, &name, &archives).await,
        Kubernetes::Images { name } => images::list(&pool, global, &name).await,
        Kubernetes::Backup { name, file, kept } => backup::backup(&pool, &name, &file, kept.as_deref()).await,
        Kubernetes::Backups { name } => backup::list(&pool, global, &name).await,
        Kubernetes::Certificates(arguments) => certificates::run(&pool, global, arguments).await,
        Kubernetes::Restore(arguments) => Box::pin(backup::restore(&pool, arguments)).await,
        Kubernetes::Unload { name, what } => images::unload(&pool, global, &name, &what).await,
    }
}

fn no_cluster(name: &str) -> Failure {
    Failure::not_found(format!("there is no cluster '{name}'"), "list clusters with: mezzo kubernetes list")
}

async fn cluster(pool: &Pool, name: &str) -> Result<Installation> {
    let found = installations(pool).await?.into_iter().find(|one| one.name == name && one.package == PACKAGE);
    found.ok_or_else(|| no_cluster(name))
}

async fn list(pool: &Pool, global: &Global) -> Result<()> {
    let mut clusters = Vec::new();
    for one in installations(pool).await?.into_iter().filter(|one| one.package == PACKAGE) {
        // The number of nodes may have changed since the installation; a cluster that does not answer is listed too.
        let status: Value = pool.framework_get(&one.name, "/v1/cluster").await.unwrap_or(Value::Null);
        clusters.push(json!({
            "name": one.name,
            "version": one.version,
            "nodes": status.get("node_count"),
            "state": one.state,
            "waiting_for": one.waiting_for,
            "changed_unix_ms": one.changed_unix_ms,
        }));
    }
    output::data(global.output, &clusters, |clusters| {
        let mut rows = Rows::new(&["NAME", "VERSION", "NODES", "STATE", "CHANGED", "WAITING FOR"]);
        for one in clusters {
            let changed = one["changed_unix_ms"].as_i64().unwrap_or(0);
            rows.push([
                text(&one["name"]),
                text(&one["version"]),
                text(&one["nodes"]),
                text(&one["state"]),
                output::ago(changed),
                text(&one["waiting_for"]),
            ]);
        }
        rows
    })
}

/// A value for people; nothing for null.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

async fn status(pool: &Pool, global: &Global, name: &str) -> Result<()> {
    let installation = cluster(pool, name).await?;
    let status: Value = pool.framework_get(name, "/v1/cluster").await?;
    if global.output == Format::Json {
        return output::json(&status);
    }
    let plan: PlanView = pool.framework_get(name, "/v1/plans/deploy").await?;
    let (done, all) = plan.progress();
    output::one(Format::Table, &status, |status| {
        let reachable = status["api"]["reachable"] == true;
        vec![
            ("name", installation.name.clone()),
            ("package", format!("{} {}", installation.package, installation.version)),
            ("installation", installation.state.clone()),
            ("version", text(&status["kubernetes_version"])),
            ("high availability", text(&status["high_availability"])),
            (
                "API",
                if reachable {
                    "reachable".to_owned()
                } else {
                    format!("not reachable: {}", text(&status["api"]["error"]))
                },
            ),
            ("nodes", text(&status["node_count"])),
            ("certificates", certificates::line(&status["certificates"])),
            ("deploy plan", format!("{}, {done} of {all} steps", plan.status_text().to_lowercase())),
            ("waiting for", plan.waiting_for()),
        ]
    })?;
    output::out("\n")?;
    output::data(Format::Table, &status, |status| {
        let mut rows = Rows::new(&["COMPONENT", "READY", "AGENT", "ADDRESS"]);
        for part in ["components", "nodes"].iter().flat_map(|key| status[*key].as_array().into_iter().flatten()) {
            rows.push([text(&part["name"]), text(&part["ready"]), text(&part["agent"]), text(&part["address"])]);
        }
        rows
    })
}

async fn kubeconfig(pool: &Pool, name: &str, to: Option<&Path>) -> Result<()> {
    cluster(pool, name).await?;
    let bytes = pool.framework_bytes(name, "/v1/cluster/kubeconfig").await?;
    let text = String::from_utf8(bytes).map_err(|error| Failure::while_doing("read the kubeconfig", &error))?;
    let Some(path) = to else { return output::out(&text) };
    let failed = |error: std::io::Error| Failure::while_doing(format!("write {}", path.display()), &error);
    // It holds a key: nobody else may read it, not even for a moment.
    let temporary = path.with_extension("tmp");
    let _ = std::fs::remove_file(&temporary);
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&temporary, path).map_err(failed)?;
    output::note(&format!("written to {0}\n  next: kubectl --kubeconfig {0} get nodes", path.display()));
    Ok(())
}

async fn nodes(pool: &Pool, global: &Global, name: &str) -> Result<()> {
    cluster(pool, name).await?;
    let status: Value = pool.framework_get(name, "/v1/cluster").await?;
    output::data(global.output, &status["nodes"], |nodes| {
        let mut rows =
            Rows::new(&["NAME", "READY", "SCHEDULABLE", "PODS", "AGENT", "ADDRESS", "KUBELET", "WHY NOT READY"]);
        for node in nodes.as_array().into_iter().flatten() {
            let leaving = node["leaving"] == true;
            rows.push([
                text(&node["name"]),
                if leaving { "leaving".to_owned() } else { text(&node["kubernetes_ready"]) },
                text(&node["schedulable"]),
                text(&node["pods"]),
                text(&node["agent"]),
                text(&node["address"]),
                text(&node["kubelet_version"]),
                text(&node["reason"]),
            ]);
        }
        rows
    })
}

/// Tells the cluster's framework how many nodes there shall be, and how pods leave those that go.
async fn scale(pool: &Pool, global: &Global, arguments: Scale) -> Result<()> {
    let name = &arguments.name;
    cluster(pool, name).await?;
    let before: Value = pool.framework_get(name, "/v1/cluster").await?;
    let (from, to) = (text(&before["node_count"]), arguments.node_count);
    if arguments.dry_run {
        output::note(&format!("dry run: '{name}' would go from {from} to {to} nodes"));
        return Ok(());
    }
    let request = json!({
        "node_count": to,
        "remove": arguments.node,
        "delete_emptydir_data": arguments.delete_emptydir_data,
        "force": arguments.force,
        "timeout_seconds": arguments.drain_timeout,
    });
    let answer = pool.framework_post(name, "/v1/cluster/scale", &request).await?;
    let names = |key: &str| {
        let list: Vec<String> = answer[key].as_array().into_iter().flatten().map(text).collect();
        if list.is_empty() { String::new() } else { format!(", {key}: {}", list.join(" ")) }
    };
    output::note(&format!("scaling '{name}' from {from} to {to} nodes{}{}", names("added"), names("removed")));
    if arguments.waiting.detach {
        output::note(&format!(
            "follow it with: mezzo plan show {name} deploy --follow, or decommission for nodes that go"
        ));
        return if global.output == Format::Json { output::json(&answer) } else { Ok(()) };
    }
    steps::follow(pool, name, "deploy").await?;
    match steps::follow(pool, name, "decommission").await {
        Err(failure) if failure.exit == Exit::NotFound => {}
        other => other?,
    }
    nodes(pool, global, name).await
}
