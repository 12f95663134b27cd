//! Making a pool, and the certificates the master gives out. The CA's key never leaves the state directory.
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::identity::{CertificateAuthority, CertificateRequest, Identity, IdentityError};
use master_core::{Pool, lease};
use model::{Principal, Refusal};

use crate::config::MasterInit;
use crate::limits;
use crate::refusal;
use crate::registry::{RedbRegistry, Registry as _, RegistryError, record};
use crate::server::MasterError;

/// Where things are below the state directory.
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }
    pub(crate) fn registry(&self) -> PathBuf {
        self.root.join("registry.redb")
    }
    pub(crate) fn authority(&self) -> PathBuf {
        self.root.join("pki")
    }
    pub(crate) fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }
    pub(crate) fn services_identity(&self) -> PathBuf {
        self.root.join("services").join("identity")
    }
    pub(crate) fn services(&self) -> PathBuf {
        self.root.join("services")
    }
    pub(crate) fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Initialized {
    /// SHA-256 of the pool CA's certificate, in hex.
    pub ca_sha256: String,
    /// Where the first operator's identity is.
    pub operator_identity: PathBuf,
}

/// Makes a pool: state directory, CA, registry, and the first operator's identity.
///
/// # Errors
/// If there is a pool already, or something cannot be written.
pub fn init(config: &MasterInit) -> Result<Initialized, MasterError> {
    let layout = Layout::new(&config.state_dir);
    if layout.registry().exists() {
        return Err(MasterError::Registry(RegistryError::PoolExists { path: config.state_dir.clone() }));
    }
    if lease::overlap(&config.pod_range, &config.vip_range) {
        let (pods, vips) = (config.pod_range.clone(), config.vip_range.clone());
        return Err(MasterError::Ranges { pods, vips });
    }
    if !lease::is_network(&config.vip_range) {
        return Err(MasterError::VipRange { range: config.vip_range.clone() });
    }
    std::fs::create_dir_all(&config.state_dir)
        .map_err(|source| MasterError::StateDir { path: config.state_dir.clone(), source })?;
    restrict(&config.state_dir)?;
    let authority = CertificateAuthority::create(&config.pool)?;
    authority.save(&layout.authority())?;
    let operator = authority.issue(&CertificateRequest {
        principal: Principal::new(format!("operator/{}", config.operator)),
        dns_names: Vec::new(),
        addresses: Vec::new(),
        valid: limits::IDENTITY_VALID,
    })?;
    operator.save(&config.operator_identity)?;
    let pool = Pool {
        // Short enough to read, unique enough to tell pools apart.
        master_id: uuid::Uuid::new_v4().simple().to_string()[..8].to_owned(),
        name: config.pool.clone(),
        epoch: 0,
        pod_range: config.pod_range.clone(),
        pod_prefix_length: config.pod_prefix_length,
        vip_range: config.vip_range.clone(),
    };
    // Last: a directory with a registry is a pool.
    let registry = RedbRegistry::open(&layout.registry())?;
    futures::executor::block_on(registry.commit(vec![record::put_pool(&pool)]))?;
    Ok(Initialized { ca_sha256: authority.sha256()?, operator_identity: config.operator_identity.clone() })
}

/// Only the owner may look into a state directory: it holds keys and secrets.
pub(crate) fn restrict(path: &Path) -> Result<(), MasterError> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
        .map_err(|source| MasterError::StateDir { path: path.to_owned(), source })
}

/// The master's own identity, made anew at every start: its addresses may have changed.
pub(crate) fn master_identity(
    authority: &CertificateAuthority,
    names: &[String],
    addresses: &[IpAddr],
) -> Result<Identity, IdentityError> {
    let mut dns_names = vec!["master.mezzo".to_owned(), "localhost".to_owned()];
    dns_names.extend(names.iter().cloned());
    let mut addresses = addresses.to_vec();
    addresses.push(IpAddr::from([127, 0, 0, 1]));
    addresses.sort_unstable();
    addresses.dedup();
    authority.issue(&CertificateRequest {
        principal: Principal::new("master"),
        dns_names,
        addresses,
        valid: limits::IDENTITY_VALID,
    })
}

/// What a framework's or an operator's certificate may say; everything else is refused. Frameworks serve under their
/// own names only: nobody may get a certificate for `master.mezzo` or an agent.
pub(crate) fn certificate_request(
    principal: &str,
    valid: Duration,
    dns_names: &[String],
    addresses: &[String],
) -> Result<CertificateRequest, Refusal> {
    let (kind, name) = principal.split_once('/').unwrap_or((principal, ""));
    if !matches!(kind, "framework" | "operator") {
        return Err(refusal::malformed(
            "principal",
            format!("'{principal}' is neither framework/<name> nor operator/<name>"),
        ));
    }
    if !is_dns_label(name) {
        return Err(refusal::malformed("principal", format!("the name in '{principal}' is not a DNS label")));
    }
    if dns_names.len() + addresses.len() > limits::CERTIFICATE_NAMES_MAX {
        let limit = limits::CERTIFICATE_NAMES_MAX;
        return Err(refusal::malformed("dns_names", format!("a certificate has at most {limit} names and addresses")));
    }
    let mut names = Vec::new();
    if kind == "framework" {
        names.push(format!("{name}.framework.mezzo"));
    }
    for (i, wanted) in dns_names.iter().enumerate() {
        let own = kind == "framework" && wanted.ends_with(&format!(".{name}.mezzo"));
        let is_own = own || wanted == "localhost" || names.contains(wanted);
        if !is_own || !wanted.split('.').all(is_dns_label) {
            return Err(refusal::malformed(
                format!("dns_names[{i}]"),
                format!("{principal} may not serve as '{wanted}', only as <anything>.{name}.mezzo or localhost"),
            ));
        }
        if !names.contains(wanted) {
            names.push(wanted.clone());
        }
    }
    let mut parsed = Vec::new();
    for (i, address) in addresses.iter().enumerate() {
        let address = address
            .parse()
            .map_err(|_| refusal::malformed(format!("addresses[{i}]"), format!("'{address}' is not an IP address")))?;
        parsed.push(address);
    }
    let valid = if valid.is_zero() { limits::IDENTITY_VALID } else { valid.min(limits::IDENTITY_VALID) };
    Ok(CertificateRequest { principal: Principal::new(principal), dns_names: names, addresses: parsed, valid })
}

/// Whether a text can be one part of a DNS name, in lower case.
pub(crate) fn is_dns_label(text: &str) -> bool {
    let fits = !text.is_empty() && text.len() <= 63 && !text.starts_with('-') && !text.ends_with('-');
    fits && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_framework_serves_under_its_own_names_only() {
        let request = |principal: &str, name: &str| {
            certificate_request(principal, Duration::ZERO, &[name.to_owned()], &["10.0.0.1".to_owned()])
        };
        let fits = request("framework/demo", "api.demo.mezzo").expect("its own name");
        assert_eq!(fits.dns_names, ["demo.framework.mezzo", "api.demo.mezzo"]);
        for (principal, name) in [
            ("framework/demo", "master.mezzo"),
            ("framework/demo", "demo.agent.mezzo"),
            ("framework/demo", "other.framework.mezzo"),
            ("framework/demo", "api.other.mezzo"),
            ("operator/a", "master.mezzo"),
            ("agent/a", "localhost"),
            ("framework/A b", "localhost"),
            ("master", "localhost"),
        ] {
            assert!(request(principal, name).is_err(), "{principal} {name}");
        }
    }
}
