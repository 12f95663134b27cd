//! Doors for `tests/fuzz` to what a person hands to this program; nothing else goes through them.
use serde_json::Value;

use crate::commands::catalog;
use crate::commands::kubernetes::archive;
use crate::quantity;

/// The file of a backup: its id, and the snapshot in it.
///
/// # Errors
/// It is none.
pub fn backup(bytes: &[u8]) -> Result<(String, Vec<u8>), String> {
    let mut snapshot = Vec::new();
    let backup = archive::check(bytes, &mut snapshot)?;
    Ok((backup.manifest.id, snapshot))
}

/// A file of options.
///
/// # Errors
/// It cannot be read.
pub fn options(text: &str, extension: &str) -> Result<Value, String> {
    catalog::parse(text, Some(extension)).map_err(|error| error.to_string())
}

/// `--set path=value`.
///
/// # Errors
/// It is inside something that is no object.
pub fn set(options: &mut Value, path: &str, value: Value) -> Result<(), String> {
    catalog::set(options, path, value).map_err(|failure| failure.to_string())
}

/// Every parser of amounts, each with what it is called and what it says.
pub fn quantities(text: &str) -> [(&'static str, Result<String, String>); 8] {
    [
        ("cpus", quantity::cpus(text).map(|amount| amount.to_string())),
        ("mebibytes", quantity::mebibytes(text).map(|amount| amount.to_string())),
        ("scalar", quantity::scalar(text).map(|(name, amount)| format!("{name}={amount}"))),
        ("scalars", quantity::scalars(text).map(|amounts| amounts.to_string())),
        ("seconds", quantity::seconds(text).map(|seconds| seconds.to_string())),
        ("instant", quantity::instant(text).map(|_| String::new())),
        ("rate", quantity::rate(text).map(|(count, seconds)| format!("{count}/{seconds}"))),
        ("ports", quantity::ports(text).map(|ports| ports.to_string())),
    ]
}
