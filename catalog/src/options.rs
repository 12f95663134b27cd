//! Options: defaults, validation in words, and what may not change. All of it follows the package's JSON Schema.
//!
//! Stricter than JSON Schema in one point: an object with `properties` takes no others unless the schema says
//! `additionalProperties`, because a misspelt option that is silently ignored is the worst answer.
use std::fmt;

use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::{Map, Value};

use crate::limits::OPTIONS_DEPTH_MAX;

/// One option at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionError {
    /// Where, as in `nodes.count`; empty for the options as a whole.
    pub path: String,
    /// What was given, as JSON; empty if nothing was.
    pub value: String,
    /// What is allowed, in words.
    pub allowed: String,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "options" } else { &self.path };
        if self.value.is_empty() {
            write!(f, "{path}: {}", self.allowed)
        } else {
            write!(f, "{path} = {}: {}", self.value, self.allowed)
        }
    }
}

/// The schema is a schema, and its own defaults obey it.
pub(crate) fn check_schema(schema: &Value) -> Result<(), String> {
    jsonschema::validator_for(schema).map_err(|error| error.to_string())?;
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        return Err("the schema must be of type object".to_owned());
    }
    let mut defaults = Value::Object(Map::new());
    fill_defaults(schema, &mut defaults);
    // What has no default must be given by the user; only the defaults themselves are judged here.
    match validate(schema, &defaults).into_iter().find(|error| !error.value.is_empty()) {
        Some(error) => Err(format!("default {error}")),
        None => Ok(()),
    }
}

/// Adds the defaults of everything that is not given.
pub fn fill_defaults(schema: &Value, options: &mut Value) {
    let (Some(properties), Some(options)) =
        (schema.get("properties").and_then(Value::as_object), options.as_object_mut())
    else {
        return;
    };
    for (key, schema) in properties {
        if !options.contains_key(key) {
            if let Some(default) = schema.get("default") {
                options.insert(key.clone(), default.clone());
            } else if schema.get("properties").is_some() {
                options.insert(key.clone(), Value::Object(Map::new()));
            } else {
                continue;
            }
        }
        if let Some(value) = options.get_mut(key) {
            fill_defaults(schema, value);
        }
    }
}

/// `changes` laid over `base`: objects are merged, everything else is replaced, `null` takes an option back to its default.
pub fn merge(base: &Value, changes: &Value) -> Value {
    let (Some(base), Some(changes)) = (base.as_object(), changes.as_object()) else { return changes.clone() };
    let mut merged = base.clone();
    for (key, change) in changes {
        match (merged.get(key), change) {
            (_, Value::Null) => {
                merged.remove(key);
            }
            (Some(old), new) => {
                let value = merge(old, new);
                merged.insert(key.clone(), value);
            }
            (None, new) => {
                merged.insert(key.clone(), new.clone());
            }
        }
    }
    Value::Object(merged)
}

/// Every option at fault.
pub fn validate(schema: &Value, options: &Value) -> Vec<OptionError> {
    let mut errors = Vec::new();
    if depth(options) > OPTIONS_DEPTH_MAX {
        return vec![OptionError {
            path: String::new(),
            value: String::new(),
            allowed: format!("options may nest {OPTIONS_DEPTH_MAX} deep at most"),
        }];
    }
    unknown_keys(schema, options, "", &mut errors);
    let Ok(validator) = jsonschema::validator_for(schema) else {
        errors.push(OptionError {
            path: String::new(),
            value: String::new(),
            allowed: "the package's schema is wrong".to_owned(),
        });
        return errors;
    };
    for error in validator.iter_errors(options) {
        if matches!(error.kind(), Kind::AdditionalProperties { .. } | Kind::UnevaluatedProperties { .. }) {
            continue; // said by unknown_keys, with a suggestion
        }
        let mut path = dotted(error.instance_path().as_str());
        let mut value = shorten(&error.instance().to_string());
        if let Kind::Required { property } = error.kind() {
            let property = property.as_str().unwrap_or_default();
            path = if path.is_empty() { property.to_owned() } else { format!("{path}.{property}") };
            value.clear();
        }
        let allowed =
            said_by_author(schema, error.schema_path().as_str()).unwrap_or_else(|| allowed(error.kind(), &error));
        errors.push(OptionError { path, value, allowed });
    }
    errors
}

/// Immutable options that differ between two complete sets.
pub fn immutable_changes(schema: &Value, old: &Value, new: &Value) -> Vec<OptionError> {
    let mut errors = Vec::new();
    walk_immutable(schema, Some(old), Some(new), "", &mut errors);
    errors
}

