//! "Why is it so?" in words, from the view: what is, then what can be done about it, the cheapest remedy first.
use std::collections::{BTreeMap, BTreeSet};

use master_core::view::{AgentStateView, AgentView, FrameworkStateView, FrameworkView, TaskView};
use master_core::{AgentMode, Remedy, Withheld};
use model::{AgentId, Milli, Refusal, RoleName, Source, TaskState};
use proto::mezzo::v1::Explanation;

use crate::refusal;
use crate::runner::now;
use crate::view::View;

/// Reasons told per explanation.
const LINES_MAX: usize = 20;

pub(crate) fn explain(view: &View, kind: &str, name: &str) -> Result<Explanation, Refusal> {
    let missing =
        |list: &str| refusal::not_found(format!("there is no {kind} '{name}'"), format!("see `mezzo {list} list`"));
    match kind {
        "task" => Ok(task(view, view.task(name).ok_or_else(|| missing("task"))?)),
        "framework" => Ok(framework(view, view.framework(name).ok_or_else(|| missing("framework"))?)),
        "role" => role(view, name).ok_or_else(|| missing("role")),
        "agent" => agent(view, name).ok_or_else(|| missing("agent")),
        _ => Err(refusal::malformed("kind", format!("'{kind}' is none of task, framework, role and agent"))),
    }
}

/// Reasons for withholding that still stand, those that say the same of several agents as one.
#[derive(Default)]
struct Reasons<'a> {
    agents: BTreeMap<(String, String), BTreeSet<&'a str>>,
    remedies: BTreeSet<Remedy>,
}

impl<'a> Reasons<'a> {
    fn add(&mut self, view: &'a View, agent_id: &AgentId, whom: String, reason: &Withheld) {
        // What has passed, or is about an agent that has nothing to offer now, says nothing any more.
        let Some(agent) = view.agents.get(agent_id) else { return };
        let may_be_offered = agent.state == AgentStateView::Connected && agent.mode == AgentMode::Active;
        let remedy = reason.remedy(now());
        let has_passed = matches!(&remedy, Remedy::Wait { until } if *until <= now());
        if !may_be_offered || agent.free.is_empty() || has_passed {
            return;
        }
        self.agents.entry((whom, reason.in_words())).or_default().insert(&agent.name);
        self.remedies.insert(remedy);
    }
    fn tell(self, what: &str, out: &mut Explanation, remedies: &mut BTreeSet<Remedy>) {
        for ((whom, why), agents) in self.agents.into_iter().take(LINES_MAX) {
            let count = agents.len();
            let some: Vec<&str> = agents.into_iter().take(3).collect();
            let more = if count > some.len() { format!(" and {} more", count - some.len()) } else { String::new() };
            let word = if count == 1 { "agent" } else { "agents" };
            out.lines.push(format!("{word} {}{more} {what} {whom}: {why}", some.join(", ")));
        }
        remedies.extend(self.remedies);
    }
}

/// The cheapest first; of those that only need time, the soonest.
fn tell_remedies(remedies: BTreeSet<Remedy>, out: &mut Explanation) {
    let mut waits = false;
    for remedy in remedies.into_iter().take(LINES_MAX) {
        if matches!(remedy, Remedy::Wait { .. }) && std::mem::replace(&mut waits, true) {
            continue;
        }
        out.remedies.push(remedy.in_words(now()));
    }
}

