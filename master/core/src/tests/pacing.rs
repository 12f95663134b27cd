//! What is told at the pace of who reads it, and what does not wait for a slow disk.
use std::collections::VecDeque;

use super::*;
use crate::limits;

/// So many wait in the queue of a session; one more ends it.
const QUEUE: usize = 4_096;
const AGENTS: u64 = 5;
const TASKS: usize = 20_000;

/// A session whose reader takes a few events at a time.
struct SlowReader {
    session: SessionId,
    queue: VecDeque<SchedulerEvent>,
    is_awaited: bool,
    heard: Vec<SchedulerEvent>,
}

impl SlowReader {
    fn new(session: SessionId) -> Self {
        Self { session, queue: VecDeque::new(), is_awaited: false, heard: Vec::new() }
    }
    /// One step of the master; what others hear of it.
    fn step(&mut self, world: &mut World, event: Event) -> Vec<Command> {
        let mut events = VecDeque::from([event]);
        let mut others = Vec::new();
        while let Some(event) = events.pop_front() {
            let mut out = Vec::new();
            world.master.step(world.now, event, &mut out);
            let mut told = 0;
            for command in out {
                match command {
                    Command::SendFramework { session, event } if session == self.session => {
                        told += 1;
                        self.queue.push_back(event);
                        assert!(self.queue.len() <= QUEUE, "the queue is full: the session would be closed");
                    }
                    Command::AwaitRoom { session } if session == self.session => self.is_awaited = true,
                    Command::Persist { batch, .. } => events.push_back(Event::Persisted { batch }),
                    other => others.push(other),
                }
            }
            assert!(told <= limits::ANSWERS_PER_TURN + 8, "{told} at once: others wait for that");
        }
        others
    }
    /// Reads a few; the shell looks for room.
    fn read(&mut self, world: &mut World) -> bool {
        self.heard.extend(self.queue.drain(..self.queue.len().min(100)));
        if self.is_awaited && self.queue.len() * 2 <= QUEUE {
            self.is_awaited = false;
            self.step(world, Event::FrameworkHasRoom { session: self.session });
        }
        !self.queue.is_empty()
    }
    fn updates(&self) -> Vec<(String, Option<UpdateId>)> {
        let update = |event: &SchedulerEvent| match event {
            SchedulerEvent::Update(status) => Some((status.task_id.to_string(), status.uuid)),
            _ => None,
        };
        self.heard.iter().filter_map(update).collect()
    }
}

/// Framework `f` is away; each of its tasks has an update that it has not acknowledged.
fn world_with_many_tasks() -> World {
    let mut world = World::new(patient());
    world.framework(F, "f", None, &["r"]);
    world.framework(G, "g", None, &["r"]);
    world.step(Event::FrameworkClosed { session: F });
    for agent in 1..=AGENTS {
        let of_agent = (0..TASKS).filter(|n| n % 5 == usize::try_from(agent).expect("small") - 1);
        let tasks = of_agent.map(|n| agent_task(1, &format!("t{n:05}"), agent, amount(0, 0), TaskState::Running));
        let said = registration(&format!("a{agent}"), None, amount(4, 1024), tasks.collect());
        world.agent(agent, said);
    }
    for n in 0..TASKS {
        let agent = u64::try_from(n % 5).expect("small") + 1;
        let status = status(&format!("t{n:05}"), TaskState::Running, u128::try_from(n).expect("small") + 1);
        let message = FromAgent::Update { framework_id: framework_id(1), latest_state: status.state, status };
        world.master.step(world.now, Event::AgentSaid { session: SessionId(agent), message }, &mut Vec::new());
    }
    world
}

/// Framework `f` begins a session.
fn reader(world: &mut World, session: SessionId) -> SlowReader {
    let mut reader = SlowReader::new(session);
    reader.step(world, Event::FrameworkOpened { session, principal: Principal::new("framework/f") });
    let (info, suppressed) = (info("f", Some(1), &["r"]), [role("r")].into());
    let call = Some(Call::Subscribe { info, suppressed, constraints: Default::default() });
    reader.step(world, Event::FrameworkCalled { session, sequence: 1, call, writes: vec![], read_state: false });
    reader
}

#[test]
fn a_slow_reader_hears_of_twenty_thousand_tasks_once_and_nobody_waits_for_it() {
    let mut world = world_with_many_tasks();
    let mut reader = reader(&mut world, F);
    let call = |session, sequence, call| Event::FrameworkCalled {
        session,
        sequence,
        call: Some(call),
        writes: vec![],
        read_state: false,
    };
    // As schedulers do: everything is asked for at once, twice to be sure. The second question is the first one again.
    for sequence in 2..4 {
        reader.step(&mut world, call(F, sequence, Call::Reconcile { tasks: vec![] }));
    }
    check(&world.master).expect("invariants hold");
    let mut rounds = 0;
    while reader.read(&mut world) {
        rounds += 1;
        // Somebody else's call is answered in its own step.
        let others = reader.step(&mut world, call(G, rounds, Call::Suppress { roles: BTreeSet::new() }));
        let is_reply = |command: &Command| matches!(command, Command::ReplyCall { session: G, sequence, .. } if *sequence == rounds);
        assert!(others.iter().any(is_reply), "{others:?}");
    }
    let updates = reader.updates();
    let missed: Vec<_> = updates.iter().filter(|(_, uuid)| uuid.is_some()).collect();
    let expected: Vec<_> =
        (0..TASKS).map(|n| (format!("t{n:05}"), Some(UpdateId(u128::try_from(n).expect("small") + 1)))).collect();
    assert!(missed.into_iter().eq(&expected), "every update once, in order");
    let asked: Vec<_> = updates.iter().filter(|(_, uuid)| uuid.is_none()).map(|(id, _)| id.clone()).collect();
    assert!(asked.iter().eq(expected.iter().map(|(id, _)| id)), "and every answer once: {}", asked.len());
    check(&world.master).expect("invariants hold");
}

