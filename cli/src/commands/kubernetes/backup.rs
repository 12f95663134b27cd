//! Backups of a cluster: fetched into a file, listed where the master keeps them, and made into a cluster again.
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use axum::body::Body;
use daemon::client::HttpError;
use futures::StreamExt as _;
use proto::mezzo::v1::InstallPackageRequest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::archive::{self, Backup};
use super::images::size;
use super::{PACKAGE, cluster, text};
use crate::client::Pool;
use crate::commands::{artifact, catalog};
use crate::failure::{Failure, Result};
use crate::grammar::{Global, Restore};
use crate::output::{self, Rows};
use crate::{limits, steps};

/// A scheduler that was just installed has so long to be reached.
const ARRIVAL: Duration = Duration::from_secs(180);

/// A file that the master keeps for a framework.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    name: String,
    bytes: u64,
    changed_unix_ms: i64,
}

/// Makes a backup, or fetches one that is kept, into a file that nobody else can read.
pub(super) async fn backup(pool: &Pool, name: &str, file: &Path, kept: Option<&str>) -> Result<()> {
    let path = match kept {
        // It may be of a cluster that is gone.
        Some(kept) => format!("/files/{name}/{kept}"),
        None => {
            cluster(pool, name).await?;
            format!("/service/{name}/v1/cluster/backup")
        }
    };
    let doing = format!("back up '{name}'");
    let temporary = file.with_extension("incoming");
    let fetched = fetch(pool, &path, &temporary).await;
    let read = fetched.and_then(|()| archive::read(&temporary, None));
    let read = match read {
        Ok(read) => read,
        Err(failure) => {
            // Half a backup is none.
            let _ = std::fs::remove_file(&temporary);
            return Err(failure);
        }
    };
    std::fs::rename(&temporary, file).map_err(|error| Failure::while_doing(&doing, &error))?;
    let objects: u64 = read.manifest.objects.values().sum();
    output::note(&format!(
        "{}: {}, {objects} objects of {} kinds at revision {}, complete",
        file.display(),
        size(std::fs::metadata(file).map(|file| file.len()).unwrap_or_default()),
        read.manifest.objects.len(),
        read.manifest.revision
    ));
    output::note(
        "it holds the cluster's private keys and secrets, not encrypted: only you can read the file (0600), keep it so",
    );
    output::note(&format!("  next: mezzo kubernetes restore {} --name NEW", file.display()));
    Ok(())
}

async fn fetch(pool: &Pool, path: &str, file: &Path) -> Result<()> {
    let writing = |error: std::io::Error| Failure::while_doing(format!("write {}", file.display()), &error);
    let doing = "fetch the backup";
    let request = http::Request::get(path).body(Body::empty());
    let request = request.map_err(|error| Failure::while_doing(doing, &error))?;
    let answer = pool.http().request(request).await.map_err(|error| Failure::http(doing, &error))?;
    let status = answer.status();
    let mut body = Body::new(answer.into_body()).into_data_stream();
    if !status.is_success() {
        let mut words = Vec::new();
        while let Some(Ok(chunk)) = body.next().await {
            words.extend_from_slice(&chunk);
        }
        let text = String::from_utf8_lossy(&words).into_owned();
        let address = pool.address.clone();
        return Err(Failure::http(doing, &HttpError::Status { address, path: path.to_owned(), status, text }));
    }
    let _ = std::fs::remove_file(file);
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(writing)?;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| Failure::while_doing("fetch the backup: it broke off", &error))?;
        out.write_all(&chunk).map_err(writing)?;
    }
    out.sync_all().map_err(writing)
}

/// What the master keeps; the cluster itself need not exist any more.
pub(super) async fn list(pool: &Pool, global: &Global, name: &str) -> Result<()> {
    let doing = format!("list the backups of '{name}'");
    let bytes = pool.http().get(&format!("/files/{name}"), limits::ANSWER_BYTES_MAX).await;
    let bytes = bytes.map_err(|error| Failure::http(&doing, &error))?;
    let mut kept: Vec<Kept> = serde_json::from_slice(&bytes).map_err(|error| Failure::while_doing(&doing, &error))?;
    kept.retain(|one| one.name.starts_with("backup-"));
    output::data(global.output, &kept, |kept| {
        let mut rows = Rows::new(&["BACKUP", "WHY", "SIZE", "MADE"]);
        for one in kept {
            let plain = one.name.strip_suffix(".tar").unwrap_or(&one.name);
            let why = plain.splitn(3, '-').nth(2).unwrap_or_default();
            rows.push([one.name.clone(), why.to_owned(), size(one.bytes), output::ago(one.changed_unix_ms)]);
        }
        rows
    })
}

