//! A task as `mezzo task list` tells it.

use serde_json::Value;

/// What tests ask about a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Never used twice.
    pub id: String,
    /// Says what it does, and comes again with its replacement.
    pub name: String,
    /// The agent it runs on.
    pub agent: String,
    /// Where that agent is reached.
    pub agent_address: String,
    /// Its state in small letters, without a prefix.
    pub state: String,
    /// Whether its readiness check passed.
    pub is_ready: bool,
    /// When it was launched, in milliseconds.
    pub launched: u64,
    /// When it was running, in milliseconds.
    pub running: u64,
    /// The pod it is part of; a cgroup is called after it.
    pub pod_id: String,
    /// The first of its ports, if it has any.
    pub port: Option<u16>,
}

impl Task {
    pub(crate) fn read(value: &Value) -> Self {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        // Whole numbers of 64 bits are text in protobuf's JSON.
        let number = |name: &str| {
            value[name].as_u64().or_else(|| value[name].as_str().and_then(|text| text.parse().ok())).unwrap_or(0)
        };
        let state = text("state").to_lowercase();
        Self {
            id: text("id"),
            name: text("name"),
            agent: text("agent"),
            agent_address: text("agentAddress"),
            state: state.strip_prefix("task_").unwrap_or(&state).to_owned(),
            is_ready: value["ready"].as_bool().unwrap_or(false),
            launched: number("launchedUnixMs"),
            running: number("runningUnixMs"),
            pod_id: text("podId"),
            port: first_number(value["resources"]["ports"].as_str().unwrap_or_default()),
        }
    }

    /// Whether it will never run again.
    pub fn has_ended(&self) -> bool {
        matches!(self.state.as_str(), "finished" | "failed" | "killed" | "error" | "dropped" | "gone" | "lost")
    }

    /// Whether it runs and its readiness check passed.
    pub fn is_running_and_ready(&self) -> bool {
        self.state == "running" && self.is_ready
    }
}

fn first_number(text: &str) -> Option<u16> {
    text.split(|character: char| !character.is_ascii_digit()).find(|digits| !digits.is_empty())?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_read_as_it_is_printed() {
        let value = serde_json::json!({
            "id": "web-0__1", "name": "web-0", "agent": "agent-2", "agentAddress": "10.85.0.12",
            "state": "TASK_RUNNING", "ready": true, "launchedUnixMs": "1700000000000",
            "runningUnixMs": "1700000000500", "resources": {"ports": "[20003-20004]"},
        });
        let task = Task::read(&value);
        assert!(task.is_running_and_ready());
        assert_eq!((task.launched, task.running, task.port), (1_700_000_000_000, 1_700_000_000_500, Some(20003)));
    }
}
