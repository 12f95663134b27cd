//! Calls of schedulers, but for accepts.
use model::constraint::{Constraint, OfferConstraints, Predicate, Selector};

use super::*;

const H: SessionId = SessionId(300);

/// A session that says one thing and ends.
fn stranger(world: &mut World, principal: &str, call: Call, writes: Vec<StateWrite>) -> String {
    world.step(Event::FrameworkOpened { session: H, principal: Principal::new(principal) });
    let event = Event::FrameworkCalled { session: H, sequence: 1, call: Some(call), writes, read_state: false };
    let text = world.step(event);
    world.step(Event::FrameworkClosed { session: H });
    text
}
fn subscribe(info: FrameworkInfo) -> Call {
    Call::Subscribe { info, suppressed: BTreeSet::new(), constraints: Default::default() }
}
fn update(info: FrameworkInfo) -> Call {
    Call::UpdateFramework { info, suppressed: BTreeSet::new(), constraints: Default::default() }
}
fn roles(count: usize) -> BTreeSet<RoleName> {
    names(count).iter().map(|name| role(name)).collect()
}
fn with_roles(count: usize) -> FrameworkInfo {
    FrameworkInfo { roles: roles(count), ..info("x", None, &[]) }
}
fn filtering(of_role: &str, sets: usize) -> FrameworkInfo {
    let sets = vec![Quantities { cpus: Milli(1), ..Quantities::default() }; sets];
    FrameworkInfo { offer_filters: [(role(of_role), sets)].into(), ..info("x", None, &["r"]) }
}
fn constrained(of_role: &str, groups: Vec<Vec<Constraint>>) -> Call {
    let constraints = OfferConstraints([(role(of_role), groups)].into());
    Call::Subscribe { info: info("x", None, &["r"]), suppressed: BTreeSet::new(), constraints }
}
fn constraint() -> Constraint {
    Constraint { selector: Selector::Hostname, predicate: Predicate::Exists }
}
fn teardown_of_f(world: &mut World) {
    ask(world, OperatorRequest::Teardown { framework: "f".to_owned() });
}
fn offers(count: usize) -> Vec<OfferId> {
    (0..count).map(|n| OfferId::new(format!("x-{n}")).expect("valid")).collect()
}

