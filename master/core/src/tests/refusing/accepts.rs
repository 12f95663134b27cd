//! Accepts: of offers that are not there, and of operations that cannot be.
use model::OperationId;
use model::task::{Limit, TaskLimits};

use super::*;

/// The offer of agent one to `f`, as it is in the beginning.
const ONE: u64 = 1;

fn accept(w: &mut World, operations: Vec<Operation>) -> String {
    w.accept(F, offer_id(ONE), operations, 0)
}
fn accept_of(w: &mut World, session: SessionId, offers: Vec<OfferId>, operations: Vec<Operation>) -> String {
    w.call(session, Call::Accept { offers, operations, filter: Filter::default() })
}
fn launch(w: &mut World, pod: Pod) -> String {
    accept(w, vec![Operation::Launch(pod)])
}
fn launch_with(w: &mut World, change: impl Fn(&mut TaskHead)) -> String {
    let mut pod = pod(1, &[("n", amount(1, 0))]);
    change(&mut pod.tasks[0].head);
    launch(w, pod)
}
fn own(volume: Option<&str>, amount: i64) -> Resources {
    held("r", "framework/f", volume, disk(amount))
}
fn fixed() -> Resources {
    let mut reservation = Reservation::new(role("r"), Principal::new("framework/f"), BTreeMap::new());
    reservation.is_static = true;
    Resources::held_as(Holding { reservation, volume: None }, disk(1))
}
fn named(id: &str, operation: Operation) -> Operation {
    Operation::Identified { id: OperationId::new(id).expect("valid"), operation: Box::new(operation) }
}
fn without_quantities(resources: Resources) -> Resources {
    let held = resources.held.into_keys().map(|holding| (holding, Quantities::default())).collect();
    Resources { held, ..Resources::default() }
}
fn in_two(one: Resources, other: &Resources) -> Resources {
    let mut both = one;
    both.add(other);
    both
}
/// The volume `v` of agent two, free and lent again in the newest offer.
fn volume_is_free(w: &mut World) {
    w.update(2, 1, status("t", TaskState::Finished, 9));
    w.call(F, acknowledgement_on(2, "t", 9));
    w.call(F, Call::Revive { roles: BTreeSet::new() });
}
/// The newest offer of agent two.
fn of_two(w: &World) -> OfferId {
    let of_two = w.master.offers.of_agent(&agent_id(2));
    of_two.last().cloned().expect("agent two is lent")
}
fn accept_two(w: &mut World, operations: Vec<Operation>) -> String {
    let id = of_two(w);
    accept_of(w, F, vec![id], operations)
}

