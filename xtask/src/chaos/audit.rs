//! Whether everybody tells the same story of every task: the framework's journal, the master, the agents' checkpoints, and the
//! processes that really run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use super::pool::{AGENTS, Pool};

/// What the framework wrote down.
#[derive(Default)]
pub(crate) struct Journal {
    /// Each task with the last it heard of it, in capitals; an end stays.
    pub(crate) tasks: BTreeMap<String, String>,
    wrong: Vec<String>,
    is_torn_down: bool,
}

fn is_over(state: &str) -> bool {
    !matches!(state, "STAGING" | "STARTING" | "RUNNING" | "KILLING" | "UNREACHABLE")
}

impl Journal {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        Ok(Self::parse(&text))
    }
    fn parse(text: &str) -> Self {
        let mut journal = Self::default();
        // A line that a kill cut off was never acted on.
        for entry in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            for task in entry["launch"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                journal.tasks.insert(task.to_owned(), "STAGING".to_owned());
            }
            if let (Some(task), Some(state)) = (entry["update"].as_str(), entry["state"].as_str())
                && let Some(known) = journal.tasks.get_mut(task)
                && (!is_over(known) || known == "UNKNOWN")
            {
                state.clone_into(known);
            }
            journal.wrong.extend(entry["wrong"].as_str().map(str::to_owned));
            journal.is_torn_down |= entry["torn_down"] == true;
        }
        journal
    }
    pub(crate) fn live(&self) -> BTreeSet<String> {
        self.tasks.iter().filter(|(_, state)| !is_over(state)).map(|(task, _)| task.clone()).collect()
    }
}

/// Where tasks left a line when they started. Sandboxes are removed in time: they are looked at again and again.
#[derive(Default)]
pub(crate) struct Starts(BTreeMap<String, BTreeMap<PathBuf, usize>>);

impl Starts {
    pub(crate) fn look(&mut self, pool: &Pool) -> Result<()> {
        for number in 1..=AGENTS {
            self.look_below(&pool.agent_directory(number).join("pods"), 5);
        }
        Ok(())
    }
    fn look_below(&mut self, directory: &Path, depth: usize) {
        // What is removed meanwhile was seen before.
        for entry in fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(task) = name.strip_prefix("started-") {
                let lines = super::read_text(&entry.path()).lines().count();
                self.0.entry(task.to_owned()).or_default().insert(entry.path(), lines);
            } else if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.look_below(&entry.path(), depth - 1);
            }
        }
    }
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
    fn of(&self, task: &str) -> usize {
        self.0.get(task).map_or(0, |places| places.values().sum())
    }
}

/// Where each task lives.
type Places = BTreeMap<String, Vec<String>>;

/// Tasks that live by an agent's checkpoint, and updates that nobody has acknowledged.
fn of_agents(pool: &Pool) -> Result<(Places, Vec<String>)> {
    let (mut live, mut waiting) = (Places::new(), Vec::new());
    for number in 1..=AGENTS {
        let directory = pool.agent_directory(number).join("meta/pods");
        for entry in fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))? {
            let path = entry.with_context(|| format!("read {}", directory.display()))?.path();
            if !path.to_string_lossy().ends_with(".progress.json") {
                continue;
            }
            // The line before is the checksum's.
            let text = super::read_text(&path);
            let json = text.find('{').map_or("", |start| &text[start..]);
            let progress: Value = serde_json::from_str(json).unwrap_or_default();
            for task in progress["tasks"].as_array().into_iter().flatten() {
                let id = task["task_id"].as_str().unwrap_or_default().to_owned();
                let state = task["latest"]["state"].as_str().unwrap_or_default();
                if task["stream"].as_array().is_some_and(|stream| !stream.is_empty()) && progress["shut_down"] != true {
                    waiting.push(format!("an update of {id} waits on agent {number}"));
                }
                if !is_over(state) {
                    live.entry(id).or_default().push(Pool::agent_name(number));
                }
            }
        }
    }
    Ok((live, waiting))
}

