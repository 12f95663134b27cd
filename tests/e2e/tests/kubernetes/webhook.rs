//! An admission webhook that is served by a pod: the API server reaches the pod network, and obeys.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daemon::identity::{CertificateAuthority, CertificateRequest};
use e2e::{Kubectl, Pool, until};
use model::Principal;
use serde_json::{Value, json};

use crate::SOON;

/// The name under which an API server knows a service, whatever address it dials.
const NAME: &str = "gate.default.svc";

pub(crate) fn is_asked(pool: &Pool, kubectl: &Kubectl) -> Result<()> {
    let authority = CertificateAuthority::create("the gate's").context("make an authority")?;
    let identity = authority
        .issue(&CertificateRequest {
            principal: Principal::new("gate"),
            dns_names: vec![NAME.to_owned()],
            addresses: Vec::new(),
            valid: Duration::from_secs(3600),
        })
        .context("make a certificate")?;
    let files = json!({
        "ca.pem": STANDARD.encode(&identity.ca_pem),
        "cert.pem": STANDARD.encode(&identity.cert_pem),
        "key.pem": STANDARD.encode(&identity.key_pem),
    });
    kubectl.apply(pool.scratch(), &list(gate(&files)))?;
    kubectl.run(&["wait", "--for=condition=Ready", "pod/gate", "--timeout=60s"])?;
    kubectl.apply(pool.scratch(), &list(vec![configuration(&files["ca.pem"])]))?;

    // The API server takes a moment to know a new webhook.
    until("a refusal", SOON, || {
        let refused = create(kubectl, "refused")?;
        if refused.0 {
            kubectl.run(&["delete", "configmap", "refused"])?;
        } else {
            ensure!(refused.1.contains("the pod at the gate says no"), "refused by another: {}", refused.1);
        }
        Ok(!refused.0)
    })?;
    let (created, why) = create(kubectl, "welcome")?;
    ensure!(created, "a welcome object was refused: {why}");
    kubectl.run(&["delete", "validatingwebhookconfiguration/gate", "pod/gate", "service/gate", "secret/gate"]).map(drop)
}

/// Whether the cluster took it, and what it said if not.
fn create(kubectl: &Kubectl, name: &str) -> Result<(bool, String)> {
    let created = kubectl.command(&["create", "configmap", name]).output()?;
    Ok((created.status.success(), created.stderr))
}

fn list(objects: Vec<Value>) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

fn gate(files: &Value) -> Vec<Value> {
    vec![
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "gate"}, "data": files}),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "gate"},
            "spec": {"selector": {"app": "gate"}, "ports": [{"port": 443, "targetPort": 8443}]},
        }),
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gate", "labels": {"app": "gate"}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "gate", "image": "e2e-peer:1", "args": ["webhook", "8443", "/certificate"],
                    "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 1},
                    "volumeMounts": [{"name": "certificate", "mountPath": "/certificate"}],
                }],
                "volumes": [{"name": "certificate", "secret": {"secretName": "gate"}}],
            },
        }),
    ]
}

/// Only config maps of this namespace: the cluster's own objects do not depend on a pod of ours.
fn configuration(authority: &Value) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "gate"},
        "webhooks": [{
            "name": "gate.e2e.mezzo",
            "clientConfig": {"service": {"name": "gate", "namespace": "default", "path": "/"}, "caBundle": authority},
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"],
                "scope": "Namespaced",
            }],
            "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 5,
        }],
    })
}
