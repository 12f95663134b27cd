//! What a person reads when a command fails: what, why, and the next step; and the exit code that a program reads.
use std::fmt;

use daemon::client::HttpError;
use model::Refusal;
use prost::Message as _;
use tonic::{Code, Status};

/// How a command ends other than well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did not work.
    Failed = 1,
    /// It was typed wrongly.
    Usage = 2,
    /// What it is about does not exist.
    NotFound = 3,
}

/// A failed command.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    what: String,
    why: String,
    next: String,
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn new(what: impl Into<String>, why: impl Into<String>, next: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, what: what.into(), why: why.into(), next: next.into() }
    }
    pub(crate) fn usage(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, what: what.into(), why: String::new(), next: next.into() }
    }
    pub(crate) fn not_found(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { exit: Exit::NotFound, what: what.into(), why: String::new(), next: next.into() }
    }
    /// An error of the environment while doing something.
    pub(crate) fn while_doing(what: impl Into<String>, error: &dyn std::error::Error) -> Self {
        Self::new(what, daemon::error::chain(error), "")
    }
    #[must_use]
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }
    /// Whether it is a refusal of that code.
    pub(crate) fn is_of(&self, code: &str) -> bool {
        self.next.ends_with(&format!("[{code}]"))
    }
    /// A refusal as it is.
    pub(crate) fn refusal(refusal: &Refusal) -> Self {
        let next = if refusal.code.is_empty() {
            refusal.next_step.clone()
        } else {
            format!("{} [{}]", refusal.next_step, refusal.code)
        };
        Self::new(refusal.message.clone(), "", next.trim())
    }
    /// What a gRPC server said.
    pub(crate) fn status(address: &str, status: &Status) -> Self {
        let exit = if status.code() == Code::NotFound { Exit::NotFound } else { Exit::Failed };
        if let Ok(refusal) = proto::mezzo::v1::Refusal::decode(status.details())
            && !refusal.message.is_empty()
        {
            let refusal = Refusal::new(&refusal.code, refusal.message, refusal.next_step).at(refusal.field);
            return Self { exit, ..Self::refusal(&refusal) };
        }
        let why = std::error::Error::source(status).map_or_else(|| status.message().to_owned(), daemon::error::chain);
        if status.code() == Code::Unavailable
            || status.code() == Code::Unknown && std::error::Error::source(status).is_some()
        {
            return unreachable(address, &why);
        }
        if status.code() == Code::Unimplemented {
            let what = format!("{address} does not know this request: it runs another version of mezzo");
            return Self::new(
                what,
                "",
                "use the same version of mezzo everywhere; mezzo master show prints the master's",
            );
        }
        Self { exit, ..Self::new(status.message().to_owned(), "", "") }
    }
    /// What an HTTP server said. `subject` names what was asked for, if it is not there.
    pub(crate) fn http(subject: &str, error: &HttpError) -> Self {
        match error {
            HttpError::Status { status, text, .. } => {
                let exit = if status.as_u16() == 404 { Exit::NotFound } else { Exit::Failed };
                match serde_json::from_str::<Refusal>(text) {
                    Ok(refusal) => Self { exit, ..Self::refusal(&refusal) },
                    Err(_) if text.is_empty() => {
                        Self { exit, ..Self::new(subject, format!("the answer is {status}"), "") }
                    }
                    Err(_) => Self { exit, ..Self::new(subject, text.clone(), "") },
                }
            }
            HttpError::Send { address, .. } => unreachable(address, &daemon::error::chain(error)),
            HttpError::Malformed { .. } | HttpError::Body { .. } | HttpError::File { .. } => {
                Self::while_doing(subject, error)
            }
        }
    }
}

fn unreachable(address: &str, why: &str) -> Failure {
    let next = "is a pool up? start one on this machine with: mezzo up --detach; or name another with --master";
    Failure::new(format!("no answer from {address}"), why, next)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if !self.why.is_empty() {
            write!(f, ": {}", self.why)?;
        }
        if !self.next.is_empty() {
            write!(f, "\n  next: {}", self.next)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_crosses_the_wire_with_its_next_step() {
        let details = proto::mezzo::v1::Refusal {
            code: "MST0103".to_owned(),
            message: "there is no agent 'x'".to_owned(),
            next_step: "list them with: mezzo agent list".to_owned(),
            field: String::new(),
        };
        let status = Status::with_details(Code::NotFound, "there is no agent 'x'", details.encode_to_vec().into());
        let failure = Failure::status("127.0.0.1:5050", &status);
        assert_eq!(failure.exit, Exit::NotFound);
        assert_eq!(
            failure.to_string(),
            "error: there is no agent 'x'\n  next: list them with: mezzo agent list [MST0103]"
        );
    }
}
