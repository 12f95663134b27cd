//! Whether an offer fits a pod, and if so with which numbers. Every stage says pass or why not; nothing is changed here.
mod placement;
mod ports;
mod resources;
pub mod verdict;
mod volumes;

use std::collections::BTreeMap;

use model::call::Operation;
use model::{AgentId, OfferId, Principal, Ranges, Reservation, Resources, RoleName};

use crate::record::UnitKey;
use crate::spec::{PodSpec, TaskSpec};
use crate::view::Placement;
pub use placement::Neighbour;
pub use verdict::{Reason, Verdict};

/// The offers of one agent, taken together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentOffer {
    /// The offers.
    pub offers: Vec<OfferId>,
    /// The agent (ports are empty).
    pub agent: Placement,
    /// What is left of them.
    pub resources: Resources,
}

/// What is to be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The unit.
    pub unit: UnitKey,
    /// Made from this.
    pub spec: PodSpec,
    /// The tasks to launch (finished ones are left out).
    pub tasks: Vec<String>,
    /// The agent it is bound to by its data or its sibling tasks, and why.
    pub bound_to: Option<(AgentId, String)>,
    /// Whether its reservation is on that agent already.
    pub is_reserved: bool,
    /// Where it was before: ports are kept if they can.
    pub before: Option<Placement>,
    /// Port numbers that other agents offer, too: of these a number is chosen that all instances are to have.
    pub common_ports: Ranges,
}

impl Need {
    fn tasks(&self) -> impl Iterator<Item = &TaskSpec> {
        self.spec.tasks.iter().filter(|task| self.tasks.contains(&task.name))
    }
}

/// Whose reservations are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The framework's name.
    pub framework: String,
    /// Its principal.
    pub principal: Principal,
    /// Its role.
    pub role: RoleName,
}

/// Label that names the framework of a reservation.
pub const LABEL_FRAMEWORK: &str = "framework";
/// Label that names the unit of a reservation.
pub const LABEL_UNIT: &str = "unit";

impl Owner {
    /// The title under which a unit's resources are held.
    pub fn reservation(&self, unit: &UnitKey) -> Reservation {
        let labels = BTreeMap::from([
            (LABEL_FRAMEWORK.to_owned(), self.framework.clone()),
            (LABEL_UNIT.to_owned(), unit.to_string()),
        ]);
        Reservation::new(self.role.clone(), self.principal.clone(), labels)
    }
}

/// How a pod fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    /// Where, with ports.
    pub placement: Placement,
    /// Reservations and volumes to be made first.
    pub before: Vec<Operation>,
    /// What each task takes.
    pub tasks: BTreeMap<String, Resources>,
    /// What the executor takes.
    pub executor: Resources,
    /// What is left of the offers.
    pub left: Resources,
    /// Whether the instance now holds a reservation.
    pub is_reserved: bool,
}

/// Evaluates one need against the offers of one agent.
pub fn evaluate(need: &Need, offer: &AgentOffer, owner: &Owner, neighbours: &[Neighbour]) -> (Verdict, Option<Fit>) {
    let mut verdict = Verdict::new(&need.unit, &offer.agent.agent_name);
    let fit = stages(need, offer, owner, neighbours, &mut verdict);
    (verdict, fit)
}

fn stages(
    need: &Need,
    offer: &AgentOffer,
    owner: &Owner,
    neighbours: &[Neighbour],
    verdict: &mut Verdict,
) -> Option<Fit> {
    verdict.stage("placement", placement::check(need, &offer.agent, neighbours))?;
    let available = offer.resources.usable_by(&owner.role);
    let title = need.spec.has_persistent_volumes().then(|| owner.reservation(&need.unit));
    // Volumes first: where the data is decides more than what is free beside it.
    let volumes = verdict.stage("volumes", volumes::check(need, &available, title.as_ref()))?;
    let ports = verdict.stage("ports", ports::choose(need, &available, title.as_ref(), neighbours))?;
    verdict.stage("resources", resources::divide(need, offer, title.as_ref(), volumes, ports))
}

/// Why the rules alone forbid an agent, if they do.
pub(crate) fn placement_reason(need: &Need, agent: &Placement, neighbours: &[Neighbour]) -> Option<Reason> {
    placement::check(need, agent, neighbours).err()
}
