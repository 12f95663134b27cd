//! What is true of an agent after every step. Tests and the simulator call [`check`].
use std::collections::BTreeSet;

use model::{Quantities, Resources};

use crate::agent::Agent;
use crate::limits;
use crate::pod::Phase;

/// The first thing found wrong, in words.
///
/// # Errors
/// Something is wrong.
pub fn check(agent: &Agent) -> Result<(), String> {
    let mut tasks = BTreeSet::new();
    for (pod_id, pod) in &agent.pods {
        if pod.launch.pod_id != *pod_id || pod.tasks.len() != pod.launch.tasks.len() {
            return Err(format!("pod {pod_id} does not fit its launch"));
        }
        for task in &pod.tasks {
            let key = (pod.launch.framework.id.clone(), task.id.clone());
            let indexed = agent.index.get(&key);
            if task.is_forgotten() {
                if indexed == Some(pod_id) {
                    return Err(format!("task {} is forgotten and indexed", task.id));
                }
            } else if indexed != Some(pod_id) {
                return Err(format!("task {} of pod {pod_id} is not indexed", task.id));
            }
            if !tasks.insert(key) {
                return Err(format!("task {} is in two pods", task.id));
            }
            if task.stream.len() > limits::STREAM_MAX {
                return Err(format!("the stream of task {} is too long", task.id));
            }
            let states: Vec<_> = task.stream.iter().map(|status| status.state).collect();
            if let Some(pair) = states.windows(2).find(|pair| !pair[0].may_become(pair[1])) {
                return Err(format!("the stream of task {} goes from {:?} to {:?}", task.id, pair[0], pair[1]));
            }
            if task.stream.back().is_some_and(|last| *last != task.latest) {
                return Err(format!("the latest status of task {} is not the end of its stream", task.id));
            }
            if task.stream.iter().any(|status| status.uuid.is_none()) {
                return Err(format!("an update of task {} has no id", task.id));
            }
            if task.in_flight.is_some() && (task.stream.is_empty() || !agent.is_registered()) {
                return Err(format!("task {} has an update in flight that cannot be", task.id));
            }
            if pod.is_ended() && !task.latest.state.is_terminal() {
                return Err(format!("pod {pod_id} ended, its task {} did not", task.id));
            }
            if task.ended.is_some() && task.latest.state.is_terminal() {
                return Err(format!("the end of task {} was said and is kept back", task.id));
            }
            if pod.cleans_up() && pod.started && !pod.is_ended() && task.latest.state.is_terminal() {
                return Err(format!("task {} is said to have ended before its pod cleaned up", task.id));
            }
        }
        if matches!(pod.phase, Phase::Attached | Phase::Attaching | Phase::Starting) && !pod.started {
            return Err(format!("pod {pod_id} has an executor nobody would look for"));
        }
    }
    if agent.pods.values().filter(|pod| !pod.is_ended()).count() > limits::PODS_MAX {
        return Err("too many pods".to_owned());
    }
    let configured = agent.total.without_revocable().as_configured();
    if configured != agent.config.resources {
        return Err(format!("the total {} is not what the agent has: {}", agent.total, agent.config.resources));
    }
    // Holdings may have been taken from under a living pod, but what is admitted is never more than there is.
    let used = used(agent);
    if !configured.firm().contains(&used) {
        return Err(format!("pods use {used} of {configured}"));
    }
    Ok(())
}

/// What pods use for good; each shared volume once.
fn used(agent: &Agent) -> Quantities {
    let mut used = Quantities::default();
    let mut shared = Resources::default();
    let mut count = |resources: &Resources| {
        used.add(&resources.without_shared().firm());
        for (holding, quantities) in resources.held.iter().filter(|(holding, _)| holding.is_shared()) {
            shared.held.insert(holding.clone(), quantities.clone());
        }
    };
    for pod in agent.pods.values().filter(|pod| !pod.is_ended() && !pod.all_terminal()) {
        count(&pod.launch.executor_resources);
        for (task, launch) in pod.tasks.iter().zip(&pod.launch.tasks) {
            if !task.latest.state.is_terminal() {
                count(&launch.head.resources);
            }
        }
    }
    used.add(&shared.firm());
    used
}
