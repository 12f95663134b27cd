//! What an operator and the host may change between two lives of an agent, and what is given away for a time.
use std::collections::BTreeMap;

use agent_core::{
    Agent, AgentConfig, Checkpoint, Command, End, EndCause, Event, PodId, Report, ReportKind, invariants,
};
use model::link::{FrameworkRef, FromAgent, ToAgent};
use model::task::{Pod, Task};
use model::{
    AgentId, ExecutorId, FrameworkId, Holding, Milli, Principal, Quantities, Reason, Reservation, Resources, RoleName,
    Span, TaskHead, TaskId, TaskState, Timestamp, Volume, VolumeId,
};

fn amount(cpus: i64) -> Resources {
    Quantities { cpus: Milli::units(cpus), disk: Milli::units(100), ..Quantities::default() }.into()
}
fn config(cpus: i64, rack: &str, boot_id: &str) -> AgentConfig {
    AgentConfig {
        name: "a".to_owned(),
        address: "10.0.0.1".to_owned(),
        port: 5051,
        resources: amount(cpus),
        attributes: BTreeMap::from([("rack".to_owned(), rack.to_owned())]),
        region: String::new(),
        zone: String::new(),
        boot_id: boot_id.to_owned(),
        software: "0".to_owned(),
    }
}
fn reservation() -> Reservation {
    Reservation::new(RoleName::new("r").expect("valid"), Principal::new("framework/f"), BTreeMap::new())
}
fn cpus(cpus: i64) -> Quantities {
    Quantities { cpus: Milli::units(cpus), ..Quantities::default() }
}

/// An agent with a disk that is always fast.
struct Rig {
    agent: Agent,
    disk: Checkpoint,
    out: Vec<Command>,
}

impl Rig {
    fn start(config: AgentConfig, disk: Checkpoint) -> Result<Self, String> {
        let agent = Agent::new(config, disk.clone(), 1, Timestamp(1000)).map_err(|refusal| refusal.code.clone())?;
        let mut rig = Self { agent, disk, out: Vec::new() };
        rig.step(Event::Tick);
        rig.step(Event::LinkUp);
        rig.hear(ToAgent::Registered {
            agent_id: AgentId::new("m-S1").expect("valid"),
            pod_subnet: "10.9.1.0/24".to_owned(),
            pod_range: "10.9.0.0/16".to_owned(),
            ping_timeout: Span::seconds(3600),
        });
        Ok(rig)
    }
    fn hear(&mut self, message: ToAgent) {
        self.step(Event::Master { epoch: 3, message });
    }
    fn step(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut out = Vec::new();
            self.agent.step(Timestamp(1000), event, &mut out);
            invariants::check(&self.agent).expect("invariants hold");
            for command in out {
                if let Command::Checkpoint { batch, writes } = &command {
                    writes.iter().for_each(|write| self.disk.apply(write));
                    events.push(Event::Checkpointed { batch: *batch });
                } else {
                    self.out.push(command);
                }
            }
        }
    }
    fn launch(&mut self, name: &str, resources: Resources) -> PodId {
        let task_id = TaskId::new(name).expect("valid");
        let head = TaskHead {
            task_id,
            name: name.to_owned(),
            agent_id: AgentId::new("m-S1").expect("valid"),
            resources,
            discovery: None,
            kill_grace: None,
            secrets: vec![],
            privileged: false,
            cleans_up: false,
            limits: Default::default(),
        };
        let framework = FrameworkRef {
            id: FrameworkId::new("m-1").expect("valid"),
            name: "f".to_owned(),
            role: RoleName::new("r").expect("valid"),
            principal: Principal::new("framework/f"),
        };
        let pod = Pod {
            executor_id: ExecutorId::new(format!("e-{name}")).expect("valid"),
            executor: [].into(),
            executor_resources: Resources::default(),
            tasks: vec![Task { head, payload: [].into() }],
        };
        self.hear(ToAgent::Launch { framework, pod, privileged_allowed: false });
        let pod_id = self.agent.pods().last().expect("launched").0.clone();
        self.step(Event::Prepared { pod_id: pod_id.clone(), failure: None });
        self.step(Event::ExecutorAttached { pod_id: pod_id.clone() });
        let task_id = TaskId::new(name).expect("valid");
        let report = Report { number: 1, task_id, at: Timestamp(1000), kind: ReportKind::Started { pid: 7 } };
        self.step(Event::Report { pod_id: pod_id.clone(), report });
        pod_id
    }
    fn latest(&self) -> Vec<(TaskState, Option<Reason>)> {
        self.agent.tasks().map(|task| (task.latest.state, task.latest.reason)).collect()
    }
    fn reserve(&mut self) {
        let holdings = Resources::held_as(Holding::plain(reservation()), cpus(1));
        self.hear(ToAgent::SetHoldings { generation: 1, holdings });
    }
}

