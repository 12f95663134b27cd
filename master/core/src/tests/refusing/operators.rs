//! What operators ask for.
use model::call::Unavailability;

use super::*;

fn quota(guarantees: &[(&str, i64)], limits: &[(&str, i64)]) -> Quota {
    let of = |amounts: &[(&str, i64)]| amounts.iter().map(|(name, n)| ((*name).to_owned(), Milli::units(*n))).collect();
    Quota { guarantees: of(guarantees), limits: of(limits) }
}
fn asked(ask: OperatorRequest) -> Event {
    Event::Asked { request: crate::RequestId(1), ask }
}
fn set(w: &mut World, quotas: Vec<(&str, Quota)>, force: bool) -> String {
    let quotas = quotas.into_iter().map(|(name, quota)| (role(name), quota)).collect();
    ask(w, OperatorRequest::SetQuotas { quotas, force })
}
fn weight(w: &mut World, name: &str, weight_milli: u64) -> String {
    ask(w, OperatorRequest::SetWeight { role: role(name), weight_milli })
}
fn agents(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
fn window(start: u64, duration: u64) -> Unavailability {
    Unavailability { start: Timestamp(start), duration: Some(Span::seconds(duration)) }
}
fn scheduled(w: &mut World, names: &[&str], window: Unavailability) -> String {
    ask(w, OperatorRequest::ScheduleMaintenance { agents: agents(names), window })
}
pub(super) fn schedule(w: &mut World, agent: &str) {
    assert!(scheduled(w, &[agent], window(5_000_000, 60)).contains("operator: done"));
}
fn drain(w: &mut World, agent: &str, max_grace: Span) -> String {
    ask(w, OperatorRequest::DrainAgent { agent: agent.to_owned(), max_grace, mark_gone: false })
}
fn change(w: &mut World, agent: &str, change: HoldingsChange) -> String {
    let (agent, principal) = (agent.to_owned(), Principal::new("operator/ann"));
    ask(w, OperatorRequest::ChangeHoldings { agent, change, principal })
}
fn reserve(in_role: &str, quantities: Quantities) -> HoldingsChange {
    HoldingsChange::Reserve { wanted: held(in_role, "operator/ann", None, quantities), source: None }
}
fn cpus(cpus: i64) -> Quantities {
    Quantities { cpus: Milli::units(cpus), ..Quantities::default() }
}
fn volume() -> Resources {
    held("r", "framework/f", Some("v"), disk(10))
}
fn fixed() -> Resources {
    let mut reservation = Reservation::new(role("r"), Principal::new("operator/ann"), BTreeMap::new());
    reservation.is_static = true;
    Resources::held_as(Holding { reservation, volume: None }, disk(1))
}
fn lease(w: &mut World, framework: &str, name: &str, principal: &str) -> String {
    let (framework, name, principal) = (framework.to_owned(), name.to_owned(), Principal::new(principal));
    ask(w, OperatorRequest::LeaseVip { framework, name, principal })
}
fn away(w: &mut World) {
    w.step(Event::AgentClosed { session: SessionId(1) });
}
fn gone(w: &mut World) {
    away(w);
    ask(w, OperatorRequest::MarkAgentGone { agent: "one".to_owned() });
}
fn gone_by_id(w: &mut World, request: fn(Vec<String>) -> OperatorRequest) -> String {
    ask(w, request(agents(&["two", "m-S1"])))
}

#[rustfmt::skip] // a table
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("MST0007", "there is no framework 'nobody'", |w| ask(w, OperatorRequest::Teardown { framework: "nobody".to_owned() })),
        case("MST0007", "there is no framework ''", |w| ask(w, OperatorRequest::Teardown { framework: String::new() })),
        case("MST0007", "there is no framework 'nobody'", |w| lease(w, "nobody", "api", "operator/ann")),
        case("MST0006", "framework m-1 was torn down, its id is never used again", |w| lease(w, "m-1", "api", "framework/f"))
            .after(|w| drop(w.call(F, Call::Teardown))),
        case("MST0008", "framework m-1 is not framework/g's", |w| lease(w, "f", "api", "framework/g")),
        case("MST0016", "a VIP's name is 1 to 63 of a-z, 0-9 and '-', not at the ends", |w| lease(w, "f", "-api", "framework/f")),
        case("MST0016", "a VIP's name is 1 to 63 of a-z, 0-9 and '-', not at the ends", |w| lease(w, "f", "", "framework/f")),
        case("MST0010", "257 VIPs of one framework are more than the limit of 256", |w| lease(w, "f", "one-more", "framework/f"))
            .after(|w| names(256).iter().for_each(|name| drop(lease(w, "f", name, "framework/f")))),
        case("MST0039", "the pool's VIP range 198.18.0.0/30 has no address left", |w| lease(w, "f", "c", "framework/f")).after(|w| {
            w.registry.pool.vip_range = "198.18.0.0/30".to_owned();
            w.restart();
            ["a", "b"].iter().for_each(|name| drop(lease(w, "f", name, "framework/f")));
        }),
        case("MST0033", "a weight of 0 thousandths is not between 1 and 1000000", |w| weight(w, "r", 0)),
        case("MST0033", "a weight of 18446744073709551615 thousandths is not between 1 and 1000000", |w| weight(w, "new", u64::MAX)),
        case("MST0010", "4097 roles with a weight are more than the limit of 4096", |w| weight(w, "one-more", 2))
            .after(|w| names(4096).iter().for_each(|name| {
                quickly(w, asked(OperatorRequest::SetWeight { role: role(name), weight_milli: 2 }));
            })),
        case("MST0010", "4097 privileged principals are more than the limit of 4096", |w| {
            ask(w, OperatorRequest::SetPrivileged { principals: names(4097).into_iter().collect() })
        }),
        case("MST0010", "257 quotas at once are more than the limit of 256", |w| {
            set(w, names(257).iter().map(|name| (name.as_str(), quota(&[], &[("cpus", 1)]))).collect(), true)
        }),
        case("MST0010", "4097 roles with a quota are more than the limit of 4096", |w| set(w, vec![("one-more", quota(&[], &[("cpus", 1)]))], true))
            .after(|w| {
                for chunk in names(4096).chunks(256) {
                    let quotas = chunk.iter().map(|name| (role(name), quota(&[], &[("cpus", 1)]))).collect();
                    quickly(w, asked(OperatorRequest::SetQuotas { quotas, force: true }));
                }
            }),
        case("MST0046", "the quota of role r is given twice", |w| set(w, vec![("r", quota(&[], &[])), ("r", quota(&[], &[("cpus", 1)]))], true)),
        case("MST0046", "the quota of role x names 'ports', which is no scalar", |w| {
            set(w, vec![("r", quota(&[], &[("cpus", 9)])), ("x", quota(&[], &[("ports", 1)]))], true)
        }),
        case("MST0046", "the quota of role x names '', which is no scalar", |w| set(w, vec![("x", quota(&[("", 1)], &[]))], true)),
        case("MST0046", "the quota of role x has -1 cpus, which is negative or absurd", |w| set(w, vec![("x", quota(&[], &[("cpus", -1)]))], true)),
        case("MST0046", "the quota of role x has 9223372036854775.807 cpus, which is negative or absurd", |w| {
            let limits = [("cpus".to_owned(), Milli(i64::MAX))].into();
            set(w, vec![("x", Quota { limits, ..Quota::default() })], true)
        }),
        case("MST0046", "the quota of role x guarantees 2 cpus, above its limit of 1", |w| {
            set(w, vec![("x", quota(&[("cpus", 2)], &[("cpus", 1)]))], true)
        }),
        case("MST0046", "the quota of role x has more than 32 scalars", |w| {
            let limits = names(33).into_iter().map(|name| (name, Milli(1))).collect();
            set(w, vec![("x", Quota { limits, ..Quota::default() })], true)
        }),
        case("MST0047", "role r has a limit of 0 cpus and uses 1: more than the new limit", |w| set(w, vec![("r", quota(&[], &[("cpus", 0)]))], false)),
        case("MST0048", "guarantees of 1000 cpus are more than the pool's 8 cpus", |w| set(w, vec![("x", quota(&[("cpus", 1000)], &[]))], false)),
        case("MST0031", "there is no agent 'nobody'", |w| ask(w, OperatorRequest::DeactivateAgent { agent: "nobody".to_owned() })),
        case("MST0031", "there is no agent 'nobody'", |w| ask(w, OperatorRequest::ReactivateAgent { agent: "nobody".to_owned() })),
        case("MST0031", "there is no agent 'm-S9'", |w| ask(w, OperatorRequest::MarkAgentGone { agent: "m-S9".to_owned() })),
        case("MST0031", "there is no agent 'nobody'", |w| drain(w, "nobody", Span(0))),
        case("MST0031", "there is no agent 'nobody'", |w| change(w, "nobody", reserve("s", disk(1)))),
        // One that is there beside one that is not.
        case("MST0031", "there is no agent 'nobody'", |w| scheduled(w, &["one", "nobody"], window(5_000_000, 60))),
        case("MST0031", "there is no agent 'nobody'", |w| ask(w, OperatorRequest::StartMaintenance { agents: agents(&["one", "nobody"]) }))
            .after(|w| schedule(w, "one")),
        case("MST0031", "there is no agent 'nobody'", |w| ask(w, OperatorRequest::CancelMaintenance { agents: agents(&["one", "nobody"]) }))
            .after(|w| schedule(w, "one")),
        case("MST0027", "agent m-S1 was declared gone", |w| ask(w, OperatorRequest::DeactivateAgent { agent: "m-S1".to_owned() })).after(gone),
        case("MST0027", "agent m-S1 was declared gone", |w| ask(w, OperatorRequest::ReactivateAgent { agent: "m-S1".to_owned() })).after(gone),
        case("MST0027", "agent m-S1 was declared gone", |w| drain(w, "m-S1", Span(0))).after(gone),
        case("MST0027", "agent m-S1 was declared gone", |w| change(w, "m-S1", reserve("s", disk(1)))).after(gone),
        case("MST0027", "agent m-S1 was declared gone", |w| scheduled(w, &["two", "m-S1"], window(5_000_000, 60))).after(gone),
        case("MST0027", "agent m-S1 was declared gone", |w| gone_by_id(w, |agents| OperatorRequest::StartMaintenance { agents })).after(gone),
        case("MST0027", "agent m-S1 was declared gone", |w| gone_by_id(w, |agents| OperatorRequest::StopMaintenance { agents })).after(gone),
        case("MST0032", "agent m-S1 is connected", |w| ask(w, OperatorRequest::MarkAgentGone { agent: "one".to_owned() })),
        case("MST0038", "a drain of 604801 s is longer than the limit of 604800 s", |w| drain(w, "one", Span::seconds(7 * 24 * 3600 + 1))),
        case("MST0038", "a drain of 18446744073709551 s is longer than the limit of 604800 s", |w| drain(w, "one", Span(u64::MAX))),
        case("MST0010", "16385 agents are more than the limit of 16384", |w| {
            ask(w, OperatorRequest::ScheduleMaintenance { agents: vec!["one".to_owned(); 16385], window: window(5_000_000, 60) })
        }),
        case("MST0016", "maintenance of no agent", |w| scheduled(w, &[], window(5_000_000, 60))),
        case("MST0016", "a maintenance window of no length", |w| scheduled(w, &["one"], window(5_000_000, 0))),
        case("MST0016", "a maintenance window that is over", |w| scheduled(w, &["one"], window(0, 1))),
        case("MST0042", "no maintenance of agent 'two' is scheduled", |w| ask(w, OperatorRequest::StartMaintenance { agents: agents(&["one", "two"]) }))
            .after(|w| schedule(w, "one")),
        case("MST0042", "no maintenance of agent 'one' is scheduled", |w| ask(w, OperatorRequest::CancelMaintenance { agents: agents(&["one"]) })),
        case("MST0042", "no maintenance of agent 'one' is scheduled", |w| ask(w, OperatorRequest::StopMaintenance { agents: agents(&["one"]) })),
        case("MST0043", "agent 'two' is being maintained or drained", |w| ask(w, OperatorRequest::CancelMaintenance { agents: agents(&["one", "two"]) }))
            .after(|w| {
                schedule(w, "one");
                schedule(w, "two");
                ask(w, OperatorRequest::StartMaintenance { agents: agents(&["two"]) });
            }),
        case("MST0044", "maintenance of agent 'one' has not started", |w| ask(w, OperatorRequest::StopMaintenance { agents: agents(&["one", "two"]) }))
            .after(|w| {
                schedule(w, "one");
                schedule(w, "two");
                ask(w, OperatorRequest::StartMaintenance { agents: agents(&["two"]) });
            }),
        case("MST0016", "nothing can be reserved for the role '*'", |w| change(w, "one", reserve("*", disk(1)))),
        case("MST0023", "a reservation must carry the framework's own principal operator/ann", |w| {
            change(w, "one", HoldingsChange::Reserve { wanted: held("s", "operator/bob", None, disk(1)), source: None })
        }),
        case("MST0024", "volume v exists on this agent", |w| change(w, "two", HoldingsChange::Create(volume()))),
        case("MST0051", "what the agent's configuration reserves for role r stays so reserved", |w| change(w, "one", HoldingsChange::Unreserve(fixed()))),
        case("MST0052", "volume v is used by something that runs", |w| change(w, "two", HoldingsChange::Destroy(volume()))),
        case("MST0053", "of what is asked for, tasks on agent m-S2 use cpus 1 unreserved", |w| change(w, "two", reserve("s", cpus(4)))),
        case("MST0054", "agent m-S1 lacks disk 901 MiB unreserved", |w| change(w, "one", reserve("s", disk(1001)))),
        case("MST0054", "agent m-S1 lacks disk 1 MiB reserved for role s", |w| {
            change(w, "one", HoldingsChange::Unreserve(held("s", "operator/ann", None, disk(1))))
        }),
        case("MST0055", "agent m-S1 is not connected", |w| change(w, "one", reserve("s", disk(1)))).after(away),
        case("MST0049", "role s has a limit of 0 cpus and uses 0: the operation would exceed it", |w| change(w, "one", reserve("s", cpus(1))))
            .after(|w| drop(set(w, vec![("s", quota(&[], &[("cpus", 0)]))], false))),
    ]
}
