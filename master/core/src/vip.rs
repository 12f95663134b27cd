//! Virtual addresses: leased to a framework under a name, before anything is behind them, so that certificates and
//! configuration can carry them. A lease is durable before it is told, never changes and ends with its framework.
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use model::task::Vip;
use model::{FrameworkId, Principal};

use crate::decision::Rejected;
use crate::lease;
use crate::limits;
use crate::master::Master;
use crate::registry::Record;

/// Who holds which address.
#[derive(Debug, Default)]
pub(crate) struct Vips {
    leases: BTreeMap<(FrameworkId, String), Ipv4Addr>,
    taken: BTreeSet<Ipv4Addr>,
}

impl Vips {
    pub(crate) fn restore(leases: BTreeMap<(FrameworkId, String), Ipv4Addr>) -> Self {
        let taken = leases.values().copied().collect();
        Self { leases, taken }
    }
    pub(crate) fn get(&self, key: &(FrameworkId, String)) -> Option<Ipv4Addr> {
        self.leases.get(key).copied()
    }
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&(FrameworkId, String), &Ipv4Addr)> {
        self.leases.iter()
    }
    fn of(&self, framework_id: &FrameworkId) -> impl Iterator<Item = &(FrameworkId, String)> {
        self.leases.keys().filter(move |(holder, _)| holder == framework_id)
    }
}

impl Master {
    /// Leases an address, or finds the one that is leased. The address is in the views before the answer is sent.
    pub(crate) fn ask_vip(&mut self, framework: String, name: String, principal: &Principal) -> Result<(), Rejected> {
        let by_id = || self.frameworks.values().find(|known| known.id().as_str() == framework).map(|f| f.id().clone());
        let Some(id) = self.framework_names.get(&framework).cloned().or_else(by_id) else {
            return Err(Rejected::UnknownFramework { framework });
        };
        let known = &self.frameworks[&id];
        if !known.is_alive() {
            return Err(Rejected::TornDown { framework_id: id });
        }
        if known.principal() != principal && !principal.is_operator() {
            return Err(Rejected::ForeignFramework { framework_id: id, principal: principal.clone() });
        }
        if !Vip::is_name(&name) {
            return Err(Rejected::Malformed { what: "a VIP's name is 1 to 63 of a-z, 0-9 and '-', not at the ends" });
        }
        let key = (id, name);
        if self.vips.leases.contains_key(&key) {
            return Ok(());
        }
        let (count, limit) = (self.vips.of(&key.0).count() + 1, limits::VIPS_PER_FRAMEWORK_MAX);
        if count > limit {
            return Err(Rejected::TooMany { what: "VIPs of one framework", count, limit });
        }
        let spread = format!("{}/{}", self.frameworks[&key.0].record.info.name, key.1);
        let Some(address) = lease::address(&self.pool.vip_range, &spread, &self.vips.taken) else {
            return Err(Rejected::NoVip { range: self.pool.vip_range.clone() });
        };
        self.vips.taken.insert(address);
        self.vips.leases.insert(key.clone(), address);
        self.dirty.vips.insert(key.clone());
        self.outbox.persist(Record::Vip { framework_id: key.0, name: key.1, address });
        Ok(())
    }

    /// Its framework ended.
    pub(crate) fn free_vips(&mut self, framework_id: &FrameworkId) {
        let keys: Vec<_> = self.vips.of(framework_id).cloned().collect();
        if keys.is_empty() {
            return;
        }
        for key in keys {
            if let Some(address) = self.vips.leases.remove(&key) {
                self.vips.taken.remove(&address);
            }
        }
        self.outbox.persist(Record::DropVips(framework_id.clone()));
    }
}
