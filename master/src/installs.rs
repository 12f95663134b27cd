//! Installations of packages: what is wanted is a record, and one reconciler makes it so, again after every restart.
//!
//! Installing: the rendered service goes to the services framework until that has taken it. Uninstalling: the package's
//! framework frees what it has, then its service, the framework and the record go, in this order. Updates: `update.rs`.
mod update;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use catalog::{Catalog, RenderError};
use daemon::identity::Identity;
use http::{Method, StatusCode};
use master_core::OperatorRequest;
use master_core::view::FrameworkStateView;
use model::Refusal;
use proto::mezzo::v1 as wire;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::artifacts::Artifacts;
use crate::limits;
use crate::preflight;
use crate::proxy::Proxy;
use crate::refusal;
use crate::registry::record::{self, millis};
use crate::registry::{FORMAT, Registry, RegistryError, Table, Write};
use crate::runner::{CoreHandle, now};
use crate::services::NAME as SERVICES;
use crate::view::SharedView;

const INSTALLING: &str = "installing";
const INSTALLED: &str = "installed";
const UPDATING: &str = "updating";
/// An update is being taken back.
const GOING_BACK: &str = "going back";
const UNINSTALLING: &str = "uninstalling";

/// A package to be installed, as asked.
#[derive(Debug)]
pub(crate) struct Install<'a> {
    pub(crate) package: &'a str,
    pub(crate) version: &'a str,
    pub(crate) name: &'a str,
    pub(crate) options_json: &'a str,
    pub(crate) dry_run: bool,
    /// Although the pool cannot take it now.
    pub(crate) force: bool,
}

/// All installations of the pool.
pub(crate) struct Installs {
    registry: Arc<dyn Registry>,
    view: SharedView,
    core: CoreHandle,
    proxy: Arc<Proxy>,
    artifacts: Arc<Artifacts>,
    /// The master's own, shown to agents.
    identity: Identity,
    catalog_dirs: Vec<PathBuf>,
    /// Changes of records are read, check, write: one at a time.
    turn: tokio::sync::Mutex<()>,
    wake: Notify,
    /// Why an installation is not further, in words.
    waiting: Mutex<BTreeMap<String, String>>,
}

/// What installations are made with.
pub(crate) struct Parts {
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) view: SharedView,
    pub(crate) core: CoreHandle,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) artifacts: Arc<Artifacts>,
    pub(crate) identity: Identity,
    pub(crate) catalog_dirs: Vec<PathBuf>,
}

