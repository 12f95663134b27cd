//! Package versions: free-form text, ordered by the numbers in it (`1.9.0` before `1.20.2-1`).
use std::cmp::Ordering;
use std::fmt;

/// A package's version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version(String);

impl Version {
    /// Takes a text; `None` if it is empty or has characters that make no file name.
    pub fn new(text: &str) -> Option<Self> {
        let fits = !text.is_empty()
            && text.len() <= 64
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-+".contains(&b));
        (fits && !text.starts_with('.')).then(|| Self(text.to_owned()))
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.0.split(['.', '-', '+']).map(|part| match part.parse() {
            Ok(number) => Part::Number(number),
            Err(_) => Part::Word(part),
        })
    }
}

/// A word stands before a number, so that `1.0-rc1` comes before `1.0-1`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part<'a> {
    Word(&'a str),
    Number(u64),
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(other.parts()).then_with(|| self.0.cmp(&other.0))
    }
}
impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        let mut versions: Vec<Version> = ["1.20.2-1", "1.9.0", "1.20.2", "1.20.2-rc1"]
            .iter()
            .map(|text| Version::new(text).expect("plain"))
            .collect();
        versions.sort();
        let texts: Vec<&str> = versions.iter().map(Version::as_str).collect();
        assert_eq!(texts, ["1.9.0", "1.20.2", "1.20.2-rc1", "1.20.2-1"]);
        assert_eq!(Version::new("../x"), None);
    }
}
