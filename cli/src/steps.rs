//! The live step list: what a plan has done, what it waits for and why. On a terminal it is redrawn in place; elsewhere
//! every change is one plain line.
use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::client::Pool;
use crate::commands::catalog::installations;
use crate::failure::{Exit, Failure, Result};
use crate::{limits, output};

/// A plan as frameworks tell it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PlanView {
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) is_paused: bool,
    pub(crate) strategy: String,
    /// About the whole, in words.
    pub(crate) note: String,
    pub(crate) phases: Vec<PhaseView>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PhaseView {
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) steps: Vec<StepView>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StepView {
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) why: String,
    pub(crate) agent: String,
    pub(crate) began_unix_ms: Option<i64>,
    pub(crate) launched_unix_ms: Option<i64>,
    pub(crate) completed_unix_ms: Option<i64>,
}

const COMPLETE: &str = "COMPLETE";
const PENDING: &str = "PENDING";

impl PlanView {
    pub(crate) fn is_complete(&self) -> bool {
        self.status == COMPLETE
    }
    pub(crate) fn progress(&self) -> (usize, usize) {
        let steps = self.phases.iter().flat_map(|phase| &phase.steps);
        (steps.clone().filter(|step| step.status == COMPLETE).count(), steps.count())
    }
    pub(crate) fn status_text(&self) -> String {
        if self.is_paused { format!("{} (paused)", self.status) } else { self.status.clone() }
    }
    /// The first step that waits for something.
    pub(crate) fn waiting_for(&self) -> String {
        let mut steps = self.phases.iter().flat_map(|phase| &phase.steps);
        let waiting = steps.find(|step| step.status != COMPLETE && step.status != PENDING && !step.why.is_empty());
        waiting.map(|step| format!("{}: {}", step.name, step.why)).unwrap_or_default()
    }
}

/// Plans of an answer that is a list, or an object with one.
pub(crate) fn plans(answer: &serde_json::Value) -> Vec<PlanView> {
    let list = answer.get("plans").unwrap_or(answer);
    serde_json::from_value(list.clone()).unwrap_or_default()
}

/// Follows a plan until it is complete, or Ctrl-C: the work goes on.
pub(crate) async fn follow(pool: &Pool, framework: &str, plan: &str) -> Result<()> {
    let mut screen = Screen::new();
    loop {
        let view: PlanView = pool.framework_get(framework, &format!("/v1/plans/{plan}")).await?;
        screen.show(&view);
        if view.is_complete() {
            screen.end();
            output::note(&format!("plan '{plan}' of '{framework}' is complete"));
            if !view.note.is_empty() {
                output::note(&view.note);
            }
            return Ok(());
        }
        pause(&format!("follow it again with: mezzo plan show {framework} {plan} --follow")).await?;
    }
}

/// Follows an installation until it is installed and its deploy plan is complete.
pub(crate) async fn follow_installation(pool: &Pool, name: &str) -> Result<()> {
    let mut screen = Screen::new();
    let started = Instant::now();
    let mut since_answer = Instant::now();
    loop {
        let found = installations(pool).await?.into_iter().find(|one| one.name == name);
        let Some(installation) = found else {
            return Err(Failure::new(format!("'{name}' was uninstalled meanwhile"), "", ""));
        };
        match pool.framework_get::<PlanView>(name, "/v1/plans/deploy").await {
            Ok(view) => {
                since_answer = Instant::now();
                screen.show(&view);
                if view.is_complete() && installation.state == "installed" {
                    screen.end();
                    let (done, _) = view.progress();
                    output::note(&format!(
                        "'{name}' is installed: {done} steps in {}",
                        output::span(elapsed_ms(started))
                    ));
                    return Ok(());
                }
                if !installation.waiting_for.is_empty() && view.is_complete() {
                    screen.say(&installation.waiting_for);
                }
            }
            // Its scheduler is being started, or started anew.
            Err(_) if since_answer.elapsed() < limits::QUIET => {}
            Err(failure) => {
                let waiting = if installation.waiting_for.is_empty() {
                    format!(
                        "the scheduler of '{name}' does not answer yet ({})",
                        failure.to_string().lines().next().unwrap_or_default()
                    )
                } else {
                    installation.waiting_for.clone()
                };
                screen.say(&waiting);
            }
        }
        pause(&format!("it goes on; follow it with: mezzo plan show {name} deploy --follow")).await?;
    }
}

/// What a scheduler says about the options it was given.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct UpdateView {
    is_applied: bool,
}

/// Follows an update until the new scheduler has brought it about, or it was undone.
pub(crate) async fn follow_update(pool: &Pool, name: &str) -> Result<()> {
    let mut screen = Screen::new();
    let started = Instant::now();
    loop {
        let found = installations(pool).await?.into_iter().find(|one| one.name == name);
        let Some(installation) = found else {
            return Err(Failure::new(format!("'{name}' was uninstalled meanwhile"), "", ""));
        };
        let is_going_back = installation.state == "going back";
        if installation.state == "installed" {
            screen.end();
            if installation.undone.is_empty() {
                output::note(&format!("'{name}' is updated, after {}", output::span(elapsed_ms(started))));
                return Ok(());
            }
            let next = format!("correct the option and try again: mezzo catalog update {name} --set OPTION=VALUE");
            return Err(Failure::new(format!("the update of '{name}' was undone"), installation.undone, next));
        }
        if is_going_back {
            screen.say(&format!("the update is undone: {}", installation.undone));
        }
        // The plan of the scheduler before would say that all is done.
        let update = pool.framework_get::<UpdateView>(name, "/v1/update").await.unwrap_or_default();
        let plan = pool.framework_get::<PlanView>(name, "/v1/plans/deploy").await;
        match plan {
            Ok(plan) if update.is_applied || !plan.is_complete() => {
                screen.show(&plan);
                if !is_going_back {
                    screen.say(&plan.note);
                }
            }
            Ok(_) | Err(_) => screen.say(&installation.waiting_for),
        }
        pause(&format!("it goes on; see how far it is with: mezzo catalog list, and mezzo plan show {name} deploy"))
            .await?;
    }
}

