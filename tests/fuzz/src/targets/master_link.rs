//! What the master says to agents.
use model::link::ToAgent;
use proto::convert;
use proto::mezzo::v1::MasterMessage;

use crate::check;

/// One message.
pub fn target(data: &[u8]) {
    let Ok(message) = proto::bounds::decode::<MasterMessage>(data) else { return };
    match convert::link::to_agent_from_wire(&message) {
        Err(error) => check::field_error(&error),
        Ok((epoch, said)) => {
            match &said {
                ToAgent::Launch { framework, pod, privileged_allowed } => {
                    check::resources(&pod.resources());
                    let wire = convert::link::launch_to_wire(framework, pod, *privileged_allowed);
                    let again = convert::link::launch_from_wire(&wire).expect("what was taken once is taken again");
                    assert_eq!((&again.0, &again.1, again.2), (framework, pod, *privileged_allowed));
                }
                ToAgent::SetHoldings { holdings, .. } => check::resources(holdings),
                ToAgent::Registered { .. }
                | ToAgent::Refused(_)
                | ToAgent::Kill { .. }
                | ToAgent::Acknowledge { .. }
                | ToAgent::Peers(_)
                | ToAgent::Ping { .. }
                | ToAgent::ShutdownFramework { .. } => {}
            }
            let again = convert::link::to_agent_to_wire(&said, epoch);
            assert_eq!(convert::link::to_agent_from_wire(&again), Ok((epoch, said)));
        }
    }
}
