//! What the registry's bytes mean: the core's records and the shell's own, each with its format version.

use std::collections::BTreeMap;
use std::path::Path;

use master_core::registry::VIP_RANGE;
use master_core::{
    AgentMode, AgentRecord, Drain, FrameworkRecord, OperationRecord, Pool, Quota, Record, RegistrySnapshot,
};
use model::call::{Call, Unavailability};
use model::{AgentId, FrameworkId, Milli, OperationId, Principal, RoleName, Span, Timestamp, UpdateId};
use prost::Message;
use proto::convert;
use proto::mesos::v1 as mesos;
use proto::mezzo::v1 as wire;

use super::{FORMAT, Registry, RegistryError, Table, Write};

const POOL_KEY: &[u8] = b"pool";
const PRIVILEGES_KEY: &[u8] = b"principals";

/// Key of an entry of a framework's state.
pub(crate) fn state_key(framework_id: &FrameworkId, key: &str) -> Vec<u8> {
    let mut out = state_prefix(framework_id);
    out.extend_from_slice(key.as_bytes());
    out
}

/// Beginning of the keys of a framework's state.
pub(crate) fn state_prefix(framework_id: &FrameworkId) -> Vec<u8> {
    let mut out = framework_id.as_str().as_bytes().to_vec();
    out.push(0);
    out
}

/// Two texts as one key; neither may hold a zero byte.
pub(crate) fn pair_key(first: &str, second: &str) -> Vec<u8> {
    [first.as_bytes(), &[0], second.as_bytes()].concat()
}

pub(crate) fn put_pool(pool: &Pool) -> Write {
    let record = wire::PoolRecord {
        version: FORMAT,
        master_id: pool.master_id.clone(),
        epoch: pool.epoch,
        pod_range: pool.pod_range.clone(),
        pod_prefix_length: pool.pod_prefix_length.into(),
        name: pool.name.clone(),
        vip_range: pool.vip_range.clone(),
    };
    put(Table::Pool, POOL_KEY.to_vec(), &record)
}

/// Any record of the shell's own.
pub(crate) fn put(table: Table, key: Vec<u8>, record: &impl Message) -> Write {
    Write::Put { table, key, value: record.encode_to_vec() }
}

