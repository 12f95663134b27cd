//! `mezzo kubernetes`: words for what a cluster's own framework does. Speaks to `/service/<name>/` alone.
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use proto::mezzo::v1::{UpdatePackageRequest, Installation};
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
        Kubernetes::Load { name, archives } => load(&pool, &name, &archives).await,
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
    let clusters: Vec<_> = installations(pool).await?.into_iter().filter(|one| one.package == PACKAGE).collect();
    output::data(global.output, &clusters, |clusters| {
        let mut rows = Rows::new(&["NAME", "VERSION", "NODES", "STATE", "CHANGED"]);
        for one in clusters {
            let options: Value = serde_json::from_str(&one.options_json).unwrap_or(Value::Null);
            let nodes = options.get("node_count").map(ToString::to_string).unwrap_or_default();
            rows.push([one.name.clone(), one.version.clone(), nodes, one.state.clone(), output::ago(one.changed_unix_ms)]);
        }
        rows
    })
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
        let mut fields = vec![
            ("name", installation.name.clone()),
            ("package", format!("{} {}", installation.package, installation.version)),
            ("installation", installation.state.clone()),
            ("deploy plan", format!("{}, {done} of {all} steps", plan.status_text().to_lowercase())),
            ("waiting for", plan.waiting_for()),
        ];
        let mut more = Vec::new();
        for (key, value) in status.as_object().into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if !value.is_null() && !value.is_object() && key != "name" {
                more.push(format!("{}: {text}", key.replace('_', " ")));
            }
        }
        fields.push(("cluster", more.join("\n")));
        fields
    })
}

async fn kubeconfig(pool: &Pool, name: &str, to: Option<&Path>) -> Result<()> {
    cluster(pool, name).await?;
    let bytes = pool.framework_bytes(name, "/v1/kubeconfig").await?;
    let text = String::from_utf8(bytes).map_err(|error| Failure::while_doing("read the kubeconfig", &error))?;
    let Some(path) = to else { return output::out(&text) };
    let failed = |error: std::io::Error| Failure::while_doing(format!("write {}", path.display()), &error);
    // It holds a key: nobody else may read it, not even for a moment.
    let temporary = path.with_extension("tmp");
    let _ = std::fs::remove_file(&temporary);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&temporary, path).map_err(failed)?;
    output::note(&format!("written to {0}\n  next: kubectl --kubeconfig {0} get nodes", path.display()));
    Ok(())
}

async fn nodes(pool: &Pool, global: &Global, name: &str) -> Result<()> {
    cluster(pool, name).await?;
    let nodes: Value = pool.framework_get(name, "/v1/nodes").await?;
    output::data(global.output, &nodes, |nodes| {
        let mut rows = Rows::new(&["NAME", "STATE", "AGENT", "ADDRESS", "POD SUBNET"]);
        let list = nodes.get("nodes").unwrap_or(nodes);
        for node in list.as_array().into_iter().flatten() {
            let text = |key: &str| node.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            rows.push([text("name"), text("state"), text("agent"), text("address"), text("pod_subnet")]);
        }
        rows
    })
}

/// The number of nodes is an option of the installation, so that it outlives the scheduler; which node goes and how
/// pods leave it is told to the cluster's framework first.
async fn scale(pool: &Pool, global: &Global, arguments: Scale) -> Result<()> {
    let name = &arguments.name;
    let installation = cluster(pool, name).await?;
    let options: Value = serde_json::from_str(&installation.options_json).unwrap_or(Value::Null);
    let before = options.get("node_count").and_then(Value::as_u64);
    let request = UpdatePackageRequest {
        name: name.clone(),
        version: String::new(),
        options_json: json!({ "node_count": arguments.node_count }).to_string(),
        dry_run: true,
    };
    pool.operator().update_package(request.clone()).await.map_err(|status| pool.refused(&status))?;
    let drain = json!({
        "node_count": arguments.node_count,
        "nodes": arguments.node,
        "delete_emptydir_data": arguments.delete_emptydir_data,
        "force": arguments.force,
        "timeout_seconds": arguments.drain_timeout,
        "dry_run": arguments.dry_run,
    });
    pool.framework_post(name, "/v1/scale", &drain).await?;
    let from = before.map_or_else(|| "?".to_owned(), |count| count.to_string());
    if arguments.dry_run {
        output::note(&format!("dry run: '{name}' would go from {from} to {} nodes", arguments.node_count));
        return Ok(());
    }
    let request = UpdatePackageRequest { dry_run: false, ..request };
    pool.operator().update_package(request).await.map_err(|status| pool.refused(&status))?;
    output::note(&format!("scaling '{name}' from {from} to {} nodes", arguments.node_count));
    if arguments.waiting.detach {
        output::note(&format!("follow it with: mezzo plan show {name} deploy --follow"));
        return Ok(());
    }
    steps::follow_installation(pool, name).await?;
    match steps::follow(pool, name, "decommission").await {
        Err(failure) if failure.exit == Exit::NotFound => {}
        other => other?,
    }
    nodes(pool, global, name).await
}

/// Archives are artifacts of the pool; the cluster's framework has every node fetch them.
async fn load(pool: &Pool, name: &str, archives: &[PathBuf]) -> Result<()> {
    cluster(pool, name).await?;
    for archive in archives {
        let digest = super::artifact::upload(pool, archive).await?;
        let file = archive.file_name().map(|file| file.to_string_lossy().into_owned()).unwrap_or_default();
        let body = json!({ "digest": format!("sha256:{digest}"), "name": file });
        let answer = pool.framework_post(name, "/v1/images", &body).await?;
        let nodes = answer.get("nodes").and_then(Value::as_array).map_or(0, Vec::len);
        output::note(&format!("{}: loaded into {nodes} nodes of '{name}', and into those that come later", archive.display()));
    }
    Ok(())
}
