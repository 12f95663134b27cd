//! Packages of a catalog: description, schema, template, and options for it.
use catalog::{Catalog, Package, Version};

use crate::{check, parts};

/// `package.toml`, `options.schema.json`, `service.json.j2`, and options.
pub fn target(data: &[u8]) {
    let [about, schema, template, options] = parts::of(data);
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let (Some(about), Some(schema), Some(template)) = (text(about), text(schema), text(template)) else { return };
    let files = [("package.toml", about), ("options.schema.json", schema), ("service.json.j2", template)];
    let package = match Package::from_files("fuzz/1", files) {
        Ok(package) => package,
        Err(error) => return check::said(&daemon::error::chain(&error)),
    };
    assert_eq!(Version::new(package.version.as_str()).as_ref(), Some(&package.version));
    let options = serde_json::from_slice(options).unwrap_or_default();
    let digest = |_: &str| Some(format!("sha256:{}", "0".repeat(64)));
    let changed = catalog::options::merge(&options, &package.schema);
    let _ = Catalog::check_update(&package, &options, &changed);
    let (name, version) = (package.name().to_owned(), package.version.as_str().to_owned());
    let mut catalog = Catalog::default();
    catalog.add(package);
    match catalog.render(&name, &version, "fuzz", &options, &digest) {
        Err(error) => {
            let refusal = error.refusal();
            assert!(!refusal.message.trim().is_empty(), "{error:?}");
            check::refusal(&refusal);
        }
        Ok(rendered) => {
            assert!(rendered.service_json.len() <= 4 * catalog::limits::SERVICE_BYTES_MAX);
            serde_json::from_str::<serde_json::Value>(&rendered.service_json).expect("a service is JSON");
        }
    }
}
