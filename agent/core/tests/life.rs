//! An agent's life, event by event: what comes out, in what order, and what a restart makes of it.
use std::collections::{BTreeMap, BTreeSet};

use agent_core::{
    Agent, AgentConfig, Checkpoint, Command, Decision, End, EndCause, Event, PodId, Report, ReportKind, invariants,
};
use model::link::{FrameworkRef, FromAgent, ToAgent};
use model::task::{Pod, Task};
use model::{
    AgentId, ExecutorId, FrameworkId, Milli, Principal, Quantities, Reason, Resources, RoleName, Span, TaskHead,
    TaskId, TaskState, TaskStatus, Timestamp,
};

/// A core, a disk that is always fast, and a master that listens.
struct Rig {
    agent: Agent,
    disk: Checkpoint,
    now: Timestamp,
    out: Vec<Command>,
    sent: Vec<TaskStatus>,
}

fn config() -> AgentConfig {
    AgentConfig {
        name: "a".to_owned(),
        address: "10.0.0.1".to_owned(),
        port: 5051,
        resources: Quantities {
            cpus: Milli::units(4),
            mem: Milli::units(4096),
            disk: Milli::units(1000),
            ..Quantities::default()
        }
        .into(),
        attributes: BTreeMap::new(),
        region: String::new(),
        zone: String::new(),
        boot_id: "b".to_owned(),
        software: "0".to_owned(),
    }
}

impl Rig {
    fn start(disk: Checkpoint, now: Timestamp) -> Self {
        let agent = Agent::new(config(), disk.clone(), 1, now).expect("it starts");
        let mut rig = Self { agent, disk, now, out: Vec::new(), sent: Vec::new() };
        rig.step(Event::Tick);
        rig
    }
    fn registered() -> Self {
        let mut rig = Self::start(Checkpoint::default(), Timestamp(1000));
        rig.register();
        rig
    }
    fn register(&mut self) {
        self.step(Event::LinkUp);
        self.hear(ToAgent::Registered {
            agent_id: id(),
            pod_subnet: "10.9.1.0/24".to_owned(),
            pod_range: "10.9.0.0/16".to_owned(),
            ping_timeout: Span::seconds(3600),
        });
    }
    fn hear(&mut self, message: ToAgent) {
        self.step(Event::Master { epoch: 3, message });
    }
    /// One event, and the disk's answers to it.
    fn step(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut out = Vec::new();
            self.agent.step(self.now, event, &mut out);
            invariants::check(&self.agent).expect("invariants hold");
            for command in out {
                #[allow(clippy::wildcard_enum_match_arm)] // the rest is the shell's business
                match &command {
                    Command::Checkpoint { batch, writes } => {
                        writes.iter().for_each(|write| self.disk.apply(write));
                        events.push(Event::Checkpointed { batch: *batch });
                    }
                    Command::Send(FromAgent::Update { status, .. }) => self.sent.push(status.clone()),
                    _ => self.out.push(command),
                }
            }
        }
    }
    fn take(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.out)
    }
    fn launch(&mut self, executor: &str, tasks: &[(&str, i64)]) {
        self.hear(ToAgent::Launch { framework: framework(), pod: pod(executor, tasks), privileged_allowed: false });
    }
    fn acknowledge(&mut self, status: &TaskStatus) {
        let uuid = status.uuid.expect("it wants to be acknowledged");
        self.hear(ToAgent::Acknowledge { framework_id: framework().id, task_id: status.task_id.clone(), uuid });
    }
    fn acknowledge_all(&mut self) -> Vec<(String, TaskState)> {
        let mut seen = Vec::new();
        while !self.sent.is_empty() {
            for status in std::mem::take(&mut self.sent) {
                seen.push((status.task_id.to_string(), status.state));
                self.acknowledge(&status);
            }
        }
        seen
    }
    fn run(&mut self, pod_id: &PodId, tasks: &[&str]) {
        self.step(Event::Prepared { pod_id: pod_id.clone(), failure: None });
        self.step(Event::ExecutorAttached { pod_id: pod_id.clone() });
        for (number, task) in (1..).zip(tasks) {
            self.report(pod_id, number, task, ReportKind::Started { pid: 7 });
        }
    }
    fn report(&mut self, pod_id: &PodId, number: u64, task: &str, kind: ReportKind) {
        let report = Report { number, task_id: TaskId::new(task).expect("valid"), at: self.now, kind };
        self.step(Event::Report { pod_id: pod_id.clone(), report });
    }
}