fn task(view: &View, task: &TaskView) -> Explanation {
    let mut out = Explanation::default();
    let status = &task.status;
    let agent = view.agents.get(&task.agent_id);
    let place = agent.map_or_else(|| task.agent_id.to_string(), |agent| agent.name.clone());
    let framework = view.framework_name(&task.framework_id);
    out.lines
        .push(format!("task {} of framework {framework} is {:?} on agent {place}", task.head.task_id, status.state));
    if let Some(reason) = status.reason {
        let source = match status.source {
            Source::Master => "master",
            Source::Agent => "agent",
            Source::Executor => "executor",
        };
        out.lines.push(format!("the {source} says: {}", reason.in_words()));
        if !reason.remedy().is_empty() {
            out.remedies.push(reason.remedy().to_owned());
        }
    }
    if !status.message.is_empty() {
        out.lines.push(status.message.clone());
    }
    if task.kill_asked {
        out.lines.push("its framework or an operator asked for its end".to_owned());
    }
    if status.healthy == Some(false) {
        out.lines.push("its health check fails".to_owned());
    }
    match status.state {
        TaskState::Staging => out.lines.push("the agent has not answered yet".to_owned()),
        TaskState::Starting => out.lines.push("the agent prepares its image, volumes and secrets".to_owned()),
        TaskState::Running if status.ready == Some(false) => {
            out.lines.push("it runs, but its readiness check does not pass".to_owned())
        }
        TaskState::Unreachable => out.remedies.push(format!("bring agent {place} back; its tasks return with it")),
        TaskState::Running
        | TaskState::Killing
        | TaskState::Finished
        | TaskState::Failed
        | TaskState::Killed
        | TaskState::Error
        | TaskState::Lost
        | TaskState::Dropped
        | TaskState::Gone
        | TaskState::GoneByOperator
        | TaskState::Unknown => {}
    }
    out.remedies.push(format!("read its output: mezzo task logs {}", task.head.task_id));
    out
}

fn framework(view: &View, framework: &FrameworkView) -> Explanation {
    let mut out = Explanation::default();
    let (name, state) = (&framework.name, framework.state.word());
    out.lines
        .push(format!("framework {name} is {state}, with {} tasks and {} offers", framework.tasks, framework.offers));
    if framework.state != FrameworkStateView::Connected {
        out.lines.push("it gets no offers while it is not connected".to_owned());
        out.remedies.push("see whether its scheduler runs: mezzo service list".to_owned());
    }
    let mut remedies = BTreeSet::new();
    for role in &framework.suppressed {
        out.lines.push(format!("it wants no offers for role {role} now"));
        remedies.insert(Remedy::Revive);
    }
    let mut withheld = Reasons::default();
    for ((_, role, agent_id), reason) in view.withheld.iter().filter(|((id, ..), _)| *id == framework.id) {
        withheld.add(view, agent_id, format!("for role {role}"), reason);
    }
    withheld.tell("is not offered", &mut out, &mut remedies);
    for (at, rejected) in view.refused.get(&framework.principal).into_iter().flatten() {
        let seconds = now().0.saturating_sub(at.0) / 1000;
        let refusal = rejected.refusal();
        out.lines.push(format!("{seconds} s ago it was refused ({}): {}", refusal.code, refusal.message));
        let remedy = Remedy::ChangeFramework { what: refusal.next_step };
        remedies.insert(remedy);
    }
    tell_remedies(remedies, &mut out);
    for agent in view.agents.values().filter(|agent| agent.state == AgentStateView::Connected).take(LINES_MAX) {
        let free = agent.free.sum();
        out.lines.push(format!("agent {} has free: {free}", agent.name));
    }
    out.remedies.push(format!("see what its plan waits for: mezzo plan show {name}"));
    out
}

