//! Who is killed when.

use e2e::{Cluster, Seed};

use crate::victim::Victim;

/// With the value `all`, everything is killed at every moment.
const VARIABLE: &str = "MEZZO_KILL";

/// The victims of each moment, in the order of their deaths.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    pub(crate) deploying: Vec<Victim>,
    pub(crate) at_rest: Vec<Victim>,
    pub(crate) scaling: Vec<Victim>,
}

impl Schedule {
    pub(crate) fn from_environment(cluster: Cluster, seed: &mut Seed) -> Self {
        let victims = Victim::all(cluster);
        let schedule = if std::env::var(VARIABLE).is_ok_and(|value| value == "all") {
            let mut all = || seed.shuffled(victims.clone());
            Self { deploying: all(), at_rest: all(), scaling: all() }
        } else {
            Self::spread(seed.shuffled(victims))
        };
        eprintln!("{schedule:?}");
        schedule
    }

    /// In turn: each moment gets as many as the others, or one more.
    fn spread(victims: Vec<Victim>) -> Self {
        let mut schedule = Self::default();
        for (index, victim) in victims.into_iter().enumerate() {
            let moment = match index % 3 {
                0 => &mut schedule.scaling,
                1 => &mut schedule.at_rest,
                _ => &mut schedule.deploying,
            };
            moment.push(victim);
        }
        schedule
    }
}
