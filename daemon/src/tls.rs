//! TLS as everybody in the pool speaks it: rustls with aws-lc-rs, 1.2 or 1.3, certificates of the pool's CA alone.
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};

use crate::identity::Identity;

/// Why TLS cannot be spoken with an identity.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM text holds no such thing.
    #[error("read the {what} of the identity")]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The parts do not fit.
    #[error("set up tls with the identity")]
    Setup(#[source] rustls::Error),
    /// The CA cannot verify clients.
    #[error("set up the verification of clients")]
    Verifier(#[source] rustls::client::VerifierBuilderError),
    /// A server's name is no DNS name or address.
    #[error("server name '{0}' is not a dns name")]
    ServerName(String),
    /// An address cannot be dialled.
    #[error("address '{0}' is not <ip>:<port>")]
    Address(String),
}

/// Makes aws-lc-rs the process's default, for libraries that ask for one. May be called again.
pub fn install_crypto_provider() {
    // Err means that one is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match all {
        Ok(list) if list.is_empty() => Err(TlsError::Pem { what, source: rustls_pki_types::pem::Error::NoItemsFound }),
        other => other.map_err(|source| TlsError::Pem { what, source }),
    }
}

fn roots(ca_pem: &str) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca_pem, "pool CA")? {
        roots.add(certificate).map_err(TlsError::Setup)?;
    }
    Ok(Arc::new(roots))
}

fn key(identity: &Identity) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())
        .map_err(|source| TlsError::Pem { what: "private key", source })
}

/// A client that shows its certificate and trusts the pool's CA alone. No ALPN is set.
///
/// # Errors
/// If the identity is malformed.
pub fn client_config(identity: &Identity) -> Result<Arc<ClientConfig>, TlsError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_root_certificates(roots(&identity.ca_pem)?)
        .with_client_auth_cert(certificates(&identity.cert_pem, "certificate")?, key(identity)?)
        .map_err(TlsError::Setup)?;
    Ok(Arc::new(config))
}

/// A server that asks for a certificate of the pool's CA and takes clients without one as nobody. It shows the CA too,
/// so that a joining agent, which knows only the CA's hash, can verify it.
///
/// # Errors
/// If the identity is malformed.
pub fn server_config(identity: &Identity) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(&identity.ca_pem)?, provider())
        .allow_unauthenticated()
        .build()
        .map_err(TlsError::Verifier)?;
    let mut chain = certificates(&identity.cert_pem, "certificate")?;
    chain.extend(certificates(&identity.ca_pem, "pool CA")?);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key(identity)?)
        .map_err(TlsError::Setup)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A client without a certificate that trusts the one CA with this SHA-256 (hex, of the DER): for joining a pool.
///
/// # Errors
/// If TLS cannot be set up.
pub(crate) fn joining_config(ca_sha256: &str) -> Result<ClientConfig, TlsError> {
    let verifier = Arc::new(PinnedAuthority { sha256: ca_sha256.to_ascii_lowercase(), provider: provider() });
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// Verifies as usual, with the CA that the server shows, if that CA has the right hash.
#[derive(Debug)]
struct PinnedAuthority {
    sha256: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pinned = intermediates
            .iter()
            .find(|certificate| hex::encode(Sha256::digest(certificate)) == self.sha256)
            .ok_or(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(pinned.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
