//! Clients of the cluster's API: verified under the gateway's name, whatever the address.
use std::path::Path;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The document cannot be read.
    #[error("read kubeconfig")]
    Read(#[source] KubeconfigError),
    /// No client can be made of it.
    #[error("make a client of the cluster's API")]
    Make(#[source] kube::Error),
}

/// A client from a kubeconfig's text.
///
/// # Errors
/// If the document is none.
pub async fn from_text(text: &str) -> Result<kube::Client, ClientError> {
    make(Kubeconfig::from_yaml(text).map_err(ClientError::Read)?).await
}

/// A client from a kubeconfig's file.
///
/// # Errors
/// If the file cannot be read or is none.
pub async fn from_file(path: &Path) -> Result<kube::Client, ClientError> {
    make(Kubeconfig::read_from(path).map_err(ClientError::Read)?).await
}

async fn make(kubeconfig: Kubeconfig) -> Result<kube::Client, ClientError> {
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(ClientError::Read)?;
    config.connect_timeout = Some(std::time::Duration::from_secs(3));
    kube::Client::try_from(config).map_err(ClientError::Make)
}
