//! Removing the service: the framework's actions, the kill of everything, actions again, release of what is held, and
//! last the state. A mark stays, so that a restarted scheduler does not begin anew.
use model::Timestamp;

use crate::event::{Answer, Command};
use crate::plan::Status;
use crate::plan::coordinator::Work;
use crate::record::UnitKey;
use crate::scheduler::Scheduler;
use crate::spec::UNINSTALL;

/// The phases in order.
pub(crate) const PHASES: [&str; 5] = ["prepare", "kill", "clean-up", "release", "erase"];

impl Scheduler {
    /// The steps of a phase.
    pub(crate) fn uninstall_steps(&self, phase: &str) -> Vec<String> {
        let target = self.target.as_ref();
        match phase {
            "prepare" => target.map(|target| target.uninstall_before_kill.clone()).unwrap_or_default(),
            "clean-up" => target.map(|target| target.uninstall_after_kill.clone()).unwrap_or_default(),
            "kill" => self.units.keys().map(UnitKey::to_string).collect(),
            "release" => vec!["reservations".to_owned()],
            _ => vec!["state".to_owned()],
        }
    }

    pub(crate) fn advance_uninstall(&mut self, now: Timestamp) {
        if self.plans.get(UNINSTALL).is_some_and(|plan| plan.is_paused) {
            self.standing.insert(format!("{UNINSTALL}/prepare"), (Status::Waiting, "the plan is paused".to_owned()));
            return;
        }
        for phase in PHASES {
            for step in self.uninstall_steps(phase) {
                if self.is_complete(UNINSTALL, phase, &step) {
                    continue;
                }
                let (status, why) = self.uninstall_step(now, phase, &step);
                let key = format!("{phase}/{step}");
                self.record_step(now, UNINSTALL, &key, &Work::Action(step.clone()), status);
                if status != Status::Complete {
                    self.standing.insert(format!("{UNINSTALL}/{key}"), (status, why));
                    // Actions are serial; kills go on together.
                    if phase != "kill" {
                        return;
                    }
                }
            }
            let is_done = self.uninstall_steps(phase).iter().all(|step| self.is_complete(UNINSTALL, phase, step));
            if !is_done {
                return;
            }
        }
    }

    fn uninstall_step(&mut self, now: Timestamp, phase: &str, step: &str) -> (Status, String) {
        match phase {
            "prepare" | "clean-up" => {
                let ask_key = format!("action {UNINSTALL}/{phase}/{step}");
                let action = step.to_owned();
                let answer = self.ask(now, &ask_key, |key, attempt| Command::Act {
                    key,
                    action,
                    plan: UNINSTALL.to_owned(),
                    instance: None,
                    placement: None,
                    attempt,
                });
                match answer {
                    Answer::Done => (Status::Complete, String::new()),
                    Answer::NotYet(words) => (Status::Starting, words),
                    Answer::Failed(words) => (Status::Error, words),
                }
            }
            "kill" => {
                let key = self.units.keys().find(|key| key.to_string() == step).cloned();
                match key {
                    Some(key) if !self.leave(&key) => (Status::Started, "its tasks are ending".to_owned()),
                    Some(_) | None => (Status::Complete, String::new()),
                }
            }
            "release" => {
                let keys: Vec<UnitKey> = self.units.keys().cloned().collect();
                for key in keys {
                    self.release(&key);
                }
                let mut left = Vec::new();
                for (agent, unit) in &self.meta.releases {
                    if !self.away.is_away(agent) {
                        let why = format!("waits for agent {agent} to offer what {unit} held");
                        return (Status::Prepared, why);
                    }
                    left.push(format!("{unit} on {agent}"));
                }
                if !left.is_empty() {
                    // The master keeps them as orphans, and has them destroyed when the agent is back.
                    let words = format!("{UNINSTALL} leaves what is held on agents that are away: {}", left.join(", "));
                    self.effects.push(Command::Noted(words));
                }
                (Status::Complete, String::new())
            }
            _ => {
                if !self.is_erasing {
                    self.is_erasing = true;
                    self.effects.push(Command::EraseState);
                }
                (Status::Starting, "the state is being erased".to_owned())
            }
        }
    }

    pub(crate) fn erased(&mut self) {
        self.meta.uninstalled = true;
        self.units.clear();
        self.tasks.clear();
        self.decommissions.clear();
        self.target = None;
        self.needs.clear();
        self.plans.retain(|name, _| name == UNINSTALL);
        // What was marked is gone with the state; the shell has stored the mark.
        self.dirty = crate::scheduler::Dirty::default();
        self.effects.push(Command::Suppress);
        self.effects.push(Command::Noted(format!("{UNINSTALL} Complete")));
    }
}
