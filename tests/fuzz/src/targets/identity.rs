//! Requests for certificates: anybody may send one, the token is looked at afterwards.
use std::sync::LazyLock;
use std::time::Duration;

use daemon::identity::{CertificateAuthority, CertificateRequest, Identity, principal_of};
use model::Principal;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::check;

static AUTHORITY: LazyLock<CertificateAuthority> =
    LazyLock::new(|| CertificateAuthority::create("fuzz").expect("made"));

/// A request, or a certificate, as PEM.
pub fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let wanted = CertificateRequest {
        principal: Principal::new("agent/fuzz"),
        dns_names: vec!["fuzz.agent.mezzo".to_owned()],
        addresses: Vec::new(),
        valid: Duration::from_secs(60),
    };
    match AUTHORITY.sign(text, &wanted) {
        Err(error) => check::said(&daemon::error::chain(&error)),
        Ok(pem) => {
            // Whatever the request says of itself, the certificate says what was allowed.
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("ours");
            assert_eq!(principal_of(&der).expect("ours"), wanted.principal);
        }
    }
    let identity = Identity { ca_pem: String::new(), cert_pem: text.to_owned(), key_pem: String::new() };
    match identity.principal() {
        Ok(principal) => assert!(!principal.as_str().is_empty()),
        Err(error) => check::said(&daemon::error::chain(&error)),
    }
    let _ = principal_of(&CertificateDer::from(data));
}