/// The candidate that was probably meant.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, near) = candidates.map(|candidate| (edit_distance(word, candidate), candidate)).min()?;
    (distance <= 1 + word.chars().count() / 4).then_some(near)
}

fn unknown_keys(schema: &Value, value: &Value, path: &str, errors: &mut Vec<OptionError>) {
    if let (Some(items), Some(schema)) = (value.as_array(), schema.get("items")) {
        for (index, item) in items.iter().enumerate() {
            unknown_keys(schema, item, &format!("{path}[{index}]"), errors);
        }
    }
    let (Some(properties), Some(object)) = (schema.get("properties").and_then(Value::as_object), value.as_object())
    else {
        return;
    };
    let open = schema.get("additionalProperties").is_some_and(|extra| extra != &Value::Bool(false))
        || schema.get("patternProperties").is_some();
    for (key, value) in object {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match properties.get(key) {
            Some(schema) => unknown_keys(schema, value, &path, errors),
            None if open => {}
            None => errors.push(OptionError {
                path,
                value: shorten(&value.to_string()),
                allowed: match nearest(key, properties.keys().map(String::as_str)) {
                    Some(near) => format!("there is no such option; did you mean '{near}'?"),
                    None => format!(
                        "there is no such option; there are: {}",
                        properties.keys().cloned().collect::<Vec<_>>().join(", ")
                    ),
                },
            }),
        }
    }
}

/// `"immutable": true` is fixed from the installation on, `"immutable": {"once": value}` from when it has that value.
fn is_immutable(schema: &Value, old: Option<&Value>) -> bool {
    match schema.get("immutable") {
        Some(Value::Bool(is_immutable)) => *is_immutable,
        Some(rule) => rule.get("once").is_some_and(|value| Some(value) == old),
        None => false,
    }
}

fn walk_immutable(schema: &Value, old: Option<&Value>, new: Option<&Value>, path: &str, errors: &mut Vec<OptionError>) {
    if is_immutable(schema, old) && old != new {
        let was = old.map_or_else(|| "not set".to_owned(), |old| shorten(&old.to_string()));
        errors.push(OptionError {
            path: path.to_owned(),
            value: new.map(|new| shorten(&new.to_string())).unwrap_or_default(),
            allowed: format!(
                "cannot change after the installation, it stays {was}; install under another name to choose anew"
            ),
        });
        return;
    }
    for (key, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        walk_immutable(schema, old.and_then(|old| old.get(key)), new.and_then(|new| new.get(key)), &path, errors);
    }
}

/// A schema may say `"allowed": "..."` beside a rule that a person could not read, such as a pattern.
fn said_by_author(schema: &Value, schema_path: &str) -> Option<String> {
    let (parent, _) = schema_path.rsplit_once('/')?;
    schema.pointer(parent)?.get("allowed")?.as_str().map(str::to_owned)
}

fn allowed(kind: &Kind, error: &jsonschema::ValidationError<'_>) -> String {
    #[allow(clippy::wildcard_enum_match_arm)] // not our enum, and it may grow
    match kind {
        Kind::Required { .. } => "must be given".to_owned(),
        Kind::Type { .. } => error.to_string().rsplit_once("is not of type ").map_or_else(
            || error.to_string(),
            |(_, wanted)| format!("must be of type {}", wanted.trim_start_matches('s').replace('"', "").trim()),
        ),
        Kind::Minimum { limit } => format!("must be {limit} or more"),
        Kind::Maximum { limit } => format!("must be {limit} or less"),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Kind::MinLength { limit } => format!("must have {limit} characters or more"),
        Kind::MaxLength { limit } => format!("must have {limit} characters or fewer"),
        Kind::MinItems { limit } => format!("must have {limit} entries or more"),
        Kind::MaxItems { limit } => format!("must have {limit} entries or fewer"),
        Kind::UniqueItems => "must have no entry twice".to_owned(),
        Kind::Pattern { pattern } => format!("must match the pattern {pattern}"),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::Constant { expected_value } => format!("must be {expected_value}"),
        Kind::Enum { options } => {
            let choices: Vec<String> = options.as_array().into_iter().flatten().map(ToString::to_string).collect();
            format!("must be one of {}", choices.join(", "))
        }
        _ => error.to_string(),
    }
}

