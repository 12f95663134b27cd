//! Damage, by a seed: bytes, and where it is cheap the structure that they have, so that it gets behind the first check.
mod bytes;
mod json;
mod tar;
mod wire;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::parts;

/// What inputs look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Anything.
    Bytes,
    /// A protobuf message.
    Wire,
    /// A JSON document.
    Json,
    /// Lines of words.
    Text,
    /// A tar file.
    Tar,
    /// Several inputs, see [`parts`].
    Parts(&'static [Shape]),
}

/// Inputs do not grow beyond this: what is to be found in large ones is found in these.
pub const LENGTH_MAX: usize = 64 << 10;

/// Texts that were mistaken for something else before.
const EVIL: [&str; 44] = [
    "",
    ".",
    "..",
    "/",
    "../..",
    "/etc/passwd",
    "a/../b",
    "a//b",
    "\0",
    "a\0b",
    "*",
    "-",
    "-1",
    "0",
    "00",
    "1e999",
    "NaN",
    "inf",
    "65536",
    "4294967296",
    "18446744073709551615",
    "9223372036854775807",
    "-9223372036854775808",
    "0.0005",
    "999999999999.999",
    "\u{202e}",
    "é",
    "\u{feff}",
    "😀",
    "a\nb",
    "a\r\n\r\nb",
    "\t",
    "%00",
    "%2e%2e%2f",
    "${x}",
    "{{ 7*7 }}",
    "(",
    ")|(?:",
    "(a*)*b",
    "\\w{1000}",
    "[",
    "sha256:",
    "::1",
    "0.0.0.0/0",
];

/// A source of damage.
#[derive(Debug)]
pub struct Mutator {
    random: StdRng,
}

impl Mutator {
    /// The same seed does the same damage.
    pub fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed) }
    }

    /// Damages an input a few times. `others` are inputs of the same target, to take pieces from.
    pub fn mutate(&mut self, shape: Shape, input: &mut Vec<u8>, others: &[Vec<u8>]) {
        for _ in 0..=self.below(3) {
            self.once(shape, input, others);
        }
        input.truncate(LENGTH_MAX);
    }

    fn once(&mut self, shape: Shape, input: &mut Vec<u8>, others: &[Vec<u8>]) {
        let is_structured = self.one_in(5);
        let done = match shape {
            _ if is_structured => false,
            Shape::Bytes | Shape::Text => false,
            Shape::Wire => wire::mutate(self, input),
            Shape::Json => json::mutate(self, input),
            Shape::Tar => tar::mutate(self, input),
            Shape::Parts(shapes) => self.part(shapes, input, others),
        };
        if !done {
            bytes::mutate(self, shape == Shape::Text, input, others);
        }
    }

    fn part(&mut self, shapes: &[Shape], input: &mut Vec<u8>, others: &[Vec<u8>]) -> bool {
        let mut pieces: Vec<Vec<u8>> = parts::split(input).map(<[u8]>::to_vec).collect();
        let chosen = self.below(pieces.len());
        let Some(shape) = shapes.get(chosen) else { return false };
        let same: Vec<Vec<u8>> =
            others.iter().filter_map(|other| parts::split(other).nth(chosen).map(<[u8]>::to_vec)).collect();
        self.once(*shape, &mut pieces[chosen], &same);
        *input = parts::join(&pieces);
        true
    }

    /// From zero, below `bound`; zero if there is nothing below.
    fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { self.random.random_range(0..bound) }
    }
    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
    fn number(&mut self) -> u64 {
        let near = |power: u32, offset: u64| (1_u64 << power).wrapping_add(offset).wrapping_sub(2);
        match self.below(4) {
            0 => self.random.random(),
            1 => self.below(300) as u64,
            2 => u64::MAX - self.below(3) as u64,
            _ => near(self.random.random_range(0..64), self.random.random_range(0..4)),
        }
    }
    fn float(&mut self) -> f64 {
        const FLOATS: [f64; 14] = [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -0.0,
            0.0,
            -1.0,
            0.0004,
            0.0005,
            1e-300,
            1e300,
            1_099_511_627_776.0,
            9.3e15,
            1.8e19,
            65_536.5,
        ];
        FLOATS.choose(&mut self.random).copied().unwrap_or_default()
    }
    fn text(&mut self) -> String {
        let evil = EVIL.choose(&mut self.random).copied().unwrap_or_default();
        match self.below(8) {
            0 => "x".repeat(self.random.random_range(200..5000)),
            1 => evil.repeat(self.random.random_range(1..64)),
            2 => self.number().to_string(),
            _ => evil.to_owned(),
        }
    }
}
