//! Damage to a tar file whose headers still have the right sums.
use super::Mutator;

const BLOCK: usize = 512;
/// Where fields of a header are, and how long.
const NAME: (usize, usize) = (0, 100);
const SIZE: (usize, usize) = (124, 12);
const SUM: (usize, usize) = (148, 8);
const KIND: usize = 156;
const LINK: (usize, usize) = (157, 100);
const FIELDS: [(usize, usize); 8] = [NAME, (100, 8), (108, 8), SIZE, (136, 12), LINK, (329, 8), (345, 155)];
/// Files, links, devices, directories, pipes, long names, extended headers, sparse files, and one that nobody knows.
const KINDS: &[u8] = b"0123456LKxgSDV?";

const PATHS: [&str; 16] = [
    "..",
    "../escaped",
    "/etc/escaped",
    "a/../../escaped",
    ".wh..",
    ".wh...",
    ".wh.",
    "a/.wh..wh..opq",
    "link",
    "link/inside",
    "link/.wh..wh..opq",
    "link/.wh.gone",
    "./././a",
    "a",
    "manifest.json",
    "index.json",
];

pub(super) fn mutate(by: &mut Mutator, input: &mut Vec<u8>) -> bool {
    let headers: Vec<usize> =
        (0..input.len() / BLOCK).map(|block| block * BLOCK).filter(|at| is_header(&input[*at..*at + BLOCK])).collect();
    if headers.is_empty() {
        return false;
    }
    let at = headers[by.below(headers.len())];
    match by.below(8) {
        0 => input[at + KIND] = KINDS[by.below(KINDS.len())],
        1 | 2 => field(by, input, at, NAME),
        3 => field(by, input, at, LINK),
        4 => {
            let size = by.number();
            let text = match by.below(3) {
                0 => format!("{:011o}\0", size & 0o77_777_777_777).into_bytes(),
                1 => [&[0x80, 0, 0, 0][..], &size.to_be_bytes()].concat(),
                _ => format!("{:011o}\0", by.below(3 * BLOCK)).into_bytes(),
            };
            input[at + SIZE.0..at + SIZE.0 + SIZE.1].copy_from_slice(&text[..SIZE.1]);
        }
        5 => {
            let (offset, length) = FIELDS[by.below(FIELDS.len())];
            let number = by.number().to_be_bytes();
            let place = at + offset + by.below(length);
            let end = (place + number.len()).min(at + offset + length);
            input[place..end].copy_from_slice(&number[..end - place]);
        }
        6 => {
            // One entry comes once more, after something else was made of what it names.
            let end = headers.iter().copied().find(|other| *other > at).unwrap_or(input.len().min(at + 2 * BLOCK));
            let entry = input[at..end].to_vec();
            let place = headers[by.below(headers.len())];
            input.splice(place..place, entry);
            return true;
        }
        _ => {
            input[at + KIND] = b'2';
            write(&mut input[at + LINK.0..at + LINK.0 + LINK.1], ["/", "..", "/etc", "../..", "link"][by.below(5)]);
            write(&mut input[at..at + NAME.1], ["link", "a", "link/b"][by.below(3)]);
            write(&mut input[at + SIZE.0..at + SIZE.0 + SIZE.1], "00000000000");
        }
    }
    seal(&mut input[at..at + BLOCK]);
    true
}

fn field(by: &mut Mutator, input: &mut [u8], at: usize, (offset, length): (usize, usize)) {
    let place = &mut input[at + offset..at + offset + length];
    if by.one_in(4) {
        let text = by.text();
        write(place, &text);
    } else {
        write(place, PATHS[by.below(PATHS.len())]);
    }
}

fn write(place: &mut [u8], text: &str) {
    place.fill(0);
    let length = text.len().min(place.len());
    place[..length].copy_from_slice(&text.as_bytes()[..length]);
}

fn sum(header: &[u8]) -> u32 {
    let blank = SUM.0..SUM.0 + SUM.1;
    header.iter().enumerate().map(|(at, byte)| if blank.contains(&at) { 32 } else { u32::from(*byte) }).sum()
}

fn is_header(header: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&header[SUM.0..SUM.0 + SUM.1]);
    let text = text.trim_matches(|c: char| !c.is_digit(8));
    u32::from_str_radix(text, 8).is_ok_and(|found| found == sum(header))
}

fn seal(header: &mut [u8]) {
    let text = format!("{:06o}\0 ", sum(header));
    header[SUM.0..SUM.0 + SUM.1].copy_from_slice(text.as_bytes());
}
