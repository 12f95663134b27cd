//! Counters of decisions and gauges of the view, in the Prometheus text format.
use std::sync::Mutex;

use master_core::{Decision, OfferEnd};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::view::View;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: String,
}

/// What is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    offers: Family<Kind, Counter>,
    rejections: Family<Kind, Counter>,
    transitions: Family<Kind, Counter>,
    slow_readers: Counter,
    agents: Family<Kind, Gauge>,
    frameworks: Family<Kind, Gauge>,
    tasks: Family<Kind, Gauge>,
    offers_outstanding: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("mezzo_master")),
            offers: Family::default(),
            rejections: Family::default(),
            transitions: Family::default(),
            slow_readers: Counter::default(),
            agents: Family::default(),
            frameworks: Family::default(),
            tasks: Family::default(),
            offers_outstanding: Gauge::default(),
        };
        {
            let mut registry = metrics.registry();
            registry.register("offers", "Offers made, and how they ended", metrics.offers.clone());
            registry.register("rejections", "Requests not done, by code", metrics.rejections.clone());
            registry.register("task_transitions", "Task states entered", metrics.transitions.clone());
            registry.register(
                "slow_readers",
                "Sessions closed because their peer read too slowly",
                metrics.slow_readers.clone(),
            );
            registry.register("agents", "Agents by state", metrics.agents.clone());
            registry.register("frameworks", "Frameworks by state", metrics.frameworks.clone());
            registry.register("tasks", "Living tasks by state", metrics.tasks.clone());
            registry.register("offers_outstanding", "Offers not yet answered", metrics.offers_outstanding.clone());
        }
        metrics
    }

    fn registry(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().expect("nobody panics while holding the metrics")
    }

    /// Counts a decision.
    pub(crate) fn count(&self, decision: &Decision) {
        let add = |family: &Family<Kind, Counter>, kind: String| {
            family.get_or_create(&Kind { kind }).inc();
        };
        match decision {
            Decision::Granted(_) => add(&self.offers, "made".to_owned()),
            Decision::OfferEnded { end, .. } => {
                let kind = match end {
                    OfferEnd::Accepted => "accepted",
                    OfferEnd::Declined => "declined",
                    OfferEnd::Rescinded => "rescinded",
                    OfferEnd::Expired => "expired",
                };
                add(&self.offers, kind.to_owned());
            }
            Decision::Rejected { reason, .. } => add(&self.rejections, reason.code().to_owned()),
            Decision::TaskBecame { to, .. } => add(&self.transitions, format!("{to:?}").to_lowercase()),
            Decision::Withheld { .. }
            | Decision::AgentAdmitted { .. }
            | Decision::AgentReturned { .. }
            | Decision::AgentDisconnected { .. }
            | Decision::AgentUnreachable { .. }
            | Decision::RemovalHeld { .. }
            | Decision::MaintenanceSet { .. }
            | Decision::InverseOfferAnswered { .. }
            | Decision::AgentGone { .. }
            | Decision::AgentForgotten { .. }
            | Decision::AgentModeSet { .. }
            | Decision::AgentDrained { .. }
            | Decision::FrameworkSubscribed { .. }
            | Decision::FrameworkDisconnected { .. }
            | Decision::FrameworkTornDown { .. }
            | Decision::UnwantedTask { .. }
            | Decision::HoldingsChanged { .. } => {}
        }
    }

    /// A session was closed because its queue was full.
    pub(crate) fn slow_reader(&self) {
        self.slow_readers.inc();
    }

    /// Everything as text, the gauges as the view is now.
    pub(crate) fn text(&self, view: &View) -> String {
        let gauge = |family: &Family<Kind, Gauge>, kinds: &mut dyn Iterator<Item = String>| {
            family.clear();
            for kind in kinds {
                family.get_or_create(&Kind { kind }).inc();
            }
        };
        gauge(&self.agents, &mut view.agents.values().map(|agent| agent.state.word().to_owned()));
        gauge(&self.frameworks, &mut view.frameworks.values().map(|framework| framework.state.word().to_owned()));
        gauge(&self.tasks, &mut view.tasks.values().map(|task| format!("{:?}", task.status.state).to_lowercase()));
        self.offers_outstanding.set(i64::try_from(view.offers.len()).unwrap_or(i64::MAX));
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry());
        text
    }
}
