//! Checks: what the executor does again and again to learn whether a container is ready, or healthy.
use model::Span;
use serde::{Deserialize, Serialize};

/// A check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSpec {
    /// What is done.
    pub kind: CheckKind,
    /// Before the first.
    pub delay: Span,
    /// Between two.
    pub interval: Span,
    /// For one.
    pub timeout: Span,
    /// So many failures in a row count.
    pub consecutive_failures: u32,
    /// For so long after the start failures do not count.
    pub grace: Span,
}

impl CheckSpec {
    /// A check every second, with the usual limits.
    pub fn new(kind: CheckKind) -> Self {
        Self {
            kind,
            delay: Span(0),
            interval: Span::seconds(1),
            timeout: Span::seconds(5),
            consecutive_failures: 3,
            grace: Span::seconds(30),
        }
    }
}

/// What a check does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// Runs in the container; exit 0 is success.
    Command(Vec<String>),
    /// A GET; 200 to 399 is success.
    Http {
        /// `http` or `https`.
        scheme: String,
        /// Empty: 127.0.0.1.
        host: String,
        /// Where.
        port: PortRef,
        /// What.
        path: String,
        /// Paths in the container; empty: the server is not verified.
        ca_file: String,
        /// Client certificate; may be empty.
        cert_file: String,
        /// Its key; may be empty.
        key_file: String,
    },
    /// A connection is success.
    Tcp(PortRef),
}

impl CheckKind {
    /// A plain GET on a port of the task.
    pub fn http(port_name: &str, path: &str) -> Self {
        Self::Http {
            scheme: "http".to_owned(),
            host: String::new(),
            port: PortRef::Name(port_name.to_owned()),
            path: path.to_owned(),
            ca_file: String::new(),
            cert_file: String::new(),
            key_file: String::new(),
        }
    }
}

/// A port in a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortRef {
    /// A port of the pod, by its name.
    Name(String),
    /// A number.
    Number(u16),
}