#[rustfmt::skip] // a table
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("MST0001", "the session has not subscribed", |w| stranger(w, "framework/x", Call::Teardown, vec![])),
        case("MST0001", "the session has not subscribed", |w| {
            stranger(w, "framework/x", Call::Revive { roles: BTreeSet::new() }, vec![entry("k", 1)])
        }),
        case("MST0001", "the session has not subscribed", |w| {
            // The framework was torn down under the session.
            w.call(F, Call::Reconcile { tasks: vec![] })
        }).after(teardown_of_f),
        case("MST0002", "the session is already subscribed", |w| w.call(F, subscribe(info("f", Some(1), &["r"])))),
        case("MST0003", "framework/x may not act as framework 'f'", |w| {
            stranger(w, "framework/x", subscribe(info("f", Some(1), &["r"])), vec![])
        }),
        case("MST0003", "agent/one may not act as framework 'f'", |w| {
            stranger(w, "agent/one", subscribe(info("f", None, &["r"])), vec![])
        }),
        case("MST0004", "the framework name 'f' is in use by framework/f", |w| {
            stranger(w, "operator/x", subscribe(info("f", None, &["r"])), vec![])
        }),
        case("MST0005", "a framework needs 1 to 64 roles, this one has 0", |w| {
            stranger(w, "framework/x", subscribe(with_roles(0)), vec![])
        }),
        case("MST0005", "a framework needs 1 to 64 roles, this one has 65", |w| {
            stranger(w, "framework/x", subscribe(with_roles(65)), vec![])
        }),
        case("MST0005", "a framework needs 1 to 64 roles, this one has 0", |w| {
            w.call(F, update(FrameworkInfo { roles: roles(0), ..info("f", None, &[]) }))
        }),
        case("MST0006", "framework m-1 was torn down, its id is never used again", |w| {
            stranger(w, "framework/f", subscribe(info("f", Some(1), &["r"])), vec![])
        }).after(teardown_of_f),
        case("MST0007", "there is no framework 'm-9'", |w| {
            stranger(w, "framework/x", subscribe(info("x", Some(9), &["r"])), vec![])
        }),
        case("MST0007", "there is no framework 'm-2'", |w| w.call(F, update(info("f", Some(2), &["r"])))),
        case("MST0008", "framework m-1 is not operator/x's", |w| {
            stranger(w, "operator/x", subscribe(info("f", Some(1), &["r"])), vec![])
        }),
        case("MST0009", "framework m-1 is called 'f', a framework cannot be renamed", |w| {
            w.call(F, update(info("h", Some(1), &["r"])))
        }),
        case("MST0009", "framework m-3 is called 'y', a framework cannot be renamed", |w| {
            stranger(w, "operator/y", subscribe(info("z", Some(3), &["r"])), vec![])
        }).after(|w| drop(stranger(w, "operator/y", subscribe(info("y", None, &["r"])), vec![]))),
        // Nobody is admitted with a state that is refused.
        case("MST0034", "state entry '' must have a key of 1 to 512 bytes", |w| {
            stranger(w, "framework/x", subscribe(info("x", None, &["r"])), vec![entry("", 1)])
        }),
        case("MST0034", "state entry '' must have a key of 1 to 512 bytes", |w| write(w, F, vec![entry("b", 1), entry("", 1)])),
        case("MST0034", "state entry 'a\u{7}' must not have control characters in its key", |w| write(w, F, vec![entry("a\u{7}", 1)])),
        case("MST0034", "state entry 'b' has a value of more than 1 MiB", |w| write(w, F, vec![entry("b", (1 << 20) + 1)])),
        case("MST0034", "state entry 'kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk' must have a key of 1 to 512 bytes", |w| {
            write(w, F, vec![entry(&"k".repeat(513), 1)])
        }),
        case("MST0035", "the framework's state would be 67108865 bytes, the limit is 67108864", |w| {
            let writes = (0..64).map(|n| entry(&format!("k{n}"), 1 << 20)).collect::<Vec<_>>();
            write(w, F, [writes, vec![entry("a", 1)]].concat())
        }),
        case("MST0010", "257 state writes are more than the limit of 256", |w| {
            write(w, F, names(257).iter().map(|name| entry(name, 1)).collect())
        }),
        case("MST0010", "65537 state entries are more than the limit of 65536", |w| write(w, F, vec![entry("one-more", 0)]))
            .after(|w| {
                for chunk in names(limits::STATE_ENTRIES_PER_FRAMEWORK_MAX - 1).chunks(256) {
                    let writes = chunk.iter().map(|name| entry(name, 0)).collect();
                    quickly(w, Event::FrameworkCalled { session: F, sequence: 2, call: None, writes, read_state: false });
                }
            }),
        case("MST0010", "65 roles are more than the limit of 64", |w| w.call(F, Call::Revive { roles: roles(65) })),
        case("MST0010", "65 roles are more than the limit of 64", |w| w.call(F, Call::Suppress { roles: roles(65) })),
        case("MST0010", "65 sets of one offer filter are more than the limit of 64", |w| {
            stranger(w, "framework/x", subscribe(filtering("r", 65)), vec![])
        }),
        case("MST0010", "1025 offers are more than the limit of 1024", |w| {
            w.call(F, Call::Decline { offers: [vec![offer_id(1)], offers(1024)].concat(), filter: Filter::default() })
        }),
        case("MST0010", "1025 inverse offers are more than the limit of 1024", |w| {
            w.call(F, Call::AcceptInverseOffers { offers: offers(1025), filter: None })
        }),
        case("MST0010", "100001 tasks are more than the limit of 100000", |w| {
            let tasks = (0..=limits::RECONCILE_TASKS_MAX).map(|_| (task_id("t"), None)).collect();
            w.call(F, Call::Reconcile { tasks })
        }),
        case("MST0010", "4097 operations are more than the limit of 4096", |w| {
            let id = model::OperationId::new("o").expect("valid");
            w.call(F, Call::ReconcileOperations { operations: vec![(id, None); 4097] })
        }),
        case("MST0010", "4097 frameworks are more than the limit of 4096", |w| {
            stranger(w, "framework/x", subscribe(info("x", None, &["r"])), vec![])
        }).after(|w| {
            for name in names(limits::FRAMEWORKS_MAX - 2) {
                quickly(w, Event::FrameworkOpened { session: H, principal: Principal::new(format!("framework/{name}")) });
                let call = Some(subscribe(info(&name, None, &["s"])));
                quickly(w, Event::FrameworkCalled { session: H, sequence: 1, call, writes: vec![], read_state: false });
                quickly(w, Event::FrameworkClosed { session: H });
            }
        }),
        case("MST0016", "a framework's name is 1 to 256 bytes without control characters", |w| {
            stranger(w, "operator/x", subscribe(info("", None, &["r"])), vec![])
        }),
        case("MST0016", "a framework's name is 1 to 256 bytes without control characters", |w| {
            stranger(w, "operator/x", subscribe(info(&"x".repeat(257), None, &["r"])), vec![])
        }),
        case("MST0016", "a framework's name is 1 to 256 bytes without control characters", |w| {
            stranger(w, "operator/x", subscribe(info("a\nb", None, &["r"])), vec![])
        }),
        case("MST0045", "the framework has not subscribed in role s", |w| w.call(F, Call::Suppress { roles: [role("s")].into() })),
        case("MST0045", "the framework has not subscribed in role s", |w| w.call(F, Call::Revive { roles: [role("r"), role("s")].into() })),
        case("MST0045", "the framework has not subscribed in role s", |w| {
            stranger(w, "framework/x", subscribe(filtering("s", 1)), vec![])
        }),
        case("MST0050", "the offer constraints for role s are about a role in which the framework does not subscribe", |w| {
            stranger(w, "framework/x", constrained("s", vec![vec![constraint()]]), vec![])
        }),
        case("MST0050", "the offer constraints for role r have an empty group", |w| {
            stranger(w, "framework/x", constrained("r", vec![]), vec![])
        }),
        case("MST0050", "the offer constraints for role r have an empty group", |w| {
            stranger(w, "framework/x", constrained("r", vec![vec![constraint()], vec![]]), vec![])
        }),
        case("MST0050", "the offer constraints for role r are more than 1024", |w| {
            stranger(w, "framework/x", constrained("r", vec![vec![constraint(); 1025]]), vec![])
        }),
        case("MST0037", "task t is not on that agent", |w| w.call(F, acknowledgement_on(1, "t", 8)))
            .after(|w| drop(w.update(2, 1, status("t", TaskState::Killing, 8)))),
        case("MST0041", "inverse offer x-0 does not stand", |w| {
            w.call(F, Call::DeclineInverseOffers { offers: offers(1), filter: Some(Filter::default()) })
        }),
        // One that stands beside one that does not.
        case("MST0041", "inverse offer x-0 does not stand", |w| {
            let stands = OfferId::new("m-S1-M5000000-60000").expect("valid");
            w.call(F, Call::AcceptInverseOffers { offers: [vec![stands], offers(1)].concat(), filter: None })
        }).after(|w| operators::schedule(w, "one")),
    ]
}

