//! The rule for names of packages and installations.
use model::Refusal;

use crate::limits::NAME_LENGTH_MAX;

/// Refuses what is not a DNS label of at most [`NAME_LENGTH_MAX`] characters.
///
/// # Errors
/// A [`Refusal`] that says what is allowed.
pub fn check(name: &str) -> Result<(), Refusal> {
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let starts_with_letter = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if plain && starts_with_letter && !name.ends_with('-') && name.len() <= NAME_LENGTH_MAX {
        return Ok(());
    }
    Err(Refusal::new(
        "CAT0001",
        format!("'{name}' cannot be a name: it becomes part of DNS names"),
        format!("choose 1 to {NAME_LENGTH_MAX} characters of a-z, 0-9 and '-', a letter first, no '-' at the end"),
    )
    .at("name"))
}

/// Names the system itself uses: a framework of this name would shadow it.
pub const RESERVED: [&str; 5] = ["services", "master", "agent", "operator", "pool"];

/// Like [`check`], and refuses the names mezzo itself uses.
///
/// # Errors
/// As [`check`].
pub fn check_installation(name: &str) -> Result<(), Refusal> {
    check(name)?;
    if RESERVED.contains(&name) {
        return Err(Refusal::new(
            "CAT0001",
            format!("the name '{name}' belongs to mezzo itself"),
            "choose another name",
        )
        .at("name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_short_dns_label() {
        for (name, fits) in [
            ("demo", true),
            ("k8s-2", true),
            ("", false),
            ("2demo", false),
            ("Demo", false),
            ("a.b", false),
            ("demo-", false),
            ("abcdefghijklmnopqrstuvwx", true),
            ("abcdefghijklmnopqrstuvwxy", false),
            ("services", false),
        ] {
            assert_eq!(check_installation(name).is_ok(), fits, "{name:?}");
        }
    }
}
