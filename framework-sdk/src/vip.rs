//! Asking the master for a virtual address.
use std::net::Ipv4Addr;

use daemon::client::{HttpClient, HttpError};
use model::Refusal;
use model::task::Vip;
use serde::Deserialize;

use crate::limits;

/// Why there is no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaseError {
    #[error("'{0}' is no name of a virtual address")]
    Name(String),
    #[error("lease a virtual address")]
    Refused(Refusal),
    #[error("ask the master for a virtual address")]
    Ask(#[source] HttpError),
    #[error("the master does not answer in time")]
    Late,
    #[error("read the master's answer")]
    Answer(#[source] serde_json::Error),
}

impl LeaseError {
    /// Whether asking again may help.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            // The disk is behind, or the master is stopping.
            LeaseError::Refused(refusal) => matches!(refusal.code.as_str(), "MST0011" | "MST0105"),
            LeaseError::Ask(_) | LeaseError::Late => true,
            LeaseError::Name(_) | LeaseError::Answer(_) => false,
        }
    }
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            LeaseError::Refused(refusal) => refusal,
            LeaseError::Name(_) => {
                Refusal::new("SDK0012", self.to_string(), "choose 1 to 63 of a-z, 0-9 and '-', not at the ends")
            }
            LeaseError::Ask(_) | LeaseError::Late | LeaseError::Answer(_) => Refusal::new(
                "SDK0012",
                format!("the master gives no virtual address: {}", daemon::error::chain(&self)),
                "see that the master runs; it is asked again",
            ),
        }
    }
}

#[derive(Deserialize)]
struct Leased {
    address: Ipv4Addr,
}

/// Asks once.
pub(crate) async fn lease(master: &HttpClient, framework: &str, name: &str) -> Result<Ipv4Addr, LeaseError> {
    if !Vip::is_name(name) {
        return Err(LeaseError::Name(name.to_owned()));
    }
    let path = format!("/v1/frameworks/{framework}/vips/{name}");
    let asked = tokio::time::timeout(limits::VIP_ANSWER, master.put(&path, "", Vec::new()));
    match asked.await.map_err(|_| LeaseError::Late)? {
        Ok(bytes) => serde_json::from_slice::<Leased>(&bytes).map(|leased| leased.address).map_err(LeaseError::Answer),
        Err(HttpError::Status { status, address, path, text }) => match serde_json::from_str(&text) {
            Ok(refusal) => Err(LeaseError::Refused(refusal)),
            Err(_) => Err(LeaseError::Ask(HttpError::Status { status, address, path, text })),
        },
        Err(error) => Err(LeaseError::Ask(error)),
    }
}
