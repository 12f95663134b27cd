//! Messages.
use std::collections::{BTreeMap, BTreeSet};

use master_core::{AgentMode, AgentRecord, FrameworkRecord, OperationRecord, Quota, Record};
use model::call::{
    Call, Capability, Filter, FrameworkInfo, InverseOffer, Offer, Operation, SchedulerEvent, Unavailability,
};
use model::link::{AgentRegistration, AgentTask, FrameworkRef, FromAgent, Peer, ToAgent};
use model::{
    AgentId, ExecutorId, FrameworkId, Holding, Milli, OfferId, OperationId, OperationState, OperationStatus, Principal,
    Quantities, Reason, Refusal, Reservation, Resources, RoleName, Source, Span, TaskId, TaskState, TaskStatus,
    Timestamp, UpdateId, Volume, VolumeId,
};
use prost::Message as _;
use proto::convert;
use proto::mesos::v1 as mesos;
use proto::mezzo::v1 as wire;

use crate::parts;
use crate::targets::requests::MESSAGES;

fn id<T>(made: Result<T, model::id::InvalidId>) -> T {
    made.expect("a good id")
}
fn role() -> RoleName {
    RoleName::new("team/web").expect("a good role")
}
fn principal() -> Principal {
    Principal::new("framework/fuzz")
}

pub(super) fn some_resources() -> Resources {
    let mut free = Quantities {
        cpus: Milli(1500),
        mem: Milli::units(2048),
        disk: Milli::units(100),
        gpus: Milli::units(1),
        ports: [(20_000, 20_009), (31_000, 31_000)].into_iter().collect(),
        custom: [("fpga".to_owned(), Milli(500))].into(),
        ranges: [("vlans".to_owned(), [(1, 5)].into_iter().collect())].into(),
        sets: [("keys".to_owned(), ["a".to_owned(), "b".to_owned()].into())].into(),
        ..Quantities::default()
    };
    let disk = |text: &str, amount| Quantities::of_disk(text.parse().ok(), Milli::units(amount));
    free.add(&disk("path:/data", 10));
    free.add(&disk("mount:/mnt/a", 20));
    let mut all = Resources::from(free);
    all.revocable = Quantities { cpus: Milli(250), ..Quantities::default() };
    let labels = BTreeMap::from([("resource_id".to_owned(), "r1".to_owned())]);
    let fixed = Reservation::by_configuration(RoleName::new("team").expect("a good role"));
    let own = Reservation::new(role(), principal(), labels);
    let refined = Reservation::stack([fixed.clone(), own.clone()]).expect("two layers");
    let volume = Volume { shared: true, ..Volume::new(id(VolumeId::new("v1")), "data") };
    for (reservation, volume, amount) in
        [(fixed, None, disk("", 5)), (own, Some(volume), disk("", 7)), (refined, None, disk("path:/data", 3))]
    {
        all.add(&Resources::held_as(Holding { reservation, volume }, amount));
    }
    all
}

fn some_disk(volume: bool) -> Resources {
    let reservation = Reservation::new(role(), principal(), BTreeMap::new());
    let volume = volume.then(|| Volume::new(id(VolumeId::new("v2")), "data"));
    Resources::held_as(Holding { reservation, volume }, Quantities::of_disk(None, Milli::units(5)))
}