impl Installs {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { registry, view, core, proxy, artifacts, identity, catalog_dirs } = parts;
        Self {
            registry,
            view,
            core,
            proxy,
            artifacts,
            identity,
            catalog_dirs,
            turn: tokio::sync::Mutex::default(),
            wake: Notify::new(),
            waiting: Mutex::default(),
        }
    }

    /// The packages as the folders are now: a package put there can be installed at once.
    pub(crate) async fn catalog(&self) -> Result<Catalog, Refusal> {
        let dirs = self.catalog_dirs.clone();
        let loaded = tokio::task::spawn_blocking(move || load_catalog(&dirs)).await;
        let loaded = loaded.map_err(|error| refusal::failed("read the catalog", &error))?;
        loaded.map_err(|error| refusal::failed("read the catalog", &error))
    }

    /// Renders and writes down what is wanted; the reconciler does the rest.
    pub(crate) async fn install(&self, ask: Install<'_>) -> Result<wire::Installation, Refusal> {
        let _turn = self.turn.lock().await;
        let catalog = self.catalog().await?;
        let options = parse_options(ask.options_json)?;
        let package = catalog.show(ask.package, ask.version)?;
        let rendered = self.render(&catalog, ask.package, &package.about.version, ask.name, &options)?;
        if self.find(ask.name)?.is_some() || self.view.read().framework(ask.name).is_some() {
            return Err(refusal::in_use(
                format!("the name '{}' is in use", ask.name),
                "choose another name, or uninstall what has it: see `mezzo catalog list` and `mezzo framework list`",
            )
            .at("name"));
        }
        if self.all()?.len() >= limits::INSTALLATIONS_MAX {
            let limit = limits::INSTALLATIONS_MAX;
            return Err(refusal::too_much(format!("the pool has {limit} installations"), "uninstall one first"));
        }
        if let Some(needs) = rendered.needs.as_ref().filter(|_| !ask.force) {
            preflight::check(needs, ask.name, &self.view, &self.identity, &self.artifacts).await?;
        }
        let record = wire::InstallationRecord {
            version: FORMAT,
            name: ask.name.to_owned(),
            package: ask.package.to_owned(),
            package_version: package.about.version.clone(),
            options_json: rendered.options_with_defaults.to_string(),
            service_json: rendered.service_json,
            state: INSTALLING.to_owned(),
            changed_unix_ms: millis(now()),
            privileged: rendered.privileged,
            next_steps: rendered.next_steps,
            previous: None,
            undone: String::new(),
        };
        self.keep(record, ask.dry_run).await
    }

    /// Writes down that an installation is unwanted.
    pub(crate) async fn uninstall(&self, name: &str, dry_run: bool) -> Result<(), Refusal> {
        let _turn = self.turn.lock().await;
        let mut record = self.find(name)?.ok_or_else(|| none(name))?;
        if record.state != UNINSTALLING {
            record.state = UNINSTALLING.to_owned();
            record.changed_unix_ms = millis(now());
            self.keep(record, dry_run).await?;
        }
        Ok(())
    }

    /// Every installation, as people see it.
    pub(crate) fn list(&self) -> Result<Vec<wire::Installation>, Refusal> {
        Ok(self.all()?.into_iter().map(|record| self.describe(record)).collect())
    }

    fn render(
        &self,
        catalog: &Catalog,
        package: &str,
        version: &str,
        name: &str,
        options: &Value,
    ) -> Result<catalog::Rendered, Refusal> {
        let digest = |artifact: &str| self.artifacts.named(artifact).ok().flatten().map(|digest| digest.to_string());
        catalog.render(package, version, name, options, &digest).map_err(|error: RenderError| error.refusal())
    }

    async fn keep(&self, record: wire::InstallationRecord, dry_run: bool) -> Result<wire::Installation, Refusal> {
        if !dry_run {
            self.write(&record).await?;
            info!(name = record.name, package = record.package, state = record.state, "installation changed");
            self.wake.notify_one();
        }
        Ok(self.describe(record))
    }

    async fn write(&self, record: &wire::InstallationRecord) -> Result<(), Refusal> {
        let write = record::put(Table::Installations, record.name.as_bytes().to_vec(), record);
        self.registry.commit(vec![write]).await.map_err(|error| refusal::failed("write the installation", &error))?;
        self.grant().await
    }

    /// Says whose packages may launch privileged tasks.
    async fn grant(&self) -> Result<(), Refusal> {
        let principals = privileged(&self.all()?);
        self.core.ask(OperatorRequest::SetPrivileged { principals }).await
    }

    fn describe(&self, record: wire::InstallationRecord) -> wire::Installation {
        let waiting_for = self.waiting().get(&record.name).cloned().unwrap_or_default();
        wire::Installation {
            name: record.name,
            package: record.package,
            version: record.package_version,
            options_json: record.options_json,
            state: record.state,
            service_json: record.service_json,
            changed_unix_ms: record.changed_unix_ms,
            next_steps: record.next_steps,
            waiting_for,
            undone: record.undone,
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.waiting.lock().expect("nobody panics while holding the reasons")
    }

    fn find(&self, name: &str) -> Result<Option<wire::InstallationRecord>, Refusal> {
        let failed = |error| refusal::failed("read the installation", &error);
        let found = self.registry.get(Table::Installations, name.as_bytes()).map_err(failed)?;
        found.map(|bytes| record::read(Table::Installations, name.as_bytes(), &bytes)).transpose().map_err(failed)
    }

    fn all(&self) -> Result<Vec<wire::InstallationRecord>, Refusal> {
        records(&*self.registry).map_err(|error| refusal::failed("read the installations", &error))
    }

    /// Makes what is wanted so, until told to stop. Takes no input but the records; woken by changes and by time.
    pub(crate) async fn reconcile(&self, stop: CancellationToken) {
        // Services are told once more after a restart: they may have missed the last word.
        let mut told = BTreeMap::new();
        let mut asked = BTreeSet::new();
        // A crash may have fallen between an installation's record and its grant.
        if let Err(refusal) = self.grant().await {
            debug!(%refusal, "privileges not granted anew");
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = async {
                    match self.all() {
                        Ok(records) => {
                            for record in records {
                                self.step(record, &mut told, &mut asked).await;
                            }
                        }
                        Err(refusal) => debug!(%refusal, "installations not read"),
                    }
                } => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(limits::RECONCILE_PERIOD) => {}
            }
        }
    }

    async fn step(
        &self,
        record: wire::InstallationRecord,
        told: &mut BTreeMap<String, String>,
        asked: &mut BTreeSet<String>,
    ) {
        let name = record.name.clone();
        let is_told = told.get(&name) == Some(&record.service_json);
        let done = match record.state.as_str() {
            UNINSTALLING => {
                told.remove(&name);
                let done = self.remove(&name, asked).await;
                if done.is_ok() {
                    asked.remove(&name);
                }
                done
            }
            INSTALLED if is_told => return,
            UPDATING | GOING_BACK if is_told => self.follow(record, told).await,
            _ => self.tell_services(record, told).await,
        };
        match done {
            Ok(()) => {
                self.waiting().remove(&name);
            }
            Err(refusal) => {
                debug!(name, %refusal, "installation waits");
                self.waiting().insert(name, refusal.message);
            }
        }
    }

    /// Gives the services framework the service, then says that it has it.
    async fn tell_services(
        &self,
        record: wire::InstallationRecord,
        told: &mut BTreeMap<String, String>,
    ) -> Result<(), Refusal> {
        let path = format!("/v1/services/{}", record.name);
        let answer = self.proxy.call(SERVICES, Method::PUT, &path, Some(record.service_json.clone())).await?;
        expect_success(&answer, "take the service")?;
        told.insert(record.name.clone(), record.service_json.clone());
        let _turn = self.turn.lock().await;
        // Somebody may have changed their mind meanwhile: then the next round has newer work.
        let current = self.find(&record.name)?;
        if current.as_ref() == Some(&record) && [UPDATING, GOING_BACK].contains(&record.state.as_str()) {
            // Taken is not done: the scheduler that has it says when it is.
            self.wake.notify_one();
        } else if current.as_ref() == Some(&record) && record.state != INSTALLED {
            let installed =
                wire::InstallationRecord { state: INSTALLED.to_owned(), changed_unix_ms: millis(now()), ..record };
            self.write(&installed).await?;
            info!(name = installed.name, "installed");
        } else if current.as_ref() != Some(&record) {
            told.remove(&record.name);
            self.wake.notify_one();
        }
        Ok(())
    }

    async fn remove(&self, name: &str, asked: &mut BTreeSet<String>) -> Result<(), Refusal> {
        self.free(name, asked).await?;
        let path = format!("/v1/services/{name}");
        let answer = self.proxy.call(SERVICES, Method::DELETE, &path, None).await?;
        if answer.status != StatusCode::NOT_FOUND {
            expect_success(&answer, "remove the service")?;
            // Removed is not gone: its task must end before its framework is torn down, or it would subscribe again.
            let answer = self.proxy.call(SERVICES, Method::GET, &path, None).await?;
            if answer.status != StatusCode::NOT_FOUND {
                return Err(refusal::unavailable("its scheduler is being stopped", ""));
            }
        }
        if self.living(name).is_some() {
            match self.core.ask(OperatorRequest::Teardown { framework: name.to_owned() }).await {
                Err(refusal) if !matches!(refusal.code.as_str(), "MST0006" | "MST0007") => return Err(refusal),
                _ => {}
            }
        }
        let _turn = self.turn.lock().await;
        let delete = vec![Write::Delete { table: Table::Installations, key: name.as_bytes().to_vec() }];
        self.registry.commit(delete).await.map_err(|error| refusal::failed("forget the installation", &error))?;
        self.grant().await?;
        info!(name, "uninstalled");
        Ok(())
    }

    /// Lets the framework free what it has. One that never subscribed, or has ended, has nothing.
    async fn free(&self, name: &str, asked: &mut BTreeSet<String>) -> Result<(), Refusal> {
        let Some(state) = self.living(name) else { return Ok(()) };
        if state != FrameworkStateView::Connected {
            return Err(refusal::unavailable(format!("its scheduler is {}", state.word()), ""));
        }
        if !asked.contains(name) {
            let answer = self.proxy.call(name, Method::POST, "/v1/uninstall", None).await?;
            expect_success(&answer, "uninstall")?;
            asked.insert(name.to_owned());
        }
        let answer = self.proxy.call(name, Method::GET, "/v1/plans/uninstall", None).await?;
        expect_success(&answer, "show its uninstall plan")?;
        let plan: Value =
            serde_json::from_slice(&answer.body).map_err(|error| refusal::failed("read the uninstall plan", &error))?;
        if plan["status"] == "COMPLETE" { Ok(()) } else { Err(refusal::unavailable(open_steps(&plan), "")) }
    }

    /// How the framework of an installation is, if it has not ended.
    fn living(&self, name: &str) -> Option<FrameworkStateView> {
        let view = self.view.read();
        view.framework(name).map(|framework| framework.state).filter(|state| *state != FrameworkStateView::TornDown)
    }
}