/// Follows the removal of an installation until nothing is left.
pub(crate) async fn follow_uninstall(pool: &Pool, name: &str) -> Result<()> {
    let mut screen = Screen::new();
    loop {
        let Some(installation) = installations(pool).await?.into_iter().find(|one| one.name == name) else {
            screen.end();
            output::note(&format!("'{name}' is uninstalled"));
            return Ok(());
        };
        match pool.framework_get::<PlanView>(name, "/v1/plans/uninstall").await {
            Ok(view) => screen.show(&view),
            Err(failure) if failure.exit == Exit::NotFound => {}
            Err(_) => screen.say(&installation.waiting_for),
        }
        pause("it goes on; it is gone when mezzo catalog list shows it no more").await?;
    }
}

fn elapsed_ms(since: Instant) -> i64 {
    i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX)
}

/// Until the next look, or Ctrl-C.
async fn pause(next: &str) -> Result<()> {
    tokio::select! {
        () = tokio::time::sleep(limits::POLL) => Ok(()),
        () = daemon::shutdown::signal() => Err(Failure::new("waiting was interrupted", "", next)),
    }
}

/// Where steps are shown.
struct Screen {
    live: Option<MultiProgress>,
    bars: BTreeMap<String, ProgressBar>,
    told: BTreeMap<String, String>,
    said: String,
    began: Instant,
}

impl Screen {
    fn new() -> Self {
        let live = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { live, bars: BTreeMap::new(), told: BTreeMap::new(), said: String::new(), began: Instant::now() }
    }

    fn show(&mut self, plan: &PlanView) {
        for phase in &plan.phases {
            for step in &phase.steps {
                let name = if phase.steps.len() == 1 && phase.name == step.name {
                    step.name.clone()
                } else {
                    format!("{}: {}", phase.name, step.name)
                };
                let line = line(&name, step);
                if self.told.get(&name) == Some(&line) {
                    continue;
                }
                self.tell(&name, &line, step);
                self.told.insert(name, line);
            }
        }
    }

    fn tell(&mut self, name: &str, line: &str, step: &StepView) {
        let Some(live) = &self.live else {
            if step.status != PENDING {
                output::note(&format!("[{:>4}s] {line}", self.began.elapsed().as_secs()));
            }
            return;
        };
        let bar = self.bars.entry(name.to_owned()).or_insert_with(|| {
            let bar = live.add(ProgressBar::new_spinner());
            bar.set_style(
                ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            bar
        });
        if step.status == COMPLETE {
            bar.finish_with_message(line.to_owned());
        } else {
            bar.set_message(line.to_owned());
            if step.status != PENDING {
                bar.enable_steady_tick(Duration::from_millis(120));
            }
        }
    }

    /// A line about the whole, once.
    fn say(&mut self, text: &str) {
        if text.is_empty() || self.said == text {
            return;
        }
        self.said = text.to_owned();
        match &self.live {
            Some(live) => {
                let _ = live.println(text);
            }
            None => output::note(&format!("[{:>4}s] {text}", self.began.elapsed().as_secs())),
        }
    }

    fn end(&mut self) {
        for bar in self.bars.values().filter(|bar| !bar.is_finished()) {
            bar.finish();
        }
    }
}

fn line(name: &str, step: &StepView) -> String {
    let place = if step.agent.is_empty() { String::new() } else { format!(" on {}", step.agent) };
    let why = if step.why.is_empty() || step.status == COMPLETE { String::new() } else { format!(" - {}", step.why) };
    format!("{name}: {}{place}{why}", step.status.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_as_frameworks_write_it() {
        let text = r#"{"name":"deploy","status":"PREPARED","is_paused":false,"strategy":"serial","phases":[
            {"name":"web","status":"PREPARED","strategy":"parallel","steps":[
              {"name":"web-0","status":"COMPLETE","agent":"agent-1","began_unix_ms":1,"launched_unix_ms":2,"completed_unix_ms":5},
              {"name":"web-1","status":"PREPARED","why":"web-1 needs 2 cpus; agent-1 has 1.4 free","began_unix_ms":1}]}]}"#;
        let plan: PlanView = serde_json::from_str(text).expect("readable");
        assert_eq!((plan.progress(), plan.is_complete()), ((1, 2), false));
        assert_eq!(plan.waiting_for(), "web-1: web-1 needs 2 cpus; agent-1 has 1.4 free");
        assert_eq!(line("web: web-0", &plan.phases[0].steps[0]), "web: web-0: complete on agent-1");
        assert_eq!(plans(&serde_json::json!([{"name": "a"}, {"name": "b"}])).len(), 2);
    }
}