fn dotted(pointer: &str) -> String {
    let mut path = String::new();
    for segment in pointer.split('/').skip(1) {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        if segment.bytes().all(|byte| byte.is_ascii_digit()) {
            path.push_str(&format!("[{segment}]"));
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&segment);
        }
    }
    path
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= 60 {
        text.to_owned()
    } else {
        format!("{}...", text.chars().take(57).collect::<String>())
    }
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Value {
        json!({"type": "object", "required": ["zone"], "properties": {
            "zone": {"type": "string"},
            "node_count": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
            "size": {"enum": ["small", "large"], "default": "small", "immutable": true},
            "disk": {"type": "object", "properties": {"gib": {"type": "number", "default": 1.5, "immutable": true}}},
            "cidr": {"type": "string", "pattern": "^[0-9./]+$", "allowed": "must be an IPv4 network such as 10.0.0.0/16", "default": "10.0.0.0/16"},
            "labels": {"type": "object", "properties": {}, "additionalProperties": {"type": "string"}, "default": {}},
        }})
    }
    fn said(options: &Value) -> Vec<String> {
        let mut options = options.clone();
        fill_defaults(&schema(), &mut options);
        validate(&schema(), &options).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn defaults_reach_into_nested_objects() {
        let mut options = json!({"zone": "a", "size": "large"});
        fill_defaults(&schema(), &mut options);
        let filled = json!({"zone": "a", "size": "large", "node_count": 3, "disk": {"gib": 1.5}, "cidr": "10.0.0.0/16", "labels": {}});
        assert_eq!(options, filled);
    }

    #[test]
    fn every_wrong_option_is_named_with_its_value_and_what_is_allowed() {
        assert_eq!(said(&json!({"zone": "a", "labels": {"x": "y"}})), Vec::<String>::new());
        for (options, expected) in [
            (json!({}), "zone: must be given"),
            (json!({"zone": "a", "node_count": 0}), "node_count = 0: must be 1 or more"),
            (json!({"zone": "a", "node_count": "2"}), "node_count = \"2\": must be of type integer"),
            (
                json!({"zone": "a", "node-count": 2}),
                "node-count = 2: there is no such option; did you mean 'node_count'?",
            ),
            (json!({"zone": "a", "disk": {"gb": 2}}), "disk.gb = 2: there is no such option; did you mean 'gib'?"),
            (json!({"zone": "a", "disk": {"bytes": 2}}), "disk.bytes = 2: there is no such option; there are: gib"),
            (json!({"zone": "a", "size": "huge"}), "size = \"huge\": must be one of \"small\", \"large\""),
            (json!({"zone": "a", "cidr": "x"}), "cidr = \"x\": must be an IPv4 network such as 10.0.0.0/16"),
            (json!({"zone": "a", "labels": {"x": 1}}), "labels.x = 1: must be of type string"),
            (json!([]), "options = []: must be of type object"),
        ] {
            assert_eq!(said(&options), [expected], "{options}");
        }
    }

    #[test]
    fn an_immutable_option_stays() {
        let old = json!({"size": "small", "disk": {"gib": 1.5}, "node_count": 3});
        assert_eq!(immutable_changes(&schema(), &old, &merge(&old, &json!({"node_count": 5}))), []);
        let changes = immutable_changes(&schema(), &old, &merge(&old, &json!({"disk": {"gib": 2}})));
        let said: Vec<String> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "disk.gib = 2: cannot change after the installation, it stays 1.5; install under another name to choose anew"
            ]
        );
    }

    #[test]
    fn an_option_may_change_until_it_has_the_value_that_stays() {
        let schema =
            json!({"properties": {"safe": {"type": "boolean", "default": false, "immutable": {"once": true}}}});
        let (off, on) = (json!({"safe": false}), json!({"safe": true}));
        assert_eq!(immutable_changes(&schema, &off, &on), []);
        assert_eq!(immutable_changes(&schema, &on, &off).len(), 1);
    }

    #[test]
    fn a_default_must_obey_its_own_schema() {
        let wrong = json!({"type": "object", "properties": {"n": {"type": "integer", "default": "x"}}});
        assert_eq!(check_schema(&wrong), Err("default n = \"x\": must be of type integer".to_owned()));
        assert_eq!(check_schema(&schema()), Ok(()));
    }

    #[test]
    fn null_takes_an_option_back() {
        assert_eq!(
            merge(&json!({"a": 1, "b": {"c": 2, "d": 3}}), &json!({"a": null, "b": {"c": 4}})),
            json!({"b": {"c": 4, "d": 3}})
        );
    }
}