fn id() -> AgentId {
    AgentId::new("m-S1").expect("valid")
}
fn framework() -> FrameworkRef {
    FrameworkRef {
        id: FrameworkId::new("m-1").expect("valid"),
        name: "f".to_owned(),
        role: RoleName::new("r").expect("valid"),
        principal: Principal::new("framework/f"),
    }
}
fn pod(executor: &str, tasks: &[(&str, i64)]) -> Pod {
    let task = |(name, cpus): &(&str, i64)| Task {
        head: TaskHead {
            task_id: TaskId::new(name).expect("valid"),
            name: (*name).to_owned(),
            agent_id: id(),
            resources: Resources::from(Quantities { cpus: Milli::units(*cpus), ..Quantities::default() }),
            discovery: None,
            kill_grace: None,
            secrets: vec![],
            privileged: *name == "privileged",
            cleans_up: name.starts_with("tidy"),
            limits: Default::default(),
        },
        payload: [1, 2].into(),
    };
    Pod {
        executor_id: ExecutorId::new(executor).expect("valid"),
        executor: [].into(),
        executor_resources: Resources::default(),
        tasks: tasks.iter().map(task).collect(),
    }
}
fn ended(code: i32, on_request: bool) -> ReportKind {
    ReportKind::Ended {
        end: End::Exit(code),
        oom_kills: 0,
        killed_on_request: on_request,
        why: String::new(),
        cause: EndCause::Other,
    }
}
fn pod_id() -> PodId {
    PodId::from_name("0-e")
}

#[test]
fn a_pod_ends_with_its_first_container_and_is_forgotten_when_acknowledged() {
    let mut rig = Rig::registered();
    rig.launch("e", &[("a", 1), ("b", 1)]);
    rig.run(&pod_id(), &["a", "b"]);
    assert_eq!(rig.acknowledge_all().len(), 4);
    rig.take();
    rig.report(&pod_id(), 3, "a", ended(1, false));
    let reason = "its pod ended with task a".to_owned();
    let b = TaskId::new("b").expect("valid");
    let kill = Command::Kill { pod_id: pod_id(), task_id: b, grace: None, reason };
    assert_eq!(rig.take(), [Command::ReportSeen { pod_id: pod_id(), number: 3 }, kill]);
    rig.report(&pod_id(), 4, "b", ended(0, true));
    assert_eq!(
        rig.take(),
        [Command::ReportSeen { pod_id: pod_id(), number: 4 }, Command::Destroy { pod_id: pod_id() }]
    );
    rig.step(Event::PodDestroyed { pod_id: pod_id() });
    assert_eq!(rig.acknowledge_all(), [("a".to_owned(), TaskState::Failed), ("b".to_owned(), TaskState::Killed)]);
    assert_eq!(rig.agent.tasks().count(), 0);
}

#[test]
fn a_pod_with_something_to_undo_has_ended_when_that_is_done() {
    let mut rig = Rig::registered();
    rig.launch("e", &[("tidy", 1), ("b", 1)]);
    rig.run(&pod_id(), &["tidy", "b"]);
    rig.acknowledge_all();
    rig.report(&pod_id(), 3, "tidy", ended(1, false));
    rig.report(&pod_id(), 4, "b", ended(0, true));
    assert_eq!(rig.take().last(), Some(&Command::Destroy { pod_id: pod_id() }));
    assert_eq!(rig.acknowledge_all(), [], "its ports are not free yet");
    // The order to stop what ended, and a new life of the agent, change nothing.
    rig.hear(ToAgent::Kill { framework_id: framework().id, task_id: TaskId::new("tidy").expect("valid"), grace: None });
    let mut rig = Rig::start(rig.disk, rig.now);
    rig.register();
    assert!(rig.take().contains(&Command::Attach { pod_id: pod_id() }));
    rig.step(Event::ExecutorGone { pod_id: pod_id(), why: "it exited".to_owned() });
    assert_eq!(rig.take(), [Command::Destroy { pod_id: pod_id() }]);
    assert_eq!(rig.acknowledge_all(), []);
    rig.step(Event::PodDestroyed { pod_id: pod_id() });
    assert_eq!(rig.acknowledge_all(), [("tidy".to_owned(), TaskState::Failed), ("b".to_owned(), TaskState::Killed)]);
}

