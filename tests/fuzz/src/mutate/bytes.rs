//! Damage to bytes that are nothing else.
use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use super::{LENGTH_MAX, Mutator};

pub(super) fn mutate(by: &mut Mutator, is_text: bool, input: &mut Vec<u8>, others: &[Vec<u8>]) {
    let length = input.len();
    let at = by.below(length + 1);
    let end = at + by.below((length - at).min(64) + 1);
    match by.below(11) {
        0 if length > 0 => input[at.min(length - 1)] ^= 1 << by.below(8),
        1 if length > 0 => input[at.min(length - 1)] = by.random.random(),
        2 => {
            input.drain(at..end);
        }
        3 => input.truncate(at),
        4 => {
            let piece = input[at..end].to_vec();
            let times = if by.one_in(8) { LENGTH_MAX / piece.len().max(1) } else { 1 + by.below(3) };
            insert(input, at, &piece.repeat(times));
        }
        5 => {
            let Some(other) = others.choose(&mut by.random) else { return };
            let from = by.below(other.len() + 1);
            let to = from + by.below(other.len() - from + 1);
            input.splice(at..end, other[from..to].iter().copied());
        }
        6 => {
            let number = by.number();
            let bytes = if is_text {
                number.to_string().into_bytes()
            } else {
                let (little, big) = (number.to_le_bytes(), number.to_be_bytes());
                let width = [1, 2, 4, 8][by.below(4)];
                if by.one_in(2) { little[..width].to_vec() } else { big[8 - width..].to_vec() }
            };
            let until = (at + bytes.len()).min(length);
            input.splice(at..until, bytes);
        }
        7 => insert(input, at, [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf5"][by.below(4)]),
        8 => {
            let nested = [&b"["[..], b"{\"a\":", b"(", b"<", b"- "][by.below(5)];
            insert(input, at, &nested.repeat(1 + by.below(2000)));
        }
        _ => {
            let text = by.text();
            insert(input, at, text.as_bytes());
        }
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let room = LENGTH_MAX.saturating_sub(input.len()).min(bytes.len());
    input.splice(at..at, bytes[..room].iter().copied());
}