/// Installs a cluster from a backup, and says whether it is what was backed up.
pub(super) async fn restore(pool: &Pool, arguments: Restore) -> Result<()> {
    let snapshot = tempfile::NamedTempFile::new()
        .map_err(|error| Failure::while_doing("make a temporary file for the snapshot", &error))?;
    let Backup { manifest, secrets, raw } = archive::read(&arguments.file, Some(snapshot.path()))?;
    let name = arguments.name.unwrap_or_else(|| manifest.cluster.clone());
    let mut options = manifest.options.clone();
    merge(&mut options, catalog::read_options(&arguments.options)?);
    options["restore_from"] = json!(manifest.id);
    let objects: u64 = manifest.objects.values().sum();
    output::note(&format!(
        "{}: cluster '{}', made {}, {objects} objects of {} kinds at revision {}",
        arguments.file.display(),
        manifest.cluster,
        output::ago(i64::try_from(manifest.created).unwrap_or_default().saturating_mul(1000)),
        manifest.objects.len(),
        manifest.revision
    ));
    let request = InstallPackageRequest {
        name: name.clone(),
        package: PACKAGE.to_owned(),
        version: String::new(),
        options_json: options.to_string(),
        dry_run: arguments.dry_run,
        ..InstallPackageRequest::default()
    };
    let installed = pool.operator().install_package(request).await.map_err(|status| pool.refused(&status))?;
    if arguments.dry_run {
        output::note(&format!("dry run: '{name}' would be installed from this backup"));
        return Ok(());
    }
    artifact::send(pool, snapshot.path(), &manifest.snapshot_sha256).await?;
    drop(installed);
    output::note(&format!("installing '{name}'; its scheduler gets the keys of the backup when it runs"));
    let answer = hand_over(pool, &name, &json!({ "manifest": raw, "secrets": secrets })).await?;
    for file in answer["images_to_load_again"].as_array().into_iter().flatten() {
        output::note(&format!("the pool has {} no more: load it with: mezzo kubernetes load {name} FILE", text(file)));
    }
    if arguments.waiting.detach {
        output::note(&format!("follow it with: mezzo plan show {name} deploy --follow"));
        return Ok(());
    }
    steps::follow_installation(pool, &name).await?;
    let status: Value = pool.framework_get(&name, "/v1/cluster").await?;
    let restored = &status["restore"];
    if restored["verified"] != true {
        let next = format!("see mezzo plan show {name} deploy");
        return Err(Failure::new(format!("'{name}' is not yet what the backup holds"), "", next));
    }
    // It holds every secret of the cluster, and etcd has it now.
    let path = format!("/artifacts/sha256/{}", manifest.snapshot_sha256);
    if let Err(error) = pool.http().delete(&path).await {
        output::note(&format!("the snapshot stays in the pool's store: {}", Failure::http("delete it", &error)));
    }
    output::note(&format!(
        "'{name}' is what the backup holds: {objects} objects compared, etcd went on from revision {}",
        text(&restored["verified_revision"])
    ));
    if name != manifest.cluster {
        output::note(&format!("kubeconfigs name another server now: mezzo kubernetes kubeconfig {name}"));
    }
    Ok(())
}

/// Sends the keys as soon as the new cluster's scheduler can be reached.
async fn hand_over(pool: &Pool, name: &str, body: &Value) -> Result<Value> {
    let began = Instant::now();
    loop {
        match pool.framework_post(name, "/v1/cluster/restore", body).await {
            Ok(answer) => return Ok(answer),
            // What the cluster itself refuses is final.
            Err(failure) if failure.to_string().contains("[K8S") || began.elapsed() > ARRIVAL => return Err(failure),
            Err(_) => tokio::time::sleep(limits::POLL).await,
        }
    }
}

/// Puts options over others, object by object.
fn merge(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                merge(below.entry(key).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_restore_lie_over_those_of_the_backup() {
        let mut options = json!({"node_count": 2, "node": {"mem": 1, "cpus": 2}});
        merge(&mut options, json!({"node": {"mem": 3}}));
        assert_eq!(options, json!({"node_count": 2, "node": {"mem": 3, "cpus": 2}}));
    }
}
