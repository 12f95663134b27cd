//! The serial point.
use super::*;
use crate::{OperatorRequest, RequestId};

fn world() -> World {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, with_disk(4, 1024, 100), vec![]));
    world
}

#[test]
fn a_pod_is_launched_and_the_rest_is_declined() {
    let mut world = world();
    let launch = Operation::Launch(pod(1, &[("t", amount(1, 256)), ("u", amount(1, 0))]));
    assert_eq!(world.accept(F, offer_id(1), vec![launch], 5), "a1: launch t u\nf100: done\n");
    assert_eq!(
        world.wait(Span::seconds(5)),
        "a1: ping 1\nf100: offers m-1-O2 m-S1 r: cpus 2; mem 768 MiB; disk 100 MiB\n"
    );
}

#[test]
fn a_pod_is_launched_whole_or_not_at_all() {
    let cases: [(&str, Pod, &str); 7] = [
        ("too much", pod(1, &[("t", amount(3, 0)), ("u", amount(2, 0))]), "the offers lack cpus 1 unreserved"),
        (
            "one id twice",
            pod(1, &[("t", amount(1, 0)), ("t", amount(1, 0))]),
            "task id t was used before by this framework",
        ),
        ("another agent", pod(2, &[("t", amount(1, 0))]), "task t names agent m-S2, which is not the offers' agent"),
        ("no task", pod(1, &[]), "a pod needs at least one task"),
        ("a negative amount", pod(1, &[("t", amount(-1, 0))]), "a task asks for a negative or absurd amount"),
        (
            "a secret that is not there",
            {
                let mut pod = pod(1, &[("t", amount(1, 0))]);
                pod.tasks[0].head.secrets = vec!["secret/a".to_owned()];
                pod
            },
            "task t needs the secret 'secret/a', which is not in the framework's state",
        ),
        (
            "privileges",
            {
                let mut pod = pod(1, &[("t", amount(1, 0))]);
                pod.tasks[0].head.privileged = true;
                pod
            },
            "task t asks for privileges that framework/f does not have",
        ),
    ];
    for (case, pod, words) in cases {
        let mut world = world();
        let reason = match (pod.tasks.len(), case) {
            (1, "privileges") => "TaskUnauthorized",
            (1, _) => "TaskInvalid",
            _ => "TaskGroupInvalid",
        };
        let mut expected = String::new();
        for task in &pod.tasks {
            writeln!(expected, "f100: update {} Error {reason}", task.head.task_id).expect("a string takes all");
        }
        writeln!(expected, "f100: no: operations[0]: {words}").expect("a string takes all");
        assert_eq!(world.accept(F, offer_id(1), vec![Operation::Launch(pod)], 5), expected, "{case}");
    }
}

#[test]
fn a_port_cannot_be_used_by_two_tasks_of_a_pod() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    let ports = |begin, end| {
        let quantities =
            Quantities { cpus: Milli::units(1), ports: [(begin, end)].into_iter().collect(), ..Quantities::default() };
        Resources::from(quantities)
    };
    let mut total = ports(20000, 20009);
    total.unreserved.cpus = Milli::units(4);
    world.agent(1, registration("one", None, total, vec![]));
    let launch = Operation::Launch(pod(1, &[("t", ports(20001, 20001)), ("u", ports(20001, 20001))]));
    let text = world.accept(F, offer_id(1), vec![launch], 5);
    assert!(text.ends_with("f100: no: operations[0]: the offers lack ports 20001 unreserved\n"), "{text}");
}

#[test]
fn operations_run_in_order_and_one_that_fails_is_dropped_alone() {
    let mut world = world();
    let reserved = held("r", "framework/f", None, disk(10));
    let volume = held("r", "framework/f", Some("v"), disk(10));
    let mut uses = amount(1, 0);
    uses.add(&volume);
    let operations = vec![
        Operation::Reserve(reserved),
        Operation::Create(held("r", "framework/f", Some("w"), disk(11))),
        Operation::Create(volume),
        Operation::Launch(pod(1, &[("t", uses)])),
    ];
    assert_eq!(
        world.accept(F, offer_id(1), operations, 5),
        "a1: holdings 1: disk 10 MiB for r as volume v\n\
         a1: launch t\n\
         f100: no: operations[1]: the offers lack disk 1 MiB reserved for role r\n"
    );
    assert_eq!(world.registry.agents[&agent_id(1)].holdings_generation, 1);
}

