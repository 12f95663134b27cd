//! Refusals of the shell itself (the core has its own), and how any refusal travels: as a gRPC status whose details are
//! the encoded `mezzo.v1.Refusal`, or as JSON over HTTP. The status is chosen here alone.
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use model::Refusal;
use prost::Message as _;
use tonic::{Code, Status};

pub(crate) fn forbidden(message: impl Into<String>, next_step: impl Into<String>) -> Refusal {
    Refusal::new("MST0100", message, next_step)
}
pub(crate) fn malformed(field: impl Into<String>, message: impl Into<String>) -> Refusal {
    Refusal::new("MST0101", message, "correct the request").at(field)
}
pub(crate) fn bad_token(message: impl Into<String>) -> Refusal {
    Refusal::new("MST0102", message, "make a new token with `mezzo master token`, it can be used once")
}
pub(crate) fn not_found(message: impl Into<String>, next_step: impl Into<String>) -> Refusal {
    Refusal::new("MST0103", message, next_step)
}
pub(crate) fn in_use(message: impl Into<String>, next_step: impl Into<String>) -> Refusal {
    Refusal::new("MST0104", message, next_step)
}
pub(crate) fn unavailable(message: impl Into<String>, next_step: impl Into<String>) -> Refusal {
    Refusal::new("MST0105", message, next_step)
}
pub(crate) fn too_much(message: impl Into<String>, next_step: impl Into<String>) -> Refusal {
    Refusal::new("MST0106", message, next_step)
}
pub(crate) fn wrong_digest(message: impl Into<String>) -> Refusal {
    Refusal::new("MST0107", message, "send the bytes the digest was made of")
}
/// A body that was read whole, or why it was not.
pub(crate) fn body(read: Result<Bytes, BytesRejection>, limit: usize) -> Result<Bytes, Refusal> {
    read.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_much(format!("the body has more than {limit} bytes"), "send less"),
        _ => malformed("body", format!("the body cannot be read: {}", rejection.body_text())),
    })
}
/// Something of the master's own failed; the log has the error.
pub(crate) fn failed(operation: &str, error: &dyn std::error::Error) -> Refusal {
    let error = daemon::error::chain(error);
    tracing::error!(%error, operation, "request failed");
    Refusal::new(
        "MST0108",
        format!("the master could not {operation}: {error}"),
        "see the master's log, then try again",
    )
}
/// The master is stopping.
pub(crate) fn stopping() -> Refusal {
    unavailable("the master is stopping", "try again in a moment")
}

fn code(refusal: &Refusal) -> Code {
    match refusal.code.as_str() {
        "MST0003" | "MST0008" | "MST0020" | "MST0025" | "MST0100" => Code::PermissionDenied,
        "MST0102" => Code::Unauthenticated,
        "MST0007" | "MST0031" | "MST0103" | "CAT0002" | "CAT0003" => Code::NotFound,
        "MST0004" | "MST0104" => Code::AlreadyExists,
        "MST0011" | "MST0105" => Code::Unavailable,
        "MST0010" | "MST0035" | "MST0039" | "MST0106" => Code::ResourceExhausted,
        "MST0006" | "MST0032" | "CAT0005" | "CAT0007" => Code::FailedPrecondition,
        "MST0108" => Code::Internal,
        _ => Code::InvalidArgument,
    }
}

/// As a gRPC status.
pub(crate) fn status(refusal: &Refusal) -> Status {
    let details = proto::convert::refusal_to_wire(refusal).encode_to_vec();
    Status::with_details(code(refusal), refusal.message.clone(), details.into())
}

/// As an HTTP response.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Refusal);

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        #[allow(clippy::wildcard_enum_match_arm)] // gRPC has more codes than are used above
        let status = match code(&self.0) {
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::AlreadyExists | Code::FailedPrecondition => StatusCode::CONFLICT,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::ResourceExhausted => StatusCode::PAYLOAD_TOO_LARGE,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        (status, axum::Json(self.0)).into_response()
    }
}
