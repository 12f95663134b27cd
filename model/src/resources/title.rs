//! Titles under which resources are held: reservations, which may refine one another, and volumes made of them.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{Principal, VolumeId};
use crate::role::RoleName;

/// How deep reservations refine one another: a role's path is rarely deeper than four.
pub const STACK_MAX: usize = 8;

/// Resources kept for a role between offers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reservation {
    /// For whom.
    pub role: RoleName,
    /// Who reserved.
    pub principal: Principal,
    /// The framework's own marks (`resource_id`, ...). Different labels never merge.
    pub labels: BTreeMap<String, String>,
    /// Whether the agent's configuration says so: nobody can undo it from outside.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_static: bool,
    /// The reservation, for a role above, out of which this one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refines: Option<Box<Reservation>>,
}

/// Why reservations do not fit upon one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStack {
    /// The role of everybody.
    #[error("nothing can be reserved for the role '*'")]
    ForAnybody,
    /// A refinement leads sideways or upwards.
    #[error("a reservation refines only one for a role above its own")]
    NotBelow,
    /// A static reservation is not the outermost.
    #[error("a static reservation refines no other")]
    StaticInside,
    /// Too many.
    #[error("reservations refine one another more than {STACK_MAX} deep")]
    TooDeep,
}

impl Reservation {
    /// A reservation made at run time of what is not reserved.
    pub fn new(role: RoleName, principal: Principal, labels: BTreeMap<String, String>) -> Self {
        Self { role, principal, labels, is_static: false, refines: None }
    }
    /// A reservation by the agent's configuration.
    pub fn by_configuration(role: RoleName) -> Self {
        Self { role, principal: Principal::new(""), labels: BTreeMap::new(), is_static: true, refines: None }
    }
    /// This one and those that it refines, innermost first.
    pub fn layers(&self) -> impl Iterator<Item = &Reservation> {
        std::iter::successors(Some(self), |layer| layer.refines.as_deref())
    }
    /// The one out of which all others were made.
    pub fn outermost(&self) -> &Reservation {
        self.layers().last().expect("it is one itself")
    }
    /// Lays reservations upon one another, outermost first; `refines` of each is replaced. `None` if there is none.
    pub fn stack(layers: impl IntoIterator<Item = Reservation>) -> Option<Self> {
        layers.into_iter().fold(None, |below, layer| Some(Self { refines: below.map(Box::new), ..layer }))
    }
    /// Whether the layers fit upon one another.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn check(&self) -> Result<(), InvalidStack> {
        for (depth, layer) in self.layers().enumerate() {
            if layer.role.as_str() == "*" {
                return Err(InvalidStack::ForAnybody);
            }
            if depth >= STACK_MAX {
                return Err(InvalidStack::TooDeep);
            }
            match &layer.refines {
                Some(_) if layer.is_static => return Err(InvalidStack::StaticInside),
                Some(below) if layer.role == below.role || !layer.role.is_within(&below.role) => {
                    return Err(InvalidStack::NotBelow);
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }
}

/// A disk that outlives its task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Volume {
    /// Unique per role and agent.
    pub id: VolumeId,
    /// Where the container sees it (relative to its sandbox, or absolute).
    pub container_path: String,
    /// Whether several tasks may have it at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
}

impl Volume {
    /// A volume for one task at a time.
    pub fn new(id: VolumeId, container_path: impl Into<String>) -> Self {
        Self { id, container_path: container_path.into(), shared: false }
    }
}

/// Under what title resources are held: a reservation, perhaps made into a volume.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Holding {
    /// The reservation.
    pub reservation: Reservation,
    /// The volume made of it, if any. A volume is taken whole or not at all.
    pub volume: Option<Volume>,
}

impl Holding {
    /// Reserved, and no volume.
    pub fn plain(reservation: Reservation) -> Self {
        Self { reservation, volume: None }
    }
    /// Whether several may have it at once.
    pub fn is_shared(&self) -> bool {
        self.volume.as_ref().is_some_and(|volume| volume.shared)
    }
    /// Whether the agent's configuration alone says so.
    pub fn is_configured(&self) -> bool {
        self.reservation.is_static && self.volume.is_none()
    }
    /// Under what title the agent's configuration has what this is made of; `None`: under none.
    pub fn origin(&self) -> Option<Holding> {
        let outermost = self.reservation.outermost();
        outermost.is_static.then(|| Holding::plain(outermost.clone()))
    }
    /// What the last step back leads to: a volume's reservation, what a reservation refines, or nothing (`None`).
    pub fn undone(&self) -> Option<Holding> {
        match (&self.volume, &self.reservation.refines) {
            (Some(_), _) => Some(Holding::plain(self.reservation.clone())),
            (None, Some(below)) => Some(Holding::plain((**below).clone())),
            (None, None) => None,
        }
    }
}
