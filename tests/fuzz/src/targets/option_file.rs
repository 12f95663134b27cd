//! Files of options that people hand to `mezzo`, and `--set`.
use serde_json::{Map, Value};

use crate::{check, parts};

/// The kind of file, its text, and a path that is set in it.
pub fn target(data: &[u8]) {
    let [kind, text, path] = parts::of(data);
    let extension = ["toml", "yaml", "json"][usize::from(kind.first().copied().unwrap_or_default()) % 3];
    let (Ok(text), Ok(path)) = (std::str::from_utf8(text), std::str::from_utf8(path)) else { return };
    match mezzo_cli::fuzzing::options(text, extension) {
        Err(words) => assert!(!words.trim().is_empty()),
        Ok(mut value) => {
            // Not every path can be set, and that is said.
            if let Err(words) = mezzo_cli::fuzzing::set(&mut value, path, Value::Null) {
                check::words(&words.chars().take(100).collect::<String>());
            }
            // The master reads them as JSON, and nothing that is nested deeper.
            let again = serde_json::from_str::<Value>(&value.to_string());
            assert!(again.is_ok() || depth(&value) > 100, "{value}");
        }
    }
    let mut options = Value::Object(Map::new());
    let _ = mezzo_cli::fuzzing::set(&mut options, path, Value::Bool(true));
}

fn depth(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(depth).max().unwrap_or_default(),
        Value::Object(map) => map.values().map(depth).max().unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}