/// The packages built in and those of folders; later folders win.
pub(crate) fn load_catalog(dirs: &[PathBuf]) -> Result<Catalog, catalog::CatalogError> {
    let mut catalog = Catalog::embedded()?;
    for dir in dirs {
        catalog.merge(Catalog::load_dir(dir)?);
    }
    Ok(catalog)
}

/// Every installation on record.
pub(crate) fn records(registry: &dyn Registry) -> Result<Vec<wire::InstallationRecord>, RegistryError> {
    Ok(record::read_all(registry, Table::Installations)?.into_iter().map(|(_, record)| record).collect())
}

/// Principals of the packages that need privileges.
pub(crate) fn privileged(records: &[wire::InstallationRecord]) -> BTreeSet<String> {
    records.iter().filter(|record| record.privileged).map(|record| format!("framework/{}", record.name)).collect()
}

fn parse_options(text: &str) -> Result<Value, Refusal> {
    if text.trim().is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    match serde_json::from_str(text) {
        Ok(options @ Value::Object(_)) => Ok(options),
        Ok(_) => Err(refusal::malformed("options", "the options are not a JSON object")),
        Err(error) => Err(refusal::malformed("options", format!("the options are not JSON: {error}"))),
    }
}

fn none(name: &str) -> Refusal {
    refusal::not_found(format!("nothing is installed as '{name}'"), "see `mezzo catalog list`")
}

fn expect_success(answer: &crate::proxy::Answer, what: &str) -> Result<(), Refusal> {
    if answer.status.is_success() {
        return Ok(());
    }
    let told: Option<Refusal> = serde_json::from_slice(&answer.body).ok();
    Err(told.unwrap_or_else(|| refusal::unavailable(format!("it does not {what}: {}", answer.status), "")))
}

/// What an unfinished plan says it waits for.
fn open_steps(plan: &Value) -> String {
    let phases = plan["phases"].as_array().map(Vec::as_slice).unwrap_or_default();
    let steps = phases.iter().flat_map(|phase| phase["steps"].as_array().map(Vec::as_slice).unwrap_or_default());
    let open: Vec<String> = steps
        .filter(|step| step["status"] != "COMPLETE")
        .take(3)
        .map(|step| {
            let name = step["name"].as_str().unwrap_or("a step");
            step["why"].as_str().map_or_else(|| name.to_owned(), |why| format!("{name}: {why}"))
        })
        .collect();
    if open.is_empty() { "its uninstall plan has not begun".to_owned() } else { open.join("; ") }
}
