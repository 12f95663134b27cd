//! Damage to a JSON document that leaves one.
use serde_json::{Map, Value, json};

use super::{LENGTH_MAX, Mutator};

pub(super) fn mutate(by: &mut Mutator, input: &mut Vec<u8>) -> bool {
    let Ok(mut document) = serde_json::from_slice::<Value>(input) else { return false };
    let chosen = by.below(count(&document));
    let mut left = chosen;
    if let Some(place) = find(&mut document, &mut left) {
        damage(by, place);
    }
    *input = document.to_string().into_bytes();
    true
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn find<'a>(value: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(list) => list.iter_mut().find_map(|value| find(value, left)),
        Value::Object(map) => map.values_mut().find_map(|value| find(value, left)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn damage(by: &mut Mutator, value: &mut Value) {
    match (by.below(9), &mut *value) {
        (0, Value::Object(map)) => {
            let key = map.keys().nth(by.below(map.len())).cloned();
            key.map(|key| map.remove(&key));
        }
        (1, Value::Object(map)) => {
            let text = by.text();
            let other = map.values().nth(by.below(map.len())).cloned().unwrap_or_default();
            map.insert(text, other);
        }
        (2, Value::Object(map)) => {
            let renamed: Map<String, Value> =
                map.iter().map(|(key, value)| (key.to_uppercase(), value.clone())).collect();
            *map = renamed;
        }
        (0, Value::Array(list)) => {
            let at = by.below(list.len());
            if at < list.len() {
                list.remove(at);
            }
        }
        (1 | 2, Value::Array(list)) => {
            let one = list.get(by.below(list.len())).cloned().unwrap_or(Value::Null);
            let room = LENGTH_MAX / one.to_string().len().max(1);
            let times = if by.one_in(8) { room } else { 1 + by.below(3) };
            list.extend(std::iter::repeat_n(one, times));
        }
        (3, _) => *value = json!(by.number()),
        (4, _) => *value = json!(by.number().cast_signed()),
        // What is no number becomes null.
        (5, _) => *value = json!(by.float()),
        (6, _) => {
            let nested = (0..by.below(100)).fold(value.take(), |inner, _| json!([inner]));
            *value = nested;
        }
        (7, _) => *value = [json!(null), json!(true), json!([]), json!({})][by.below(4)].clone(),
        _ => *value = json!(by.text()),
    }
}