#[test]
fn nothing_acts_before_the_disk_has_it() {
    let mut rig = Rig::registered();
    let launch = ToAgent::Launch { framework: framework(), pod: pod("e", &[("a", 1)]), privileged_allowed: false };
    let mut out = Vec::new();
    rig.agent.step(rig.now, Event::Master { epoch: 3, message: launch }, &mut out);
    let [Command::Note(Decision::Admitted { .. }), Command::Checkpoint { batch, .. }] = &out[..] else {
        panic!("{out:?}")
    };
    let batch = *batch;
    let mut out = Vec::new();
    rig.agent.step(rig.now, Event::Checkpointed { batch }, &mut out);
    let [Command::Send(FromAgent::Update { status, .. }), Command::Prepare { .. }] = &out[..] else {
        panic!("{out:?}")
    };
    assert_eq!(status.state, TaskState::Starting);
}

#[test]
fn what_does_not_fit_or_is_not_granted_is_refused_in_words() {
    for (tasks, state, reason, words) in [
        (vec![("a", 5)], TaskState::Dropped, Reason::InvalidOffers, "this agent lacks cpus 1 unreserved"),
        (vec![("privileged", 1)], TaskState::Error, Reason::TaskUnauthorized, "asks for privileges"),
        (vec![("a", 1), ("a", 1)], TaskState::Error, Reason::TaskGroupInvalid, "task a occurs twice"),
    ] {
        let mut rig = Rig::registered();
        rig.launch("e", &tasks);
        let [update] = &rig.sent[..] else { panic!("{:?}", rig.sent) };
        assert_eq!((update.state, update.reason), (state, Some(reason)));
        assert!(update.message.contains(words), "{}", update.message);
        assert!(!rig.out.iter().any(|command| matches!(command, Command::Prepare { .. })));
    }
}

#[test]
fn every_refusal_of_a_launch_has_its_code_and_its_tasks_end_without_having_run() {
    let elsewhere = |mut pod: Pod| {
        pod.tasks[0].head.agent_id = AgentId::new("m-S9").expect("valid");
        pod
    };
    let large = |mut pod: Pod| {
        pod.tasks[0].payload = vec![0; agent_core::limits::POD_PAYLOAD_BYTES_MAX + 1].into();
        pod
    };
    let many: Vec<String> = (0..65).map(|n| format!("n{n}")).collect();
    let many: Vec<(&str, i64)> = many.iter().map(|name| (name.as_str(), 0)).collect();
    for (code, words, refused) in [
        ("AGT0010", "meant for agent m-S9", elsewhere(pod("n", &[("n", 1)]))),
        ("AGT0011", "this one has 65", pod("n", &many)),
        ("AGT0011", "this one has 0", pod("n", &[])),
        ("AGT0012", "task n occurs twice", pod("n", &[("n", 1), ("n", 1)])),
        ("AGT0013", "4194305 bytes", large(pod("n", &[("n", 1)]))),
        ("AGT0014", "asks for privileges", pod("n", &[("privileged", 1)])),
        ("AGT0015", "lacks cpus 2 unreserved", pod("n", &[("n", 5)])),
        ("AGT0017", "executor id e is another pod's", pod("e", &[("n", 1)])),
    ] {
        let mut rig = Rig::registered();
        rig.launch("e", &[("a", 1)]);
        rig.run(&pod_id(), &["a"]);
        rig.acknowledge_all();
        rig.take();
        let tasks: Vec<_> = rig.agent.tasks().collect();
        let names: Vec<String> = refused.tasks.iter().map(|task| task.head.task_id.to_string()).collect();
        rig.hear(ToAgent::Launch { framework: framework(), pod: refused, privileged_allowed: false });
        let Some(Command::Note(Decision::LaunchRefused { refusal, .. })) = rig.out.first() else {
            panic!("{code}: {:?}", rig.out)
        };
        assert_eq!(refusal.code, code, "{refusal}");
        assert!(refusal.message.contains(words) && !refusal.next_step.is_empty(), "{code}: {refusal}");
        assert_eq!(rig.out.len(), 1, "nothing else is done: {:?}", rig.out);
        let ended = rig.acknowledge_all();
        let told: BTreeSet<&String> = ended.iter().map(|(name, _)| name).collect();
        assert_eq!(told, names.iter().collect(), "{code}: every task is told of");
        assert!(ended.iter().all(|(_, state)| state.is_terminal()), "{code}: {ended:?}");
        assert_eq!(rig.agent.tasks().collect::<Vec<_>>(), tasks, "{code}");
    }
}

