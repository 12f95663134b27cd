//! Makes the keys and certificates that the plan in `kubernetes-core` names. ECDSA P-256 everywhere, but RSA-2048 for
//! service account tokens, whose issuer and every verifier out there take RSA.
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use kubernetes_core::pki::{Authority, Leaf, Usage};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize, SanType,
};

/// A certificate and its key, PEM.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}
impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").finish_non_exhaustive()
    }
}

/// Why something could not be made.
#[derive(Debug, thiserror::Error)]
#[error("make the certificate of {subject}")]
pub struct PkiError {
    subject: String,
    #[source]
    source: rcgen::Error,
}

/// Clocks of a pool may differ by this much.
const CLOCK_SKEW: Duration = Duration::from_secs(300);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Makes an authority.
///
/// # Errors
/// If the library cannot.
pub fn authority(authority: Authority) -> Result<Pair, PkiError> {
    let failed = |source| PkiError { subject: authority.common_name().to_owned(), source };
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, authority.common_name());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    set_validity(&mut params, DAY * 365 * Authority::YEARS);
    let certificate = params.self_signed(&key).map_err(failed)?.pem();
    Ok(Pair { certificate, key: key.serialize_pem() })
}

/// Makes a key and has it signed by an authority.
///
/// # Errors
/// If the authority is none or a name is no name.
pub fn issue(authority: &Pair, leaf: &Leaf, seconds: u64) -> Result<Pair, PkiError> {
    let failed = |source| PkiError { subject: leaf.common_name.clone(), source };
    let ca_key = KeyPair::from_pem(&authority.key).map_err(failed)?;
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, ca_key).map_err(failed)?;
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    for organization in &leaf.organizations {
        name.push(DnType::OrganizationName, organization.as_str());
    }
    name.push(DnType::CommonName, leaf.common_name.as_str());
    params.distinguished_name = name;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = match leaf.usage {
        Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Usage::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
    };
    for dns_name in &leaf.dns_names {
        params.subject_alt_names.push(SanType::DnsName(dns_name.as_str().try_into().map_err(failed)?));
    }
    params.subject_alt_names.extend(leaf.addresses.iter().map(|address| SanType::IpAddress(IpAddr::V4(*address))));
    set_validity(&mut params, Duration::from_secs(seconds));
    let certificate = params.signed_by(&key, &issuer).map_err(failed)?.pem();
    Ok(Pair { certificate, key: key.serialize_pem() })
}

/// Makes the key of service account tokens: the public half and the private one.
///
/// # Errors
/// If the library cannot.
pub fn service_account() -> Result<Pair, PkiError> {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
        .map_err(|source| PkiError { subject: "service accounts".to_owned(), source })?;
    Ok(Pair { certificate: key.public_key_pem(), key: key.serialize_pem() })
}

fn set_validity(params: &mut CertificateParams, valid: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + valid).into();
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use kubernetes_core::Options;
    use kubernetes_core::pki;
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

    use super::*;

    #[test]
    fn an_apiservers_certificate_is_signed_by_the_cluster_and_names_its_address() {
        let ca = authority(Authority::Cluster).expect("made");
        let leaf = pki::apiserver(
            "apiserver",
            "demo",
            &Options::default(),
            Ipv4Addr::new(192, 0, 2, 7),
            Ipv4Addr::new(198, 18, 0, 1),
        );
        let pair = issue(&ca, &leaf, 365 * 86400).expect("issued");
        let (_, pem) = x509_parser::pem::parse_x509_pem(pair.certificate.as_bytes()).expect("PEM");
        let (_, certificate) = X509Certificate::from_der(&pem.contents).expect("a certificate");
        assert_eq!(certificate.issuer().to_string(), "CN=kubernetes-ca");
        let names = certificate.subject_alternative_name().expect("well-formed").expect("present");
        assert!(names.value.general_names.contains(&GeneralName::IPAddress(&[192, 0, 2, 7])));
        assert!(names.value.general_names.contains(&GeneralName::DNSName("api.demo.mezzo")));
        let days =
            (certificate.validity().not_after.timestamp() - certificate.validity().not_before.timestamp()) / 86400;
        assert_eq!(days, 365);
    }

    #[test]
    fn a_nodes_groups_are_its_organizations() {
        let ca = authority(Authority::Cluster).expect("made");
        let pair = issue(&ca, &pki::node_client("kubelet-client", "node-3"), 30 * 86400).expect("issued");
        let (_, pem) = x509_parser::pem::parse_x509_pem(pair.certificate.as_bytes()).expect("PEM");
        let (_, certificate) = X509Certificate::from_der(&pem.contents).expect("a certificate");
        assert_eq!(certificate.subject().to_string(), "O=system:nodes, CN=system:node:node-3");
    }

    #[test]
    fn tokens_are_signed_with_rsa() {
        let pair = service_account().expect("made");
        assert!(pair.certificate.starts_with("-----BEGIN PUBLIC KEY-----"));
        assert!(pair.key.contains("PRIVATE KEY-----"));
    }
}
