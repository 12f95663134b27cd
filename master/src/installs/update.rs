//! Updates of installations: what an installation was before is kept, the new scheduler is waited for and asked how far it
//! is, and an update that it undid (or that it does not even come up with) is taken back here, too, so that what is wanted
//! and what runs are the same again.
use std::collections::BTreeMap;

use catalog::Catalog;
use http::{Method, StatusCode};
use model::Refusal;
use proto::mezzo::v1 as wire;
use serde_json::Value;
use tracing::info;

use super::{GOING_BACK, INSTALLED, Install, Installs, UNINSTALLING, UPDATING, expect_success, none, parse_options};
use crate::limits;
use crate::refusal;
use crate::registry::FORMAT;
use crate::registry::record::millis;
use crate::runner::now;

/// How far an update is.
enum Progress {
    Done,
    NotYet(String),
    /// It cannot be done; why.
    Undone(String),
}

/// A record without what came before it.
fn alone(record: &wire::InstallationRecord) -> wire::InstallationRecord {
    wire::InstallationRecord { previous: None, undone: String::new(), ..record.clone() }
}

impl Installs {
    /// Renders anew with options merged over the present ones.
    pub(crate) async fn update(&self, ask: Install<'_>) -> Result<wire::Installation, Refusal> {
        let _turn = self.turn.lock().await;
        let present = self.changeable(ask.name)?;
        let catalog = self.catalog().await?;
        let version = if ask.version.is_empty() { &present.package_version } else { ask.version };
        let package = catalog.show(&present.package, version)?;
        let old = options_of(&present)?;
        let options = catalog::options::merge(&old, &parse_options(ask.options_json)?);
        let rendered = self.render(&catalog, &present.package, version, ask.name, &options)?;
        Catalog::check_update(package, &old, &rendered.options_with_defaults)
            .map_err(|errors| catalog::render::options_refusal(&errors))?;
        let previous = match present.state.as_str() {
            // What it is now was never complete.
            UPDATING => present.previous.clone(),
            _ => Some(Box::new(alone(&present))),
        };
        let record = wire::InstallationRecord {
            version: FORMAT,
            name: present.name,
            package: present.package,
            package_version: version.to_owned(),
            options_json: rendered.options_with_defaults.to_string(),
            service_json: rendered.service_json,
            state: UPDATING.to_owned(),
            changed_unix_ms: millis(now()),
            privileged: rendered.privileged,
            next_steps: rendered.next_steps,
            previous,
            undone: String::new(),
        };
        self.keep(record, ask.dry_run).await
    }

    /// Makes an installation again what it was before its last update.
    pub(crate) async fn go_back(&self, name: &str, dry_run: bool) -> Result<wire::Installation, Refusal> {
        let _turn = self.turn.lock().await;
        let present = self.changeable(name)?;
        let Some(previous) = present.previous.clone() else {
            let next = "see `mezzo catalog list`; set options with `mezzo catalog update`";
            return Err(refusal::not_found(format!("'{name}' has no update that could be taken back"), next));
        };
        let catalog = self.catalog().await?;
        let package = catalog.show(&previous.package, &previous.package_version)?;
        Catalog::check_update(package, &options_of(&present)?, &options_of(&previous)?)
            .map_err(|errors| catalog::render::options_refusal(&errors))?;
        let record = wire::InstallationRecord {
            version: FORMAT,
            state: UPDATING.to_owned(),
            changed_unix_ms: millis(now()),
            // One that was never complete is nothing to go back to.
            previous: (present.state == INSTALLED).then(|| Box::new(alone(&present))),
            ..alone(&previous)
        };
        self.keep(record, dry_run).await
    }

    fn changeable(&self, name: &str) -> Result<wire::InstallationRecord, Refusal> {
        let present = self.find(name)?.ok_or_else(|| none(name))?;
        if present.state == UNINSTALLING {
            return Err(refusal::in_use(format!("'{name}' is being uninstalled"), "wait until it is gone"));
        }
        Ok(present)
    }

