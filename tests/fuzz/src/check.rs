//! What must hold of everything that was taken, and of every refusal.
use model::call::FrameworkInfo;
use model::{Milli, Quantities, Ranges, Refusal, Resources};
use proto::convert::FieldError;

/// Words that a person reads; also what a log line takes.
pub const MESSAGE_BYTES_MAX: usize = 4096;

/// A refusal of the wire: it says which field, and what is wrong with it, in some words.
///
/// # Panics
/// It does not.
pub fn field_error(error: &FieldError) {
    assert!(!error.path.is_empty(), "no field is named: {error}");
    assert!(!error.problem.is_empty(), "nothing is said of {}", error.path);
    words(&error.to_string());
    refusal(&Refusal::from(error.clone()));
}

/// A refusal as people read it.
///
/// # Panics
/// It has no code, or says nothing, or far too much.
pub fn refusal(refusal: &Refusal) {
    assert_eq!(refusal.code.len(), 7, "{refusal:?}");
    words(&refusal.message);
    assert!(refusal.next_step.len() <= MESSAGE_BYTES_MAX && refusal.field.len() <= MESSAGE_BYTES_MAX);
}

/// Something is said, and not too much.
///
/// # Panics
/// It is not so.
pub fn words(text: &str) {
    assert!(!text.trim().is_empty(), "nothing is said");
    assert!(text.len() <= MESSAGE_BYTES_MAX, "a message of {} bytes: {}…", text.len(), head(text));
}

/// Something is said; to whom it concerns alone, so it may be long.
///
/// # Panics
/// It is not so.
pub fn said(text: &str) {
    assert!(!text.trim().is_empty(), "nothing is said");
}

fn head(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Amounts that can be counted with: not negative, not absurd, in their one form.
///
/// # Panics
/// They are not.
pub fn quantities(quantities: &Quantities) {
    for (name, amount) in quantities.scalars() {
        is_amount(name, amount);
    }
    for (disk, amount) in &quantities.disks {
        is_amount(&disk.to_string(), *amount);
        assert_eq!(disk.to_string().parse().as_ref(), Ok(disk));
    }
    ranges(&quantities.ports, u64::from(u16::MAX));
    for (name, own) in &quantities.ranges {
        is_name(name);
        assert!(!own.is_empty(), "no number of {name}");
        ranges(own, u64::from(u32::MAX));
    }
    for (name, things) in &quantities.sets {
        is_name(name);
        assert!(!things.is_empty() && things.iter().all(|thing| !thing.is_empty() && thing.len() <= 255), "{name}");
    }
    quantities.custom.keys().for_each(|name| is_name(name));
}

fn is_amount(name: &str, Milli(amount): Milli) {
    assert!((0..=1_i64 << 51).contains(&amount), "{amount} thousandths of {name}");
}

fn is_name(name: &str) {
    let is_plain = |c: char| !c.is_control() && !c.is_whitespace();
    assert!(!name.is_empty() && name.len() <= 255 && name.chars().all(is_plain), "'{}' is no name", head(name));
}

fn ranges(ranges: &Ranges, largest: u64) {
    let list = ranges.as_slice();
    assert!(list.iter().all(|(begin, end)| begin <= end && *end <= largest), "{ranges}");
    assert!(list.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "not in order, or not merged: {ranges}");
}

/// Resources that can be counted with, alone and together.
///
/// # Panics
/// They are not.
pub fn resources(resources: &Resources) {
    quantities(&resources.unreserved);
    quantities(&resources.revocable);
    for (holding, held) in &resources.held {
        assert!(!held.is_empty(), "a title to nothing");
        quantities(held);
        holding.reservation.check().expect("titles that were taken fit");
    }
    quantities(&resources.sum());
    assert!(resources.contains(resources), "everything is in itself");
    let mut rest = resources.clone();
    rest.take(resources).expect("it is there");
    assert!(rest.is_empty(), "{rest} is left of {resources}");
}

/// A framework as it may be kept.
///
/// # Panics
/// It is not.
pub fn framework(info: &FrameworkInfo) {
    assert!(!info.name.is_empty() && info.name.len() <= 255);
    for sets in info.offer_filters.values() {
        sets.iter().for_each(quantities);
    }
}
