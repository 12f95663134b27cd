//! What agents say to the master.
use model::link::FromAgent;
use proto::convert;
use proto::mezzo::v1::AgentMessage;

use crate::check;

/// One message.
pub fn target(data: &[u8]) {
    let Ok(message) = proto::bounds::decode::<AgentMessage>(data) else { return };
    match convert::link::from_agent_from_wire(&message) {
        Err(error) => check::field_error(&error),
        Ok(said) => {
            match &said {
                FromAgent::Register(registration) => {
                    check::resources(&registration.total);
                    for task in &registration.tasks {
                        check::resources(&task.head.resources);
                        check::resources(&task.executor_resources);
                        let wire = convert::link::agent_task_to_wire(task);
                        assert_eq!(convert::link::agent_task_from_wire(&wire).as_ref(), Ok(task));
                    }
                }
                FromAgent::Revocable(quantities) => check::quantities(quantities),
                FromAgent::Update { .. } | FromAgent::Pong { .. } | FromAgent::Applied { .. } => {}
            }
            let again = convert::link::from_agent_to_wire(&said);
            assert_eq!(convert::link::from_agent_from_wire(&again), Ok(said));
        }
    }
}
