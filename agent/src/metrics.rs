//! Figures for Prometheus.
use std::sync::atomic::{AtomicI64, AtomicU64};

use agent_core::{Agent, Phase};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) batches: Counter<u64, AtomicU64>,
    registered: Gauge<i64, AtomicI64>,
    pods_running: Gauge<i64, AtomicI64>,
    pods_preparing: Gauge<i64, AtomicI64>,
    sandboxes: Gauge<i64, AtomicI64>,
    tasks: Gauge<i64, AtomicI64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("mezzo_agent");
        let (batches, registered, pods_running, pods_preparing, sandboxes, tasks) = Default::default();
        let metrics =
            Self { registry: Registry::default(), batches, registered, pods_running, pods_preparing, sandboxes, tasks };
        registry.register("checkpoint_batches", "Batches of checkpoints", metrics.batches.clone());
        registry.register("registered", "Whether the master knows this agent now", metrics.registered.clone());
        registry.register("pods_running", "Pods with an executor", metrics.pods_running.clone());
        registry.register("pods_preparing", "Pods being prepared", metrics.pods_preparing.clone());
        registry.register("sandboxes", "Ended pods whose sandbox is kept", metrics.sandboxes.clone());
        registry.register("tasks", "Tasks not terminal and acknowledged", metrics.tasks.clone());
        Self { registry, ..metrics }
    }
    /// Brings the gauges up to date.
    pub(crate) fn observe(&self, core: &Agent) {
        let (mut running, mut preparing, mut ended) = (0, 0, 0);
        for (_, phase) in core.pods() {
            match phase {
                Phase::Preparing => preparing += 1,
                Phase::Starting | Phase::Attaching | Phase::Attached | Phase::Destroying(_) => running += 1,
                Phase::Ended(_) => ended += 1,
            }
        }
        self.registered.set(i64::from(core.is_registered()));
        self.pods_running.set(running);
        self.pods_preparing.set(preparing);
        self.sandboxes.set(ended);
        self.tasks.set(i64::try_from(core.task_count()).unwrap_or(i64::MAX));
    }
    pub(crate) fn is_registered(&self) -> bool {
        self.registered.get() == 1
    }
    /// In the format Prometheus reads.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}