#[rustfmt::skip] // a table
pub(super) fn cases() -> Vec<Case> {
    let cases = vec![
        case("MST0010", "1025 offers are more than the limit of 1024", |w| {
            accept_of(w, F, (0..1025).map(|n| OfferId::new(format!("x-{n}")).expect("valid")).collect(), vec![])
        }),
        case("MST0010", "257 operations are more than the limit of 256", |w| accept(w, vec![Operation::Reserve(own(None, 1)); 257])),
        case("MST0010", "65 tasks in one pod are more than the limit of 64", |w| {
            let names = names(65);
            launch(w, pod(1, &names.iter().map(|name| (name.as_str(), amount(0, 1))).collect::<Vec<_>>()))
        }),
        case("MST0010", "513 reservations and volumes on one agent are more than the limit of 512", |w| {
            let id = w.master.offers.of_agent(&agent_id(1)).last().cloned().expect("lent");
            accept_of(w, F, vec![id], vec![Operation::Reserve(labelled(9999))])
        }).after(|w| {
            for chunk in (0..512).collect::<Vec<_>>().chunks(256) {
                let id = w.master.offers.of_agent(&agent_id(1)).last().cloned().expect("lent");
                accept_of(w, F, vec![id], chunk.iter().map(|n| Operation::Reserve(labelled(*n))).collect());
                w.call(F, Call::Revive { roles: BTreeSet::new() });
            }
        }),
        case("MST0010", "513 operations not acknowledged on one agent are more than the limit of 512", |w| {
            let id = w.master.offers.of_agent(&agent_id(1)).last().cloned().expect("lent");
            accept_of(w, F, vec![id], vec![named("one-more", Operation::Reserve(own(None, 1)))])
        }).after(|w| {
            for chunk in names(512).chunks(256) {
                let id = w.master.offers.of_agent(&agent_id(1)).last().cloned().expect("lent");
                // Refused ones are remembered until they are acknowledged, too.
                accept_of(w, F, vec![id], chunk.iter().map(|id| named(id, Operation::Unreserve(own(None, 1)))).collect());
                w.call(F, Call::Revive { roles: BTreeSet::new() });
            }
        }),
        case("MST0012", "offer m-1-O1 is not outstanding to this framework", |w| accept_of(w, G, vec![offer_id(1)], vec![])),
        case("MST0012", "offer never is not outstanding to this framework", |w| {
            accept_of(w, F, vec![OfferId::new("never").expect("valid")], vec![Operation::Launch(pod(1, &[("n", amount(1, 0))]))])
        }),
        case("MST0012", "offer m-1-O1 is not outstanding to this framework", |w| accept(w, vec![]))
            .after(|w| drop(w.decline(F, offer_id(1), 1000))),
        case("MST0013", "offer m-1-O4 is of another agent or role than the first", |w| {
            let of_two = of_two(w);
            assert_eq!(of_two.as_str(), "m-1-O4");
            accept_of(w, F, vec![offer_id(1), of_two], vec![])
        }).after(volume_is_free),
        case("MST0014", "an accept needs at least one offer and each only once", |w| accept_of(w, F, vec![], vec![])),
        case("MST0014", "an accept needs at least one offer and each only once", |w| {
            accept_of(w, F, vec![offer_id(1), offer_id(1)], vec![])
        }),
        case("MST0015", "the offers lack cpus 996 unreserved", |w| launch(w, pod(1, &[("n", amount(1000, 0))]))),
        case("MST0015", "the offers lack cpus 1 unreserved", |w| launch(w, pod(1, &[("n", amount(4, 0)), ("o", amount(1, 0))]))),
        case("MST0015", "the offers lack cpus 1 unreserved", |w| {
            launch(w, Pod { executor_resources: amount(4, 0), ..pod(1, &[("n", amount(1, 0))]) })
        }),
        case("MST0015", "the offers lack disk 1 MiB reserved for role r", |w| accept(w, vec![Operation::Unreserve(own(None, 1))])),
        case("MST0015", "the offers lack disk 901 MiB unreserved", |w| accept(w, vec![Operation::Reserve(own(None, 1001))])),
        case("MST0016", "a pod needs at least one task", |w| launch(w, pod(1, &[]))),
        case("MST0016", "a task asks for a negative or absurd amount", |w| launch(w, pod(1, &[("n", amount(-1, 0))]))),
        case("MST0016", "a task asks for a negative or absurd amount", |w| {
            launch_with(w, |head| head.resources.unreserved.cpus = Milli(i64::MAX))
        }),
        case("MST0016", "a task asks for a negative or absurd amount", |w| {
            launch_with(w, |head| head.resources.revocable.mem = Milli(i64::MIN))
        }),
        case("MST0016", "a task asks for a negative or absurd amount", |w| {
            launch_with(w, |head| head.resources = without_quantities(own(None, 1)))
        }),
        case("MST0016", "the executor asks for a negative or absurd amount", |w| {
            launch(w, Pod { executor_resources: amount(-1, 0), ..pod(1, &[("n", amount(1, 0))]) })
        }),
        case("MST0016", "nothing can be reserved for the role '*'", |w| {
            accept(w, vec![Operation::Reserve(held("*", "framework/f", None, disk(1)))])
        }),
        case("MST0016", "an operation id goes with one operation that is no launch", |w| {
            accept(w, vec![named("o", Operation::Launch(pod(1, &[("n", amount(1, 0))])))])
        }),
        case("MST0016", "an operation id goes with one operation that is no launch", |w| {
            accept(w, vec![named("o", named("p", Operation::Reserve(own(None, 1))))])
        }),
        case("MST0016", "a volume shrinks by something, and to something", |w| {
            accept_two(w, vec![Operation::Shrink { volume: own(Some("v"), 10), subtract: Milli(-1) }])
        }).after(volume_is_free),
        case("MST0016", "a volume shrinks by something, and to something", |w| {
            accept_two(w, vec![Operation::Shrink { volume: own(Some("v"), 10), subtract: Milli::units(10) }])
        }).after(volume_is_free),
        case("MST0016", "a volume grows by disk under its own reservation, on its own disk", |w| {
            let addition = held("r", "framework/g", None, disk(1));
            accept_two(w, vec![Operation::Grow { volume: own(Some("v"), 10), addition }])
        }).after(volume_is_free),
        case("MST0016", "the operation must name one volume", |w| {
            let volume = in_two(own(Some("v"), 10), &own(Some("w"), 1));
            accept_two(w, vec![Operation::Shrink { volume, subtract: Milli(1) }])
        }).after(volume_is_free),
        case("MST0016", "a volume is made of one disk, and of nothing else", |w| {
            let quantities = Quantities { cpus: Milli(1), ..disk(1) };
            accept(w, vec![Operation::Create(held("r", "framework/f", Some("n"), quantities))])
        }),
        case("MST0017", "task id t was used before by this framework", |w| {
            launch(w, Pod { executor_id: ExecutorId::new("other").expect("valid"), ..pod(1, &[("t", amount(1, 0))]) })
        }),
        case("MST0017", "task id t was used before by this framework", |w| {
            accept_two(w, vec![Operation::Launch(Pod { executor_id: ExecutorId::new("other").expect("valid"), ..pod(2, &[("t", amount(1, 0))]) })])
        }).after(volume_is_free),
        case("MST0017", "task id n was used before by this framework", |w| {
            launch(w, pod(1, &[("n", amount(1, 0)), ("n", amount(1, 0))]))
        }),
        case("MST0018", "executor id e-t was used before by this framework", |w| {
            launch(w, Pod { executor_id: ExecutorId::new("e-t").expect("valid"), ..pod(1, &[("n", amount(1, 0))]) })
        }),
        case("MST0019", "task n names agent m-S2, which is not the offers' agent", |w| launch(w, pod(2, &[("n", amount(1, 0))]))),
        case("MST0020", "task n asks for privileges that framework/f does not have", |w| launch_with(w, |head| head.privileged = true)),
        case("MST0021", "task n needs the secret 'secret/x', which is not in the framework's state", |w| {
            launch_with(w, |head| head.secrets = vec!["secret/x".to_owned()])
        }),
        // State that is no secret, and a secret of somebody else.
        case("MST0021", "task n needs the secret 'a', which is not in the framework's state", |w| {
            launch_with(w, |head| head.secrets = vec!["a".to_owned()])
        }),
        case("MST0021", "task n needs the secret 'secret/g', which is not in the framework's state", |w| {
            launch_with(w, |head| head.secrets = vec!["secret/g".to_owned()])
        }).after(|w| drop(write(w, G, vec![entry("secret/g", 1)]))),
        case("MST0022", "a reservation for role s is asked of an offer for role r", |w| {
            accept(w, vec![Operation::Reserve(held("s", "framework/f", None, disk(1)))])
        }),
        case("MST0022", "a reservation for role s is asked of an offer for role r", |w| {
            accept(w, vec![Operation::Create(held("s", "framework/f", Some("n"), disk(1)))])
        }),
        case("MST0023", "a reservation must carry the framework's own principal framework/f", |w| {
            accept(w, vec![Operation::Reserve(held("r", "framework/g", None, disk(1)))])
        }),
        case("MST0023", "a reservation must carry the framework's own principal framework/f", |w| {
            accept(w, vec![Operation::Create(held("r", "framework/g", Some("n"), disk(1)))])
        }),
        case("MST0024", "volume v exists on this agent", |w| accept_two(w, vec![Operation::Create(own(Some("v"), 1))]))
            .after(volume_is_free),
        // MST0049: offers are cut to the limits, and only what an accept unreserves itself can exceed one (`tenancy.rs`).
        case("MST0051", "what the agent's configuration reserves for role r stays so reserved", |w| accept(w, vec![Operation::Reserve(fixed())])),
        case("MST0051", "what the agent's configuration reserves for role r stays so reserved", |w| accept(w, vec![Operation::Unreserve(fixed())])),
        case("MST0052", "volume v is used by something that runs", |w| accept_two(w, vec![Operation::Destroy(own(Some("v"), 10))]))
            .after(|w| drop(w.call(F, Call::Revive { roles: BTreeSet::new() }))),
        case("MST0056", "operation id o is of another operation that is not acknowledged", |w| {
            accept_two(w, vec![named("o", Operation::Reserve(own(None, 1)))])
        }).after(|w| {
            volume_is_free(w);
            accept(w, vec![named("o", Operation::Reserve(own(None, 1)))]);
        }),
        case("MST0057", "task n limits its cpus to less than it takes", |w| {
            launch_with(w, |head| head.limits = TaskLimits { cpus: Some(Limit::AtMost(Milli(999))), mem: None })
        }),
        case("MST0057", "task n limits its mem to less than it takes", |w| {
            launch_with(w, |head| {
                head.resources = amount(1, 10);
                head.limits = TaskLimits { cpus: Some(Limit::Infinite), mem: Some(Limit::AtMost(Milli(-1))) };
            })
        }),
        case("MST0058", "task n takes cpus that may be taken back, and cpus that may not", |w| {
            launch_with(w, |head| head.resources.revocable.cpus = Milli(1))
        }),
    ];
    cases.into_iter().map(Case::but_offers).collect()
}

fn labelled(n: u32) -> Resources {
    let labels = [("n".to_owned(), n.to_string())].into();
    let reservation = Reservation::new(role("r"), Principal::new("framework/f"), labels);
    Resources::held_as(Holding { reservation, volume: None }, Quantities { disk: Milli(1), ..Quantities::default() })
}
