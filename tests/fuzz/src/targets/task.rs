//! A task's payload and a task's status: both travel inside of other messages, and lie on disks.
use prost::Message as _;
use proto::convert::{self, event, resources, task};
use proto::mesos::v1 as wire;

use crate::{check, parts};

/// A `TaskInfo` and a `TaskStatus`.
pub fn target(data: &[u8]) {
    let [payload, status] = parts::of(data);
    match task::task_from_payload(payload) {
        Err(error) => check::field_error(&error),
        Ok(read) => {
            check::resources(&read.head.resources);
            let info = task::info_from_payload(payload).expect("it was read before");
            assert_eq!(task::head_from_info(&info).as_ref(), Ok(&read.head));
            if let Ok(again) = task::head_from_info(&task::info_from_head(&read.head)) {
                check::resources(&again.resources);
                assert_eq!(again.task_id, read.head.task_id);
            }
            assert_eq!(task::task_from_info(&info).map(|task| task.head).as_ref(), Ok(&read.head));
            let pod = task::pod_from_wire(None, std::slice::from_ref(&info)).expect("one task is a pod");
            check::resources(&pod.resources());
            for labels in info.labels.iter() {
                let read = resources::labels_from_wire(labels);
                assert_eq!(resources::labels_from_wire(&resources::labels_to_wire(&read)), read);
            }
        }
    }
    if let Ok(info) = wire::ExecutorInfo::decode(payload)
        && let Err(error) = task::pod_from_wire(Some(&info), &[])
    {
        check::field_error(&error);
    }
    if let Ok(message) = wire::TaskStatus::decode(status) {
        match task::status_from_wire(&message) {
            Err(error) => check::field_error(&error),
            Ok(read) => assert_eq!(task::status_from_wire(&task::status_to_wire(&read)), Ok(read)),
        }
        if let Ok(state) = task::state_from_wire(message.state, "state") {
            assert_eq!(task::state_to_wire(state), message.state);
        }
        if let Ok(state) = event::operation_state_from_wire(message.state, "state") {
            assert_eq!(event::operation_state_to_wire(state), message.state);
        }
    }
    if let Err(error) = task::update_id(status, "uuid") {
        check::field_error(&error);
    }
    if let Ok(window) = wire::Unavailability::decode(status) {
        let read = event::unavailability_from_wire(&window);
        assert_eq!(event::unavailability_from_wire(&event::unavailability_to_wire(read)), read);
    }
    if let Some(bytes) = status.first_chunk()
        && let Ok(amount) = resources::milli(f64::from_le_bytes(*bytes), "amount").inspect_err(check::field_error)
    {
        assert_eq!(resources::milli(resources::units(amount), "amount"), Ok(amount));
    }
    if let Ok(refusal) = proto::mezzo::v1::Refusal::decode(status) {
        assert_eq!(convert::refusal_to_wire(&convert::refusal_from_wire(refusal.clone())), refusal);
    }
}
