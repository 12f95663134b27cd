//! Damage to a protobuf message that leaves one: fields are found by their tags, without a schema.
use rand::Rng as _;

use super::{LENGTH_MAX, Mutator};

/// Deeper, a text is not taken for a message.
const DEPTH_MAX: usize = 12;

#[derive(Clone)]
enum Value {
    Varint(u64),
    Eight([u8; 8]),
    Four([u8; 4]),
    Bytes(Vec<u8>),
    Message(Vec<Field>),
}

#[derive(Clone)]
struct Field {
    number: u64,
    value: Value,
}

pub(super) fn mutate(by: &mut Mutator, input: &mut Vec<u8>) -> bool {
    let Some(mut fields) = parse(input, 0) else { return false };
    let total = count(&fields);
    if total == 0 {
        return false;
    }
    let mut left = by.below(total);
    damage(by, &mut fields, &mut left);
    let mut out = Vec::with_capacity(input.len());
    encode(&fields, &mut out);
    *input = out;
    true
}

fn count(fields: &[Field]) -> usize {
    let inner = |field: &Field| match &field.value {
        Value::Message(fields) => 1 + count(fields),
        Value::Varint(_) | Value::Eight(_) | Value::Four(_) | Value::Bytes(_) => 1,
    };
    fields.iter().map(inner).sum()
}

/// Damages the field with that number in order; whether it was there.
fn damage(by: &mut Mutator, fields: &mut Vec<Field>, left: &mut usize) -> bool {
    for i in 0..fields.len() {
        if *left == 0 {
            one(by, fields, i);
            return true;
        }
        *left -= 1;
        if let Value::Message(inner) = &mut fields[i].value
            && damage(by, inner, left)
        {
            return true;
        }
    }
    false
}

fn one(by: &mut Mutator, fields: &mut Vec<Field>, at: usize) {
    match by.below(12) {
        0 => {
            fields.remove(at);
        }
        1 => {
            let field = fields[at].clone();
            let mut size = Vec::new();
            encode(std::slice::from_ref(&field), &mut size);
            let times = if by.one_in(4) { LENGTH_MAX / size.len().max(1) } else { 1 + by.below(3) };
            fields.splice(at..at, std::iter::repeat_n(field, times));
        }
        2 => fields[at].number = 1 + by.below(20) as u64,
        3 => {
            let other = by.below(fields.len());
            fields.swap(at, other);
        }
        4 => {
            let number = fields[at].number;
            for _ in 0..by.below(120) {
                let inner = std::mem::replace(&mut fields[at], Field { number, value: Value::Varint(0) });
                fields[at].value = Value::Message(vec![inner]);
            }
        }
        5 => {
            let from = fields[by.below(fields.len())].value.clone();
            fields[at].value = from;
        }
        6 => fields[at].value = Value::Message(Vec::new()),
        _ => value(by, &mut fields[at].value),
    }
}

fn value(by: &mut Mutator, value: &mut Value) {
    match value {
        Value::Varint(number) => *number = by.number(),
        Value::Eight(bytes) => *bytes = by.float().to_le_bytes(),
        Value::Four(bytes) => *bytes = by.random.random(),
        Value::Bytes(bytes) if by.one_in(4) => super::bytes::mutate(by, false, bytes, &[]),
        Value::Bytes(bytes) => *bytes = by.text().into_bytes(),
        Value::Message(_) => *value = Value::Bytes(by.text().into_bytes()),
    }
}

fn parse(mut bytes: &[u8], depth: usize) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut bytes)?),
            1 => Value::Eight(take(&mut bytes, 8)?.try_into().ok()?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let inner = take(&mut bytes, length)?;
                match parse(inner, depth + 1).filter(|fields| depth < DEPTH_MAX && !fields.is_empty()) {
                    Some(fields) => Value::Message(fields),
                    None => Value::Bytes(inner.to_vec()),
                }
            }
            5 => Value::Four(take(&mut bytes, 4)?.try_into().ok()?),
            _ => return None,
        };
        if tag >> 3 == 0 || depth > DEPTH_MAX {
            return None;
        }
        fields.push(Field { number: tag >> 3, value });
    }
    Some(fields)
}

fn encode(fields: &[Field], out: &mut Vec<u8>) {
    for field in fields {
        let tag = |kind: u64| field.number << 3 | kind;
        match &field.value {
            Value::Varint(number) => {
                put(out, tag(0));
                put(out, *number);
            }
            Value::Eight(bytes) => {
                put(out, tag(1));
                out.extend_from_slice(bytes);
            }
            Value::Four(bytes) => {
                put(out, tag(5));
                out.extend_from_slice(bytes);
            }
            Value::Bytes(bytes) => {
                put(out, tag(2));
                put(out, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
            Value::Message(fields) => {
                let mut inner = Vec::new();
                encode(fields, &mut inner);
                put(out, tag(2));
                put(out, inner.len() as u64);
                out.extend_from_slice(&inner);
            }
        }
    }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (front, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(front)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *take(bytes, 1)?.first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[allow(clippy::cast_possible_truncation)] // seven bits
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_again() {
        let message = [0x08, 0x96, 0x01, 0x12, 0x04, 0x0a, 0x02, b'h', b'i', 0x19, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f];
        let fields = parse(&message, 0).expect("a message");
        let mut again = Vec::new();
        encode(&fields, &mut again);
        // The text "hi" is a message, too, for whoever has no schema.
        assert_eq!((count(&fields), again.as_slice()), (5, message.as_slice()));
    }
}
