//! Virtual addresses, and agents of which nothing is heard.
use std::net::Ipv4Addr;

use super::*;
use crate::registry::VIP_RANGE;
use crate::{OperatorRequest, RequestId, lease};

fn ask(world: &mut World, framework: &str, name: &str, principal: &str) -> String {
    let (framework, name) = (framework.to_owned(), name.to_owned());
    let ask = OperatorRequest::LeaseVip { framework, name, principal: Principal::new(principal) };
    world.step(Event::Asked { request: RequestId(1), ask })
}

fn leased(world: &World, framework: u64, name: &str) -> Option<Ipv4Addr> {
    world.registry.vips.get(&(framework_id(framework), name.to_owned())).copied()
}

#[test]
fn a_lease_is_durable_before_it_is_told_and_never_changes() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    let mut out = Vec::new();
    let principal = Principal::new("framework/f");
    let lease = OperatorRequest::LeaseVip { framework: "f".to_owned(), name: "api".to_owned(), principal };
    world.master.step(world.now, Event::Asked { request: RequestId(7), ask: lease }, &mut out);
    let batch = out.iter().find_map(|command| match command {
        Command::Persist { batch, records } => {
            records.iter().for_each(|record| world.registry.apply(record));
            Some(*batch)
        }
        _ => None,
    });
    assert!(!out.iter().any(|command| matches!(command, Command::Reply { .. })), "{out:?}");
    let told = world.step(Event::Persisted { batch: batch.expect("it is persisted") });
    assert_eq!(told, "operator: done\n");
    let address = leased(&world, 1, "api").expect("leased");
    assert!(lease::overlap(VIP_RANGE, &format!("{address}/32")), "{address}");

    assert_eq!(ask(&mut world, "f", "api", "framework/f"), "operator: done\n");
    assert_eq!(ask(&mut world, "m-1", "store", "operator/admin"), "operator: done\n");
    assert_eq!(leased(&world, 1, "api"), Some(address));
    assert_ne!(leased(&world, 1, "store"), Some(address));
    world.restart();
    assert_eq!(ask(&mut world, "f", "api", "framework/f"), "operator: done\n");
    assert_eq!(leased(&world, 1, "api"), Some(address));
}

#[test]
fn a_lease_ends_with_its_framework_and_belongs_to_nobody_else() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    world.framework(G, "g", None, &["r"]);
    ask(&mut world, "f", "api", "framework/f");
    ask(&mut world, "g", "api", "framework/g");
    let address = leased(&world, 1, "api").expect("leased");
    for (framework, name, principal, words) in [
        ("f", "api", "framework/g", "is not framework/g's"),
        ("f", "Api", "framework/f", "a VIP's name is 1 to 63 of a-z"),
        ("h", "api", "framework/h", "there is no framework 'h'"),
    ] {
        let said = ask(&mut world, framework, name, principal);
        assert!(said.contains(words), "{framework} {name}: {said}");
    }
    let ask_end = OperatorRequest::Teardown { framework: "f".to_owned() };
    world.step(Event::Asked { request: RequestId(1), ask: ask_end });
    assert_eq!(leased(&world, 1, "api"), None);
    assert!(leased(&world, 2, "api").is_some());
    assert!(ask(&mut world, "m-1", "api", "framework/f").contains("was torn down"));
    world.framework(SessionId(300), "f", None, &["r"]);
    ask(&mut world, "f", "api", "framework/f");
    assert_eq!(leased(&world, 3, "api"), Some(address), "who comes again finds its old address free");
}

#[test]
fn one_framework_cannot_take_all_addresses() {
    let mut world = World::new(Config::default());
    world.framework(F, "f", None, &["r"]);
    for number in 0..crate::limits::VIPS_PER_FRAMEWORK_MAX {
        assert_eq!(ask(&mut world, "f", &format!("v{number}"), "framework/f"), "operator: done\n");
    }
    assert!(ask(&mut world, "f", "more", "framework/f").contains("more than the limit of 256"));
    let addresses: BTreeSet<_> = world.registry.vips.values().collect();
    assert_eq!(addresses.len(), crate::limits::VIPS_PER_FRAMEWORK_MAX);
}

#[test]
fn an_agent_at_a_virtual_address_is_refused() {
    let mut world = World::new(Config::default());
    let mut said = registration("one", None, amount(4, 1024), vec![]);
    said.address = "198.18.7.7".to_owned();
    assert!(world.agent(1, said).contains("the agent's address 198.18.7.7 is in the pool's VIP range 198.18.0.0/16"));
}

#[test]
fn an_agent_is_silent_within_two_seconds_and_heard_at_its_next_word() {
    let config = Config { ping_interval: crate::limits::PING_INTERVAL, ping_misses_max: 37, ..Config::default() };
    let mut world = World::often_pinging(config);
    world.agent(1, registration("one", None, amount(4, 1024), vec![]));
    let silent = |world: &World| world.master.agents[&agent_id(1)].view().silent;
    let pong = |number| Event::AgentSaid { session: SessionId(1), message: FromAgent::Pong { number } };
    world.wait(Span::millis(400));
    world.step(pong(1));
    let heard = world.now;
    world.wait(Span::millis(1500));
    assert_eq!(silent(&world), None);
    world.wait(Span::millis(200));
    assert_eq!(silent(&world), Some(heard), "1.6 s after its last word");
    world.step(pong(2));
    assert_eq!(silent(&world), None);
    // Its process dies and is started anew, then dies for longer.
    world.step(Event::AgentClosed { session: SessionId(1) });
    world.wait(Span::millis(1000));
    assert_eq!(silent(&world), None);
    world.agent(2, registration("one", Some(1), amount(4, 1024), vec![]));
    world.step(Event::AgentClosed { session: SessionId(2) });
    world.wait(Span::millis(1100));
    assert_eq!(silent(&world), None, "the first loss is not counted again");
    world.wait(Span::millis(200));
    assert!(silent(&world).is_some());
    world.agent(3, registration("one", Some(1), amount(4, 1024), vec![]));
    assert_eq!(silent(&world), None);
}