/// A change of the core's, as changes of bytes.
pub(crate) fn write(record: &Record) -> Write {
    match record {
        Record::Agent(agent) => {
            let holdings = wire::SetHoldings {
                generation: agent.holdings_generation,
                holdings: convert::resources::to_wire(&agent.holdings),
            };
            let orphans = wire::SetHoldings { generation: 0, holdings: convert::resources::to_wire(&agent.orphans) };
            let record = wire::AgentRecord {
                version: FORMAT,
                agent_id: agent.id.to_string(),
                name: agent.name.clone(),
                address: agent.address.clone(),
                pod_subnet: agent.pod_subnet.clone(),
                gone: agent.gone,
                holdings_generation: agent.holdings_generation,
                unreachable_since_unix_ms: agent.unreachable_since.map_or(0, millis),
                mode: Some(mode_to_wire(agent.mode)),
                maintenance: agent.maintenance.map(|window| wire::Maintenance {
                    start_unix_ms: millis(window.start),
                    duration_ms: window.duration.map_or(0, |span| i64::try_from(span.0).unwrap_or(i64::MAX)),
                }),
                operations: agent.operations.iter().map(operation_to_wire).collect(),
                orphans: orphans.encode_to_vec().into(),
                holdings: holdings.encode_to_vec().into(),
            };
            put(Table::Agents, agent.id.as_str().into(), &record)
        }
        Record::Framework(framework) => {
            // The information is kept as the framework edge says it: it must outlive changes of the model.
            let subscribe = Call::Subscribe {
                info: framework.info.clone(),
                suppressed: Default::default(),
                constraints: Default::default(),
            };
            let info = convert::call::to_wire(&subscribe, None)
                .ok()
                .and_then(|call| call.subscribe)
                .map(|subscribe| subscribe.framework_info.encode_to_vec())
                .expect("a subscription holds no payload that could be malformed");
            let record = wire::FrameworkRecord {
                version: FORMAT,
                framework_id: framework.id.to_string(),
                info: info.into(),
                torn_down: framework.torn_down,
                name: framework.info.name.clone(),
                principal: framework.info.principal.to_string(),
            };
            put(Table::Frameworks, framework.id.as_str().into(), &record)
        }
        Record::ForgetAgent(id) => Write::Delete { table: Table::Agents, key: id.as_str().into() },
        Record::ForgetFramework(id) => Write::Delete { table: Table::Frameworks, key: id.as_str().into() },
        Record::State { framework_id, key, value: Some(value) } => {
            let record = wire::StateRecord { version: FORMAT, value: value.clone().into() };
            put(Table::State, state_key(framework_id, key), &record)
        }
        Record::State { framework_id, key, value: None } => {
            Write::Delete { table: Table::State, key: state_key(framework_id, key) }
        }
        Record::DropState(id) => Write::DeletePrefix { table: Table::State, prefix: state_prefix(id) },
        Record::Weight { role, weight_milli } => {
            let weight_milli = i64::try_from(*weight_milli).unwrap_or(i64::MAX);
            let record = wire::WeightRecord { version: FORMAT, role: role.to_string(), weight_milli };
            put(Table::Weights, role.as_str().into(), &record)
        }
        Record::Quota { role, quota } if quota.is_empty() => {
            Write::Delete { table: Table::Quotas, key: role.as_str().into() }
        }
        Record::Quota { role, quota } => {
            let amounts = |amounts: &BTreeMap<String, Milli>| {
                amounts.iter().map(|(name, amount)| (name.clone(), amount.0)).collect()
            };
            let record = wire::QuotaRecord {
                version: FORMAT,
                role: role.to_string(),
                guarantees_milli: amounts(&quota.guarantees),
                limits_milli: amounts(&quota.limits),
            };
            put(Table::Quotas, role.as_str().into(), &record)
        }
        Record::Vip { framework_id, name, address } => {
            let record = wire::VipRecord {
                version: FORMAT,
                framework_id: framework_id.to_string(),
                name: name.clone(),
                address: (*address).into(),
            };
            put(Table::Vips, state_key(framework_id, name), &record)
        }
        Record::DropVips(id) => Write::DeletePrefix { table: Table::Vips, prefix: state_prefix(id) },
        Record::Privileged(principals) => {
            let record = wire::PrivilegesRecord { version: FORMAT, principals: principals.iter().cloned().collect() };
            put(Table::Privileges, PRIVILEGES_KEY.to_vec(), &record)
        }
    }
}

/// A record of the registry, with its version checked.
pub(crate) trait Versioned: Message + Default {
    fn version(&self) -> u32;
}

macro_rules! versioned {
    ($($record:ident),*) => {$(
        impl Versioned for wire::$record {
            fn version(&self) -> u32 {
                self.version
            }
        }
    )*};
}
versioned!(
    PoolRecord,
    AgentRecord,
    FrameworkRecord,
    StateRecord,
    WeightRecord,
    QuotaRecord,
    PrivilegesRecord,
    VipRecord,
    JoinTokenRecord,
    InstallationRecord,
    DigestRecord
);

/// Reads bytes as a record.
pub(crate) fn read<R: Versioned>(table: Table, key: &[u8], bytes: &[u8]) -> Result<R, RegistryError> {
    let record = R::decode(bytes).map_err(|error| corrupt(table, key, error))?;
    match record.version() {
        FORMAT => Ok(record),
        0 => Err(corrupt(table, key, "it has no format version")),
        found => Err(RegistryError::Newer { table: table.name(), key: printable(key), found }),
    }
}

