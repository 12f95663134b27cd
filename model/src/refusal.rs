//! A refusal: why somebody's request was not done, in words, with the next step.
use serde::{Deserialize, Serialize};

/// What a person reads when mezzo says no. Cores have typed reasons and turn them into this at their edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Stable, explained in `docs/errors/<code>.md`.
    pub code: String,
    /// What was refused and why.
    pub message: String,
    /// What to do about it; empty if nothing can be done.
    pub next_step: String,
    /// Path of the field at fault; empty if none is.
    pub field: String,
}

impl Refusal {
    /// A refusal without a field.
    pub fn new(code: &str, message: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: short(message.into()),
            next_step: short(next_step.into()),
            field: String::new(),
        }
    }
    /// The same refusal, blaming a field.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = short(field.into());
        self
    }
}

/// A refusal repeats what was asked, which may be anything: it ends in logs and before people.
const TEXT_BYTES_MAX: usize = 4000;

fn short(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_is_cut_short() {
        let long = "é".repeat(10_000);
        let refusal = Refusal::new("TST0001", long.clone(), "n").at(long);
        assert!(refusal.message.len() <= 4096 && refusal.message.starts_with("éé") && refusal.field.len() <= 4096);
    }
}