    /// One look at an update whose service was told.
    pub(super) async fn follow(
        &self,
        record: wire::InstallationRecord,
        told: &mut BTreeMap<String, String>,
    ) -> Result<(), Refusal> {
        let progress = self.progress(&record).await?;
        let _turn = self.turn.lock().await;
        if self.find(&record.name)?.as_ref() != Some(&record) {
            // Somebody changed their mind meanwhile: the next round has newer work.
            self.wake.notify_one();
            return Ok(());
        }
        let next = match (progress, record.previous.clone()) {
            (Progress::NotYet(why), _) => return Err(refusal::unavailable(why, "")),
            (Progress::Done, _) => wire::InstallationRecord { state: INSTALLED.to_owned(), ..record },
            (Progress::Undone(why), Some(previous)) if record.state == UPDATING => {
                told.remove(&record.name);
                wire::InstallationRecord {
                    version: FORMAT,
                    state: GOING_BACK.to_owned(),
                    undone: why,
                    ..alone(&previous)
                }
            }
            (Progress::Undone(why), _) => {
                wire::InstallationRecord { state: INSTALLED.to_owned(), undone: why, ..record }
            }
        };
        let next = wire::InstallationRecord { changed_unix_ms: millis(now()), ..next };
        self.write(&next).await?;
        info!(name = next.name, state = next.state, undone = next.undone, "installation changed");
        self.wake.notify_one();
        Ok(())
    }

    /// Asks the installation's scheduler.
    async fn progress(&self, record: &wire::InstallationRecord) -> Result<Progress, Refusal> {
        let service: Value = serde_json::from_str(&record.service_json)
            .map_err(|error| refusal::failed("read the service of an installation", &error))?;
        if service["identity"] != true {
            // It has no scheduler that could say anything.
            return Ok(Progress::Done);
        }
        let age = millis(now()).saturating_sub(record.changed_unix_ms);
        let is_late = age > i64::try_from(limits::UPDATE_START_TIME.as_millis()).unwrap_or(i64::MAX);
        let late = |why: &str| match (is_late, record.state.as_str()) {
            (true, UPDATING) => Progress::Undone(format!(
                "its scheduler did not come up with it in {} s: {why}",
                limits::UPDATE_START_TIME.as_secs()
            )),
            _ => Progress::NotYet(why.to_owned()),
        };
        let answer = match self.proxy.call(&record.name, Method::GET, "/v1/update", None).await {
            Ok(answer) if answer.status == StatusCode::NOT_FOUND => return Ok(Progress::Done),
            Ok(answer) => answer,
            Err(refusal) => return Ok(late(&refusal.message)),
        };
        expect_success(&answer, "say how far its update is")?;
        let told: Value = serde_json::from_slice(&answer.body)
            .map_err(|error| refusal::failed("read how far an update is", &error))?;
        let wanted = service.get("options").cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        if told["options"] != wanted {
            return Ok(late("its scheduler is being started with the new options"));
        }
        if let Some(words) = told["undone"]["words"].as_str() {
            let logs = told["undone"]["task_id"].as_str().map(|id| format!("; see mezzo task logs {id} --stderr"));
            return Ok(Progress::Undone(format!("{words}{}", logs.unwrap_or_default())));
        }
        if told["is_complete"] == true {
            return Ok(Progress::Done);
        }
        if let Some(why) = told["refusal"]["message"].as_str() {
            // Some pass by themselves: a master that was not reached yet.
            let is_settled = age > i64::try_from(limits::UPDATE_REFUSED_TIME.as_millis()).unwrap_or(i64::MAX);
            return Ok(match record.state.as_str() {
                UPDATING if is_settled && told["is_applied"] != true => Progress::Undone(why.to_owned()),
                _ => Progress::NotYet(why.to_owned()),
            });
        }
        let why = told["waiting_for"].as_str().unwrap_or("its deploy plan is not complete");
        Ok(Progress::NotYet(why.to_owned()))
    }
}

fn options_of(record: &wire::InstallationRecord) -> Result<Value, Refusal> {
    serde_json::from_str(&record.options_json).map_err(|error| refusal::failed("read the present options", &error))
}