/// Every record of a table.
pub(crate) fn read_all<R: Versioned>(
    registry: &dyn Registry,
    table: Table,
) -> Result<Vec<(Vec<u8>, R)>, RegistryError> {
    let entries = registry.scan(table, b"")?;
    entries.into_iter().map(|(key, bytes)| read(table, &key, &bytes).map(|record| (key, record))).collect()
}

/// The pool, if there is one.
pub(crate) fn read_pool(registry: &dyn Registry) -> Result<Option<Pool>, RegistryError> {
    let Some(bytes) = registry.get(Table::Pool, POOL_KEY)? else { return Ok(None) };
    let record: wire::PoolRecord = read(Table::Pool, POOL_KEY, &bytes)?;
    let pod_prefix_length = u8::try_from(record.pod_prefix_length)
        .map_err(|_| corrupt(Table::Pool, POOL_KEY, "the prefix length is no prefix length"))?;
    Ok(Some(Pool {
        master_id: record.master_id,
        name: record.name,
        epoch: record.epoch,
        pod_range: record.pod_range,
        pod_prefix_length,
        // Pools made before there were virtual addresses say nothing.
        vip_range: if record.vip_range.is_empty() { VIP_RANGE.to_owned() } else { record.vip_range },
    }))
}

/// Everything the core starts with.
pub(crate) fn snapshot(registry: &dyn Registry, state_dir: &Path) -> Result<RegistrySnapshot, RegistryError> {
    let pool = read_pool(registry)?.ok_or_else(|| RegistryError::NoPool { path: state_dir.to_owned() })?;
    let mut snapshot = RegistrySnapshot::empty(pool);
    for (key, record) in read_all::<wire::AgentRecord>(registry, Table::Agents)? {
        let agent = agent(&record).map_err(|problem| corrupt(Table::Agents, &key, problem))?;
        snapshot.agents.insert(agent.id.clone(), agent);
    }
    for (key, record) in read_all::<wire::FrameworkRecord>(registry, Table::Frameworks)? {
        let framework = framework(&record).map_err(|problem| corrupt(Table::Frameworks, &key, problem))?;
        snapshot.frameworks.insert(framework.id.clone(), framework);
    }
    for (key, record) in read_all::<wire::WeightRecord>(registry, Table::Weights)? {
        let role = RoleName::new(&record.role).map_err(|problem| corrupt(Table::Weights, &key, problem))?;
        snapshot.weights.insert(role, u64::try_from(record.weight_milli).unwrap_or_default());
    }
    for (key, record) in read_all::<wire::QuotaRecord>(registry, Table::Quotas)? {
        let role = RoleName::new(&record.role).map_err(|problem| corrupt(Table::Quotas, &key, problem))?;
        let amounts = |amounts: std::collections::HashMap<String, i64>| {
            amounts.into_iter().map(|(name, amount)| (name, Milli(amount))).collect()
        };
        let quota = Quota { guarantees: amounts(record.guarantees_milli), limits: amounts(record.limits_milli) };
        snapshot.quotas.insert(role, quota);
    }
    for (_, record) in read_all::<wire::PrivilegesRecord>(registry, Table::Privileges)? {
        snapshot.privileged.extend(record.principals);
    }
    for (key, record) in read_all::<wire::VipRecord>(registry, Table::Vips)? {
        let id = FrameworkId::new(&record.framework_id).map_err(|problem| corrupt(Table::Vips, &key, problem))?;
        snapshot.vips.insert((id, record.name), record.address.into());
    }
    for (key, record) in read_all::<wire::StateRecord>(registry, Table::State)? {
        let (id, name) = split_state_key(&key)?;
        let size = u64::try_from(record.value.len()).expect("a length fits 64 bits");
        snapshot.state_sizes.entry(id).or_default().insert(name, size);
    }
    Ok(snapshot)
}

/// The state of a framework, as it is sent to it.
pub(crate) fn state(
    registry: &dyn Registry,
    framework_id: &FrameworkId,
) -> Result<Vec<wire::StateWrite>, RegistryError> {
    let entries = registry.scan(Table::State, &state_prefix(framework_id))?;
    let mut out = Vec::with_capacity(entries.len());
    for (key, bytes) in entries {
        let record: wire::StateRecord = read(Table::State, &key, &bytes)?;
        out.push(wire::StateWrite { key: split_state_key(&key)?.1, value: Some(record.value) });
    }
    Ok(out)
}

