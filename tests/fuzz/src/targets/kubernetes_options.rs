//! Options of a cluster: through the package's schema and template, and as its scheduler reads them.
use std::sync::LazyLock;

use catalog::Catalog;
use kubernetes_core::backup::{Manifest, kind_of, stored};
use kubernetes_core::images::full_name;
use kubernetes_core::{Network, Options};
use services::ServiceDefinition;

use crate::check;

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::embedded().expect("our packages are good"));

/// A document of options, or a backup's manifest.
pub fn target(data: &[u8]) {
    if let Some(kind) = kind_of(data) {
        assert!(!kind.is_empty() && kind.len() <= data.len());
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Options::from_json(text) {
        Err(refusal) => check::refusal(&refusal),
        Ok(options) => {
            let again = serde_json::to_string(&options).expect("options are JSON");
            assert_eq!(Options::from_json(&again).as_ref(), Ok(&options), "{again}");
            assert!(options.service_cidr.contains(options.dns_service_address()));
            assert!(options.service_cidr.contains(options.kubernetes_service_address()));
            assert!(options.certificate_seconds() > 0);
        }
    }
    if let Ok(manifest) = serde_json::from_str::<Manifest>(text) {
        let again = serde_json::to_string(&manifest).expect("a manifest is JSON");
        assert_eq!(serde_json::from_str::<Manifest>(&again).ok().as_ref(), Some(&manifest));
    }
    if let Ok(network) = text.parse::<Network>() {
        assert_eq!(network.to_string().parse().as_ref(), Ok(&network));
        assert!(network.contains(network.base()) && network.overlaps(network));
        let _ = network.nth(u32::MAX);
    }
    if let Some(kept) = stored(text, 1) {
        assert!(!kept.name.is_empty());
    }
    assert!(full_name(text).contains('/'));
    let Ok(options) = serde_json::from_str(text) else { return };
    let digest = |_: &str| Some(format!("sha256:{}", "0".repeat(64)));
    match CATALOG.render("kubernetes", "", "fuzz", &options, &digest) {
        Err(error) => check::refusal(&error.refusal()),
        Ok(rendered) => {
            let definition = ServiceDefinition::parse(rendered.service_json.as_bytes());
            let definition =
                definition.unwrap_or_else(|refusal| panic!("the schema takes what is no service: {refusal}"));
            // What the schema takes the scheduler takes, or says why not.
            if let Some(options) = definition.options
                && let Err(refusal) = Options::from_json(&options.to_string())
            {
                check::refusal(&refusal);
            }
        }
    }
}