#[test]
fn what_was_converted_is_offered_again_in_spite_of_the_filter() {
    let mut world = world();
    let operations = vec![Operation::Reserve(held("r", "framework/f", None, disk(10)))];
    assert_eq!(
        world.accept(F, offer_id(1), operations, 1000),
        "a1: holdings 1: disk 10 MiB for r\n\
         f100: done\n\
         f100: offers m-1-O2 m-S1 r: cpus 4; mem 1024 MiB; disk 90 MiB + disk 10 MiB for r\n"
    );
    let operations = vec![Operation::Unreserve(held("r", "framework/f", None, disk(10)))];
    let text = world.accept(F, offer_id(2), operations, 1000);
    assert!(text.starts_with("a1: holdings 2: nothing\nf100: done\n"), "{text}");
}

#[test]
fn a_reservation_is_offered_to_its_role_only() {
    let mut world = world();
    world.accept(F, offer_id(1), vec![Operation::Reserve(held("r", "framework/f", None, disk(10)))], 1000);
    world.decline(F, offer_id(2), 1000);
    let text = world.framework(G, "g", None, &["s"]);
    assert_eq!(
        text,
        "f200: subscribed as m-2\nf200: done\nf200: offers m-1-O3 m-S1 s: cpus 4; mem 1024 MiB; disk 90 MiB\n"
    );
}

#[test]
fn an_accept_sent_twice_launches_once_and_tells_the_truth() {
    let mut world = world();
    let launch = || vec![Operation::Launch(pod(1, &[("t", amount(1, 0))]))];
    world.accept(F, offer_id(1), launch(), 5);
    world.update(1, 1, status("t", TaskState::Running, 7));
    assert_eq!(
        world.accept(F, offer_id(1), launch(), 5),
        "f100: update t Running Reconciliation\n\
         f100: no: offers[0]: offer m-1-O1 is not outstanding to this framework\n"
    );
}

#[test]
fn offers_of_two_agents_do_not_mix_and_are_given_back() {
    let mut world = world();
    world.agent(2, registration("two", None, amount(4, 1024), vec![]));
    let call = Call::Accept { offers: vec![offer_id(1), offer_id(2)], operations: vec![], filter: Filter::default() };
    assert_eq!(
        world.call(F, call),
        "f100: no: offers[1]: offer m-1-O2 is of another agent or role than the first\n\
         f100: offers m-1-O3 m-S1 r: cpus 4; mem 1024 MiB; disk 100 MiB | m-1-O4 m-S2 r: cpus 4; mem 1024 MiB\n"
    );
    assert_eq!(world.accept(F, offer_id(3), vec![], 5), "f100: done\n", "an accept of nothing is a decline");
    let call = Call::Accept { offers: vec![offer_id(4), offer_id(4)], operations: vec![], filter: Filter::default() };
    assert!(world.call(F, call).starts_with("f100: no: offers: an accept needs at least one offer"));
}

#[test]
fn privileges_are_granted_to_listed_principals() {
    let config = Config { privileged_principals: ["framework/*".to_owned()].into(), ..Config::default() };
    let mut world = World::new(config);
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    let mut pod = pod(1, &[("t", amount(1, 0))]);
    pod.tasks[0].head.privileged = true;
    let text = world.accept(F, offer_id(1), vec![Operation::Launch(pod)], 5);
    assert_eq!(text, "a1: launch t privileged\nf100: done\n");
}

#[test]
fn an_operator_lists_who_is_privileged_and_the_rest_get_an_error_and_their_offer_back() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    let asking = |id: &str| {
        let mut pod = pod(1, &[(id, amount(1, 0))]);
        pod.tasks[0].head.privileged = true;
        vec![Operation::Launch(pod)]
    };
    let text = world.accept(F, offer_id(1), asking("t"), 0);
    assert!(text.contains("task t asks for privileges that framework/f does not have"), "{text}");
    assert!(text.contains("update t Error TaskUnauthorized"), "the task ends: {text}");
    assert!(!text.contains("a1:"), "the agent hears nothing: {text}");
    let principals: BTreeSet<String> = ["framework/f".to_owned()].into();
    let ask = OperatorRequest::SetPrivileged { principals: principals.clone() };
    assert_eq!(world.step(Event::Asked { request: RequestId(1), ask }), "operator: done\n");
    assert_eq!(world.registry.privileged, principals, "it outlives the master");
    let text = world.wait(Span::seconds(1));
    assert!(text.contains("offers m-1-O2"), "the offer is free again: {text}");
    let text = world.accept(F, offer_id(2), asking("u"), 5);
    assert!(text.contains("a1: launch u privileged"), "{text}");
}
