//! Puts the bootstrap manifests into a fresh cluster, server-side, then ends. Running it again changes nothing.
use std::path::Path;
use std::time::Duration;

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kubernetes_core::Options;
use kubernetes_core::manifests::{self, FIELD_MANAGER};
use serde_json::Value;
use tracing::info;

use crate::kube_client::{self, ClientError};

/// Environment variable with the cluster's [`Options`] as JSON.
pub const OPTIONS: &str = "MEZZO_CLUSTER_OPTIONS";
/// An apiserver that is ready takes a manifest at once; it gets this long for all of them.
const DEADLINE: Duration = Duration::from_secs(60);

/// Why the manifests are not in the cluster.
#[derive(Debug, thiserror::Error)]
pub enum AddOnError {
    /// The options.
    #[error("read the cluster's options from {OPTIONS}: {0}")]
    Options(String),
    /// The client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A manifest is refused.
    #[error("apply {kind} {name}")]
    Apply {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: kube::Error,
    },
    /// It took too long.
    #[error("apply manifests: not done after {} seconds", DEADLINE.as_secs())]
    Deadline,
}

/// Applies everything.
///
/// # Errors
/// The first manifest that is refused.
pub async fn run(kubeconfig: &Path) -> Result<(), AddOnError> {
    let text = std::env::var(OPTIONS).map_err(|error| AddOnError::Options(error.to_string()))?;
    let options = Options::from_json(&text).map_err(|refusal| AddOnError::Options(refusal.message))?;
    let client = kube_client::from_file(kubeconfig).await?;
    let all = async {
        for manifest in manifests::bootstrap(&options) {
            apply(&client, &manifest).await?;
        }
        Ok(())
    };
    tokio::time::timeout(DEADLINE, all).await.map_err(|_| AddOnError::Deadline)?
}

/// Applies one object under the framework's field manager.
///
/// # Errors
/// If the apiserver refuses it.
pub async fn apply(client: &kube::Client, manifest: &Value) -> Result<(), AddOnError> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, name) = (text(&manifest["kind"]), text(&manifest["metadata"]["name"]));
    let api_version = text(&manifest["apiVersion"]);
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let mut resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
    // The guess of a plural is wrong for what is one already.
    if kind == "Endpoints" {
        resource.plural = "endpoints".to_owned();
    }
    let api: Api<DynamicObject> = match manifest["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    api.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(manifest))
        .await
        .map_err(|source| AddOnError::Apply { kind: kind.clone(), name: name.clone(), source })?;
    info!(kind, name, "manifest applied");
    Ok(())
}