/// What one knows and another does not.
pub(crate) fn disagreements(pool: &Pool, journal: &Journal) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let list = pool.json(&["task", "list"])?;
    let mut of_master = BTreeSet::new();
    for task in list["tasks"].as_array().into_iter().flatten() {
        let (id, state) = (task["id"].as_str().unwrap_or_default(), task["state"].as_str().unwrap_or_default());
        of_master.insert(id.to_owned());
        if state != "TASK_RUNNING" {
            found.push(format!("{id} is {state} for the master"));
        }
    }
    let containers = pool.containers()?;
    let (of_agents, waiting) = of_agents(pool)?;
    found.extend(waiting);
    for (task, places) in &containers {
        if places.len() > 1 {
            found.push(format!("{task} runs {} times: {places:?}", places.len()));
        }
    }
    for (task, agents) in &of_agents {
        if agents.len() > 1 {
            found.push(format!("{task} is on {agents:?}"));
        }
    }
    let running: BTreeSet<String> = containers.into_keys().collect();
    let of_agents: BTreeSet<String> = of_agents.into_keys().collect();
    let of_framework = journal.live();
    for (who, theirs) in [("the master", &of_master), ("the agents", &of_agents), ("the framework", &of_framework)] {
        found.extend(running.difference(theirs).map(|task| format!("{task} runs, and {who} does not know")));
        found.extend(theirs.difference(&running).map(|task| format!("{task} does not run, and {who} believes so")));
    }
    Ok(found)
}

/// What is there although the framework is gone.
pub(crate) fn remains(pool: &Pool, journal: &Journal) -> Result<Vec<String>> {
    let mut found = disagreements(pool, journal)?;
    if !journal.is_torn_down || !pool.is_finished() {
        found.push(format!("the framework has not ended: {:?} live", journal.live()));
    }
    let agents = pool.json(&["agent", "list"])?;
    for agent in agents["agents"].as_array().into_iter().flatten() {
        let name = agent["name"].as_str().unwrap_or_default();
        let used = agent["allocated"]["text"].as_str().unwrap_or("nothing");
        if used != "nothing" {
            found.push(format!("{used} is allocated on {name}"));
        }
    }
    for task in pool.containers()?.keys() {
        found.push(format!("{task} runs on"));
    }
    Ok(found)
}

/// Tasks whose end nobody can tell, or that began more than once.
pub(crate) fn unaccounted(journal: &Journal, starts: &Starts) -> Vec<String> {
    let mut found: Vec<String> = journal.wrong.clone();
    for (task, state) in &journal.tasks {
        let count = starts.of(task);
        if count > 1 {
            found.push(format!("{task} was started {count} times"));
        }
        let never_was = matches!(state.as_str(), "DROPPED" | "UNKNOWN" | "GONE" | "LOST" | "ERROR");
        if count > 0 && never_was {
            found.push(format!("{task} ran, and was said to be {state}"));
        }
        if !is_over(state) {
            found.push(format!("{task} is {state} to the last"));
        }
    }
    for task in starts.0.keys().filter(|task| !journal.tasks.contains_key(*task)) {
        found.push(format!("{task} was started, and nobody wanted it"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_tells_the_last_of_each_task() {
        let text = concat!(
            "{\"launch\": [\"a\", \"b\"], \"number\": 1}\n",
            "{\"update\": \"a\", \"state\": \"RUNNING\"}\n",
            "{\"update\": \"a\", \"state\": \"FINISHED\"}\n",
            "{\"update\": \"a\", \"state\": \"UNKNOWN\"}\n",
            "{\"update\": \"b\", \"sta"
        );
        let journal = Journal::parse(text);
        assert_eq!(journal.tasks["a"], "FINISHED");
        assert_eq!(journal.live(), BTreeSet::from(["b".to_owned()]));
    }

    #[test]
    fn what_was_started_twice_or_lost_is_told() {
        let journal = Journal::parse("{\"launch\": [\"a\", \"b\"]}\n{\"update\": \"a\", \"state\": \"GONE\"}\n");
        let place = |name: &str, lines| BTreeMap::from([(PathBuf::from(name), lines)]);
        let starts = Starts(BTreeMap::from([("a".to_owned(), place("x", 1)), ("b".to_owned(), place("y", 2))]));
        let found = unaccounted(&journal, &starts);
        assert_eq!(found, ["a ran, and was said to be GONE", "b was started 2 times", "b is STAGING to the last"]);
    }
}
