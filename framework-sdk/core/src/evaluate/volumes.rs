//! Persistent volumes: those that exist must be in the offer, whole; others will be made.
use model::{Holding, Milli, Quantities, Reservation, Resources, Volume, VolumeId};

use super::{Need, Reason};
use crate::spec::VolumeSource;

/// One volume of the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodVolume {
    pub(super) task: String,
    pub(super) holding: Holding,
    pub(super) quantities: Quantities,
    /// Whether it must be made.
    pub(super) is_new: bool,
}

pub(super) fn check(need: &Need, available: &Resources, title: Option<&Reservation>) -> Result<Vec<PodVolume>, Reason> {
    let Some(title) = title else { return Ok(Vec::new()) };
    let mut out = Vec::new();
    for task in need.tasks() {
        for volume in &task.volumes {
            let VolumeSource::Persistent { name, size_mib } = &volume.source else { continue };
            // A volume found under the instance's own title is its data, whatever size it was made with.
            let found = available.held.iter().find(|(holding, _)| {
                holding.reservation == *title
                    && holding.volume.as_ref().is_some_and(|v| v.container_path == volume.container_path)
            });
            match found {
                Some((holding, quantities)) => out.push(PodVolume {
                    task: task.name.clone(),
                    holding: holding.clone(),
                    quantities: quantities.clone(),
                    is_new: false,
                }),
                None if need.is_reserved => return Err(Reason::VolumeAbsent(name.clone())),
                None => {
                    let id = VolumeId::new(format!("{}.{}.{name}", title.labels[super::LABEL_FRAMEWORK], need.unit))
                        .map_err(|_| Reason::VolumeAbsent(name.clone()))?;
                    out.push(PodVolume {
                        task: task.name.clone(),
                        holding: Holding {
                            reservation: title.clone(),
                            volume: Some(Volume::new(id, volume.container_path.clone())),
                        },
                        quantities: Quantities { disk: Milli::units((*size_mib).into()), ..Quantities::default() },
                        is_new: true,
                    });
                }
            }
        }
    }
    Ok(out)
}
