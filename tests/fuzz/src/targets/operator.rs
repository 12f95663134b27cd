//! Requests of operators, as far as the core is asked.
use master::fuzzing::OperatorRequest;

use crate::{check, parts};

const REQUESTS: [OperatorRequest; 5] = [
    OperatorRequest::ChangeHoldings,
    OperatorRequest::SetQuotas,
    OperatorRequest::SetWeight,
    OperatorRequest::IssueIdentity,
    OperatorRequest::WatchEvents,
];

/// Which, and the request; its text is taken for the paths of images, too.
pub fn target(data: &[u8]) {
    let [kind, bytes] = parts::of(data);
    let kind = REQUESTS[usize::from(kind.first().copied().unwrap_or_default()) % REQUESTS.len()];
    if let Ok(Err(refusal)) = master::fuzzing::operator_request(kind, bytes) {
        assert!(!refusal.field.is_empty(), "no field is named: {refusal}");
        check::refusal(&refusal);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        match master::fuzzing::image_path(text) {
            Ok(place) => assert!(
                place.split(['/', ' ']).all(|part| !part.is_empty() && !part.starts_with('.')) && !place.contains('\0'),
                "'{text}' leads to '{place}'"
            ),
            Err(refusal) => check::refusal(&refusal),
        }
    }
}
