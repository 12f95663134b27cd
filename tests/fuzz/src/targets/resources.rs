//! Lists of resources, which nearly every message has.
use proto::convert::resources;
use proto::mezzo::v1::SetHoldings;

use crate::check;

/// A message of resources and nothing else.
pub fn target(data: &[u8]) {
    let Ok(message) = proto::bounds::decode::<SetHoldings>(data) else { return };
    match resources::from_wire(&message.holdings) {
        Err(error) => check::field_error(&error),
        Ok(read) => {
            check::resources(&read);
            assert_eq!(resources::from_wire(&resources::to_wire(&read)), Ok(read));
        }
    }
}
