//! Calls of frameworks, as the master's session reads them.
use master_core::Event;
use model::Principal;
use model::call::{Call, Operation};
use model::task::Pod;
use proto::convert;
use proto::mezzo::v1::FrameworkCall;

use crate::check;

/// One call.
pub fn target(data: &[u8]) {
    let Ok(message) = proto::bounds::decode::<FrameworkCall>(data) else { return };
    let principal = Principal::new("framework/fuzz");
    match master::fuzzing::framework_call(&principal, message) {
        Err(refusal) => {
            assert!(!refusal.field.is_empty(), "no field is named: {refusal}");
            check::refusal(&refusal);
        }
        Ok(Event::FrameworkCalled { call: Some(call), .. }) => taken(&call, &principal),
        Ok(_) => {}
    }
}

fn taken(call: &Call, principal: &Principal) {
    match call {
        Call::Subscribe { info, .. } | Call::UpdateFramework { info, .. } => {
            check::framework(info);
            assert_eq!(&info.principal, principal);
        }
        Call::Accept { operations, .. } => operations.iter().for_each(operation),
        _ => {}
    }
    // What cannot be said again was several resources where one is meant: the core refuses it.
    let Ok(wire) = convert::call::to_wire(call, None) else { return };
    let again = convert::call::from_wire(&wire, principal).expect("what was taken once is taken again");
    assert_eq!(without_payloads(call), without_payloads(&again));
}

fn operation(operation: &Operation) {
    match operation {
        Operation::Launch(pod) => {
            pod.tasks.iter().for_each(|task| check::resources(&task.head.resources));
            check::resources(&pod.executor_resources);
        }
        Operation::Reserve(part) | Operation::Unreserve(part) | Operation::Create(part) | Operation::Destroy(part) => {
            check::resources(part);
        }
        Operation::Grow { volume, addition } => {
            check::resources(volume);
            check::resources(addition);
        }
        Operation::Shrink { volume, subtract } => {
            check::resources(volume);
            assert!(subtract.0 > 0);
        }
        Operation::Identified { operation: inner, .. } => self::operation(inner),
    }
}

/// A payload is encoded anew, and its maps have no order.
fn without_payloads(call: &Call) -> Call {
    let pod = |pod: &Pod| {
        let mut pod = pod.clone();
        pod.tasks.iter_mut().for_each(|task| task.payload = [].into());
        Pod { executor: [].into(), ..pod }
    };
    match call {
        Call::Accept { offers, operations, filter } => Call::Accept {
            offers: offers.clone(),
            operations: operations
                .iter()
                .map(|operation| match operation {
                    Operation::Launch(launched) => Operation::Launch(pod(launched)),
                    other => other.clone(),
                })
                .collect(),
            filter: *filter,
        },
        other => other.clone(),
    }
}
