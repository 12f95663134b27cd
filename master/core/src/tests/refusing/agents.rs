//! Messages of agents. Whoever is refused is also sent away: sessions are compared once it is.
use super::*;

const STRANGE: u64 = 9;

/// A session that says these things and ends.
fn says(w: &mut World, certified: &str, messages: Vec<FromAgent>) -> String {
    let session = SessionId(STRANGE);
    w.step(Event::AgentOpened { session, name: certified.to_owned() });
    let text = messages.into_iter().map(|message| w.step(Event::AgentSaid { session, message })).collect();
    w.step(Event::AgentClosed { session });
    text
}
fn registers(w: &mut World, certified: &str, said: AgentRegistration) -> String {
    says(w, certified, vec![FromAgent::Register(Box::new(said))])
}
fn three() -> AgentRegistration {
    registration("three", None, amount(4, 1024), vec![])
}
fn with_total(change: fn(&mut Resources)) -> AgentRegistration {
    let mut said = three();
    change(&mut said.total);
    said
}
fn with_task(change: fn(&mut AgentTask)) -> AgentRegistration {
    let mut task = agent_task(1, "x", 3, amount(1, 0), TaskState::Running);
    change(&mut task);
    registration("three", None, amount(4, 1024), vec![task])
}
fn gone(w: &mut World) {
    w.step(Event::AgentClosed { session: SessionId(1) });
    ask(w, OperatorRequest::MarkAgentGone { agent: "one".to_owned() });
}

#[rustfmt::skip] // a table
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("MST0025", "the agent calls itself 'one', its certificate says 'three'", |w| {
            registers(w, "three", registration("one", Some(1), amount(4, 1024), vec![]))
        }),
        case("MST0026", "agent id m-S9 was not given to this agent by this pool", |w| {
            registers(w, "three", registration("three", Some(9), amount(4, 1024), vec![]))
        }),
        case("MST0026", "agent id m-S1 was not given to this agent by this pool", |w| {
            registers(w, "three", registration("three", Some(1), amount(4, 1024), vec![]))
        }),
        case("MST0027", "agent m-S1 was declared gone", |w| {
            registers(w, "one", registration("one", Some(1), amount(4, 1024), vec![]))
        }).after(gone),
        case("MST0028", "the agent has obeyed epoch 2, this master's is 1", |w| {
            registers(w, "three", AgentRegistration { epoch_seen: 2, ..three() })
        }),
        case("MST0029", "the pool's pod range 10.9.0.0/24 has no subnet left", |w| registers(w, "three", three())).after(|w| {
            *w = World::new(patient());
            w.registry.pool.pod_range = "10.9.0.0/24".to_owned();
            w.restart();
            w.agent(1, registration("one", None, amount(1, 1), vec![]));
            // From then on it knows where the range ends.
            registers(w, "two", registration("two", None, amount(1, 1), vec![]));
        }),
        case("MST0030", "the agent has not registered", |w| says(w, "three", vec![FromAgent::Pong { number: 1 }])),
        case("MST0030", "the agent has not registered", |w| says(w, "two", vec![FromAgent::Applied { generation: 9 }])),
        case("MST0030", "the agent has not registered", |w| says(w, "two", vec![FromAgent::Revocable(disk(1))])),
        case("MST0030", "the agent has not registered", |w| {
            let (status, latest_state) = (status("t", TaskState::Failed, 99), TaskState::Failed);
            says(w, "two", vec![FromAgent::Update { framework_id: framework_id(1), status, latest_state }])
        }),
        case("MST0040", "the agent's address 198.18.0.7 is in the pool's VIP range 198.18.0.0/16", |w| {
            registers(w, "three", AgentRegistration { address: "198.18.0.7".to_owned(), ..three() })
        }),
        case("MST0016", "the agent's address must be an IPv4 address", |w| {
            registers(w, "three", AgentRegistration { address: "three.example".to_owned(), ..three() })
        }),
        case("MST0016", "the agent's address must be an IPv4 address", |w| {
            registers(w, "three", AgentRegistration { address: String::new(), ..three() })
        }),
        case("MST0016", "the agent reports a negative or absurd amount", |w| {
            registers(w, "three", with_total(|total| total.unreserved.cpus = Milli(-1)))
        }),
        case("MST0016", "the agent reports a negative or absurd amount", |w| {
            registers(w, "three", with_total(|total| total.revocable.mem = Milli(i64::MAX)))
        }),
        case("MST0016", "the agent reports a negative or absurd amount", |w| {
            registers(w, "three", with_task(|task| task.head.resources.unreserved.cpus = Milli(i64::MIN)))
        }),
        case("MST0016", "the agent reports a negative or absurd amount", |w| {
            registers(w, "three", with_task(|task| task.executor_resources = amount(-1, 0)))
        }),
        case("MST0010", "4097 tasks on one agent are more than the limit of 4096", |w| {
            let tasks = names(4097).iter().map(|id| agent_task(1, id, 3, amount(0, 0), TaskState::Running)).collect();
            registers(w, "three", registration("three", None, amount(4, 1024), tasks))
        }),
        case("MST0010", "513 reservations and volumes on one agent are more than the limit of 512", |w| {
            let mut total = Resources::default();
            for name in names(513) {
                total.add(&held("r", "framework/f", Some(&name), disk(1)));
            }
            registers(w, "three", registration("three", None, total, vec![]))
        }),
    ]
}

/// Also the session of an agent that was there ends with what it must not say: as if it had been cut off.
#[test]
fn an_agent_that_is_refused_on_its_own_session_has_left_and_nothing_else_has_happened() {
    let register = || FromAgent::Register(Box::new(registration("one", Some(1), with_disk(4, 1024, 100), vec![])));
    let absurd = || FromAgent::Revocable(Quantities { cpus: Milli(-1), ..Quantities::default() });
    for (code, words, message) in [
        ("MST0036", "the agent has registered on this session", register()),
        ("MST0016", "the agent reports a negative or absurd amount", absurd()),
    ] {
        let (mut refused, mut cut_off) = (world(), world());
        let text = refused.step(Event::AgentSaid { session: SessionId(1), message });
        assert!(text.contains(&format!("a1: refused: {words}\na1: close\n")), "{text}");
        let last = refused.decisions.iter().rev().find_map(|decision| match decision {
            Decision::Rejected { reason, .. } => Some(reason.code()),
            _ => None,
        });
        assert_eq!(last, Some(code));
        cut_off.step(Event::AgentClosed { session: SessionId(1) });
        assert_eq!(same(&dump(&cut_off, Untouched::All), &dump(&refused, Untouched::All)), Ok(()), "{words}");
        assert_eq!(cut_off.registry, refused.registry, "{words}");
    }
}
