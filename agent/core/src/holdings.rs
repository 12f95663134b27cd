//! Reservations and volumes as the master decided them, by generation: checkpointed, then made true, then reported.
use std::collections::BTreeSet;

use model::Resources;
use model::link::FromAgent;

use crate::agent::Agent;
use crate::command::{Command, Decision, VolumeKey};
use crate::mutation::{Mutation, mutated};

impl Agent {
    pub(crate) fn set_holdings(&mut self, generation: u64, holdings: Resources, out: &mut Vec<Command>) {
        if generation < self.record.generation {
            Self::note(out, Decision::StaleHoldings { generation, seen: self.record.generation });
            return;
        }
        if generation == self.record.generation {
            // Said before; the answer may have been lost.
            if self.volumes_set == Some(generation) {
                self.later(Command::Send(FromAgent::Applied { generation }));
            }
            return;
        }
        let holdings = holdings.holdings();
        match self.config.resources.titled(&holdings) {
            Ok(mut total) => {
                total.revocable = std::mem::take(&mut self.total.revocable);
                self.total = total;
                self.record.generation = generation;
                self.record.holdings = holdings;
                self.mark_agent();
                if !mutated(Mutation::KeepsVolumes) {
                    self.order_volumes();
                }
            }
            Err(missing) => Self::note(out, Decision::HoldingsTooLarge { missing }),
        }
    }

    /// Has the disk made equal to the holdings. What a living pod uses is kept until it is over.
    pub(crate) fn order_volumes(&mut self) {
        let wanted = volumes_of(&self.record.holdings);
        let in_use: BTreeSet<_> = self
            .pods
            .values()
            .filter(|pod| !pod.is_ended())
            .flat_map(|pod| volumes_of(&pod.launch.resources()))
            .collect();
        self.volumes_doomed = in_use.difference(&wanted).next().is_some();
        let volumes = wanted.union(&in_use).cloned().collect();
        self.later(Command::SetVolumes { generation: self.record.generation, volumes });
    }

    pub(crate) fn volumes_set(&mut self, generation: u64) {
        if generation == self.record.generation && self.volumes_set.is_none_or(|set| set < generation) {
            self.volumes_set = Some(generation);
            self.later(Command::Send(FromAgent::Applied { generation }));
        }
    }
}

fn volumes_of(resources: &Resources) -> BTreeSet<VolumeKey> {
    resources.held.iter().filter_map(|(holding, quantities)| VolumeKey::of(holding, quantities)).collect()
}
