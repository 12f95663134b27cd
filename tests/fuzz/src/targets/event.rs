//! Events, as a framework reads them from a master.
use model::call::SchedulerEvent;
use proto::convert;
use proto::mezzo::v1::FrameworkEvent;
use proto::mezzo::v1::framework_event::Kind;

use crate::check;

/// One message of a session.
pub fn target(data: &[u8]) {
    let Ok(message) = proto::bounds::decode::<FrameworkEvent>(data) else { return };
    match message.kind {
        Some(Kind::Event(event)) => match convert::event::from_wire(&event) {
            Err(error) => check::field_error(&error),
            Ok(None) => {}
            Ok(Some(event)) => {
                if let SchedulerEvent::Offers(offers) = &event {
                    offers.iter().for_each(|offer| check::resources(&offer.resources));
                }
                let wire = convert::event::to_wire(&event, None);
                assert_eq!(convert::event::from_wire(&wire), Ok(Some(event)));
            }
        },
        Some(Kind::Result(result)) => {
            let Some(wire) = result.refusal else { return };
            let refusal = convert::refusal_from_wire(wire.clone());
            assert_eq!(convert::refusal_to_wire(&refusal), wire);
        }
        Some(Kind::State(_)) | None => {}
    }
}