fn split_state_key(key: &[u8]) -> Result<(FrameworkId, String), RegistryError> {
    let text = std::str::from_utf8(key).map_err(|problem| corrupt(Table::State, key, problem))?;
    let (id, name) = text.split_once('\0').ok_or_else(|| corrupt(Table::State, key, "the key has one part"))?;
    let id = FrameworkId::new(id).map_err(|problem| corrupt(Table::State, key, problem))?;
    Ok((id, name.to_owned()))
}

fn agent(record: &wire::AgentRecord) -> Result<AgentRecord, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let holdings = wire::SetHoldings::decode(record.holdings.as_ref()).map_err(|error| text(&error))?;
    let orphans = wire::SetHoldings::decode(record.orphans.as_ref()).map_err(|error| text(&error))?;
    Ok(AgentRecord {
        id: AgentId::new(&record.agent_id).map_err(|error| text(&error))?,
        name: record.name.clone(),
        address: record.address.clone(),
        pod_subnet: record.pod_subnet.clone(),
        gone: record.gone,
        unreachable_since: u64::try_from(record.unreachable_since_unix_ms).ok().filter(|at| *at > 0).map(Timestamp),
        holdings_generation: record.holdings_generation,
        holdings: convert::resources::from_wire(&holdings.holdings).map_err(|error| text(&error))?,
        mode: mode(record.mode.unwrap_or_default()),
        maintenance: record.maintenance.map(maintenance),
        operations: record.operations.iter().map(operation).collect::<Result<_, _>>()?,
        orphans: convert::resources::from_wire(&orphans.holdings).map_err(|error| text(&error))?,
    })
}

fn operation_to_wire(operation: &OperationRecord) -> wire::OperationRecord {
    wire::OperationRecord {
        framework_id: operation.framework_id.to_string(),
        operation_id: operation.id.to_string(),
        uuid: operation.uuid.0.to_be_bytes().to_vec().into(),
        state: convert::event::operation_state_to_wire(operation.state),
        message: operation.message.clone(),
        generation: operation.generation,
    }
}

fn operation(record: &wire::OperationRecord) -> Result<OperationRecord, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let uuid: [u8; 16] = record.uuid.as_ref().try_into().map_err(|_| "the uuid has not 16 bytes".to_owned())?;
    Ok(OperationRecord {
        framework_id: FrameworkId::new(&record.framework_id).map_err(|error| text(&error))?,
        id: OperationId::new(&record.operation_id).map_err(|error| text(&error))?,
        uuid: UpdateId(u128::from_be_bytes(uuid)),
        state: convert::event::operation_state_from_wire(record.state, "state").map_err(|error| text(&error))?,
        message: record.message.clone(),
        generation: record.generation,
    })
}

fn maintenance(record: wire::Maintenance) -> Unavailability {
    let millis = |millis: i64| u64::try_from(millis).unwrap_or_default();
    Unavailability {
        start: Timestamp(millis(record.start_unix_ms)),
        duration: Some(millis(record.duration_ms)).filter(|duration| *duration > 0).map(Span),
    }
}

fn mode(record: wire::AgentMode) -> AgentMode {
    use wire::agent_mode::Kind;
    let at = |millis: i64| Timestamp(u64::try_from(millis).unwrap_or_default());
    match record.kind() {
        Kind::Active => AgentMode::Active,
        Kind::Deactivated => AgentMode::Deactivated,
        Kind::Draining => AgentMode::Draining(Drain {
            since: at(record.since_unix_ms),
            deadline: at(record.deadline_unix_ms),
            mark_gone: record.mark_gone,
        }),
        Kind::Drained => AgentMode::Drained { since: at(record.since_unix_ms) },
    }
}