fn role(view: &View, name: &str) -> Option<Explanation> {
    let (_, role) = view.roles.iter().find(|(role, _)| role.as_str() == name)?;
    let mut out = Explanation::default();
    let (percent, rest) = (role.share_ppm / 10_000, role.share_ppm % 10_000 / 100);
    out.lines.push(format!(
        "role {name} has a dominant share of {percent}.{rest:02}% with weight {}",
        model::Milli(i64::try_from(role.weight_milli).unwrap_or(i64::MAX))
    ));
    let mut remedies = BTreeSet::new();
    for above in std::iter::successors(Some(role.name.clone()), RoleName::parent) {
        let Some(above) = view.roles.get(&above) else { continue };
        let has = |name: &String| above.counted.get(name).copied().unwrap_or(0);
        for (name, limit) in &above.quota.limits {
            out.lines.push(format!("role {} has {} of at most {limit} {name}", above.name, Milli(has(name))));
        }
        for (name, guarantee) in &above.quota.guarantees {
            out.lines.push(format!("role {} has {} of {guarantee} {name} guaranteed", above.name, Milli(has(name))));
        }
    }
    if !view.frameworks.values().any(|framework| framework.roles.iter().any(|own| own.is_within(&role.name))) {
        out.lines.push("no framework subscribes in it or below it".to_owned());
        out.remedies.push("start a framework that subscribes in it".to_owned());
    }
    let mut withheld = Reasons::default();
    for ((framework_id, of, agent_id), reason) in
        view.withheld.iter().filter(|((_, of, _), _)| of.is_within(&role.name))
    {
        withheld.add(view, agent_id, format!("to {} for role {of}", view.framework_name(framework_id)), reason);
    }
    withheld.tell("is not offered", &mut out, &mut remedies);
    tell_remedies(remedies, &mut out);
    let siblings =
        view.roles.values().filter(|other| other.name != role.name && other.name.parent() == role.name.parent());
    for other in siblings.take(LINES_MAX) {
        let ours = u128::from(role.share_ppm) * u128::from(other.weight_milli);
        let theirs = u128::from(other.share_ppm) * u128::from(role.weight_milli);
        let order = if theirs < ours { "comes before it" } else { "comes after it, or has its turn with it" };
        out.lines.push(format!("role {} {order}", other.name));
    }
    Some(out)
}

fn agent(view: &View, name: &str) -> Option<Explanation> {
    let agent = view.agent(name)?;
    let mut out = Explanation::default();
    out.lines.push(format!("agent {} is {}, with {} tasks", agent.name, agent.state.word(), agent.tasks));
    let sums = [
        ("has", agent.total.sum()),
        ("allocated", agent.allocated.sum()),
        ("offered", agent.offered.sum()),
        ("free", agent.free.sum()),
    ];
    out.lines.extend(sums.map(|(what, sum)| format!("{what}: {sum}")));
    match agent.state {
        AgentStateView::Connected => {
            mode(agent, &mut out);
            let mut remedies = BTreeSet::new();
            let mut withheld = Reasons::default();
            for ((framework_id, role, agent_id), reason) in
                view.withheld.iter().filter(|((_, _, id), _)| *id == agent.id)
            {
                let whom = format!("to {} for role {role}", view.framework_name(framework_id));
                withheld.add(view, agent_id, whom, reason);
            }
            withheld.tell("is not offered", &mut out, &mut remedies);
            let asks = |framework: &FrameworkView| {
                framework.state == FrameworkStateView::Connected && !framework.roles.is_subset(&framework.suppressed)
            };
            if agent.mode == AgentMode::Active && !agent.free.is_empty() && !view.frameworks.values().any(asks) {
                out.lines.push("no framework asks for offers now: each has what it wants".to_owned());
            }
            tell_remedies(remedies, &mut out);
        }
        AgentStateView::Gone => out.lines.push(
            "it was given up, by an operator or because it was away for too long; it never comes back".to_owned(),
        ),
        AgentStateView::Recovered | AgentStateView::Disconnected { .. } | AgentStateView::Unreachable { .. } => {
            out.remedies.push(format!("see whether the agent runs and reaches the master from {}", agent.address));
        }
    }
    Some(out)
}

fn mode(agent: &AgentView, out: &mut Explanation) {
    let again = format!("mezzo agent reactivate {}", agent.name);
    match agent.mode {
        AgentMode::Active => {}
        AgentMode::Deactivated => {
            out.lines.push("nothing of it is offered: an operator deactivated it".to_owned());
            out.remedies.push(again);
        }
        AgentMode::Draining(_) => {
            out.lines.push(format!("it is being emptied and has {} tasks left; nothing of it is offered", agent.tasks));
            out.remedies.push(again);
        }
        AgentMode::Drained { .. } => {
            out.lines.push("it was emptied; nothing of it is offered".to_owned());
            out.remedies.push(again);
        }
    }
}
