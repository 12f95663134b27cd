//! A package that nobody of this project wrote: a folder with three files, and a scheduler that uses only the public SDK.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Machine, Pool, Program, eventually};

const PACKAGE: &str = r#"
name = "counter"
version = "1.2.3"
summary = "Somebody else's package"
description = "A page of somebody else."
privileged = false
service = "service.json.j2"
artifacts = ["e2e-counter"]
images = ["pool/busybox:1"]
next_steps = ["look at {name}"]
"#;

const OPTIONS: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "properties": {"mem": {"type": "integer", "minimum": 64, "maximum": 1024, "default": 128, "description": "MiB of the scheduler."}}
}"#;

const SERVICE: &str = r#"{
  "name": {{ name | json }},
  "package": {{ (package.name ~ " " ~ package.version) | json }},
  "command": {"argv": ["./e2e-counter"]},
  "artifacts": [{"digest": {{ artifacts["e2e-counter"] | json }}, "file": "e2e-counter", "executable": true}],
  "resources": {"cpus": 0.1, "mem_mib": {{ options.mem }}, "disk_mib": 64},
  "ports": [{"name": "api"}],
  "identity": true,
  "options": {{ options | json }},
  "readiness": {"port": "api", "path": "/v1/health"}
}
"#;

#[test]
fn a_package_from_a_folder_is_installed_like_any_other() -> Result<()> {
    let before = Machine::look()?;
    let folder = tempfile::tempdir().context("create a folder for the package")?;
    write_package(&folder.path().join("counter/1.2.3"))?;
    let catalog = folder.path().display().to_string();
    let pool = Pool::up("own_package", 1, &["--catalog", &catalog])?;

    let found = pool.mezzo(&["catalog", "search", "else"]).run()?;
    ensure!(found.contains("counter"), "the catalog does not know the package: {found}");
    let early = pool.mezzo(&["catalog", "install", "counter"]).output()?;
    ensure!(
        !early.status.success() && early.stderr.contains("e2e-counter"),
        "the missing artifact is not named: {}",
        early.stderr
    );

    pool.upload(&["busybox"])?;
    pool.upload_program("e2e-counter")?;
    pool.mezzo(&["catalog", "install", "counter", "--name", "mine"]).within(Duration::from_secs(120)).run()?;
    let page = eventually("the page", Duration::from_secs(60), || {
        let tasks = pool.tasks("mine", false)?;
        let Some(task) = tasks.iter().find(|task| task.is_running_and_ready()) else {
            return Ok(None);
        };
        let address = format!("http://{}:{}/", task.agent_address, task.port.context("find its port")?);
        Program::new("curl").args(["--silent", "--fail", "--max-time", "10", &address]).run().map(Some)
    })?;
    ensure!(page.contains("somebody else's"), "the page is {page:?}");

    pool.mezzo(&["catalog", "uninstall", "mine", "--yes"]).within(Duration::from_secs(120)).run()?;
    pool.expect_nothing_held("mine")?;
    pool.down()?;
    Machine::expect_nothing_new(&before)
}

fn write_package(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    for (name, text) in [("package.toml", PACKAGE), ("options.schema.json", OPTIONS), ("service.json.j2", SERVICE)] {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
