//! Reads certificates: what a pod was given is found in the files that were rendered for it, whoever rendered them.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use framework_sdk::RenderedPod;
use kubernetes_core::certificates::{Held, Leaf};
use serde_json::Value;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

/// The clock's tolerance in every certificate: it is valid so long before it was issued (seconds).
const SKEW: i64 = 300;

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Of somebody.
    Leaf(Leaf),
    /// Of an authority: its key identifier, and when it ends.
    Authority { id: String, issued: u64, expires: u64 },
}

/// The certificates of a text, in order. What cannot be read is none.
pub(crate) fn read(name: &str, pem: &[u8]) -> Vec<Seen> {
    x509_parser::pem::Pem::iter_from_buffer(pem)
        .filter_map(Result::ok)
        .filter(|block| block.label == "CERTIFICATE")
        .filter_map(|block| {
            let (_, certificate) = X509Certificate::from_der(&block.contents).ok()?;
            Some(seen(name, &certificate))
        })
        .collect()
}

/// Key identifier of an authority.
pub(crate) fn authority_id(pem: &str) -> Option<String> {
    read("", pem.as_bytes()).into_iter().find_map(|seen| match seen {
        Seen::Authority { id, .. } => Some(id),
        Seen::Leaf(_) => None,
    })
}

fn seen(name: &str, certificate: &X509Certificate<'_>) -> Seen {
    let (mut own, mut issuer, mut is_authority) = (String::new(), String::new(), false);
    for extension in certificate.extensions() {
        #[allow(clippy::wildcard_enum_match_arm)] // not our enum: others say nothing of who signed whom
        match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => own = hex::encode(id.0),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                issuer = id.key_identifier.as_ref().map(|id| hex::encode(id.0)).unwrap_or_default();
            }
            ParsedExtension::BasicConstraints(constraints) => is_authority = constraints.ca,
            _ => {}
        }
    }
    let seconds = |time: i64| u64::try_from(time).unwrap_or_default();
    let issued = seconds(certificate.validity().not_before.timestamp() + SKEW);
    let expires = seconds(certificate.validity().not_after.timestamp());
    if is_authority {
        return Seen::Authority { id: own, issued, expires };
    }
    Seen::Leaf(Leaf { name: name.to_owned(), subject: certificate.subject().to_string(), issuer, issued, expires })
}

/// What a pod gets: from its files that are certificates, and from its kubeconfigs.
pub(crate) fn held(pod: &RenderedPod) -> Held {
    let mut held = Held::default();
    for file in pod.tasks.values().flat_map(|task| &task.files) {
        let name = file.container_path.rsplit('/').next().unwrap_or_default();
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let mut found = read(stem, &file.content);
        if name.ends_with(".conf") {
            found.extend(inline(stem, &String::from_utf8_lossy(&file.content)));
        }
        for seen in found {
            match seen {
                Seen::Leaf(leaf) => held.leaves.push(leaf),
                Seen::Authority { id, .. } => {
                    held.trusted.insert(id);
                }
            }
        }
    }
    held.leaves.sort_unstable();
    held.leaves.dedup();
    held
}

/// Those that stand in a kubeconfig.
fn inline(name: &str, kubeconfig: &str) -> Vec<Seen> {
    fn walk(name: &str, value: &Value, found: &mut Vec<Seen>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    match value.as_str().filter(|_| key.ends_with("-data")) {
                        Some(text) => found.extend(BASE64.decode(text.trim()).iter().flat_map(|pem| read(name, pem))),
                        None => walk(name, value, found),
                    }
                }
            }
            Value::Array(list) => list.iter().for_each(|value| walk(name, value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = Vec::new();
    if let Ok(document) = serde_saphyr::from_str::<Value>(kubeconfig) {
        walk(name, &document, &mut found);
    }
    found
}

#[cfg(test)]
mod tests {
    use framework_sdk::RenderedTask;
    use kubernetes_core::pki::{self, Authority};

    use super::*;
    use crate::pki::{authority, issue};

    #[test]
    fn what_a_pod_shows_and_believes_is_found_in_its_files() {
        let ca = authority(Authority::Cluster).expect("made");
        let other = authority(Authority::Cluster).expect("made");
        let pair = issue(&ca, &pki::node_client("kubelet-client", "node-3"), 30 * 86400).expect("issued");
        let kubeconfig = format!(
            "users:\n- user:\n    client-certificate-data: >-\n      {}\n    client-key-data: {}\n",
            BASE64.encode(&pair.certificate),
            BASE64.encode(&pair.key)
        );
        let task = RenderedTask::default()
            .file("/pki/ca.crt", format!("{}{}", ca.certificate, other.certificate))
            .file("/pki/kubelet-client.crt", pair.certificate.as_str())
            .file("/pki/kubelet-client.key", pair.key.as_str())
            .file("/pki/proxy.conf", kubeconfig);
        let pod = RenderedPod { tasks: [("node".to_owned(), task)].into() };
        let held = held(&pod);
        let names: Vec<&str> = held.leaves.iter().map(|leaf| leaf.name.as_str()).collect();
        assert_eq!(names, ["kubelet-client", "proxy"]);
        let id = authority_id(&ca.certificate).expect("an authority");
        assert_eq!((held.leaves[0].issuer.as_str(), held.trusted.len()), (id.as_str(), 2));
        assert!(held.trusted.contains(&authority_id(&other.certificate).expect("an authority")));
        assert_eq!(held.leaves[0].expires - held.leaves[0].issued, 30 * 24 * 3600);
        assert_eq!(held.leaves[0].subject, "O=system:nodes, CN=system:node:node-3");
    }
}