#[test]
fn an_agent_runs_only_so_many_pods() {
    let mut rig = Rig::registered();
    for n in 0..agent_core::limits::PODS_MAX {
        rig.launch(&format!("e{n}"), &[(&format!("t{n}"), 0)]);
    }
    rig.take();
    rig.launch("one-more", &[("one-more", 0)]);
    let Some(Command::Note(Decision::LaunchRefused { refusal, .. })) = rig.out.first() else { panic!("{:?}", rig.out) };
    assert_eq!(refusal.code, "AGT0016", "{refusal}");
    assert!(!rig.out.iter().any(|command| matches!(command, Command::Prepare { .. })));
}

#[test]
fn an_agent_with_less_than_is_reserved_on_it_does_not_start() {
    let mut disk = Checkpoint::default();
    let role = RoleName::new("r").expect("valid");
    let reservation = model::Reservation::new(role, Principal::new("framework/f"), BTreeMap::new());
    let holding = model::Holding { reservation, volume: None };
    let quantities = Quantities { disk: Milli::units(1001), ..Quantities::default() };
    disk.agent.holdings = Resources::held_as(holding, quantities);
    let refusal = Agent::new(config(), disk, 1, Timestamp(1000)).expect_err("it has 1000 MiB");
    assert_eq!(refusal.code, "AGT0001");
    assert!(refusal.message.contains("lack disk 1 MiB"), "{refusal}");
}

#[test]
fn a_repeated_launch_and_a_stale_epoch_change_nothing() {
    let mut rig = Rig::registered();
    rig.launch("e", &[("a", 1)]);
    rig.take();
    rig.launch("e", &[("a", 1)]);
    assert_eq!(rig.take(), [Command::Note(Decision::LaunchRepeated { pod_id: pod_id() })]);
    let kill = ToAgent::Kill { framework_id: framework().id, task_id: TaskId::new("a").expect("valid"), grace: None };
    rig.step(Event::Master { epoch: 2, message: kill });
    assert_eq!(rig.take(), [Command::Note(Decision::StaleEpoch { epoch: 2, seen: 3 }), Command::CloseLink]);
}

#[test]
fn an_executor_id_in_other_company_is_an_error_and_touches_no_task_that_runs() {
    let mut rig = Rig::registered();
    rig.launch("e", &[("a", 1)]);
    rig.run(&pod_id(), &["a"]);
    rig.acknowledge_all();
    rig.launch("e", &[("a", 1), ("b", 1)]);
    assert_eq!(rig.acknowledge_all(), [("b".to_owned(), TaskState::Error)]);
    rig.launch("e", &[("c", 1)]);
    assert_eq!(rig.acknowledge_all(), [("c".to_owned(), TaskState::Error)]);
    rig.take();
    rig.launch("e", &[("a", 1)]);
    assert_eq!(rig.take(), [Command::Note(Decision::LaunchRepeated { pod_id: pod_id() })]);
    let running: Vec<_> = rig.agent.tasks().map(|task| (task.head.name, task.latest.state)).collect();
    assert_eq!(running, [("a".to_owned(), TaskState::Running)]);
}

#[test]
fn an_update_is_repeated_until_acknowledged_and_the_next_one_waits() {
    let mut rig = Rig::registered();
    rig.launch("e", &[("a", 1)]);
    rig.run(&pod_id(), &["a"]);
    let first = rig.sent.clone();
    assert_eq!(first.len(), 1, "Running waits for Starting");
    for pause in [10, 20, 40] {
        rig.now = rig.now + Span::seconds(pause);
        rig.step(Event::Tick);
    }
    assert_eq!(rig.sent.len(), 4);
    assert!(rig.sent.iter().all(|status| status == &first[0]));
    rig.sent.clear();
    rig.acknowledge(&first[0]);
    assert_eq!(rig.sent[0].state, TaskState::Running);
    rig.acknowledge(&first[0]);
    assert_eq!(rig.sent.len(), 1, "an old receipt is no receipt");
}