#[test]
fn a_new_session_begins_anew_and_hears_no_answers_of_the_last() {
    let mut world = world_with_many_tasks();
    let mut first = reader(&mut world, F);
    first.read(&mut world);
    assert!(first.is_awaited, "there is more to tell");
    let mut second = reader(&mut world, SessionId(300));
    check(&world.master).expect("invariants hold");
    assert!(second.step(&mut world, Event::FrameworkHasRoom { session: F }).is_empty(), "it is over");
    while second.read(&mut world) {}
    assert_eq!(second.updates().len(), TASKS, "everything, again");
}

#[test]
fn what_waits_to_be_told_is_bounded() {
    let mut world = world_with_many_tasks();
    let mut reader = reader(&mut world, F);
    let tasks: Vec<_> = (0..limits::RECONCILE_TASKS_MAX).map(|n| (task_id(&format!("x{n}")), None)).collect();
    let mut refusals = 0;
    for sequence in 2..6 {
        let call = Some(Call::Reconcile { tasks: tasks.clone() });
        let event = Event::FrameworkCalled { session: F, sequence, call, writes: vec![], read_state: false };
        let others = reader.step(&mut world, event);
        refusals +=
            others.iter().filter(|command| matches!(command, Command::ReplyCall { result: Err(_), .. })).count();
        check(&world.master).expect("invariants hold");
    }
    assert_eq!(refusals, 2, "two as large as may be wait, and no more");
}

#[test]
fn what_could_not_be_said_yet_is_said_once_the_last_agent_came_while_the_answers_waited_for_room() {
    let mut world = World::new(patient());
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    world.restart();
    world.framework(F, "f", Some(1), &["r"]);
    // Half are of an agent that is awaited, half of one that nobody knows; there is room for not quite all.
    let tasks: Vec<_> = (0..limits::ANSWERS_PER_TURN + 100)
        .map(|n| (task_id(&format!("t{n:05}")), Some(agent_id(if n % 2 == 0 { 1 } else { 9 }))))
        .collect();
    world.awaits_room = Some(G);
    let mut heard = world.call(F, Call::Reconcile { tasks: tasks.clone() });
    assert_eq!(world.awaits_room.replace(G), Some(F), "there is more to tell");
    assert!(!heard.contains("not yet"), "the round is not over: {heard}");
    heard += &world.agent(1, registration("one", Some(1), amount(4, 1024), vec![]));
    heard += &world.step(Event::FrameworkHasRoom { session: F });
    assert!(!heard.contains("not yet"), "all is known by now: {heard}");
    for (n, (id, _)) in tasks.iter().enumerate() {
        let state = if n % 2 == 0 { "Gone" } else { "Unknown" };
        let told = format!("f100: update {id} {state} Reconciliation\n");
        assert_eq!(heard.matches(&told).count(), 1, "{told}");
    }
}

/// The master's disk takes so long for one commit. Agents answer their pings at once.
fn silences_while_the_disk_stands_still(stall: Span) -> Vec<String> {
    let config = Config { ping_interval: limits::PING_INTERVAL, ping_misses_max: limits::PING_MISSES_MAX, ..patient() };
    let mut world = World::often_pinging(config);
    for agent in 1..=3 {
        world.agent(agent, registration(&format!("a{agent}"), None, amount(4, 1024), vec![]));
    }
    let mut out = Vec::new();
    let weight = crate::OperatorRequest::SetWeight { role: role("r"), weight_milli: 2000 };
    world.master.step(world.now, Event::Asked { request: crate::RequestId(1), ask: weight }, &mut out);
    let batch = out.iter().find_map(|command| match command {
        Command::Persist { batch, .. } => Some(*batch),
        _ => None,
    });
    let (end, batch) = (world.now + stall, batch.expect("a weight is written"));
    let mut wrong = Vec::new();
    let mut events = VecDeque::new();
    let mut is_written = false;
    while !is_written || world.now < end + Span::seconds(20) {
        events.push_back(Event::Tick);
        if world.now >= end && !std::mem::replace(&mut is_written, true) {
            events.push_back(Event::Persisted { batch });
        }
        while let Some(event) = events.pop_front() {
            let mut out = Vec::new();
            world.master.step(world.now, event, &mut out);
            check(&world.master).expect("invariants hold");
            for command in out {
                match command {
                    Command::SendAgent { session, message: ToAgent::Ping { number } } => {
                        events.push_back(Event::AgentSaid { session, message: FromAgent::Pong { number } });
                    }
                    Command::CloseAgent { .. } | Command::Decided(Decision::AgentDisconnected { .. }) => {
                        wrong.push(format!("{command:?} at {}", world.now.0));
                    }
                    Command::Changed(crate::Delta::Agent(view)) if view.silent.is_some() => {
                        wrong.push(format!("{} is silent at {}", view.name, world.now.0));
                    }
                    Command::Persist { batch, .. } => panic!("nothing else is written, and this is: {batch}"),
                    _ => {}
                }
            }
        }
        world.now = world.now + Span::millis(100);
    }
    wrong
}

#[test]
fn no_agent_is_silent_because_the_masters_disk_is_slow() {
    for stall in [Span::seconds(5), Span::seconds(30)] {
        assert_eq!(silences_while_the_disk_stands_still(stall), Vec::<String>::new(), "{stall:?}");
    }
}
