//! What an operator may change between two lives of an agent. More is welcome; less only where nothing relies on it.
use model::Refusal;

use crate::agent::AgentConfig;
use crate::checkpoint::{AgentRecord, Configured, LaunchRecord, ProgressRecord};

/// Whether an agent may go on with this configuration.
pub(crate) fn check(
    config: &AgentConfig,
    record: &AgentRecord,
    pods: &[(LaunchRecord, Option<ProgressRecord>)],
) -> Result<(), Refusal> {
    let Some(before) = &record.configured else { return Ok(()) };
    let has_ended = |progress: &Option<ProgressRecord>| progress.as_ref().is_some_and(|it| it.ended.is_some());
    let runs = pods.iter().any(|(_, progress)| !has_ended(progress));
    let holds = record.holdings.held.keys().any(|holding| !holding.is_configured());
    if !runs && !holds {
        return Ok(());
    }
    if let Some(missing) = config.resources.missing(&before.resources) {
        return Err(Refusal::new(
            "AGT0018",
            format!("the agent was given less than before: {missing} is missing, and something relies on what it had"),
            "give it at least what it had; or drain the agent, take back what is reserved on it, and start it then",
        ));
    }
    let changed = before.attributes.iter().find(|(name, value)| config.attributes.get(*name) != Some(value));
    match changed {
        None => Ok(()),
        Some((name, value)) => Err(Refusal::new(
            "AGT0019",
            format!("the agent's attribute {name} was {value} and is {}, and something relies on it", {
                config.attributes.get(name).map_or("not there", String::as_str)
            }),
            "leave attributes as they were and add others; or drain the agent and start it then",
        )),
    }
}

/// Remembers it; whether that is news.
pub(crate) fn note(config: &AgentConfig, record: &mut AgentRecord) -> bool {
    let configured = Configured { resources: config.resources.clone(), attributes: config.attributes.clone() };
    let is_news = record.configured.as_ref() != Some(&configured) || record.boot_id != config.boot_id;
    record.configured = Some(configured);
    record.boot_id.clone_from(&config.boot_id);
    is_news
}
