//! Doors for `tests/fuzz` to what peers send this port; nothing else goes through them.
use master_core::{Event, SessionId};
use model::{Principal, Refusal};
use prost::{DecodeError, Message as _};
use proto::mezzo::v1 as wire;

use super::{events, frameworks, holdings, images, quotas};
use crate::artifacts::{self, Digest};
use crate::pki;

/// A framework's call, as its session reads it.
///
/// # Errors
/// As the framework is told.
pub fn framework_call(principal: &Principal, message: wire::FrameworkCall) -> Result<Event, Refusal> {
    frameworks::decode(SessionId(1), principal, message)
}

/// Requests of operators that are more than names and numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorRequest {
    /// Reservations and volumes.
    ChangeHoldings,
    /// Guarantees and limits.
    SetQuotas,
    /// A role's weight.
    SetWeight,
    /// Somebody's certificate.
    IssueIdentity,
    /// Kinds of events.
    WatchEvents,
}

/// One of them, up to where the core is asked.
///
/// # Errors
/// The outer: the bytes are no such message. The inner: as the operator is told.
pub fn operator_request(kind: OperatorRequest, bytes: &[u8]) -> Result<Result<String, Refusal>, DecodeError> {
    Ok(match kind {
        OperatorRequest::ChangeHoldings => {
            let request = wire::ChangeHoldingsRequest::decode(bytes)?;
            holdings::change(request, &Principal::new("operator/fuzz")).map(|asked| format!("{asked:?}"))
        }
        OperatorRequest::SetQuotas => {
            let request = wire::SetQuotasRequest::decode(bytes)?;
            let one = |quota: &wire::RoleQuota| {
                let role = quotas::role(&quota.role, "quotas[0].role")?;
                for amounts in [&quota.guarantees, &quota.limits].into_iter().flatten() {
                    for amount in quotas::amounts(amounts, "quotas[0].limits")?.values() {
                        assert!((0..=1_000_000_000_000).contains(&amount.0), "{amount}");
                    }
                }
                Ok(role.to_string())
            };
            request.quotas.iter().map(one).collect()
        }
        OperatorRequest::SetWeight => {
            let request = wire::SetWeightRequest::decode(bytes)?;
            let role = quotas::role(&request.role, "role");
            role.and_then(|role| Ok(format!("{role} {}", quotas::milli(request.weight, "weight")?)))
        }
        OperatorRequest::IssueIdentity => {
            let request = wire::IssueIdentityRequest::decode(bytes)?;
            let valid = std::time::Duration::from_secs(request.valid_seconds.into());
            let wanted = pki::certificate_request(&request.principal, valid, &request.dns_names, &request.addresses);
            wanted.map(|wanted| format!("{wanted:?}"))
        }
        OperatorRequest::WatchEvents => {
            let request = wire::WatchEventsRequest::decode(bytes)?;
            let unknown = |kind: &str| Refusal::new("MST0101", format!("'{kind}' is no kind of event"), "").at("kinds");
            events::Wanted::parse(&request.kinds).map(|_| String::new()).map_err(unknown)
        }
    })
}

/// What a path below `/v2/` means: the file below the store that would be opened, or the tag.
///
/// # Errors
/// As the client is told.
pub fn image_path(rest: &str) -> Result<String, Refusal> {
    match images::target(rest)? {
        images::Target::Blob { digest } => Ok(Digest::parse(digest)?.hex().to_owned()),
        images::Target::Manifest { repository, reference } if reference.contains(':') => {
            Ok(format!("{repository} {}", Digest::parse(reference)?.hex()))
        }
        images::Target::Manifest { repository, reference } => {
            repository.split('/').try_for_each(|part| artifacts::check_name("repository", part))?;
            artifacts::check_name("tag", reference)?;
            Ok(format!("{repository} {reference}"))
        }
    }
}

/// Digests that a manifest names.
///
/// # Errors
/// As the client is told.
pub fn manifest(bytes: &[u8]) -> Result<Vec<String>, String> {
    let manifest: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let digests = images::references(&manifest).into_iter();
    digests.map(|digest| Digest::parse(digest).map(|digest| digest.hex().to_owned()).map_err(|it| it.message)).collect()
}
