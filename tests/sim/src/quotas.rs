//! What operators do to roles while everything else breaks: limits below what is used, guarantees for nobody. When the
//! faults end they are gone again, or nothing would converge.
use master_core::{Event, OperatorRequest, Quota, RequestId};
use model::{Milli, RoleName};

use crate::world::World;

fn cpus(guarantee: Option<u64>, limit: Option<u64>) -> Quota {
    let amount = |units: Option<u64>| {
        units
            .map(|units| ("cpus".to_owned(), Milli::units(i64::try_from(units).unwrap_or(i64::MAX))))
            .into_iter()
            .collect()
    };
    Quota { guarantees: amount(guarantee), limits: amount(limit) }
}

impl World {
    fn ask_quotas(&mut self, quotas: Vec<(RoleName, Quota)>, force: bool) -> Result<(), String> {
        let ask = OperatorRequest::SetQuotas { quotas, force };
        self.master_hears(Event::Asked { request: RequestId(3), ask })
    }

    /// Quotas that cannot be, one that is below what is used, and then one that an operator insists on.
    pub(crate) fn change_quotas(&mut self) -> Result<(), String> {
        let nobody = || RoleName::new("nobody").expect("valid");
        let mut of_ports = Quota::default();
        of_ports.limits.insert("ports".to_owned(), Milli(1));
        self.ask_quotas(vec![(nobody(), of_ports)], false)?;
        self.ask_quotas(vec![(nobody(), cpus(Some(1_000_000), None))], false)?;
        let index = usize::try_from(self.rng.next() % 7).expect("small") % self.frameworks.len();
        let role = self.frameworks[index].role();
        self.ask_quotas(vec![(role.clone(), cpus(None, Some(0)))], false)?;
        let limit = (!self.rng.percent(30)).then(|| self.rng.between(0, 8));
        let guarantee = self.rng.percent(50).then(|| self.rng.between(1, 4));
        self.ask_quotas(vec![(role, cpus(None, limit)), (nobody(), cpus(guarantee, None))], true)
    }

    /// Nobody has a quota any more.
    pub(crate) fn clear_quotas(&mut self) -> Result<(), String> {
        let roles = self.frameworks.iter().map(|host| host.role()).chain([RoleName::new("nobody").expect("valid")]);
        let quotas = roles.map(|role| (role, Quota::default())).collect();
        // A master that is down starts with what its registry says.
        self.master.registry.quotas.clear();
        self.ask_quotas(quotas, true)
    }
}
