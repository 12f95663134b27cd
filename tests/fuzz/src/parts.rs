//! Inputs that are several: a package has files, an image a configuration and users. They stand one after another, with bytes
//! between them that are in no text.

const BETWEEN: &[u8] = b"\xff\xfe\xff";

/// The parts of an input.
pub fn split(mut input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_over = false;
    std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let found = input.windows(BETWEEN.len()).position(|window| window == BETWEEN);
        let part = match found {
            Some(at) => {
                let part = &input[..at];
                input = &input[at + BETWEEN.len()..];
                part
            }
            None => {
                is_over = true;
                input
            }
        };
        Some(part)
    })
}

/// So many parts; those that are missing are empty.
pub fn of<const N: usize>(input: &[u8]) -> [&[u8]; N] {
    let mut parts = split(input);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// An input of these parts.
pub fn join(parts: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let parts: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
    parts.join(BETWEEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_apart_again() {
        let whole = join(&["a", "", "c"]);
        assert_eq!(of::<4>(&whole), [&b"a"[..], b"", b"c", b""]);
        assert_eq!(split(b"").count(), 1);
    }
}
