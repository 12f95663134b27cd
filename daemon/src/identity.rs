//! Identities: who a process is (a certificate of the pool's CA and its key, as three files), and the CA that says so.
//!
//! The principal stands in the certificate's common name; the names a server may be verified under are its SANs.
use std::fs;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use model::Principal;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

/// Why an identity could not be made, read or written.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read.
    #[error("read identity file {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file could not be written.
    #[error("write identity file {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The certificate is no certificate, or names nobody.
    #[error("certificate is not one of this pool: {reason}")]
    Certificate {
        /// In words.
        reason: String,
    },
    /// Key or certificate could not be made.
    #[error("make a certificate for {principal}")]
    Make {
        /// For whom.
        principal: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
}

/// Who a process is: the pool's CA, its own certificate (chain) and key, all PEM.
#[derive(Clone)]
pub struct Identity {
    /// Whom it trusts.
    pub ca_pem: String,
    /// Who it is.
    pub cert_pem: String,
    /// The proof.
    pub key_pem: String,
}

impl std::fmt::Debug for Identity {
    /// The key never reaches a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("principal", &self.principal().ok()).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads `ca.pem`, `cert.pem` and `key.pem`.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub fn load(dir: &Path) -> Result<Self, IdentityError> {
        Ok(Self {
            ca_pem: read(&dir.join("ca.pem"))?,
            cert_pem: read(&dir.join("cert.pem"))?,
            key_pem: read(&dir.join("key.pem"))?,
        })
    }
    /// Writes the three files, the key readable by the owner alone.
    ///
    /// # Errors
    /// If one of them cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), IdentityError> {
        make_dir(dir)?;
        write(&dir.join("ca.pem"), &self.ca_pem, 0o644)?;
        write(&dir.join("cert.pem"), &self.cert_pem, 0o644)?;
        write(&dir.join("key.pem"), &self.key_pem, 0o600)
    }
    /// Whom the certificate names.
    ///
    /// # Errors
    /// If it names nobody.
    pub fn principal(&self) -> Result<Principal, IdentityError> {
        let der = CertificateDer::from_pem_slice(self.cert_pem.as_bytes())
            .map_err(|error| IdentityError::Certificate { reason: format!("no PEM certificate ({error})") })?;
        principal_of(&der)
    }
}

/// The principal a certificate names: its common name.
///
/// # Errors
/// If it cannot be parsed or has none.
pub fn principal_of(certificate: &CertificateDer<'_>) -> Result<Principal, IdentityError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| IdentityError::Certificate { reason: error.to_string() })?;
    let name = parsed
        .subject()
        .iter_common_name()
        .next()
        .and_then(|name| name.as_str().ok())
        .filter(|name| !name.is_empty())
        .ok_or_else(|| IdentityError::Certificate { reason: "it has no common name".to_owned() })?;
    Ok(Principal::new(name))
}

/// What the CA is to certify. Only this enters the certificate, whatever a signing request asks for.
#[derive(Debug, Clone)]
pub struct CertificateRequest {
    /// Whom.
    pub principal: Principal,
    /// Under which names it may serve.
    pub dns_names: Vec<String>,
    /// At which addresses it may serve.
    pub addresses: Vec<IpAddr>,
    /// For how long.
    pub valid: Duration,
}

/// A key and a signing request for it: what a joining process sends. The key stays.
pub struct SigningRequest {
    /// To be sent.
    pub csr_pem: String,
    /// To be kept.
    pub key_pem: String,
}

impl std::fmt::Debug for SigningRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningRequest").finish_non_exhaustive()
    }
}

impl SigningRequest {
    /// Makes a key and the request.
    ///
    /// # Errors
    /// If the library cannot.
    pub fn create(principal: &Principal) -> Result<Self, IdentityError> {
        let failed = |source| IdentityError::Make { principal: principal.to_string(), source };
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(principal.as_str());
        let csr_pem = params.serialize_request(&key).and_then(|csr| csr.pem()).map_err(failed)?;
        Ok(Self { csr_pem, key_pem: key.serialize_pem() })
    }
}

/// The pool's CA. Lives in the master alone.
pub struct CertificateAuthority {
    ca_pem: String,
    key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateAuthority").finish_non_exhaustive()
    }
}

/// A CA lives as long as a pool may; leaves are renewed, it is not.
const CA_VALID: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// Clocks of a pool may differ by this much.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