fn mode_to_wire(mode: AgentMode) -> wire::AgentMode {
    use wire::agent_mode::Kind;
    let of = |kind: Kind| wire::AgentMode { kind: kind.into(), ..wire::AgentMode::default() };
    match mode {
        AgentMode::Active => of(Kind::Active),
        AgentMode::Deactivated => of(Kind::Deactivated),
        AgentMode::Draining(drain) => wire::AgentMode {
            since_unix_ms: millis(drain.since),
            deadline_unix_ms: millis(drain.deadline),
            mark_gone: drain.mark_gone,
            ..of(Kind::Draining)
        },
        AgentMode::Drained { since } => wire::AgentMode { since_unix_ms: millis(since), ..of(Kind::Drained) },
    }
}

fn framework(record: &wire::FrameworkRecord) -> Result<FrameworkRecord, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let info = mesos::FrameworkInfo::decode(record.info.as_ref()).map_err(|error| text(&error))?;
    let call = mesos::scheduler::Call {
        r#type: Some(mesos::scheduler::call::Type::Subscribe.into()),
        framework_id: info.id.clone(),
        subscribe: Some(mesos::scheduler::call::Subscribe {
            framework_info: info,
            suppressed_roles: Vec::new(),
            offer_constraints: None,
        }),
        ..mesos::scheduler::Call::default()
    };
    let principal = Principal::new(&record.principal);
    let call = convert::call::from_wire(&call, &principal).map_err(|error| text(&error))?;
    let Call::Subscribe { info, .. } = call else {
        return Err(format!("it is no subscription but {call:?}"));
    };
    let id = FrameworkId::new(&record.framework_id).map_err(|error| text(&error))?;
    Ok(FrameworkRecord { id, info, torn_down: record.torn_down })
}

fn corrupt(table: Table, key: &[u8], problem: impl std::fmt::Display) -> RegistryError {
    RegistryError::Record { table: table.name(), key: printable(key), problem: problem.to_string() }
}

fn printable(key: &[u8]) -> String {
    String::from_utf8_lossy(key).replace('\0', "/")
}

