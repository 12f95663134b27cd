//! Doors for `tests/fuzz` to what this crate reads and keeps private; nothing else goes through them.
use std::collections::BTreeMap;
use std::path::Path;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use master_core::{Pool, Record, RegistrySnapshot};
use proto::mezzo::v1 as wire;

pub use crate::api::fuzzing::*;
use crate::artifacts::Digest;
use crate::registry::record;
use crate::registry::{Entry, Registry, RegistryError, Table, Write};

/// A registry in memory.
#[derive(Default)]
struct Memory(BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>);

impl Memory {
    fn apply(&mut self, write: Write) {
        match write {
            Write::Put { table, key, value } => {
                self.0.entry(table.name()).or_default().insert(key, value);
            }
            Write::Delete { table, key } => {
                self.0.entry(table.name()).or_default().remove(&key);
            }
            Write::DeletePrefix { table, prefix } => {
                self.0.entry(table.name()).or_default().retain(|key, _| !key.starts_with(&prefix));
            }
        }
    }
}

impl Registry for Memory {
    fn commit(&self, _: Vec<Write>) -> BoxFuture<'static, Result<(), RegistryError>> {
        async { Err(RegistryError::Closed) }.boxed()
    }
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, RegistryError> {
        Ok(self.0.get(table.name()).and_then(|entries| entries.get(key)).cloned())
    }
    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, RegistryError> {
        let entries = self.0.get(table.name()).into_iter().flatten().filter(|(key, _)| key.starts_with(prefix));
        Ok(entries.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

fn pool() -> Pool {
    Pool {
        master_id: "m".to_owned(),
        name: "fuzz".to_owned(),
        epoch: 1,
        pod_range: "10.100.0.0/14".to_owned(),
        pod_prefix_length: 24,
        vip_range: master_core::registry::VIP_RANGE.to_owned(),
    }
}

/// How many tables there are.
pub const TABLES: usize = Table::ALL.len();

/// Entries of the registry that a core's record makes: the table's number, key and value.
pub fn entries(record: &Record) -> Vec<(usize, Vec<u8>, Vec<u8>)> {
    match record::write(record) {
        Write::Put { table, key, value } => {
            let number = Table::ALL.iter().position(|other| *other == table).expect("every table is in the list");
            vec![(number, key, value)]
        }
        Write::Delete { .. } | Write::DeletePrefix { .. } => Vec::new(),
    }
}

/// Starts a master from a registry with a pool and this entry in a table, and once more from what it would then write.
///
/// # Errors
/// Why the registry is refused.
pub fn registry(table: usize, key: &[u8], value: &[u8]) -> Result<(RegistrySnapshot, RegistrySnapshot), RegistryError> {
    let table = Table::ALL[table % TABLES];
    let mut memory = Memory::default();
    memory.apply(record::put_pool(&pool()));
    memory.apply(Write::Put { table, key: key.to_vec(), value: value.to_vec() });
    match table {
        Table::Tokens => {
            record::read::<wire::JoinTokenRecord>(table, key, value)?;
        }
        Table::Installations => {
            record::read::<wire::InstallationRecord>(table, key, value)?;
        }
        Table::ArtifactNames | Table::ImageTags => {
            // A digest that is none is refused where it is used.
            let _ = Digest::parse(&record::read::<wire::DigestRecord>(table, key, value)?.digest);
        }
        Table::Pool
        | Table::Agents
        | Table::Frameworks
        | Table::State
        | Table::Weights
        | Table::Quotas
        | Table::Privileges
        | Table::Vips => {}
    }
    let first = record::snapshot(&memory, Path::new("/nowhere"))?;
    let mut again = Memory::default();
    again.apply(record::put_pool(&first.pool));
    let records = first.agents.values().cloned().map(Record::Agent);
    let records = records.chain(first.frameworks.values().cloned().map(Record::Framework));
    let records = records
        .chain(first.weights.iter().map(|(role, weight)| Record::Weight { role: role.clone(), weight_milli: *weight }));
    let records = records
        .chain(first.quotas.iter().map(|(role, quota)| Record::Quota { role: role.clone(), quota: quota.clone() }));
    let records = records.chain(first.vips.iter().map(|((id, name), address)| Record::Vip {
        framework_id: id.clone(),
        name: name.clone(),
        address: *address,
    }));
    let privileged = (!first.privileged.is_empty()).then(|| Record::Privileged(first.privileged.clone()));
    for record in records.chain(privileged) {
        again.apply(record::write(&record));
    }
    let second = record::snapshot(&again, Path::new("/nowhere"))?;
    Ok((first, second))
}
