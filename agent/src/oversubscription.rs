//! What an agent gives away although it is promised to others: how much, and when it is needed after all. Both are
//! asked again and again; the core decides what ends.
use std::fs;
use std::time::Duration;

use agent_core::Event;
use model::Quantities;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::limits;

/// Says how much may be given away that can be taken back.
trait Estimator: Send {
    fn revocable(&mut self) -> Quantities;
}

/// Says whether those to whom everything was promised need it now, and why.
trait QosController: Send {
    fn pressed(&mut self) -> Option<String>;
}

/// Always as much as the operator said.
struct Fixed(Quantities);

impl Estimator for Fixed {
    fn revocable(&mut self) -> Quantities {
        self.0.clone()
    }
}

/// The kernel says for how much of the time somebody waited for memory.
struct MemoryPressure {
    percent: u8,
}

impl QosController for MemoryPressure {
    fn pressed(&mut self) -> Option<String> {
        let text = fs::read_to_string("/proc/pressure/memory").ok()?;
        let percent = stalled_percent(&text)?;
        (percent >= u32::from(self.percent))
            .then(|| format!("tasks waited for memory {percent} % of the last 10 s, {} % are allowed", self.percent))
    }
}

/// The whole percents of `some avg10=12.34 ...`.
pub(crate) fn stalled_percent(text: &str) -> Option<u32> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let value = line.split(' ').find_map(|field| field.strip_prefix("avg10="))?;
    value.split('.').next()?.parse().ok()
}

/// Whether the kernel says how long somebody waits for memory.
pub(crate) fn can_see_pressure() -> bool {
    fs::read_to_string("/proc/pressure/memory").is_ok_and(|text| stalled_percent(&text).is_some())
}

/// Asks both from now on; nothing is done if there is nothing to give away.
pub(crate) fn start(
    revocable: Quantities,
    pressure_percent: Option<u8>,
    events: mpsc::Sender<Event>,
) -> Option<tokio::task::JoinHandle<()>> {
    if revocable.is_empty() {
        return None;
    }
    info!(%revocable, ?pressure_percent, "what may be taken back is given away");
    let controller: Option<Box<dyn QosController>> = pressure_percent.map(|percent| {
        if !can_see_pressure() {
            warn!("this kernel does not say how long tasks wait for memory: nothing will be taken back");
        }
        let controller: Box<dyn QosController> = Box::new(MemoryPressure { percent });
        controller
    });
    Some(tokio::spawn(run(Box::new(Fixed(revocable)), controller, events)))
}

async fn run(
    mut estimator: Box<dyn Estimator>,
    mut controller: Option<Box<dyn QosController>>,
    events: mpsc::Sender<Event>,
) {
    let every = |seconds| {
        let mut ticks = tokio::time::interval(Duration::from_secs(seconds));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks
    };
    let (mut estimates, mut looks) = (every(limits::ESTIMATE_SECONDS), every(limits::PRESSURE_LOOK_SECONDS));
    loop {
        let event = tokio::select! {
            _ = estimates.tick() => Some(Event::Estimated { revocable: estimator.revocable() }),
            _ = looks.tick() => controller.as_mut().and_then(|it| it.pressed()).map(|why| Event::Pressed { why }),
        };
        if let Some(event) = event
            && events.send(event).await.is_err()
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_read_in_whole_percents() {
        let text = "some avg10=12.99 avg60=1.00 avg300=0.00 total=5\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=1\n";
        assert_eq!(stalled_percent(text), Some(12));
        assert_eq!(stalled_percent("full avg10=1.00"), None);
    }
}