/// A time as records and messages carry it.
pub(crate) fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use model::call::{Capability, FrameworkInfo};
    use model::{Holding, Quantities, Reservation, Resources, Span};

    use super::*;
    use crate::registry::RedbRegistry;

    fn pool() -> Pool {
        Pool {
            master_id: "m".to_owned(),
            name: "test".to_owned(),
            epoch: 3,
            pod_range: "10.100.0.0/14".to_owned(),
            pod_prefix_length: 24,
            vip_range: VIP_RANGE.to_owned(),
        }
    }

    fn records() -> Vec<Record> {
        let role = RoleName::new("team/web").expect("valid");
        let reservation = Reservation::new(role.clone(), Principal::new("framework/web"), BTreeMap::new());
        let quantities = Quantities { cpus: Milli(1500), ..Quantities::default() };
        let id = FrameworkId::new("m-1").expect("valid");
        let quota = Quota {
            guarantees: [("cpus".to_owned(), Milli(1500))].into(),
            limits: [("cpus".to_owned(), Milli(4000)), ("gpus".to_owned(), Milli(0))].into(),
        };
        vec![
            Record::Agent(AgentRecord {
                id: AgentId::new("m-S1").expect("valid"),
                name: "a".to_owned(),
                address: "10.0.0.1".to_owned(),
                pod_subnet: "10.100.1.0/24".to_owned(),
                gone: false,
                unreachable_since: Some(Timestamp(17)),
                holdings_generation: 4,
                holdings: Resources::held_as(
                    Holding { reservation: reservation.clone(), volume: None },
                    quantities.clone(),
                ),
                mode: AgentMode::Draining(Drain { since: Timestamp(5), deadline: Timestamp(9), mark_gone: true }),
                maintenance: Some(Unavailability { start: Timestamp(90), duration: Some(Span(7)) }),
                operations: vec![OperationRecord {
                    framework_id: id.clone(),
                    id: OperationId::new("o").expect("valid"),
                    uuid: UpdateId(7),
                    state: model::OperationState::Failed,
                    message: "why".to_owned(),
                    generation: 4,
                }],
                orphans: Resources::held_as(Holding { reservation, volume: None }, quantities),
            }),
            Record::Framework(FrameworkRecord {
                id: id.clone(),
                info: FrameworkInfo {
                    id: Some(id.clone()),
                    name: "web".to_owned(),
                    roles: BTreeSet::from([role.clone()]),
                    failover_timeout: Span::seconds(60),
                    api_url: Some("https://10.0.0.1:20000".to_owned()),
                    principal: Principal::new("framework/web"),
                    capabilities: [Capability::RegionAware].into(),
                    offer_filters: [(role.clone(), vec![Quantities { cpus: Milli(100), ..Quantities::default() }])]
                        .into(),
                },
                torn_down: false,
            }),
            Record::Agent(AgentRecord {
                id: AgentId::new("m-S2").expect("valid"),
                name: "b".to_owned(),
                address: "10.0.0.2".to_owned(),
                pod_subnet: "10.100.2.0/24".to_owned(),
                gone: true,
                unreachable_since: Some(Timestamp(18)),
                holdings_generation: 0,
                holdings: Resources::default(),
                mode: AgentMode::Active,
                maintenance: None,
                operations: Vec::new(),
                orphans: Resources::default(),
            }),
            Record::ForgetAgent(AgentId::new("m-S2").expect("valid")),
            Record::State { framework_id: id.clone(), key: "secret/a".to_owned(), value: Some(vec![1, 2]) },
            Record::State { framework_id: id.clone(), key: "plan".to_owned(), value: Some(vec![0; 9]) },
            Record::Vip { framework_id: id, name: "api".to_owned(), address: [198, 18, 3, 4].into() },
            Record::Privileged(["framework/web".to_owned()].into()),
            Record::Quota { role: RoleName::new("cleared").expect("valid"), quota: quota.clone() },
            Record::Quota { role: RoleName::new("cleared").expect("valid"), quota: Quota::default() },
            Record::Quota { role: role.clone(), quota },
            Record::Weight { role, weight_milli: 2500 },
        ]
    }

    #[tokio::test]
    async fn disk_and_core_agree_on_what_records_mean() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let registry = RedbRegistry::open(&dir.path().join("r")).expect("opened");
        let mut expected = RegistrySnapshot::empty(pool());
        let mut writes = vec![put_pool(&pool())];
        for record in records() {
            expected.apply(&record);
            writes.push(write(&record));
        }
        registry.commit(writes).await.expect("committed");
        assert_eq!(snapshot(&registry, dir.path()).expect("read"), expected);

        let id = FrameworkId::new("m-1").expect("valid");
        let entries = state(&registry, &id).expect("read");
        assert_eq!(entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["plan", "secret/a"]);
        registry.commit(vec![write(&Record::DropState(id.clone()))]).await.expect("committed");
        assert!(state(&registry, &id).expect("read").is_empty());
    }

    #[tokio::test]
    async fn a_record_of_a_newer_version_stops_the_master() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let registry = RedbRegistry::open(&dir.path().join("r")).expect("opened");
        let newer = wire::WeightRecord { version: FORMAT + 1, ..wire::WeightRecord::default() };
        registry
            .commit(vec![put_pool(&pool()), put(Table::Weights, b"web".to_vec(), &newer)])
            .await
            .expect("committed");
        let error = snapshot(&registry, dir.path()).expect_err("refused");
        assert!(matches!(error, RegistryError::Newer { found: 2, .. }), "{error}");
    }

    #[test]
    fn an_empty_directory_is_no_pool() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let registry = RedbRegistry::open(&dir.path().join("r")).expect("opened");
        assert!(matches!(snapshot(&registry, dir.path()), Err(RegistryError::NoPool { .. })));
    }
}