#[test]
fn a_kill_before_the_start_removes_the_pod_unstarted() {
    let mut rig = Rig::registered();
    rig.launch("e", &[("a", 1)]);
    let kill =
        || ToAgent::Kill { framework_id: framework().id, task_id: TaskId::new("a").expect("valid"), grace: None };
    rig.hear(kill());
    assert!(rig.take().ends_with(&[Command::Destroy { pod_id: pod_id() }]));
    // A preparation that ends all the same starts nothing.
    rig.step(Event::Prepared { pod_id: pod_id(), failure: None });
    assert_eq!(rig.take(), []);
    rig.step(Event::PodDestroyed { pod_id: pod_id() });
    assert_eq!(rig.acknowledge_all().last(), Some(&("a".to_owned(), TaskState::Killed)));
}

#[test]
fn a_new_agent_finds_what_the_old_one_left() {
    let mut rig = Rig::registered();
    rig.launch("e", &[("a", 1)]);
    rig.launch("f", &[("b", 1)]);
    rig.run(&pod_id(), &["a"]);
    let (disk, now) = (rig.disk.clone(), rig.now);
    let mut rig = Rig::start(disk, now);
    let found = rig.take();
    assert!(found.contains(&Command::Attach { pod_id: pod_id() }), "{found:?}");
    assert!(
        found.iter().any(|command| matches!(command, Command::Prepare { launch } if launch.pod_id.as_str() == "1-f"))
    );
    rig.register();
    rig.step(Event::ExecutorAttached { pod_id: pod_id() });
    // The executor repeats what it does not know to be seen.
    rig.report(&pod_id(), 1, "a", ReportKind::Started { pid: 7 });
    rig.report(&pod_id(), 2, "a", ended(0, false));
    rig.step(Event::PodDestroyed { pod_id: pod_id() });
    let seen: Vec<_> =
        rig.acknowledge_all().into_iter().filter(|(task, _)| task == "a").map(|(_, state)| state).collect();
    assert_eq!(seen, [TaskState::Starting, TaskState::Running, TaskState::Finished]);
}

#[test]
fn a_lost_executor_fails_its_tasks_only_when_nothing_of_them_is_left() {
    let mut rig = Rig::registered();
    rig.launch("e", &[("a", 1)]);
    rig.run(&pod_id(), &["a"]);
    rig.acknowledge_all();
    rig.step(Event::ExecutorGone { pod_id: pod_id(), why: "killed".to_owned() });
    assert_eq!(rig.sent, [], "its container may still run");
    rig.step(Event::PodDestroyed { pod_id: pod_id() });
    let [update] = &rig.sent[..] else { panic!("{:?}", rig.sent) };
    assert_eq!((update.state, update.reason), (TaskState::Failed, Some(Reason::ExecutorTerminated)));
}

#[test]
fn what_was_on_its_way_to_an_executor_is_said_again_on_the_next_connection() {
    let mut rig = Rig::registered();
    rig.launch("e", &[("a", 1)]);
    rig.run(&pod_id(), &["a"]);
    let kill = ToAgent::Kill { framework_id: framework().id, task_id: TaskId::new("a").expect("valid"), grace: None };
    rig.hear(kill);
    let first: Vec<_> = rig.take().into_iter().filter(|command| matches!(command, Command::Kill { .. })).collect();
    assert_eq!(first.len(), 1);
    rig.step(Event::ExecutorAttached { pod_id: pod_id() });
    let again = rig.take();
    assert_eq!(again, [vec![Command::ReportSeen { pod_id: pod_id(), number: 1 }], first].concat());
}

#[test]
fn a_shut_down_framework_is_killed_and_said_once() {
    let mut rig = Rig::registered();
    rig.launch("e", &[("a", 1)]);
    rig.run(&pod_id(), &["a"]);
    rig.sent.clear();
    rig.hear(ToAgent::ShutdownFramework { framework_id: framework().id });
    assert!(rig.take().iter().any(|command| matches!(command, Command::Kill { .. })));
    rig.report(&pod_id(), 2, "a", ended(0, true));
    let [update] = &rig.sent[..] else { panic!("{:?}", rig.sent) };
    assert_eq!((update.state, update.uuid), (TaskState::Killed, None));
    rig.step(Event::PodDestroyed { pod_id: pod_id() });
    assert_eq!(rig.agent.tasks().count(), 0);
}

/// Nobody waits for its pod any more.
fn with_an_ended_pod() -> Rig {
    let mut rig = Rig::registered();
    rig.launch("e", &[("a", 1)]);
    rig.run(&pod_id(), &["a"]);
    rig.report(&pod_id(), 2, "a", ended(0, false));
    rig.step(Event::PodDestroyed { pod_id: pod_id() });
    rig.acknowledge_all();
    rig.take();
    rig
}

