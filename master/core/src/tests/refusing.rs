//! Every way in which the core says no: the code, the words, and that nothing else has happened. What the whole master
//! knows is compared before and after, line by line; so is what the disk holds. Cases are tables, by who is refused; a
//! rejection without a case is found here.
use super::*;
use crate::{HoldingsChange, OperatorRequest, Quota, Rejected, StateWrite, limits};

mod accepts;
mod agents;
mod frameworks;
mod operators;

/// What may differ after the refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Untouched {
    /// Nothing.
    All,
    /// Who names offers in an accept gives them back, whatever becomes of it: they are offered again.
    ButOffers,
}

/// One refused thing.
struct Case {
    code: &'static str,
    /// Exactly.
    words: &'static str,
    untouched: Untouched,
    /// What leads to it.
    prepare: fn(&mut World),
    /// What is refused, and what peers hear of it.
    refused: fn(&mut World) -> String,
}

fn case(code: &'static str, words: &'static str, refused: fn(&mut World) -> String) -> Case {
    Case { code, words, untouched: Untouched::All, prepare: |_| {}, refused }
}

impl Case {
    fn after(mut self, prepare: fn(&mut World)) -> Self {
        self.prepare = prepare;
        self
    }
    fn but_offers(mut self) -> Self {
        self.untouched = Untouched::ButOffers;
        self
    }
    /// What does not hold.
    fn check(&self) -> Result<(), String> {
        let mut world = world();
        (self.prepare)(&mut world);
        // The master knows what time it is before anything is compared.
        world.step(Event::Tick);
        let earlier = world.decisions.len();
        let (before, on_disk) = (dump(&world, self.untouched), format!("{:#?}", world.registry));
        let text = (self.refused)(&mut world);
        let what = format!("{} '{}'", self.code, self.words);
        let rejected: Vec<&Rejected> = world.decisions[earlier..]
            .iter()
            .filter_map(|decision| match decision {
                Decision::Rejected { reason, .. } => Some(reason),
                _ => None,
            })
            .collect();
        let [reason] = rejected.as_slice() else { return Err(format!("{what}: {rejected:?}, said: {text}")) };
        if (reason.code(), reason.to_string().as_str()) != (self.code, self.words) {
            return Err(format!("{what}: it is {} '{reason}'", reason.code()));
        }
        if reason.refusal().next_step.is_empty() || !text.contains(self.words) {
            return Err(format!("{what}: said without a next step, or not at all: {text}"));
        }
        same(&before, &dump(&world, self.untouched)).map_err(|how| format!("{what}: {how}"))?;
        let disk = same(&on_disk, &format!("{:#?}", world.registry));
        disk.map_err(|how| format!("{what}, on the disk: {how}"))
    }
}

/// Goes through a table.
fn check(cases: &[Case]) {
    let wrong: Vec<String> = cases.iter().filter_map(|case| case.check().err()).collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// All that the master knows.
fn dump(world: &World, untouched: Untouched) -> String {
    let master = &world.master;
    match untouched {
        Untouched::All => format!("{master:#?}"),
        Untouched::ButOffers => {
            let agents = master.agents.values().map(|a| (&a.record, &a.total, &a.allocated, &a.tasks, &a.pods));
            let frameworks = master.frameworks.values().map(|f| (&f.record, f.state, &f.state_sizes, f.state_bytes));
            format!(
                "{:#?}",
                (
                    (agents.collect::<Vec<_>>(), frameworks.collect::<Vec<_>>(), &master.ledger, &master.feedback),
                    (&master.sessions, &master.vips, &master.draining, &master.maintained, &master.privileged),
                )
            )
        }
    }
}

/// Says only what differs: whole dumps are long.
fn same(before: &str, after: &str) -> Result<(), String> {
    if before == after {
        return Ok(());
    }
    let differing = before.lines().zip(after.lines()).filter(|(one, other)| one != other);
    let first: Vec<_> = differing.take(5).collect();
    let (old, new) = (before.lines().count(), after.lines().count());
    Err(format!("something is different ({old} lines, then {new}): {first:?}"))
}

/// An agent with an offer to a framework, a second agent with a task of that framework, and a second framework in
/// another role that has nothing.
fn world() -> World {
    let mut world = World::new(patient());
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, with_disk(4, 1024, 100), vec![]));
    world.agent(2, registration("two", None, with_disk(4, 1024, 100), vec![]));
    let operations = vec![
        Operation::Reserve(held("r", "framework/f", None, disk(20))),
        Operation::Create(held("r", "framework/f", Some("v"), disk(10))),
        Operation::Launch(pod(2, &[("t", uses_volume())])),
    ];
    world.accept(F, offer_id(2), operations, 100_000);
    world.update(2, 1, status("t", TaskState::Running, 7));
    world.call(F, acknowledgement_on(2, "t", 7));
    write(&mut world, F, vec![entry("a", 10)]);
    world.framework(G, "g", None, &["s"]);
    world.call(G, Call::Suppress { roles: BTreeSet::new() });
    world.wait(Span::seconds(1));
    world
}

fn uses_volume() -> Resources {
    let mut uses = amount(1, 64);
    uses.add(&held("r", "framework/f", Some("v"), disk(10)));
    uses
}
fn acknowledgement_on(agent: u64, task: &str, uuid: u128) -> Call {
    Call::Acknowledge { agent_id: agent_id(agent), task_id: task_id(task), uuid: UpdateId(uuid) }
}
fn entry(key: &str, size: usize) -> StateWrite {
    StateWrite { key: key.to_owned(), value: Some(vec![0; size]) }
}
fn write(world: &mut World, session: SessionId, writes: Vec<StateWrite>) -> String {
    world.step(Event::FrameworkCalled { session, sequence: 2, call: None, writes, read_state: false })
}
/// One of thousands of events that are not looked at: nothing is checked, and nothing offered in between.
fn quickly(world: &mut World, event: Event) {
    let mut out = Vec::new();
    world.master.step(world.now, event, &mut out);
    for command in out {
        if let Command::Persist { batch, records } = command {
            records.iter().for_each(|record| world.registry.apply(record));
            world.master.step(world.now, Event::Persisted { batch }, &mut Vec::new());
        }
    }
}
fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("n{n}")).collect()
}

#[test]
fn frameworks_are_refused_and_nothing_changes() {
    check(&frameworks::cases());
}

#[test]
fn accepts_are_refused_and_only_their_offers_are_given_back() {
    check(&accepts::cases());
}

#[test]
fn agents_are_refused_and_nothing_changes() {
    check(&agents::cases());
}

#[test]
fn operators_are_refused_and_nothing_changes() {
    check(&operators::cases());
}

#[test]
fn every_rejection_has_a_case() {
    let all = [frameworks::cases(), accepts::cases(), agents::cases(), operators::cases()];
    let shown: BTreeSet<&str> = all.iter().flatten().map(|case| case.code).collect();
    // Of a disk that stands still, which that of these cases does not, and on a session of its own.
    let elsewhere = ["MST0011", "MST0036"];
    let missing: Vec<_> =
        Rejected::ALL.iter().filter(|(code, _)| !shown.contains(code) && !elsewhere.contains(code)).collect();
    assert!(missing.is_empty(), "no case shows {missing:?}");
}
