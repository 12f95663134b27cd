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
        Self { code: code.to_owned(), message: message.into(), next_step: next_step.into(), field: String::new() }
    }
    /// The same refusal, blaming a field.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }
}