impl CertificateAuthority {
    /// Makes a CA for a pool.
    ///
    /// # Errors
    /// If the library cannot.
    pub fn create(pool: &str) -> Result<Self, IdentityError> {
        let name = format!("mezzo pool {pool}");
        let failed = |source| IdentityError::Make { principal: name.clone(), source };
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, CA_VALID);
        let ca_pem = params.self_signed(&key).map_err(failed)?.pem();
        let key_pem = key.serialize_pem();
        Ok(Self { ca_pem, key_pem, issuer: Issuer::new(params, key) })
    }
    /// Reads `ca.pem` and `ca-key.pem`.
    ///
    /// # Errors
    /// If they cannot be read or are no CA.
    pub fn load(dir: &Path) -> Result<Self, IdentityError> {
        let (ca_pem, key_pem) = (read(&dir.join("ca.pem"))?, read(&dir.join("ca-key.pem"))?);
        let failed = |source| IdentityError::Make { principal: "the pool's CA".to_owned(), source };
        let key = KeyPair::from_pem(&key_pem).map_err(failed)?;
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, key).map_err(failed)?;
        Ok(Self { ca_pem, key_pem, issuer })
    }
    /// Writes both files, the key readable by the owner alone.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), IdentityError> {
        make_dir(dir)?;
        write(&dir.join("ca.pem"), &self.ca_pem, 0o644)?;
        write(&dir.join("ca-key.pem"), &self.key_pem, 0o600)
    }
    /// The CA's certificate.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }
    /// SHA-256 of the CA's certificate (DER), in hex: what a joining agent is told beside its token.
    ///
    /// # Errors
    /// If the certificate is none.
    pub fn sha256(&self) -> Result<String, IdentityError> {
        let der = CertificateDer::from_pem_slice(self.ca_pem.as_bytes())
            .map_err(|error| IdentityError::Certificate { reason: error.to_string() })?;
        Ok(hex::encode(Sha256::digest(&der)))
    }
    /// Makes a key and certifies it.
    ///
    /// # Errors
    /// If the library cannot, or a name is no name.
    pub fn issue(&self, request: &CertificateRequest) -> Result<Identity, IdentityError> {
        let failed = |source| IdentityError::Make { principal: request.principal.to_string(), source };
        let key = KeyPair::generate().map_err(failed)?;
        let cert_pem = leaf(request).and_then(|params| params.signed_by(&key, &self.issuer)).map_err(failed)?.pem();
        Ok(Identity { ca_pem: self.ca_pem.clone(), cert_pem, key_pem: key.serialize_pem() })
    }
    /// Certifies the key of a signing request; nothing else of it is believed.
    ///
    /// # Errors
    /// If the request is malformed or not signed by its own key.
    pub fn sign(&self, csr_pem: &str, request: &CertificateRequest) -> Result<String, IdentityError> {
        let failed = |source| IdentityError::Make { principal: request.principal.to_string(), source };
        let mut csr = CertificateSigningRequestParams::from_pem(csr_pem).map_err(failed)?;
        csr.params = leaf(request).map_err(failed)?;
        Ok(csr.signed_by(&self.issuer).map_err(failed)?.pem())
    }
}

fn leaf(request: &CertificateRequest) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(request.principal.as_str());
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    for name in &request.dns_names {
        params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
    }
    params.subject_alt_names.extend(request.addresses.iter().copied().map(SanType::IpAddress));
    set_validity(&mut params, request.valid);
    Ok(params)
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn set_validity(params: &mut CertificateParams, valid: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + valid).into();
}

fn read(path: &Path) -> Result<String, IdentityError> {
    fs::read_to_string(path).map_err(|source| IdentityError::Read { path: path.to_owned(), source })
}

fn make_dir(dir: &Path) -> Result<(), IdentityError> {
    fs::create_dir_all(dir).map_err(|source| IdentityError::Write { path: dir.to_owned(), source })
}

/// Never a half-written key: to a neighbour first, then renamed.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), IdentityError> {
    let temporary = path.with_extension("tmp");
    let result = (|| {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    result.map_err(|source| IdentityError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn request(name: &str) -> CertificateRequest {
        CertificateRequest {
            principal: Principal::new(name),
            dns_names: vec!["a.agent.mezzo".to_owned()],
            addresses: vec![IpAddr::from([127, 0, 0, 1])],
            valid: Duration::from_secs(3600),
        }
    }

    #[test]
    fn an_identity_survives_the_disk_and_its_key_is_private() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let ca = CertificateAuthority::create("test").expect("CA");
        ca.save(dir.path()).expect("saved");
        let ca = CertificateAuthority::load(dir.path()).expect("loaded");
        let identity = ca.issue(&request("agent/a")).expect("issued");
        identity.save(&dir.path().join("id")).expect("saved");
        let read = Identity::load(&dir.path().join("id")).expect("loaded");
        assert_eq!(read.principal().expect("named"), Principal::new("agent/a"));
        let mode = fs::metadata(dir.path().join("id/key.pem")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_signing_request_decides_nothing_but_the_key() {
        let ca = CertificateAuthority::create("test").expect("CA");
        let wanted = SigningRequest::create(&Principal::new("operator/root")).expect("request");
        let cert_pem = ca.sign(&wanted.csr_pem, &request("agent/a")).expect("signed");
        let identity = Identity { ca_pem: ca.ca_pem().to_owned(), cert_pem, key_pem: wanted.key_pem };
        assert_eq!(identity.principal().expect("named"), Principal::new("agent/a"));
        assert!(ca.sign("nonsense", &request("agent/a")).is_err());
    }
}
