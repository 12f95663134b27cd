//! The agent's identity: loaded, or got from the master for a join token. The private key never leaves the machine.
use std::path::Path;

use daemon::identity::{Identity, SigningRequest};
use model::Principal;
use proto::mezzo::v1::JoinRequest;
use proto::mezzo::v1::agents_client::AgentsClient;

use crate::config::AgentConfig;
use crate::error::AgentError;

/// The name under which every master is verified.
pub(crate) const MASTER_NAME: &str = "master.mezzo";

/// The identity on disk, or a new one.
pub(crate) async fn identity(config: &AgentConfig, dir: &Path) -> Result<Identity, AgentError> {
    if dir.join("cert.pem").exists() {
        return Ok(Identity::load(dir)?);
    }
    let join = config.join.as_ref().ok_or(AgentError::NoIdentity)?;
    let request = SigningRequest::create(&Principal::new(format!("agent/{}", config.name)))?;
    let channel = daemon::client::joining_channel(&config.master, MASTER_NAME, &join.ca_sha256)?;
    let asked = JoinRequest { token: join.token.clone(), csr_pem: request.csr_pem, name: config.name.clone() };
    let reply = AgentsClient::new(channel)
        .join(asked)
        .await
        .map_err(|source| AgentError::Join { master: config.master.clone(), source: Box::new(source) })?
        .into_inner();
    let identity = Identity { ca_pem: reply.ca_pem, cert_pem: reply.certificate_pem, key_pem: request.key_pem };
    identity.save(dir)?;
    Ok(identity)
}