#[test]
fn sandboxes_are_kept_for_a_day_and_then_forgotten() {
    let mut rig = with_an_ended_pod();
    rig.now = rig.now + Span::seconds(24 * 3600);
    rig.step(Event::Tick);
    assert!(rig.take().contains(&Command::RemoveSandbox { pod_id: pod_id() }));
    assert_eq!(rig.disk.pods.len(), 0);
}

#[test]
fn the_fuller_the_disk_the_sooner_sandboxes_go() {
    for (used_permille, hours, kept) in [(0, 23, true), (500, 10, true), (500, 11, false), (900, 0, false)] {
        let mut rig = with_an_ended_pod();
        rig.now = rig.now + Span::seconds(hours * 3600 + 1);
        rig.step(Event::Disk { used_permille });
        let removed = rig.take().contains(&Command::RemoveSandbox { pod_id: pod_id() });
        assert_eq!(removed, !kept, "{used_permille} permille after {hours} hours");
    }
}

#[test]
fn a_registration_says_nothing_that_is_not_on_the_disk() {
    let mut rig = Rig::registered();
    rig.launch("e", &[("a", 1)]);
    rig.run(&pod_id(), &["a"]);
    rig.acknowledge_all();
    rig.take();
    // From now on the disk is slow.
    let mut slow = |event| {
        let mut out = Vec::new();
        rig.agent.step(rig.now, event, &mut out);
        invariants::check(&rig.agent).expect("invariants hold");
        out
    };
    let task_id = TaskId::new("a").expect("valid");
    let report = Report { number: 2, task_id, at: Timestamp(2000), kind: ended(1, false) };
    let out = slow(Event::Report { pod_id: pod_id(), report });
    let batch = out
        .iter()
        .find_map(|command| if let Command::Checkpoint { batch, .. } = command { Some(*batch) } else { None });
    let registrations = |out: &[Command]| {
        let states = out.iter().filter_map(|command| {
            let Command::Send(FromAgent::Register(said)) = command else { return None };
            Some(said.tasks.iter().map(|task| task.latest.state).collect())
        });
        states.collect::<Vec<Vec<TaskState>>>()
    };
    for _ in 0..2 {
        let mut out = slow(Event::LinkDown { why: "broken".to_owned() });
        out.extend(slow(Event::LinkUp));
        assert_eq!(registrations(&out), Vec::<Vec<TaskState>>::new(), "the end of the task may be taken back");
    }
    let out = slow(Event::Checkpointed { batch: batch.expect("an end is written down") });
    assert_eq!(registrations(&out), [[TaskState::Failed]], "once, for the session that there is");
}

#[test]
fn a_master_that_pings_has_heard_the_registration_and_is_waited_for() {
    let mut rig = Rig::start(Checkpoint::default(), Timestamp(1000));
    rig.step(Event::LinkUp);
    let begin = rig.now;
    // Its disk takes half a minute; a master that says nothing is given up after fifteen seconds.
    for number in 1..60 {
        rig.now = begin + Span::millis(500 * number);
        rig.hear(ToAgent::Ping { number });
        rig.step(Event::Tick);
    }
    assert!(!rig.take().contains(&Command::CloseLink), "it is there");
    rig.now = rig.now + Span::seconds(16);
    rig.step(Event::Tick);
    assert!(rig.take().contains(&Command::CloseLink), "now it is not");
}

#[test]
fn a_registration_is_small_whatever_the_payloads_are() {
    let mut rig = Rig::registered();
    for number in 0..5 {
        let mut pod = pod(&format!("e{number}"), &[(&format!("t{number}"), 1)]);
        pod.tasks[0].payload = vec![7; 4 << 20].into();
        rig.hear(ToAgent::Launch { framework: framework(), pod, privileged_allowed: false });
    }
    rig.take();
    rig.step(Event::LinkDown { why: "broken".to_owned() });
    rig.step(Event::LinkUp);
    let said = rig
        .take()
        .into_iter()
        .find_map(|command| if let Command::Send(FromAgent::Register(said)) = command { Some(said) } else { None });
    let said = said.expect("it registers");
    assert_eq!(said.tasks.len(), 5, "all of them, and what the master keeps of each");
    assert!(format!("{said:?}").len() < 64 << 10);
}