#[test]
fn what_is_somebody_else_s_is_answered_as_what_is_not_there() {
    // No error in these calls: what a framework does not own is as unknown to it as what never was.
    let mut world = world();
    world.step(Event::Tick);
    let before = dump(&world, Untouched::All);
    for call in [
        Call::Decline { offers: vec![offer_id(1)], filter: Filter::default() },
        Call::Acknowledge { agent_id: agent_id(2), task_id: task_id("t"), uuid: UpdateId(7) },
        Call::Acknowledge { agent_id: agent_id(9), task_id: task_id("never"), uuid: UpdateId(7) },
    ] {
        assert_eq!(world.call(G, call), "f200: done\n");
    }
    let kill = Call::Kill { task_id: task_id("t"), agent_id: Some(agent_id(2)), grace: None };
    assert_eq!(world.call(G, kill), "f200: update t Gone Reconciliation\nf200: done\n");
    let kill = Call::Kill { task_id: task_id("never"), agent_id: None, grace: Some(Span(u64::MAX)) };
    assert_eq!(world.call(G, kill), "f200: update never Unknown Reconciliation\nf200: done\n");
    assert_eq!(same(&before, &dump(&world, Untouched::All)), Ok(()));
}

#[test]
fn more_sessions_than_there_may_be_are_told_so() {
    let mut world = World::new(patient());
    for n in 0..u64::try_from(limits::SESSIONS_MAX).expect("small") {
        let (session, principal) = (SessionId(1000 + n), Principal::new("framework/x"));
        quickly(&mut world, Event::FrameworkOpened { session, principal });
    }
    let before = world.master.sessions.len();
    let words = "32769 sessions are more than the limit of 32768";
    let text = world.step(Event::FrameworkOpened { session: H, principal: Principal::new("framework/f") });
    assert_eq!(text, format!("f300: error {words}\nf300: close\n"));
    let text = world.step(Event::AgentOpened { session: SessionId(301), name: "one".to_owned() });
    assert_eq!(text, format!("a301: refused: {words}\na301: close\n"));
    assert_eq!(world.master.sessions.len(), before);
    assert_eq!(world.call(H, Call::Teardown), "", "what it says after that is not heard");
}