#[test]
fn more_is_welcome_and_less_is_refused_where_something_relies_on_it() {
    let mut rig = Rig::start(config(4, "1", "b"), Checkpoint::default()).expect("it starts");
    assert!(Rig::start(config(2, "2", "b"), rig.disk.clone()).is_ok(), "nothing relies on it yet");
    rig.reserve();
    let refused = |config| Rig::start(config, rig.disk.clone()).map(|_| ()).expect_err("refused");
    assert_eq!(refused(config(3, "1", "b")), "AGT0018");
    assert_eq!(refused(config(4, "2", "b")), "AGT0019");
    let mut more = config(8, "1", "b");
    more.attributes.insert("new".to_owned(), "1".to_owned());
    let more = Rig::start(more, rig.disk.clone()).expect("more is welcome");
    assert_eq!(more.agent.total().to_string(), "cpus 7; disk 100 MiB + cpus 1 for r");
    assert_eq!(Rig::start(config(4, "1", "b"), more.disk).map(|_| ()).expect_err("promised by now"), "AGT0018");
}

#[test]
fn a_host_that_was_started_anew_has_lost_its_tasks_and_kept_what_is_reserved() {
    let mut rig = Rig::start(config(4, "1", "b"), Checkpoint::default()).expect("it starts");
    rig.reserve();
    let pod_id = rig.launch("t", cpus(1).into());
    let same = Rig::start(config(4, "1", "b"), rig.disk.clone()).expect("it starts");
    assert!(same.out.contains(&Command::Attach { pod_id: pod_id.clone() }), "its executor lives on");
    let mut anew = Rig::start(config(4, "1", "another"), rig.disk.clone()).expect("it starts");
    assert!(!anew.out.contains(&Command::Attach { pod_id: pod_id.clone() }), "nobody is there to answer");
    assert!(anew.out.contains(&Command::Destroy { pod_id: pod_id.clone() }), "what it left is removed");
    anew.step(Event::PodDestroyed { pod_id });
    assert_eq!(anew.latest(), [(TaskState::Gone, Some(Reason::AgentRestarted))]);
    assert!(anew.agent.total().contains(&Resources::held_as(Holding::plain(reservation()), cpus(1))));
}

#[test]
fn what_may_be_taken_back_ends_when_it_is_needed_the_youngest_first() {
    let mut rig = Rig::start(config(4, "1", "b"), Checkpoint::default()).expect("it starts");
    rig.step(Event::Estimated { revocable: cpus(2) });
    assert!(rig.out.contains(&Command::Send(FromAgent::Revocable(cpus(2)))), "the master offers it");
    let revocable = Resources { revocable: cpus(1), ..Resources::default() };
    rig.launch("firm", cpus(4).into());
    rig.launch("old", revocable.clone());
    let young = rig.launch("young", revocable.clone());
    rig.launch("too-much", revocable);
    for _ in 0..2 {
        rig.step(Event::Pressed { why: "memory is short".to_owned() });
    }
    let mut killed: Vec<&PodId> = rig
        .out
        .iter()
        .filter_map(|command| if let Command::Kill { pod_id, .. } = command { Some(pod_id) } else { None })
        .collect();
    killed.dedup();
    assert_eq!(killed, [&young], "one at a time, and nothing that was promised");
    let end = ReportKind::Ended {
        end: End::Signal(15),
        oom_kills: 0,
        killed_on_request: true,
        why: String::new(),
        cause: EndCause::Other,
    };
    let report = Report { number: 2, task_id: TaskId::new("young").expect("valid"), at: Timestamp(1000), kind: end };
    rig.step(Event::Report { pod_id: young, report });
    assert!(rig.latest().contains(&(TaskState::Gone, Some(Reason::ContainerPreempted))), "{:?}", rig.latest());
}

#[test]
fn what_is_estimated_while_it_registers_is_told_when_it_has() {
    let agent = Agent::new(config(4, "1", "b"), Checkpoint::default(), 1, Timestamp(1000)).expect("it starts");
    let mut rig = Rig { agent, disk: Checkpoint::default(), out: Vec::new() };
    rig.step(Event::Tick);
    rig.step(Event::LinkUp);
    rig.step(Event::Estimated { revocable: cpus(2) });
    let told = Command::Send(FromAgent::Revocable(cpus(2)));
    assert!(!rig.out.contains(&told), "the master does not know it yet");
    rig.hear(ToAgent::Registered {
        agent_id: AgentId::new("m-S1").expect("valid"),
        pod_subnet: "10.9.1.0/24".to_owned(),
        pod_range: "10.9.0.0/16".to_owned(),
        ping_timeout: Span::seconds(3600),
    });
    assert!(rig.out.contains(&told), "{:?}", rig.out);
}

#[test]
fn several_pods_have_a_shared_volume_and_one_an_own_one() {
    let mut rig = Rig::start(config(4, "1", "b"), Checkpoint::default()).expect("it starts");
    let volume = |id: &str, shared| {
        let volume = Volume { id: VolumeId::new(id).expect("valid"), container_path: "data".to_owned(), shared };
        let holding = Holding { volume: Some(volume), ..Holding::plain(reservation()) };
        Resources::held_as(holding, Quantities::of_disk(None, Milli::units(10)))
    };
    let mut holdings = volume("s", true);
    holdings.add(&volume("o", false));
    rig.hear(ToAgent::SetHoldings { generation: 1, holdings });
    for name in ["a", "b"] {
        rig.launch(name, volume("s", true));
    }
    assert_eq!(rig.latest(), [(TaskState::Running, None); 2]);
    rig.launch("c", volume("o", false));
    rig.launch("d", volume("o", false));
    assert_eq!(rig.latest().last(), Some(&(TaskState::Dropped, Some(Reason::InvalidOffers))));
}
