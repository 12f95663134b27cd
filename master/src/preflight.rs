//! Before an installation: what every agent has free, by the view, and what it says of itself now, by asking it. What
//! follows from both is the catalog's to say.
use std::time::Duration;

use catalog::preflight::{AgentNow, Needs, Report};
use daemon::clock::wall;
use daemon::identity::Identity;
use master_core::AgentMode;
use master_core::view::{AgentStateView, AgentView};
use model::{Refusal, Timestamp};
use proto::mezzo::v1::agent_operator_client::AgentOperatorClient;
use proto::mezzo::v1::{PreflightReport, PreflightRequest};

use crate::artifacts::Artifacts;
use crate::view::SharedView;

/// An agent's checks take milliseconds.
const REPORT_TIME: Duration = Duration::from_secs(5);
/// Agents asked; more are judged by what they offer alone.
const ASKED_MAX: usize = 256;

/// Whether the pool can take an installation now.
///
/// # Errors
/// Everything that is missing, a line each.
pub(crate) async fn check(
    needs: &Needs,
    name: &str,
    view: &SharedView,
    identity: &Identity,
    artifacts: &Artifacts,
) -> Result<(), Refusal> {
    let agents = agents(view, identity).await;
    let has_image = |image: &str| {
        let reference = image.strip_prefix("pool/").unwrap_or(image);
        let (repository, tag) = reference.rsplit_once(':').unwrap_or((reference, "latest"));
        // One named by its digest is looked for where it is used.
        reference.contains('@') || !matches!(artifacts.tagged(repository, tag), Ok(None))
    };
    let missing = catalog::preflight::check(needs, &agents, &has_image);
    if missing.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> =
        missing.iter().map(|short| format!("  {}\n    next: {}", short.what, short.next_step)).collect();
    Err(Refusal::new(
        "CAT0007",
        format!("the pool cannot take '{name}' as it is:\n{}", lines.join("\n")),
        "mend what is listed and install again, or install anyway with --force",
    ))
}

async fn agents(view: &SharedView, identity: &Identity) -> Vec<AgentNow> {
    let known: Vec<AgentView> =
        view.read().agents.values().filter(|agent| agent.state != AgentStateView::Gone).cloned().collect();
    let mut asked = Vec::new();
    for (i, agent) in known.iter().enumerate() {
        let withheld = withheld(agent);
        let report = (withheld.is_empty() && i < ASKED_MAX).then(|| {
            let identity = identity.clone();
            let (name, address) = (agent.name.clone(), format!("{}:{}", agent.address, agent.port));
            tokio::spawn(async move { report(&name, &address, &identity).await })
        });
        // What is lent is answered in a moment; what is reserved is somebody's.
        let mut free = agent.free.unreserved.clone();
        free.add(&agent.offered.unreserved);
        asked.push((AgentNow { name: agent.name.clone(), free, withheld, report: Report::default() }, report));
    }
    let mut agents = Vec::new();
    for (mut agent, report) in asked {
        if let Some(report) = report {
            agent.report = report.await.unwrap_or_default();
        }
        agents.push(agent);
    }
    agents.sort_by(|a, b| a.name.cmp(&b.name));
    agents
}

fn withheld(agent: &AgentView) -> String {
    match (agent.state, agent.mode) {
        (AgentStateView::Connected, AgentMode::Active) => String::new(),
        (AgentStateView::Connected, mode) => mode.word().to_owned(),
        (state, _) => state.word().to_owned(),
    }
}

async fn report(name: &str, address: &str, identity: &Identity) -> Report {
    let problem = |problem: String| Report { problem, ..Report::default() };
    let channel = match daemon::client::channel(address, &format!("{name}.agent.mezzo"), identity) {
        Ok(channel) => channel,
        Err(error) => return problem(daemon::error::chain(&error)),
    };
    let before = wall();
    let mut client = AgentOperatorClient::new(channel);
    match tokio::time::timeout(REPORT_TIME, client.preflight(PreflightRequest {})).await {
        Ok(Ok(answer)) => read(answer.into_inner(), before, wall()),
        Ok(Err(status)) => problem(daemon::error::chain(&status)),
        Err(_) => problem(format!("no answer from {address} in {} s", REPORT_TIME.as_secs())),
    }
}

/// An agent's clock is compared with the whole time in which it may have been read.
fn read(report: PreflightReport, before: Timestamp, after: Timestamp) -> Report {
    let clock = u64::try_from(report.unix_ms).ok().filter(|clock| *clock > 0);
    let failed = report.checks.into_iter().filter(|check| !check.passed);
    Report {
        failed: failed.map(|check| (check.name, (check.found, check.remedy))).collect(),
        clock_skew_ms: clock.map(|clock| before.0.saturating_sub(clock).max(clock.saturating_sub(after.0))),
        problem: String::new(),
    }
}