/// A task with everything that is looked at.
pub(super) fn some_task(name: &str) -> mesos::TaskInfo {
    use mesos::volume::source::Type as SourceType;
    let secret = mesos::Secret {
        r#type: Some(mesos::secret::Type::Reference.into()),
        reference: Some(mesos::secret::Reference { name: "secret/key".to_owned(), ..Default::default() }),
        ..Default::default()
    };
    let volume = |path: &str, source| mesos::Volume {
        container_path: path.to_owned(),
        mode: mesos::volume::Mode::Rw.into(),
        source: Some(source),
        ..Default::default()
    };
    let sandbox = mesos::volume::Source {
        r#type: Some(SourceType::SandboxPath.into()),
        sandbox_path: Some(mesos::volume::source::SandboxPath {
            r#type: Some(mesos::volume::source::sandbox_path::Type::Parent.into()),
            path: "shared/a".to_owned(),
        }),
        ..Default::default()
    };
    let of_secret =
        mesos::volume::Source { r#type: Some(SourceType::Secret.into()), secret: Some(secret), ..Default::default() };
    let port = mesos::Port {
        number: 20_001,
        name: Some("api".to_owned()),
        protocol: Some("tcp".to_owned()),
        labels: Some(convert::resources::labels_to_wire(&[("VIP".to_owned(), "api:443".to_owned())].into())),
        ..Default::default()
    };
    mesos::TaskInfo {
        name: name.to_owned(),
        task_id: mesos::TaskId { value: format!("{name}.1") },
        agent_id: mesos::AgentId { value: "a-1".to_owned() },
        resources: convert::resources::to_wire(&some_resources()),
        command: Some(mesos::CommandInfo {
            value: Some("/bin/web".to_owned()),
            arguments: vec!["web".to_owned(), "-v".to_owned()],
            shell: Some(false),
            user: Some("web".to_owned()),
            environment: Some(mesos::Environment {
                variables: vec![mesos::environment::Variable {
                    name: "A".to_owned(),
                    value: Some("b".to_owned()),
                    ..Default::default()
                }],
            }),
            ..Default::default()
        }),
        container: Some(mesos::ContainerInfo {
            volumes: vec![volume("/data", sandbox), volume("secrets", of_secret)],
            ..Default::default()
        }),
        discovery: Some(mesos::DiscoveryInfo {
            name: Some("web".to_owned()),
            ports: Some(mesos::Ports { ports: vec![port] }),
            ..Default::default()
        }),
        kill_policy: Some(mesos::KillPolicy { grace_period: Some(mesos::DurationInfo { nanoseconds: 5_000_000_000 }) }),
        limits: [("mem".to_owned(), mesos::value::Scalar { value: f64::INFINITY })].into(),
        labels: Some(convert::resources::labels_to_wire(&[("k".to_owned(), "v".to_owned())].into())),
        mezzo: Some(wire::TaskExtension {
            tmpfs: vec![wire::TmpfsMount { container_path: "/run".to_owned(), size_bytes: 65_536, mode: 0o755 }],
            readiness: Some(wire::Check { interval_ms: 100, ..Default::default() }),
            working_directory: "/srv".to_owned(),
            clean_up: vec!["/bin/clean".to_owned()],
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn some_executor() -> mesos::ExecutorInfo {
    mesos::ExecutorInfo {
        executor_id: mesos::ExecutorId { value: "pod.1".to_owned() },
        resources: convert::resources::to_wire(&Quantities { cpus: Milli(10), ..Quantities::default() }.into()),
        ..Default::default()
    }
}

fn some_status() -> TaskStatus {
    TaskStatus {
        task_id: id(TaskId::new("web.1")),
        state: TaskState::Running,
        reason: Some(Reason::Reconciliation),
        source: Source::Executor,
        message: "why".to_owned(),
        agent_id: Some(id(AgentId::new("a-1"))),
        executor_id: Some(id(ExecutorId::new("pod.1"))),
        uuid: Some(UpdateId(7)),
        healthy: Some(true),
        ready: Some(false),
        timestamp: Timestamp(1_700_000_000_123),
    }
}

fn some_info() -> FrameworkInfo {
    FrameworkInfo {
        id: Some(id(FrameworkId::new("f-1"))),
        name: "fuzz".to_owned(),
        roles: [role()].into(),
        failover_timeout: Span::seconds(60),
        api_url: Some("https://10.0.0.1:443".to_owned()),
        principal: principal(),
        capabilities: [Capability::GpuResources].into(),
        offer_filters: [(role(), vec![Quantities { cpus: Milli(100), ..Quantities::default() }])].into(),
    }
}

fn some_pod() -> model::task::Pod {
    let tasks = [some_task("web"), some_task("log")];
    convert::task::pod_from_wire(Some(&some_executor()), &tasks).expect("a good pod")
}

/// Calls of a framework.
pub fn calls() -> Vec<Vec<u8>> {
    let offers = || vec![id(OfferId::new("o-1")), id(OfferId::new("o-2"))];
    let agent = || Some(id(AgentId::new("a-1")));
    let single = convert::task::pod_from_wire(None, &[some_task("one")]).expect("a good pod");
    let operations = vec![
        Operation::Reserve(some_disk(false)),
        Operation::Create(some_disk(true)),
        Operation::Launch(some_pod()),
        Operation::Launch(single),
        Operation::Grow { volume: some_disk(true), addition: some_disk(false) },
        Operation::Identified {
            id: id(OperationId::new("op")),
            operation: Box::new(Operation::Shrink { volume: some_disk(true), subtract: Milli(1500) }),
        },
        Operation::Destroy(some_disk(true)),
        Operation::Unreserve(some_disk(false)),
    ];
    let mut calls = vec![
        Call::Subscribe { info: some_info(), suppressed: [role()].into(), constraints: Default::default() },
        Call::UpdateFramework { info: some_info(), suppressed: BTreeSet::new(), constraints: Default::default() },
        Call::Teardown,
        Call::Accept { offers: offers(), operations, filter: Filter { refuse: Span(1500) } },
        Call::Decline { offers: offers(), filter: Filter::default() },
        Call::Revive { roles: [role()].into() },
        Call::Suppress { roles: BTreeSet::new() },
        Call::Kill { task_id: id(TaskId::new("web.1")), agent_id: agent(), grace: Some(Span(1500)) },
        Call::Acknowledge { agent_id: id(AgentId::new("a-1")), task_id: id(TaskId::new("web.1")), uuid: UpdateId(9) },
        Call::AcknowledgeOperation { agent_id: agent(), operation_id: id(OperationId::new("op")), uuid: UpdateId(7) },
        Call::Reconcile { tasks: vec![(id(TaskId::new("web.1")), agent())] },
        Call::ReconcileOperations { operations: vec![(id(OperationId::new("op")), agent())] },
        Call::AcceptInverseOffers { offers: offers(), filter: None },
        Call::DeclineInverseOffers { offers: offers(), filter: Some(Filter { refuse: Span(1500) }) },
    ];
    let constrained = crate::targets::constraint::of(["node-[0-9]+", "a|b"].into_iter());
    let read = convert::call::from_wire(&constrained, &principal()).expect("good constraints");
    calls.push(read);
    let wrap = |call: &Call| wire::FrameworkCall {
        version: 1,
        sequence: 7,
        call: Some(convert::call::to_wire(call, None).expect("a good call")),
        writes: vec![wire::StateWrite { key: "sdk/meta".to_owned(), value: Some(b"{}".to_vec().into()) }],
        read_state: true,
    };
    calls.iter().map(|call| wrap(call).encode_to_vec()).collect()
}

/// Events of a master.
pub fn events() -> Vec<Vec<u8>> {
    let unavailability = Unavailability { start: Timestamp(1_700_000_000_000), duration: Some(Span::seconds(60)) };
    let offer = Offer {
        id: id(OfferId::new("o-1")),
        framework_id: id(FrameworkId::new("f-1")),
        role: role(),
        agent_id: id(AgentId::new("a-1")),
        agent_name: "node-1".to_owned(),
        address: "10.0.0.7".to_owned(),
        resources: some_resources(),
        attributes: [("rack".to_owned(), "r1".to_owned())].into(),
        region: "eu".to_owned(),
        zone: "a".to_owned(),
        pod_subnet: "10.100.1.0/24".to_owned(),
        unavailability: Some(unavailability),
    };
    let inverse = InverseOffer {
        id: id(OfferId::new("i-1")),
        framework_id: id(FrameworkId::new("f-1")),
        agent_id: id(AgentId::new("a-1")),
        unavailability,
        is_drain: true,
    };
    let operation = OperationStatus {
        operation_id: id(OperationId::new("op")),
        state: OperationState::Finished,
        message: String::new(),
        agent_id: Some(id(AgentId::new("a-1"))),
        uuid: Some(UpdateId(9)),
    };
    let events = [
        SchedulerEvent::Subscribed { framework_id: id(FrameworkId::new("f-1")) },
        SchedulerEvent::Offers(vec![offer.into()]),
        SchedulerEvent::Rescind(id(OfferId::new("o-1"))),
        SchedulerEvent::InverseOffers(vec![inverse]),
        SchedulerEvent::RescindInverseOffer(id(OfferId::new("i-1"))),
        SchedulerEvent::Update(some_status()),
        SchedulerEvent::OperationUpdate(operation),
        SchedulerEvent::Failure { agent_id: id(AgentId::new("a-1")), executor_id: Some(id(ExecutorId::new("pod.1"))) },
        SchedulerEvent::Error("why".to_owned()),
    ];
    let refusal = Refusal::new("MST0001", "no", "yes").at("call");
    let kinds = events.iter().map(|event| wire::framework_event::Kind::Event(convert::event::to_wire(event, None)));
    let result = wire::CallResult { sequence: 7, refusal: Some(convert::refusal_to_wire(&refusal)) };
    kinds
        .chain([wire::framework_event::Kind::Result(result)])
        .map(|kind| wire::FrameworkEvent { kind: Some(kind) }.encode_to_vec())
        .collect()
}

fn some_framework() -> FrameworkRef {
    FrameworkRef { id: id(FrameworkId::new("f-1")), name: "fuzz".to_owned(), role: role(), principal: principal() }
}

fn some_agent_task() -> AgentTask {
    let task = convert::task::task_from_info(&some_task("web")).expect("a good task");
    AgentTask {
        framework: some_framework(),
        executor_id: id(ExecutorId::new("pod.1")),
        executor_resources: Quantities { cpus: Milli(10), ..Quantities::default() }.into(),
        launched: Timestamp(1_700_000_000_000),
        head: task.head,
        latest: some_status(),
    }
}

/// What an agent says.
pub fn agent_messages() -> Vec<Vec<u8>> {
    let registration = AgentRegistration {
        agent_id: Some(id(AgentId::new("a-1"))),
        name: "node-1".to_owned(),
        address: "10.0.0.7".to_owned(),
        port: 5051,
        total: some_resources(),
        attributes: [("rack".to_owned(), "r1".to_owned())].into(),
        region: "eu".to_owned(),
        zone: "a".to_owned(),
        boot_id: "b".to_owned(),
        software: "0.1.0".to_owned(),
        epoch_seen: 3,
        tasks: vec![some_agent_task()],
    };
    let update = FromAgent::Update {
        framework_id: id(FrameworkId::new("f-1")),
        status: some_status(),
        latest_state: TaskState::Finished,
    };
    let messages = [
        FromAgent::Register(Box::new(registration)),
        update,
        FromAgent::Pong { number: 7 },
        FromAgent::Applied { generation: 9 },
        FromAgent::Revocable(Quantities { cpus: Milli(250), ..Quantities::default() }),
    ];
    messages.iter().map(|message| convert::link::from_agent_to_wire(message).encode_to_vec()).collect()
}

/// What a master says to an agent.
pub fn master_messages() -> Vec<Vec<u8>> {
    let peer = Peer {
        agent_id: id(AgentId::new("a-2")),
        address: "10.0.0.8".to_owned(),
        pod_subnet: "10.100.2.0/24".to_owned(),
    };
    let messages = [
        ToAgent::Registered {
            agent_id: id(AgentId::new("a-1")),
            pod_subnet: "10.100.1.0/24".to_owned(),
            pod_range: "10.100.0.0/14".to_owned(),
            ping_timeout: Span::seconds(15),
        },
        ToAgent::Refused(Refusal::new("MST0001", "no", "yes")),
        ToAgent::Launch { framework: some_framework(), pod: some_pod(), privileged_allowed: true },
        ToAgent::Kill {
            framework_id: id(FrameworkId::new("f-1")),
            task_id: id(TaskId::new("web.1")),
            grace: Some(Span(1500)),
        },
        ToAgent::Acknowledge {
            framework_id: id(FrameworkId::new("f-1")),
            task_id: id(TaskId::new("web.1")),
            uuid: UpdateId(9),
        },
        ToAgent::SetHoldings { generation: 3, holdings: some_resources().holdings() },
        ToAgent::Peers(vec![peer]),
        ToAgent::Ping { number: 7 },
        ToAgent::ShutdownFramework { framework_id: id(FrameworkId::new("f-1")) },
    ];
    messages.iter().map(|message| convert::link::to_agent_to_wire(message, 3).encode_to_vec()).collect()
}

/// A task and a status.
pub fn tasks() -> Vec<Vec<u8>> {
    let status = convert::task::status_to_wire(&some_status()).encode_to_vec();
    let window = convert::event::unavailability_to_wire(Unavailability {
        start: Timestamp(1_700_000_000_000),
        duration: Some(Span::seconds(60)),
    });
    vec![
        parts::join(&[some_task("web").encode_to_vec(), status]),
        parts::join(&[some_executor().encode_to_vec(), window.encode_to_vec()]),
        parts::join(&[Vec::new(), 2.5_f64.to_le_bytes().to_vec()]),
        parts::join(&[Vec::new(), vec![7; 16]]),
    ]
}

/// Resources.
pub fn resources() -> Vec<Vec<u8>> {
    let of = |resources: &Resources| {
        wire::SetHoldings { generation: 3, holdings: convert::resources::to_wire(resources) }.encode_to_vec()
    };
    let old = mesos::Resource {
        name: "cpus".to_owned(),
        scalar: Some(mesos::value::Scalar { value: 2.0 }),
        role: Some("team".to_owned()),
        reservation: Some(mesos::resource::ReservationInfo::default()),
        ..Default::default()
    };
    let old = wire::SetHoldings { generation: 1, holdings: vec![old] }.encode_to_vec();
    vec![of(&some_resources()), of(&some_disk(true)), of(&some_resources().holdings()), old]
}

/// Both ends of the executor link.
pub fn executor() -> Vec<Vec<u8>> {
    use wire::{from_executor, to_executor};
    let check = wire::Check {
        kind: Some(wire::check::Kind::Http(wire::HttpCheck { port: 80, path: "/".to_owned(), ..Default::default() })),
        delay_ms: 10,
        interval_ms: 20,
        timeout_ms: 30,
        consecutive_failures: 2,
        grace_ms: 5,
    };
    let container = |name: &str, policy: wire::restart::Policy| wire::ContainerSpec {
        task_id: format!("{name}.1"),
        name: name.to_owned(),
        bundle: "/bundle".to_owned(),
        kill_grace_ms: 1000,
        completion_ms_max: 5000,
        restart: Some(wire::Restart { policy: policy.into(), backoff_ms_min: 10, backoff_ms_max: 100 }),
        readiness: Some(check.clone()),
        health: Some(check.clone()),
        ..Default::default()
    };
    let start = wire::StartPod {
        pod_id: "1-pod".to_owned(),
        containers: vec![
            container("web", wire::restart::Policy::InPlace),
            container("log", wire::restart::Policy::GroupDies),
        ],
    };
    let report = wire::ContainerReport {
        number: 1,
        task_id: "web.1".to_owned(),
        kind: Some(wire::container_report::Kind::Started(wire::Started { pid: 7 })),
        at_unix_ms: 1,
    };
    let kill = wire::KillContainer { task_id: "web.1".to_owned(), grace_ms: 10, reason: "because".to_owned() };
    let to = [
        to_executor::Kind::Hello(wire::ExecutorHello { version: 1, pid: 7 }),
        to_executor::Kind::Start(start),
        to_executor::Kind::Kill(kill),
        to_executor::Kind::Seen(wire::ReportSeen { number: 7 }),
        to_executor::Kind::Exit(wire::Exit {}),
    ];
    let from = wire::FromExecutor { kind: Some(from_executor::Kind::Report(report)) }.encode_to_vec();
    let length = u32::try_from(from.len()).expect("a short message");
    let frame = [&length.to_be_bytes()[..], &from].concat();
    let one = |kind| {
        let to = wire::ToExecutor { kind: Some(kind) }.encode_to_vec();
        parts::join(&[to, from.clone(), frame.repeat(3)])
    };
    to.into_iter().map(one).collect()
}

/// Requests of operators, behind the number of their kind.
pub fn operator() -> Vec<Vec<u8>> {
    let holdings = |kind: wire::change_holdings_request::Kind| {
        let held = convert::resources::to_wire(&some_disk(true));
        let plain = convert::resources::to_wire(&some_disk(false));
        wire::ChangeHoldingsRequest {
            agent: "node-1".to_owned(),
            kind: kind.into(),
            resources: held,
            source: plain.clone(),
            addition: plain,
            subtract: 1.5,
        }
        .encode_to_vec()
    };
    use wire::change_holdings_request::Kind;
    let amounts = wire::Amounts { scalars: [("cpus".to_owned(), 2.5), ("mem".to_owned(), 1024.0)].into() };
    let quota = wire::RoleQuota { role: "team".to_owned(), guarantees: Some(amounts.clone()), limits: Some(amounts) };
    let quotas = wire::SetQuotasRequest { quotas: vec![quota], force: false }.encode_to_vec();
    let weight = wire::SetWeightRequest { role: "team/web".to_owned(), weight: 2.5 }.encode_to_vec();
    let identity = wire::IssueIdentityRequest {
        principal: "framework/demo".to_owned(),
        valid_seconds: 3600,
        dns_names: vec!["api.demo.mezzo".to_owned(), "localhost".to_owned()],
        addresses: vec!["10.0.0.1".to_owned()],
    };
    let watch = wire::WatchEventsRequest { kinds: vec!["agent".to_owned()] }.encode_to_vec();
    let mut all: Vec<(u8, Vec<u8>)> =
        [Kind::Reserve, Kind::Unreserve, Kind::Create, Kind::Destroy, Kind::Grow, Kind::Shrink]
            .into_iter()
            .map(|kind| (0, holdings(kind)))
            .collect();
    all.extend([(1, quotas), (2, weight), (3, identity.encode_to_vec()), (4, watch)]);
    all.push((4, b"kubernetes/node/manifests/1.20.2".to_vec()));
    all.push((4, format!("a/blobs/sha256:{}", "0".repeat(64)).into_bytes()));
    all.into_iter().map(|(kind, bytes)| parts::join(&[vec![kind], bytes])).collect()
}

/// Every message of every service: most are good, and empty.
pub fn requests() -> Vec<Vec<u8>> {
    let numbers = 0..u8::try_from(MESSAGES.len()).expect("fewer messages than a byte has values");
    let empty = numbers.clone().map(|number| parts::join(&[vec![number], Vec::new()]));
    // Text, flag and number in the first fields are a good message of many kinds.
    let some = numbers.map(|number| parts::join(&[vec![number], b"\x0a\x03abc\x12\x03def\x18\x01\x22\x01x".to_vec()]));
    empty.chain(some).collect()
}

/// Records of the registry.
pub fn registry() -> Vec<Vec<u8>> {
    let agent = AgentRecord {
        id: id(AgentId::new("a-1")),
        name: "node-1".to_owned(),
        address: "10.0.0.7".to_owned(),
        pod_subnet: "10.100.1.0/24".to_owned(),
        gone: false,
        unreachable_since: Some(Timestamp(7)),
        holdings_generation: 3,
        holdings: some_resources().holdings(),
        mode: AgentMode::Drained { since: Timestamp(7) },
        maintenance: Some(Unavailability { start: Timestamp(7), duration: Some(Span(9)) }),
        operations: vec![OperationRecord {
            framework_id: id(FrameworkId::new("f-1")),
            id: id(OperationId::new("op")),
            uuid: UpdateId(7),
            state: OperationState::Finished,
            message: "why".to_owned(),
            generation: 3,
        }],
        orphans: some_disk(true),
    };
    let amounts = || BTreeMap::from([("cpus".to_owned(), Milli(2500))]);
    let framework = id(FrameworkId::new("f-1"));
    let records = [
        Record::Agent(agent),
        Record::Framework(FrameworkRecord { id: framework.clone(), info: some_info(), torn_down: false }),
        Record::State { framework_id: framework.clone(), key: "sdk/meta".to_owned(), value: Some(b"{}".to_vec()) },
        Record::Weight { role: role(), weight_milli: 2500 },
        Record::Quota { role: role(), quota: Quota { guarantees: amounts(), limits: amounts() } },
        Record::Privileged(["framework/demo".to_owned()].into()),
        Record::Vip { framework_id: framework, name: "api".to_owned(), address: [198, 18, 0, 1].into() },
    ];
    let mut all: Vec<Vec<u8>> = Vec::new();
    for (table, key, value) in records.iter().flat_map(master::fuzzing::entries) {
        let table = u8::try_from(table).expect("few tables");
        all.push(parts::join(&[vec![table], key, value]));
    }
    let last = u8::try_from(master::fuzzing::TABLES).expect("few tables");
    let digest = wire::DigestRecord { version: 1, digest: format!("sha256:{}", "0".repeat(64)) };
    for table in last - 4..last {
        all.push(parts::join(&[vec![table], b"name".to_vec(), digest.encode_to_vec()]));
    }
    all
}
