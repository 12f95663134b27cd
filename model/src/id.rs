//! Identifiers: one type each, so that none can stand in for another.
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text cannot be an identifier (the rule of the Mesos v1 API).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// It has no character.
    #[error("is empty")]
    Empty,
    /// It is longer than [`LENGTH_MAX`] bytes.
    #[error("is {0} bytes long, the limit is {LENGTH_MAX}")]
    TooLong(usize),
    /// It is `.` or `..`.
    #[error("must not be '.' or '..'")]
    Dots,
    /// It holds a control character, white space, `/` or `\`.
    #[error("must not hold '{0}'")]
    Character(char),
}

/// Ids become file names on agents: 255 bytes is what every Linux file system takes.
pub const LENGTH_MAX: usize = 255;

fn validate(text: &str) -> Result<(), InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Empty);
    }
    if text.len() > LENGTH_MAX {
        return Err(InvalidId::TooLong(text.len()));
    }
    if text == "." || text == ".." {
        return Err(InvalidId::Dots);
    }
    match text.chars().find(|c| c.is_control() || c.is_whitespace() || *c == '/' || *c == '\\') {
        Some(c) => Err(InvalidId::Character(c)),
        None => Ok(()),
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes a text.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
                validate(text.as_ref())?;
                Ok(Self(Arc::from(text.as_ref())))
            }
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.to_string()
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// An agent, for as long as its state directory lives. Given by the master: `<master id>-S<number>`.
    AgentId;
    /// A framework, across restarts of its scheduler. Given by the master: `<master id>-<number>`.
    FrameworkId;
    /// One offer. Given by the master: `<master id>-<epoch>-O<number>`; it means nothing to another epoch.
    OfferId;
    /// A task. Chosen by its framework, never used twice by it.
    TaskId;
    /// A pod's executor. Chosen by its framework.
    ExecutorId;
    /// A persistent volume, unique per role and agent. Chosen by its framework.
    VolumeId;
    /// An operation whose framework wants to know what becomes of it. Chosen by its framework.
    OperationId;
}

/// Who somebody is according to the certificate: `operator/<name>`, `framework/<name>` or `agent/<name>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Principal(Arc<str>);

impl Principal {
    /// Takes a name as the certificate states it.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(Arc::from(text.as_ref()))
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// Whether this is an operator, to whom nothing is forbidden.
    pub fn is_operator(&self) -> bool {
        self.0.starts_with("operator/")
    }
}
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One status update: 16 bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UpdateId(pub u128);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_safe_file_name() {
        for (text, expected) in [
            ("", Err(InvalidId::Empty)),
            ("..", Err(InvalidId::Dots)),
            ("a/b", Err(InvalidId::Character('/'))),
            ("a\nb", Err(InvalidId::Character('\n'))),
            ("web.0-server", Ok(())),
        ] {
            assert_eq!(TaskId::new(text).map(|_| ()), expected, "{text:?}");
        }
        assert_eq!(TaskId::new("x".repeat(256)), Err(InvalidId::TooLong(256)));
    }
}
