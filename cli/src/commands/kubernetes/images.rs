//! Image archives of a cluster: uploaded into the pool's store, and from there into every node by the cluster's own
//! framework. What is shown here is what each node says.
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::cluster;
use crate::client::Pool;
use crate::failure::{Exit, Failure, Result};
use crate::grammar::{Format, Global};
use crate::output::{self, Rows};
use crate::{commands::artifact, limits};

/// What is loaded, as the framework tells it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Loaded {
    archives: Vec<Archive>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Archive {
    digest: String,
    file: String,
    bytes: u64,
    images: Vec<String>,
    loaded: u64,
    nodes: Vec<AtNode>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct AtNode {
    node: String,
    state: String,
    bytes: u64,
    why: String,
    tried_again: bool,
}

impl AtNode {
    fn words(&self, all: u64) -> String {
        match self.state.as_str() {
            "sending" => format!("{}%", self.bytes.saturating_mul(100) / all.max(1)),
            "failed" if self.tried_again => format!("{}; it is tried again", self.why),
            "failed" => self.why.clone(),
            state => state.to_owned(),
        }
    }
}

const PATH: &str = "/v1/cluster/images";

/// Uploads each archive, hands it to the framework, and waits until every node has said what became of it.
pub(super) async fn load(pool: &Pool, name: &str, archives: &[PathBuf]) -> Result<()> {
    cluster(pool, name).await?;
    for archive in archives {
        let file = archive.file_name().map(|file| file.to_string_lossy().into_owned()).unwrap_or_default();
        let length = std::fs::metadata(archive).map(|metadata| metadata.len()).unwrap_or_default();
        output::note(&format!("{}: {} to the pool's store", archive.display(), size(length)));
        let digest = artifact::upload(pool, archive).await?;
        let body = json!({ "digest": format!("sha256:{digest}"), "name": file });
        let answer = match pool.framework_post(name, PATH, &body).await {
            Err(failure) if failure.exit == Exit::NotFound => {
                let why = "its version of the package has no way to do so";
                let next = format!("bring it to a newer one with: mezzo catalog update {name}");
                return Err(Failure::new(format!("cluster '{name}' cannot load images"), why, next));
            }
            other => other?,
        };
        let names: Vec<&str> = answer["images"].as_array().into_iter().flatten().filter_map(|v| v.as_str()).collect();
        output::note(&format!("{}: {}", archive.display(), names.join(", ")));
        follow(pool, name, archive, &digest).await?;
    }
    Ok(())
}

/// One line for every change at a node, until all have it or one has not.
async fn follow(pool: &Pool, name: &str, archive: &Path, digest: &str) -> Result<()> {
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let loaded: Loaded = pool.framework_get(name, PATH).await?;
        let Some(one) = loaded.archives.iter().find(|one| one.digest == digest) else {
            return Err(Failure::new(format!("{} was unloaded meanwhile", archive.display()), "", ""));
        };
        for at in &one.nodes {
            let words = at.words(one.bytes);
            if at.state != "waiting" && said.get(&at.node) != Some(&words) {
                output::note(&format!("  {}: {words}", at.node));
                said.insert(at.node.clone(), words);
            }
        }
        let is_ended = |at: &AtNode| at.state == "loaded" || (at.state == "failed" && !at.tried_again);
        if one.nodes.iter().all(is_ended) {
            return verdict(name, archive, one);
        }
        let go_on = "it goes on; see how far it is with: mezzo kubernetes images";
        tokio::select! {
            () = tokio::time::sleep(limits::POLL) => {}
            _ = tokio::signal::ctrl_c() => {
                output::note(&format!("{go_on} {name}"));
                return Ok(());
            }
        }
    }
}

fn verdict(name: &str, archive: &Path, one: &Archive) -> Result<()> {
    let failed: Vec<&AtNode> = one.nodes.iter().filter(|at| at.state == "failed").collect();
    if failed.is_empty() {
        output::note(&format!(
            "{}: loaded into {} nodes of '{name}', and into those that come later",
            archive.display(),
            one.nodes.len()
        ));
        return Ok(());
    }
    let why: BTreeSet<&str> = failed.iter().map(|at| at.why.as_str()).collect();
    let names: Vec<&str> = failed.iter().map(|at| at.node.as_str()).collect();
    Err(Failure::new(
        format!("{} is not loaded into {}", archive.display(), names.join(", ")),
        why.into_iter().collect::<Vec<_>>().join("; "),
        format!("load a good archive, and take this one back with: mezzo kubernetes unload {name} {}", one.file),
    ))
}

/// What is loaded, and where.
pub(super) async fn list(pool: &Pool, global: &Global, name: &str) -> Result<()> {
    cluster(pool, name).await?;
    let loaded: Loaded = pool.framework_get(name, PATH).await?;
    output::data(global.output, &loaded, |loaded| {
        let mut rows = Rows::new(&["FILE", "IMAGES", "SIZE", "LOADED", "NODES", "DIGEST", "NOT LOADED"]);
        for one in &loaded.archives {
            let done = one.nodes.iter().filter(|at| at.state == "loaded").count();
            let not: Vec<String> = one
                .nodes
                .iter()
                .filter(|at| at.state != "loaded")
                .map(|at| format!("{}: {}", at.node, at.words(one.bytes)))
                .collect();
            rows.push([
                one.file.clone(),
                one.images.join(" "),
                size(one.bytes),
                output::ago(i64::try_from(one.loaded).unwrap_or_default().saturating_mul(1000)),
                format!("{done} of {}", one.nodes.len()),
                one.digest.chars().take(12).collect(),
                not.join("; "),
            ]);
        }
        rows
    })
}

/// Takes archives back by file, image or digest. Containers that run go on.
pub(super) async fn unload(pool: &Pool, global: &Global, name: &str, what: &[String]) -> Result<()> {
    cluster(pool, name).await?;
    for what in what {
        let answer = pool.framework_post(name, &format!("{PATH}/unload"), &json!({ "what": what })).await?;
        if global.output == Format::Json {
            output::json(&answer)?;
        }
        let gone: Vec<Archive> = serde_json::from_value(answer["unloaded"].clone()).unwrap_or_default();
        for one in gone {
            output::note(&format!("{}: nodes of '{name}' forget {}", one.file, one.images.join(", ")));
        }
    }
    Ok(())
}

/// `12.3 MiB`.
pub(super) fn size(bytes: u64) -> String {
    let (mut scaled, mut unit) = (bytes.saturating_mul(10), "B");
    for next in ["KiB", "MiB", "GiB"] {
        if scaled < 10240 {
            break;
        }
        (scaled, unit) = (scaled / 1024, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{}.{} {unit}", scaled / 10, scaled % 10) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(17), "17 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(123 << 20), "123.0 MiB");
        assert_eq!(size(5 << 40), "5120.0 GiB");
    }

    #[test]
    fn a_node_that_failed_says_why_and_whether_it_goes_on() {
        let failed = |tried_again| AtNode {
            state: "failed".to_owned(),
            why: "the disk is full".to_owned(),
            tried_again,
            ..AtNode::default()
        };
        assert_eq!(failed(true).words(0), "the disk is full; it is tried again");
        let one = Archive { nodes: vec![failed(false)], file: "a.tar".to_owned(), ..Archive::default() };
        let failure = verdict("demo", Path::new("a.tar"), &one).expect_err("failed");
        assert!(failure.to_string().contains("the disk is full"), "{failure}");
    }
}
